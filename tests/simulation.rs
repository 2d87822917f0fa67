//! The seeded simulation of a whole router (DESIGN section 9). `sim/mod.rs` is the map.
//!
//! `STENTOR_SIM_SEED=n` replays one seed with a trace, `STENTOR_SIM_SEEDS` and `STENTOR_SIM_STEPS`
//! widen the sweep.

mod sim;
#[allow(dead_code, reason = "the scenarios use more of it")]
mod support;

use std::env;
use std::thread;

use sim::Tally;

/// Every seed holds, and together they have done and seen everything that there is.
/// BP-ORD-01 to BP-ORD-08, but for BP-ORD-03, which promises nothing.
#[test]
fn sweep() {
    let seeds = variable("STENTOR_SIM_SEEDS").unwrap_or(SEEDS);
    let steps = steps();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut tally = Tally::new();
    thread::scope(|scope| {
        let run = |first: u64| move || run_seeds((first..seeds).step_by(threads as usize), steps);
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(run(first))).collect();
        for worker in workers {
            let part = worker.join().expect("a seed failed; see above");
            add(&mut tally, part);
        }
    });
    if seeds >= SEEDS {
        let missing: Vec<_> = EXPECTED.iter().filter(|what| !tally.contains_key(**what)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}; happened: {tally:#?}");
    }
}

/// One seed is one run.
#[test]
fn a_seed_repeats_its_run() {
    for seed in 0..5 {
        let [first, second] = [(); 2].map(|()| sim::run(seed, STEPS, false).digest);
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Clients see the same to the byte, whether somebody traces or not.
#[test]
fn a_trace_changes_nothing() {
    for seed in 0..20 {
        let [traced, plain] = [true, false].map(|is_traced| sim::run_uncut(seed, STEPS, is_traced));
        assert!(traced.tally.contains_key("a trace begins"));
        assert_eq!(traced.digest, plain.digest, "seed {seed}");
    }
}

/// Replays the seed of `STENTOR_SIM_SEED` with its trace, and says what happened how often.
#[test]
fn replay() {
    let Some(seed) = variable("STENTOR_SIM_SEED") else { return };
    let report = sim::run(seed, steps(), true);
    eprintln!("{:#?}\ndigest {:016x}", report.tally, report.digest);
}

/// AU-GEN: nobody joins without a proof, and a challenge serves once.
#[test]
fn logins() {
    let mut tally = Tally::new();
    (0..LOGIN_SEEDS).for_each(|seed| sim::logins::run(seed, &mut tally));
    for what in [
        "ticket",
        "wampcra",
        "wamp-scram",
        "cryptosign",
        "denied",
        "failed",
        "limited",
        "granted",
        "passed on",
        "interrupted",
        "misanswers",
        "an authenticator vanishes",
        "the endpoint grants",
        "the endpoint denies",
        "the endpoint fails",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count > 0), "{what} in {tally:?}");
    }
}

/// AU-AZ-04: nothing passes without a grant, and order holds while sessions are parked.
#[test]
fn authorizers() {
    let mut tally = Tally::new();
    (0..LOGIN_SEEDS).for_each(|seed| sim::authorizers::run(seed, &mut tally));
    for what in [
        "granted",
        "denied",
        "failed",
        "remembered",
        "late",
        "refused",
        "misanswered",
        "not brought",
        "forgotten",
        "interrupted",
        "killed",
        "an authorizer vanishes",
        "ruled by the endpoint",
        "misruled",
        "lost at the endpoint",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count > 0), "{what} in {tally:?}");
    }
}

/// AU-AZ-06: whoever has the right to something keeps it through all reloads, and nobody else.
#[test]
fn reloads() {
    let mut tally = Tally::new();
    (0..LOGIN_SEEDS).for_each(|seed| sim::reloads::run(seed, &mut tally));
    for what in [
        "reload",
        "a reload follows another",
        "joined",
        "turned away",
        "login interrupted",
        "killed",
        "realm closed",
        "ended with a request",
        "a question is withdrawn",
        "subscription",
        "registration",
        "granted",
        "denied",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count > 0), "{what} in {tally:?}");
    }
}

/// Nodes that are cut off serve nobody before others go on without them.
#[test]
fn cluster_that_stops() {
    let mut tally = Tally::new();
    let seeds = variable("STENTOR_SIM_SEEDS").unwrap_or(STOPPING_SEEDS);
    let first = variable("STENTOR_SIM_SEED").unwrap_or(0);
    (first..first + seeds)
        .for_each(|seed| sim::cluster::run_stopping(seed, CLUSTER_STEPS, &mut tally));
    for what in [
        "a partition",
        "a client is sent away",
        "HELLO is refused",
        "a node ends",
        "a node has another life",
        "a node does not reach the bucket",
        "nobody decides in the bucket, or somebody does",
        "a watch falls silent",
        "a node loses its server",
        "REGISTERED",
        "a claim is refused",
        "a claim is given up",
        "a call of another node",
        "events that had to come",
    ] {
        let happened = tally.get(what).is_some_and(|count| *count > 0);
        assert!(happened || seeds < STOPPING_SEEDS, "{what} in {tally:?}");
    }
}

/// Between nodes order holds, nothing comes twice, and what was owed comes.
#[test]
fn cluster() {
    let mut tally = Tally::new();
    let seeds = variable("STENTOR_SIM_SEEDS").unwrap_or(CLUSTER_SEEDS);
    let first = variable("STENTOR_SIM_SEED").unwrap_or(0);
    let found = if seeds < CLUSTER_SEEDS { &[][..] } else { &CLUSTER_FOUND };
    let all = (first..first + seeds).chain(found.iter().copied());
    all.for_each(|seed| sim::cluster::run(seed, CLUSTER_STEPS, &mut tally));
    for what in [
        "SUBSCRIBED",
        "an event",
        "an event of another node",
        "events that had to come",
        "links ended",
        "events dropped",
        "useless events",
        "a retained event",
        "events retained everywhere",
        "events of histories everywhere",
        "a history answers",
        "a message is lost",
        "a message takes another way",
        "all messages of a route are lost",
        "a node cannot keep up, or can",
        "a node is not heard",
        "silence",
        "a node ends",
        "a node starts",
        "a node has another life",
        "a node does not reach the bucket",
        "nobody decides in the bucket, or somebody does",
        "a watch falls silent",
        "a node loses its server",
        "the bucket is deleted",
        "REGISTERED",
        "a claim is refused",
        "a claim is given up",
        "a registration is revoked",
        "CALL",
        "CANCEL",
        "INTERRUPT",
        "told to stop at rest",
        "a call",
        "a call of another node",
        "a call goes on to another node",
        "a further piece of a call",
        "a piece of a result",
        "a result",
        "calls lost",
        "late answers",
        "ERROR com.error",
        "ERROR wamp.error.network_failure",
        "ERROR wamp.error.no_available_callee",
        "ERROR wamp.error.resource_limit",
        "ERROR wamp.error.timeout",
        "ERROR wamp.error.unavailable",
        "a question answered by all",
        "a question answered in part",
        "a listener",
        "it has come",
        "it has gone",
        "what listeners know",
        "meta events dropped",
    ] {
        let happened = tally.get(what).is_some_and(|count| *count > 0);
        assert!(happened || seeds < CLUSTER_SEEDS, "{what} in {tally:?}");
    }
}

/// Each call of the management API ends once, and nobody hears what is not for its role.
#[test]
fn managing() {
    let mut tally = Tally::new();
    (0..LOGIN_SEEDS).for_each(|seed| sim::managing::run(seed, &mut tally));
    for what in [
        "result",
        "heard",
        "revoked",
        "reload",
        "answered",
        "answered in vain",
        "answered too late",
        "a caller goes",
        "wamp.error.not_authorized",
        "wamp.error.resource_limit",
        "wamp.error.invalid_argument",
        "wamp.error.timeout",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count > 0), "{what} in {tally:?}");
    }
}

fn run_seeds(seeds: impl Iterator<Item = u64>, steps: usize) -> Tally {
    let mut tally = Tally::new();
    for seed in seeds {
        add(&mut tally, sim::run(seed, steps, false).tally);
    }
    tally
}

fn add(tally: &mut Tally, part: Tally) {
    for (what, count) in part {
        *tally.entry(what).or_default() += count;
    }
}

fn steps() -> usize {
    variable("STENTOR_SIM_STEPS").map_or(STEPS, |steps| steps as usize)
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, got {text:?}")))
}

const SEEDS: u64 = 300;
const LOGIN_SEEDS: u64 = 60;
const CLUSTER_SEEDS: u64 = 40;
const STOPPING_SEEDS: u64 = 20;
/// Those besides that have found faults, or reach what is rare.
const CLUSTER_FOUND: [u64; 4] = [42, 122, 256, 100_166];
const CLUSTER_STEPS: usize = 600;
const STEPS: usize = 1_200;

/// What must happen at least once in a sweep, or it is not exercised any more.
const EXPECTED: &[&str] = &[
    "ABORT",
    "CALL",
    "CANCEL",
    "ERROR",
    "ERROR, unavailable",
    "GOODBYE back",
    "GOODBYE",
    "HELLO",
    "PUBLISH",
    "REGISTER",
    "SUBSCRIBE",
    "UNREGISTER",
    "UNSUBSCRIBE",
    "YIELD",
    "YIELD, progressive",
    "YIELD, progressive, unasked",
    "a callee has what it wants",
    "a claim is decided",
    "a claim is given up",
    "a claim is granted",
    "a claim is let go",
    "a claim is refused",
    "a claim is withdrawn",
    "a confirmation is lost",
    "a cork expires",
    "a cork is full",
    "a grant comes too late",
    "a node answers",
    "a node answers in pieces",
    "a node answers nonsense",
    "a node answers that was not asked",
    "a node is missing",
    "a question is lost",
    "all nodes have answered",
    "an answer comes too late",
    "an answer is partial",
    "another node asks",
    "another node is answered",
    "another node is not answered",
    "heard of missing nodes",
    "heard ERROR 48 wamp.error.network_failure",
    "handed over",
    "not handed over",
    "a trace begins",
    "a trace ends",
    "burst",
    "bytes arrive",
    "bytes arrive, cut",
    "bytes lie unread",
    "bytes lie unread, cut",
    "chunk",
    "close frame",
    "connect",
    "confirmed",
    "connect, full",
    "corked",
    "crash",
    "drain",
    "drain again",
    "drained",
    "drop",
    "ended: Hostile",
    "ended: Killed",
    "ended: Late",
    "ended: Shutdown",
    "ended: Silent",
    "ended: Slow",
    "events dropped for the slow",
    "events dropped, and counted exactly",
    "get_events",
    "heard ABORT wamp.close.slow_consumer",
    "heard ABORT wamp.close.system_shutdown",
    "heard ABORT wamp.error.invalid_uri",
    "heard ABORT wamp.error.no_matching_auth_method",
    "heard ABORT wamp.error.no_such_realm",
    "heard ABORT wamp.error.protocol_violation",
    "heard ABORT",
    "heard ERROR 16 wamp.error.canceled",
    "heard ERROR 16 wamp.error.invalid_uri",
    "heard ERROR 16 wamp.error.not_authorized",
    "heard ERROR 16 wamp.error.option_disallowed.disclose_me",
    "heard ERROR 16 wamp.error.resource_limit",
    "heard ERROR 32 wamp.error.invalid_uri",
    "heard ERROR 32 wamp.error.not_authorized",
    "heard ERROR 32 wamp.error.resource_limit",
    "heard ERROR 34 wamp.error.no_such_subscription",
    "heard ERROR 48 com.error",
    "heard ERROR 48 for a CANCEL",
    "heard ERROR 48 wamp.error.canceled",
    "heard ERROR 48 wamp.error.feature_not_supported",
    "heard ERROR 48 wamp.error.invalid_argument",
    "heard ERROR 48 wamp.error.invalid_uri",
    "heard ERROR 48 wamp.error.no_available_callee",
    "heard ERROR 48 wamp.error.no_such_procedure",
    "heard ERROR 48 wamp.error.no_such_session",
    "heard ERROR 48 wamp.error.not_authorized",
    "heard ERROR 48 wamp.error.option_disallowed.disclose_me",
    "heard ERROR 48 wamp.error.payload_size_exceeded",
    "heard ERROR 48 wamp.error.resource_limit",
    "heard ERROR 48 wamp.error.timeout",
    "heard ERROR 48 wamp.error.unavailable",
    "heard ERROR 64 wamp.error.invalid_uri",
    "heard ERROR 64 wamp.error.network_failure",
    "heard ERROR 64 wamp.error.not_authorized",
    "heard ERROR 64 wamp.error.option_disallowed.disclose_me",
    "heard ERROR 64 wamp.error.procedure_already_exists",
    "heard ERROR 64 wamp.error.resource_limit",
    "heard ERROR 66 wamp.error.no_such_registration",
    "heard ERROR 68 wamp.error.feature_not_supported",
    "heard ERROR",
    "heard EVENT",
    "heard GOODBYE",
    "heard INTERRUPT kill",
    "heard INTERRUPT killnowait",
    "heard INVOCATION with caller",
    "heard INVOCATION with ppt_scheme",
    "heard INVOCATION with timeout",
    "heard INVOCATION with trustlevel",
    "heard INVOCATION",
    "heard INVOCATION, continued",
    "heard INVOCATION, routed again",
    "heard PING",
    "heard PONG",
    "heard PUBLISHED",
    "heard REGISTERED",
    "heard RESULT",
    "heard RESULT, progressive",
    "heard SUBSCRIBED",
    "heard UNREGISTERED",
    "heard UNSUBSCRIBED",
    "heard WELCOME",
    "heard a refusal",
    "heard a registration revoked",
    "heard a retained EVENT",
    "heard a revocation",
    "heard a testament",
    "heard all of a history",
    "heard close 1000",
    "heard close 1001",
    "heard close 1002",
    "heard close 1003",
    "heard close 1008",
    "heard close 1009",
    "heard some of a history",
    "heard the end",
    "heard the handshake's end",
    "heard wamp.registration.on_create",
    "heard wamp.registration.on_delete",
    "heard wamp.registration.on_register",
    "heard wamp.registration.on_unregister",
    "heard wamp.session.on_join",
    "heard wamp.session.on_leave",
    "heard wamp.subscription.on_create",
    "heard wamp.subscription.on_delete",
    "heard wamp.subscription.on_subscribe",
    "heard wamp.subscription.on_unsubscribe",
    "hostile: ERROR never invoked",
    "hostile: ERROR of a wrong type",
    "hostile: GOODBYE before HELLO",
    "hostile: POST",
    "hostile: PUBLISH before HELLO",
    "hostile: YIELD never invoked",
    "hostile: broken frame",
    "hostile: garbage",
    "hostile: invalid realm",
    "hostile: no HELLO",
    "hostile: no authmethod",
    "hostile: no roles",
    "hostile: oversized frame",
    "hostile: plain GET",
    "hostile: reserved octets",
    "hostile: router-only message",
    "hostile: second HELLO",
    "hostile: unannounced chunk",
    "hostile: unannounced passthru",
    "hostile: unknown protocol",
    "hostile: unknown realm",
    "hostile: unknown serializer",
    "hostile: unknown type",
    "hostile: wrong message type",
    "hostile: wrong request id",
    "hostile: wrong shape",
    "input waits",
    "killed",
    "large payload",
    "mail arrives",
    "many questions",
    "odd: CANCEL",
    "odd: CANCEL, too late",
    "odd: YIELD again",
    "odd: leave what is not held",
    "ping",
    "probe first",
    "probe last",
    "probe of limits",
    "probe random",
    "probe roundrobin",
    "probe single",
    "publication refused",
    "read a little",
    "read",
    "reading pauses",
    "resume",
    "revoke a registration",
    "revoke",
    "sessions counted exactly",
    "shutdown",
    "shutdown, nobody reads",
    "socket closes in order",
    "socket fails",
    "socket fails, quietly",
    "stall",
    "store fails",
    "store saves",
    "subscribe widely",
    "swept",
    "testament taken back",
    "time leaps",
    "time passes",
    "timers fire",
    "told at rest",
    "traced: Continued",
    "traced: Denied",
    "traced: Granted",
    "traced: Ignored",
    "traced: Refused",
    "traced: delivered elsewhere or later",
    "traced: dropped",
    "turn",
    "uncorked",
    "word of a claim arrives",
    "wamp.registration.count_callees",
    "wamp.registration.get",
    "wamp.registration.list",
    "wamp.registration.list_callees",
    "wamp.registration.lookup",
    "wamp.registration.match",
    "wamp.session.add_testament",
    "wamp.session.count",
    "wamp.session.flush_testaments",
    "wamp.session.kill",
    "wamp.session.kill_all",
    "wamp.session.kill_by_authid",
    "wamp.session.kill_by_authrole",
    "wamp.session.list",
    "wamp.subscription.count_subscribers",
    "wamp.subscription.get",
    "wamp.subscription.list",
    "wamp.subscription.list_subscribers",
    "wamp.subscription.lookup",
    "wamp.subscription.match",
];

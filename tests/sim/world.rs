//! The world: everything that exists in one run, and the choice of what happens next.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stentor::clock::Millis;
use stentor::limits::TurnLimits;
use stentor::router::RealmSettings;
use stentor::shard::{Admission, InputStatus};
use stentor::transport::TransportRules;

use super::ages::Seen;
use super::client::{Client, Request, Session, Stage};
use super::corks::Sight;
use super::log::Log;
use super::model::{Model, Tag};
use super::plan::{Plan, draw_link, pick};
use super::probing::Probing;
use super::questions::Away;
use super::tracing::Tracers;
use crate::support::{Links, Network};

pub(crate) struct World {
    pub(crate) net: Network,
    /// How often the process has ended.
    pub(crate) life: u8,
    pub(crate) clients: Vec<Client>,
    pub(crate) model: Model,
    pub(crate) rng: StdRng,
    pub(crate) plan: Plan,
    pub(crate) log: Log,
    pub(crate) last_tag: Tag,
    /// Everybody is to leave, by a shutdown or by a drain.
    pub(crate) shutting_down: bool,
    /// By when a drain is to be over, until a shutdown follows.
    pub(crate) drain_until: Option<Millis>,
    pub(crate) probing: Probing,
    pub(crate) sight: Sight,
    pub(crate) away: Away,
    pub(crate) tracers: Tracers,
    /// The number of the step.
    pub(crate) number: usize,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut plan = Plan::draw(&mut rng);
        plan.draw_drain(&mut StdRng::seed_from_u64(!seed));
        plan.draw_node(seed);
        plan.draw_corks(seed);
        plan.draw_claims(seed);
        plan.draw_questions(seed);
        Self::of(plan, rng, Tracers::draw(seed), (seed, trace))
    }

    /// The world of a seed in which no step and no turn is ever full.
    pub(crate) fn uncut(seed: u64, is_traced: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut plan = Plan::draw(&mut rng);
        plan.settings.turn = TurnLimits {
            step_units: u32::MAX / 4,
            turn_units: u32::MAX / 2,
            ..TurnLimits::default()
        };
        Self::of(plan, rng, Tracers::always(is_traced), (seed, false))
    }

    fn of(plan: Plan, rng: StdRng, tracers: Tracers, (seed, trace): (u64, bool)) -> Self {
        let mut world = Self {
            net: Self::network(&plan, 0),
            life: 0,
            clients: Vec::new(),
            model: Model::default(),
            rng,
            plan,
            log: Log::new(trace),
            last_tag: 0,
            shutting_down: false,
            drain_until: None,
            probing: Probing::No,
            sight: Sight::new(seed),
            away: Away::new(seed),
            tracers,
            number: 0,
        };
        let plan = &world.plan;
        let line = format!("{} shards, {} clients, {:?}", plan.shards, plan.clients, plan.settings);
        world.log.line(&line);
        for _ in 0..world.plan.clients {
            let client = world.connect();
            world.clients.push(client);
        }
        world
    }

    pub(crate) fn network(plan: &Plan, life: u8) -> Network {
        let realm = |name: &str| RealmSettings { name: name.into(), ..plan.realm.clone() };
        let realms = REALMS.map(realm).to_vec();
        let mut net = Network::with_life(plan.settings.clone(), realms, plan.shards, life);
        let (paths, http_paths) = (vec!["/".into()], vec!["/app".into()]);
        net.rules = Arc::new(TransportRules { paths, http_paths, ..(*net.rules).clone() });
        net.links.room_for_http = plan.clients.is_multiple_of(3).then_some(0);
        net.links.gateway.is_held = true;
        net.links.gateway.is_silent = true;
        net.with_held_store().with_high_mark(plan.high_mark_bytes)
    }

    pub(crate) fn step(&mut self, number: usize) {
        self.number = number;
        self.net.sees_all = !self.rng.random_bool(self.plan.blindness);
        let Links { pauses, handed, not_handed, .. } = self.net.links;
        if self.rng.random_bool(self.plan.trouble) {
            match self.rng.random_range(0..5) {
                0 => self.drop_somewhere(),
                1 => self.misbehave_somewhere(),
                2 => self.break_somewhere(),
                _ => self.stall_somewhere(),
            }
        }
        match self.rng.random_range(0..100) {
            0..35 => self.act(),
            35..57 => self.arrive_somewhere(),
            57..66 => self.deliver_mail(),
            66..80 => self.turn(),
            80..82 => self.serve_store(),
            82..96 => self.read_somewhere(),
            96..98 => self.pass_time(),
            98 if self.rng.random_bool(0.5) => self.revoke_somewhere(),
            98 => self.resume_somewhere(),
            _ => self.ping_somewhere(),
        }
        if self.net.links.handed > handed {
            self.note("handed over", format_args!(""));
        }
        if self.net.links.not_handed > not_handed {
            self.note("not handed over", format_args!(""));
        }
        if self.net.links.pauses > pauses {
            self.note("reading pauses", format_args!(""));
        }
        self.excuse_the_late();
        self.take_census();
        self.net.check_invariants();
        self.check_bounds();
        self.check_ages();
    }

    /// Writes a line of the trace and counts what it is about.
    pub(crate) fn note(&mut self, what: &str, detail: std::fmt::Arguments<'_>) {
        self.log.count(what);
        let (number, now) = (self.number, self.net.now.0);
        self.log.line(&format!("{number} {now} ms: {what} {detail}"));
    }

    pub(crate) fn any_client(&mut self) -> usize {
        self.rng.random_range(0..self.clients.len())
    }

    /// One of the clients for which `wanted` holds.
    pub(crate) fn any_such(&mut self, wanted: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let such: Vec<usize> = (0..self.clients.len()).filter(|c| wanted(self, *c)).collect();
        (!such.is_empty()).then(|| *pick(&mut self.rng, &such))
    }

    pub(crate) fn connect(&mut self) -> Client {
        let shard = self.rng.random_range(0..self.plan.shards);
        let capacity = *pick(&mut self.rng, &[300, 2_000, 20_000, usize::MAX]);
        let link = draw_link(&mut self.rng);
        let full = self.rng.random_bool(0.02);
        let admission = if full { Admission::Full } else { Admission::Welcome };
        let pipe = self.net.connect(shard, admission, capacity);
        // Some come by TLS, which takes more than the socket does.
        self.net.links.pipes[pipe].kept = (pipe % 3 == 1).then(Vec::new);
        let outbox = link.greeting();
        let (carrier, serializer) = (link.carrier, link.serializer);
        self.note(
            if full { "connect, full" } else { "connect" },
            format_args!("pipe {pipe}, shard {shard}, {carrier:?}, {serializer:?}, {capacity} B"),
        );
        Client {
            shard,
            pipe,
            link,
            stage: Stage::Greeting,
            unjoined_since: self.net.now,
            sent_bytes: outbox.len() as u64,
            outbox,
            arrived_bytes: 0,
            stalled: false,
            half_closed: false,
            // What a full router refuses ends like what a hostile client does.
            hostile: full,
            closing: false,
            closed: false,
            late: false,
            killed: false,
            unanswered_pings: 0,
            output: Seen::default(),
            session: Session { realm: REALMS[0], ..Session::default() },
        }
    }

    fn arrive_somewhere(&mut self) {
        let sends = |world: &Self, c: usize| !world.clients[c].outbox.is_empty();
        let Some(c) = self.any_such(sends) else { return };
        let waiting = self.clients[c].outbox.len();
        let length =
            if self.rng.random_bool(0.5) { waiting } else { self.rng.random_range(1..=waiting) };
        self.arrive(c, length);
    }

    /// The next bytes of a client reach its shard.
    pub(crate) fn arrive(&mut self, c: usize, length: usize) {
        let client = &mut self.clients[c];
        let bytes: Vec<u8> = client.outbox.drain(..length).collect();
        client.arrived_bytes += length as u64;
        let (pipe, whole) = (client.pipe, client.outbox.is_empty());
        let closing = client.half_closed && whole;
        let is_read = !self.rng.random_bool(self.plan.delay);
        if is_read {
            self.net.receive(pipe, &bytes);
        } else {
            self.net.push(pipe, &bytes);
        }
        let what = match (is_read, whole) {
            (true, true) => "bytes arrive",
            (true, false) => "bytes arrive, cut",
            (false, true) => "bytes lie unread",
            (false, false) => "bytes lie unread, cut",
        };
        self.note(what, format_args!("c{c}, {length} B"));
        if closing {
            self.note("socket closes in order", format_args!("c{c}"));
            self.lose(c);
        }
    }

    fn deliver_mail(&mut self) {
        let routes = self.net.mail_routes();
        if routes.is_empty() {
            return;
        }
        let route = *pick(&mut self.rng, &routes);
        let length = self.net.deliver_mail(route);
        self.note("mail arrives", format_args!("{route:?}, {length}"));
    }

    fn turn(&mut self) {
        let shard = self.rng.random_range(0..self.plan.shards);
        // What waits may be held back for more.
        let may_write = self.rng.random_bool(0.8);
        self.net.take_in(shard);
        self.net.give_out(shard, may_write);
        if (0..self.clients.len()).any(|c| self.is_held_up(c)) {
            self.log.count("input waits");
        }
        self.note("turn", format_args!("shard {shard}, {may_write}"));
    }

    /// Whether what a client says waits, for the delivery of what it said or for room.
    fn is_held_up(&self, c: usize) -> bool {
        let client = &self.clients[c];
        let slot = self.net.links.pipes[client.pipe].slot;
        let status = self.net.shard(client.shard).input_status(slot);
        client.stage == Stage::Joined && !client.hostile && status == InputStatus::Parked
    }

    fn pass_time(&mut self) {
        let leap = self.rng.random_bool(0.06);
        let ms = self.rng.random_range(if leap { 500..3_000 } else { 1..60 });
        let fired = self.net.advance(ms);
        self.note(if leap { "time leaps" } else { "time passes" }, format_args!("{ms} ms"));
        if fired > 0 {
            self.note("timers fire", format_args!("on {fired} shards"));
        }
    }

    /// Notes who may have said HELLO too late.
    pub(crate) fn excuse_the_late(&mut self) {
        let handshake_ms = self.plan.settings.timeouts.handshake_ms;
        for client in &mut self.clients {
            let all_read = self.net.links.pipes[client.pipe].inbound.is_empty();
            let is_late = self.net.now.since(client.unjoined_since) >= handshake_ms;
            let is_judged = self.net.sees_all && all_read;
            client.late |= client.stage != Stage::Joined && is_judged && is_late;
        }
    }

    fn stall_somewhere(&mut self) {
        let c = self.any_client();
        self.clients[c].stalled = true;
        self.note("stall", format_args!("c{c}"));
    }

    fn resume_somewhere(&mut self) {
        let Some(c) = self.any_such(|world, c| world.clients[c].stalled) else { return };
        self.clients[c].stalled = false;
        self.note("resume", format_args!("c{c}"));
    }

    /// A socket fails, perhaps in the middle of what waits for it; perhaps only a write shows it.
    fn break_somewhere(&mut self) {
        let Some(c) = self.any_such(|world, c| world.clients[c].stage != Stage::Gone) else {
            return;
        };
        let is_told = self.rng.random_bool(0.5);
        let what = if is_told { "socket fails" } else { "socket fails, quietly" };
        self.note(what, format_args!("c{c}"));
        self.model.forgive_publisher(self.clients[c].session.tag, 0);
        self.net.break_off(self.clients[c].pipe, is_told);
        self.be_gone(c);
    }

    fn drop_somewhere(&mut self) {
        let Some(c) = self.any_such(|world, c| world.clients[c].stage != Stage::Gone) else {
            return;
        };
        if self.rng.random_bool(0.3) && !self.clients[c].outbox.is_empty() {
            self.clients[c].half_closed = true;
            return;
        }
        self.note("drop", format_args!("c{c}"));
        self.lose(c);
    }

    /// The client's socket goes away, with everything that is under way in it.
    pub(crate) fn lose(&mut self, c: usize) {
        // What has arrived is read, unless the session has ended before.
        let lives = self.excuses(c).is_empty();
        let arrived = if lives { self.clients[c].arrived_bytes } else { 0 };
        let tag = self.clients[c].session.tag;
        self.model.forgive_publisher(tag, arrived);
        let pipe = self.clients[c].pipe;
        self.net.lose(pipe);
        // The router notices when the connection's turn comes; until then calls go to it.
        for _ in 0..100 {
            let end = &self.net.links.pipes[pipe];
            if !end.closed {
                self.net.turn(end.shard);
            }
        }
        self.be_gone(c);
    }

    fn be_gone(&mut self, c: usize) {
        self.session_is_over(c);
        self.clients[c].stage = Stage::Gone;
        self.clients[c].outbox.clear();
    }

    /// Whatever the client held is gone or may go at any time.
    pub(crate) fn session_is_over(&mut self, c: usize) {
        let session = std::mem::take(&mut self.clients[c].session);
        self.model.forgive_subscriber(session.tag);
        for held in session.registrations.values() {
            self.model.unsettle_calls(&held.pattern);
        }
        for request in session.pending.values() {
            match request {
                Request::Register(pattern, ..) => self.model.unsettle_calls(pattern),
                // It may have been refused, and nobody will say so.
                Request::Publish(number, _) if self.plan.tight_held => {
                    self.model.forgive_publication(session.tag, *number);
                }
                _ => {}
            }
        }
        // The tag stays: a publisher's events may still be owed.
        self.clients[c].session =
            Session { tag: session.tag, realm: REALMS[0], ..Session::default() };
    }
}

pub(crate) const REALMS: [&str; 2] = ["realm1", "realm2"];

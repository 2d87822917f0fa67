//! Calls in the simulation of several nodes: callers and callees are at any of them.
//!
//! Each CALL ends once, with what its callee has said or with a reason that there is; each
//! INVOCATION happens once, and one more for each callee that was not available; pieces come
//! without gaps; and what one client says to another comes in its order.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use serde_json::{Value, json};
use stentor::clock::Millis;
use stentor::wamp::MatchPolicy;

use super::super::plan::pick;
use super::{Asked, World};
use crate::support::Member;

/// All calls of a run. Their arguments begin with their places here.
#[derive(Default)]
pub(super) struct Calls {
    all: Vec<Call>,
    /// Somebody who may have been called has left.
    has_leavers: bool,
}

struct Call {
    caller: usize,
    procedure: usize,
    /// Publications that were made before it.
    published: usize,
    is_long: bool,
    has_timeout: bool,
    is_upload: bool,
    canceled: bool,
    /// Its callee need not be told, or is to be told though nothing has ended.
    is_skipped: bool,
    is_killed: bool,
    /// The next piece that its caller sends, if it is a progressive call.
    next_chunk: Option<u64>,
    /// Who has got it, how often, and how many of them were not available.
    callee: Option<usize>,
    invoked: u64,
    unavailable: u64,
    /// Pieces of the result that were sent, and that have come.
    said: u64,
    heard: u64,
    /// What the callee has said last.
    answer: Option<Answer>,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Result,
    Error,
    Unavailable,
}

/// What a client has to do with calls.
#[derive(Default)]
pub(super) struct Part {
    /// It takes INTERRUPT.
    takes_interrupt: bool,
    registrations: Vec<u64>,
    /// The invocations that it was told to stop.
    interrupted: BTreeSet<u64>,
    /// Invocations that it has not answered: which call, and the next piece of it.
    invocations: BTreeMap<u64, (usize, u64)>,
    /// Of each caller, the last call that has come straight from it.
    last: BTreeMap<usize, usize>,
    /// Of each caller, how much had been published before the last of its calls that came.
    published: BTreeMap<usize, usize>,
}

impl Part {
    pub(super) fn new(takes_interrupt: bool) -> Self {
        Self { takes_interrupt, ..Self::default() }
    }
}

impl World {
    pub(super) fn act_on_calls(&mut self) {
        match self.rng.random_range(0..20) {
            0 => {
                if let Some(client) = self.any_client() {
                    self.register(client);
                }
            }
            1 => self.unregister(),
            2..9 => self.call(),
            9..11 => self.send_chunk(),
            11 => self.cancel(),
            _ => self.answer(),
        }
    }

    pub(super) fn note_leaver(&mut self) {
        self.calls.has_leavers = true;
    }

    /// Most who come can be called for something.
    pub(super) fn register_at_first(&mut self) {
        if self.rng.random_bool(0.7) {
            self.register(self.clients.len() - 1);
        }
    }

    fn register(&mut self, client: usize) {
        let procedure = self.rng.random_range(0..PROCEDURES.len());
        self.register_for(client, procedure);
    }

    pub(super) fn register_for(&mut self, client: usize, procedure: usize) {
        let (uri, options) = PROCEDURES[procedure];
        let options: Value = serde_json::from_str(options).expect("JSON");
        self.ask(client, Asked::Register, |request| json!([64, request, options, uri]));
    }

    fn unregister(&mut self) {
        let Some(client) = self.any_client() else { return };
        let Some(registration) = self.clients[client].part.registrations.pop() else { return };
        self.ask(client, Asked::Unregister, |request| json!([66, request, registration]));
        // Calls that come too late find nobody.
        self.note_leaver();
    }

    fn call(&mut self) {
        let Some(caller) = self.any_client() else { return };
        let procedure = self.rng.random_range(0..PROCEDURES.len());
        let (is_long, has_timeout) = (self.rng.random_bool(0.05), self.rng.random_bool(0.1));
        let is_upload = self.rng.random_bool(0.2);
        let wants_pieces = self.rng.random_bool(0.5);
        let tag = self.calls.all.len();
        self.calls.all.push(Call {
            caller,
            procedure,
            published: self.published.len(),
            is_long,
            has_timeout,
            is_upload,
            canceled: false,
            is_skipped: false,
            is_killed: false,
            next_chunk: is_upload.then_some(1),
            callee: None,
            invoked: 0,
            unavailable: 0,
            said: 0,
            heard: 0,
            answer: None,
            has_ended: false,
        });
        let text = "x".repeat(if is_long { super::LONG_BYTES } else { 10 });
        let mut options = json!({"receive_progress": wants_pieces, "progress": is_upload});
        if has_timeout {
            options["timeout"] = json!(*pick(&mut self.rng, &[20, 3_000]));
        }
        let uri = PROCEDURES[procedure].0;
        let arguments = json!([tag, 0, text]);
        self.ask(caller, Asked::Call(tag), |id| json!([48, id, options, uri, arguments]));
        self.count("CALL");
    }

    /// A call that is pending: its caller, the request, and its place.
    fn pending_call(&mut self, wanted: impl Fn(&Call) -> bool) -> Option<(usize, u64, usize)> {
        let here = self.clients.iter().enumerate().filter(|(_, it)| !it.is_lost);
        let asked = here.flat_map(|(client, it)| it.asked.iter().map(move |it| (client, it)));
        let calls = asked.filter_map(|(client, (request, asked))| match asked {
            Asked::Call(tag) if wanted(&self.calls.all[*tag]) => Some((client, *request, *tag)),
            _ => None,
        });
        let calls: Vec<_> = calls.collect();
        (!calls.is_empty()).then(|| *pick(&mut self.rng, &calls))
    }

    fn send_chunk(&mut self) {
        let has_more = |call: &Call| call.next_chunk.is_some();
        let Some((client, request, tag)) = self.pending_call(has_more) else { return };
        let call = &mut self.calls.all[tag];
        let Some(chunk) = call.next_chunk else { return };
        let is_last = chunk >= 4;
        call.next_chunk = (!is_last).then_some(chunk + 1);
        let uri = PROCEDURES[call.procedure].0;
        let message = json!([48, request, {"progress": !is_last}, uri, [tag, chunk]]);
        self.say(client, &message);
    }

    fn cancel(&mut self) {
        let Some((client, request, tag)) = self.pending_call(|_| true) else { return };
        let mode = *pick(&mut self.rng, &["skip", "kill", "killnowait"]);
        let call = &mut self.calls.all[tag];
        call.canceled = true;
        call.is_skipped |= mode == "skip";
        call.is_killed |= mode == "kill";
        self.say(client, &json!([49, request, { "mode": mode }]));
        self.count("CANCEL");
    }

    fn answer(&mut self) {
        let here = self.clients.iter().enumerate().filter(|(_, it)| !it.is_lost);
        let pending = here.flat_map(|(client, it)| {
            it.part.invocations.keys().map(move |request| (client, *request))
        });
        let pending: Vec<_> = pending.collect();
        if pending.is_empty() {
            return;
        }
        let (client, request) = *pick(&mut self.rng, &pending);
        let tag = self.clients[client].part.invocations[&request].0;
        let call = &mut self.calls.all[tag];
        let message = match self.rng.random_range(0..10) {
            0..3 => {
                call.said += 1;
                let said = json!([tag, call.said]);
                return self.say(client, &json!([70, request, {"progress": true}, said]));
            }
            3 => {
                call.answer = Some(Answer::Error);
                json!([8, 68, request, {}, "com.error", [tag]])
            }
            4..6 => {
                call.answer = Some(Answer::Unavailable);
                call.unavailable += 1;
                json!([8, 68, request, {}, "wamp.error.unavailable", [tag]])
            }
            _ => {
                call.answer = Some(Answer::Result);
                json!([70, request, {}, [tag, client]])
            }
        };
        self.clients[client].part.invocations.remove(&request);
        self.say(client, &message);
    }

    /// Sends a request under the next id of its client.
    pub(super) fn ask(&mut self, client: usize, asked: Asked, message: impl Fn(u64) -> Value) {
        let me = &mut self.clients[client];
        me.request += 1;
        me.asked.insert(me.request, asked);
        let message = message(me.request);
        self.say(client, &message);
    }

    /// Takes a message about calls; `false` if it is none.
    pub(super) fn take_call(&mut self, client: usize, message: &Value, when: &str) -> bool {
        let number = |index: usize| message[index].as_u64().expect("it is a number");
        let me = &mut self.clients[client];
        let of = if number(0) == 8 { number(2) } else { number(1) };
        let tag = match me.asked.get(&of) {
            Some(Asked::Call(tag)) => Some(*tag),
            _ => None,
        };
        match (number(0), tag) {
            (65, _) => {
                assert!(matches!(me.asked.remove(&of), Some(Asked::Register)), "{when}: {message}");
                me.part.registrations.push(number(2));
                self.count("REGISTERED");
            }
            (67, _) if of == 0 => {
                // Somebody else has registered it while this client's node was none of the others.
                let lost = message[2]["registration"].as_u64().expect("it says which");
                let found = me.part.registrations.iter().position(|it| *it == lost);
                // It may be leaving it.
                found.map(|found| me.part.registrations.swap_remove(found));
                assert!(self.has_lost_links(), "{when}: {message}");
                self.note_leaver();
                self.count("a registration is revoked");
            }
            (67, _) => {
                let asked = me.asked.remove(&of);
                assert!(matches!(asked, Some(Asked::Unregister)), "{when}: {message}");
            }
            (68, _) => self.take_invocation(client, message, when),
            (69, _) => {
                assert!(me.part.takes_interrupt, "{when}: {message}");
                assert!(me.part.interrupted.insert(number(1)), "{when}: twice: {message}");
                self.count("INTERRUPT");
            }
            (50, Some(tag)) => self.take_result(client, tag, message, when),
            (8, Some(tag)) if number(1) == 48 => self.take_error(client, tag, message, when),
            (8, _) if number(1) == 66 => {
                assert!(matches!(me.asked.remove(&of), Some(Asked::Unregister)), "{when}");
                assert_eq!(message[4], "wamp.error.no_such_registration", "{when}: {message}");
            }
            (8, _) if number(1) == 64 => {
                assert!(matches!(me.asked.remove(&of), Some(Asked::Register)), "{when}: {message}");
                match message[4].as_str().expect("a URI") {
                    "wamp.error.procedure_already_exists" => self.count("a claim is refused"),
                    "wamp.error.network_failure" if self.has_trouble || self.cluster.now > LATE => {
                        self.count("a claim is given up");
                    }
                    _ => panic!("{when}: {message}"),
                }
            }
            // A CANCEL came too late, or an id that has ended twice would be seen here.
            (50, None) if !me.asked.contains_key(&of) => panic!("{when}: twice: {message}"),
            _ => return false,
        }
        true
    }

    fn take_invocation(&mut self, client: usize, message: &Value, when: &str) {
        let number = |value: &Value| value.as_u64().expect("it is a number");
        let (request, args) = (number(&message[1]), &message[4]);
        let tag = usize::try_from(number(&args[0])).expect("it is small");
        let call = &mut self.calls.all[tag];
        let part = &mut self.clients[client].part;
        if number(&args[1]) > 0 {
            // A further piece, perhaps of what was answered.
            if let Some((of, next)) = part.invocations.get_mut(&request) {
                assert_eq!((*of, *next), (tag, number(&args[1])), "{when}: a gap in {message}");
                *next += 1;
                self.count("a further piece of a call");
            }
            return;
        }
        call.invoked += 1;
        assert_eq!(call.invoked, call.unavailable + 1, "{when}: invoked twice: {message}");
        let is_straight = call.unavailable == 0 && !PROCEDURES[call.procedure].1.contains('1');
        call.callee = Some(client);
        if is_straight {
            let last = part.last.insert(call.caller, tag);
            assert!(last.is_none_or(|last| last < tag), "{when}: order, {message}");
        }
        let published = part.published.entry(call.caller).or_default();
        *published = call.published.max(*published);
        let before = part.invocations.insert(request, (tag, 1));
        assert_eq!(before, None, "{when}: {message}");
        let is_foreign = self.clients[call.caller].node != self.clients[client].node;
        let is_again = call.unavailable > 0;
        self.count(if is_foreign { "a call of another node" } else { "a call" });
        if is_again && is_foreign {
            self.count("a call goes on to another node");
        }
    }

    /// What was published before a call that has come cannot come behind it.
    pub(super) fn check_behind_calls(
        &self,
        client: usize,
        publisher: usize,
        number: usize,
    ) -> bool {
        let published = self.clients[client].part.published.get(&publisher);
        published.is_none_or(|published| number >= *published)
    }

    fn take_result(&mut self, client: usize, tag: usize, message: &Value, when: &str) {
        let call = &mut self.calls.all[tag];
        assert!(!call.has_ended && message[3][0] == tag, "{when}: {message}");
        if message[2]["progress"] == true {
            call.heard += 1;
            assert_eq!(message[3][1], call.heard, "{when}: a gap before {message}");
            return self.count("a piece of a result");
        }
        assert_eq!(call.answer, Some(Answer::Result), "{when}: {message}");
        assert_eq!(message[3][1].as_u64(), call.callee.map(|it| it as u64), "{when}: {message}");
        self.end_call(client, tag, message);
        self.count("a result");
    }

    fn take_error(&mut self, client: usize, tag: usize, message: &Value, when: &str) {
        let (has_lost_links, is_narrow) = (self.has_lost_links(), self.is_narrow);
        let has_leavers = self.has_leavers();
        let call = &self.calls.all[tag];
        assert!(!call.has_ended, "{when}: {message}");
        let is_due = match message[4].as_str().expect("a URI") {
            "com.error" => call.answer == Some(Answer::Error) && message[5][0] == tag,
            "wamp.error.unavailable" => call.unavailable > 0,
            "wamp.error.no_such_procedure" | "wamp.error.no_available_callee" => true,
            "wamp.error.canceled" => call.canceled || has_leavers,
            "wamp.error.network_failure" => has_lost_links,
            "wamp.error.timeout" => call.has_timeout,
            "wamp.error.resource_limit" => is_narrow,
            "wamp.error.payload_size_exceeded" => call.is_long,
            "wamp.error.feature_not_supported" => call.is_upload,
            _ => false,
        };
        assert!(is_due, "{when}: {message}");
        self.end_call(client, tag, message);
        let uri = message[4].as_str().expect("a URI");
        *self.tally.entry(format!("ERROR {uri}")).or_default() += 1;
    }

    /// Clients have left, or were sent away and may not have heard it yet.
    fn has_leavers(&self) -> bool {
        let stops = |member: &Member| member.node.counts().stops > 0;
        self.calls.has_leavers || self.cluster.members.iter().any(stops)
    }

    /// Nodes may have been silent for too long by chance, too.
    fn has_lost_links(&self) -> bool {
        let members = &self.cluster.members;
        self.has_trouble || members.iter().any(|member| member.node.counts().links_ended > 0)
    }

    fn end_call(&mut self, client: usize, tag: usize, message: &Value) {
        let of = if message[0] == 8 { &message[2] } else { &message[1] };
        let request = of.as_u64().expect("a request");
        self.clients[client].asked.remove(&request);
        self.calls.all[tag].has_ended = true;
    }

    /// All nodes have the same callees in the same order: those that know that they are.
    pub(super) fn check_callees(&self, when: &str) {
        for (uri, options) in PROCEDURES {
            let callees = |member: &Member| {
                let realm = member.network.router.realm("realm1").expect("it is configured");
                let callees = realm.procedures.callees(uri, MatchPolicy::Exact);
                let sessions = callees.unwrap_or_default().into_iter();
                sessions.map(|callee| callee.session).collect::<Vec<_>>()
            };
            let members = &self.cluster.members;
            let here = callees(&members[0]);
            for member in members {
                assert_eq!(callees(member), here, "{when}: {uri}");
            }
            assert!(here.len() <= 1 || options != "{}", "{when}: {uri}: {here:?}");
            let realm = members[0].network.router.realm("realm1").expect("it is configured");
            let registration = realm.procedures.id_of(uri, MatchPolicy::Exact).get();
            let clients = self.clients.iter().filter(|client| !client.is_lost);
            let held = clients.filter(|client| client.part.registrations.contains(&registration));
            let held: Vec<_> = held.map(|client| (client.node, client.pipe)).collect();
            assert_eq!(held.len(), here.len(), "{when}: {uri}: {held:?}, {here:?}");
        }
    }

    /// At rest, who still works for nobody was told so, if it can be; and nobody else was.
    pub(super) fn check_interrupts(&mut self, when: &str) {
        let (mut told, here) = (0, self.clients.iter().filter(|client| !client.is_lost));
        for part in here.map(|client| &client.part).filter(|part| part.takes_interrupt) {
            for (request, (tag, _)) in &part.invocations {
                let call = &self.calls.all[*tag];
                let is_over = call.has_ended || self.clients[call.caller].is_lost;
                let is_told = part.interrupted.contains(request);
                let is_due = is_over || call.is_killed;
                assert!(is_told || !is_due || call.is_skipped, "{when}: call {tag} goes on");
                assert!(is_due || !is_told, "{when}: call {tag} was interrupted");
                told += u64::from(is_told);
            }
        }
        *self.tally.entry("told to stop at rest".into()).or_default() += told;
    }

    /// Everybody answers what it was asked, until nobody is asked any more.
    pub(super) fn answer_all(&mut self, when: &str) {
        for _ in 0..MANY_ROUNDS {
            let mut is_done = true;
            for client in 0..self.clients.len() {
                if self.clients[client].is_lost {
                    continue;
                }
                let part = &mut self.clients[client].part;
                for (request, (tag, _)) in std::mem::take(&mut part.invocations) {
                    is_done = false;
                    self.calls.all[tag].answer = Some(Answer::Result);
                    self.say(client, &json!([70, request, {}, [tag, client]]));
                }
            }
            self.cluster.settle_for(100);
            self.hear_all(when);
            if is_done {
                return;
            }
        }
        panic!("{when}: somebody is asked for ever");
    }
}

/// What is registered, and how.
const PROCEDURES: [(&str, &str); 5] = [
    ("com.p.only", "{}"),
    ("com.p.other", "{}"),
    ("com.p.shared", r#"{"invoke": "roundrobin"}"#),
    ("com.p.first", r#"{"invoke": "first"}"#),
    ("com.p.limited", r#"{"invoke": "random", "concurrency": 1}"#),
];

/// Those that are not shared.
pub(super) fn exclusive() -> impl Iterator<Item = &'static str> {
    PROCEDURES.iter().filter(|(_, options)| *options == "{}").map(|(uri, _)| *uri)
}

/// From here on a claim may have waited for too long by chance.
const LATE: Millis = Millis(20_000);

/// More than the callees that a call can have.
const MANY_ROUNDS: usize = 50;

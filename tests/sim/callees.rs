//! What callees do, and what they hear: registrations, invocations, their answers, INTERRUPT.

use rand::RngExt;
use serde_json::{Map, Value, json};
use stentor::authorization::{Action, Disclosure};
use stentor::router::CallerDisclosure;

use super::actions::with_payload;
use super::calls::{Invoked, Partial, extend};
use super::client::{Announced, Expected, Held, Request, Terms};
use super::hearing::{number, origin, payload};
use super::model::{Answer, Attempt, Call, Payload, Policy};
use super::plan::pick;
use super::world::World;

impl World {
    pub(crate) fn register(&mut self, c: usize) {
        let (pattern, mut expected) = self.pattern(c);
        let request = self.next_request(c);
        let mut options = json!({});
        if pattern.policy != Policy::Exact {
            options["match"] = json!(pattern.policy.as_str());
        }
        // Mostly one policy per URI, or sharing would hardly ever happen.
        let usual = INVOKE[(pattern.uri.len() + self.plan.clients) % INVOKE.len()];
        let other = *pick(&mut self.rng, INVOKE);
        let mut terms = Terms {
            invoke: if self.rng.random_bool(0.9) { usual } else { other },
            forward_timeout: self.rng.random_bool(0.3),
            disclose_caller: self.rng.random_bool(0.1),
            asked: self.number,
            ..Terms::default()
        };
        options["invoke"] = json!(terms.invoke);
        if self.rng.random_bool(self.plan.concurrency) {
            let limit = self.rng.random_range(1..4);
            terms.concurrency = Some(limit);
            options["concurrency"] = json!(limit);
            self.model.limits_concurrency = true;
        }
        if terms.forward_timeout {
            options["forward_timeout"] = json!(true);
        }
        if terms.disclose_caller {
            options["disclose_caller"] = json!(true);
            let forbidden = self.plan.realm.caller_disclosure == CallerDisclosure::Forbid;
            if forbidden && expected == Expected::Success {
                expected = Expected::DiscloseMe;
            }
        }
        expected = self.permitted(expected, Action::Register, &pattern.uri, pattern.policy);
        self.model.unsettle_calls(&pattern);
        self.say(c, "REGISTER", &json!([64, request, options, pattern.uri]));
        self.expect(c, request, Request::Register(pattern, terms, expected));
    }

    pub(crate) fn hear_registered(&mut self, c: usize, id: u64, held: Held) {
        self.model.check_pattern(id, &held.pattern);
        let since = self.model.calls.len();
        let terms = Terms { granted: self.number, ..held.terms };
        let session = &mut self.clients[c].session;
        // Here at the latest it learns of a silent revocation.
        session
            .registrations
            .retain(|_, old| old.revoked_after.is_none() || old.pattern != held.pattern);
        let first_invocation = session.last_invocation + 1;
        let held = Held { terms, since, first_invocation, ..held };
        let previous = session.registrations.insert(id, held);
        assert!(previous.is_none(), "nobody registers twice (BP-REG-01)");
    }

    pub(crate) fn unregister(&mut self, c: usize) {
        let session = &self.clients[c].session;
        let held = session.registrations.iter().filter(|(_, held)| !held.leaving);
        let ids: Vec<u64> = held.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = *pick(&mut self.rng, &ids);
        let request = self.next_request(c);
        let held = self.clients[c].session.registrations.get_mut(&id).expect("it was just listed");
        held.leaving = true;
        self.model.unsettle_calls(&held.pattern);
        self.say(c, "UNREGISTER", &json!([66, request, id]));
        self.expect(c, request, Request::Unregister(id, true));
    }

    /// Answers one invocation, any of those that wait.
    pub(crate) fn answer(&mut self, c: usize) {
        let session = &mut self.clients[c].session;
        let waiting: Vec<u64> = session.invocations.keys().copied().collect();
        if waiting.is_empty() {
            return;
        }
        let id = *pick(&mut self.rng, &waiting);
        let (tag, sequence) = session.invocations.remove(&id).expect("it was just listed");
        let (me, announced) = (session.tag, session.announced);
        let mut payload = self.payload(tag, sequence);
        let (error, details) = self.kind_of_answer(announced);
        let head = match error {
            None => vec![json!(70), json!(id), details.clone()],
            Some(uri) => vec![json!(8), json!(68), json!(id), details.clone(), json!(uri)],
        };
        let what = match error {
            None => "YIELD",
            Some(UNAVAILABLE) => "ERROR, unavailable",
            Some(_) => "ERROR",
        };
        self.say(c, what, &with_payload(head, &payload));
        if error == Some(NO_URI) {
            // The caller learns what was said instead (BP-URI-08).
            payload = Payload { args: vec![json!(NO_URI)], kwargs: Map::new() };
        }
        let uri = error.map(|uri| if uri == NO_URI { "wamp.error.invalid_uri" } else { uri });
        let call = self.model.calls.get_mut(&(tag, sequence)).expect("the call was sent");
        let in_passthru = error.is_none() && details != json!({});
        let unreadable = in_passthru && !call.course.reads_passthru;
        if unreadable {
            self.clients[c].session.long.unreadable.insert(id);
        }
        let (error, at) = (uri.map(str::to_owned), self.net.now);
        let answer = Answer { error, details, payload, at, unreadable };
        if uri == Some(UNAVAILABLE) && announced.reroutes {
            let attempt = call.attempts.iter_mut().find(|attempt| attempt.callee == me);
            attempt.expect("the callee was invoked").refused = true;
            call.refusal = Some(answer);
        } else {
            call.answer.get_or_insert(answer);
        }
    }

    /// The URI of an ERROR, or `None` for a YIELD, and the payload passthru keys.
    fn kind_of_answer(&mut self, announced: Announced) -> (Option<&'static str>, Value) {
        if self.is_probing() {
            return (None, json!({}));
        }
        let unavailable = if announced.reroutes { 0.35 } else { 0.05 };
        let error = if self.rng.random_bool(unavailable) {
            Some(UNAVAILABLE)
        } else {
            self.rng.random_bool(0.25).then(|| *pick(&mut self.rng, ERRORS))
        };
        // Anybody may say so in an ERROR.
        let able = announced.answers_in_passthru || error.is_some();
        let passthru = able && self.rng.random_bool(0.1);
        (error, if passthru { self.passthru() } else { json!({}) })
    }

    /// A progressive result, now and then one that nobody asked for.
    pub(crate) fn yield_progress(&mut self, c: usize) {
        let session = &self.clients[c].session;
        let waiting: Vec<_> = session.invocations.iter().map(|(id, call)| (*id, *call)).collect();
        if waiting.is_empty() {
            return;
        }
        let announced = session.announced;
        let (id, (tag, sequence)) = *pick(&mut self.rng, &waiting);
        let call = &self.model.calls[&(tag, sequence)];
        let counts = announced.advanced || !self.plan.settings.strict_roles;
        let asked = counts && call.course.receive_progress;
        let number = call.course.partials.len() + 1;
        let able = announced.answers_in_passthru && call.course.reads_passthru;
        let passthru = able && self.rng.random_bool(0.2);
        let keys = if passthru { self.passthru() } else { json!({}) };
        let mut options = keys.clone();
        options["progress"] = json!(true);
        let payload = self.part(tag, sequence, if asked { "partial" } else { "unasked" }, number);
        if asked {
            let partial = Partial { said: self.net.now, keys, payload: payload.clone() };
            let call = self.model.calls.get_mut(&(tag, sequence)).expect("it was sent");
            call.course.partials.push(partial);
        }
        let head = vec![json!(70), json!(id), options];
        let what = if asked { "YIELD, progressive" } else { "YIELD, progressive, unasked" };
        self.say(c, what, &with_payload(head, &payload));
    }

    /// The caller cannot read the answer, and the callee learns it (AP-PPT-03).
    pub(crate) fn hear_unreadable(&mut self, c: usize, message: &[Value]) {
        assert_eq!(message[4], json!("wamp.error.feature_not_supported"));
        let known = self.clients[c].session.long.unreadable.remove(&number(&message[2]));
        assert!(known, "c{c} hears {message:?} for no such answer");
        self.log.count("heard ERROR 68 wamp.error.feature_not_supported");
    }

    pub(crate) fn hear_invocation(&mut self, c: usize, message: &[Value]) {
        let session = &mut self.clients[c].session;
        let (id, registration) = (number(&message[1]), number(&message[2]));
        assert_eq!(id, session.last_invocation + 1, "invocation ids count by one (BP-ID-04)");
        session.last_invocation = id;
        let (me, announced) = (session.tag, session.announced);
        let held = session.registrations.get(&registration);
        let held = held.unwrap_or_else(|| panic!("c{c} holds no registration {registration}"));
        let payload = payload(&message[4..]);
        let (from, sequence) = origin(&payload);
        let call = self.model.calls.get_mut(&(from, sequence)).expect("the call was made");
        let lives = held.revoked_after.is_none_or(|calls| call.order < calls);
        assert!(lives, "call {from}/{sequence} comes behind a revocation (AP-REVR-01)");
        assert!(!call.void, "call {from}/{sequence} comes from behind a violation");
        assert!(held.pattern.matches(call.realm, &call.procedure), "the procedure matches");
        assert_eq!(payload, call.payload, "the payload of {from}/{sequence}");
        let again = call.is_routed_again(me, registration);
        let in_passthru = call.course.passthru != json!({});
        assert!(!in_passthru || announced.answers_in_passthru, "AP-PPT-03: {from}/{sequence}");
        assert!(!call.course.is_upload || announced.advanced, "AP-PCI-04: {from}/{sequence}");
        self.plan.check_granted([Action::Call, Action::Register], &call.procedure);
        let by_rule = self.plan.discloses(Disclosure::Caller, &call.procedure);
        let disclosed = by_rule
            || match self.plan.realm.caller_disclosure {
                CallerDisclosure::Allow => call.course.disclose_me || held.terms.disclose_caller,
                CallerDisclosure::Forbid => false,
                CallerDisclosure::Always => true,
            };
        let level = self.plan.trustlevel(Action::Call, &call.procedure);
        let mut details = details(call, held, announced, again, disclosed, level);
        let forwarded = details.get("timeout").is_some();
        let rest = details.clone();
        if call.course.is_upload {
            details["progress"] = json!(true);
        }
        assert_eq!(message[3], details, "the details of {from}/{sequence}");
        for key in ["caller", "ppt_scheme", "timeout", "trustlevel"] {
            if details.get(key).is_some() {
                self.log.count(&format!("heard INVOCATION with {key}"));
            }
        }
        let at = self.net.now;
        let refused = false;
        call.attempts.push(Attempt { callee: me, registration, at, forwarded, refused });
        session.invocations.insert(id, (from, sequence));
        let invoked = Invoked {
            call: (from, sequence),
            registration: message[2].clone(),
            details: rest,
            chunks: 0,
        };
        session.long.invoked.insert(id, invoked);
        if again {
            self.log.count("heard INVOCATION, routed again");
        } else {
            self.model.note_invocation(me, from, sequence);
        }
        self.check_concurrency(c, registration);
    }

    /// No callee has more invocations pending than it wants.
    fn check_concurrency(&mut self, c: usize, registration: u64) {
        let session = &self.clients[c].session;
        let held = &session.registrations[&registration];
        let Some(limit) = held.terms.concurrency else { return };
        let pending = session.invocations.iter().filter(|(id, call)| {
            let invoked = &session.long.invoked[id];
            **id >= held.first_invocation
                && invoked.registration == json!(registration)
                && self.is_pending(**call)
        });
        let pending = pending.count();
        assert!(pending <= limit, "c{c} has {pending} invocations and wants {limit}");
        if pending == limit {
            self.log.count("a callee has what it wants");
        }
    }

    /// A further chunk of an invocation: in order, and never after an INTERRUPT.
    pub(crate) fn hear_chunk(&mut self, c: usize, message: &[Value]) {
        let id = number(&message[1]);
        let long = &mut self.clients[c].session.long;
        assert!(!long.interrupted.contains(&id) || self.is_killed(c, id), "after an INTERRUPT");
        let long = &mut self.clients[c].session.long;
        let invoked = long.invoked.get_mut(&id).expect("a chunk follows its first (AP-PCI-01)");
        invoked.chunks += 1;
        let (tag, sequence) = invoked.call;
        let course = &self.model.calls[&(tag, sequence)].course;
        assert_eq!(payload(&message[4..]), course.chunks[invoked.chunks - 1], "chunks in order");
        assert_eq!(message[2], invoked.registration, "chunks of one registration");
        let mut details = invoked.details.clone();
        if !course.is_sent || invoked.chunks < course.chunks.len() {
            details["progress"] = json!(true);
        }
        assert_eq!(message[3], details, "the details of the first chunk (AP-PCI-06)");
        self.log.count("heard INVOCATION, continued");
    }

    fn is_killed(&self, c: usize, id: u64) -> bool {
        let call = self.clients[c].session.long.invoked[&id].call;
        self.model.calls[&call].course.killed
    }

    pub(crate) fn hear_interrupt(&mut self, c: usize, message: &[Value]) {
        let id = number(&message[1]);
        let session = &mut self.clients[c].session;
        assert!(session.announced.advanced, "c{c} did not announce call_canceling (AP-CAN-02)");
        assert!(session.long.interrupted.insert(id), "one INTERRUPT is enough");
        let (tag, sequence) = session.long.invoked[&id].call;
        let mode = message[2]["mode"].as_str().expect("INTERRUPT has a mode");
        let call = &self.model.calls[&(tag, sequence)];
        match mode {
            "kill" => assert!(call.course.killed, "nobody killed {tag}/{sequence}"),
            "killnowait" => {
                let wanted = call.course.dropped
                    || self.may_time_out(call)
                    || call.has_large_part()
                    || !self.is_well(tag);
                assert!(wanted, "nobody gave up on {tag}/{sequence}");
                // The callee need not answer any more.
                if self.rng.random_bool(0.5) {
                    self.clients[c].session.invocations.remove(&id);
                }
            }
            other => panic!("c{c} is interrupted with mode {other}"),
        }
        self.log.count(&format!("heard INTERRUPT {mode}"));
    }
}

impl Call {
    /// Whether an invocation is not the first: then the last callee was unavailable, and this one
    /// was not asked yet (AP-RRT-01, AP-RRT-02).
    fn is_routed_again(&self, callee: u64, registration: u64) -> bool {
        let Some(last) = self.attempts.last() else { return false };
        assert!(last.refused, "a call is invoked once, unless its callee is unavailable");
        assert_eq!(last.registration, registration, "it stays with its registration");
        let known = self.attempts.iter().any(|attempt| attempt.callee == callee);
        assert!(!known, "each callee is tried once");
        let kept = !self.course.is_upload && self.course.partials.is_empty();
        assert!(kept, "what has begun is not routed again (AP-RRT-04)");
        true
    }
}

/// `INVOCATION.Details`, without `progress`.
fn details(
    call: &Call,
    held: &Held,
    callee: Announced,
    again: bool,
    disclosed: bool,
    trustlevel: Option<u64>,
) -> Value {
    let course = &call.course;
    let mut details = course.passthru.clone();
    if held.pattern.policy != Policy::Exact {
        details["procedure"] = json!(call.procedure);
    }
    if course.receive_progress && callee.advanced {
        details["receive_progress"] = json!(true);
    }
    // The deadline of the first invocation holds for the others (AP-TMO-08).
    if course.timeout_ms > 0 && held.terms.forward_timeout && callee.watches_timeouts && !again {
        details["timeout"] = json!(course.timeout_ms);
    }
    if let Some(level) = trustlevel {
        details["trustlevel"] = json!(level);
    }
    if disclosed {
        extend(&mut details, &course.identity);
    }
    details
}

const INVOKE: &[&str] = &["single", "roundrobin", "first", "last", "random"];
const ERRORS: &[&str] = &[
    "com.error",
    "wamp.error.invalid_argument",
    "wamp.error.canceled",
    "wamp.error.timeout",
    NO_URI,
];
const NO_URI: &str = "no URI at all";
const UNAVAILABLE: &str = "wamp.error.unavailable";

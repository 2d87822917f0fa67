//! What callers do: calls with all their options, their further chunks, and CANCEL.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use serde_json::{Map, Value, json};
use stentor::authorization::{Action, Disclosure};
use stentor::clock::Millis;
use stentor::router::{CallerDisclosure, SessionRef};

use super::actions::{INVALID, URIS, with_payload};
use super::client::{Announced, Expected, Request, Stage};
use super::hearing::{number, payload};
use super::model::{Call, Payload, Policy, Tag};
use super::plan::pick;
use super::world::World;

/// What the model knows of a call besides its request and its answer.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) receive_progress: bool,
    /// 0: none.
    pub(crate) timeout_ms: u64,
    pub(crate) sent: Millis,
    /// CANCEL was sent with `kill`, or with a mode that ends the call at once.
    pub(crate) killed: bool,
    pub(crate) dropped: bool,
    /// CANCELs with an unknown mode whose refusals have not come.
    pub(crate) strange_cancels: u64,
    /// The first CALL had `progress`.
    pub(crate) is_upload: bool,
    /// The payload passthru keys.
    pub(crate) passthru: Value,
    /// The caller takes answers in payload passthru mode.
    pub(crate) reads_passthru: bool,
    pub(crate) disclose_me: bool,
    /// What a callee hears of a caller that is disclosed.
    pub(crate) identity: Value,
    /// Further chunks that were sent, and whether the last of them is the last.
    pub(crate) chunks: Vec<Payload>,
    pub(crate) is_sent: bool,
    pub(crate) partials: Vec<Partial>,
    pub(crate) partials_heard: usize,
}

/// A progressive result.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) said: Millis,
    /// The payload passthru keys.
    pub(crate) keys: Value,
    pub(crate) payload: Payload,
}

/// What a client knows of its long calls and invocations.
#[derive(Debug, Default)]
pub(crate) struct LongCalls {
    /// Calls of which more chunks may be sent, with their numbers.
    pub(crate) uploads: BTreeMap<u64, u64>,
    /// Calls of which further chunks were sent: one that came too late may still be refused.
    pub(crate) continued: BTreeSet<u64>,
    /// All invocations that came.
    pub(crate) invoked: BTreeMap<u64, Invoked>,
    pub(crate) interrupted: BTreeSet<u64>,
    /// Invocations that were answered in payload passthru mode to a caller that does not take it.
    pub(crate) unreadable: BTreeSet<u64>,
}

/// An invocation as its callee knows it.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub(crate) call: (Tag, u64),
    pub(crate) registration: Value,
    /// `Details` without `progress`: the same for all chunks (AP-PCI-06).
    pub(crate) details: Value,
    /// Further chunks that came.
    pub(crate) chunks: usize,
}

impl World {
    pub(crate) fn act_on_long_calls(&mut self, c: usize) {
        match self.rng.random_range(0..4) {
            0 => self.cancel(c),
            1 => self.continue_upload(c),
            _ => self.yield_progress(c),
        }
    }

    /// What HELLO announces.
    pub(crate) fn roles(&mut self, c: usize) -> Value {
        let announced = Announced {
            advanced: self.rng.random_bool(0.6),
            calls_in_passthru: self.rng.random_bool(0.6),
            answers_in_passthru: self.rng.random_bool(0.6),
            reroutes: self.rng.random_bool(0.6),
            watches_timeouts: self.rng.random_bool(0.6),
        };
        self.clients[c].session.announced = announced;
        let mut both = json!({
            "progressive_call_invocations": announced.advanced,
            "progressive_call_results": announced.advanced,
            "call_canceling": announced.advanced,
            "payload_passthru_mode": announced.calls_in_passthru,
        });
        let caller = json!({ "features": both });
        let callees = json!({
            "registration_revocation": announced.advanced,
            "payload_passthru_mode": announced.answers_in_passthru,
            "call_reroute": announced.reroutes,
            "call_timeout": announced.watches_timeouts,
        });
        extend(&mut both, &callees);
        let callee = json!({ "features": both });
        let passthru = json!({"features": {"payload_passthru_mode": true}});
        let revocation = json!({"features": {"subscription_revocation": true}});
        json!({"publisher": passthru, "subscriber": revocation, "caller": caller, "callee": callee})
    }

    pub(crate) fn call(&mut self, c: usize) {
        let (procedure, expected) = match self.rng.random_range(0..20) {
            0 => (*pick(&mut self.rng, INVALID), Expected::InvalidUri),
            1 => ("wamp.session.counts", Expected::NoSuchProcedure),
            _ => (*pick(&mut self.rng, URIS), Expected::Success),
        };
        let sequence = self.clients[c].session.calls + 1;
        let payload = self.payload(self.clients[c].session.tag, sequence);
        let (options, course) = self.call_options(c);
        let expected = match (expected, self.plan.realm.caller_disclosure) {
            (Expected::Success, CallerDisclosure::Forbid)
                if course.disclose_me && !self.plan.discloses(Disclosure::Caller, procedure) =>
            {
                Expected::DiscloseMe
            }
            _ => expected,
        };
        self.send_call(c, procedure, expected, payload, options, course);
    }

    /// Sends a CALL and enters it into the model.
    pub(crate) fn send_call(
        &mut self,
        c: usize,
        procedure: &str,
        expected: Expected,
        payload: Payload,
        options: Value,
        course: Course,
    ) -> (Tag, u64) {
        let expected = self.permitted(expected, Action::Call, procedure, Policy::Exact);
        let request = self.next_request(c);
        let session = &mut self.clients[c].session;
        session.calls += 1;
        let (tag, sequence, realm) = (session.tag, session.calls, session.realm);
        if course.is_upload {
            session.long.uploads.insert(request, sequence);
        }
        let head = vec![json!(48), json!(request), options, json!(procedure)];
        self.say(c, "CALL", &with_payload(head, &payload));
        let call = Call {
            realm,
            procedure: procedure.to_owned(),
            payload,
            void: self.clients[c].hostile || expected != Expected::Success,
            order: self.model.calls.len(),
            attempts: Vec::new(),
            refusal: None,
            answer: None,
            sure_callees: self.sure_callees(realm, procedure),
            course,
        };
        self.model.calls.insert((tag, sequence), call);
        self.expect(c, request, Request::Call(sequence, expected));
        (tag, sequence)
    }

    /// The options of a new call.
    fn call_options(&mut self, c: usize) -> (Value, Course) {
        let mut options = json!({});
        let mut course = self.plain_course(c);
        let announced = self.clients[c].session.announced;
        if self.rng.random_bool(0.3) {
            options["receive_progress"] = json!(true);
            course.receive_progress = true;
        }
        if self.rng.random_bool(0.15) {
            course.timeout_ms = self.rng.random_range(100..3_000);
            options["timeout"] = json!(course.timeout_ms);
        }
        if announced.advanced && self.rng.random_bool(0.2) {
            options["progress"] = json!(true);
            course.is_upload = true;
        }
        if announced.calls_in_passthru && self.rng.random_bool(0.1) {
            course.passthru = self.passthru();
            extend(&mut options, &course.passthru);
        }
        if self.rng.random_bool(0.15) {
            options["disclose_me"] = json!(true);
            course.disclose_me = true;
        }
        (options, course)
    }

    /// The course of a call without options.
    pub(crate) fn plain_course(&self, c: usize) -> Course {
        let session = &self.clients[c].session;
        Course {
            sent: self.net.now,
            passthru: json!({}),
            reads_passthru: session.announced.calls_in_passthru,
            identity: json!({
                "caller": session.id,
                "caller_authid": session.authid,
                "caller_authrole": session.authrole,
            }),
            ..Course::default()
        }
    }

    /// The keys of one message in payload passthru mode.
    pub(crate) fn passthru(&mut self) -> Value {
        match self.rng.random_range(0..3) {
            0 => json!({"ppt_scheme": "x_sim"}),
            1 => json!({"ppt_scheme": "mqtt", "ppt_serializer": "cbor"}),
            _ => json!({
                "ppt_scheme": "wamp", "ppt_serializer": "cbor", "ppt_cipher": "x", "ppt_keyid": "k",
            }),
        }
    }

    /// The callees that could get a call, if each of them is there to stay as far as one knows.
    fn sure_callees(&self, realm: &str, procedure: &str) -> Vec<Tag> {
        // Who is gone and not missed yet may even register: the router reads it to its end.
        let mut pipes = self.net.links.pipes.iter();
        let is_unmissed = pipes.any(|pipe| pipe.lost && !pipe.closed);
        if is_unmissed || self.has_departing_callee(realm, procedure) {
            return Vec::new();
        }
        let mut sure = Vec::new();
        for client in &self.clients {
            if matches!(client.stage, Stage::Leaving | Stage::Quitting) {
                // The router may not know yet, and nobody knows what it held.
                return Vec::new();
            }
            let session = &client.session;
            for held in session.registrations.values() {
                if held.pattern.matches(realm, procedure) {
                    if held.leaving || client.hostile {
                        return Vec::new();
                    }
                    sure.push(session.tag);
                }
            }
            for request in session.pending.values() {
                let Request::Register(pattern, ..) = request else { continue };
                if pattern.matches(realm, procedure) {
                    return Vec::new();
                }
            }
        }
        sure
    }

    /// Whether the router still knows a callee whose client has gone.
    fn has_departing_callee(&self, realm: &str, procedure: &str) -> bool {
        let procedures = &self.net.router.realm(realm).expect("it is configured").procedures;
        let all = procedures.list(usize::MAX).expect("there is no limit");
        let all = all.exact.into_iter().chain(all.prefix).chain(all.wildcard);
        let described = all.filter_map(|registration| procedures.get(registration));
        let matching = described.filter(|it| it.policy.matches(&it.uri, procedure));
        let mut callees = matching.filter_map(|it| procedures.callees(&it.uri, it.policy));
        let is_here = |callee: &SessionRef| {
            let mut here = self.clients.iter().filter(|client| client.stage == Stage::Joined);
            here.any(|client| client.session.id == callee.session.get())
        };
        callees.any(|callees| !callees.iter().all(is_here))
    }

    fn cancel(&mut self, c: usize) {
        let session = &self.clients[c].session;
        let calls = session.pending.iter().filter_map(|(id, request)| match request {
            Request::Call(sequence, _) => Some((*id, *sequence)),
            _ => None,
        });
        let calls: Vec<(u64, u64)> = calls.collect();
        if calls.is_empty() {
            return;
        }
        let tag = session.tag;
        let (id, sequence) = *pick(&mut self.rng, &calls);
        let options = self.cancel_options();
        let call = self.model.calls.get_mut(&(tag, sequence)).expect("it was sent");
        match options.get("mode").and_then(Value::as_str) {
            Some("kill") => call.course.killed = true,
            Some("harder") => call.course.strange_cancels += 1,
            _ => call.course.dropped = true,
        }
        self.say(c, "CANCEL", &json!([49, id, options]));
    }

    fn cancel_options(&mut self) -> Value {
        let mode = *pick(&mut self.rng, &["skip", "kill", "kill", "killnowait", "harder"]);
        match self.rng.random_range(0..5) {
            0 => json!({}),
            _ => json!({ "mode": mode }),
        }
    }

    /// CANCEL of a call that is over: it comes too late and has no effect (AP-CAN-04).
    pub(crate) fn cancel_late(&mut self, c: usize) {
        let session = &self.clients[c].session;
        let ended = session.ended_calls.iter().filter(|id| !session.pending.contains_key(id));
        let ended: Vec<u64> = ended.copied().collect();
        if ended.is_empty() {
            return;
        }
        let id = *pick(&mut self.rng, &ended);
        let options = self.cancel_options();
        self.say(c, "odd: CANCEL, too late", &json!([49, id, options]));
    }

    /// A CANCEL with an unknown mode was refused; the call goes on (AP-CAN-03).
    pub(crate) fn hear_strange_cancel(&mut self, c: usize, message: &[Value]) -> bool {
        let sentence = message.get(5).and_then(|args| args[0].as_str()).unwrap_or_default();
        if message[1] != json!(48) || !sentence.starts_with("CANCEL.Options.mode") {
            return false;
        }
        assert_eq!(message[4], json!("wamp.error.invalid_argument"));
        let session = &self.clients[c].session;
        let request = session.pending.get(&number(&message[2]));
        let Some(Request::Call(sequence, _)) = request else {
            panic!("c{c} hears {message:?} and has no such call pending");
        };
        let call = self.model.calls.get_mut(&(session.tag, *sequence)).expect("it was sent");
        let left = call.course.strange_cancels.checked_sub(1);
        call.course.strange_cancels = left.expect("a CANCEL for each refusal");
        self.log.count("heard ERROR 48 for a CANCEL");
        true
    }

    /// A further chunk, also of a call that is over by now.
    fn continue_upload(&mut self, c: usize) {
        let session = &mut self.clients[c].session;
        let uploads: Vec<(u64, u64)> = session.long.uploads.iter().map(|(a, b)| (*a, *b)).collect();
        if uploads.is_empty() || self.clients[c].hostile {
            return;
        }
        let (id, sequence) = *pick(&mut self.rng, &uploads);
        self.clients[c].session.long.continued.insert(id);
        let is_last = self.rng.random_bool(0.4);
        let tag = self.clients[c].session.tag;
        let number = self.model.calls[&(tag, sequence)].course.chunks.len() + 1;
        let payload = self.part(tag, sequence, "chunk", number);
        let call = self.model.calls.get_mut(&(tag, sequence)).expect("it was sent");
        call.course.chunks.push(payload.clone());
        let mut options = json!({});
        if is_last {
            call.course.is_sent = true;
            self.clients[c].session.long.uploads.remove(&id);
        } else {
            options["progress"] = json!(true);
        }
        let head = vec![json!(48), json!(id), options, json!(call.procedure)];
        self.say(c, "chunk", &with_payload(head, &payload));
    }

    /// What a chunk or a progressive result says, now and then more than a small peer takes.
    pub(crate) fn part(&mut self, tag: Tag, sequence: u64, kind: &str, number: usize) -> Payload {
        let mut args = vec![json!(tag), json!(sequence), json!(kind), json!(number)];
        if self.rng.random_bool(0.05) {
            args.push(json!("p".repeat(1_500)));
        }
        Payload { args, kwargs: Map::new() }
    }

    pub(crate) fn hear_partial(&mut self, c: usize, message: &[Value]) {
        let session = &self.clients[c].session;
        let request = session.pending.get(&number(&message[1]));
        let Some(Request::Call(sequence, _)) = request else {
            panic!("c{c} hears {message:?} after the end of the call (BP-CALL-03)");
        };
        let call = self.model.calls.get_mut(&(session.tag, *sequence)).expect("it was sent");
        assert!(call.course.receive_progress, "c{c} asked for no progressive results");
        call.course.partials_heard += 1;
        let partial = &call.course.partials[call.course.partials_heard - 1];
        assert_eq!(payload(&message[3..]), partial.payload, "results in order (BP-ORD-05)");
        let mut details = partial.keys.clone();
        details["progress"] = json!(true);
        assert_eq!(message[2], details, "the details of a progressive result");
        self.log.count("heard RESULT, progressive");
    }
}

/// Puts the keys of one dict into another.
pub(crate) fn extend(dict: &mut Value, more: &Value) {
    let more = more.as_object().expect("a dict").clone();
    dict.as_object_mut().expect("a dict").extend(more);
}

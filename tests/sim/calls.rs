//! What makes calls long: CANCEL and INTERRUPT, timeouts, progressive results and invocations.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use serde_json::{Map, Value, json};
use stentor::clock::Millis;

use super::actions::with_payload;
use super::client::Request;
use super::hearing::{number, payload};
use super::model::{Payload, Tag};
use super::plan::pick;
use super::world::World;

/// What the model knows of a call besides its request and its answer.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) receive_progress: bool,
    /// 0: none.
    pub(crate) timeout_ms: u64,
    pub(crate) sent: Millis,
    pub(crate) canceled: bool,
    /// The first CALL had `progress`.
    pub(crate) is_upload: bool,
    /// Further chunks that were sent, and which of them was the last.
    chunks_sent: u64,
    last_chunk: Option<u64>,
    partials_sent: u64,
    partials_heard: u64,
}

/// What a client knows of its long calls and invocations.
#[derive(Debug, Default)]
pub(crate) struct LongCalls {
    /// It announced every feature of callers and callees.
    pub(crate) advanced: bool,
    /// Calls of which more chunks may be sent, with their numbers.
    uploads: BTreeMap<u64, u64>,
    /// All invocations with the call behind each, and the chunks that came.
    invoked: BTreeMap<u64, (Tag, u64, u64)>,
    interrupted: BTreeSet<u64>,
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
        let advanced = self.rng.random_bool(0.6);
        self.clients[c].session.long.advanced = advanced;
        let on = |names: &[&str]| {
            let features: Map<_, _> =
                names.iter().map(|name| ((*name).to_owned(), json!(advanced))).collect();
            json!({ "features": features })
        };
        let both = [
            "progressive_call_invocations",
            "progressive_call_results",
            "call_canceling",
            "registration_revocation",
        ];
        let passthru = json!({"features": {"payload_passthru_mode": true}});
        let revocation = json!({"features": {"subscription_revocation": true}});
        let (caller, callee) = (on(&both), on(&both));
        json!({"publisher": passthru, "subscriber": revocation, "caller": caller, "callee": callee})
    }

    /// The options of a new call.
    pub(crate) fn call_options(
        &mut self,
        c: usize,
        request: u64,
        sequence: u64,
    ) -> (Value, Course) {
        let mut options = json!({});
        let mut course = Course { sent: self.net.now, ..Course::default() };
        if self.rng.random_bool(0.3) {
            options["receive_progress"] = json!(true);
            course.receive_progress = true;
        }
        if self.rng.random_bool(0.15) {
            course.timeout_ms = self.rng.random_range(100..3_000);
            options["timeout"] = json!(course.timeout_ms);
        }
        if self.clients[c].session.long.advanced && self.rng.random_bool(0.2) {
            options["progress"] = json!(true);
            course.is_upload = true;
            self.clients[c].session.long.uploads.insert(request, sequence);
        }
        (options, course)
    }

    pub(crate) fn cancel(&mut self, c: usize) {
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
        let mode = *pick(&mut self.rng, &["skip", "kill", "kill", "killnowait"]);
        let options = match self.rng.random_range(0..5) {
            0 => json!({}),
            _ => json!({ "mode": mode }),
        };
        self.model.calls.get_mut(&(tag, sequence)).expect("it was sent").course.canceled = true;
        self.say(c, "CANCEL", &json!([49, id, options]));
    }

    /// A further chunk, also of a call that is over by now.
    fn continue_upload(&mut self, c: usize) {
        let session = &mut self.clients[c].session;
        let uploads: Vec<(u64, u64)> = session.long.uploads.iter().map(|(a, b)| (*a, *b)).collect();
        if uploads.is_empty() || self.clients[c].hostile {
            return;
        }
        let (id, sequence) = *pick(&mut self.rng, &uploads);
        let is_last = self.rng.random_bool(0.4);
        let tag = self.clients[c].session.tag;
        let call = self.model.calls.get_mut(&(tag, sequence)).expect("it was sent");
        call.course.chunks_sent += 1;
        let chunk = call.course.chunks_sent;
        let mut options = json!({});
        if is_last {
            call.course.last_chunk = Some(chunk);
            self.clients[c].session.long.uploads.remove(&id);
        } else {
            options["progress"] = json!(true);
        }
        let payload = part(tag, sequence, "chunk", chunk);
        let head = vec![json!(48), json!(id), options, json!(call.procedure)];
        self.say(c, "chunk", &with_payload(head, &payload));
    }

    /// A progressive result, now and then one that nobody asked for.
    fn yield_progress(&mut self, c: usize) {
        let session = &self.clients[c].session;
        let waiting: Vec<_> = session.invocations.iter().map(|(id, call)| (*id, *call)).collect();
        if waiting.is_empty() {
            return;
        }
        let advanced = session.long.advanced;
        let (id, (tag, sequence)) = *pick(&mut self.rng, &waiting);
        let call = self.model.calls.get_mut(&(tag, sequence)).expect("it was sent");
        let asked = advanced && call.course.receive_progress;
        let payload = if asked {
            call.course.partials_sent += 1;
            part(tag, sequence, "partial", call.course.partials_sent)
        } else {
            part(tag, sequence, "unasked", 0)
        };
        let head = vec![json!(70), json!(id), json!({"progress": true})];
        let what = if asked { "YIELD, progressive" } else { "YIELD, progressive, unasked" };
        self.say(c, what, &with_payload(head, &payload));
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
        let expected = part(session.tag, *sequence, "partial", call.course.partials_heard);
        assert_eq!(payload(&message[3..]), expected, "progressive results in order (BP-ORD-05)");
        self.log.count("heard RESULT, progressive");
    }

    /// A call has ended with the RESULT of its callee.
    pub(crate) fn check_partials(&self, tag: Tag, sequence: u64) {
        let course = &self.model.calls[&(tag, sequence)].course;
        assert_eq!(course.partials_heard, course.partials_sent, "all progressive results came");
    }

    /// Notes a new invocation.
    pub(crate) fn note_invoked(&mut self, c: usize, id: u64, tag: Tag, sequence: u64) {
        self.clients[c].session.long.invoked.insert(id, (tag, sequence, 0));
    }

    /// A further chunk of an invocation: in order, and never after an INTERRUPT.
    pub(crate) fn hear_chunk(&mut self, c: usize, message: &[Value]) {
        let id = number(&message[1]);
        let long = &mut self.clients[c].session.long;
        let invoked = long.invoked.get_mut(&id).expect("a chunk follows its first (AP-PCI-01)");
        invoked.2 += 1;
        let (tag, sequence, chunk) = *invoked;
        let expected = part(tag, sequence, "chunk", chunk);
        assert_eq!(payload(&message[4..]), expected, "chunks in order");
        let is_last = self.model.calls[&(tag, sequence)].course.last_chunk == Some(chunk);
        assert_eq!(message[3].get("progress").is_none(), is_last, "the last chunk says so");
        self.log.count("heard INVOCATION, continued");
    }

    pub(crate) fn hear_interrupt(&mut self, c: usize, message: &[Value]) {
        let id = number(&message[1]);
        let session = &mut self.clients[c].session;
        assert!(session.long.advanced, "c{c} did not announce call_canceling (AP-CAN-02)");
        assert!(session.long.interrupted.insert(id), "one INTERRUPT is enough");
        let (tag, sequence, _) = session.long.invoked[&id];
        let mode = message[2]["mode"].as_str().expect("INTERRUPT has a mode");
        let course = &self.model.calls[&(tag, sequence)].course;
        match mode {
            "kill" => assert!(course.canceled, "nobody canceled {tag}/{sequence}"),
            "killnowait" => {
                // The callee need not answer any more.
                if self.rng.random_bool(0.5) {
                    session.invocations.remove(&id);
                }
            }
            other => panic!("c{c} is interrupted with mode {other}"),
        }
        self.log.count(&format!("heard INTERRUPT {mode}"));
    }
}

fn part(tag: Tag, sequence: u64, kind: &str, number: u64) -> Payload {
    let args = vec![json!(tag), json!(sequence), json!(kind), json!(number)];
    Payload { args, kwargs: Map::new() }
}

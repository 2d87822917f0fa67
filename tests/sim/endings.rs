//! How calls end, and whether they may: with what their callee said, or with what the router says
//! where it has a reason.

use serde_json::{Value, json};

use super::client::{Client, Held, Request, Stage};
use super::hearing::payload;
use super::model::{Answer, Call, Payload, Tag};
use super::probing::Probing;
use super::refusing::PAYLOAD_OF_A_CALL;
use super::world::World;

impl World {
    /// The call has ended with RESULT.
    pub(crate) fn check_result(&self, c: usize, sequence: u64, message: &[Value]) {
        let tag = self.clients[c].session.tag;
        let call = &self.model.calls[&(tag, sequence)];
        let answer = call.answer.as_ref().expect("somebody answered the call");
        assert_eq!(answer.error, None, "the callee said ERROR");
        assert!(!answer.unreadable, "the caller does not take payload passthru (AP-PPT-03)");
        assert_eq!(answer.details, message[2], "the details of the answer");
        assert_eq!(answer.payload, payload(&message[3..]), "the payload of the answer");
        let course = &call.course;
        assert_eq!(course.partials_heard, course.partials.len(), "all progressive results came");
        self.check_in_time(call, answer);
    }

    /// The dealer's deadline had not come when the callee answered (AP-TMO-02).
    fn check_in_time(&self, call: &Call, answer: &Answer) {
        let Some(patience_ms) = self.patience_ms(call) else { return };
        let (Some(first), Some(last)) = (call.attempts.first(), call.attempts.last()) else {
            return;
        };
        // A progressive result starts the timer again, nobody knows when.
        if !call.course.partials.is_empty() {
            return;
        }
        // When it is routed again too late, time has to pass before anybody looks at the clock.
        let at_once = call.attempts.len() > 1 && answer.at == last.at;
        let in_time = answer.at < first.at + patience_ms;
        assert!(
            in_time || at_once,
            "answered at {:?} in spite of its timeout: {call:?}",
            answer.at
        );
    }

    /// How long the dealer waits for the callee; `None`: for ever.
    fn patience_ms(&self, call: &Call) -> Option<u64> {
        let attempts = call.attempts.as_slice();
        let forwarded = matches!(attempts, [only] if only.forwarded && !only.refused);
        let asked_ms = if forwarded { 0 } else { call.course.timeout_ms };
        let max_ms = self.plan.settings.limits.call_timeout_ms_max;
        [asked_ms, max_ms].into_iter().filter(|ms| *ms > 0).min()
    }

    /// Whether the dealer may have given up on a call by now.
    pub(crate) fn may_time_out(&self, call: &Call) -> bool {
        let course = &call.course;
        let progress = course.partials_heard.checked_sub(1).map(|last| course.partials[last].said);
        let since = progress.map_or(course.sent, |said| said.max(course.sent));
        self.patience_ms(call).is_some_and(|ms| self.net.now.since(since) >= ms)
    }

    /// Whether nothing can have ended a call but its callee's answer.
    pub(crate) fn is_pending(&self, (tag, sequence): (Tag, u64)) -> bool {
        let call = &self.model.calls[&(tag, sequence)];
        let canceled = call.course.killed || call.course.dropped;
        let ended = canceled || self.may_time_out(call) || call.has_large_part();
        let ended = ended || self.plan.tight_output || self.plan.tight_held;
        let waits = |client: &Client| {
            let mut requests = client.session.pending.values();
            requests.any(|request| matches!(request, Request::Call(it, _) if *it == sequence))
        };
        !ended && self.is_well(tag) && self.find(tag).is_some_and(|c| waits(&self.clients[c]))
    }

    /// Whether the callee said so, or the router had a reason.
    pub(crate) fn may_call_fail(&self, c: usize, sequence: u64, message: &[Value]) -> bool {
        let uri = message[4].as_str().expect("an error is a string");
        let tag = self.clients[c].session.tag;
        let call = &self.model.calls[&(tag, sequence)];
        if let Some(answer) = self.said(c, call, message) {
            self.check_in_time(call, answer);
            return true;
        }
        assert_eq!(message[3], json!({}), "the router's own errors have no details");
        if self.is_probing() {
            return uri == NO_AVAILABLE_CALLEE && self.probing == Probing::AtOnce;
        }
        let course = &call.course;
        let sure = |able: &dyn Fn(&Client) -> bool| self.are_sure_callees(call, able);
        match uri {
            "wamp.error.canceled" => {
                let not_killable = !sure(&|client| client.session.announced.advanced);
                course.dropped || course.killed && not_killable || !sure(&|_| true)
            }
            "wamp.error.no_such_procedure" => !sure(&|_| true),
            "wamp.error.timeout" => self.may_time_out(call),
            "wamp.error.feature_not_supported" => {
                let unable = |callee: &Client| {
                    let announced = callee.session.announced;
                    course.is_upload && !announced.advanced
                        || course.passthru != json!({}) && !announced.answers_in_passthru
                };
                call.answer.as_ref().is_some_and(|answer| answer.unreadable)
                    || (course.is_upload || course.passthru != json!({}))
                        && !sure(&|callee| !unable(callee))
            }
            NO_AVAILABLE_CALLEE => match call.attempts.last() {
                Some(last) => last.refused && self.is_exhausted(call),
                None => self.may_be_busy(call),
            },
            LIMIT => {
                self.is_over_limit(c, &message[5][0])
                    || self.is_held_too_much(message, PAYLOAD_OF_A_CALL)
            }
            "wamp.error.payload_size_exceeded" => {
                let said = call.answer.as_ref().is_some_and(|answer| is_large(&answer.payload));
                is_large(&call.payload) || said || call.has_large_part()
            }
            _ => false,
        }
    }

    /// Whether the limit that the router names to a caller can have been reached.
    fn is_over_limit(&self, c: usize, reason: &Value) -> bool {
        let reason = reason.as_str().expect("the router says why");
        let has_refused = |pipe: usize| self.net.links.pipes[pipe].has_refused;
        let names = |start: &str| reason.starts_with(start);
        if names("this session has as many calls pending")
            || names("the callee has as many invocations pending")
            || names("the router has no room to keep this call")
        {
            return self.plan.tight_limits;
        }
        // Who does not read may have no room. The callee may have gone meanwhile.
        let does_not_read = if names("the caller does not read as fast as it is answered") {
            has_refused(self.clients[c].pipe)
        } else {
            names("the callee does not read as fast as it is called")
                && (0..self.net.links.pipes.len()).any(has_refused)
        };
        does_not_read && self.plan.tight_output
    }

    /// What the callee said, if an ERROR is that.
    fn said<'a>(&self, c: usize, call: &'a Call, message: &[Value]) -> Option<&'a Answer> {
        let refusal = call.refusal.as_ref().filter(|_| call.course.killed);
        let heard = payload(&message[5..]);
        call.answer.iter().chain(refusal).find(|answer| {
            let limit = self.clients[c].link.limit_bytes();
            let too_large = size(&answer.payload) + ENVELOPE_BYTES > limit;
            let same = heard == answer.payload || too_large && heard == Payload::default();
            let uri = answer.error.as_deref();
            uri.is_some_and(|uri| message[4] == json!(uri)) && message[3] == answer.details && same
        })
    }

    /// Whether all callees that could get a call are known, are there, and are as they should be.
    fn are_sure_callees(&self, call: &Call, able: &dyn Fn(&Client) -> bool) -> bool {
        let is_able = |tag: Tag| {
            self.is_well(tag) && self.find(tag).is_some_and(|callee| able(&self.clients[callee]))
        };
        !call.sure_callees.is_empty() && call.sure_callees.iter().all(|tag| is_able(*tag))
    }

    /// Whether a call may have met callees that are all busy.
    fn may_be_busy(&self, call: &Call) -> bool {
        let unlimited = |callee: &Client| {
            let held = callee.session.registrations.values();
            let mut matching = held.filter(|h| h.pattern.matches(call.realm, &call.procedure));
            matching.all(|held| held.terms.concurrency.is_none())
        };
        self.model.limits_concurrency && !self.are_sure_callees(call, &unlimited)
    }

    /// Whether a call that was refused has nobody else to go to (AP-RRT-02).
    fn is_exhausted(&self, call: &Call) -> bool {
        if call.course.is_upload || !call.course.partials.is_empty() {
            return true;
        }
        let registration = call.attempts[0].registration;
        let free = |held: &Held| {
            !held.leaving && held.since <= call.order && held.terms.concurrency.is_none()
        };
        !self.clients.iter().any(|client| {
            let session = &client.session;
            session.registrations.get(&registration).is_some_and(free)
                && self.is_well(session.tag)
                && !call.attempts.iter().any(|attempt| attempt.callee == session.tag)
        })
    }

    /// The client that has a session now.
    pub(crate) fn find(&self, tag: Tag) -> Option<usize> {
        (0..self.clients.len()).find(|c| self.clients[*c].session.tag == tag)
    }

    /// Whether a session is there for sure: it is joined, and there is no reason to end it.
    pub(crate) fn is_well(&self, tag: Tag) -> bool {
        self.find(tag)
            .is_some_and(|c| self.clients[c].stage == Stage::Joined && self.excuses(c).is_empty())
    }
}

impl Call {
    /// Whether there was a chunk or a progressive result that the smallest peers do not take.
    pub(crate) fn has_large_part(&self) -> bool {
        let partials = self.course.partials.iter().map(|partial| &partial.payload);
        self.course.chunks.iter().chain(partials).any(is_large)
    }
}

/// Whether the smallest peers may be unable to take it.
fn is_large(payload: &Payload) -> bool {
    size(payload) + ENVELOPE_BYTES > SMALL_LIMIT_BYTES
}

fn size(payload: &Payload) -> usize {
    Value::Array(payload.args.clone()).to_string().len() + payload.kwargs.len() * 20
}

pub(crate) const LIMIT: &str = "wamp.error.resource_limit";
const NO_AVAILABLE_CALLEE: &str = "wamp.error.no_available_callee";

/// More than a message takes besides its payload.
pub(crate) const ENVELOPE_BYTES: usize = 450;

/// What the smallest peer takes in one message.
const SMALL_LIMIT_BYTES: usize = 1_024;

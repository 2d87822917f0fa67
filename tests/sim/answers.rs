//! Answers to requests: each comes once, fits its request, and fails only where it may.

use serde_json::Value;
use stentor::router::HistoryStore;

use super::client::{Expected, Held, Request, Stage};
use super::hearing::{number, payload};
use super::model::{Pattern, Payload, Tag};
use super::world::World;

impl World {
    pub(crate) fn hear_answer(&mut self, c: usize, code: u64, message: &[Value]) {
        let is_error = code == 8;
        let id = number(&message[if is_error { 2 } else { 1 }]);
        let request = self.clients[c].session.pending.remove(&id);
        let request =
            request.unwrap_or_else(|| panic!("c{c} has no request {id} pending: {message:?}"));
        if is_error {
            assert_eq!(number(&message[1]), request.code(), "the type of the failed request");
            let uri = message[4].as_str().expect("an error is a string");
            self.log.count(&format!("heard ERROR {} {uri}", request.code()));
            self.hear_error(c, request, uri, &message[5..]);
            return;
        }
        match (code, request) {
            (17, Request::Publish(sequence, Expected::Success)) => {
                let tag = self.clients[c].session.tag;
                let publication = self.model.publications.get_mut(&(tag, sequence));
                let publication = publication.expect("the publication was sent");
                let id = number(&message[2]);
                assert_eq!(*publication.id.get_or_insert(id), id, "one publication id");
                publication.settled = true;
            }
            (33, Request::Subscribe(pattern, Expected::Success)) => {
                self.expect_retained(c, id, number(&message[2]));
                self.hear_subscribed(c, number(&message[2]), pattern);
            }
            (35, Request::Unsubscribe(id, true)) => {
                let held = self.clients[c].session.subscriptions.remove(&id);
                assert!(held.is_some_and(|held| held.leaving));
                self.model.forget_retained(self.clients[c].session.tag, id);
            }
            (50, Request::Call(sequence, Expected::Success)) => {
                let tag = self.clients[c].session.tag;
                let call = &self.model.calls[&(tag, sequence)];
                let answer = call.answer.as_ref().expect("somebody answered the call");
                assert_eq!(answer.error, None, "the callee said ERROR");
                self.check_partials(tag, sequence);
                assert_eq!(answer.payload, payload(&message[3..]), "the payload of the answer");
            }
            (50, Request::Events(ask)) => self.hear_history(c, &ask, &message[3..]),
            (65, Request::Register(pattern, Expected::Success)) => {
                let id = number(&message[2]);
                self.model.check_pattern(id, &pattern);
                let registrations = &mut self.clients[c].session.registrations;
                // Here at the latest it learns of a silent revocation.
                registrations
                    .retain(|_, held| held.revoked_after.is_none() || held.pattern != pattern);
                let previous = registrations.insert(id, Held::new(pattern));
                assert!(previous.is_none(), "nobody registers twice (BP-REG-01)");
            }
            (67, Request::Unregister(id, true)) => {
                let held = self.clients[c].session.registrations.remove(&id);
                assert!(held.is_some_and(|held| held.leaving));
            }
            (_, request) => panic!("c{c} hears {message:?} for {request:?}"),
        }
    }

    fn hear_subscribed(&mut self, c: usize, id: u64, pattern: Pattern) {
        self.model.check_pattern(id, &pattern);
        let session = &mut self.clients[c].session;
        let other = session
            .subscriptions
            .iter()
            .find(|(other, held)| **other != id && held.pattern == pattern && !held.leaving);
        assert!(other.is_none(), "the same pattern is the same subscription (BP-SUB-02)");
        // Known already: then an UNSUBSCRIBE under way still counts.
        session.subscriptions.entry(id).or_insert_with(|| Held::new(pattern));
    }

    fn hear_error(&self, c: usize, request: Request, uri: &str, rest: &[Value]) {
        let tight = self.plan.tight_limits;
        let allowed = match &request {
            Request::Publish(_, Expected::DiscloseMe) => {
                uri == "wamp.error.option_disallowed.disclose_me"
            }
            Request::Publish(number, Expected::Success) => {
                uri == "wamp.error.canceled" && self.is_durable(c, *number)
            }
            Request::Events(_) => false,
            Request::Subscribe(_, Expected::Success) => tight && uri == LIMIT,
            Request::Register(_, Expected::Success) => {
                uri == "wamp.error.procedure_already_exists" || tight && uri == LIMIT
            }
            Request::Subscribe(_, expected)
            | Request::Register(_, expected)
            | Request::Publish(_, expected) => {
                *expected == Expected::InvalidUri && uri == "wamp.error.invalid_uri"
            }
            Request::Unsubscribe(_, succeeds) => {
                !succeeds && uri == "wamp.error.no_such_subscription"
            }
            Request::Unregister(_, succeeds) => {
                !succeeds && uri == "wamp.error.no_such_registration"
            }
            Request::Call(_, Expected::InvalidUri) => uri == "wamp.error.invalid_uri",
            Request::Call(_, Expected::DiscloseMe) => false,
            Request::Call(_, Expected::NoSuchProcedure) => uri == "wamp.error.no_such_procedure",
            Request::Call(sequence, Expected::Success) => {
                self.may_call_fail(c, *sequence, uri, &payload(rest))
            }
        };
        assert!(allowed, "c{c} hears {uri} for {request:?}");
    }

    /// Whether the callee said so, or the router had a reason.
    fn may_call_fail(&self, c: usize, sequence: u64, uri: &str, heard: &Payload) -> bool {
        let client = &self.clients[c];
        let call = &self.model.calls[&(client.session.tag, sequence)];
        let answer = call.answer.as_ref();
        if let Some(answer) = answer.filter(|answer| answer.error.as_deref() == Some(uri)) {
            let too_large = size(&answer.payload) + ENVELOPE_BYTES > client.link.limit_bytes();
            if *heard == answer.payload || too_large && *heard == Payload::default() {
                return true;
            }
        }
        match uri {
            "wamp.error.no_such_procedure" | "wamp.error.canceled" => {
                let sure = &call.sure_callees;
                call.course.canceled && uri == "wamp.error.canceled"
                    || sure.is_empty()
                    || !sure.iter().all(|callee| self.is_well(*callee))
            }
            "wamp.error.timeout" => {
                let elapsed = self.net.now.since(call.course.sent);
                call.course.timeout_ms > 0 && elapsed >= call.course.timeout_ms
            }
            "wamp.error.feature_not_supported" => call.course.is_upload,
            "wamp.error.no_available_callee" => self.model.limits_concurrency,
            LIMIT => self.plan.tight_limits,
            "wamp.error.payload_size_exceeded" => {
                let largest = size(&call.payload).max(answer.map_or(0, |a| size(&a.payload)));
                largest + ENVELOPE_BYTES > SMALL_LIMIT_BYTES
            }
            _ => false,
        }
    }

    /// Whether a publication is to be stored, so that PUBLISHED depends on it.
    fn is_durable(&self, c: usize, number: u64) -> bool {
        let publication = &self.model.publications[&(self.clients[c].session.tag, number)];
        publication.retains() && self.plan.settings.durable_retained
            || self.plan.realm.histories.iter().any(|h| h.store == HistoryStore::Durable)
    }

    /// Whether a session is there for sure: it is joined and has heard everything said to it.
    fn is_well(&self, tag: Tag) -> bool {
        (0..self.clients.len()).any(|c| {
            let client = &self.clients[c];
            let same = client.session.tag == tag && client.stage == Stage::Joined;
            same && !client.hostile && self.knows_all(c)
        })
    }
}

fn size(payload: &Payload) -> usize {
    Value::Array(payload.args.clone()).to_string().len() + payload.kwargs.len() * 20
}

const LIMIT: &str = "wamp.error.resource_limit";

/// More than a message takes besides its payload.
const ENVELOPE_BYTES: usize = 300;

/// What the smallest peer takes in one message.
const SMALL_LIMIT_BYTES: usize = 1_024;

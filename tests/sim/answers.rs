//! Answers to requests: each comes once, fits its request, and fails only where it may.

use serde_json::Value;
use stentor::authorization::Action;
use stentor::router::{HistoryStore, RequestIdCheck};

use super::client::{Expected, Held, Request};
use super::endings::LIMIT;
use super::hearing::number;
use super::history::Ask;
use super::model::Pattern;
use super::refusing::{PUBLICATION, QUESTION};
use super::world::World;

impl World {
    pub(crate) fn hear_answer(&mut self, c: usize, code: u64, message: &[Value]) {
        let is_error = code == 8;
        if is_error && self.hear_strange_cancel(c, message) {
            return;
        }
        let id = number(&message[if is_error { 2 } else { 1 }]);
        let any_id = self.plan.settings.request_ids == RequestIdCheck::Off;
        if any_id && is_error && message[4] == "wamp.error.canceled" {
            let asked = self.clients[c].session.pending.get(&id).map(Request::code);
            if asked != message[1].as_u64() {
                // The last chunk of a call that had ended, which might as well be a new call.
                return;
            }
        }
        let request = self.clients[c].session.pending.remove(&id);
        let request =
            request.unwrap_or_else(|| panic!("c{c} has no request {id} pending: {message:?}"));
        if is_error {
            assert_eq!(number(&message[1]), request.code(), "the type of the failed request");
            let uri = message[4].as_str().expect("an error is a string");
            self.log.count(&format!("heard ERROR {} {uri}", request.code()));
            match request {
                Request::Call(..) => self.note_ended_call(c, id),
                Request::Publish(number, Expected::Success) if uri == LIMIT => {
                    self.note_refused(c, number);
                }
                _ => {}
            }
            self.hear_error(c, request, uri, message);
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
                self.note_ended_call(c, id);
                self.check_result(c, sequence, message);
            }
            (50, Request::Meta(ask)) => self.hear_meta_result(c, *ask, message),
            (50, Request::Events(ask)) => self.hear_history(c, &ask, &message[3..]),
            (65, Request::Register(pattern, terms, Expected::Success)) => {
                let held = Held { terms, ..Held::new(pattern) };
                self.hear_registered(c, number(&message[2]), held);
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

    fn hear_error(&self, c: usize, request: Request, uri: &str, message: &[Value]) {
        let tight = self.plan.tight_limits;
        let allowed = match &request {
            Request::Publish(number, Expected::Success) => {
                uri == "wamp.error.canceled" && self.is_durable(c, *number)
                    || self.is_held_too_much(message, PUBLICATION)
            }
            Request::Events(ask) => {
                uri == NOT_AUTHORIZED && !self.may_read(ask)
                    || self.is_held_too_much(message, QUESTION)
            }
            Request::Meta(ask) => {
                self.may_ask_fail(c, ask, uri) || self.is_held_too_much(message, QUESTION)
            }
            Request::Subscribe(_, Expected::Denied)
            | Request::Publish(_, Expected::Denied)
            | Request::Register(_, _, Expected::Denied)
            | Request::Call(_, Expected::Denied) => uri == NOT_AUTHORIZED,
            Request::Publish(_, Expected::DiscloseMe)
            | Request::Register(_, _, Expected::DiscloseMe) => uri == DISCLOSE_ME,
            Request::Call(_, Expected::DiscloseMe) => uri == DISCLOSE_ME || tight && uri == LIMIT,
            Request::Subscribe(_, Expected::Success) => tight && uri == LIMIT,
            Request::Register(_, _, Expected::Success) => {
                uri == "wamp.error.procedure_already_exists"
                    || tight && uri == LIMIT
                    || self.plan.settings.claims && uri == "wamp.error.network_failure"
            }
            Request::Subscribe(_, expected)
            | Request::Register(_, _, expected)
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
            Request::Call(_, Expected::NoSuchProcedure) => uri == "wamp.error.no_such_procedure",
            Request::Call(sequence, Expected::Success) => self.may_call_fail(c, *sequence, message),
        };
        assert!(allowed, "c{c} hears {uri} for {request:?}");
    }

    /// Whether who asks for a history may have subscribed to its topic.
    pub(crate) fn may_read(&self, ask: &Ask) -> bool {
        self.plan.grants(Action::Subscribe, &ask.pattern.uri, ask.pattern.policy)
    }

    /// A few of the calls that are over are remembered.
    fn note_ended_call(&mut self, c: usize, request: u64) {
        let ended = &mut self.clients[c].session.ended_calls;
        if ended.len() == 8 {
            ended.remove(0);
        }
        ended.push(request);
    }

    /// Whether a publication is to be stored, so that PUBLISHED depends on it.
    fn is_durable(&self, c: usize, number: u64) -> bool {
        let publication = &self.model.publications[&(self.clients[c].session.tag, number)];
        publication.retains() && self.plan.settings.durable_retained
            || self.plan.realm.histories.iter().any(|h| h.store == HistoryStore::Durable)
    }
}

const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";
const DISCLOSE_ME: &str = "wamp.error.option_disallowed.disclose_me";

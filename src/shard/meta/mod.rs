//! The meta API: procedures that the router itself answers, and the events that it publishes
//! (requirements 2.4).
//!
//! A procedure is answered by the caller's shard from the shared tables, in the same step. Only who
//! subscribes is not in them: that is asked of the shards that have receivers ([`subscribers`]).
//! In a cluster other nodes are asked as well ([`polling`]).

mod args;
mod events;
mod finding;
mod history;
mod lists;
mod order;
mod polling;
mod polls;
mod question;
mod registrations;
mod roster;
mod rosters;
mod sessions;
mod subscribers;
mod subscriptions;
mod testaments;

pub(super) use args::{Arguments, id_of};

use super::Shard;
use super::asking::Undecided;
use super::authorize::Asked;
use super::dealer::{NO_SUCH_PROCEDURE, check_disclosure};
use super::requests::{Refusal, Stop, check_uri};
use crate::authorization::{Action, ManagementProcedure, Terms};
use crate::codec;
use crate::router::{SessionRef, Slot};
use crate::session::Denied;
use crate::wamp::{
    Call, Dict, MatchPolicy, Payload, RequestId, RouterMessage, Timestamp, Value, WampError, code,
};

pub use finding::{Absent, Finding, MOST_IN_PART, Part, Reply, Word};
pub(super) use history::Inquiries;
pub(super) use lists::Surveys;
pub(super) use order::EventOrders;
pub use polls::PollTally;
pub(super) use polls::Polls;
pub use question::{Ask, LastWords, Question, Roles, Whom};
pub use roster::{
    Foreign, ForeignMetaEvent, ForeignNews, MetaElsewhere, RosterAnswer, RosterCall, RosterCursor,
    RosterEntries, RosterPiece, SessionEntry, SubscriptionEntry,
};
pub(super) use rosters::Rosters;
pub use sessions::MOST_ROLES;

/// What answers a call of a procedure of the router: the shard of the caller.
type Procedure = fn(&mut Shard, Caller, Arguments<'_>) -> Result<Answer, Refusal>;

/// A procedure of the router.
enum Own {
    Meta(Procedure),
    /// In the management realm, and answered elsewhere.
    Management(ManagementProcedure),
}

/// The procedures of the router. Those of [`crate::authorization::ADMINISTRATIVE`] ask for more
/// than the permission to call them ([`Shard::authorized_realm`]).
fn procedure(uri: &str) -> Option<Procedure> {
    if uri == "stentor.session.refresh" {
        return Some(Shard::refresh_session);
    }
    Some(match uri.strip_prefix("wamp.")? {
        "session.count" => Shard::session_count,
        "session.list" => Shard::session_list,
        "session.get" => Shard::session_get,
        "session.kill" => Shard::session_kill,
        "session.kill_by_authid" => Shard::session_kill_by_authid,
        "session.kill_by_authrole" => Shard::session_kill_by_authrole,
        "session.kill_all" => Shard::session_kill_all,
        "session.add_testament" => Shard::add_testament,
        "session.flush_testaments" => Shard::flush_testaments,
        "registration.list" => Shard::registration_list,
        "registration.lookup" => Shard::registration_lookup,
        "registration.match" => Shard::registration_match,
        "registration.get" => Shard::registration_get,
        "registration.list_callees" => Shard::list_callees,
        "registration.count_callees" => Shard::count_callees,
        "registration.remove_callee" => Shard::remove_callee,
        "subscription.list" => Shard::subscription_list,
        "subscription.lookup" => Shard::subscription_lookup,
        "subscription.match" => Shard::subscription_match,
        "subscription.get" => Shard::subscription_get,
        "subscription.list_subscribers" => Shard::list_subscribers,
        "subscription.count_subscribers" => Shard::count_subscribers,
        "subscription.remove_subscriber" => Shard::remove_subscriber,
        "subscription.get_events" => Shard::get_events,
        _ => return None,
    })
}

/// What a meta procedure returns.
#[derive(Debug)]
pub(super) enum Answer {
    /// A RESULT with these `Arguments` and `ArgumentsKw`.
    Now(Vec<Value>, Dict),
    /// Other shards are asked first, or it takes longer.
    Later,
    /// None: the caller was denied it, and has got an ERROR.
    Denied,
    /// None yet, and nothing has been done: an authorizer is to be asked.
    Undecided(Box<Undecided>),
}

impl Answer {
    /// A RESULT without arguments.
    const NOTHING: Self = Self::Now(Vec::new(), Dict::new());

    fn one(value: impl Into<Value>) -> Self {
        Self::Now(vec![value.into()], Dict::new())
    }
}

/// Who calls a meta procedure, and with which request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) session: SessionRef,
    request: RequestId,
}

impl Caller {
    pub(super) const fn new(session: SessionRef, request: RequestId) -> Self {
        Self { session, request }
    }

    pub(super) const fn request(self) -> RequestId {
        self.request
    }
}

impl Shard {
    /// Answers a call of a reserved URI.
    pub(super) fn handle_meta_call(&mut self, slot: Slot, call: &Call<'_>) -> Result<(), Stop> {
        let session = self.cx.reference(slot, self.connections.joined(slot).id);
        let caller = Caller { session, request: call.request };
        match self.answer_meta_call(caller, call) {
            Ok(Answer::Now(args, kwargs)) => self.send_meta_result(caller, &args, &kwargs),
            Ok(Answer::Later) => {}
            Ok(Answer::Denied) => self.cx.counters.calls_refused.increment(),
            Ok(Answer::Undecided(undecided)) => return Err(Stop::Undecided(undecided)),
            Err(refusal) => {
                self.cx.counters.calls_refused.increment();
                self.refuse(slot, code::CALL, call.request, refusal);
            }
        }
        Ok(())
    }

    fn answer_meta_call(&mut self, caller: Caller, call: &Call<'_>) -> Result<Answer, Refusal> {
        check_uri(self.rules_of(caller), &call.procedure, self.cx.limits().uri_bytes)?;
        let asked = Asked(Action::Call, &call.procedure);
        let options = || call.options.to_dict();
        let terms = match self.permit(caller, asked, MatchPolicy::Exact, options) {
            Ok(terms) => terms,
            Err(answer) => return Ok(answer),
        };
        let own = self.own_procedure(caller, &call.procedure).ok_or(NO_SUCH_PROCEDURE)?;
        check_disclosure(&self.rules_of(caller).settings, &call.options, terms)?;
        if call.payload.weight() > self.cx.limits().meta_call_bytes {
            return Err(TOO_LARGE);
        }
        // Values take more time than the bytes that they are read from.
        self.cx.work.charge(call.payload.weight() / VALUE_BYTES_PER_UNIT);
        let (args, kwargs) = codec::decode_payload(call.payload).map_err(|_| NO_PLAIN_PAYLOAD)?;
        match own {
            Own::Meta(procedure) => procedure(self, caller, Arguments::new(&args, &kwargs)),
            Own::Management(procedure) => self.hand_out_call(caller, procedure, &args, kwargs),
        }
    }

    fn own_procedure(&self, caller: Caller, uri: &str) -> Option<Own> {
        if let Some(procedure) = procedure(uri) {
            return Some(Own::Meta(procedure));
        }
        let has_managers = self.rules_of(caller).settings.managers.is_some();
        ManagementProcedure::named(uri).filter(|_| has_managers).map(Own::Management)
    }

    /// Decides about what a call of a meta procedure needs. If it is denied, the caller gets the
    /// ERROR. An authorizer is told the `options`.
    ///
    /// # Errors
    /// [`Answer::Denied`] or [`Answer::Undecided`].
    pub(super) fn permit(
        &mut self,
        caller: Caller,
        asked: Asked<'_>,
        policy: MatchPolicy,
        options: impl FnOnce() -> Dict,
    ) -> Result<Terms, Answer> {
        let (slot, request) = (caller.session.slot, caller.request);
        let session = self.connections.joined_mut(slot);
        match self.cx.authorize(session, asked, policy) {
            Ok(terms) => Ok(terms),
            Err(Denied::Undecided(rule)) => {
                let undecided = Undecided::new(request, rule, asked, policy, options());
                Err(Answer::Undecided(undecided))
            }
            Err(denied) => {
                self.deny(slot, Some((code::CALL, request)), asked, denied);
                Err(Answer::Denied)
            }
        }
    }

    /// Sends a result that was not ready when the message that asks for it was dealt with.
    pub(super) fn send_late_result(&mut self, caller: Caller, args: &[Value], kwargs: &Dict) {
        let before = self.waiting_bytes(caller.session.slot);
        self.send_meta_result(caller, args, kwargs);
        self.count_own_output(caller.session.slot, before);
    }

    /// The same with an ERROR.
    pub(super) fn refuse_late_call(&mut self, caller: Caller, refusal: Refusal) {
        let before = self.waiting_bytes(caller.session.slot);
        self.cx.counters.calls_refused.increment();
        self.refuse(caller.session.slot, code::CALL, caller.request, refusal);
        self.count_own_output(caller.session.slot, before);
    }

    /// Sends a RESULT whose payload somebody else has made.
    pub(super) fn send_late_payload(&mut self, caller: Caller, payload: Payload<'_>) {
        let before = self.waiting_bytes(caller.session.slot);
        self.send_result(caller, payload);
        self.count_own_output(caller.session.slot, before);
    }

    /// The same with an ERROR, whose text may be longer than the caller takes.
    pub(super) fn refuse_late_call_with(&mut self, caller: Caller, error: WampError, text: &str) {
        let Caller { session: SessionRef { slot, .. }, request } = caller;
        let before = self.waiting_bytes(slot);
        self.cx.counters.calls_refused.increment();
        let payload = Payload::Values { args: &[text.into()], kwargs: &Dict::new() };
        let (details, error) = (&Dict::new(), error.uri());
        let request_type = code::CALL;
        let said = RouterMessage::Error { request_type, request, details, error, payload };
        if self.send(slot, &said).is_err() {
            self.refuse(slot, code::CALL, request, TOO_LARGE_FOR_CALLER);
        }
        self.count_own_output(slot, before);
    }

    fn send_meta_result(&mut self, caller: Caller, args: &[Value], kwargs: &Dict) {
        self.send_result(caller, Payload::Values { args, kwargs });
    }

    fn send_result(&mut self, caller: Caller, payload: Payload<'_>) {
        let Caller { session: SessionRef { slot, .. }, request } = caller;
        let details = Dict::new();
        let result = RouterMessage::Result { request, details: &details, payload };
        let before = self.cx.outbound.arena.len();
        let sent = self.send(slot, &result);
        self.cx.work.charge_bytes(2 * (self.cx.outbound.arena.len() - before));
        match sent {
            Ok(()) => self.cx.counters.meta_calls_answered.increment(),
            Err(_) => {
                self.cx.counters.calls_refused.increment();
                self.refuse(slot, code::CALL, request, TOO_LARGE_FOR_CALLER);
            }
        }
    }
}

/// The fields that `RegistrationDetails` and `SubscriptionDetails` share.
fn details_of(id: u64, created: Timestamp, uri: &str, policy: MatchPolicy) -> Dict {
    vec![
        ("id".into(), id.into()),
        ("created".into(), created.to_string().into()),
        ("uri".into(), uri.into()),
        ("match".into(), policy.as_str().into()),
    ]
}

/// `{"exact": [...], "prefix": [...], "wildcard": [...]}`, each list in ascending order.
fn listing<I>(listing: crate::router::Listing<I>, id: impl Fn(&I) -> u64) -> Value {
    let ids = |list: Vec<I>| {
        let mut ids: Vec<u64> = list.iter().map(&id).collect();
        ids.sort_unstable();
        Value::List(ids.into_iter().map(Value::UInt).collect())
    };
    Value::Dict(vec![
        ("exact".into(), ids(listing.exact)),
        ("prefix".into(), ids(listing.prefix)),
        ("wildcard".into(), ids(listing.wildcard)),
    ])
}

/// Bytes of arguments that are made values in the time of one unit.
const VALUE_BYTES_PER_UNIT: usize = 8;

const TOO_LARGE: Refusal = (
    WampError::PayloadSizeExceeded,
    "the arguments are larger than this router accepts for its own procedures",
);
const TOO_LARGE_FOR_CALLER: Refusal =
    (WampError::PayloadSizeExceeded, "the result is larger than this client's transport accepts");
const TOO_MANY_ITEMS: Refusal = (
    WampError::ResourceLimit,
    "the answer would list more than this router puts in one (limits.meta_list_items)",
);
const NO_PLAIN_PAYLOAD: Refusal =
    (WampError::InvalidArgument, "the router's own procedures take plain arguments");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::ADMINISTRATIVE;

    #[test]
    fn what_needs_an_administrator_is_a_procedure() {
        assert!(ADMINISTRATIVE.iter().all(|uri| procedure(uri).is_some()));
        assert!(procedure("wamp.session.on_join").is_none() && procedure("session.get").is_none());
    }
}

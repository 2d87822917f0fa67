//! The meta API: procedures that the router itself answers, and the events that it publishes
//! (requirements 2.4).
//!
//! A procedure is answered by the caller's shard from the shared tables, in the same step. Only who
//! subscribes is not in them: that is asked of the shards that have receivers ([`subscribers`]).

mod args;
mod events;
mod lists;
mod order;
mod registrations;
mod sessions;
mod subscribers;
mod subscriptions;
mod testaments;

use super::Shard;
use super::asking::Undecided;
use super::authorize::Asked;
use super::broker::{Refusal, check_uri};
use super::dealer::{NO_SUCH_PROCEDURE, check_disclosure};
use super::inbound::Stop;
use crate::authorization::{Action, Terms};
use crate::codec;
use crate::router::SessionRef;
use crate::session::Denied;
use crate::wamp::{
    Call, Dict, MatchPolicy, Payload, RequestId, RouterMessage, Timestamp, Value, WampError, code,
};

pub use events::MetaEvent;
pub use sessions::Kill;
pub use subscribers::{Roll, RollCall};

pub(super) use args::{Arguments, id_of};
pub(super) use lists::Survey;
pub(super) use order::EventOrders;
pub(super) use subscribers::Roster;

/// The procedures of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetaProcedure {
    SessionCount,
    SessionList,
    SessionGet,
    SessionKill,
    SessionKillByAuthid,
    SessionKillByAuthrole,
    SessionKillAll,
    AddTestament,
    FlushTestaments,
    RegistrationList,
    RegistrationLookup,
    RegistrationMatch,
    RegistrationGet,
    RegistrationListCallees,
    RegistrationCountCallees,
    RegistrationRemoveCallee,
    SubscriptionList,
    SubscriptionLookup,
    SubscriptionMatch,
    SubscriptionGet,
    SubscriptionListSubscribers,
    SubscriptionCountSubscribers,
    SubscriptionRemoveSubscriber,
    SubscriptionGetEvents,
}

impl MetaProcedure {
    fn from_uri(uri: &str) -> Option<Self> {
        Some(match uri.strip_prefix("wamp.")? {
            "session.count" => Self::SessionCount,
            "session.list" => Self::SessionList,
            "session.get" => Self::SessionGet,
            "session.kill" => Self::SessionKill,
            "session.kill_by_authid" => Self::SessionKillByAuthid,
            "session.kill_by_authrole" => Self::SessionKillByAuthrole,
            "session.kill_all" => Self::SessionKillAll,
            "session.add_testament" => Self::AddTestament,
            "session.flush_testaments" => Self::FlushTestaments,
            "registration.list" => Self::RegistrationList,
            "registration.lookup" => Self::RegistrationLookup,
            "registration.match" => Self::RegistrationMatch,
            "registration.get" => Self::RegistrationGet,
            "registration.list_callees" => Self::RegistrationListCallees,
            "registration.count_callees" => Self::RegistrationCountCallees,
            "registration.remove_callee" => Self::RegistrationRemoveCallee,
            "subscription.list" => Self::SubscriptionList,
            "subscription.lookup" => Self::SubscriptionLookup,
            "subscription.match" => Self::SubscriptionMatch,
            "subscription.get" => Self::SubscriptionGet,
            "subscription.list_subscribers" => Self::SubscriptionListSubscribers,
            "subscription.count_subscribers" => Self::SubscriptionCountSubscribers,
            "subscription.remove_subscriber" => Self::SubscriptionRemoveSubscriber,
            "subscription.get_events" => Self::SubscriptionGetEvents,
            _ => return None,
        })
    }
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

impl Shard {
    /// Answers a call of a reserved URI.
    pub(super) fn handle_meta_call(&mut self, slot: u32, call: &Call<'_>) -> Result<(), Stop> {
        let session = SessionRef { session: self.joined(slot).id, slot, shard: self.id };
        let caller = Caller { session, request: call.request };
        match self.answer_meta_call(caller, call) {
            Ok(Answer::Now(args, kwargs)) => self.send_meta_result(caller, &args, &kwargs),
            Ok(Answer::Later) => {}
            Ok(Answer::Denied) => self.counters.calls_refused.increment(),
            Ok(Answer::Undecided(undecided)) => return Err(Stop::Undecided(undecided)),
            Err(refusal) => {
                self.counters.calls_refused.increment();
                self.refuse(slot, code::CALL, call.request, refusal);
            }
        }
        Ok(())
    }

    fn answer_meta_call(&mut self, caller: Caller, call: &Call<'_>) -> Result<Answer, Refusal> {
        let realm = self.realm_of(caller);
        check_uri(&realm, &call.procedure, self.settings().limits.uri_bytes)?;
        let asked = Asked(Action::Call, &call.procedure);
        let options = || call.options.to_dict();
        let terms = match self.permit(caller, asked, MatchPolicy::Exact, options) {
            Ok(terms) => terms,
            Err(answer) => return Ok(answer),
        };
        let procedure = MetaProcedure::from_uri(&call.procedure).ok_or(NO_SUCH_PROCEDURE)?;
        check_disclosure(&realm.settings, &call.options, terms)?;
        if call.payload.weight() > self.settings().limits.meta_call_bytes {
            return Err(TOO_LARGE);
        }
        // Values take more time than the bytes that they are read from.
        self.work.charge(call.payload.weight() / VALUE_BYTES_PER_UNIT);
        let (args, kwargs) = codec::decode_payload(call.payload).map_err(|_| NO_PLAIN_PAYLOAD)?;
        let args = Arguments::new(&args, &kwargs);
        match procedure {
            MetaProcedure::SessionCount => self.session_count(caller, args),
            MetaProcedure::SessionList => self.session_list(caller, args),
            MetaProcedure::SessionGet => self.session_get(caller, args),
            MetaProcedure::SessionKill => self.session_kill(caller, args),
            MetaProcedure::SessionKillByAuthid => self.session_kill_by_authid(caller, args),
            MetaProcedure::SessionKillByAuthrole => self.session_kill_by_authrole(caller, args),
            MetaProcedure::SessionKillAll => self.session_kill_all(caller, args),
            MetaProcedure::AddTestament => self.add_testament(caller, args),
            MetaProcedure::FlushTestaments => self.flush_testaments(caller, args),
            MetaProcedure::RegistrationList => self.registration_list(caller),
            MetaProcedure::RegistrationLookup => self.registration_lookup(caller, args),
            MetaProcedure::RegistrationMatch => self.registration_match(caller, args),
            MetaProcedure::RegistrationGet => self.registration_get(caller, args),
            MetaProcedure::RegistrationListCallees => self.list_callees(caller, args),
            MetaProcedure::RegistrationCountCallees => self.count_callees(caller, args),
            MetaProcedure::RegistrationRemoveCallee => self.remove_callee(caller, args),
            MetaProcedure::SubscriptionList => self.subscription_list(caller),
            MetaProcedure::SubscriptionLookup => self.subscription_lookup(caller, args),
            MetaProcedure::SubscriptionMatch => self.subscription_match(caller, args),
            MetaProcedure::SubscriptionGet => self.subscription_get(caller, args),
            MetaProcedure::SubscriptionListSubscribers => self.call_roll(caller, args, true),
            MetaProcedure::SubscriptionCountSubscribers => self.call_roll(caller, args, false),
            MetaProcedure::SubscriptionRemoveSubscriber => self.remove_subscriber(caller, args),
            MetaProcedure::SubscriptionGetEvents if realm.histories.is_empty() => {
                Err(NO_SUCH_PROCEDURE)
            }
            MetaProcedure::SubscriptionGetEvents => self.get_events(caller, args),
        }
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
        match self.authorize(slot, asked, policy) {
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

    fn send_meta_result(&mut self, caller: Caller, args: &[Value], kwargs: &Dict) {
        let Caller { session: SessionRef { slot, .. }, request } = caller;
        let details = Dict::new();
        let payload = Payload::Values { args, kwargs };
        let result = RouterMessage::Result { request, details: &details, payload };
        let before = self.outbound.arena.len();
        let sent = self.send(slot, &result);
        self.work.charge_bytes(2 * (self.outbound.arena.len() - before));
        match sent {
            Ok(()) => self.counters.meta_calls_answered.increment(),
            Err(_) => {
                self.counters.calls_refused.increment();
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

//! What a session wants published when it ends, however it does (AP-TES).

use std::sync::Arc;

use super::super::Shard;
use super::super::authorize::Asked;
use super::super::broker::{check_disclosure, check_passthru, check_topic};
use super::super::requests::Refusal;
use super::{Answer, Arguments, Caller};
use crate::authorization::{Action, Terms};
use crate::codec::{self, DecodeLimits};
use crate::router::Slot;
use crate::session::{Scope, Session, Testament};
use crate::wamp::{
    ClientMessage, Dict, MatchPolicy, Payload, Publish, RequestId, Value, WampError,
};

impl Shard {
    pub(super) fn add_testament(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let scope = scope(args)?;
        let mut testament = self.read_testament(caller, args)?;
        let asked = Asked(Action::Publish, &testament.topic);
        let options = || testament.options.to_dict();
        let terms = match self.permit(caller, asked, MatchPolicy::Exact, options) {
            Ok(terms) => terms,
            Err(answer) => return Ok(answer),
        };
        let session = self.connections.joined_mut(caller.session.slot);
        // Nobody can be asked about a session that has gone.
        let is_dynamic = session.permissions.is_dynamic(asked.0, asked.1);
        testament.granted = is_dynamic.then_some(terms);
        let settings = &session.rules.settings;
        check_disclosure(settings, &testament.options, terms)?;
        let limits = self.cx.limits();
        let session = self.connections.joined_mut(caller.session.slot);
        let realm = Arc::clone(&session.realm);
        let has_room = self.cx.may_keep(&realm, testament.weight);
        let testaments = session.testaments.get_or_insert_default();
        if testaments.len() >= limits.testaments_per_session {
            return Err(TOO_MANY_TESTAMENTS);
        }
        if testaments.weight() + testament.weight > limits.testament_bytes {
            return Err(TESTAMENTS_TOO_LARGE);
        }
        if !has_room {
            return Err(TOO_MUCH_KEPT);
        }
        testament.held = Some(realm.keep(testament.weight));
        testaments.add(scope, testament);
        Ok(Answer::NOTHING)
    }

    pub(super) fn flush_testaments(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let scope = scope(args)?;
        if let Some(testaments) = &mut self.connections.joined_mut(caller.session.slot).testaments {
            testaments.flush(scope);
        }
        Ok(Answer::NOTHING)
    }

    /// A testament is read as the PUBLISH that it stands for, so that one grammar knows all options
    /// and their types; what would be refused then is refused now (AP-TES-03, AP-TES-04).
    fn read_testament(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Testament, Refusal> {
        let topic = args.text(0, NO_TOPIC)?;
        let none = (Vec::new(), Dict::new());
        let list = match args.at(1) {
            None => &none.0,
            Some(Value::List(list)) => list,
            Some(_) => return Err(NO_ARGS),
        };
        let dict = match args.at(2) {
            None => &none.1,
            Some(Value::Dict(dict)) => dict,
            Some(_) => return Err(NO_ARGS),
        };
        let options = match args.named("publish_options") {
            None => &none.1,
            Some(Value::Dict(options)) => options,
            Some(_) => return Err(BAD_OPTIONS),
        };
        let serializer = self.connections[caller.session.slot].codec;
        let payload = Payload::Values { args: list, kwargs: dict };
        let bytes =
            codec::encode_publish(serializer, options, topic, payload).map_err(|_| BAD_OPTIONS)?;
        let limits = self.cx.limits();
        // Deeper by two levels than where it was within the CALL.
        let nesting = DecodeLimits { nesting: limits.nesting.saturating_add(2) };
        let message = codec::decode(serializer, &bytes, nesting).map_err(|_| BAD_OPTIONS)?;
        let ClientMessage::Publish(publish) = message else { return Err(BAD_OPTIONS) };
        let session = self.connections.joined_mut(caller.session.slot);
        check_passthru(session, &publish.options).map_err(|_| BAD_OPTIONS)?;
        check_topic(&session.rules, &publish.topic, limits.uri_bytes)?;
        let payload = publish.payload.to_buf();
        // Lists of names take far more memory than bytes.
        let weight = bytes.len() + publish.options.heap_bytes();
        let (topic, options) = (topic.into(), publish.options);
        Ok(Testament { topic, options, payload, weight, held: None, granted: None })
    }

    /// Publishes what a session has left. It is out of routing already.
    pub(in crate::shard) fn publish_testament(
        &mut self,
        slot: Slot,
        session: &Session,
        testament: Testament,
    ) {
        let publish = Publish {
            request: RequestId::FIRST,
            options: testament.options,
            topic: (&*testament.topic).into(),
            payload: testament.payload.as_payload(),
        };
        let has_room = self.cx.may_hold(publish.payload.weight());
        match self.authorize_testament(session, &publish, testament.granted).filter(|_| has_room) {
            Some(terms) => self.publish_for(slot, session, publish, terms),
            None => self.cx.counters.publications_refused.increment(),
        }
    }

    /// The rules hold that are there now, not those of the time when it was left; but an authorizer
    /// has said then what it had to say.
    fn authorize_testament(
        &mut self,
        session: &Session,
        publish: &Publish<'_>,
        granted: Option<Terms>,
    ) -> Option<Terms> {
        let topic = &*publish.topic;
        check_topic(&session.rules, topic, usize::MAX).ok()?;
        let permissions = &session.permissions;
        let mut deciding = self.cx.deciding();
        let decided = permissions.decide_last(&mut deciding, Action::Publish, topic, granted);
        self.cx.work.charge(deciding.effort);
        match decided {
            Ok(terms) => {
                let checked = check_disclosure(&session.rules.settings, &publish.options, terms);
                checked.ok().map(|()| terms)
            }
            Err(denied) => {
                self.note_denied_testament(session, topic, denied);
                None
            }
        }
    }
}

fn scope(args: Arguments<'_>) -> Result<Scope, Refusal> {
    match args.named("scope") {
        None => Ok(Scope::Destroyed),
        Some(Value::Str(scope)) if scope == "destroyed" => Ok(Scope::Destroyed),
        Some(Value::Str(scope)) if scope == "detached" => Ok(Scope::Detached),
        Some(_) => Err(NO_SCOPE),
    }
}

const NO_TOPIC: Refusal =
    (WampError::InvalidArgument, "the first argument must be the URI of a topic");
const NO_ARGS: Refusal = (
    WampError::InvalidArgument,
    "the second argument must be a list and the third a dict: the event's payload",
);
const BAD_OPTIONS: Refusal = (
    WampError::InvalidArgument,
    "`publish_options` must be a dict with options that this session may use in PUBLISH",
);
const NO_SCOPE: Refusal =
    (WampError::InvalidArgument, "`scope` must be \"destroyed\" or \"detached\"");
const TOO_MANY_TESTAMENTS: Refusal = (
    WampError::ResourceLimit,
    "this session has left as many testaments as the router allows per session",
);
const TOO_MUCH_KEPT: Refusal = (
    WampError::ResourceLimit,
    "the router keeps as much for the sessions of this realm as it may: take testaments back, or \
     leave smaller ones",
);
const TESTAMENTS_TOO_LARGE: Refusal = (
    WampError::ResourceLimit,
    "the testaments of this session are larger than the router allows per session",
);

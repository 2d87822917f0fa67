//! The subscription meta API (AP-SUA), but for who subscribes: see `subscribers`.

use super::super::requests::Refusal;
use super::super::work::PATTERN_UNITS;
use super::super::{Mail, Shard};
use super::lists::Subject;
use super::sessions::NO_SUCH_SESSION;
use super::{Answer, Arguments, Caller, details_of};
use crate::router::{Listing, Walk};
use crate::wamp::{SessionId, Value, WampError};

impl Shard {
    pub(super) fn subscription_list(
        &mut self,
        caller: Caller,
        _: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.survey(caller, Subject::Subscriptions(Walk::new(), Listing::default()))
    }

    pub(super) fn subscription_lookup(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let uri = args.text(0, NO_TOPIC)?;
        let found = self.realm_of(caller).topics.look_up(uri, args.match_policy(1)?);
        let id = found.map_or(Value::Null, |found| found.subscription.get().into());
        Ok(Answer::one(id))
    }

    pub(super) fn subscription_match(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let uri = args.text(0, NO_TOPIC)?;
        let (found, looked_up) = self.realm_of(caller).topics.matches_counted(uri);
        self.cx.work.charge(found.len() + PATTERN_UNITS * looked_up);
        let ids: Vec<Value> = found.iter().map(|one| one.subscription.get().into()).collect();
        Ok(Answer::one(if ids.is_empty() { Value::Null } else { Value::List(ids) }))
    }

    pub(super) fn subscription_get(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let subscription = args.subscription(0)?;
        let described = self.realm_of(caller).topics.get(subscription);
        let found = described.ok_or(NO_SUCH_SUBSCRIPTION)?;
        let details = details_of(subscription.get(), found.created, &found.uri, found.policy);
        Ok(Answer::one(Value::Dict(details)))
    }

    /// Ends the subscription of another session (AP-REVS-01). Whether that session holds it, only
    /// its shard knows: if not, nothing happens.
    pub(super) fn remove_subscriber(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let realm = self.authorized_realm(caller)?;
        let subscription = args.subscription(0)?;
        let session: SessionId = args.session(1)?;
        let reason = args.reason(self.cx.limits().uri_bytes)?.map(Into::into);
        realm.topics.get(subscription).ok_or(NO_SUCH_SUBSCRIPTION)?;
        let subscriber = realm.find(session).ok_or(NO_SUCH_SESSION)?;
        self.cx.post.send(subscriber.shard, Mail::Revoke { subscriber, subscription, reason });
        Ok(Answer::NOTHING)
    }
}

pub(super) const NO_SUCH_SUBSCRIPTION: Refusal =
    (WampError::NoSuchSubscription, "no subscription has this id");
const NO_TOPIC: Refusal =
    (WampError::InvalidArgument, "the first argument must be the URI of a topic");

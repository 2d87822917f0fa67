//! The subscription meta API (AP-SUA).

use super::super::requests::Refusal;
use super::super::work::PATTERN_UNITS;
use super::super::{Mail, Shard};
use super::finding::Absent;
use super::question::Question;
use super::{Answer, Arguments, Caller};
use crate::router::Realm;
use crate::wamp::{SessionId, SubscriptionId, WampError};

impl Shard {
    pub(super) fn subscription_list(
        &mut self,
        caller: Caller,
        _: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.find_out(caller, Question::ListSubscriptions)
    }

    pub(super) fn subscription_lookup(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let uri = args.text(0, NO_TOPIC)?.into();
        let policy = args.match_policy(1)?;
        self.find_out(caller, Question::LookUpSubscription { uri, policy })
    }

    pub(super) fn subscription_match(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let uri = args.text(0, NO_TOPIC)?.into();
        self.find_out(caller, Question::MatchSubscriptions { uri })
    }

    /// The subscriptions of this node that match a topic.
    pub(super) fn match_topic(&mut self, realm: &Realm, uri: &str) -> Vec<SubscriptionId> {
        let (found, looked_up) = realm.topics.matches_counted(uri);
        self.cx.work.charge(found.len() + PATTERN_UNITS * looked_up);
        found.iter().map(|one| one.subscription).collect()
    }

    pub(super) fn subscription_get(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.find_out(caller, Question::GetSubscription(args.subscription(0)?))
    }

    pub(super) fn list_subscribers(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.find_out(caller, Question::ListSubscribers(args.subscription(0)?))
    }

    pub(super) fn count_subscribers(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.find_out(caller, Question::CountSubscribers(args.subscription(0)?))
    }

    /// Ends the subscription of another session (AP-REVS-01).
    pub(super) fn remove_subscriber(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.authorized_realm(caller)?;
        let (subscription, session) = (args.subscription(0)?, args.session(1)?);
        let reason = args.reason(self.cx.limits().uri_bytes)?.map(Into::into);
        self.find_out(caller, Question::RemoveSubscriber { subscription, session, reason })
    }

    /// Ends the subscription of a session of this node. Whether that session holds it, only its
    /// shard knows: if not, nothing happens.
    pub(super) fn remove_one(
        &mut self,
        realm: &Realm,
        subscription: SubscriptionId,
        session: SessionId,
        reason: Option<&str>,
    ) -> Result<(), Absent> {
        realm.topics.get(subscription).ok_or(Absent::Subscription)?;
        let subscriber = realm.find(session).ok_or(Absent::Session)?;
        let reason = reason.map(Into::into);
        self.cx.post.send(subscriber.shard, Mail::Revoke { subscriber, subscription, reason });
        Ok(())
    }
}

pub(super) const NO_SUCH_SUBSCRIPTION: Refusal =
    (WampError::NoSuchSubscription, "no subscription has this id");
const NO_TOPIC: Refusal =
    (WampError::InvalidArgument, "the first argument must be the URI of a topic");

//! The router's own procedures (WAMP's meta API), with their types.

use serde::Serialize;
use serde::de::DeserializeOwned;
use stentor_protocol::wamp::{MatchPolicy, RegistrationId, SessionId, SubscriptionId};

use crate::call::Reply;
use crate::client::Client;
use crate::error::Error;

/// Calls of the router's own procedures. Which of them a role may call is for the router to say.
#[derive(Clone, Debug)]
pub struct Meta<C = Client> {
    pub(crate) client: C,
}

/// A session, as the router tells of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[non_exhaustive]
pub struct SessionDetails {
    pub session: u64,
    #[serde(default)]
    pub authid: Option<String>,
    #[serde(default)]
    pub authrole: Option<String>,
    #[serde(default)]
    pub authmethod: Option<String>,
    #[serde(default)]
    pub authprovider: Option<String>,
}

/// A subscription or registration, as the router tells of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[non_exhaustive]
pub struct UriDetails {
    pub id: u64,
    pub uri: String,
    /// `exact`, `prefix` or `wildcard`.
    #[serde(rename = "match", default)]
    pub match_policy: String,
    #[serde(default)]
    pub created: Option<String>,
    /// Of a registration.
    #[serde(default)]
    pub invoke: Option<String>,
}

/// Ids by how their URIs match.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct IdsByPolicy {
    #[serde(default)]
    pub exact: Vec<u64>,
    #[serde(default)]
    pub prefix: Vec<u64>,
    #[serde(default)]
    pub wildcard: Vec<u64>,
}

impl Meta<Client> {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// `wamp.session.count`: sessions of the realm, of all roles or of those that are named.
    ///
    /// # Errors
    /// As those of any call; so it is below.
    pub async fn session_count(&self, authroles: Option<&[&str]>) -> Result<u64, Error> {
        self.ask("wamp.session.count", Roles(authroles)).await
    }

    /// `wamp.session.list`
    ///
    /// # Errors
    /// As above.
    pub async fn session_list(&self, authroles: Option<&[&str]>) -> Result<Vec<u64>, Error> {
        self.ask("wamp.session.list", Roles(authroles)).await
    }

    /// `wamp.session.get`
    ///
    /// # Errors
    /// As above.
    pub async fn session_get(&self, session: SessionId) -> Result<SessionDetails, Error> {
        self.ask("wamp.session.get", (session.get(),)).await
    }

    /// `wamp.session.kill`
    ///
    /// # Errors
    /// As above.
    pub async fn session_kill(&self, session: SessionId) -> Result<(), Error> {
        self.reply("wamp.session.kill", (session.get(),)).await.map(drop)
    }

    /// `wamp.subscription.list`
    ///
    /// # Errors
    /// As above.
    pub async fn subscription_list(&self) -> Result<IdsByPolicy, Error> {
        self.ask("wamp.subscription.list", ()).await
    }

    /// `wamp.subscription.lookup`
    ///
    /// # Errors
    /// As above.
    pub async fn subscription_lookup(
        &self,
        topic: &str,
        policy: MatchPolicy,
    ) -> Result<Option<SubscriptionId>, Error> {
        let found = self.lookup("wamp.subscription.lookup", topic, policy).await?;
        Ok(found.and_then(SubscriptionId::new))
    }

    /// `wamp.subscription.match`: subscriptions that get events of the topic.
    ///
    /// # Errors
    /// As above.
    pub async fn subscription_match(&self, topic: &str) -> Result<Vec<u64>, Error> {
        let found: Option<Vec<u64>> = self.ask("wamp.subscription.match", (topic,)).await?;
        Ok(found.unwrap_or_default())
    }

    /// `wamp.subscription.get`
    ///
    /// # Errors
    /// As above.
    pub async fn subscription_get(&self, id: SubscriptionId) -> Result<UriDetails, Error> {
        self.ask("wamp.subscription.get", (id.get(),)).await
    }

    /// `wamp.subscription.count_subscribers`
    ///
    /// # Errors
    /// As above.
    pub async fn subscriber_count(&self, id: SubscriptionId) -> Result<u64, Error> {
        self.ask("wamp.subscription.count_subscribers", (id.get(),)).await
    }

    /// `wamp.subscription.list_subscribers`
    ///
    /// # Errors
    /// As above.
    pub async fn subscriber_list(&self, id: SubscriptionId) -> Result<Vec<u64>, Error> {
        self.ask("wamp.subscription.list_subscribers", (id.get(),)).await
    }

    /// `wamp.registration.list`
    ///
    /// # Errors
    /// As above.
    pub async fn registration_list(&self) -> Result<IdsByPolicy, Error> {
        self.ask("wamp.registration.list", ()).await
    }

    /// `wamp.registration.lookup`
    ///
    /// # Errors
    /// As above.
    pub async fn registration_lookup(
        &self,
        procedure: &str,
        policy: MatchPolicy,
    ) -> Result<Option<RegistrationId>, Error> {
        let found = self.lookup("wamp.registration.lookup", procedure, policy).await?;
        Ok(found.and_then(RegistrationId::new))
    }

    /// `wamp.registration.get`
    ///
    /// # Errors
    /// As above.
    pub async fn registration_get(&self, id: RegistrationId) -> Result<UriDetails, Error> {
        self.ask("wamp.registration.get", (id.get(),)).await
    }

    /// `wamp.registration.count_callees`
    ///
    /// # Errors
    /// As above.
    pub async fn callee_count(&self, id: RegistrationId) -> Result<u64, Error> {
        self.ask("wamp.registration.count_callees", (id.get(),)).await
    }

    /// `wamp.registration.list_callees`
    ///
    /// # Errors
    /// As above.
    pub async fn callee_list(&self, id: RegistrationId) -> Result<Vec<u64>, Error> {
        self.ask("wamp.registration.list_callees", (id.get(),)).await
    }

    async fn lookup(
        &self,
        procedure: &str,
        uri: &str,
        policy: MatchPolicy,
    ) -> Result<Option<u64>, Error> {
        let options = std::collections::BTreeMap::from([("match", policy.as_str())]);
        self.ask(procedure, (uri, options)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        procedure: &str,
        args: impl Serialize,
    ) -> Result<T, Error> {
        Ok(self.reply(procedure, args).await?.first()?)
    }

    async fn reply(&self, procedure: &str, args: impl Serialize) -> Result<Reply, Error> {
        self.client.call(procedure, args).await
    }
}

/// One argument, or none at all: a null would be an argument.
struct Roles<'a>(Option<&'a [&'a str]>);

impl Serialize for Roles<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => ().serialize(serializer),
            Some(roles) => (roles,).serialize(serializer),
        }
    }
}

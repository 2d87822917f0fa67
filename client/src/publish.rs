//! Publications.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use stentor_protocol::wamp::{Codec, Dict, PublicationId, SessionId, Value};
use tokio::sync::oneshot;

use crate::call::set;
use crate::client::{Client, Shared};
use crate::command::Command;
use crate::error::Error;
use crate::payload::{Outgoing, PayloadError};

/// A publication to be made.
#[must_use = "a publication is made when it is awaited or sent"]
pub struct Publish<C = Client> {
    pub(crate) client: C,
    pub(crate) parts: PublishParts,
}

pub(crate) struct PublishParts {
    topic: String,
    options: Dict,
    payload: Result<Outgoing, PayloadError>,
    is_acknowledged: bool,
    timeout: Option<Duration>,
}

impl<C> Publish<C> {
    pub(crate) fn new<A: Serialize>(client: C, codec: Codec, topic: String, args: &A) -> Self {
        let payload = Outgoing::new(codec, args);
        let options = Dict::new();
        let parts = PublishParts { topic, options, payload, is_acknowledged: false, timeout: None };
        Self { client, parts }
    }

    /// Keyword arguments: a struct or a map.
    pub fn kwargs<T: Serialize>(mut self, kwargs: T) -> Self {
        if let Ok(outgoing) = &mut self.parts.payload
            && let Err(error) = outgoing.set_kwargs(&kwargs)
        {
            self.parts.payload = Err(error);
        }
        self
    }

    /// Asks the router to say that it has the publication: the result is then its id. Without this
    /// a publication is done when it waits to be sent, and nobody learns if it is refused or lost.
    pub fn acknowledge(mut self) -> Self {
        self.parts.is_acknowledged = true;
        self.option("acknowledge", true)
    }

    /// How long an acknowledgement may take. It may come true all the same.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.parts.timeout = Some(timeout);
        self
    }

    /// Also to the publisher itself, if it has subscribed.
    pub fn include_me(self) -> Self {
        self.option("exclude_me", false)
    }

    /// Tells subscribers who publishes, where the router lets publishers decide.
    pub fn disclose_me(self) -> Self {
        self.option("disclose_me", true)
    }

    /// The router keeps the event for subscribers that come later.
    pub fn retain(self) -> Self {
        self.option("retain", true)
    }

    /// Not to these sessions.
    pub fn exclude(self, sessions: impl IntoIterator<Item = SessionId>) -> Self {
        self.option("exclude", ids(sessions))
    }

    /// To these sessions only.
    pub fn eligible(self, sessions: impl IntoIterator<Item = SessionId>) -> Self {
        self.option("eligible", ids(sessions))
    }

    /// Not to sessions with one of these authids.
    pub fn exclude_authids<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.option("exclude_authid", texts(names))
    }

    /// To sessions with one of these authids only.
    pub fn eligible_authids<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.option("eligible_authid", texts(names))
    }

    /// Not to sessions with one of these roles.
    pub fn exclude_authroles<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.option("exclude_authrole", texts(names))
    }

    /// To sessions with one of these roles only.
    pub fn eligible_authroles<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        self.option("eligible_authrole", texts(names))
    }

    /// Any option of PUBLISH.
    pub fn option(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if key == "acknowledge" {
            self.parts.is_acknowledged = value == Value::Bool(true);
        }
        set(&mut self.parts.options, key, value);
        self
    }
}

/// The result is the publication's id if it was to be acknowledged.
///
/// Cancel safe: dropped before it is sent, nothing is; after that it happens.
impl IntoFuture for Publish<Client> {
    type Output = Result<Option<PublicationId>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { publish(&self.client.shared, self.parts).await })
    }
}

pub(crate) async fn publish(
    shared: &Arc<Shared>,
    parts: PublishParts,
) -> Result<Option<PublicationId>, Error> {
    let PublishParts { topic, options, payload, is_acknowledged, timeout } = parts;
    let (answer, result) = oneshot::channel();
    let command = Command::Publish { topic, options, payload: payload?, is_acknowledged, answer };
    shared.command(command).await?;
    let answered = async { result.await.unwrap_or(Err(Error::Closed { may_have_happened: true })) };
    match timeout {
        None => answered.await,
        Some(timeout) => {
            tokio::time::timeout(timeout, answered).await.unwrap_or(Err(Error::Timeout))
        }
    }
}

fn ids(sessions: impl IntoIterator<Item = SessionId>) -> Value {
    Value::List(sessions.into_iter().map(|id| id.get().into()).collect())
}

fn texts<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Value {
    Value::List(names.into_iter().map(|name| name.into().into()).collect())
}

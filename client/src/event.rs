//! What a subscription yields: events, and that some are missing.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use stentor_protocol::wamp::{Dict, PublicationId, SessionId, Value};

use crate::core::{find, id};
use crate::payload::{Payload, PayloadError};

/// One event of a subscription.
#[derive(Clone)]
pub struct Event {
    pub(crate) topic: Arc<str>,
    pub(crate) publication: PublicationId,
    pub(crate) details: Dict,
    pub(crate) payload: Payload,
    pub(crate) is_from_history: bool,
}

impl Event {
    /// The topic that was published to, whatever pattern was subscribed to.
    pub fn topic(&self) -> &str {
        find(&self.details, "topic").and_then(Value::as_text).unwrap_or(&self.topic)
    }

    /// The id of the publication, the same for all who receive it.
    pub const fn publication(&self) -> PublicationId {
        self.publication
    }

    /// Who has published it, if that is disclosed.
    pub fn publisher(&self) -> Option<SessionId> {
        id(&self.details, "publisher").and_then(SessionId::new)
    }

    /// The authid of who has published it, if that is disclosed.
    pub fn publisher_authid(&self) -> Option<&str> {
        find(&self.details, "publisher_authid").and_then(Value::as_text)
    }

    /// Whether it is the retained event of its topic, and was published before the subscription.
    pub fn is_retained(&self) -> bool {
        matches!(find(&self.details, "retained"), Some(Value::Bool(true)))
    }

    /// Whether it was missed at first, and read from the event history.
    pub const fn is_from_history(&self) -> bool {
        self.is_from_history
    }

    /// All that the router says of it.
    pub const fn details(&self) -> &Dict {
        &self.details
    }

    /// What was published, as bytes, values or JSON.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// See [`Payload::args`].
    ///
    /// # Errors
    /// They have another type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.args()
    }

    /// See [`Payload::kwargs`].
    ///
    /// # Errors
    /// They have another type.
    pub fn kwargs<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.kwargs()
    }

    /// Bytes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.payload.weight() + self.details.len() * 64
    }
}

/// Without the payload, which may be a secret of the application.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Event");
        shown.field("topic", &self.topic()).field("publication", &self.publication);
        shown.finish_non_exhaustive()
    }
}

/// What a subscription yields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriptionItem {
    Event(Event),
    /// Events may be missing here.
    Gap(Gap),
}

/// Why events may be missing at this place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// The connection was lost, and the history does not reach back to the last event, or has left
    /// some out.
    Incomplete,
    /// The connection was lost, and the router has no history of the topic, or does not let the
    /// client read it. The text says what it answered.
    NoHistory(String),
    /// So many events were dropped, as the queue was full and was to drop the oldest.
    Dropped(u64),
    /// More came live than is held while the history is read.
    TooManyLive,
    /// The router has taken the subscription away, or does not give it back after a reconnect; no
    /// events follow.
    Revoked(String),
}

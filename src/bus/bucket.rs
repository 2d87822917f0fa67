//! The bucket: found, or made if there is none, and written to.
//!
//! It is a stream of JetStream as its key-value buckets are, so NATS' own tools can look into it.

use std::error::Error;
use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderValue};
use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamError, GetStreamErrorKind, PublishErrorKind, RequestError,
    RequestErrorKind,
};
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, Info, StorageType};
use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, header};

use super::error::BusError;
use crate::cluster::bucket::{Action, Outcome, Write};

#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) context: jetstream::Context,
    /// As NATS' tools call it.
    name: String,
    replicas: usize,
}

impl Bucket {
    pub(super) async fn open(
        client: &Client,
        cluster: &str,
        replicas: usize,
    ) -> Result<Self, BusError> {
        let context = ContextBuilder::new().timeout(ANSWER_PATIENCE).build(client.clone());
        let bucket = Self { context, name: format!("stentor-{cluster}"), replicas };
        let info = bucket.find().await?;
        bucket.check(&info)?;
        if info.config.num_replicas != replicas {
            tracing::warn!(
                bucket = bucket.name,
                is = info.config.num_replicas,
                replicas,
                "the bucket has another number of copies than replicas of [cluster] says, and \
                 keeps it: change it with `nats stream edit`"
            );
        }
        Ok(bucket)
    }

    pub(super) fn stream(&self) -> String {
        format!("KV_{}", self.name)
    }

    /// The subjects of its keys begin so.
    pub(super) fn prefix(&self) -> String {
        format!("$KV.{}.", self.name)
    }

    /// What is known of it; it is made if there is none.
    pub(super) async fn find(&self) -> Result<Info, BusError> {
        let (code, reason) = match self.context.get_stream(self.stream()).await {
            Ok(stream) => return Ok(stream.cached_info().clone()),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(fault) => {
                    (Some(fault.error_code()), error.to_string())
                }
                _ if says_no_responders(&error) => return Err(BusError::NoJetStream),
                _ => (None, error.to_string()),
            },
        };
        if code != Some(jetstream::ErrorCode::STREAM_NOT_FOUND) {
            return Err(BusError::of_bucket(&self.name, self.replicas, code, reason));
        }
        match self.context.create_stream(self.config()).await {
            Ok(stream) => Ok(stream.cached_info().clone()),
            Err(error) => {
                let code = match error.kind() {
                    CreateStreamErrorKind::JetStream(fault) => Some(fault.error_code()),
                    _ => None,
                };
                let reason = error.to_string();
                Err(BusError::of_bucket(&self.name, self.replicas, code, reason))
            }
        }
    }

    fn config(&self) -> Config {
        Config {
            name: self.stream(),
            description: Some("Members of a cluster of Stentor".to_owned()),
            subjects: vec![format!("{}>", self.prefix())],
            max_messages_per_subject: 1,
            storage: StorageType::File,
            num_replicas: self.replicas,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            allow_message_ttl: true,
            ..Config::default()
        }
    }

    fn check(&self, info: &Info) -> Result<(), BusError> {
        let (is, bucket) = (&info.config, &self.name);
        let reason = if !is.allow_message_ttl {
            "markers of its removed keys would stay for ever"
        } else if is.max_messages_per_subject != 1 || !is.max_age.is_zero() {
            "its keys have another history, or do not last"
        } else if !is.allow_rollup {
            "its keys cannot be removed"
        } else {
            return Ok(());
        };
        Err(BusError::Foreign { bucket: bucket.clone(), reason })
    }

    pub(super) async fn write(&self, write: Write) -> Outcome {
        let key = &write.key;
        match write.action {
            Action::Create(value) => self.create(key, value).await,
            Action::Replace { revision, value } => {
                self.publish(key, value, Some(revision), HeaderMap::new()).await
            }
            Action::Remove { revision } => {
                let mut headers = HeaderMap::new();
                headers.insert(OPERATION, HeaderValue::from("PURGE"));
                headers.insert(header::NATS_ROLLUP, HeaderValue::from("sub"));
                headers.insert(header::NATS_MESSAGE_TTL, HeaderValue::from(MARKER_SECONDS));
                self.publish(key, Vec::new(), Some(revision), headers).await
            }
            Action::Purge => self.purge(key).await,
        }
    }

    /// A removed key has a last revision, that of its marker, so a second try is on that condition.
    async fn create(&self, key: &str, value: Vec<u8>) -> Outcome {
        let outcome = self.publish(key, value.clone(), Some(0), HeaderMap::new()).await;
        if outcome != Outcome::Refused {
            return outcome;
        }
        let Ok(stream) = self.context.get_stream_no_info(self.stream()).await else {
            return Outcome::Unknown;
        };
        let subject = format!("{}{key}", self.prefix());
        match stream.direct_get_last_for_subject(subject).await {
            Ok(message) if is_marker(&message.headers) => {
                self.publish(key, value, Some(message.sequence), HeaderMap::new()).await
            }
            Ok(_) => Outcome::Refused,
            // Its marker has gone just now; or there was no answer.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        }
    }

    async fn publish(
        &self,
        key: &str,
        value: Vec<u8>,
        last: Option<u64>,
        mut headers: HeaderMap,
    ) -> Outcome {
        if let Some(last) = last {
            let name = header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
            headers.insert(name, HeaderValue::from(last));
        }
        let subject = format!("{}{key}", self.prefix());
        let answer = match self.context.publish_with_headers(subject, headers, value.into()).await {
            Ok(sent) => sent.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(ack) => Outcome::Written(ack.sequence),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Outcome::Refused,
            Err(error) => {
                tracing::debug!(key, %error, "a write of the bucket was not answered");
                Outcome::Unknown
            }
        }
    }

    async fn purge(&self, prefix: &str) -> Outcome {
        let Ok(stream) = self.context.get_stream_no_info(self.stream()).await else {
            return Outcome::Unknown;
        };
        let filter = format!("{}{prefix}>", self.prefix());
        match stream.purge().filter(filter).await {
            Ok(_) => Outcome::Written(0),
            Err(_) => Outcome::Unknown,
        }
    }
}

/// Whether a message says that its key has gone.
pub(super) fn is_marker(headers: &HeaderMap) -> bool {
    headers.get(header::NATS_MARKER_REASON).is_some()
        || headers.get(OPERATION).is_some_and(|operation| REMOVALS.contains(&operation.as_str()))
}

/// Whether nobody answers to JetStream's subjects.
fn says_no_responders(error: &GetStreamError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<RequestError>());
    cause.is_some_and(|cause| cause.kind() == RequestErrorKind::NoResponders)
}

const OPERATION: &str = "KV-Operation";
const REMOVALS: [&str; 2] = ["PURGE", "DEL"];

/// How long it is known of a key that it was removed: longer than any watch is away before it is
/// opened from the start.
const MARKER_SECONDS: u64 = 3_600;

/// How long an answer of JetStream is waited for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

//! A client of WAMP v2 routers.

pub mod auth;
pub mod core;
pub mod error;
pub mod payload;

#[cfg(feature = "tokio")]
pub mod blocking;
#[cfg(feature = "tokio")]
mod builder;
#[cfg(feature = "tokio")]
mod call;
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod command;
#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod event;
#[cfg(feature = "tokio")]
mod meta;
#[cfg(feature = "tokio")]
mod publish;
#[cfg(feature = "tokio")]
mod queue;
#[cfg(feature = "tokio")]
mod reconnect;
#[cfg(feature = "tokio")]
mod register;
#[cfg(feature = "tokio")]
mod subscription;
#[cfg(feature = "tokio")]
mod testament;
#[cfg(feature = "tokio")]
mod transport;
#[cfg(feature = "tokio")]
mod url;

pub use stentor_protocol::wamp::{
    CancelMode, Codec, Dict, InvokePolicy, MatchPolicy, PublicationId, RegistrationId, SessionId,
    SubscriptionId, Value,
};

pub use crate::auth::Credential;
pub use crate::error::{ConnectError, Error, Failure, LoginError, UsageError};
pub use crate::payload::{Binary, Payload, PayloadError};

#[cfg(feature = "tokio")]
pub use crate::{
    builder::ClientBuilder,
    call::{Call, Reply, RunningCall},
    client::{Client, Session, Status},
    event::{Event, Gap, SubscriptionItem},
    meta::{IdsByPolicy, Meta, SessionDetails, UriDetails},
    publish::Publish,
    reconnect::Reconnect,
    register::{Answer, CallError, IntoAnswer, Invocation, Register, Registration},
    subscription::{Subscribe, Subscription},
    testament::Testament,
};

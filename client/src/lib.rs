//! A client of WAMP v2 routers: publish, subscribe, call and register.
//!
//! ```no_run
//! use stentor_client::{Client, Invocation};
//!
//! # async fn example() -> Result<(), stentor_client::Error> {
//! let client = Client::builder("ws://127.0.0.1:8080/ws", "realm1").connect().await?;
//!
//! let mut events = client.subscribe("com.example.topic").await?;
//! client.publish("com.example.topic", ("hello", 1)).include_me().acknowledge().await?;
//! while let Some(event) = events.next().await {
//!     let (text, number): (String, i64) = event.args()?;
//! #   let _ = (text, number);
//! }
//!
//! let add = |invocation: Invocation| async move {
//!     let (a, b): (i64, i64) = invocation.args()?;
//!     Ok((a + b,))
//! };
//! let registration = client.register("com.example.add", add).await?;
//! let sum: i64 = client.call("com.example.add", (2, 3)).await?.first()?;
//! # let _ = (registration, sum);
//! # Ok(())
//! # }
//! ```
//!
//! The same without async is in [`blocking`]. Without the feature `tokio`, which is on by default,
//! there is [`core`] alone: a session without sockets, threads and clocks.
//!
//! # Connecting
//!
//! [`Client::builder`] takes a URL: WebSocket (`ws://`, `wss://`), RawSocket (`rs://`, `rss://`) or
//! a Unix socket (`unix:/path`). TLS is rustls with the system's authorities or those of a file.
//! A [`Credential`] is a ticket (or a token), a secret of WAMP-CRA, a password of WAMP-SCRAM, a key
//! of cryptosign, or the TLS certificate; of WAMP-SCRAM and, if it is asked for, of cryptosign the
//! router must prove itself as well.
//!
//! ```no_run
//! use stentor_client::{Client, Codec, Credential};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("wss://wamp.example.org/ws", "realm1")
//!     .serializer(Codec::MsgPack)
//!     .authid("joe")
//!     .credential(Credential::scram(&std::env::var("JOES_PASSWORD")?)?)
//!     .connect()
//!     .await?;
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//!
//! # Arguments
//!
//! What is sent is whatever serde writes as a list (a tuple, most often), and as a map for keyword
//! arguments. What comes stays bytes until [`Payload::args`], [`Payload::kwargs`] or
//! [`Payload::values`] is asked for. [`Binary`] is binary data in every serializer.
//!
//! # Lost connections
//!
//! A client connects again by itself ([`Reconnect`]) and restores its subscriptions and
//! registrations. Where the router has an event history of a topic, as Stentor has if it is
//! configured, missed events are fetched from it: each comes once and in order. Where it cannot be
//! known that none is missing, the subscription yields a [`Gap`]: [`Subscription::next`] passes
//! over those and counts them, [`Subscription::next_item`] has them in their place.
//!
//! Calls and acknowledged publications that were under way fail with [`Error::Closed`] and
//! `may_have_happened`: they are never repeated. While there is no connection, requests fail at
//! once; [`Client::connected`] waits for the next session, [`Client::status`] says how things are.
//!
//! A publication that is not acknowledged may be lost with its connection, without a word.
//! Publications of one's own, not acknowledged when the connection is lost, may come back as missed
//! events if the same client has subscribed to their topic.
//!
//! # Who is slow
//!
//! Everything that waits has a bound. Requests wait where they are made while the router does not
//! read. Events of a [`Subscription`] wait in its queue; when that is full, the connection is read
//! no further, or the oldest event is dropped: [`Subscribe::drop_oldest`]. Messages from the
//! router are at most 16 MiB long, and what a router sends without being asked keeps nothing.
//!
//! # Dropping
//!
//! Each future says whether it is cancel safe. Dropping a [`Subscription`] unsubscribes, dropping a
//! [`Registration`] unregisters, dropping a call cancels it. The session ends, in order, when the
//! last of all these and of the [`Client`]'s clones is dropped.

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
pub use crate::payload::{Binary, Payload, PayloadError, RawPayload};

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

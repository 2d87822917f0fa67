//! Stentor: a WAMP v2 router (broker and dealer).
//!
//! Several event-loop threads each own a poller, a part of the connections, and a [`shard::Shard`]
//! that knows everything about them. What all shards share is the [`router::Router`]: per realm a
//! table of topics, one of procedures, and the list of sessions. Shards talk by mail.
//!
//! # The map
//!
//! Everything is pure but for the last four: no socket, thread, file or clock.
//!
//! - [`wamp`]: what a WAMP message is. [`codec`]: bytes to messages and back, per serializer.
//! - [`transport`]: frames and handshakes of WebSocket and RawSocket, and the queue of what leaves.
//! - [`limits`], [`clock`], [`hash`], [`address`], [`rate`]: every bound with its default; time;
//!   seeded maps; where connections come from; how often something may happen.
//! - [`authentication`]: the methods by which clients prove who they are.
//! - [`authorization`]: what the rules of a role grant.
//! - [`router`]: the shared tables. [`session`]: one session. [`shard`]: what happens to both.
//! - [`config`]: a file and flags to a [`config::Config`]. [`crossbar`]: such a file from that of a
//!   crossbar node.
//! - [`storage`]: histories and retained events on disk. [`net`]: sockets and threads. [`control`]:
//!   what operators see.
//!
//! # The life of a PUBLISH
//!
//! 1. [`shard::Turn`] reads a socket. The transport finds a frame, the codec the message; the
//!    payload stays a slice of what was read, its form checked once.
//! 2. The shard checks it, and copies out of the topic table which subscriptions match and at which
//!    [`router::Destinations`] their receivers are. No lock is held from here on.
//! 3. Every other shard with receivers gets one piece of mail that shares one [`shard::Event`].
//! 4. For local receivers the frame is encoded once per serializer and framing, and each one
//!    queues eight bytes that say where it lies. What is too much for a turn goes on in the next,
//!    while the publisher waits.
//! 5. At the end of the turn each connection is written once.
//!
//! # Embedding
//!
//! A program that contains a router needs [`config`] and [`net::Server`]; these pages describe them
//! and what they are made of. The rest is for contributors: `cargo doc --document-private-items`.
//!
//! ```no_run
//! use stentor::config::{Config, Listener};
//! use stentor::net::Server;
//!
//! let listener = Listener::on("127.0.0.1:8080".parse()?);
//! let server = Server::start(&Config { listeners: vec![listener], ..Config::default() })?;
//! // ... until it is to end:
//! server.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// What an embedder needs is documented; the rest is public for tests, benches and the command.
pub mod config;
pub mod control;
pub mod limits;
pub mod net;
pub use stentor_protocol::wamp;

#[doc(hidden)]
pub use stentor_protocol::codec;

#[doc(hidden)]
pub mod address;
#[doc(hidden)]
pub mod authentication;
#[doc(hidden)]
pub mod authorization;
#[cfg(feature = "cluster")]
#[doc(hidden)]
pub mod bus;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod crossbar;
#[doc(hidden)]
pub mod hash;
#[doc(hidden)]
pub mod rate;
#[doc(hidden)]
pub mod router;
#[doc(hidden)]
pub mod session;
#[doc(hidden)]
pub mod shard;
#[doc(hidden)]
pub mod storage;
#[doc(hidden)]
pub mod transport;

mod http;

//! What must hold for any input, however hostile: one function per fuzz target, which panics where
//! something does not hold.
//!
//! `fuzz/` runs them on what libFuzzer makes, `tests/seeds.rs` on the seeds of the repository. They
//! judge by code of their own: readers of the formats that are slow, plain, and see all bytes at
//! once.

mod codecs;
mod configuration;
mod cuts;
#[allow(dead_code, reason = "the tests of transports use more of it")]
#[path = "../transport/harness.rs"]
mod harness;
mod http;
mod login;
mod proxy;
mod rawsocket;
mod tokens;
mod uris;
mod websocket;

use stentor::codec::Codec;

/// Panics if something does not hold for these bytes.
pub(crate) type Judge = fn(&[u8]);

/// The targets by their names.
pub(crate) const TARGETS: &[(&str, Judge)] = &[
    ("http_head", http::head),
    ("websocket_feed", websocket::feed),
    ("rawsocket_feed", rawsocket::feed),
    ("proxy_header", proxy::header),
    ("codec_json", |data| codecs::judge(Codec::Json, data)),
    ("codec_msgpack", |data| codecs::judge(Codec::MsgPack, data)),
    ("codec_cbor", |data| codecs::judge(Codec::Cbor, data)),
    ("uris", uris::judge),
    ("configuration", configuration::judge),
    ("tokens", tokens::judge),
    ("login", login::judge),
];

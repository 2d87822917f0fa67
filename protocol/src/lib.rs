//! WAMP v2 messages and their bytes: what the router and the client of Stentor have in common.
//!
//! [`wamp`] is what a message is: ids, URIs, options, payloads, errors. [`codec`] makes bytes of
//! messages and messages of bytes, in JSON, MessagePack and CBOR. Both are pure: no socket,
//! thread, file or clock.

pub mod codec;
pub mod wamp;

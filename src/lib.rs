//! Stentor: a WAMP v2 router (broker and dealer).

pub mod clock;
pub mod codec;
pub mod config;
pub mod hash;
pub mod limits;
pub mod net;
pub mod router;
pub mod session;
pub mod shard;
pub mod storage;
pub mod transport;
pub mod wamp;

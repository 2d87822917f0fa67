//! What the simulator and the scenarios share: a client's side of the wire, written without the
//! router's codec so that it judges it, and several shards in one thread.

mod judgement;
mod link;
mod links;
mod network;
mod serializer;
mod store;

pub(crate) use link::{Carrier, Incoming, Link};
pub(crate) use network::Network;
pub(crate) use serializer::Serializer;
pub(crate) use store::Store;

//! What the simulator and the scenarios share: a client's side of the wire, written without the
//! router's codec so that it judges it, and several shards in one thread.

mod bucket;
mod cluster;
mod gateway;
mod judgement;
mod link;
mod links;
mod manager;
mod memory;
mod network;
mod node;
mod proofs;
mod serializer;
mod store;
mod tokens;
mod users;

#[allow(unused_imports, reason = "not everybody has several nodes")]
pub(crate) use cluster::{Cluster, Member};
#[allow(unused_imports, reason = "the scenarios and the simulator use different parts")]
pub(crate) use gateway::node;
pub(crate) use link::{Carrier, Incoming, Link};
#[allow(unused_imports, reason = "the simulator asks nobody")]
pub(crate) use links::{Links, Says};
#[allow(unused_imports, reason = "the simulator has no management realm")]
pub(crate) use manager::bulletin;
#[cfg(target_os = "linux")]
#[allow(unused_imports, reason = "few measure memory")]
pub(crate) use memory::resident_bytes;
pub(crate) use network::Network;
#[allow(unused_imports, reason = "the simulator has one node")]
pub(crate) use node::{published_by, published_elsewhere};
pub(crate) use proofs::{CLIENT_NONCE, prove, public_key_of};
pub(crate) use serializer::Serializer;
pub(crate) use store::Store;
#[allow(unused_imports, reason = "the simulator has no tokens")]
pub(crate) use tokens::{by_token, token};
pub(crate) use users::{user, user_with_chosen_ticket};

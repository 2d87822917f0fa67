//! Several routers as one: what nodes say to each other, and what comes of it.
//!
//! Pure: parcels and the time come in, and parcels go out. Who carries them is not decided here,
//! only what holds whoever does: between two nodes nothing is lost, doubled or reordered without
//! the link having ended at both ends.

mod beat;
pub mod bucket;
mod calls;
mod claims;
mod copies;
mod entry;
pub mod link;
pub mod members;
mod node;
mod numbers;
mod peer;
mod questions;
mod rosters;
pub mod wire;

pub use beat::nothing_new;
pub use entry::{Book, Entry, ForeignCall, ForeignEvent, Kept, Offered, Unreadable};
pub use link::LinkTally;
pub use node::{ClaimCounts, Counts, Node, NodeSettings, NodeView, PeerView};

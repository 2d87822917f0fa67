//! Why a node cannot stay.

use thiserror::Error;

use super::super::wire::Versions;

/// Why a node cannot be of its cluster any more. Its process is to end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Ended {
    #[error(
        "another node has joined the cluster as `{0}`, so this one has ended: give each node a \
         name of its own (`node` in [cluster], or --node)"
    )]
    Replaced(String),
    #[error(
        "this node was removed from the cluster, and its number {number} belongs to node `{by}` by \
         now: start it again, its clients then get sessions of its new number"
    )]
    NumberTaken { number: u8, by: String },
    #[error(
        "the cluster's bucket was made anew with another key, so the ids of this node mean nothing \
         there: start it again"
    )]
    OtherSeed,
    #[error("the cluster has {0} nodes already, and there can be no more: stop one of them first")]
    Full(u8),
    #[error(
        "node `{name}` speaks {theirs} of the cluster's protocol and this one {own}: upgrade one \
         version at a time"
    )]
    Versions { name: String, theirs: Versions, own: Versions },
}

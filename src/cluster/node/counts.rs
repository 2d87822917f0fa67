//! What has happened at a node, for metrics.

use super::ClaimCounts;

/// What has happened, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of other nodes, and those of them that nobody here wanted.
    pub events: u64,
    pub useless_events: u64,
    /// Events that were dropped, since too much waited for a node.
    pub dropped_events: u64,
    /// Calls to other nodes, those of other nodes, and those that were refused since a node was not
    /// reached, too much waited for it, or the link has ended: the last stand in `lost_calls`, too.
    pub calls: u64,
    pub foreign_calls: u64,
    pub refused_calls: u64,
    pub lost_calls: u64,
    /// Answers for which nobody waited any more.
    pub late_answers: u64,
    /// Questions of the meta API to other nodes, those of other nodes, and parts of answers for
    /// which nobody waited any more.
    pub questions: u64,
    pub foreign_questions: u64,
    pub late_parts: u64,
    /// Meta events for other nodes that were dropped, since too much waited: these are told anew
    /// what stands here.
    pub dropped_meta_events: u64,
    /// Links that have begun, and that have ended.
    pub links_opened: u64,
    pub links_ended: u64,
    /// Times that clients were sent away, as the bucket was not there for this node.
    pub stops: u64,
    /// Messages of nodes that have gone, or that this one is yet to read of.
    pub stray_messages: u64,
    /// Messages that no node of this version sends.
    pub strange_messages: u64,
    pub claims: ClaimCounts,
}

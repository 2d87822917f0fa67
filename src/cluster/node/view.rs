//! What can be seen of a node: its place among the others, and how it gets on with each.

use super::super::bucket::NodeRecord;
use super::super::link::LinkTally;
use super::super::members::Removals;
use super::super::wire::Incarnation;
use super::{Counts, Node};
use crate::clock::Millis;
use crate::router::{NodeName, NodeNumber};

/// A node at one moment.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub name: NodeName,
    pub number: Option<NodeNumber>,
    pub incarnation: Incarnation,
    /// Its key stands in the bucket, as far as it has read.
    pub is_member: bool,
    /// It has once been linked with all that were members before it.
    pub is_ready: bool,
    /// It serves nobody when it is cut off.
    pub stops: bool,
    /// Clients are served; and how long ago the bucket was last there for it, in milliseconds, if
    /// that decides.
    pub is_serving: bool,
    pub contact_ms: Option<u64>,
    /// How far it has read the bucket, and how many writes behind that others have read.
    pub revision: u64,
    pub lag: u64,
    /// How long ago the watch has last told something, in milliseconds. It is silent while nothing
    /// is written.
    pub told_ms: u64,
    /// How long ago any other node was last heard, in milliseconds, if there is one.
    pub heard_ms: Option<u64>,
    /// Calls to other nodes, and those of other nodes, that wait for their answers.
    pub pending_calls: (usize, usize),
    /// Turns, and sessions of them, that wait until others have confirmed something.
    pub waiting: (usize, usize),
    /// Bytes that may wait for one other node.
    pub queue_bytes: usize,
    pub counts: Counts,
    pub removals: Removals,
    /// Members whom it does not hear and others do, if it waits until it hears them before it
    /// becomes a member again.
    pub waits_for: Vec<NodeName>,
    /// The other members, by their numbers.
    pub peers: Vec<PeerView>,
}

/// Another member, as a node sees it.
#[derive(Clone, Debug)]
pub struct PeerView {
    pub name: NodeName,
    pub number: NodeNumber,
    pub incarnation: Incarnation,
    /// A link is open; and both ends have what the other wants and keeps.
    pub is_open: bool,
    pub is_linked: bool,
    /// For how long the link has been open, in milliseconds, if it is.
    pub open_ms: Option<u64>,
    /// How long ago it was last heard through an open link, or met, in milliseconds.
    pub silent_ms: u64,
    /// How long a parcel takes there and back, in microseconds: see
    /// [`Link::round_trip_us`](crate::cluster::link::Link::round_trip_us).
    pub round_trip_us: Option<u64>,
    /// Bytes of entries that it has not dealt with.
    pub queued_bytes: usize,
    pub tally: LinkTally,
    /// Events that were dropped, since too much waited for it.
    pub dropped_events: u64,
    /// How many writes of the bucket this node had read, and that one not, at its last heartbeat.
    pub lag: u64,
    /// The version of the cluster's protocol that both speak.
    pub version: u8,
    /// Its configuration says something else about what all nodes should have alike.
    pub differs: bool,
    /// It serves nobody when it is cut off.
    pub stops: bool,
}

impl NodeView {
    /// Whether there are other members, and no link with any of them.
    pub fn is_cut_off(&self) -> bool {
        !self.peers.is_empty() && !self.peers.iter().any(|peer| peer.is_open)
    }
}

/// When something was last heard.
#[derive(Debug)]
pub(super) struct Seen {
    /// Of the watch.
    pub(super) told_at: Millis,
}

impl Seen {
    pub(super) const fn new(now: Millis) -> Self {
        Self { told_at: now }
    }
}

impl Node {
    /// How this node is, and how it gets on with the others.
    pub fn view(&self, now: Millis) -> NodeView {
        let members = &self.members;
        let identity = members.identity();
        let others = members.others();
        let peers = others.filter_map(|(_, number, record)| self.view_peer(number, record, now));
        let peers: Vec<_> = peers.collect();
        NodeView {
            name: identity.name.clone(),
            number: members.ids().map(|ids| ids.node()),
            incarnation: self.me,
            is_member: members.is_member(),
            is_ready: self.is_ready,
            stops: identity.stops_ms.is_some(),
            is_serving: self.is_serving(),
            contact_ms: members.contact_ms(now),
            revision: members.revision(),
            lag: members.lag(),
            told_ms: now.since(self.seen.told_at),
            heard_ms: peers.iter().map(|peer| peer.silent_ms).min(),
            pending_calls: self.pending_calls(),
            waiting: self.waiting(),
            queue_bytes: self.settings.queue_bytes,
            counts: self.counts,
            removals: members.removals(),
            waits_for: self.waits_for(now),
            peers,
        }
    }

    fn view_peer(&self, number: NodeNumber, record: &NodeRecord, now: Millis) -> Option<PeerView> {
        let (own, peer) = (self.members.identity(), self.peers.get(&record.incarnation)?);
        let link = &peer.link;
        Some(PeerView {
            name: record.name.clone(),
            number,
            incarnation: record.incarnation,
            is_open: link.is_open(),
            is_linked: peer.is_linked(),
            open_ms: link.is_open().then(|| now.since(peer.sight.opened_at)),
            silent_ms: now.since(peer.in_touch_at),
            round_trip_us: link.round_trip_us(),
            queued_bytes: link.queued_bytes(),
            tally: link.tally(),
            dropped_events: peer.sight.dropped_events,
            lag: peer.sight.lag,
            // Who has none in common with a member does not become one.
            version: own.versions.common(record.versions).unwrap_or_default(),
            differs: record.digest != own.digest,
            stops: record.stops_ms > 0,
        })
    }
}

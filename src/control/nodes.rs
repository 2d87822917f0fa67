//! The nodes of a cluster as one of them sees them, and what is wrong, in words.

use serde_json::{Value, json};

use crate::cluster::{Counts, NodeView, PeerView};
use crate::net::{BusView, ClusterView};

/// What `/clusterz` says where there is no cluster.
pub(super) const ALONE: &str =
    "this router is no node of a cluster: its configuration has no [cluster]\n";

/// All nodes by their names, this one among them, and what carries their messages. `age_ms`: how
/// old that is.
pub(super) fn page(view: &ClusterView, age_ms: u64) -> Value {
    let ClusterView { cluster, bus, node, .. } = view;
    let (own_calls, foreign_calls) = node.pending_calls;
    let (turns, sessions) = node.waiting;
    let mut nodes: Vec<_> = node.peers.iter().map(|peer| (&peer.name, other(node, peer))).collect();
    nodes.push((&node.name, own(node)));
    nodes.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    json!({
        "cluster": &**cluster,
        "node": node.name.as_str(),
        "number": node.number.map(|number| number.get()),
        "incarnation": node.incarnation.to_string(),
        "age_ms": age_ms,
        "is_member": node.is_member,
        "is_ready": node.is_ready,
        "stops": node.stops,
        "is_serving": node.is_serving,
        "contact_ms": node.contact_ms,
        "is_cut_off": node.is_cut_off(),
        "wrong": wrong(view, age_ms),
        "nodes": nodes.into_iter().map(|(_, row)| row).collect::<Vec<_>>(),
        "nats": nats(bus),
        "bucket": {
            "revision": node.revision,
            "lag": node.lag,
            "told_ms": node.told_ms,
            "is_watched": bus.is_watched,
            "watch_reopenings": bus.watch_reopenings,
            "writes": bus.writes,
            "unanswered_writes": bus.unanswered_writes,
            "silent_ms": bus.silent_ms,
        },
        "heard_ms": node.heard_ms,
        "mail_bytes": view.mail_bytes,
        "pending_calls": { "own": own_calls, "of_others": foreign_calls },
        "waiting_for_others": { "turns": turns, "sessions": sessions },
        "removals": { "others": node.removals.others, "own": node.removals.own },
        "counts": counts(&node.counts),
    })
}

fn nats(bus: &BusView) -> Value {
    json!({
        "is_connected": bus.is_connected,
        "since_ms": bus.since_ms,
        "reconnects": bus.reconnects,
    })
}

fn own(node: &NodeView) -> Value {
    json!({
        "node": node.name.as_str(),
        "number": node.number.map(|number| number.get()),
        "incarnation": node.incarnation.to_string(),
        "link": Link::Own.as_str(),
        "wrong": [],
    })
}

fn other(node: &NodeView, peer: &PeerView) -> Value {
    json!({
        "node": peer.name.as_str(),
        "number": peer.number.get(),
        "incarnation": peer.incarnation.to_string(),
        "link": Link::of(peer).as_str(),
        "linked_ms": peer.open_ms,
        "silent_ms": peer.silent_ms,
        "round_trip_us": peer.round_trip_us,
        "queued_bytes": peer.queued_bytes,
        "parcels_sent": peer.tally.sent_parcels,
        "bytes_sent": peer.tally.sent_bytes,
        "parcels_resent": peer.tally.resent_parcels,
        "parcels_received": peer.tally.received_parcels,
        "bytes_received": peer.tally.received_bytes,
        "window_waits": peer.tally.window_waits,
        "events_dropped": peer.dropped_events,
        "lag": peer.lag,
        "is_alike": !peer.differs,
        "stops": peer.stops,
        "wrong": wrong_with(node, peer),
    })
}

/// How a node is linked with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// It is the node itself.
    Own,
    Linked,
    /// It is open, and not both ends have what the other wants and keeps.
    Copying,
    Down,
}

impl Link {
    const fn of(peer: &PeerView) -> Self {
        match (peer.is_open, peer.is_linked) {
            (true, true) => Self::Linked,
            (true, false) => Self::Copying,
            (false, _) => Self::Down,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Linked => "linked",
            Self::Copying => "copying",
            Self::Down => "down",
        }
    }
}

/// What is wrong with this node, and with each of the others.
fn wrong(view: &ClusterView, age_ms: u64) -> Vec<String> {
    let ClusterView { bus, node, .. } = view;
    let mut wrong = Vec::new();
    if age_ms >= STALE_MS {
        wrong.push(format!("the thread `cluster` has shown nothing for {}", span(age_ms)));
    }
    if !bus.is_connected {
        wrong.push(format!("there has been no connection to NATS for {}", span(bus.since_ms)));
    }
    if let Some(silent_ms) = bus.silent_ms.filter(|silent_ms| *silent_ms >= SILENT_MS) {
        wrong.push(format!(
            "the bucket has been silent for {}: nothing can be registered meanwhile",
            span(silent_ms)
        ));
    }
    if !node.is_member {
        wrong.push("this node is no member of the cluster just now".to_owned());
    }
    if !node.is_serving {
        let span = span(node.contact_ms.unwrap_or_default());
        wrong.push(format!(
            "this node serves no client, as the bucket was not there for it for {span} (`alone = \
             \"stop\"`)"
        ));
    }
    if node.is_cut_off() {
        wrong.push("this node is linked with no other one".to_owned());
    }
    let of_others = node.peers.iter().flat_map(|peer| {
        let name = peer.name.as_str();
        wrong_with(node, peer).into_iter().map(move |fault| format!("node {name}: {fault}"))
    });
    wrong.extend(of_others);
    wrong
}

fn wrong_with(node: &NodeView, peer: &PeerView) -> Vec<String> {
    let mut wrong = Vec::new();
    if !peer.is_open {
        let span = span(peer.silent_ms);
        wrong.push(format!("there is no link with it, and nothing was heard of it for {span}"));
    }
    if peer.differs {
        wrong.push("it has other realms, roles or interest_bits than this node".to_owned());
    }
    if peer.stops != node.stops {
        wrong.push("it has another `alone` than this node: give all the same".to_owned());
    }
    if peer.queued_bytes >= node.queue_bytes - node.queue_bytes / 4 {
        let queued = peer.queued_bytes;
        wrong.push(format!(
            "{queued} bytes wait for it: events for it are dropped from {} on",
            node.queue_bytes
        ));
    }
    wrong
}

/// As `1:02:03`.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn counts(counts: &Counts) -> Value {
    let claims = &counts.claims;
    json!({
        "events": counts.events,
        "useless_events": counts.useless_events,
        "dropped_events": counts.dropped_events,
        "calls": counts.calls,
        "foreign_calls": counts.foreign_calls,
        "refused_calls": counts.refused_calls,
        "lost_calls": counts.lost_calls,
        "late_answers": counts.late_answers,
        "questions": counts.questions,
        "foreign_questions": counts.foreign_questions,
        "late_parts": counts.late_parts,
        "dropped_meta_events": counts.dropped_meta_events,
        "links_opened": counts.links_opened,
        "links_ended": counts.links_ended,
        "stray_messages": counts.stray_messages,
        "strange_messages": counts.strange_messages,
        "stops": counts.stops,
        "claims": {
            "granted": claims.granted,
            "refused": claims.refused,
            "given_up": claims.given_up,
            "revoked": claims.revoked,
            "strange": claims.strange,
        },
    })
}

/// It is shown once a second.
const STALE_MS: u64 = 3_000;

/// Longer than the bucket takes to have another leader, in most cases.
const SILENT_MS: u64 = 3_000;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Millis;
    use crate::cluster::members::Removals;
    use crate::cluster::wire::Incarnation;
    use crate::cluster::{ClaimCounts, LinkTally};
    use crate::router::{NodeName, NodeNumber};

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn number(number: u8) -> NodeNumber {
        NodeNumber::new(number).unwrap()
    }

    fn peer(node: u8, called: &str) -> PeerView {
        PeerView {
            name: name(called),
            number: number(node),
            incarnation: Incarnation(u64::from(node) + 1),
            is_open: true,
            is_linked: true,
            open_ms: Some(60_000),
            silent_ms: 400,
            round_trip_us: Some(1_250),
            queued_bytes: 10,
            tally: LinkTally {
                sent_parcels: 7,
                sent_bytes: 700,
                resent_parcels: 2,
                received_parcels: 5,
                received_bytes: 500,
                window_waits: 1,
            },
            dropped_events: 3,
            lag: 4,
            differs: false,
            stops: false,
        }
    }

    /// Node `b` of three, with which all is well.
    pub(in crate::control) fn example() -> ClusterView {
        let node = NodeView {
            name: name("b"),
            number: Some(number(1)),
            incarnation: Incarnation(2),
            is_member: true,
            is_ready: true,
            stops: false,
            is_serving: true,
            contact_ms: None,
            revision: 12,
            lag: 0,
            told_ms: 5_000,
            heard_ms: Some(400),
            pending_calls: (2, 1),
            waiting: (1, 1),
            queue_bytes: 1_000,
            counts: Counts {
                refused_calls: 5,
                lost_calls: 2,
                claims: ClaimCounts { granted: 6, ..ClaimCounts::default() },
                ..Counts::default()
            },
            removals: Removals { others: 1, own: 0 },
            peers: vec![peer(0, "a"), peer(2, "c")],
        };
        let bus = BusView { is_connected: true, is_watched: true, ..BusView::default() };
        ClusterView { cluster: Arc::from("demo"), at: Millis(0), mail_bytes: 0, bus, node }
    }

    #[test]
    fn nodes_stand_by_their_names_and_nothing_is_wrong() {
        let mut view = example();
        view.node.peers.reverse();
        let page = page(&view, 900);
        let links: Vec<_> =
            page["nodes"].as_array().unwrap().iter().map(|row| &row["link"]).collect();
        assert_eq!(links, ["linked", "self", "linked"]);
        assert_eq!(page["nodes"][0]["node"], "a");
        assert_eq!((&page["node"], &page["number"]), (&json!("b"), &json!(1)));
        assert_eq!(page["wrong"], json!([]));
        assert_eq!(page["nodes"][2]["events_dropped"], 3);
    }

    /// Each fault is said once, with the node that has it.
    #[test]
    fn what_is_wrong_is_said_in_words() {
        let said = |change: fn(&mut ClusterView), age_ms| {
            let mut view = example();
            change(&mut view);
            wrong(&view, age_ms).join("; ")
        };
        let nothing: fn(&mut ClusterView) = |_| {};
        assert_eq!(said(nothing, 3_000), "the thread `cluster` has shown nothing for 0:00:03");
        for (change, expected) in [
            (
                (|view| {
                    (view.bus.is_connected, view.bus.since_ms) = (false, 61_000);
                }) as fn(&mut ClusterView),
                "there has been no connection to NATS for 0:01:01",
            ),
            (|view| view.bus.silent_ms = Some(2_999), ""),
            (
                |view| view.bus.silent_ms = Some(3_000),
                "the bucket has been silent for 0:00:03: nothing can be registered meanwhile",
            ),
            (
                |view| {
                    (view.node.is_serving, view.node.contact_ms) = (false, Some(19_000));
                },
                "this node serves no client, as the bucket was not there for it for 0:00:19 \
                 (`alone = \"stop\"`)",
            ),
            (|view| view.node.is_member = false, "this node is no member of the cluster just now"),
            (
                |view| {
                    (view.node.peers[1].is_open, view.node.peers[1].silent_ms) = (false, 9_000);
                },
                "node c: there is no link with it, and nothing was heard of it for 0:00:09",
            ),
            (
                |view| view.node.peers[0].differs = true,
                "node a: it has other realms, roles or interest_bits than this node",
            ),
            (
                |view| view.node.peers[0].stops = true,
                "node a: it has another `alone` than this node: give all the same",
            ),
            (|view| view.node.peers[0].queued_bytes = 749, ""),
            (
                |view| view.node.peers[0].queued_bytes = 750,
                "node a: 750 bytes wait for it: events for it are dropped from 1000 on",
            ),
        ] {
            assert_eq!(said(change, 2_999), expected);
        }
        let cut_off: fn(&mut ClusterView) = |view| {
            view.node.peers.iter_mut().for_each(|peer| peer.is_open = false);
        };
        assert!(said(cut_off, 0).starts_with("this node is linked with no other one; node a: "));
    }
}

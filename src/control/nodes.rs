//! The nodes of a cluster as one of them sees them, and what is wrong, in words.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cluster::wire::Incarnation;
use crate::cluster::{Counts, NodeView, PeerView};
use crate::net::{BusView, ClusterView, View};
use crate::router::{NodeName, NodeNumber};

/// What is said where there is no cluster.
pub(super) const ALONE: &str =
    "this router is no node of a cluster: its configuration has no [cluster]";

/// What `/clusterz` and `stentor.node.list` say; `None`: this router is no node.
pub(super) fn list(view: &View, now: Instant) -> Option<Value> {
    let cluster = view.cluster()?;
    let age_ms = view.since_start(now).since(cluster.at);
    Some(page(&cluster, age_ms))
}

/// All nodes by their names, this one among them, and what carries their messages. `age_ms`: how
/// old that is.
fn page(view: &ClusterView, age_ms: u64) -> Value {
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
        "version": peer.version,
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

/// Who is a member, and how it is linked, by its life: a node that is started again is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roll(BTreeMap<Incarnation, Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: NodeName,
    number: Option<NodeNumber>,
    link: Link,
}

impl Roll {
    pub(super) fn of(view: &ClusterView) -> Self {
        let node = &view.node;
        let own = Entry { name: node.name.clone(), number: node.number, link: Link::Own };
        let own = node.is_member.then_some((node.incarnation, own));
        let others = node.peers.iter().map(|peer| {
            let (name, number) = (peer.name.clone(), Some(peer.number));
            (peer.incarnation, Entry { name, number, link: Link::of(peer) })
        });
        Self(own.into_iter().chain(others).collect())
    }

    /// What is another way than it was before, those first who are gone.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<Value> {
        let change = |life: &Incarnation, entry: &Entry, was: Option<Link>, link: Option<Link>| {
            json!({
                "node": entry.name.as_str(),
                "number": entry.number.map(NodeNumber::get),
                "incarnation": life.to_string(),
                "was": was.map(Link::as_str),
                "link": link.map(Link::as_str),
            })
        };
        let gone = before.0.iter().filter(|(life, _)| !self.0.contains_key(life));
        let gone = gone.map(|(life, entry)| change(life, entry, Some(entry.link), None));
        let others = self.0.iter().filter_map(|(life, entry)| {
            let was = before.0.get(life).map(|before| before.link);
            (was != Some(entry.link)).then(|| change(life, entry, was, Some(entry.link)))
        });
        gone.chain(others).collect()
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
    for missing in node.waits_for.iter().map(NodeName::as_str) {
        wrong.push(format!(
            "node {missing} is not heard here, though others hear it: this node was removed, and \
             waits until it hears that one"
        ));
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
            version: 1,
            differs: false,
            stops: false,
        }
    }

    /// Node `b` of three, with which all is well.
    pub(in crate::control) fn example() -> ClusterView {
        let node = NodeView {
            waits_for: Vec::new(),
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

    /// Each node that has come, gone or changed is said once, whatever it is called.
    #[test]
    fn changes_are_told_by_lives() {
        let (all, mut view) = (Roll::of(&example()), example());
        let said = |before: &Roll, after: &Roll| -> Vec<(Value, Value, Value)> {
            let rows = after.changes_since(before);
            rows.iter()
                .map(|row| (row["node"].clone(), row["was"].clone(), row["link"].clone()))
                .collect()
        };
        let row = |name: &str, was: Option<&str>, link: Option<&str>| {
            (json!(name), json!(was), json!(link))
        };
        let came = [
            row("a", None, Some("linked")),
            row("b", None, Some("self")),
            row("c", None, Some("linked")),
        ];
        assert_eq!(said(&Roll::default(), &all), came);
        assert_eq!(said(&all, &all), []);
        view.node.peers[0].is_linked = false;
        view.node.peers[1].is_open = false;
        let worse = Roll::of(&view);
        let changed =
            [row("a", Some("linked"), Some("copying")), row("c", Some("linked"), Some("down"))];
        assert_eq!(said(&all, &worse), changed);
        view.node.peers[1].incarnation = Incarnation(77);
        let again = Roll::of(&view);
        let changed = [row("c", Some("down"), None), row("c", None, Some("down"))];
        assert_eq!(said(&worse, &again), changed);
        assert_eq!(again.changes_since(&worse)[1]["incarnation"], Incarnation(77).to_string());
        (view.node.is_member, view.node.peers) = (false, Vec::new());
        let gone = [
            row("a", Some("copying"), None),
            row("b", Some("self"), None),
            row("c", Some("down"), None),
        ];
        assert_eq!(said(&again, &Roll::of(&view)), gone);
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
                |view| view.node.waits_for.push(name("c")),
                "node c is not heard here, though others hear it: this node was removed, and waits \
                 until it hears that one",
            ),
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

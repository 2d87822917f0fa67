//! Metrics of a node of a cluster. A router that is none has none of these families.

use std::collections::BTreeSet;
use std::fmt;

use prometheus_client::metrics::MetricType;

use super::metrics::{Families, NO_LABELS};
use crate::cluster::PeerView;
use crate::net::{ClusterView, View};
use crate::router::{Counter, Measures, Router};

pub(super) fn encode_cluster(families: &mut Families<'_, '_>, view: &View) -> fmt::Result {
    let Some(cluster) = view.cluster() else { return Ok(()) };
    encode_standing(families, &cluster)?;
    encode_links(families, &cluster)?;
    encode_mail(families, &cluster)?;
    let help = "Bytes of mail of the shards that wait for the thread `cluster`";
    let mut family = families.begin("stentor_cluster_mail_queued", help, MetricType::Gauge)?;
    family.gauge(&NO_LABELS, cluster.mail_bytes as u64)?;
    encode_claims(families, &cluster)?;
    encode_bucket(families, &cluster)?;
    encode_waiting(families, view.router(), &cluster)
}

/// Whether this node is one of how many, and who had to go.
fn encode_standing(families: &mut Families<'_, '_>, cluster: &ClusterView) -> fmt::Result {
    let ClusterView { node, bus, .. } = cluster;
    let others = node.peers.len() as u64;
    let members = if node.is_member { others + 1 } else { 0 };
    let linked = node.peers.iter().filter(|peer| peer.is_linked).count() as u64;
    let gauges = [
        ("stentor_cluster_members", "Nodes of the cluster; 0 while this one is none", members),
        ("stentor_cluster_linked_nodes", "Other nodes that this one is linked with", linked),
        (
            "stentor_cluster_connected",
            "Whether there is a connection to NATS",
            bus.is_connected.into(),
        ),
    ];
    put_gauges(families, &gauges)?;
    encode_service(families, cluster)?;
    let help = "Nodes that were removed as they were not heard: others by this one, and this one";
    let mut family = families.begin("stentor_cluster_removals", help, MetricType::Counter)?;
    for (of, count) in [("other", node.removals.others), ("self", node.removals.own)] {
        family.counter(&[("of", of)], count)?;
    }
    let counters = [(
        "stentor_cluster_reconnects",
        "Times that a lost connection to NATS has come back",
        bus.reconnects,
    )];
    put_counters(families, &counters)
}

/// Whether clients are served, which with `alone = "stop"` the bucket decides.
fn encode_service(families: &mut Families<'_, '_>, cluster: &ClusterView) -> fmt::Result {
    let node = &cluster.node;
    let help =
        "Whether clients may be served; 0 while this node is cut off, with `alone = \"stop\"`";
    put_gauges(families, &[("stentor_cluster_serving", help, node.is_serving.into())])?;
    let help = "Times that clients were sent away as this node was cut off";
    put_counters(families, &[("stentor_cluster_stops", help, node.counts.stops)])?;
    let help = "How long ago the bucket was last there for this node; without `alone = \"stop\"` \
                there is no sample";
    let mut family = families.begin("stentor_cluster_contact", help, MetricType::Gauge)?;
    if let Some(contact_ms) = node.contact_ms {
        family.float_gauge(&NO_LABELS, contact_ms as f64 / 1e3)?;
    }
    Ok(())
}

/// How this node gets on with each of the others.
fn encode_links(families: &mut Families<'_, '_>, cluster: &ClusterView) -> fmt::Result {
    type Figure = (&'static str, &'static str, fn(&PeerView) -> u64);
    let gauges: [Figure; 4] = [
        ("stentor_cluster_linked", "Whether there is a link with a node", |peer| {
            peer.is_linked.into()
        }),
        ("stentor_cluster_queued", "Bytes that wait for a node", |peer| peer.queued_bytes as u64),
        (
            "stentor_cluster_node_lag",
            "Writes of the bucket that this node had read, and that one not, at its last heartbeat",
            |peer| peer.lag,
        ),
        (
            "stentor_cluster_configuration_differs",
            "Whether a node has other realms, roles or interest_bits than this one",
            |peer| peer.differs.into(),
        ),
    ];
    let peers = peers(cluster);
    for (name, help, figure) in gauges {
        let mut family = families.begin(name, help, MetricType::Gauge)?;
        for peer in &peers {
            family.gauge(&[("node", peer.name.as_str())], figure(peer))?;
        }
    }
    let help = "How long a parcel takes to a node and back, smoothed; by a clock of milliseconds";
    let mut family = families.begin("stentor_cluster_round_trip", help, MetricType::Gauge)?;
    for peer in &peers {
        if let Some(round_trip_us) = peer.round_trip_us {
            family.float_gauge(&[("node", peer.name.as_str())], round_trip_us as f64 / 1e6)?;
        }
    }
    let help = "How long ago a node was last heard: at most about a second while all is well";
    let mut family = families.begin("stentor_cluster_silent", help, MetricType::Gauge)?;
    for peer in &peers {
        family.float_gauge(&[("node", peer.name.as_str())], peer.silent_ms as f64 / 1e3)?;
    }
    Ok(())
}

/// What goes between this node and each of the others.
fn encode_mail(families: &mut Families<'_, '_>, cluster: &ClusterView) -> fmt::Result {
    type Figure = (&'static str, &'static str, fn(&PeerView) -> [u64; 2]);
    let both: [Figure; 2] = [
        (
            "stentor_cluster_parcels",
            "Messages with mail to and from a node; those sent again among them",
            |peer| [peer.tally.sent_parcels, peer.tally.received_parcels],
        ),
        ("stentor_cluster_bytes", "Bytes of this mail", |peer| {
            [peer.tally.sent_bytes, peer.tally.received_bytes]
        }),
    ];
    let peers = peers(cluster);
    for (name, help, figure) in both {
        let mut family = families.begin(name, help, MetricType::Counter)?;
        for peer in &peers {
            for (direction, count) in ["sent", "received"].into_iter().zip(figure(peer)) {
                let labels = [("node", peer.name.as_str()), ("direction", direction)];
                family.counter(&labels, count)?;
            }
        }
    }
    type Single = (&'static str, &'static str, fn(&PeerView) -> u64);
    let singles: [Single; 3] = [
        ("stentor_cluster_parcels_resent", "Messages that were sent to a node again", |peer| {
            peer.tally.resent_parcels
        }),
        (
            "stentor_cluster_window_waits",
            "Times that mail for a node waited as it had too much to deal with",
            |peer| peer.tally.window_waits,
        ),
        (
            "stentor_cluster_events_dropped",
            "Events that a node did not get as too much waited for it",
            |peer| peer.dropped_events,
        ),
    ];
    for (name, help, figure) in singles {
        let mut family = families.begin(name, help, MetricType::Counter)?;
        for peer in &peers {
            family.counter(&[("node", peer.name.as_str())], figure(peer))?;
        }
    }
    let counts = &cluster.node.counts;
    let counters = [
        ("stentor_cluster_links_opened", "Links that have begun", counts.links_opened),
        ("stentor_cluster_links_ended", "Links that have ended", counts.links_ended),
        ("stentor_cluster_events", "Events of other nodes that have come here", counts.events),
        (
            "stentor_cluster_useless_events",
            "Those of them that nobody here wanted",
            counts.useless_events,
        ),
        (
            "stentor_cluster_stray_messages",
            "Messages of nodes that are not members, or not known to be",
            counts.stray_messages,
        ),
        (
            "stentor_cluster_strange_messages",
            "Messages that no node of this version sends",
            counts.strange_messages,
        ),
    ];
    put_counters(families, &counters)?;
    encode_calls(families, cluster)
}

fn encode_calls(families: &mut Families<'_, '_>, cluster: &ClusterView) -> fmt::Result {
    let ClusterView { node, .. } = cluster;
    let counts = &node.counts;
    let help = "Calls that went to other nodes, and came from them";
    let mut family = families.begin("stentor_cluster_calls", help, MetricType::Counter)?;
    for (direction, count) in [("sent", counts.calls), ("received", counts.foreign_calls)] {
        family.counter(&[("direction", direction)], count)?;
    }
    let help = "Calls between nodes that wait for their answers";
    let mut family = families.begin("stentor_cluster_calls_in_flight", help, MetricType::Gauge)?;
    let (own, foreign) = node.pending_calls;
    for (direction, count) in [("sent", own), ("received", foreign)] {
        family.gauge(&[("direction", direction)], count as u64)?;
    }
    let help = "Calls to other nodes that failed: the link has ended (`lost`), or there was none, \
                or no room for them (`refused`)";
    let mut family = families.begin("stentor_cluster_calls_failed", help, MetricType::Counter)?;
    let refused = counts.refused_calls.saturating_sub(counts.lost_calls);
    for (reason, count) in [("lost", counts.lost_calls), ("refused", refused)] {
        family.counter(&[("reason", reason)], count)?;
    }
    let help = "Questions of the meta API that went to other nodes, and came from them";
    let mut family = families.begin("stentor_cluster_questions", help, MetricType::Counter)?;
    for (direction, count) in [("sent", counts.questions), ("received", counts.foreign_questions)] {
        family.counter(&[("direction", direction)], count)?;
    }
    let counters = [
        (
            "stentor_cluster_late_answers",
            "Answers of other nodes to calls for which nobody waited any more",
            counts.late_answers,
        ),
        (
            "stentor_cluster_meta_events_dropped",
            "Meta events that a node did not get as too much waited for it; it is told what stands",
            counts.dropped_meta_events,
        ),
    ];
    put_counters(families, &counters)
}

fn encode_claims(families: &mut Families<'_, '_>, cluster: &ClusterView) -> fmt::Result {
    let claims = &cluster.node.counts.claims;
    let help = "What has come of REGISTERs of this node in the cluster; `revoked`: taken back \
                later, as this node was removed and somebody else was granted it";
    let mut family = families.begin("stentor_cluster_claims", help, MetricType::Counter)?;
    for (outcome, count) in [
        ("granted", claims.granted),
        ("refused", claims.refused),
        ("given_up", claims.given_up),
        ("revoked", claims.revoked),
    ] {
        family.counter(&[("outcome", outcome)], count)?;
    }
    let counters = [(
        "stentor_cluster_strange_claims",
        "Claims in the bucket that no node of this version has written",
        claims.strange,
    )];
    put_counters(families, &counters)
}

fn encode_bucket(families: &mut Families<'_, '_>, cluster: &ClusterView) -> fmt::Result {
    let ClusterView { node, bus, .. } = cluster;
    let gauges = [
        ("stentor_cluster_bucket_revision", "How far the bucket was read", node.revision),
        (
            "stentor_cluster_watch_lag",
            "Writes of the bucket that others have read and this node has not",
            node.lag,
        ),
        (
            "stentor_cluster_writes_in_flight",
            "Writes of the bucket that are under way",
            bus.writes as u64,
        ),
    ];
    put_gauges(families, &gauges)?;
    let help = "For how long the bucket has not been watched, or has answered no write; 0 if not \
                so";
    let name = "stentor_cluster_bucket_silent";
    let mut family = families.begin(name, help, MetricType::Gauge)?;
    family.float_gauge(&NO_LABELS, bus.silent_ms.unwrap_or(0) as f64 / 1e3)?;
    let counters = [
        (
            "stentor_cluster_watch_reopenings",
            "Times that the watch of the bucket was opened again",
            bus.watch_reopenings,
        ),
        (
            "stentor_cluster_writes_unanswered",
            "Writes of the bucket that were not answered in time",
            bus.unanswered_writes,
        ),
    ];
    put_counters(families, &counters)
}

/// What waits at the shards for other nodes.
fn encode_waiting(
    families: &mut Families<'_, '_>,
    router: &Router,
    cluster: &ClusterView,
) -> fmt::Result {
    let sum = |of: fn(&Measures) -> &Counter| -> u64 {
        router.measures().iter().map(|measures| of(measures).get()).sum()
    };
    let help = "Connections whose output waits until all nodes have confirmed something";
    let gauges = [("stentor_cluster_corks", help, sum(|measures| &measures.corks.now))];
    put_gauges(families, &gauges)?;
    let help = "How such waits have ended: confirmed, not within `visible_ms`, or as too much has \
                waited";
    let mut family = families.begin("stentor_cluster_corks_ended", help, MetricType::Counter)?;
    for (outcome, count) in [
        ("confirmed", sum(|measures| &measures.corks.confirmed)),
        ("expired", sum(|measures| &measures.corks.expired)),
        ("full", sum(|measures| &measures.corks.full)),
    ] {
        family.counter(&[("outcome", outcome)], count)?;
    }
    let help = "Calls of the meta API that other nodes were asked about, too; `partial`: some did \
                not answer";
    let mut family = families.begin("stentor_cluster_polls", help, MetricType::Counter)?;
    let (answered, partial) =
        (sum(|measures| &measures.polls.answered), sum(|measures| &measures.polls.partial));
    for (outcome, count) in [("whole", answered.saturating_sub(partial)), ("partial", partial)] {
        family.counter(&[("outcome", outcome)], count)?;
    }
    let help = "Answers of nodes to such questions that came too late";
    let late = sum(|measures| &measures.polls.late) + cluster.node.counts.late_parts;
    put_counters(families, &[("stentor_cluster_late_parts", help, late)])
}

/// The other nodes, each name once: a sample that comes twice spoils the page, and two nodes that
/// start under one name at once both stand there for a moment.
fn peers(cluster: &ClusterView) -> Vec<&PeerView> {
    let mut seen = BTreeSet::new();
    cluster.node.peers.iter().filter(|peer| seen.insert(peer.name.as_str())).collect()
}

type Plain = (&'static str, &'static str, u64);

fn put_gauges(families: &mut Families<'_, '_>, gauges: &[Plain]) -> fmt::Result {
    for (name, help, value) in gauges {
        families.begin(name, help, MetricType::Gauge)?.gauge(&NO_LABELS, *value)?;
    }
    Ok(())
}

fn put_counters(families: &mut Families<'_, '_>, counters: &[Plain]) -> fmt::Result {
    for (name, help, value) in counters {
        families.begin(name, help, MetricType::Counter)?.counter(&NO_LABELS, *value)?;
    }
    Ok(())
}

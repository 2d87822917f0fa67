//! What the shards measure, as metrics: distributions, messages by type, and counts by name.

use std::collections::BTreeMap;
use std::fmt::Result;

use prometheus_client::metrics::MetricType;

use super::metrics::{Families, Family};
use crate::net::View;
use crate::router::{CLASSES, Distribution, Histogram, Measures, Names, Tally};
use crate::wamp::MessageType;

/// Writes the families one after the other.
pub(super) fn encode(view: &View, families: &mut Families<'_, '_>) -> Result {
    let all = |of: fn(&Measures) -> &Histogram| -> Distribution {
        view.router().measures().iter().map(|measures| of(measures).read()).sum()
    };
    let help = "Receivers of a publication, at each shard that has some";
    let mut family = families.begin("stentor_publish_fanout", help, MetricType::Histogram)?;
    put(&mut family, &[], &all(|measures| &measures.fanout), FANOUT)?;
    let help = "From a CALL to what ended it";
    let mut family = families.begin("stentor_call_duration", help, MetricType::Histogram)?;
    put(&mut family, &[], &all(|measures| &measures.calls_ms), MILLISECONDS)?;
    let help = "From a question to an authenticator that is a procedure, or to an authorizer, to \
                its answer";
    let mut family = families.begin("stentor_hook_duration", help, MetricType::Histogram)?;
    let authenticators = all(|measures| &measures.authenticators_ms);
    put(&mut family, &[("hook", "authenticator")], &authenticators, MILLISECONDS)?;
    let authorizers = all(|measures| &measures.authorizers_ms);
    put(&mut family, &[("hook", "authorizer")], &authorizers, MILLISECONDS)?;
    let help = "How long the store takes to write a batch";
    let mut family = families.begin("stentor_storage_commit", help, MetricType::Histogram)?;
    put(&mut family, &[], &view.router().storage_measures().commits_us.read(), MICROSECONDS)?;
    encode_refused(view, families)?;
    encode_messages(view, families)?;
    let help = "Clients that got no session, by how far they came";
    let failures = tally(view, |measures| &measures.handshake_failures);
    let names = ("stentor_handshake_failures", ["stage", "reason"]);
    encode_tally(families, names, help, &failures)?;
    let help = "Logins that were judged, or could not be";
    let logins = tally(view, |measures| &measures.authentications);
    encode_tally(families, ("stentor_authentication", ["method", "outcome"]), help, &logins)
}

/// Which classes of a histogram are shown, as powers of two, and what one is in the metric's unit.
#[derive(Clone, Copy)]
struct Scale {
    first: usize,
    last: usize,
    unit: f64,
}

/// Receivers, up to 131,072.
const FANOUT: Scale = Scale { first: 0, last: 17, unit: 1.0 };

/// From 1 ms to 131 s.
const MILLISECONDS: Scale = Scale { first: 0, last: 17, unit: 1e-3 };

/// From 64 us to 16.8 s.
const MICROSECONDS: Scale = Scale { first: 6, last: 24, unit: 1e-6 };

fn put(
    family: &mut Family<'_>,
    labels: &[(&str, &str)],
    distribution: &Distribution,
    scale: Scale,
) -> Result {
    let counts = &distribution.counts;
    let shown = (scale.first..=scale.last).map(|class| {
        let from = if class == scale.first { 0 } else { class };
        let bound = (1u64 << class) as f64 * scale.unit;
        (bound, counts[from..=class].iter().sum())
    });
    let more = counts[scale.last + 1..CLASSES].iter().sum();
    let buckets: Vec<(f64, u64)> = shown.chain([(f64::INFINITY, more)]).collect();
    let sum = distribution.sum as f64 * scale.unit;
    family.histogram(&labels, sum, distribution.count(), &buckets)
}

/// A gauge for each bound, as those of a histogram, though what it says may fall: OpenMetrics has a
/// kind for that, and the encoder has not.
fn encode_refused(view: &View, families: &mut Families<'_, '_>) -> Result {
    let help = "Connections whose sockets have refused bytes that wait still: up to so many bytes";
    let name = "stentor_blocked_connections";
    let mut family = families.begin(name, help, MetricType::Gauge)?;
    let mut counts = [0; CLASSES];
    for measures in view.router().measures() {
        counts.iter_mut().zip(measures.refused.read()).for_each(|(sum, count)| *sum += count);
    }
    for class in (REFUSED_FIRST..=REFUSED_LAST).step_by(2) {
        let bound = (1u64 << class).to_string();
        family.gauge(&[("le", bound.as_str())], counts[..=class].iter().sum())?;
    }
    family.gauge(&[("le", "+Inf")], counts.iter().sum())
}

/// From 1 KiB to 1 GiB, as powers of two.
const REFUSED_FIRST: usize = 10;
const REFUSED_LAST: usize = 30;

fn encode_messages(view: &View, families: &mut Families<'_, '_>) -> Result {
    let help = "Messages by type, as understood and as encoded; EVENTs as delivered";
    let mut family = families.begin("stentor_messages", help, MetricType::Counter)?;
    let events = view.router().snapshot().events_delivered;
    let mut received = [0; MessageType::ALL.len()];
    let mut sent = received;
    for measures in view.router().measures() {
        received.iter_mut().zip(measures.received()).for_each(|(sum, count)| *sum += count);
        sent.iter_mut().zip(measures.sent()).for_each(|(sum, count)| *sum += count);
    }
    sent[MessageType::Event as usize] = events;
    for (direction, counts) in [("received", received), ("sent", sent)] {
        for (kind, count) in MessageType::ALL.into_iter().zip(counts) {
            if kind.goes(direction == "sent") {
                family.counter(&[("direction", direction), ("type", kind.as_str())], count)?;
            }
        }
    }
    Ok(())
}

fn tally(view: &View, of: fn(&Measures) -> &Tally) -> BTreeMap<Names, u64> {
    let mut all = BTreeMap::new();
    for measures in view.router().measures() {
        for (names, count) in of(measures).read() {
            *all.entry(names).or_default() += count;
        }
    }
    all
}

/// `names` are those of the metric and of its labels.
fn encode_tally(
    families: &mut Families<'_, '_>,
    (metric, labels): (&str, [&str; 2]),
    help: &str,
    counts: &BTreeMap<Names, u64>,
) -> Result {
    let mut family = families.begin(metric, help, MetricType::Counter)?;
    for ([first, second], count) in counts {
        family.counter(&[(labels[0], *first), (labels[1], *second)], *count)?;
    }
    Ok(())
}

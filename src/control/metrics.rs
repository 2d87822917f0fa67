//! `/metrics`: what the router has counted, in the text format of OpenMetrics.
//!
//! Nothing is kept for it: a scrape reads what the shards count anyway.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Tail;
use super::desk::Desk;
use super::health::Health;
use super::measures;
use super::metrics_by_name::encode_by_name;
use super::metrics_of_changes::encode_changes;
use super::metrics_of_cluster::encode_cluster;
use super::process::Process;
use super::table::{ROWS, Row};
use super::webhooks::encode_webhooks;
use crate::net::View;
use crate::net::pulse::TURN_MICROS;
use crate::router::{EndReason, Realm, ShardId, Snapshot};

/// The media type of OpenMetrics.
pub(super) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    started: Instant,
}

impl Metrics {
    pub(super) fn new(desk: Desk, health: Arc<Health>, log: Tail, started: Instant) -> Self {
        let mut registry = Registry::default();
        let view = desk.view.clone();
        let scrape = Scrape { view, desk, health, log, start_time: wall_clock() };
        registry.register_collector(Box::new(scrape));
        Self { registry, started }
    }

    /// For how long the router has been looked at: since its start.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        let encoded = prometheus_client::encoding::text::encode(&mut page, &self.registry);
        encoded.expect("a string takes what is written to it");
        page
    }
}

/// One look at everything.
#[derive(Debug)]
struct Scrape {
    view: View,
    desk: Desk,
    health: Arc<Health>,
    log: Tail,
    start_time: f64,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(&mut encoder);
        families.info("stentor_build", "The running program", ("version", VERSION))?;
        self.encode_counters(&mut families)?;
        self.encode_loops(&mut families)?;
        self.encode_realms(&mut families)?;
        self.encode_decisions(&mut families)?;
        self.encode_endings(&mut families)?;
        encode_changes(&mut families, &self.desk)?;
        measures::encode(&self.view, &mut families)?;
        encode_by_name(&mut families, self.view.router())?;
        encode_webhooks(&mut families, &self.view)?;
        encode_cluster(&mut families, &self.view)?;
        self.encode_log(&mut families)?;
        self.encode_process(&mut families)
    }
}

impl Scrape {
    /// The counters: gauges by shard, totals of all.
    fn encode_counters(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let router = self.view.router();
        let shards: Vec<Snapshot> =
            router.counters().iter().map(|counters| counters.snapshot()).collect();
        let all = values(router.snapshot());
        let by_shard: Vec<_> = shards.into_iter().map(values).collect();
        for rows in ROWS.chunk_by(|one, next| one.metric == next.metric) {
            let first = &rows[0];
            let mut family = families.begin(first.metric, first.help, first.kind)?;
            for row in rows {
                match row.kind {
                    MetricType::Gauge if row.is_by_shard => {
                        for (shard, values) in by_shard.iter().enumerate() {
                            let shard = shard.to_string();
                            family.gauge(&[("shard", shard.as_str())], value(values, row))?;
                        }
                    }
                    MetricType::Gauge => family.gauge(&NO_LABELS, value(&all, row))?,
                    _ => match row.label {
                        Some(label) => family.counter(&[label], value(&all, row))?,
                        None => family.counter(&NO_LABELS, value(&all, row))?,
                    },
                }
            }
        }
        Ok(())
    }

    fn encode_loops(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let pulses: Vec<_> = self.view.pulses().iter().map(|pulse| pulse.turns()).collect();
        let labels: Vec<String> = (0..pulses.len()).map(|shard| shard.to_string()).collect();
        let label = |shard: usize| [("shard", labels[shard].as_str())];
        let help = "Seconds that an event loop has worked, not slept";
        let mut family = families.begin("stentor_event_loop_busy", help, MetricType::Counter)?;
        for (shard, turns) in pulses.iter().enumerate() {
            family.counter(&label(shard), turns.busy.as_secs_f64())?;
        }
        let help = "How long the turns of an event loop take";
        let mut family = families.begin("stentor_event_loop_turn", help, MetricType::Histogram)?;
        for (shard, turns) in pulses.iter().enumerate() {
            let bounds = TURN_MICROS.iter().map(|micros| *micros as f64 / 1e6);
            let classes = bounds.chain([f64::INFINITY]).zip(turns.counts);
            let buckets: Vec<_> = classes.collect();
            family.histogram(&label(shard), turns.busy.as_secs_f64(), turns.count(), &buckets)?;
        }
        let help = "Seconds for which an event loop has not answered";
        let mut family = families.begin("stentor_event_loop_lag", help, MetricType::Gauge)?;
        #[expect(clippy::disallowed_methods, reason = "the clock of the thread `control`")]
        for (shard, lag) in self.health.lags(Instant::now()).iter().enumerate() {
            family.float_gauge(&label(shard), lag.as_secs_f64())?;
        }
        self.encode_oldest(families)?;
        let help = "Bytes of mail that wait at a shard";
        let mut family = families.begin("stentor_mail_queued", help, MetricType::Gauge)?;
        for (number, _) in (0u8..).zip(&pulses) {
            let bytes = self.view.queued_bytes(ShardId(number));
            family.gauge(&label(usize::from(number)), bytes as u64)?;
        }
        Ok(())
    }

    /// How long a shard has owed its clients what they do not take.
    fn encode_oldest(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let help = "How long the oldest byte waits that a socket was offered and has not taken: up \
                    to twice as long may be said";
        let mut family = families.begin("stentor_oldest_pending", help, MetricType::Gauge)?;
        #[expect(clippy::disallowed_methods, reason = "the clock of the thread `control`")]
        let now = self.view.since_start(Instant::now());
        for (shard, measures) in self.view.router().measures().iter().enumerate() {
            let age_ms = measures.oldest.get().map_or(0, |since| now.since(since));
            family.float_gauge(&[("shard", shard.to_string().as_str())], age_ms as f64 / 1e3)?;
        }
        Ok(())
    }

    fn encode_realms(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        type Figure = (&'static str, &'static str, fn(&Realm) -> usize);
        let figures: [Figure; 6] = [
            ("stentor_realm_sessions", "Sessions of a realm", Realm::session_count),
            ("stentor_realm_topics", "Subscriptions of a realm", |realm| realm.topics.len()),
            ("stentor_realm_procedures", "Registrations of a realm", |realm| {
                realm.procedures.len()
            }),
            ("stentor_realm_retained_events", "Retained events of a realm", |realm| {
                realm.retained.len()
            }),
            ("stentor_realm_history_events", "Events in the histories of a realm", |realm| {
                realm.histories.iter().map(|history| history.len()).sum()
            }),
            ("stentor_realm_history_bytes", "Bytes of the histories of a realm", |realm| {
                realm.histories.iter().map(|history| history.bytes()).sum()
            }),
        ];
        for (name, help, figure) in figures {
            let mut family = families.begin(name, help, MetricType::Gauge)?;
            for realm in self.view.router().realms() {
                family.gauge(&[("realm", &**realm.name())], figure(&realm) as u64)?;
            }
        }
        Ok(())
    }

    /// What the roles' rules have decided.
    fn encode_decisions(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let help = "Requests that were decided about by role; `cached`: as one before, which the \
                    session remembers";
        let mut family = families.begin("stentor_authorization", help, MetricType::Counter)?;
        let edition = self.view.router().edition();
        for domain in edition.domains() {
            let realm = domain.realm.name();
            for role in domain.rules.roles() {
                for count in role.decisions() {
                    let action = count.action.as_str();
                    let (allowed, denied) = (count.allowed_recalled, count.denied_recalled);
                    for (outcome, cached, count) in [
                        ("allowed", "false", count.allowed - allowed),
                        ("allowed", "true", allowed),
                        ("denied", "false", count.denied - denied),
                        ("denied", "true", denied),
                    ] {
                        let labels = [
                            ("realm", &**realm),
                            ("role", role.rules.name()),
                            ("action", action),
                            ("outcome", outcome),
                            ("cached", cached),
                        ];
                        family.counter(&labels, count)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Why sessions have ended.
    fn encode_endings(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let mut totals = [0; EndReason::LABELS.len()];
        for shard in self.view.router().closed() {
            totals.iter_mut().zip(shard.counts()).for_each(|(total, count)| *total += count);
        }
        let help = "Sessions that have ended";
        let mut family = families.begin("stentor_sessions_closed", help, MetricType::Counter)?;
        for (reason, total) in EndReason::LABELS.into_iter().zip(totals) {
            family.counter(&[("reason", reason)], total)?;
        }
        Ok(())
    }

    fn encode_log(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let help = "Lines of the log that were lost, as nobody read them in time";
        let mut family = families.begin("stentor_log_lines_lost", help, MetricType::Counter)?;
        family.counter(&NO_LABELS, self.log.get().map_or(0, |tail| tail.lost()))
    }

    fn encode_process(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let process = Process::now();
        if let Some(seconds) = process.cpu_seconds {
            let help = "CPU time of the process";
            let mut family = families.begin("process_cpu_seconds", help, MetricType::Counter)?;
            family.counter(&NO_LABELS, seconds)?;
        }
        let help = "When the process started, in seconds since 1970";
        let mut family = families.begin("process_start_time_seconds", help, MetricType::Gauge)?;
        family.float_gauge(&NO_LABELS, self.start_time)?;
        let figures = [
            ("process_resident_memory_bytes", "Resident memory", process.resident_bytes),
            ("process_open_fds", "Open file descriptors", process.open_files),
            ("process_threads", "Threads", process.threads),
        ];
        for (name, help, value) in figures {
            if let Some(value) = value {
                families.begin(name, help, MetricType::Gauge)?.gauge(&NO_LABELS, value)?;
            }
        }
        Ok(())
    }
}

/// The values of a snapshot by the names of its counters.
fn values(snapshot: Snapshot) -> Vec<(&'static str, u64)> {
    let mut values = snapshot.gauges();
    values.extend(snapshot.totals());
    values
}

fn value(values: &[(&'static str, u64)], row: &Row) -> u64 {
    let found = values.iter().find(|(name, _)| *name == row.counter);
    found.map(|(_, value)| *value).expect("a test compares the names")
}

/// Writes one family after the other.
pub(super) struct Families<'e, 'r>(&'e mut DescriptorEncoder<'r>);

impl Families<'_, '_> {
    fn info(&mut self, name: &str, help: &str, label: (&str, &str)) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&[label])
    }

    pub(super) fn begin<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<Family<'s>, fmt::Error> {
        let unit = UNITS.iter().find(|(metric, _)| *metric == name).map(|(_, unit)| unit);
        self.0.encode_descriptor(name, help, unit, kind).map(Family)
    }
}

/// Writes the samples of one family.
pub(super) struct Family<'e>(MetricEncoder<'e>);

impl Family<'_> {
    pub(super) fn counter<V>(&mut self, labels: &impl EncodeLabelSet, value: V) -> fmt::Result
    where
        V: prometheus_client::encoding::EncodeCounterValue,
    {
        self.0.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauge(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    pub(super) fn float_gauge(&mut self, labels: &impl EncodeLabelSet, value: f64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    pub(super) fn histogram(
        &mut self,
        labels: &impl EncodeLabelSet,
        sum: f64,
        count: u64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        self.0.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}

fn wall_clock() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "when the process started")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) const NO_LABELS: [(&str, &str); 0] = [];

/// The families whose values have a unit; it ends their names.
const UNITS: [(&str, Unit); 14] = [
    ("stentor_event_loop_busy", Unit::Seconds),
    ("stentor_event_loop_turn", Unit::Seconds),
    ("stentor_event_loop_lag", Unit::Seconds),
    ("stentor_mail_queued", Unit::Bytes),
    ("stentor_oldest_pending", Unit::Seconds),
    ("stentor_call_duration", Unit::Seconds),
    ("stentor_hook_duration", Unit::Seconds),
    ("stentor_storage_commit", Unit::Seconds),
    ("stentor_cluster_round_trip", Unit::Seconds),
    ("stentor_cluster_silent", Unit::Seconds),
    ("stentor_cluster_bucket_silent", Unit::Seconds),
    ("stentor_cluster_contact", Unit::Seconds),
    ("stentor_cluster_queued", Unit::Bytes),
    ("stentor_cluster_mail_queued", Unit::Bytes),
];

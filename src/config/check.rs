//! What a configuration must fulfil beyond its types: ranges, and what keys demand of each other.
//!
//! Pure: looks at a `Config` only, and names the key of each finding as the file does.

use std::ops::RangeInclusive;

use super::fault::{Fault, key_without_index};
use super::{Config, Listener, MAX_SHARDS, Realm, Tuning};
use crate::limits::{Limits, OutputLimits, Timeouts};
use crate::wamp::{MAX_ID, is_reserved, is_valid_uri};

/// All findings, each with its key.
pub(super) fn check(config: &Config) -> Vec<(String, Fault)> {
    let mut findings = Findings::default();
    findings.range("shards", config.shards, 0..=MAX_SHARDS as u64, "");
    check_listeners(&config.listeners, &mut findings);
    check_realms(&config.realms, config.limits.uri_bytes, &mut findings);
    check_limits(&config.limits, &mut findings);
    check_output(&config.output, &config.limits, &mut findings);
    check_timeouts(&config.timeouts, &mut findings);
    check_tuning(&config.tuning, &mut findings);
    if let Err(fault) = config.log.filter() {
        findings.add("log.level", fault);
    }
    findings.0
}

#[derive(Default)]
struct Findings(Vec<(String, Fault)>);

impl Findings {
    fn add(&mut self, key: impl Into<String>, fault: Fault) {
        self.0.push((key.into(), fault));
    }

    fn add_if(&mut self, wrong: bool, key: impl Into<String>, fault: impl FnOnce() -> Fault) {
        if wrong {
            self.add(key, fault());
        }
    }

    fn range<N>(&mut self, key: &str, value: N, range: RangeInclusive<u64>, unit: &'static str)
    where
        N: TryInto<u64>,
    {
        let value = value.try_into().unwrap_or(u64::MAX);
        self.add_if(!range.contains(&value), key, || {
            let (min, max) = (*range.start(), *range.end());
            Fault::OutOfRange { key: key_without_index(key), value, min, max, unit }
        });
    }
}

fn check_listeners(listeners: &[Listener], findings: &mut Findings) {
    findings.add_if(listeners.is_empty(), "listener", || Fault::NoListener);
    for (index, listener) in listeners.iter().enumerate() {
        let earlier = &listeners[..index];
        let path = format!("listener.{index}");
        check_listener(listener, &path, findings);
        if let Some(other) = earlier.iter().find(|other| other.address.overlaps(&listener.address))
        {
            let (address, earlier) = (listener.address.clone(), other.address.clone());
            findings.add(format!("{path}.listen"), Fault::SameAddress { address, earlier });
        }
        if let Some(name) = &listener.name
            && earlier.iter().any(|other| other.name.as_ref() == Some(name))
        {
            findings.add(format!("{path}.name"), Fault::SameListenerName(name.clone()));
        }
    }
}

fn check_listener(listener: &Listener, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    let serves_nothing = !listener.websocket && !listener.rawsocket;
    findings.add_if(serves_nothing, path, || Fault::NoTransport);
    let unreachable = listener.websocket && listener.paths.is_empty();
    findings.add_if(unreachable, key("paths"), || Fault::NoPath);
    for bad in listener.paths.iter().filter(|path| !is_path(path)) {
        findings.add(key("paths"), Fault::BadPath(bad.clone()));
    }
    findings.add_if(listener.serializers.is_empty(), key("serializers"), || Fault::NoSerializer);
    if let Some(codec) = listener.default_serializer
        && !listener.serializers.contains(&codec)
    {
        findings.add(key("default_serializer"), Fault::DefaultSerializerNotServed(codec));
    }
    for bad in listener.origins.iter().filter(|origin| !is_origin(origin)) {
        findings.add(key("origins"), Fault::BadOrigin(bad.clone()));
    }
    if listener.unix_mode.is_some() && matches!(listener.address, super::ListenAddress::Tcp(_)) {
        findings.add(key("unix_mode"), Fault::ModeWithoutFile(listener.address.clone()));
    }
    if listener.name.as_ref().is_some_and(String::is_empty) {
        findings.add(key("name"), Fault::Empty("name".into()));
    }
    let min_peer = listener.rawsocket_min_peer_bytes;
    findings.range(&key("rawsocket_min_peer_bytes"), min_peer, MESSAGE_BYTES, BYTES);
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
}

/// Whether `domain` can stand for all hosts below it.
fn is_domain(domain: &str) -> bool {
    let is_label = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    domain.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label))
}

/// Whether `origin` is a serialized origin as browsers send it (RFC 6454 section 6.2), or all
/// hosts below a domain.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return origin == "null" || origin.strip_prefix("*.").is_some_and(is_domain);
    };
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let is_host =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    !scheme.is_empty()
        && scheme.bytes().all(is_scheme)
        && !host.is_empty()
        && host.bytes().all(is_host)
}

fn check_realms(realms: &[Realm], uri_bytes: usize, findings: &mut Findings) {
    findings.add_if(realms.is_empty(), "realm", || Fault::NoRealm);
    for (index, realm) in realms.iter().enumerate() {
        let key = format!("realm.{index}.name");
        let name = || realm.name.clone();
        if !is_valid_uri(&realm.name, realm.uri_rule) {
            let rule = realm.uri_rule;
            findings.add(&*key, Fault::BadRealmName { name: name(), rule });
        } else if is_reserved(&realm.name) {
            findings.add(&*key, Fault::ReservedRealmName(name()));
        } else if realm.name.len() > uri_bytes {
            findings.add(&*key, Fault::LongRealmName { name: name(), limit: uri_bytes });
        }
        let repeated = realms[..index].iter().any(|other| other.name == realm.name);
        findings.add_if(repeated, &*key, || Fault::SameRealmName(name()));
        if let Some(level) = realm.anonymous_trustlevel {
            let key = format!("realm.{index}.anonymous_trustlevel");
            findings.range(&key, level, 0..=MAX_ID, "");
        }
        if realm.anonymous_role.is_empty() {
            let key = format!("realm.{index}.anonymous_role");
            findings.add(key, Fault::Empty("anonymous_role".into()));
        }
    }
}

fn check_limits(limits: &Limits, findings: &mut Findings) {
    findings.range("limits.message_bytes", limits.message_bytes, MESSAGE_BYTES, BYTES);
    findings.range("limits.nesting", limits.nesting, 8..=512, " levels");
    findings.range("limits.uri_bytes", limits.uri_bytes, 16..=64 * KIB, BYTES);
    findings.range("limits.http_head_bytes", limits.http_head_bytes, KIB..=MIB, BYTES);
    findings.range("limits.connections", limits.connections, COUNT, "");
    for (key, value) in [
        ("limits.subscriptions_per_session", limits.subscriptions_per_session),
        ("limits.registrations_per_session", limits.registrations_per_session),
        ("limits.calls_per_session", limits.calls_per_session),
        ("limits.invocations_per_session", limits.invocations_per_session),
        ("limits.retained_events", limits.retained_events),
        ("limits.retained_per_subscribe", limits.retained_per_subscribe),
    ] {
        findings.range(key, value, COUNT, "");
    }
    findings.range("limits.retained_bytes", limits.retained_bytes, QUEUE_BYTES, BYTES);
}

fn check_output(output: &OutputLimits, limits: &Limits, findings: &mut Findings) {
    findings.range("output.hard_bytes", output.hard_bytes, QUEUE_BYTES, BYTES);
    findings.range("output.soft_bytes", output.soft_bytes, KIB..=TIB, BYTES);
    findings.range("output.soft_ms", output.soft_ms, 10..=HOUR_MS, MILLISECONDS);
    findings.range("output.stall_ms", output.stall_ms, 100..=HOUR_MS, MILLISECONDS);
    findings.range("output.total_bytes", output.total_bytes, QUEUE_BYTES, BYTES);

    let (soft, hard, total) = (output.soft_bytes, output.hard_bytes, output.total_bytes);
    let message = limits.message_bytes;
    findings.add_if(soft > hard, "output.soft_bytes", || Fault::SoftOverHard { soft, hard });
    findings.add_if(total < hard, "output.total_bytes", || Fault::TotalUnderHard { total, hard });
    findings.add_if(hard < message, "limits.message_bytes", || Fault::HardUnderMessage {
        message,
        hard,
    });
}

fn check_timeouts(timeouts: &Timeouts, findings: &mut Findings) {
    findings.range("timeouts.handshake_ms", timeouts.handshake_ms, 10..=HOUR_MS, MILLISECONDS);
    // 0 is no interval but "never", so the range starts above it.
    if timeouts.ping_interval_ms != 0 {
        let interval = timeouts.ping_interval_ms;
        findings.range("timeouts.ping_interval_ms", interval, 100..=24 * HOUR_MS, MILLISECONDS);
    }
    let timeout = timeouts.ping_timeout_ms;
    findings.range("timeouts.ping_timeout_ms", timeout, 100..=HOUR_MS, MILLISECONDS);
    findings.range("timeouts.close_ms", timeouts.close_ms, 10..=HOUR_MS, MILLISECONDS);
}

fn check_tuning(tuning: &Tuning, findings: &mut Findings) {
    let budget = tuning.read_budget_bytes;
    findings.range("tuning.read_budget_bytes", budget, 4 * KIB..=64 * MIB, BYTES);
    findings.range("tuning.inbox_budget_batches", tuning.inbox_budget_batches, 1..=65_536, "");
    findings.range("tuning.shard_queue_bytes", tuning.shard_queue_bytes, 64 * KIB..=TIB, BYTES);
    findings.range("tuning.backlog", tuning.backlog, 1..=65_535, "");
    let delay = tuning.flush_delay_us;
    findings.range("tuning.flush_delay_us", delay, 0..=10_000, " microseconds");
    for (key, value) in [
        ("tuning.send_buffer_bytes", tuning.send_buffer_bytes),
        ("tuning.recv_buffer_bytes", tuning.recv_buffer_bytes),
    ] {
        if let Some(value) = value {
            findings.range(key, value, 4 * KIB..=GIB, BYTES);
        }
    }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;
const HOUR_MS: u64 = 3_600_000;

/// What a RawSocket handshake can announce is also the range for every message.
const MESSAGE_BYTES: RangeInclusive<u64> = 512..=16 * MIB;
const QUEUE_BYTES: RangeInclusive<u64> = 4 * KIB..=TIB;
const COUNT: RangeInclusive<u64> = 1..=10_000_000;

const BYTES: &str = " bytes";
const MILLISECONDS: &str = " milliseconds";

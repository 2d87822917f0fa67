//! What a configuration must fulfil beyond its types: ranges, and what keys demand of each other.
//!
//! Pure: looks at a `Config` only, and names the key of each finding as the file does.

use std::ops::RangeInclusive;

use super::admin::check_admin;
use super::bridge::check_bridges;
use super::cluster::check_cluster;
use super::fault::{Fault, key_without_index};
use super::management::check_management;
use super::metrics::check_metrics;
use super::roles::check_roles;
use super::ways::{check_authenticators, check_authorizers, check_entrances};
use super::web::check_web;
use super::webhook::check_webhooks;
use super::{
    ClientCertificates, Config, History, HistoryStore, ListenAddress, Listener, ListenerPath,
    MAX_SHARDS, Realm, Tuning,
};
use crate::limits::{Limits, OutputLimits, Timeouts};
use crate::router::MAX_WILDCARD_COMPONENTS;
use crate::transport::ForwardedBy;
use crate::wamp::{MatchPolicy, is_reserved, is_valid_pattern, is_valid_uri};

/// All findings, each with its key.
pub(super) fn check(config: &Config) -> Vec<(String, Fault)> {
    let mut findings = Findings::default();
    findings.range("shards", config.shards, 0..=MAX_SHARDS as u64, "");
    check_listeners(&config.listeners, &mut findings);
    check_default_realms(config, &mut findings);
    check_bridges(config, &mut findings);
    check_realms(&config.realms, &config.limits, &mut findings);
    check_webhooks(config, &mut findings);
    check_entrances(&config.realms, &config.listeners, &mut findings);
    check_histories(config, &mut findings);
    check_limits(&config.limits, &mut findings);
    check_output(&config.output, &config.limits, &mut findings);
    check_timeouts(&config.timeouts, &mut findings);
    check_tuning(&config.tuning, &mut findings);
    check_admin(&config.admin, &config.listeners, &mut findings);
    check_metrics(config, &mut findings);
    check_management(&config.management, &config.realms, &mut findings);
    check_cluster(&config.cluster, &mut findings);
    if let Err(fault) = config.log.filter() {
        findings.add("log.level", fault);
    }
    findings.0
}

#[derive(Default)]
pub(super) struct Findings(Vec<(String, Fault)>);

impl Findings {
    pub(super) fn add(&mut self, key: impl Into<String>, fault: impl Into<Fault>) {
        self.0.push((key.into(), fault.into()));
    }

    pub(super) fn add_if<F: Into<Fault>>(
        &mut self,
        wrong: bool,
        key: impl Into<String>,
        fault: impl FnOnce() -> F,
    ) {
        if wrong {
            self.add(key, fault());
        }
    }

    pub(super) fn range<N>(
        &mut self,
        key: &str,
        value: N,
        range: RangeInclusive<u64>,
        unit: &'static str,
    ) where
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

/// The realms that listeners have for those who name none.
fn check_default_realms(config: &Config, findings: &mut Findings) {
    for (index, listener) in config.listeners.iter().enumerate() {
        let apart = listener.paths_apart.iter().enumerate();
        let apart = apart.map(|(number, path)| (format!("path.{number}.realm"), &path.realm));
        for (key, realm) in std::iter::once(("realm".to_owned(), &listener.realm)).chain(apart) {
            if let Some(name) = realm
                && !config.realms.iter().any(|realm| realm.name == *name)
            {
                findings.add(format!("listener.{index}.{key}"), Fault::UnknownRealm(name.clone()));
            }
        }
    }
}

fn check_path(apart: &ListenerPath, listener: &Listener, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    let name = &apart.path;
    findings.add_if(!is_path(name), key("path"), || Fault::BadPath(name.clone()));
    let others = listener.paths_apart.iter().take_while(|other| !std::ptr::eq(*other, apart));
    let is_served = listener.paths.contains(name) || others.into_iter().any(|o| o.path == *name);
    findings.add_if(is_served, key("path"), || Fault::SamePath(name.clone()));
    for bad in apart.origins.iter().flatten().filter(|origin| !is_origin(origin)) {
        findings.add(key("origins"), Fault::BadOrigin(bad.clone()));
    }
    check_web(apart, listener, path, findings);
}

fn check_listener(listener: &Listener, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    let serves_nothing = !listener.websocket && !listener.rawsocket;
    findings.add_if(serves_nothing, path, || Fault::NoTransport);
    let has_no_path = listener.paths.is_empty() && listener.paths_apart.is_empty();
    let unreachable = listener.websocket && has_no_path;
    findings.add_if(unreachable, key("paths"), || Fault::NoPath);
    for bad in listener.paths.iter().filter(|path| !is_path(path)) {
        findings.add(key("paths"), Fault::BadPath(bad.clone()));
    }
    for (number, apart) in listener.paths_apart.iter().enumerate() {
        check_path(apart, listener, &format!("{path}.path.{number}"), findings);
    }
    if let Some(health) = &listener.health {
        findings.add_if(!is_path(health), key("health"), || Fault::BadPath(health.clone()));
        let mut apart = listener.paths_apart.iter();
        let is_served = listener.paths.contains(health) || apart.any(|apart| apart.path == *health);
        findings.add_if(is_served, key("health"), || Fault::SamePath(health.clone()));
        findings.add_if(!listener.websocket, key("health"), || Fault::HealthWithoutHttp);
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
    if listener.unix_mode.is_some() && matches!(listener.address, ListenAddress::Tcp(_)) {
        findings.add(key("unix_mode"), Fault::ModeWithoutFile(listener.address.clone()));
    }
    check_tls(listener, path, findings);
    check_proxies(listener, path, findings);
    if listener.name.as_ref().is_some_and(String::is_empty) {
        findings.add(key("name"), Fault::Empty("name".into()));
    }
    let min_peer = listener.rawsocket_min_peer_bytes;
    findings.range(&key("rawsocket_min_peer_bytes"), min_peer, MESSAGE_BYTES, BYTES);
}

fn check_tls(listener: &Listener, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    for (index, tls) in listener.tls.iter().enumerate() {
        let has_none = tls.key.as_os_str().is_empty();
        findings.add_if(has_none, format!("{path}.tls.{index}"), || Fault::NoPrivateKey);
    }
    let on_unix = !listener.tls.is_empty() && !matches!(listener.address, ListenAddress::Tcp(_));
    findings.add_if(on_unix, key("tls"), || Fault::TlsOnUnixSocket(listener.address.clone()));
    let asks = listener.client_certificates != ClientCertificates::Off;
    let plain = listener.tls.is_empty() && (asks || listener.client_ca.is_some());
    let at = if asks { "client_certificates" } else { "client_ca" };
    findings.add_if(plain, key(at), || Fault::ClientCertificatesWithoutTls);
    findings.add_if(asks && listener.client_ca.is_none(), key("client_certificates"), || {
        Fault::NoClientCa
    });
    findings.add_if(!asks && !plain && listener.client_ca.is_some(), key("client_ca"), || {
        Fault::UnusedClientCa
    });
}

/// Who is believed, and what is read of them, belong together.
fn check_proxies(listener: &Listener, path: &str, findings: &mut Findings) {
    let reads_header = listener.forwarded != ForwardedBy::Off;
    let nobody = listener.trusted_proxies.is_empty();
    for (key, is_on) in [("proxy_protocol", listener.proxy_protocol), ("forwarded", reads_header)] {
        findings.add_if(is_on && nobody, format!("{path}.{key}"), || Fault::NoProxies(key));
    }
    let idle = !nobody && !listener.proxy_protocol && !reads_header;
    findings.add_if(idle, format!("{path}.trusted_proxies"), || Fault::UnusedProxies);
    for (number, name) in listener.pass_headers.iter().enumerate() {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(is_token);
        let earlier = &listener.pass_headers[..number];
        let is_repeated = earlier.iter().any(|other| other.eq_ignore_ascii_case(name));
        findings.add_if(!is_name || is_repeated, format!("{path}.pass_headers"), || {
            Fault::BadHeaderName(name.clone())
        });
    }
    let unheard = reads_header && !listener.websocket;
    findings.add_if(unheard, format!("{path}.forwarded"), || Fault::ForwardedWithoutHttp);
}

fn is_path(path: &str) -> bool {
    let is_escaped = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    path.starts_with('/')
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
        && path.split('%').skip(1).all(is_escaped)
}

/// Whether `domain` can stand for all hosts below it.
fn is_domain(domain: &str) -> bool {
    let is_label = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    domain.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label))
}

/// Whether `origin` is a serialized origin as browsers send it (RFC 6454 section 6.2), all hosts
/// below a domain, or all there are.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return matches!(origin, "null" | "*") || origin.strip_prefix("*.").is_some_and(is_domain);
    };
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let is_host =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    !scheme.is_empty()
        && scheme.bytes().all(is_scheme)
        && !host.is_empty()
        && host.bytes().all(is_host)
}

fn check_realms(realms: &[Realm], limits: &Limits, findings: &mut Findings) {
    let uri_bytes = limits.uri_bytes;
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
        check_authenticators(index, realms, uri_bytes, findings);
        check_authorizers(realm, &format!("realm.{index}.authorizer"), findings);
        check_roles(realm, &format!("realm.{index}.role"), limits, findings);
        if realm.admin_roles.iter().any(String::is_empty) {
            findings.add(format!("realm.{index}.admin_roles"), Fault::Empty("admin_roles".into()));
        }
    }
}

fn check_histories(config: &Config, findings: &mut Findings) {
    let storage = &config.storage;
    let has_path = storage.path.as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    findings.add_if(storage.path.is_some() && !has_path, "storage.path", || {
        Fault::Empty("path".into())
    });
    let lost = storage.retained && storage.path.is_none();
    findings.add_if(lost, "storage.retained", || Fault::NoStore);
    for (index, realm) in config.realms.iter().enumerate() {
        for (number, history) in realm.histories.iter().enumerate() {
            let path = format!("realm.{index}.history.{number}");
            let earlier = &realm.histories[..number];
            check_history(history, realm, earlier, &path, findings);
            let lost = history.store == HistoryStore::Durable && storage.path.is_none();
            findings.add_if(lost, format!("{path}.store"), || Fault::NoStore);
            let (topic, limit) = (&history.topic, config.limits.uri_bytes);
            findings.add_if(topic.len() > limit, format!("{path}.topic"), || {
                Fault::LongHistoryTopic { topic: topic.clone(), limit }
            });
        }
    }
}

fn check_history(
    history: &History,
    realm: &Realm,
    earlier: &[History],
    path: &str,
    findings: &mut Findings,
) {
    let History { topic, policy, .. } = history;
    let key = format!("{path}.topic");
    let components = topic.split('.').count();
    let is_long = *policy == MatchPolicy::Wildcard && components > MAX_WILDCARD_COMPONENTS;
    if is_long || !is_valid_pattern(topic, *policy, realm.uri_rule) {
        let (topic, rule) = (topic.clone(), realm.uri_rule);
        findings.add(&*key, Fault::BadHistoryTopic { topic, policy: *policy, rule });
    } else if is_reserved(topic) {
        findings.add(&*key, Fault::ReservedHistoryTopic(topic.clone()));
    }
    let repeated = earlier.iter().any(|other| other.topic == *topic && other.policy == *policy);
    findings.add_if(repeated, &*key, || Fault::SameHistory(topic.clone()));
    if let Some(events) = history.events {
        findings.range(&format!("{path}.events"), events, HISTORY_EVENTS, "");
    }
    if let Some(bytes) = history.bytes {
        findings.range(&format!("{path}.bytes"), bytes, QUEUE_BYTES, BYTES);
    }
    if let Some(age_ms) = history.age_ms {
        findings.range(&format!("{path}.age_ms"), age_ms, 1..=CENTURY_MS, MILLISECONDS);
    }
}

fn check_limits(limits: &Limits, findings: &mut Findings) {
    findings.range("limits.message_bytes", limits.message_bytes, MESSAGE_BYTES, BYTES);
    findings.range("limits.hello_bytes", limits.hello_bytes, MESSAGE_BYTES, BYTES);
    findings.range("limits.nesting", limits.nesting, 8..=512, " levels");
    findings.range("limits.uri_bytes", limits.uri_bytes, 16..=64 * KIB, BYTES);
    findings.range("limits.http_head_bytes", limits.http_head_bytes, KIB..=MIB, BYTES);
    findings.range("limits.connections", limits.connections, COUNT, "");
    for (key, value) in [
        ("limits.http_connections", limits.http_connections),
        ("limits.http_batch", limits.http_batch),
        ("limits.http_streams", limits.http_streams),
        ("limits.tls_handshakes", limits.tls_handshakes),
        ("limits.subscriptions_per_session", limits.subscriptions_per_session),
        ("limits.registrations_per_session", limits.registrations_per_session),
        ("limits.calls_per_session", limits.calls_per_session),
        ("limits.invocations_per_session", limits.invocations_per_session),
        ("limits.retained_events", limits.retained_events),
        ("limits.retained_per_subscribe", limits.retained_per_subscribe),
        ("limits.meta_list_items", limits.meta_list_items),
        ("limits.meta_questions_per_session", limits.meta_questions_per_session),
        ("limits.testaments_per_session", limits.testaments_per_session),
        ("limits.questions_per_procedure", limits.questions_per_procedure),
    ] {
        findings.range(key, value, COUNT, "");
    }
    findings.range("limits.history_events", limits.history_events, HISTORY_EVENTS, "");
    findings.range("limits.history_bytes", limits.history_bytes, QUEUE_BYTES, BYTES);
    let answer = limits.history_answer_events;
    findings.range("limits.history_answer_events", answer, HISTORY_EVENTS, "");
    let answer = limits.history_answer_bytes;
    findings.range("limits.history_answer_bytes", answer, KIB..=16 * MIB, BYTES);
    let retained = limits.retained_per_subscribe_bytes;
    findings.range("limits.retained_per_subscribe_bytes", retained, KIB..=TIB, BYTES);
    // One that is too long by itself has a fault of its own.
    let longest = (limits.message_bytes as u64).min(*MESSAGE_BYTES.end());
    let bodies = 4 * longest..=TIB;
    findings.range("limits.http_bodies_bytes", limits.http_bodies_bytes, bodies, BYTES);
    let most = limits.message_bytes as u64..=TIB;
    findings.range("limits.input_total_bytes", limits.input_total_bytes, most, BYTES);
    let kept = limits.kept_bytes_per_session;
    findings.range("limits.kept_bytes_per_session", kept, KIB..=TIB, BYTES);
    let kept = limits.kept_bytes_per_realm;
    findings.range("limits.kept_bytes_per_realm", kept, KIB..=TIB, BYTES);
    findings.range("limits.kept_total_bytes", limits.kept_total_bytes, KIB..=TIB, BYTES);
    let most = limits.message_bytes as u64..=TIB;
    findings.range("limits.held_total_bytes", limits.held_total_bytes, most, BYTES);
    findings.range("limits.retained_bytes", limits.retained_bytes, QUEUE_BYTES, BYTES);
    findings.range("limits.meta_call_bytes", limits.meta_call_bytes, 512..=16 * MIB, BYTES);
    findings.range("limits.login_queue", limits.login_queue, COUNT, "");
    let cache = limits.authorizer_cache_ms;
    findings.range("limits.authorizer_cache_ms", cache, 0..=24 * HOUR_MS, MILLISECONDS);
    let window = limits.handshake_failure_window_ms;
    findings.range("limits.handshake_failure_window_ms", window, 1_000..=HOUR_MS, MILLISECONDS);
    let window = limits.login_failure_window_ms;
    findings.range("limits.login_failure_window_ms", window, 1_000..=HOUR_MS, MILLISECONDS);
    findings.range("limits.testament_bytes", limits.testament_bytes, 512..=16 * MIB, BYTES);
}

fn check_output(output: &OutputLimits, limits: &Limits, findings: &mut Findings) {
    findings.range("output.hard_bytes", output.hard_bytes, QUEUE_BYTES, BYTES);
    findings.range("output.soft_bytes", output.soft_bytes, KIB..=TIB, BYTES);
    findings.range("output.soft_ms", output.soft_ms, 10..=HOUR_MS, MILLISECONDS);
    let min_bytes = output.deflate_min_bytes;
    findings.range("output.deflate_min_bytes", min_bytes, 0..=16 * 1024 * 1024, BYTES);
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
    findings.range("timeouts.login_ms", timeouts.login_ms, 100..=HOUR_MS, MILLISECONDS);
    let authorizer = timeouts.authorizer_ms;
    findings.range("timeouts.authorizer_ms", authorizer, 10..=HOUR_MS, MILLISECONDS);
    findings.range("timeouts.http_idle_ms", timeouts.http_idle_ms, 100..=HOUR_MS, MILLISECONDS);
    findings.range("timeouts.http_body_ms", timeouts.http_body_ms, 100..=HOUR_MS, MILLISECONDS);
    let answer = timeouts.http_answer_ms;
    findings.range("timeouts.http_answer_ms", answer, 100..=24 * HOUR_MS, MILLISECONDS);
    let heartbeat = timeouts.http_heartbeat_ms;
    findings.range("timeouts.http_heartbeat_ms", heartbeat, 100..=HOUR_MS, MILLISECONDS);
    let session = timeouts.http_session_ms;
    findings.range("timeouts.http_session_ms", session, 10..=24 * HOUR_MS, MILLISECONDS);
    findings.range("timeouts.close_ms", timeouts.close_ms, 10..=HOUR_MS, MILLISECONDS);
    findings.range("timeouts.drain_ms", timeouts.drain_ms, 0..=HOUR_MS, MILLISECONDS);
    findings.range("timeouts.drain_delay_ms", timeouts.drain_delay_ms, 0..=HOUR_MS, MILLISECONDS);
    let lame_duck = timeouts.lame_duck_ms;
    findings.range("timeouts.lame_duck_ms", lame_duck, 0..=24 * HOUR_MS, MILLISECONDS);
}

fn check_tuning(tuning: &Tuning, findings: &mut Findings) {
    let budget = tuning.read_budget_bytes;
    findings.range("tuning.read_budget_bytes", budget, 4 * KIB..=64 * MIB, BYTES);
    findings.range("tuning.shard_queue_bytes", tuning.shard_queue_bytes, 64 * KIB..=TIB, BYTES);
    findings.range("tuning.login_threads", tuning.login_threads, 1..=64, "");
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
pub(super) const MESSAGE_BYTES: RangeInclusive<u64> = 512..=16 * MIB;
const QUEUE_BYTES: RangeInclusive<u64> = 4 * KIB..=TIB;
const CENTURY_MS: u64 = 100 * 365 * 24 * HOUR_MS;
const HISTORY_EVENTS: RangeInclusive<u64> = 1..=1_000_000;
const COUNT: RangeInclusive<u64> = 1..=10_000_000;

pub(super) const BYTES: &str = " bytes";
pub(super) const MILLISECONDS: &str = " milliseconds";

//! Which counter of the router is which metric.

use prometheus_client::metrics::MetricType;

/// One counter of a [`Snapshot`](crate::router::Snapshot) as a metric. Those of one metric stand
/// side by side, the first with its help.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) counter: &'static str,
    pub(super) metric: &'static str,
    pub(super) kind: MetricType,
    pub(super) label: Option<(&'static str, &'static str)>,
    /// Whether each shard has a value of its own.
    pub(super) is_by_shard: bool,
    pub(super) help: &'static str,
}

const fn gauge(counter: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row { counter, metric, kind: MetricType::Gauge, label: None, is_by_shard: true, help }
}

/// A gauge of the router as a whole.
const fn whole(counter: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row { is_by_shard: false, ..gauge(counter, metric, help) }
}

const fn total(counter: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row { counter, metric, kind: MetricType::Counter, label: None, is_by_shard: false, help }
}

/// A total, and which part of the metric it is.
const fn part(
    counter: &'static str,
    metric: &'static str,
    label: (&'static str, &'static str),
    help: &'static str,
) -> Row {
    Row { label: Some(label), ..total(counter, metric, help) }
}

pub(super) const ROWS: &[Row] = &[
    gauge("connections", "stentor_connections", "Open transports, with or without a session"),
    gauge("sessions", "stentor_sessions", "Sessions"),
    gauge("subscriptions", "stentor_subscriptions", "Memberships: one session in one subscription"),
    gauge("registrations", "stentor_registrations", "Memberships: one callee in one registration"),
    gauge(
        "calls",
        "stentor_calls_in_flight",
        "Calls that wait for their answer, at the caller's shard",
    ),
    gauge(
        "invocations",
        "stentor_invocations_in_flight",
        "Invocations that wait for their answer, at the callee's shard",
    ),
    gauge("output_bytes", "stentor_pending_bytes", "Bytes that wait to be written"),
    gauge(
        "refused_bytes",
        "stentor_refused_bytes",
        "Bytes that sockets were offered and have not taken",
    ),
    gauge(
        "input_bytes",
        "stentor_input_bytes",
        "Bytes of memory for what has come and is not dealt with",
    ),
    gauge("kept_bytes", "stentor_kept_bytes", "Bytes kept for calls that may be routed again"),
    gauge(
        "tls_handshakes_under_way",
        "stentor_tls_handshakes_under_way",
        "TLS handshakes that are not over",
    ),
    gauge(
        "questions",
        "stentor_questions_in_flight",
        "Calls of the router to authenticators and authorizers",
    ),
    gauge(
        "endpoint_questions",
        "stentor_endpoint_questions_in_flight",
        "Questions about requests to endpoints over HTTP",
    ),
    gauge(
        "questions_waiting",
        "stentor_questions_waiting",
        "Those that wait for others to be answered",
    ),
    whole(
        "http_connections",
        "stentor_http_connections",
        "Connections of listeners that speak HTTP and no WAMP",
    ),
    whole("http_streams", "stentor_http_streams", "Streams of events by HTTP"),
    total("connections_opened", "stentor_connections_opened", "Connections that were accepted"),
    part(
        "connections_refused",
        "stentor_connections_refused",
        ("reason", "full"),
        "Connections that were refused",
    ),
    part("connections_crowded", "stentor_connections_refused", ("reason", "address"), ""),
    total(
        "connections_handed_over",
        "stentor_connections_handed_over",
        "Connections whose first request was for HTTP and not for WAMP",
    ),
    part(
        "http_answered",
        "stentor_http_requests",
        ("outcome", "answered"),
        "HTTP requests on listeners: answered, refused (4xx), or failed (5xx)",
    ),
    part("http_refused", "stentor_http_requests", ("outcome", "refused"), ""),
    part("http_failed", "stentor_http_requests", ("outcome", "failed"), ""),
    total("http_publications", "stentor_http_publications", "Publications that were made by HTTP"),
    total("http_calls", "stentor_http_calls", "Calls that were made by HTTP and answered"),
    total(
        "http_keys_refused",
        "stentor_http_keys_refused",
        "HTTP requests with a key or token that their path does not take",
    ),
    part(
        "tls_handshakes_full",
        "stentor_tls_handshakes",
        ("kind", "full"),
        "TLS handshakes: full, resumed, or retried (full, with one more round trip), or without \
         success",
    ),
    part("tls_handshakes_resumed", "stentor_tls_handshakes", ("kind", "resumed"), ""),
    part("tls_handshakes_retried", "stentor_tls_handshakes", ("kind", "retried"), ""),
    part("tls_handshakes_failed", "stentor_tls_handshakes", ("kind", "failed"), ""),
    part("tls_handshakes_refused", "stentor_tls_handshakes", ("kind", "refused"), ""),
    total("sessions_joined", "stentor_sessions_opened", "Sessions that have joined"),
    total("sessions_refused", "stentor_sessions_refused", "HELLOs that were answered with ABORT"),
    total(
        "sessions_killed",
        "stentor_sessions_killed",
        "Sessions ended through the meta API, or kicked by an operator",
    ),
    total("sessions_expired", "stentor_sessions_expired", "Sessions whose token expired"),
    total(
        "sessions_revoked",
        "stentor_sessions_revoked",
        "Sessions that a reload took the right of",
    ),
    total(
        "memberships_revoked",
        "stentor_memberships_revoked",
        "Subscriptions and registrations that a reload took the right of",
    ),
    total(
        "sessions_paced",
        "stentor_sessions_paced",
        "Times that a session was read later: over its role's rate",
    ),
    total(
        "sessions_over_rate",
        "stentor_sessions_over_rate",
        "Sessions ended over their role's rate",
    ),
    total(
        "slow_consumers_disconnected",
        "stentor_slow_consumers",
        "Sessions ended because they read too slowly",
    ),
    total(
        "incomplete_disconnected",
        "stentor_incomplete_messages",
        "Connections ended because messages that do not come whole filled the memory",
    ),
    total(
        "keepalive_timeouts",
        "stentor_keepalive_timeouts",
        "Connections ended because they were silent",
    ),
    total(
        "protocol_violations",
        "stentor_protocol_violations",
        "Messages that ended their session",
    ),
    total(
        "logins_challenged",
        "stentor_logins_challenged",
        "Clients that were asked to prove who they are",
    ),
    part("logins_denied", "stentor_logins_failed", ("reason", "denied"), "Logins that failed"),
    part("logins_failed", "stentor_logins_failed", ("reason", "unjudged"), ""),
    part("logins_limited_by_address", "stentor_logins_failed", ("reason", "limit_by_address"), ""),
    part("logins_limited_by_authid", "stentor_logins_failed", ("reason", "limit_by_authid"), ""),
    total("messages_received", "stentor_messages_received", "Messages of clients"),
    part(
        "bytes_received",
        "stentor_bytes",
        ("direction", "received"),
        "Bytes from and to clients, as their sockets gave and took them",
    ),
    part("bytes_sent", "stentor_bytes", ("direction", "sent"), ""),
    part(
        "inflated_messages",
        "stentor_compressed_messages",
        ("direction", "received"),
        "Messages that went over a WebSocket compressed",
    ),
    part("deflated_messages", "stentor_compressed_messages", ("direction", "sent"), ""),
    part(
        "inflated_bytes",
        "stentor_compressed_bytes",
        ("direction", "received"),
        "Their bytes as they went; an event is compressed once, and counted once",
    ),
    part("deflated_bytes", "stentor_compressed_bytes", ("direction", "sent"), ""),
    part(
        "inflated_plain_bytes",
        "stentor_compressed_plain_bytes",
        ("direction", "received"),
        "Their bytes as they are read",
    ),
    part("deflated_plain_bytes", "stentor_compressed_plain_bytes", ("direction", "sent"), ""),
    total("requests_denied", "stentor_requests_denied", "Requests that a role may not make"),
    total(
        "requests_undecided",
        "stentor_requests_undecided",
        "Those that no authorizer has decided about in time",
    ),
    part("publications", "stentor_publications", ("outcome", "accepted"), "PUBLISH messages"),
    part("publications_refused", "stentor_publications", ("outcome", "refused"), ""),
    total(
        "events_delivered",
        "stentor_events_delivered",
        "Events that were queued for a subscriber",
    ),
    part(
        "events_dropped_slow",
        "stentor_events_dropped",
        ("reason", "slow"),
        "Events that a subscriber did not get",
    ),
    part("events_dropped_size", "stentor_events_dropped", ("reason", "size"), ""),
    part("events_dropped_encoding", "stentor_events_dropped", ("reason", "encoding"), ""),
    total(
        "meta_events_dropped",
        "stentor_meta_events_dropped",
        "Meta events that were not made: too much waits to be delivered",
    ),
    total("events_retained", "stentor_events_retained", "Events that were to be retained"),
    total(
        "retained_dropped",
        "stentor_retained_dropped",
        "Retained events that went, or did not come, because of a limit",
    ),
    total(
        "retained_withheld",
        "stentor_retained_withheld",
        "Times that a queue had no room for all retained events",
    ),
    total("history_events", "stentor_history_events", "Events that went into histories"),
    total(
        "history_evicted",
        "stentor_history_evicted",
        "Events that went from histories because of their bounds",
    ),
    part(
        "deposits_saved",
        "stentor_storage_publications",
        ("outcome", "saved"),
        "Publications that were to be stored",
    ),
    part("deposits_failed", "stentor_storage_publications", ("outcome", "failed"), ""),
    total(
        "store_outages",
        "stentor_storage_outages",
        "Times that the store could not be written any more",
    ),
    total("store_recoveries", "stentor_storage_recoveries", "Times that such an outage ended"),
    total("store_retries_failed", "stentor_storage_retries_failed", "Tries to end one that failed"),
    part("calls_routed", "stentor_calls", ("outcome", "routed"), "CALL messages"),
    part("calls_refused", "stentor_calls", ("outcome", "refused"), ""),
    part("meta_calls_answered", "stentor_calls", ("outcome", "answered_by_router"), ""),
    part(
        "results_delivered",
        "stentor_call_answers",
        ("kind", "result"),
        "Answers that callers got",
    ),
    part("call_errors_delivered", "stentor_call_answers", ("kind", "error"), ""),
    part(
        "questions_asked",
        "stentor_questions",
        ("outcome", "asked"),
        "Questions of the router to procedures; the other outcomes are among `asked`",
    ),
    part("questions_not_brought", "stentor_questions", ("outcome", "not_brought"), ""),
    part("questions_refused", "stentor_questions", ("outcome", "refused"), ""),
    part("questions_late", "stentor_questions", ("outcome", "late"), ""),
    part("questions_misanswered", "stentor_questions", ("outcome", "misanswered"), ""),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::router::Snapshot;

    #[test]
    fn every_counter_is_a_metric() {
        let counters = Snapshot::default();
        let of_kind = |rows: Vec<(&'static str, u64)>, is_gauge: bool| {
            rows.into_iter().map(move |(name, _)| (name, is_gauge))
        };
        let mut counted: Vec<_> = of_kind(counters.gauges(), true).collect();
        counted.extend(of_kind(counters.totals(), false));
        let is_gauge = |row: &Row| matches!(row.kind, MetricType::Gauge);
        let mut shown: Vec<_> = ROWS.iter().map(|row| (row.counter, is_gauge(row))).collect();
        counted.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, counted);
    }

    #[test]
    fn the_parts_of_a_metric_stand_together_and_differ() {
        let mut seen = BTreeSet::new();
        for rows in ROWS.chunk_by(|one, next| one.metric == next.metric) {
            assert!(seen.insert(rows[0].metric), "{} is begun twice", rows[0].metric);
            assert!(!rows[0].help.is_empty(), "{} has help", rows[0].metric);
            let labels: BTreeSet<_> = rows.iter().map(|row| row.label).collect();
            assert_eq!(labels.len(), rows.len(), "{}", rows[0].metric);
        }
    }
}

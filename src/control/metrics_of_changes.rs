//! Metrics of what operators change, and of what expires if they do not: reloads, changes by kind,
//! refused tokens, certificates.

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::desk::Desk;
use super::metrics::{Families, NO_LABELS};

pub(super) fn encode_changes(families: &mut Families<'_, '_>, desk: &Desk) -> fmt::Result {
    encode_reloads(families, desk)?;
    let help = "Changes that operators asked for on the admin listener, and reloads by signals";
    let mut family = families.begin("stentor_changes", help, MetricType::Counter)?;
    for (kind, done, refused) in desk.record.counts() {
        for (outcome, count) in [("done", done), ("refused", refused)] {
            family.counter(&[("kind", kind.label()), ("outcome", outcome)], count)?;
        }
    }
    let help = "Requests on the admin listener without the token that they need";
    let mut family = families.begin("stentor_admin_denied", help, MetricType::Counter)?;
    for (reason, count) in desk.lock.refused() {
        family.counter(&[("reason", reason.label())], count)?;
    }
    encode_certificates(families, desk)
}

fn encode_reloads(families: &mut Families<'_, '_>, desk: &Desk) -> fmt::Result {
    let (is_good, at_ms) = desk.record.standing();
    let help = "Whether the configuration was not refused when it was last read";
    let mut family = families.begin("stentor_config_reload_success", help, MetricType::Gauge)?;
    family.gauge(&NO_LABELS, u64::from(is_good))?;
    let help = "When the configuration was last read, in seconds since 1970";
    let name = "stentor_config_last_reload_timestamp_seconds";
    families.begin(name, help, MetricType::Gauge)?.float_gauge(&NO_LABELS, at_ms as f64 / 1e3)
}

/// `number`: the place of a certificate in its listener's list, from 0.
fn encode_certificates(families: &mut Families<'_, '_>, desk: &Desk) -> fmt::Result {
    let help = "When a certificate expires, in seconds since 1970";
    let name = "stentor_tls_certificate_expiry_seconds";
    let mut family = families.begin(name, help, MetricType::Gauge)?;
    let own = desk.tls.iter().map(|tls| ("[admin]".to_owned(), tls.expiries()));
    for (listener, expiries) in desk.view.certificate_expiries().into_iter().chain(own) {
        for (number, expires) in expiries.into_iter().enumerate() {
            let number = number.to_string();
            let labels = [("listener", listener.as_str()), ("number", number.as_str())];
            family.gauge(&labels, expires)?;
        }
    }
    Ok(())
}

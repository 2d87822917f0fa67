//! How webhooks get on, as operators ask for it, and as metrics.

use std::fmt;

use prometheus_client::metrics::MetricType;
use serde_json::{Value, json};

use super::metrics::Families;
use crate::net::{View, WebhookView};

/// All webhooks, by their realms and names.
pub(super) fn page(view: &View) -> Value {
    let mut webhooks = view.webhooks();
    webhooks.sort_by(|one, other| (&one.realm, &one.name).cmp(&(&other.realm, &other.name)));
    let rows = webhooks.into_iter().map(|webhook| {
        json!({
            "realm": webhook.realm,
            "name": webhook.name,
            "url": webhook.url,
            "is_listening": webhook.is_listening,
            "why_not": webhook.silence,
            "failure": webhook.failure,
            "queued": webhook.queued,
            "queued_bytes": webhook.queued_bytes,
            "delivered": webhook.delivered,
            "dropped": webhook.dropped,
            "given_up": webhook.given_up,
            "failures": webhook.failures,
        })
    });
    json!({ "webhooks": rows.collect::<Vec<_>>() })
}

/// Without webhooks there are none of these families.
pub(super) fn encode_webhooks(families: &mut Families<'_, '_>, view: &View) -> fmt::Result {
    let webhooks = view.webhooks();
    if webhooks.is_empty() {
        return Ok(());
    }
    let help = "Events of webhooks: delivered, given up after all tries, or dropped as too many \
        waited";
    let mut family = families.begin("stentor_webhook_events", help, MetricType::Counter)?;
    for webhook in &webhooks {
        for (outcome, count) in [
            ("delivered", webhook.delivered),
            ("given_up", webhook.given_up),
            ("dropped", webhook.dropped),
        ] {
            let (realm, name) = (&*webhook.realm, &*webhook.name);
            family.counter(&[("realm", realm), ("webhook", name), ("outcome", outcome)], count)?;
        }
    }
    let help = "Requests of webhooks that no address took";
    let mut family = families.begin("stentor_webhook_failures", help, MetricType::Counter)?;
    for webhook in &webhooks {
        let labels = [("realm", &*webhook.realm), ("webhook", &*webhook.name)];
        family.counter(&labels, webhook.failures)?;
    }
    for (name, help, count) in [
        (
            "stentor_webhook_queued_events",
            "Events of webhooks that wait or are under way",
            (|webhook| webhook.queued as u64) as fn(&WebhookView) -> u64,
        ),
        ("stentor_webhook_queued_bytes", "Their bytes", |webhook| webhook.queued_bytes as u64),
        ("stentor_webhook_listening", "Whether a webhook has its session", |webhook| {
            webhook.is_listening.into()
        }),
    ] {
        let mut family = families.begin(name, help, MetricType::Gauge)?;
        for webhook in &webhooks {
            let labels = [("realm", &*webhook.realm), ("webhook", &*webhook.name)];
            family.gauge(&labels, count(webhook))?;
        }
    }
    Ok(())
}

//! Metrics by names of the operator's choice: what `[metrics]` counts apart. Without such names
//! there are none of these families.

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::metrics::Families;
use crate::router::{Busyness, Router};

pub(super) fn encode_by_name(families: &mut Families<'_, '_>, router: &Router) -> fmt::Result {
    let clients = router.client_counts();
    if !clients.is_empty() {
        let help = "Sessions by the client library that the agent in HELLO names";
        let name = "stentor_client_sessions";
        let mut family = families.begin(name, help, MetricType::Gauge)?;
        for (client, open, _) in &clients {
            family.gauge(&[("client", *client)], *open)?;
        }
        let help = "Sessions that have begun, by the client library that the agent in HELLO names";
        let name = "stentor_client_sessions_opened";
        let mut family = families.begin(name, help, MetricType::Counter)?;
        for (client, _, opened) in &clients {
            family.counter(&[("client", *client)], *opened)?;
        }
    }
    for (name, help, what) in GROUPS {
        let counts = router.group_counts(what);
        if !counts.is_empty() {
            let mut family = families.begin(name, help, MetricType::Counter)?;
            for (group, count) in counts {
                family.counter(&[("group", group)], count)?;
            }
        }
    }
    Ok(())
}

const GROUPS: [(&str, &str, Busyness); 3] = [
    (
        "stentor_group_publications",
        "Publications by the group of their topic",
        Busyness::Publications,
    ),
    (
        "stentor_group_events_delivered",
        "Events by the group of their topic, one for each receiver",
        Busyness::Events,
    ),
    ("stentor_group_calls", "Calls by the group of their procedure", Busyness::Calls),
];

//! Metrics by names of the operator's choice: what `[metrics]` counts apart. Without such names
//! there are none of these families.

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::metrics::Families;
use crate::router::Router;

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
    Ok(())
}

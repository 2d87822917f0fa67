//! What operators see of the sessions of a shard.

use std::sync::Arc;

use super::Shard;
use super::connection::Connection;
use crate::clock::Millis;
use crate::router::{OpenSession, Slot};

impl Shard {
    /// The sessions in up to `most` slots from `from` on, and where the next ones begin.
    pub fn look(&self, from: Slot, most: usize, now: Millis) -> (Vec<OpenSession>, Option<Slot>) {
        let (connections, next) = self.connections.page(from, most);
        (connections.filter_map(|connection| seen(connection, now)).collect(), next)
    }
}

fn seen(connection: &Connection, now: Millis) -> Option<OpenSession> {
    let session = connection.session()?;
    Some(OpenSession {
        session: session.id,
        realm: Arc::clone(session.realm.name()),
        profile: Arc::clone(&session.profile),
        peer: connection.peer,
        age_ms: now.since(session.joined),
        traffic: connection.traffic,
        pending_bytes: connection.output.waiting_bytes(),
        refused_bytes: connection.refused().rank,
        oldest_ms: connection.output.oldest().map_or(0, |since| now.since(since)),
        subscriptions: session.subscriptions.len(),
        registrations: session.registrations.held().len(),
        calls: session.calls.len(),
        invocations: session.invocations.len(),
    })
}

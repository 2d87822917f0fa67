//! Meta events that wait to be heard, and the sessions that have caused them.
//!
//! A client can subscribe, register, join and leave faster than thousands of listeners can be told
//! of it. So whoever has several meta events waiting at some shard waits for them: its input is
//! parked, and if it is leaving, it goes on to give back what it held when they were heard. What
//! waits is thereby bounded by the number of connections. Those that are gone at once are kept out
//! by `joining`.

use super::post::Post;
use super::work::MOST_ANNOUNCED;
use super::{Mail, Shard};
use crate::hash::Map;
use crate::router::SessionRef;
use crate::wamp::SessionId;

/// How many meta events wait at this shard, by the session that has caused them.
#[derive(Debug)]
pub(super) struct Unheard(Map<SessionId, usize>);

/// One meta event that waits; given back by [`Unheard::end`].
#[derive(Debug)]
#[must_use]
pub(super) struct Wait {
    cause: SessionRef,
    /// The session waits for it.
    holds_up: bool,
}

impl Unheard {
    pub(super) const fn new(counts: Map<SessionId, usize>) -> Self {
        Self(counts)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A meta event begins to wait at this shard.
    pub(super) fn begin(&mut self, cause: SessionRef, post: &mut Post) -> Wait {
        let holds_up = self.enter(cause.session);
        if holds_up {
            post.send(cause.shard, Mail::Unheard { cause, waits: true });
        }
        Wait { cause, holds_up }
    }

    /// It waits no more.
    pub(super) fn end(&mut self, wait: Wait, post: &mut Post) {
        let Wait { cause, holds_up } = wait;
        self.leave(cause.session);
        if holds_up {
            post.send(cause.shard, Mail::Unheard { cause, waits: false });
        }
    }

    /// Counts one more; `true` if that is more than a session may have.
    fn enter(&mut self, cause: SessionId) -> bool {
        let count = self.0.entry(cause).or_default();
        *count += 1;
        *count > MOST_UNHEARD
    }

    fn leave(&mut self, cause: SessionId) {
        let count = self.0.get_mut(&cause).expect("what waits was counted");
        *count -= 1;
        if *count == 0 {
            self.0.remove(&cause);
        }
    }
}

impl Shard {
    /// At the shard of the session that has caused a meta event: it waits, or waits no more. Who
    /// has given everything back causes no more, and need not be told.
    pub(super) fn handle_unheard(&mut self, cause: SessionRef, waits: bool) {
        let connection = self.connections.get(cause.slot);
        let holder = connection.and_then(|connection| connection.holder());
        if holder.is_none_or(|session| session.id != cause.session) {
            return;
        }
        if waits {
            self.connections.hold_up(cause.slot);
        } else if self.connections.let_on(cause.slot) {
            self.connections.resume_leaving(cause.slot);
            self.resume_grants(cause.slot);
        }
    }
}

/// Meta events that a session may have waiting at a shard before it waits for them.
const MOST_UNHEARD: usize = MOST_ANNOUNCED;

//! What is shown of the age of the oldest byte that a client has not taken, against what can be
//! seen from outside: when nothing waited at last, and since when a full socket takes nothing.
//!
//! That ages are within their bound in between is shown of `Output` in `tests/transport/output.rs`.

use stentor::clock::Millis;
use stentor::router::OpenSession;

use super::world::World;

/// What was seen of the output of one client.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When nothing waited at last.
    empty_at: Millis,
    /// Since when its socket is full, and takes and loses nothing.
    stuck: Option<Stuck>,
}

#[derive(Clone, Copy, Debug)]
struct Stuck {
    since: Millis,
    /// Bytes that went out before, and events that were dropped.
    sent: u64,
    dropped: u64,
    waiting: usize,
}

impl World {
    pub(crate) fn check_ages(&mut self) {
        let now = self.net.now;
        for c in 0..self.clients.len() {
            let open = self.look_at(c);
            let is_full = self.net.links.pipes[self.clients[c].pipe].blocked;
            let seen = &mut self.clients[c].output;
            let Some(open) = open.filter(|open| open.pending_bytes > 0) else {
                *seen = Seen { empty_at: now, stuck: None };
                continue;
            };
            let age = open.oldest_ms;
            let longest = now.since(seen.empty_at);
            assert!(age <= longest, "{age} ms are shown of {longest} ms at most");
            let (sent, dropped) = (open.traffic.bytes_sent, open.traffic.events_dropped);
            let stays = |it: &Stuck| {
                (it.sent, it.dropped) == (sent, dropped) && it.waiting <= open.pending_bytes
            };
            let since = seen.stuck.filter(stays).map_or(now, |stuck| stuck.since);
            let waiting = open.pending_bytes;
            seen.stuck = is_full.then_some(Stuck { since, sent, dropped, waiting });
            if let Some(stuck) = seen.stuck {
                let least = now.since(stuck.since);
                assert!(age >= least, "{age} ms are shown of {least} ms at least");
            }
        }
    }

    /// What operators see of a client's session, if it has one and nothing ends it.
    fn look_at(&self, c: usize) -> Option<OpenSession> {
        let client = &self.clients[c];
        let pipe = &self.net.links.pipes[client.pipe];
        if pipe.closed {
            return None;
        }
        let (mut found, _) = self.net.shard(client.shard).look(pipe.slot, 1, self.net.now);
        found.pop()
    }
}

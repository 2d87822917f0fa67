//! Opening all connections, a bounded number at a time, and taking leave of them.

use super::Engine;
use super::link::{Link, Phase};
use crate::error::{Error, Result};
use crate::measure::SECOND_NS;
use crate::measure::pace::Pacer;
use crate::role::Role;

impl Engine {
    /// Opens every client and waits until all are ready for traffic. At most `parallel` are under
    /// way at a time; `per_second` opens them at a constant rate instead.
    pub fn open_all(&mut self, parallel: usize, per_second: Option<f64>) -> Result<()> {
        let wanted = self.roles.len();
        let mut pacer = per_second.map(|rate| {
            let part = self.board.part;
            // The threads open theirs in turn.
            let turn_ns = SECOND_NS as f64 / rate / part.threads as f64;
            Pacer::new(self.board.now_ns() + (part.thread as f64 * turn_ns) as u64, rate)
        });
        let mut progress = (0, self.board.now_ns());
        loop {
            let ready = self.board.counts.ready as usize;
            if ready == wanted {
                return Ok(());
            }
            let now_ns = self.board.now_ns();
            let done = ready + self.links.len() + self.board.counts.acknowledged as usize;
            if done > progress.0 {
                progress = (done, now_ns);
            } else if now_ns > progress.1 + PATIENCE_NS {
                return Err(Error::NotReady { ready, wanted, seconds: PATIENCE_NS / SECOND_NS });
            }
            let mut until_ns = now_ns + SECOND_NS;
            while self.links.len() < wanted {
                let started_ns = match &mut pacer {
                    Some(pacer) => match pacer.take(self.board.now_ns()) {
                        Some(due_ns) => due_ns,
                        None => {
                            until_ns = pacer.due_ns();
                            break;
                        }
                    },
                    None if self.links.len() - ready >= parallel => break,
                    None => self.board.now_ns(),
                };
                self.connect_next(started_ns)?;
            }
            let opening = self.links.len() - ready;
            self.run_until(until_ns, |board| {
                let now_ready = board.counts.ready as usize;
                now_ready > ready || now_ready == ready + opening
            })?;
        }
    }

    fn connect_next(&mut self, started_ns: u64) -> Result<()> {
        let index = self.links.len();
        let introduction = self.roles[index].introduction();
        let registry = self.poll.registry();
        let serializer = self.serializers[index];
        let to = (self.access.target_of(&self.roles[index], index), &self.access);
        let link = Link::connect(index, to, serializer, introduction, started_ns, registry)?;
        if matches!(&self.roles[index], Role::Subscriber(subscriber) if subscriber.may_lose()) {
            link.set_receive_buffer(SLOW_BUFFER_BYTES);
        }
        self.links.push(link);
        Ok(())
    }

    /// Cuts all returning subscribers off, without a word, and lets all of them connect again; the
    /// time of each counts from `since_ns`.
    pub fn come_again(&mut self, since_ns: u64) -> Result<()> {
        let returns = |role: &Role| matches!(role, Role::Subscriber(one) if one.returns());
        let all: Vec<usize> =
            (0..self.links.len()).filter(|index| returns(&self.roles[*index])).collect();
        all.iter().for_each(|index| self.links[*index].close());
        for index in all {
            let introduction = self.roles[index].introduction();
            let (serializer, registry) = (self.serializers[index], self.poll.registry());
            let to = (self.access.target_of(&self.roles[index], index), &self.access);
            let link = Link::connect(index, to, serializer, introduction, since_ns, registry)?;
            self.links[index] = link;
        }
        Ok(())
    }

    /// Says GOODBYE on all connections, waits for the answers for `seconds` at most, and closes
    /// them. Without WAMP nobody waits for an answer.
    pub fn leave_all(&mut self, seconds: u64) -> Result<()> {
        let before = self.board.counts.left;
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if link.phase == Phase::Joined && !link.transport.speaks_wamp() {
                self.board.counts.left += 1;
            } else if link.phase == Phase::Joined {
                link.phase = Phase::Leaving;
                link.send(|body| body.goodbye());
                if link.flush().is_err() {
                    self.note_closed(index);
                }
            }
        }
        let wanted = self.links.iter().filter(|link| link.phase == Phase::Leaving).count() as u64;
        let deadline_ns = self.board.now_ns() + seconds * SECOND_NS;
        self.run_until(deadline_ns, |board| board.counts.left - before >= wanted)?;
        self.links.iter_mut().for_each(Link::close);
        Ok(())
    }
}

/// For clients that will stop reading: bounded from the start, for a buffer that shrinks later
/// drops segments, and their retransmission would be what is measured.
const SLOW_BUFFER_BYTES: usize = 256 << 10;
/// How long setting up may stand still.
const PATIENCE_NS: u64 = 15 * SECOND_NS;

//! A drain: the sessions of a shard are told to leave one after the other, over a given time, so
//! that their clients do not all reconnect in one instant.
//!
//! Who waits for nothing goes when its turn comes, callees behind all others, and webhooks when
//! they are alone. Who has calls under way goes when they have ended, or when the time is over.
//! Nobody joins meanwhile; whoever is here is served as ever until it is told.

use std::collections::VecDeque;

use super::connections::Connections;
use super::joining::is_crowded;
use super::lifecycle::Shutdown;
use super::work::{LOOKUP_UNITS, MOST_ANNOUNCED};
use super::{InputStatus, Shard};
use crate::clock::Millis;
use crate::router::{EndReason, SessionRef, Slot};
use crate::transport::CloseCode;
use crate::wamp::CloseReason;

/// Who is still to be told, and when.
#[derive(Debug)]
pub(super) struct Drain {
    began: Millis,
    /// When nobody is waited for any more.
    until: Millis,
    /// When nobody may be served any more, if it is sooner.
    pub(super) serves_until: Millis,
    /// How many stood in `queue` at the beginning.
    total: usize,
    /// Whose turn has not come.
    queue: VecDeque<SessionRef>,
    /// Who was not at rest when its turn came. They are looked at in a circle.
    busy: VecDeque<SessionRef>,
    /// How many of `busy` are still to be looked at in this round.
    round: usize,
    /// When the next round begins.
    next_round: Millis,
    /// When to go on in any case although many meta events wait to be heard.
    hold_until: Millis,
}

impl Drain {
    /// In the order of `queue`, evenly until `until`, or faster if they are few.
    fn new(queue: VecDeque<SessionRef>, until: Millis, now: Millis) -> Self {
        Self {
            began: now,
            until,
            serves_until: Millis(u64::MAX),
            total: queue.len(),
            queue,
            busy: VecDeque::new(),
            round: 0,
            next_round: now,
            hold_until: now,
        }
    }

    /// Is to be over by then, too. Who is left is spread over what is left of the time.
    fn shorten(&mut self, until: Millis, now: Millis) {
        self.until = self.until.min(until);
        (self.began, self.total) = (now, self.queue.len());
    }

    const fn is_late(&self, now: Millis) -> bool {
        now.0 >= self.until.0 || now.0 >= self.serves_until.0
    }

    /// When the turn of the next one in the queue comes.
    fn next_turn(&self) -> Option<Millis> {
        if self.queue.is_empty() {
            return None;
        }
        let (total, told) = (self.total as u64, (self.total - self.queue.len()) as u64);
        let span = self.until.since(self.began).min(total.saturating_mul(LONGEST_GAP_MS));
        Some(self.began + (span / total).saturating_mul(told) + span % total * told / total)
    }

    fn round_at(&self, now: Millis) -> Option<Millis> {
        (!self.busy.is_empty()).then_some(if self.round > 0 { now } else { self.next_round })
    }

    /// When the next one is to be told or looked at, whatever else waits.
    fn next_look(&self, now: Millis) -> Option<Millis> {
        let times = self.next_turn().into_iter().chain(self.round_at(now));
        times.min().map(|at| at.min(self.until).min(self.serves_until))
    }

    /// The next one whose turn it is. Of those who are not at rest only when the time is over.
    fn next(&mut self, now: Millis, is_at_rest: impl Fn(SessionRef) -> bool) -> Step {
        let is_late = self.is_late(now);
        if (is_late || self.next_turn().is_some_and(|at| at <= now))
            && let Some(session) = self.queue.pop_front()
        {
            return self.judge(session, is_late, is_at_rest);
        }
        if self.round == 0 && (is_late || self.next_round <= now) {
            (self.round, self.next_round) = (self.busy.len(), now + ROUND_MS);
        }
        if self.round > 0
            && let Some(session) = self.busy.pop_front()
        {
            self.round -= 1;
            return self.judge(session, is_late, is_at_rest);
        }
        Step::Done
    }

    fn judge(
        &mut self,
        session: SessionRef,
        is_late: bool,
        is_at_rest: impl Fn(SessionRef) -> bool,
    ) -> Step {
        if is_late || is_at_rest(session) {
            return Step::Tell(session);
        }
        self.busy.push_back(session);
        Step::Waits
    }
}

/// What [`Drain::next`] has found.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Tell(SessionRef),
    /// Somebody has to be waited for.
    Waits,
    /// It is nobody's turn.
    Done,
}

impl Shard {
    /// From here on nobody joins, and the sessions are told to leave one after the other, all of
    /// them by `within_ms` from now. A drain that is under way is shortened, and never prolonged.
    pub(super) fn begin_drain(&mut self, within_ms: u64, now: Millis) {
        let until = now + within_ms;
        match &mut self.shutdown {
            Shutdown::No | Shutdown::Until(_) | Shutdown::Suspended(_) => {
                let serves_until = match self.shutdown {
                    Shutdown::Until(serves_until) => serves_until,
                    // Of those who were to leave nobody stays.
                    Shutdown::Suspended(_) => now,
                    _ => Millis(u64::MAX),
                };
                let [mut queue, mut callees, mut last] = [(); 3].map(|()| VecDeque::new());
                for (slot, connection) in self.connections.iter() {
                    let Some(session) = connection.session() else { continue };
                    let of = if connection.leaves_last() {
                        &mut last
                    } else if session.registrations.is_empty() {
                        &mut queue
                    } else {
                        &mut callees
                    };
                    of.push_back(self.cx.reference(slot, session.id));
                }
                queue.append(&mut callees);
                queue.append(&mut last);
                let drain = Drain::new(queue, until, now);
                self.shutdown = Shutdown::Draining(Drain { serves_until, ..drain });
            }
            Shutdown::Draining(drain) => drain.shorten(until, now),
            Shutdown::Dismissing(_) => {}
        }
    }

    /// Whether a drain is under way and no session is left.
    pub(super) fn is_drained(&self) -> bool {
        matches!(self.shutdown, Shutdown::Draining(_)) && self.cx.counters.sessions.get() == 0
    }

    /// When a drain goes on, if one is under way, or when nobody may be served any more. Asked in
    /// each turn.
    #[inline]
    pub(super) fn next_of_drain(&self) -> Option<Millis> {
        match &self.shutdown {
            Shutdown::Draining(drain) => self.next_look(drain),
            Shutdown::Until(until) => Some(*until),
            _ => None,
        }
    }

    #[cold]
    fn next_look(&self, drain: &Drain) -> Option<Millis> {
        let at = drain.next_look(self.cx.now)?;
        let is_held = is_crowded(&self.cx.router) && at < drain.until;
        Some(if is_held { at.max(drain.hold_until).min(drain.until) } else { at })
    }

    /// Whether somebody is to be told or looked at. Each who leaves makes meta events, so this
    /// waits for those that are to be heard, up to [`HOLD_MS`] each time.
    #[inline]
    pub(super) fn can_drain(&self) -> bool {
        self.next_of_drain().is_some_and(|at| at <= self.cx.now)
    }

    /// Tells further sessions to leave, as many as a step allows. `false` if there are none.
    pub(super) fn go_on_draining(&mut self, now: Millis) -> bool {
        if !self.can_drain() {
            return false;
        }
        if let Shutdown::Until(_) = self.shutdown {
            return self.go_on_suspending(now);
        }
        let Shutdown::Draining(drain) = &mut self.shutdown else { return false };
        drain.hold_until = now + HOLD_MS;
        let is_late = drain.is_late(now);
        if is_late {
            // From here on everybody is leaving, and nobody is left to be told.
            self.cx.edition.realms().for_each(|realm| realm.feed.close());
        }
        self.cx.work.begin_visit();
        // What others have published before they left is on its way to those that leave last.
        let has_heard = self.mailbox.is_empty() && self.deliveries.is_empty();
        let are_alone = has_heard && self.cx.router.has_only_webhooks();
        let mut told = 0;
        while !self.cx.work.is_step_over()
            && (is_late || told < MOST_ANNOUNCED)
            && !self.cx.outbound.is_full()
        {
            self.cx.work.charge(LOOKUP_UNITS);
            let Shutdown::Draining(drain) = &mut self.shutdown else { break };
            let (connections, polls) = (&self.connections, &self.polls);
            let is_at_rest = |session: SessionRef| {
                polls.pending_of(session.session) == 0 && connections.is_at_rest(session, are_alone)
            };
            match drain.next(now, is_at_rest) {
                Step::Tell(session) => {
                    told += 1;
                    self.tell_to_leave(session, now);
                }
                Step::Waits => {}
                Step::Done => break,
            }
        }
        self.settle(now);
        true
    }

    fn tell_to_leave(&mut self, session: SessionRef, now: Millis) {
        if self.connections.find(session).is_some() {
            self.dismiss_session(session.slot, now);
        }
    }

    /// The router stops, and this session has to go.
    pub(super) fn dismiss_session(&mut self, slot: Slot, now: Millis) {
        self.cx.work.charge(DISMISSAL_UNITS);
        let reason = CloseReason::SystemShutdown.uri();
        self.say_goodbye(slot, EndReason::Shutdown, reason, "", CloseCode::Away, now);
    }
}

impl Connections {
    /// Whether a session waits for nothing, and nobody for it. One that has gone does not.
    /// `are_alone`: there are none but those that leave last.
    fn is_at_rest(&self, at: SessionRef, are_alone: bool) -> bool {
        let Some(session) = self.find(at) else { return true };
        (are_alone || !self[at.slot].leaves_last())
            && session.calls.is_empty()
            && session.invocations.is_empty()
            && self[at.slot].input.status() == InputStatus::Open
    }
}

/// The longest time between two sessions of a shard that are told, in milliseconds: a few of them
/// are no crowd.
const LONGEST_GAP_MS: u64 = 100;

/// How often those are looked at who were not at rest when their turn came, in milliseconds.
const ROUND_MS: u64 = 20;

/// Milliseconds after which a drain goes on however many meta events wait.
const HOLD_MS: u64 = 10;

/// What it costs to say GOODBYE to a session and to take it out of routing, in units of work.
pub(super) const DISMISSAL_UNITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::ShardId;
    use crate::wamp::SessionId;

    fn session(number: u64) -> SessionRef {
        let session = SessionId::new(number + 1).expect("a small number is an id");
        SessionRef { session, slot: Slot::at(number as usize), shard: ShardId(0) }
    }

    fn drain(count: u64, within_ms: u64) -> Drain {
        Drain::new((0..count).map(session).collect(), Millis(within_ms), Millis(0))
    }

    /// How many are told at each of these moments.
    fn told(drain: &mut Drain, moments: &[u64], is_at_rest: bool) -> Vec<usize> {
        let mut told = Vec::new();
        for moment in moments {
            let mut count = 0;
            loop {
                match drain.next(Millis(*moment), |_| is_at_rest) {
                    Step::Tell(_) => count += 1,
                    Step::Waits => {}
                    Step::Done => break,
                }
            }
            told.push(count);
        }
        told
    }

    #[test]
    fn they_are_told_evenly_and_a_few_of_them_soon() {
        let moments = [0, 250, 500, 999, 1_000];
        assert_eq!(told(&mut drain(1_000, 1_000), &moments, true), [1, 250, 250, 499, 0]);
        assert_eq!(told(&mut drain(4, 20_000), &[0, 99, 100, 300], true), [1, 0, 1, 2]);
        assert_eq!(told(&mut drain(3, 0), &[0], true), [3]);
        assert_eq!(told(&mut drain(0, 1_000), &[0, 1_000], true), [0, 0]);
    }

    #[test]
    fn the_busy_are_waited_for_until_the_end() {
        let mut busy = drain(10, 1_000);
        assert_eq!(told(&mut busy, &[0, 500, 999], false), [0, 0, 0]);
        assert_eq!(busy.busy.len(), 10);
        assert_eq!(busy.next_look(Millis(999)), Some(Millis(1_000)), "no later than the end");
        assert_eq!(told(&mut busy, &[1_000], false), [10]);
        assert_eq!(busy.next_look(Millis(1_000)), None);
    }

    #[test]
    fn who_comes_to_rest_is_told_in_the_next_round() {
        let mut drain = drain(2, 10_000);
        assert_eq!(told(&mut drain, &[0, 100], false), [0, 0]);
        let next = drain.next_look(Millis(100)).expect("two are left");
        assert!(next <= Millis(100 + ROUND_MS), "{next:?}");
        assert_eq!(told(&mut drain, &[next.0], true), [2]);
    }

    #[test]
    fn a_second_order_shortens_and_never_prolongs() {
        let mut drain = drain(1_000, 10_000);
        assert_eq!(told(&mut drain, &[5_000], true), [501]);
        drain.shorten(Millis(6_000), Millis(5_000));
        assert_eq!(told(&mut drain, &[5_500, 6_000], true), [250, 249]);
        drain.shorten(Millis(60_000), Millis(6_000));
        assert_eq!(drain.until, Millis(6_000));
        assert_eq!(drain.next_look(Millis(6_000)), None);
    }
}

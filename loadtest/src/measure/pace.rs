//! Open loop: when each message should be sent, whatever the router does. Latency counts from here,
//! so a router that stalls cannot hide its stall by slowing the generator down.

use std::collections::VecDeque;

use super::SECOND_NS;

/// A constant rate from a start time on.
#[derive(Clone, Debug)]
pub struct Pacer {
    start_ns: u64,
    per_second: f64,
    sent: u64,
}

impl Pacer {
    /// `per_second` must be above 0.
    pub const fn new(start_ns: u64, per_second: f64) -> Self {
        Self { start_ns, per_second, sent: 0 }
    }

    /// When the next message is due, in nanoseconds of the run's clock.
    pub fn due_ns(&self) -> u64 {
        self.due_ns_of(self.sent)
    }

    /// When message `number`, counted from 0, is or was due.
    fn due_ns_of(&self, number: u64) -> u64 {
        self.start_ns + (number as f64 * SECOND_NS as f64 / self.per_second) as u64
    }

    /// How many were taken.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes the next message: when it was due, if that is not after `now_ns`.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due = self.due_ns();
        if due > now_ns {
            return None;
        }
        self.sent += 1;
        Some(due)
    }
}

/// A pace that several senders keep together, in turn. One that cannot send falls behind its own
/// part of the plan, and nobody waits for it.
#[derive(Clone, Debug)]
pub struct Schedule {
    pacer: Pacer,
    /// How many of its messages each sender has sent, or will never send.
    settled: Vec<u64>,
    /// Senders with messages that are overdue.
    behind: VecDeque<usize>,
    /// How many of them are to be asked in this turn.
    asking: usize,
}

/// Whether a sender can send one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Yes,
    NotNow,
    /// Its connection has ended.
    Never,
}

impl Schedule {
    /// `per_second` over all `senders`; both must be above 0.
    pub fn new(start_ns: u64, per_second: f64, senders: usize) -> Self {
        let pacer = Pacer::new(start_ns, per_second);
        Self { pacer, settled: vec![0; senders], behind: VecDeque::new(), asking: 0 }
    }

    /// A turn in which each sender that is behind is asked at least once.
    pub fn begin_turn(&mut self) {
        self.asking = self.behind.len();
    }

    /// Who sends now, and when that was due; `None` if nothing that is due can be sent.
    pub fn take(&mut self, now_ns: u64, room: impl Fn(usize) -> Room) -> Option<(usize, u64)> {
        while self.asking > 0 {
            self.asking -= 1;
            let sender = self.behind.pop_front()?;
            match room(sender) {
                Room::Never => self.settled[sender] = self.owed(sender),
                Room::NotNow => self.behind.push_back(sender),
                Room::Yes => {
                    let due_ns = self.settle(sender);
                    if self.settled[sender] < self.owed(sender) {
                        self.behind.push_front(sender);
                        self.asking += 1;
                    }
                    return Some((sender, due_ns));
                }
            }
        }
        loop {
            let sender = (self.pacer.sent() % self.settled.len() as u64) as usize;
            let was_behind = self.settled[sender] < self.owed(sender);
            self.pacer.take(now_ns)?;
            match room(sender) {
                _ if was_behind => {}
                Room::Yes => return Some((sender, self.settle(sender))),
                Room::NotNow => self.behind.push_back(sender),
                Room::Never => self.settled[sender] += 1,
            }
        }
    }

    /// When to look again, if nobody's room changes before: `retry_ns` is when to ask those behind.
    pub fn next_ns(&self, retry_ns: u64) -> u64 {
        let due_ns = self.pacer.due_ns();
        if self.behind.is_empty() { due_ns } else { due_ns.min(retry_ns) }
    }

    /// How many of the messages that were due so far are this sender's.
    fn owed(&self, sender: usize) -> u64 {
        let senders = self.settled.len() as u64;
        (self.pacer.sent() + senders - 1 - sender as u64) / senders
    }

    /// The sender's next message is sent: when it was due.
    fn settle(&mut self, sender: usize) -> u64 {
        let number = self.settled[sender] * self.settled.len() as u64 + sender as u64;
        self.settled[sender] += 1;
        self.pacer.due_ns_of(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that `schedule` lets be sent at `now_ns` in one turn.
    fn turn(
        schedule: &mut Schedule,
        now_ns: u64,
        room: impl Fn(usize) -> Room,
    ) -> Vec<(usize, u64)> {
        schedule.begin_turn();
        std::iter::from_fn(|| schedule.take(now_ns, &room)).collect()
    }

    #[test]
    fn a_slow_sender_stops_nobody_and_catches_up() {
        let mut schedule = Schedule::new(0, 1_000.0, 3);
        let slow = |sender| if sender == 1 { Room::NotNow } else { Room::Yes };
        let sent = turn(&mut schedule, 5_000_000, slow);
        assert_eq!(sent, [(0, 0), (2, 2_000_000), (0, 3_000_000), (2, 5_000_000)]);
        assert_eq!(schedule.next_ns(5_500_000), 5_500_000);
        assert_eq!(turn(&mut schedule, 5_500_000, slow), []);
        let sent = turn(&mut schedule, 7_000_000, |_| Room::Yes);
        assert_eq!(sent, [(1, 1_000_000), (1, 4_000_000), (0, 6_000_000), (1, 7_000_000)]);
        assert_eq!(schedule.next_ns(7_100_000), 8_000_000);
    }

    #[test]
    fn a_closed_sender_leaves_its_part_out() {
        let mut schedule = Schedule::new(0, 1_000.0, 2);
        let waits = |sender| if sender == 0 { Room::NotNow } else { Room::Yes };
        assert_eq!(turn(&mut schedule, 1_000_000, waits), [(1, 1_000_000)]);
        let closed = |sender| if sender == 0 { Room::Never } else { Room::Yes };
        assert_eq!(turn(&mut schedule, 4_000_000, closed), [(1, 3_000_000)]);
        assert_eq!(schedule.next_ns(0), 5_000_000);
    }

    #[test]
    fn a_late_generator_catches_up_with_the_plan() {
        let mut pacer = Pacer::new(1_000, 1_000.0);
        assert_eq!(pacer.take(999), None);
        assert_eq!(pacer.take(1_000), Some(1_000));
        assert_eq!(pacer.take(1_000), None);
        assert_eq!(pacer.take(9_000_000), Some(1_001_000));
        assert_eq!(pacer.take(9_000_000), Some(2_001_000));
        assert_eq!(pacer.due_ns(), 3_001_000);
    }
}

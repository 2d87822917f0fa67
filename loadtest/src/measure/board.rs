//! The board on which every role of a run writes: counters, windows, latencies, verification.

use std::iter::Sum;
use std::ops::AddAssign;

use super::Clock;
use super::recorder::Recorder;
use super::verify::Tally;
use super::window::Window;
use crate::engine::exchange::Part;

#[derive(Debug)]
pub struct Board {
    clock: Clock,
    /// Which of the run's clients write here.
    pub part: Part,
    pub counts: Counts,
    pub tally: Tally,
    /// One per publisher, by its number.
    pub windows: Vec<Window>,
    /// Publishers whose window opened since the engine last looked.
    pub opened: Vec<u32>,
    /// Those of other threads, which have not been told.
    pub abroad: Vec<u32>,
    /// When roles may send: cleared to drain.
    pub sending: bool,
    /// Latencies of what should have been sent in this span are recorded, in nanoseconds.
    pub measured_ns: (u64, u64),
    pub events: Recorder,
    pub calls: Recorder,
    /// From when a publication was due to its PUBLISHED.
    pub acknowledgements: Recorder,
    pub joins: Recorder,
    /// From when a subscriber was cut off to its SUBSCRIBED.
    pub returns: Recorder,
    /// How late the generator was against its own plan.
    pub lag: Recorder,
    /// What stands behind the stamp in every event.
    pub text: Vec<u8>,
    /// Of the message that is handed to a role.
    pub arriving: Arriving,
    /// The size of the last EVENT or RESULT as it came, in bytes without the frame header.
    pub delivery_bytes: usize,
    /// What the router last complained about.
    pub last_error: Option<String>,
}

/// What a message was on its way, in bytes: compressed, if it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arriving {
    pub message_bytes: usize,
    /// With the headers of its frames.
    pub wire_bytes: usize,
}

/// Rising counters; figures come from differences between two copies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub joined: u64,
    /// Sessions whose GOODBYE was answered.
    pub left: u64,
    /// Roles that are ready for traffic.
    pub ready: u64,
    pub publications: u64,
    /// Publications that asked for PUBLISHED, and subscriptions that asked for a retained event.
    pub asking: u64,
    /// Of them, those answered, with an ERROR too.
    pub acknowledged: u64,
    pub events: u64,
    /// What they were on their way, with the headers of their frames.
    pub event_bytes: u64,
    /// Events at subscribers that a window counts, each once.
    pub counted_events: u64,
    pub calls: u64,
    pub results: u64,
    pub invocations: u64,
    pub progressive_results: u64,
    pub resubscriptions: u64,
    pub received_bytes: u64,
    /// Events thrown away by design, at stalled subscribers.
    pub evicted: u64,
    /// Subscribers that were cut off and are back.
    pub returned: u64,
    /// Events that were published while a subscriber was away.
    pub missed: u64,
    /// Histories read to their end, and how long that took in all.
    pub reads: u64,
    pub read_ns: u64,
}

impl Counts {
    /// Something that moves whenever the router delivers anything.
    pub const fn progress(&self) -> u64 {
        self.events + self.results + self.invocations + self.acknowledged + self.progressive_results
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.joined += other.joined;
        self.left += other.left;
        self.ready += other.ready;
        self.publications += other.publications;
        self.asking += other.asking;
        self.acknowledged += other.acknowledged;
        self.events += other.events;
        self.event_bytes += other.event_bytes;
        self.counted_events += other.counted_events;
        self.calls += other.calls;
        self.results += other.results;
        self.invocations += other.invocations;
        self.progressive_results += other.progressive_results;
        self.resubscriptions += other.resubscriptions;
        self.received_bytes += other.received_bytes;
        self.evicted += other.evicted;
        self.returned += other.returned;
        self.missed += other.missed;
        self.reads += other.reads;
        self.read_ns += other.read_ns;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

impl Board {
    /// One in `event_stride` events gives a latency.
    pub fn new(clock: Clock, part: Part, windows: Vec<Window>, event_stride: u32) -> Self {
        Self {
            clock,
            part,
            counts: Counts::default(),
            tally: Tally::default(),
            windows,
            opened: Vec::new(),
            abroad: Vec::new(),
            sending: false,
            measured_ns: (u64::MAX, 0),
            events: Recorder::new(event_stride),
            calls: Recorder::new(1),
            acknowledgements: Recorder::new(1),
            joins: Recorder::new(1),
            returns: Recorder::new(1),
            lag: Recorder::new(1),
            text: Vec::new(),
            arriving: Arriving::default(),
            delivery_bytes: 0,
            last_error: None,
        }
    }

    /// A publisher's window may have room.
    pub fn note_opened(&mut self, number: u32) {
        if self.part.thread_of(number) == self.part.thread {
            self.opened.push(number);
        } else {
            self.abroad.push(number);
        }
    }

    /// Takes in what another thread's board says, for the report.
    pub fn add(&mut self, other: Self) {
        self.counts += other.counts;
        self.tally += other.tally;
        self.events.add(&other.events);
        self.calls.add(&other.calls);
        self.acknowledgements.add(&other.acknowledgements);
        self.joins.add(&other.joins);
        self.returns.add(&other.returns);
        self.lag.add(&other.lag);
        self.delivery_bytes = self.delivery_bytes.max(other.delivery_bytes);
        self.last_error = self.last_error.take().or(other.last_error);
    }

    /// Nanoseconds since the run's clock was started.
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    pub const fn measures(&self, sent_ns: u64) -> bool {
        sent_ns >= self.measured_ns.0 && sent_ns < self.measured_ns.1
    }

    /// An EVENT or RESULT is at hand.
    pub const fn note_delivery(&mut self) {
        self.delivery_bytes = self.arriving.message_bytes;
    }

    pub const fn count_event(&mut self) {
        self.note_delivery();
        self.counts.events += 1;
        self.counts.event_bytes += self.arriving.wire_bytes as u64;
    }

    pub fn record_event(&mut self, sent_ns: u64, now_ns: u64) {
        if self.measures(sent_ns) {
            self.events.record(now_ns.saturating_sub(sent_ns));
        }
    }

    pub fn record_call(&mut self, sent_ns: u64, now_ns: u64) {
        if self.measures(sent_ns) {
            self.calls.record(now_ns.saturating_sub(sent_ns));
        }
    }

    pub fn record_acknowledgement(&mut self, sent_ns: u64, now_ns: u64) {
        if self.measures(sent_ns) {
            self.acknowledgements.record(now_ns.saturating_sub(sent_ns));
        }
    }

    pub fn record_lag(&mut self, due_ns: u64, now_ns: u64) {
        if self.measures(due_ns) {
            self.lag.record(now_ns.saturating_sub(due_ns));
        }
    }

    pub fn note_error(&mut self, text: String) {
        self.tally.errors += 1;
        self.last_error = Some(text);
    }

    /// Events that every counted subscriber of this thread must have received by the end.
    pub fn owed_events(&self) -> u64 {
        let owed = |window: &Window| u64::from(window.sent()) * u64::from(window.receivers());
        self.windows.iter().map(owed).sum()
    }

    /// True when nothing is under way any more.
    pub fn is_drained(&self) -> bool {
        let Counts { counted_events, results, calls, asking, acknowledged, .. } = self.counts;
        counted_events >= self.owed_events() && results >= calls && acknowledged >= asking
    }
}

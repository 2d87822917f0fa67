//! What operators see of messages while they pass: a bounded number of traces, each of those
//! messages that its filter is about.
//!
//! Nobody traces, mostly: then a message pays one look at [`Traces::are_on`], and the rest of this
//! room does not run. A trace ends with its time, or when nobody has asked for it for some time.

mod delivery;
mod filter;
mod follow;
mod inbound;
mod outbound;
mod record;
mod watch;

use std::sync::Arc;

use super::Shard;
use super::connection::Connection;
use crate::clock::Millis;
use crate::router::{Destinations, Slot};
use crate::wamp::PublicationId;
use filter::{Party, Subject};
use follow::{Followed, Known, stated};
use inbound::AtHand;
use watch::Watch;

pub(super) use delivery::{Nobody, Onlooker};
pub use filter::TraceFilter;
pub(super) use outbound::Sent;
pub use record::{About, Direction, MOST_TEXT_BYTES, TraceRecord, TracedRule, UNREADABLE, Verdict};
pub use watch::{Delivered, TraceHaul, TraceRequest};

/// The traces that a shard knows of.
#[derive(Debug, Default)]
pub(super) struct Traces {
    running: Option<Box<Running>>,
    /// The traces that the PUBLISH at hand is kept for, as bits: its events carry them, so that
    /// other shards say how many have got it.
    pub(super) mark: u8,
    /// What was last handed to those who receive it. Written whether somebody traces or not, which
    /// is less than asking.
    pub(super) published: Option<(PublicationId, Destinations)>,
    /// The INVOCATION that is being made is the router's own question. Written as above.
    pub(super) is_routers_question: bool,
}

#[derive(Debug, Default)]
struct Running {
    /// By [`TraceRequest::place`].
    watches: [Option<Watch>; MOST_TRACES],
    /// The message that is being handled.
    at_hand: Option<AtHand>,
    followed: Followed,
    known: Known,
}

impl Traces {
    /// Whether somebody traces.
    #[inline]
    pub(super) const fn are_on(&self) -> bool {
        self.running.is_some()
    }

    /// When the next one is over, unless it is asked for again.
    pub(super) fn next_end(&self) -> Option<Millis> {
        self.running.as_ref()?.watches.iter().flatten().map(Watch::ends_at).min()
    }

    /// Forgets those that are over.
    #[cold]
    pub(super) fn expire(&mut self, now: Millis) {
        self.retain(|watch| now < watch.ends_at());
    }

    fn retain(&mut self, keep: impl Fn(&Watch) -> bool) {
        let Some(running) = &mut self.running else { return };
        for watch in &mut running.watches {
            watch.take_if(|watch| !keep(watch));
        }
        if running.watches.iter().all(Option::is_none) {
            (self.running, self.mark) = (None, 0);
        }
    }

    /// Who is in a slot is about to be forgotten there: there may be last words to it.
    #[cold]
    pub(super) fn remember(&mut self, slot: Slot, connection: &Connection) {
        let (Some(running), Some(party)) = (&mut self.running, stated(connection)) else { return };
        if running.watches.iter().flatten().any(|watch| watch.request.filter.is_of(&party)) {
            running.known.note(slot, connection.generation, &party);
        }
    }

    /// Bytes of what is kept until it is fetched.
    fn kept_bytes(&self) -> usize {
        let watches = self.running.iter().flat_map(|running| &running.watches);
        watches.flatten().map(Watch::kept_bytes).sum()
    }
}

impl Running {
    /// The traces that a message of such a client about this is for, as bits.
    fn wanted(&self, party: &Party<'_>, subject: Subject<'_>) -> u8 {
        self.mask(|watch| {
            let filter = &watch.request.filter;
            filter.is_about(subject) && filter.is_of(party)
        })
    }

    fn mask(&self, is_wanted: impl Fn(&Watch) -> bool) -> u8 {
        let bits = self.watches.iter().enumerate();
        let wanted = |(place, watch): (usize, &Option<Watch>)| {
            let is_wanted = watch.as_ref().is_some_and(&is_wanted);
            u8::from(is_wanted) << place
        };
        bits.map(wanted).fold(0, |mask, bit| mask | bit)
    }

    fn count(&self) -> usize {
        self.watches.iter().flatten().count()
    }

    /// The traces among `wanted` that may keep one more, each with the number of the message.
    fn admit(&mut self, wanted: u8, now: Millis) -> Admitted {
        let mut admitted = Admitted::default();
        for (place, watch) in self.watches.iter_mut().enumerate() {
            if wanted >> place & 1 == 1 {
                admitted.0[place] = watch.as_mut().and_then(|watch| watch.admit(now));
            }
        }
        admitted
    }

    /// Bytes of payload that the most curious of these traces keeps.
    fn payload_bytes(&self, admitted: Admitted) -> usize {
        let pairs = self.watches.iter().zip(admitted.0);
        let wanted = pairs.filter(|(_, number)| number.is_some());
        wanted
            .filter_map(|(watch, _)| Some(watch.as_ref()?.request.payload_bytes))
            .max()
            .unwrap_or(0)
    }

    fn keep(&mut self, record: &TraceRecord, admitted: Admitted) {
        for (watch, number) in self.watches.iter_mut().zip(admitted.0) {
            if let (Some(watch), Some(number)) = (watch, number) {
                watch.keep(record.clone(), number);
            }
        }
    }
}

/// The traces that keep a message, each with the number that it has there.
#[derive(Clone, Copy, Debug, Default)]
struct Admitted([Option<u64>; MOST_TRACES]);

impl Admitted {
    fn mask(self) -> u8 {
        let bits = self.0.iter().enumerate();
        bits.fold(0, |mask, (place, number)| mask | u8::from(number.is_some()) << place)
    }

    fn is_nobody(self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl Shard {
    /// What a trace has here since this was last asked. Begins with it if it is not known; it ends
    /// in `left_ms` at the latest.
    pub fn fetch_trace(
        &mut self,
        request: &Arc<TraceRequest>,
        left_ms: u64,
        now: Millis,
    ) -> TraceHaul {
        let place = usize::from(request.place);
        debug_assert!(place < MOST_TRACES, "whoever numbers traces bounds them");
        let Some(watch) = self.cx.traces.running.get_or_insert_default().watches.get_mut(place)
        else {
            return TraceHaul::default();
        };
        let is_known = watch.as_ref().is_some_and(|it| it.request.number == request.number);
        if !is_known {
            *watch = Some(Watch::new(Arc::clone(request), left_ms, now));
        }
        let haul = watch.as_mut().map(|watch| watch.take(now)).unwrap_or_default();
        TraceHaul { is_beginning: !is_known, ..haul }
    }

    /// Forgets a trace.
    pub fn end_trace(&mut self, number: u64) {
        self.cx.traces.retain(|watch| watch.request.number != number);
    }

    /// Whether somebody traces here.
    pub const fn is_traced(&self) -> bool {
        self.cx.traces.are_on()
    }

    /// Bytes that traces keep here until they are fetched.
    pub fn traced_bytes(&self) -> usize {
        self.cx.traces.kept_bytes()
    }
}

/// Traces that may run at once.
pub const MOST_TRACES: usize = 4;

/// Bytes that a shard keeps for one trace until it is fetched.
pub const MOST_KEPT_BYTES: usize = 256 * 1024;

/// Counts of receivers that a shard keeps for one trace until it is fetched.
const MOST_DELIVERED: usize = 1_024;

/// How long a shard keeps a trace that nobody asks for, in milliseconds.
pub const PATIENCE_MS: u64 = 5_000;

/// What it costs to look whether a message is wanted, for each trace, in units of work.
const LOOK_UNITS: usize = 1;

/// What it costs to note a message besides its payload, in units of work.
const RECORD_UNITS: usize = 16;

//! How fast a session may send: who sends more is read later, or ended, as its role says.
//!
//! What a connection has sent counts on when a session follows another on it: else GOODBYE and
//! HELLO would be a way around. While it waits nothing that it does not say is held against it.

use super::Shard;
use crate::authorization::{OverRate, Rates};
use crate::clock::Millis;
use crate::rate::{Bucket, Rate};
use crate::router::{EndReason, Slot};
use crate::transport::CloseCode;
use crate::wamp::WampError;

/// What a session may send, and what it has sent of late.
#[derive(Debug)]
pub(super) struct Meter {
    rates: Rates,
    messages: Bucket,
    bytes: Bucket,
    /// Until when nothing more is dealt with.
    pub(super) paced_until: Option<Millis>,
    /// The log knows that the session sends too much.
    is_logged: bool,
}

impl Meter {
    fn new(rates: Rates) -> Self {
        let (messages, bytes) = (Bucket::default(), Bucket::default());
        Self { rates, messages, bytes, paced_until: None, is_logged: false }
    }

    /// Whether nothing more may come now.
    fn is_used_up(&self, now: Millis) -> bool {
        let Rates { messages, bytes, .. } = self.rates;
        let is_used_up = |rate: Option<Rate>, bucket: Bucket| {
            rate.is_some_and(|rate| bucket.ready_at(rate, now).is_some())
        };
        is_used_up(messages, self.messages) || is_used_up(bytes, self.bytes)
    }

    /// Counts a frame. Returns when the next one may come, if that is later.
    fn count(&mut self, frame_bytes: usize, now: Millis) -> Option<Millis> {
        let Rates { messages, bytes, .. } = self.rates;
        let mut ready_at = None;
        for (rate, bucket, amount) in
            [(messages, &mut self.messages, 1), (bytes, &mut self.bytes, frame_bytes as u64)]
        {
            if let Some(rate) = rate {
                bucket.take(rate, amount, now);
                ready_at = ready_at.max(bucket.ready_at(rate, now));
            }
        }
        ready_at
    }
}

impl Shard {
    /// A session begins: how fast it may send.
    pub(super) fn set_rates(&mut self, slot: Slot, rates: Option<Rates>) {
        let meter = &mut self.connections[slot].input.meter;
        match (meter, rates) {
            (meter, None) => *meter = None,
            (Some(meter), Some(rates)) => meter.rates = rates,
            (meter, Some(rates)) => *meter = Some(Box::new(Meter::new(rates))),
        }
    }

    /// The rates of a session have changed.
    pub(super) fn change_rates(&mut self, slot: Slot, rates: Option<Rates>) {
        let is_paced = self.connections[slot].input.paced_until().is_some();
        self.set_rates(slot, rates);
        // Who may send as it likes waits no more.
        if is_paced && rates.is_none() {
            self.connections.wake(slot);
        }
    }

    /// Counts a frame of a connection that has a meter. `false` if that has ended its session.
    #[inline(never)]
    pub(super) fn meter_frame(&mut self, slot: Slot, frame_bytes: usize, now: Millis) -> bool {
        let connection = &mut self.connections[slot];
        let session = connection.session_id;
        let Some(meter) = &mut connection.input.meter else { return true };
        let ends = meter.rates.over == OverRate::End && session.is_some();
        let is_over = ends && meter.is_used_up(now);
        let Some(ready_at) = meter.count(frame_bytes, now) else { return true };
        if ends && !is_over {
            return true;
        }
        if !meter.is_logged && self.cx.log_budget.allow(now) {
            meter.is_logged = true;
            let (peer, session) = (connection.peer, session.map(|session| session.get()));
            tracing::info!(session, %peer, "this session sends more than its role may");
        }
        if is_over {
            self.end_over_rate(slot, now);
            return false;
        }
        meter.paced_until = Some(ready_at);
        self.cx.counters.sessions_paced.increment();
        self.rearm(slot, now);
        true
    }

    fn end_over_rate(&mut self, slot: Slot, now: Millis) {
        self.cx.counters.sessions_over_rate.increment();
        self.end_session(slot, EndReason::OverRate, now);
        let message = "this session sends more than its role may";
        self.abort(slot, WampError::ResourceLimit, message, CloseCode::Policy, now);
    }

    /// The time has come to deal with what a session has sent since.
    pub(super) fn go_on_reading(&mut self, slot: Slot) {
        let input = &mut self.connections[slot].input;
        if input.end_pause() {
            self.connections.wake(slot);
        }
    }
}

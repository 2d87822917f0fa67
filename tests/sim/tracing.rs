//! Operators who trace while clients do what they do: traces begin, are fetched or forgotten, and
//! end. What clients see must not depend on it, and a trace of everything misses nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stentor::net::Snapshot;
use stentor::shard::{
    Direction, MOST_KEPT_BYTES, MOST_TRACES, TraceFilter, TraceHaul, TraceRequest,
};
use stentor::wamp::SessionId;

use super::plan::pick;
use super::world::World;

/// The traces of a run. What they are is drawn apart from what else happens in it.
pub(crate) struct Tracers {
    rng: StdRng,
    /// How often one begins or ends in a step; zero: never.
    chance: f64,
    last_number: u64,
    /// By place.
    running: [Option<Arc<TraceRequest>>; MOST_TRACES],
    /// Of the trace of everything, which has the first place.
    seen: Seen,
}

/// What the trace of everything has seen, and what there was.
#[derive(Default)]
struct Seen {
    began: Snapshot,
    received: u64,
    events: u64,
}

impl Tracers {
    /// Half of the runs have some.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(3) ^ 0x7ACE);
        let chance = *pick(&mut rng, &[0.0, 0.0, 0.02, 0.2]);
        Self::with(rng, chance)
    }

    /// None, or as many as may be from the beginning on.
    pub(crate) fn always(is_on: bool) -> Self {
        Self::with(StdRng::seed_from_u64(1), if is_on { 1.0 } else { 0.0 })
    }

    fn with(rng: StdRng, chance: f64) -> Self {
        let running = [const { None }; MOST_TRACES];
        Self { rng, chance, last_number: 0, running, seen: Seen::default() }
    }

    pub(crate) const fn may_run(&self) -> bool {
        self.chance > 0.0
    }

    /// The process has ended, and all traces with it.
    pub(crate) fn forget(&mut self) {
        self.running = [const { None }; MOST_TRACES];
    }
}

impl World {
    /// Begins and ends traces, and looks at what there is to be seen.
    pub(crate) fn trace(&mut self) {
        if !self.tracers.may_run() {
            return;
        }
        for place in 0..MOST_TRACES {
            let is_changed = self.tracers.rng.random_bool(self.tracers.chance / 4.0);
            match &self.tracers.running[place] {
                None if is_changed || self.tracers.chance == 1.0 => self.begin_trace(place),
                Some(_) if is_changed => self.end_trace(place),
                Some(request) if place == 0 => {
                    let request = Arc::clone(request);
                    self.see_everything(&request);
                }
                // Others are fetched now and then, or forgotten.
                Some(request) if self.tracers.rng.random_bool(0.1) => {
                    let request = Arc::clone(request);
                    let haul = self.net.fetch_trace(&request, LEFT_MS);
                    self.check_haul(&request, &haul);
                }
                _ => {}
            }
        }
        for shard in 0..self.plan.shards {
            let kept = self.net.shard(shard).traced_bytes();
            assert!(kept <= MOST_TRACES * MOST_KEPT_BYTES, "{kept} B are kept for traces");
        }
    }

    pub(crate) fn end_traces(&mut self) {
        for place in 0..MOST_TRACES {
            self.end_trace(place);
        }
        self.tracers.chance = 0.0;
    }

    fn begin_trace(&mut self, place: usize) {
        let filter = if place == 0 { TraceFilter::default() } else { self.draw_filter() };
        let rng = &mut self.tracers.rng;
        let rate = if place == 0 { u32::MAX } else { *pick(rng, &[1, 50, 1_000]) };
        let payload_bytes = *pick(rng, &[0, 0, 5, 4_096]);
        self.tracers.last_number += 1;
        let number = self.tracers.last_number;
        let request = TraceRequest {
            number,
            place: u8::try_from(place).expect("few"),
            filter,
            rate,
            payload_bytes,
            order: AtomicU64::default(),
        };
        let request = Arc::new(request);
        let haul = self.net.fetch_trace(&request, LEFT_MS);
        assert!(haul.records.is_empty() && haul.left_out == 0, "it has just begun");
        if place == 0 {
            let began = self.net.router.snapshot();
            self.tracers.seen = Seen { began, ..Seen::default() };
        }
        self.tracers.running[place] = Some(request);
        self.log.count("a trace begins");
    }

    fn end_trace(&mut self, place: usize) {
        if let Some(request) = self.tracers.running[place].take() {
            self.net.end_trace(request.number);
            self.log.count("a trace ends");
        }
    }

    fn draw_filter(&mut self) -> TraceFilter {
        let c = self.tracers.rng.random_range(0..self.clients.len());
        let any = TraceFilter::default;
        match self.tracers.rng.random_range(0..4) {
            0 => TraceFilter { session: SessionId::new(self.clients[c].session.id), ..any() },
            1 => TraceFilter { realm: Some("realm2".into()), ..any() },
            2 => TraceFilter { uri: Some("com.a".into()), ..any() },
            _ => TraceFilter { uri: Some("wamp.".into()), ..any() },
        }
    }

    /// Each message that came in, and each event that was queued, is seen once.
    fn see_everything(&mut self, request: &Arc<TraceRequest>) {
        let haul = self.net.fetch_trace(request, LEFT_MS);
        self.check_haul(request, &haul);
        assert_eq!((haul.left_out, haul.lost), (0, 0), "nothing is left out");
        let received = |record: &&stentor::shard::TraceRecord| {
            record.direction == Direction::In && !record.again
        };
        let events = haul.records.iter().filter(|it| it.message == "event");
        let seen = &mut self.tracers.seen;
        seen.received += haul.records.iter().filter(received).count() as u64;
        seen.events += events.filter(|it| it.dropped.is_none()).count() as u64;
        let now = self.net.router.snapshot();
        let there_were = now.messages_received - seen.began.messages_received;
        assert_eq!(seen.received, there_were, "each message is seen");
        let there_were = now.events_delivered - seen.began.events_delivered;
        assert_eq!(seen.events, there_were, "each event is seen");
    }

    fn check_haul(&mut self, request: &TraceRequest, haul: &TraceHaul) {
        for record in &haul.records {
            let is_of = request.filter.session.is_none_or(|id| record.session == Some(id.get()));
            let in_realm = request.filter.realm.as_ref();
            assert!(
                in_realm.is_none_or(|realm| record.realm.as_ref() == Some(realm)),
                "{record:?}"
            );
            assert!(is_of, "{record:?}");
            let payload = record.payload.as_ref().map_or(0, |payload| payload.len());
            assert!(payload <= request.payload_bytes, "{record:?}");
            let about = [&record.about.uri, &record.about.error];
            let begins =
                |prefix: &str| about.into_iter().flatten().any(|text| text.starts_with(prefix));
            // The answers to what came belong to it.
            let is_answer = matches!(record.message, "abort" | "goodbye" | "welcome");
            assert!(request.filter.uri.as_deref().is_none_or(begins) || is_answer, "{record:?}");
            if let Some(decision) = record.decision {
                self.log.count(&format!("traced: {decision:?}"));
            }
            if record.dropped.is_some() {
                self.log.count("traced: dropped");
            }
        }
        if !haul.delivered.is_empty() {
            self.log.count("traced: delivered elsewhere or later");
        }
    }
}

/// Longer than a run.
const LEFT_MS: u64 = 3_600_000;

//! What is fixed for one run: how many shards and clients, which limits, which patience.

use rand::RngExt;
use rand::rngs::StdRng;
use stentor::authentication::AuthenticatorSettings;
use stentor::limits::{Limits, OutputLimits, SlowConsumerPolicy, Timeouts, TurnLimits};
use stentor::router::{
    CallerDisclosure, NodeIds, NodeNumber, PublisherDisclosure, RealmSettings, RequestIdCheck,
    Settings, UriGroup,
};
use stentor::wamp::Timestamp;

use crate::support::{Carrier, Link, Serializer};

pub(crate) struct Plan {
    pub(crate) shards: usize,
    pub(crate) clients: usize,
    pub(crate) settings: Settings,
    /// The rules of all realms; their names do not count.
    pub(crate) realm: RealmSettings,
    /// Limits on what a session holds are so low that they are met.
    pub(crate) tight_limits: bool,
    /// The budgets of output are so low that they are met at any time.
    pub(crate) tight_output: bool,
    /// What is accepted and not delivered soon is over its total.
    pub(crate) tight_held: bool,
    /// How often a REGISTER limits its invocations.
    pub(crate) concurrency: f64,
    /// How often a client drops, stalls or misbehaves in one step.
    pub(crate) trouble: f64,
    /// How often bytes lie unread when they have arrived.
    pub(crate) delay: f64,
    /// How often a poll tells of only some of the sockets that are ready.
    pub(crate) blindness: f64,
    /// Bytes that may wait at a shard or the store before those who feed it are not read.
    pub(crate) high_mark_bytes: usize,
    /// Many clients, all of which subscribe to the same topic.
    pub(crate) is_crowd: bool,
    /// Some messages are larger than what one read takes.
    pub(crate) is_large: bool,
    /// The run ends with a shutdown.
    pub(crate) shutdown: bool,
    /// The step in which the process ends.
    pub(crate) crash_step: Option<usize>,
    /// The step in which the shutdown begins, if it does not begin when everybody reads.
    pub(crate) shutdown_step: Option<usize>,
    /// The step in which a drain begins, and how many milliseconds it may take.
    pub(crate) drain: Option<(usize, u64)>,
    /// The same of a second order.
    pub(crate) second_drain: Option<(usize, u64)>,
}

/// The group of all URIs, whose counts are compared with the totals at the end.
fn everything() -> UriGroup {
    UriGroup { name: "everything".into(), ..UriGroup::default() }
}

impl Plan {
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        let tight_limits = rng.random_bool(0.3);
        let (is_crowd, is_large) = (rng.random_bool(0.12), rng.random_bool(0.1));
        let (tight_hard, tight_total) = (rng.random_bool(0.4), rng.random_bool(0.1));
        let mut settings = Settings {
            limits: limits(tight_limits, is_large, *pick(rng, &[0, 0, 0, 1_500])),
            output: output(rng, tight_hard, tight_total),
            timeouts: timeouts(rng),
            turn: turn(rng),
            request_ids: *pick(
                rng,
                &[
                    RequestIdCheck::Strict,
                    RequestIdCheck::Strict,
                    RequestIdCheck::Strict,
                    RequestIdCheck::Monotonic,
                    RequestIdCheck::Off,
                ],
            ),
            started: Timestamp::EPOCH,
            strict_roles: rng.random_bool(0.2),
            durable_retained: rng.random_bool(0.3),
            is_observed: tight_limits,
            clients: if tight_limits { vec!["wampy.js".into()] } else { Vec::new() },
            groups: if tight_limits { vec![everything()] } else { Vec::new() },
            node: None,
            visible_ms: 0,
            interest_bits: 4,
            claims: false,
            rosters: false,
            question_ms: 0,
        };
        let tight_held = rng.random_bool(0.15);
        settings.limits.history_answer_bytes = *pick(rng, &[3_000, 20_000]);
        if tight_held {
            settings.limits.held_total_bytes = *pick(rng, &[6_000, 20_000, 60_000]);
        }
        Self {
            shards: *pick(rng, &[1, 2, 3, 8]),
            clients: if is_crowd { rng.random_range(20..=30) } else { rng.random_range(3..=9) },
            settings,
            realm: realm(rng),
            tight_limits,
            tight_output: tight_hard || tight_total,
            tight_held,
            concurrency: *pick(rng, &[0.05, 0.1, 0.4]),
            trouble: *pick(rng, &[0.0, 0.005, 0.02, 0.06]),
            delay: *pick(rng, &[0.0, 0.3, 0.8]),
            blindness: *pick(rng, &[0.0, 0.1, 0.5]),
            high_mark_bytes: *pick(rng, &[usize::MAX, usize::MAX, 1_000, 10_000]),
            is_crowd,
            is_large,
            shutdown: rng.random_bool(0.25),
            crash_step: rng.random_bool(0.2).then(|| rng.random_range(200..1_000)),
            shutdown_step: rng.random_bool(0.5).then(|| rng.random_range(1_050..1_200)),
            drain: None,
            second_drain: None,
        }
    }

    /// Some runs end with a drain. What else happens in a run does not depend on this draw.
    pub(crate) fn draw_drain(&mut self, rng: &mut StdRng) {
        self.drain = rng.random_bool(0.2).then(|| draw_drain(rng));
        self.second_drain = rng.random_bool(0.3).then(|| draw_drain(rng));
    }

    /// In every third run the router is a node of a cluster, as far as its ids say.
    pub(crate) fn draw_node(&mut self, seed: u64) {
        let node = NodeNumber::new((seed % 128) as u8).expect("7 bits");
        self.settings.node = (seed % 3 == 2).then(|| NodeIds::new(node, u128::from(seed)));
    }

    /// In every fourth run clients wait for other nodes.
    pub(crate) fn draw_corks(&mut self, seed: u64) {
        let visible_ms = [3, 40, 250, 2_000][(seed / 4 % 4) as usize];
        self.settings.visible_ms = if seed % 4 == 1 { visible_ms } else { 0 };
    }

    /// In every fifth run registrations are claimed from other nodes.
    pub(crate) fn draw_claims(&mut self, seed: u64) {
        self.settings.claims = seed % 5 == 3;
    }

    /// In every fifth run other nodes are asked what they know of.
    pub(crate) fn draw_questions(&mut self, seed: u64) {
        let question_ms = [5, 100, 2_000][(seed / 5 % 3) as usize];
        self.settings.question_ms = if seed % 5 == 2 { question_ms } else { 0 };
    }

    /// The role of those who join without authentication.
    pub(crate) fn anonymous_role(&self) -> &str {
        self.realm.authenticators[0].anonymous_role()
    }

    /// More bytes than any frame has.
    pub(crate) const fn largest_frame_bytes(&self) -> usize {
        if self.is_large { 2 * LARGE_BYTES } else { LARGEST_FRAME_BYTES }
    }

    /// More bytes than any answer has: one of a history may consist of a single event.
    pub(crate) const fn largest_answer_bytes(&self) -> usize {
        let (most, frame) = (self.settings.limits.history_answer_bytes, self.largest_frame_bytes());
        let events = if most > frame { most } else { frame };
        events + ENVELOPE_BYTES
    }

    /// Whether meta events are lost now and then: for the slow, or as nobody could hold them.
    pub(crate) const fn loses_meta_events(&self) -> bool {
        self.drops_events() || self.tight_held
    }

    pub(crate) const fn drops_events(&self) -> bool {
        !matches!(self.settings.output.policy, SlowConsumerPolicy::Disconnect)
    }
}

pub(crate) fn pick<'a, T>(rng: &mut StdRng, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}

fn draw_drain(rng: &mut StdRng) -> (usize, u64) {
    (rng.random_range(700..1_190), *pick(rng, &[0, 20, 300, 2_000, 8_000]))
}

/// A client's transport: one in six takes little on RawSocket, half of the WebSockets have batches,
/// and half of them are compressed.
pub(crate) fn draw_link(rng: &mut StdRng) -> Link {
    let carrier = match rng.random_range(0..6) {
        0 => Carrier::RawSocket { exponent: SMALL_EXPONENT },
        1 | 2 => Carrier::RawSocket { exponent: 15 },
        _ => Carrier::WebSocket,
    };
    let separators = [None, None, Some(0x1E), Some(0x18)];
    let form = rng.random_range(0..2 * Serializer::ALL.len() * separators.len());
    let mut link = Link::new(carrier, Serializer::ALL[form / 2 / separators.len()]);
    link.separator = separators[form / 2 % separators.len()];
    link.deflate = form % 2 == 1 && carrier == Carrier::WebSocket;
    link
}

fn realm(rng: &mut StdRng) -> RealmSettings {
    let disclosures =
        [PublisherDisclosure::Allow, PublisherDisclosure::Forbid, PublisherDisclosure::Always];
    let of_callers = [CallerDisclosure::Allow, CallerDisclosure::Forbid, CallerDisclosure::Always];
    let anonymous_role = (*pick(rng, &["anonymous", "guest"])).to_owned();
    let mut realm = RealmSettings {
        admin_roles: if rng.random_bool(0.5) { vec![anonymous_role.clone()] } else { Vec::new() },
        access: super::permissions::draw(rng, &anonymous_role),
        authenticators: vec![AuthenticatorSettings::anonymous(anonymous_role)],
        publisher_disclosure: *pick(rng, &disclosures),
        caller_disclosure: *pick(rng, &of_callers),
        ..RealmSettings::default()
    };
    if rng.random_bool(0.7) {
        super::history::draw(rng, &mut realm);
    }
    realm
}

fn limits(tight: bool, large: bool, call_timeout_ms_max: u64) -> Limits {
    let (message_bytes, uri_bytes) = (if large { 256 * 1024 } else { 16 * 1024 }, 64);
    let mut limits = Limits { message_bytes, uri_bytes, call_timeout_ms_max, ..Limits::default() };
    if tight {
        limits.subscriptions_per_session = 3;
        limits.registrations_per_session = 2;
        limits.calls_per_session = 3;
        limits.invocations_per_session = 2;
        limits.history_answer_events = 8;
        limits.retained_events = 4;
        limits.retained_bytes = 3_000;
        limits.retained_per_subscribe = 2;
        limits.testaments_per_session = 2;
        limits.kept_bytes_per_realm = 6_000;
    }
    limits
}

fn output(rng: &mut StdRng, tight_hard: bool, tight_total: bool) -> OutputLimits {
    let mut output = OutputLimits { deflate_min_bytes: 80, ..OutputLimits::default() };
    if tight_hard {
        output.hard_bytes = rng.random_range(1_500..8_000);
        output.soft_bytes = output.hard_bytes / 2;
        output.soft_ms = 400;
        output.stall_ms = 1_200;
    }
    if tight_total {
        output.total_bytes = rng.random_range(3_000..10_000);
    }
    output.policy = *pick(
        rng,
        &[
            SlowConsumerPolicy::Disconnect,
            SlowConsumerPolicy::DropNewest,
            SlowConsumerPolicy::DropOldest,
        ],
    );
    output
}

fn timeouts(rng: &mut StdRng) -> Timeouts {
    Timeouts {
        handshake_ms: *pick(rng, &[2_000, 20_000]),
        authorizer_ms: 5_000,
        login_ms: 10_000,
        ping_interval_ms: *pick(rng, &[0, 300, 1_500, 3_000]),
        rawsocket_pings: rng.random_bool(0.5),
        ping_timeout_ms: *pick(rng, &[200, 1_000]),
        close_ms: 500,
        ..Timeouts::default()
    }
}

/// Turns are so short in some runs that everything is cut into pieces.
fn turn(rng: &mut StdRng) -> TurnLimits {
    let step_units = *pick(rng, &[20, 60, 20_000]);
    let limits = TurnLimits {
        read_bytes: *pick(rng, &[100, 1_000, 65_536]),
        step_units,
        turn_units: step_units * *pick(rng, &[1, 3]),
        arena_bytes: *pick(rng, &[500, 5_000, 20_000]),
        connections_written: *pick(rng, &[1, 3, 1_024]),
        connection_bytes: *pick(rng, &[300, 3_000, 1 << 20]),
        written_bytes: *pick(rng, &[1_000, 1 << 20]),
        ..TurnLimits::default()
    };
    let connections_closed = limits.connections_closed.min(limits.connections_written);
    TurnLimits { connections_closed, ..limits }
}

/// 1 KiB: enough for WELCOME, too little for the largest payloads.
const SMALL_EXPONENT: u8 = 1;

/// More bytes than a frame of this simulation has.
const LARGEST_FRAME_BYTES: usize = 5_000;

/// More than a RESULT and its frame take besides what is answered.
const ENVELOPE_BYTES: usize = 128;

/// Bytes of a payload that no read takes at once.
pub(crate) const LARGE_BYTES: usize = 100_000;

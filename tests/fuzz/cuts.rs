//! The same bytes in different pieces: what comes of them must not depend on how they were cut.

use stentor::transport::{TransportError, TransportRules};

use super::harness::{Connection, Event};

/// What came of some bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    /// Up to the end, if there was one: behind it bytes are thrown away as they come.
    pub(super) events: Vec<Event>,
    pub(super) reply: Vec<u8>,
    pub(super) error: Option<TransportError>,
}

/// Feeds `bytes` to connections that `make` makes: whole, byte by byte, and in pieces of several
/// lengths. What a connection holds is checked on the way.
pub(super) fn outcome(make: impl Fn() -> Connection, bytes: &[u8]) -> Outcome {
    let whole = feed(make(), [bytes].into_iter());
    let single = feed(make(), bytes.chunks(1));
    assert_eq!(single, whole, "byte by byte");
    for seed in [bytes.len(), 3] {
        assert_eq!(feed(make(), pieces(bytes, seed)), whole, "in pieces, drawn from {seed}");
    }
    whole
}

fn feed<'a>(mut connection: Connection, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut fed = 0;
    for piece in pieces {
        connection.feed(piece);
        fed += piece.len();
        let held = connection.transport.held_bytes();
        let limit = connection.rules.limit(connection.stage) + FRAGMENTS_BYTES;
        // A compressed batch is held as what it stands for.
        let is_of_what_came =
            connection.transport.is_deflated() || held <= 2 * fed + FRAGMENTS_BYTES;
        assert!(held <= limit && is_of_what_came, "{held} B held of {fed}");
    }
    let end = connection.events.iter().position(|event| *event == Event::Closed);
    connection.events.truncate(end.map_or(usize::MAX, |end| end + 1));
    Outcome { events: connection.events, reply: connection.reply, error: connection.error }
}

/// Pieces of 1 to 32 bytes, whose lengths follow from the seed and from what is in them.
fn pieces(mut bytes: &[u8], seed: usize) -> impl Iterator<Item = &[u8]> {
    let mut state = seed;
    std::iter::from_fn(move || {
        let first = *bytes.first()?;
        state = state.wrapping_mul(31).wrapping_add(usize::from(first));
        let (piece, rest) = bytes.split_at((1 + state % 32).min(bytes.len()));
        bytes = rest;
        Some(piece)
    })
}

/// Rules whose limits are met by short inputs.
pub(super) fn short_rules() -> TransportRules {
    TransportRules {
        message_bytes: MESSAGE_BYTES,
        hello_bytes: HELLO_BYTES,
        http_head_bytes: 600,
        ..TransportRules::default()
    }
}

pub(super) const MESSAGE_BYTES: usize = 700;
pub(super) const HELLO_BYTES: usize = 200;

/// What an unfinished message holds besides its bytes.
const FRAGMENTS_BYTES: usize = 64;

//! What was decided for a session, so that the next request of the kind pays a comparison.
//!
//! A table in which each request has one place, found by a few bytes of its URI: a session that
//! chooses its URIs so that they meet pays for its own misses, and nobody else does.

use super::settings::Action;
use crate::wamp::MatchPolicy;

/// Bounded: 64 decisions, 4 KiB of their URIs.
#[derive(Debug)]
pub struct Memory<D> {
    /// None, or a power of two.
    places: Vec<Option<Remembered<D>>>,
    bytes: usize,
}

#[derive(Debug)]
struct Remembered<D> {
    uri: Box<str>,
    question: Question,
    decision: D,
}

/// What is asked of a URI, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question(u8);

impl Question {
    const fn new(action: Action, policy: MatchPolicy) -> Self {
        Self(action as u8 | (policy as u8) << 2)
    }
}

impl<D> Default for Memory<D> {
    fn default() -> Self {
        Self { places: Vec::new(), bytes: 0 }
    }
}

impl<D: Copy> Memory<D> {
    /// What was decided, if it is remembered.
    #[inline]
    pub fn recall(&self, action: Action, uri: &str, policy: MatchPolicy) -> Option<D> {
        let question = Question::new(action, policy);
        let place = place_of(uri, question, self.places.len());
        match self.places.get(place) {
            Some(Some(found)) if found.question == question && *found.uri == *uri => {
                Some(found.decision)
            }
            _ => None,
        }
    }

    /// Remembers a decision, in place of another if there is no room.
    pub fn remember(&mut self, action: Action, uri: &str, policy: MatchPolicy, decision: D) {
        if uri.len() > MAX_URI_BYTES {
            return;
        }
        if self.bytes + uri.len() > MAX_BYTES {
            *self = Self::default();
        }
        let question = Question::new(action, policy);
        while self.places.len() < MAX_DECISIONS {
            let place = place_of(uri, question, self.places.len());
            if let Some(None) = self.places.get(place) {
                break;
            }
            self.grow();
        }
        let place = place_of(uri, question, self.places.len());
        let remembered = Remembered { uri: uri.into(), question, decision };
        self.bytes += uri.len();
        if let Some(forgotten) = self.places[place].replace(remembered) {
            self.bytes -= forgotten.uri.len();
        }
        debug_assert!(self.bytes <= MAX_BYTES && self.places.len() <= MAX_DECISIONS);
    }

    fn grow(&mut self) {
        let size = (2 * self.places.len()).max(MIN_PLACES);
        let mut places: Vec<Option<Remembered<D>>> = Vec::new();
        places.resize_with(size, || None);
        for remembered in std::mem::take(&mut self.places).into_iter().flatten() {
            let place = place_of(&remembered.uri, remembered.question, size);
            // Two that stood apart in fewer places do so in more.
            places[place] = Some(remembered);
        }
        self.places = places;
    }

    /// Decisions that are remembered, and the bytes of their URIs.
    pub fn size(&self) -> (usize, usize) {
        (self.places.iter().flatten().count(), self.bytes)
    }
}

/// Where a decision stands among `size` places. Mixes the end of the URI with its middle.
#[inline]
fn place_of(uri: &str, question: Question, size: usize) -> usize {
    let bytes = uri.as_bytes();
    let word = |at: usize| {
        let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    };
    let mixed = match bytes.len() {
        length @ 8.. => word(length - 8) ^ word((length - 8) / 2).rotate_left(29),
        _ => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let mixed = (mixed ^ u64::from(question.0)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // The high bits depend on all others. Fewer places take fewer of them.
    (mixed >> 57) as usize & size.wrapping_sub(1)
}

/// Decisions that one session remembers.
pub(super) const MAX_DECISIONS: usize = 64;

/// Bytes of their URIs.
pub(super) const MAX_BYTES: usize = 4096;

/// Longer URIs are decided about each time.
const MAX_URI_BYTES: usize = 256;

const MIN_PLACES: usize = 4;

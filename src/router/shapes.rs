//! Where patterns leave a URI open: the *shapes* in use, and the texts to look up for a URI.
//!
//! Only shapes that can match are visited: prefixes no longer than the URI, and wildcards of as
//! many components. How many that are is bounded for each URI, whatever is subscribed and
//! registered, since a new shape beyond the bound is refused ([`TooManyShapes`]).

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::hash::{HashSeed, Map};
use crate::wamp::MatchPolicy;

/// A wildcard pattern has at most this many components: one bit each in its shape.
pub const MAX_WILDCARD_COMPONENTS: usize = 128;

/// Why a pattern is refused: it would be one shape too many for the URIs that it can match.
///
/// Never for a prefix of up to 256 bytes or a wildcard of up to 8 components, nor for a longer one
/// that leaves few open: 4 of 9, 3 of 11, 2 of 22, or any one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyShapes;

/// Where a pattern leaves a URI open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Open behind this many bytes.
    Prefix(usize),
    /// So many components; the open ones as bits, the first component in the highest bit. So of
    /// two masks the smaller one has the longer literal run where they differ first.
    Wildcard { components: usize, open: u128 },
}

impl Shape {
    /// `None` for an exact pattern: it leaves nothing open.
    pub(super) fn of(pattern: &str, policy: MatchPolicy) -> Option<Self> {
        match policy {
            MatchPolicy::Exact => None,
            MatchPolicy::Prefix => Some(Self::Prefix(pattern.len())),
            MatchPolicy::Wildcard => {
                let (mut components, mut open) = (0, 0);
                for component in pattern.split('.') {
                    debug_assert!(components < MAX_WILDCARD_COMPONENTS, "checked by the handler");
                    open |= u128::from(component.is_empty()) << (127 - components % 128);
                    components += 1;
                }
                Some(Self::Wildcard { components, open })
            }
        }
    }
}

impl Shape {
    /// Whether a pattern can have it: not if it has more components than are looked at, or more
    /// open than there are.
    pub fn is_possible(self) -> bool {
        match self {
            Self::Prefix(_) => true,
            Self::Wildcard { components, open } => {
                let is_some = (1..=MAX_WILDCARD_COMPONENTS).contains(&components);
                is_some && open.trailing_zeros() as usize >= MAX_WILDCARD_COMPONENTS - components
            }
        }
    }
}

/// Who asks for a new shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Client,
    /// What the configuration names is never refused.
    Configuration,
}

/// The shapes in use. A shape counts its entries and the updates under way.
#[derive(Debug)]
pub(super) struct Shapes {
    /// Lets a lookup in a table without patterns skip everything else.
    count: AtomicUsize,
    /// Lengths in bytes, the longest first.
    prefixes: Listed<Reverse<usize>>,
    /// Masks by number of components.
    wildcards: Box<[Listed<u128>]>,
    uses: Mutex<Map<Shape, usize>>,
}

impl Shapes {
    pub(super) fn new(seed: &HashSeed) -> Self {
        Self {
            count: AtomicUsize::new(0),
            prefixes: Listed::default(),
            wildcards: (0..=MAX_WILDCARD_COMPONENTS).map(|_| Listed::default()).collect(),
            uses: Mutex::new(seed.map()),
        }
    }

    /// Calls `visit` with the text of every pattern of a shape in use that would match `uri`, until
    /// it answers: from long to short prefixes, then wildcards by the length of their literal runs,
    /// the longest first run first. That is the specification's order of precedence (AP-PBR-04).
    #[inline]
    pub(super) fn find<R>(
        &self,
        uri: &str,
        visit: impl FnMut(MatchPolicy, &str) -> Option<R>,
    ) -> Option<R> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.find_pattern(uri, visit)
    }

    /// How many patterns [`Self::find`] visits at most.
    #[inline]
    pub(super) fn visits(&self, uri: &str) -> usize {
        if self.count.load(Ordering::Acquire) == 0 { 0 } else { self.count_visits(uri) }
    }

    fn count_visits(&self, uri: &str) -> usize {
        let prefixes = self.prefixes.0.load().as_ref().map_or(0, |lengths| {
            lengths.len() - lengths.partition_point(|Reverse(length)| *length > uri.len())
        });
        let components = uri.bytes().filter(|byte| *byte == b'.').count() + 1;
        let masks = self.wildcards.get(components).map(|masks| masks.0.load());
        let masks = masks.and_then(|masks| masks.as_ref().map(|masks| masks.len()));
        prefixes + masks.unwrap_or(0)
    }

    fn find_pattern<R>(
        &self,
        uri: &str,
        mut visit: impl FnMut(MatchPolicy, &str) -> Option<R>,
    ) -> Option<R> {
        if let Some(lengths) = &*self.prefixes.0.load() {
            let fitting = lengths.partition_point(|Reverse(length)| *length > uri.len());
            for Reverse(length) in &lengths[fitting..] {
                // A prefix never cuts a character.
                let Some(prefix) = uri.get(..*length) else { continue };
                if let Some(found) = visit(MatchPolicy::Prefix, prefix) {
                    return Some(found);
                }
            }
        }
        let components = uri.bytes().filter(|byte| *byte == b'.').count() + 1;
        let masks = self.wildcards.get(components)?.0.load();
        let components: SmallVec<[&str; 16]> = uri.split('.').collect();
        let mut pattern = String::with_capacity(uri.len());
        for open in masks.as_ref()?.iter() {
            pattern.clear();
            for (position, component) in components.iter().enumerate() {
                if position > 0 {
                    pattern.push('.');
                }
                if (open << position) >> 127 == 0 {
                    pattern.push_str(component);
                }
            }
            if let Some(found) = visit(MatchPolicy::Wildcard, &pattern) {
                return Some(found);
            }
        }
        None
    }

    /// Makes a shape visible, and holds it until as many releases.
    pub(super) fn acquire(&self, shape: Option<Shape>, asker: Asker) -> Result<(), TooManyShapes> {
        let Some(shape) = shape else { return Ok(()) };
        let mut uses = self.uses.lock();
        if let Some(count) = uses.get_mut(&shape) {
            *count += 1;
            return Ok(());
        }
        match shape {
            Shape::Prefix(length) => {
                let is_free = |Reverse(length): &Reverse<usize>| *length <= FREE_LENGTH;
                self.prefixes.insert(Reverse(length), asker, is_free)?;
            }
            Shape::Wildcard { components, open } => {
                let is_free = |open: &u128| is_free(components, open.count_ones());
                self.wildcards[components].insert(open, asker, is_free)?;
            }
        }
        uses.insert(shape, 1);
        self.count.store(uses.len(), Ordering::Release);
        Ok(())
    }

    pub(super) fn release(&self, shape: Option<Shape>, times: usize) {
        let Some(shape) = shape.filter(|_| times > 0) else { return };
        let mut uses = self.uses.lock();
        let count = uses.get_mut(&shape).expect("a shape is released only while it is held");
        *count -= times;
        if *count > 0 {
            return;
        }
        uses.remove(&shape);
        match shape {
            Shape::Prefix(length) => self.prefixes.remove(&Reverse(length)),
            Shape::Wildcard { components, open } => self.wildcards[components].remove(&open),
        }
        self.count.store(uses.len(), Ordering::Release);
    }

    /// The uses of all shapes together.
    pub(super) fn use_count(&self) -> usize {
        self.uses.lock().values().sum()
    }
}

/// Shapes of one kind in their order; changed under the lock of [`Shapes::uses`], read without.
#[derive(Debug)]
struct Listed<T>(ArcSwapOption<Vec<T>>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(ArcSwapOption::empty())
    }
}

impl<T: Copy + Ord> Listed<T> {
    /// Enters a shape that is not in the list, if it is free or there is room for one that is not.
    fn insert(
        &self,
        shape: T,
        asker: Asker,
        is_free: impl Fn(&T) -> bool,
    ) -> Result<(), TooManyShapes> {
        let mut list = self.0.load().as_deref().cloned().unwrap_or_default();
        let taken = || list.iter().filter(|listed| !is_free(listed)).count();
        if asker == Asker::Client && !is_free(&shape) && taken() >= POOL {
            return Err(TooManyShapes);
        }
        let place = list.partition_point(|listed| *listed < shape);
        list.insert(place, shape);
        self.0.store(Some(Arc::new(list)));
        Ok(())
    }

    fn remove(&self, shape: &T) {
        let mut list = self.0.load().as_deref().cloned().unwrap_or_default();
        list.retain(|listed| listed != shape);
        self.0.store((!list.is_empty()).then(|| Arc::new(list)));
    }
}

/// Whether a wildcard shape is one of the `FREE_SHAPES` of its number of components that leave the
/// fewest open: so many may always be in use, so nobody can take them from others.
fn is_free(components: usize, open: u32) -> bool {
    let (mut of_this_many, mut of_up_to) = (1, 1);
    for open in 1..=open as usize {
        // Binomial coefficients; none of them is beyond the bound times the components.
        of_this_many = of_this_many * (components + 1 - open) / open;
        of_up_to += of_this_many;
        if of_up_to > FREE_SHAPES {
            return false;
        }
    }
    true
}

/// All shapes of up to 8 components; of 9 those with up to 4 open ones, of 23 and more with one.
const FREE_SHAPES: usize = 256;

/// Bytes of the prefixes whose lengths may all be in use at once.
const FREE_LENGTH: usize = 256;

/// Other shapes that may be in use at once: of prefixes, and of wildcards of as many components.
const POOL: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many texts are looked up for `uri`.
    fn visits(shapes: &Shapes, uri: &str) -> usize {
        let mut visits = 0;
        shapes.find::<()>(uri, |_, _| {
            visits += 1;
            None
        });
        assert_eq!(visits, shapes.visits(uri));
        visits
    }

    fn acquire(shapes: &Shapes, pattern: &str, policy: MatchPolicy) -> Result<(), TooManyShapes> {
        shapes.acquire(Shape::of(pattern, policy), Asker::Client)
    }

    /// A pattern of so many components, open where `mask` has a bit.
    fn wildcard(components: usize, mask: u128) -> String {
        let component = |at: usize| if mask & (1 << at) == 0 { "a" } else { "" };
        (0..components).map(component).collect::<Vec<_>>().join(".")
    }

    fn topic(components: usize) -> String {
        vec!["a"; components].join(".")
    }

    /// What one client subscribes to costs publishers to other topics nothing, and those to
    /// topics like its patterns a bounded number of look-ups.
    #[test]
    fn a_topic_costs_a_bounded_number_of_look_ups() {
        let shapes = Shapes::new(&HashSeed::new(1));
        let mut refused = 0;
        for mask in 0..10_000 {
            let outcome = acquire(&shapes, &wildcard(14, mask), MatchPolicy::Wildcard);
            refused += usize::from(outcome.is_err());
        }
        assert!(refused > 9_000, "10,000 shapes of 14 components are too many");
        assert_eq!(visits(&shapes, "com.example.topic"), 0, "others do not notice");
        assert!(visits(&shapes, &topic(14)) <= FREE_SHAPES + POOL);
        for length in 0..2_000 {
            let _ = acquire(&shapes, &"x".repeat(length), MatchPolicy::Prefix);
        }
        assert_eq!(visits(&shapes, "com.example.topic"), 18, "prefixes of up to 17 bytes");
        assert_eq!(visits(&shapes, &"x".repeat(3_000)), FREE_LENGTH + 1 + POOL);
    }

    /// A client that takes all there is leaves the shapes of plain use to the others.
    #[test]
    fn common_shapes_are_never_refused() {
        let shapes = Shapes::new(&HashSeed::new(1));
        for components in 1..=20 {
            for mask in (0..1_u128 << components).rev().take(5_000) {
                let _ = acquire(&shapes, &wildcard(components, mask), MatchPolicy::Wildcard);
            }
        }
        for mask in 0..256 {
            assert_eq!(acquire(&shapes, &wildcard(8, mask), MatchPolicy::Wildcard), Ok(()));
        }
        for (components, open) in [(9, 0b1111), (12, 0b11), (20, 0b101), (128, 1 << 63)] {
            let pattern = wildcard(components, open);
            assert_eq!(acquire(&shapes, &pattern, MatchPolicy::Wildcard), Ok(()), "{pattern}");
        }
        let rare = wildcard(20, 0b1111_0000);
        assert_eq!(acquire(&shapes, &rare, MatchPolicy::Wildcard), Err(TooManyShapes));
        assert!((1..=20).all(|count| visits(&shapes, &topic(count)) <= FREE_SHAPES + POOL));
    }

    /// A shape in use is joined by anyone, also when the pool is empty, and its place is given
    /// back with its last use.
    #[test]
    fn a_place_in_the_pool_is_given_back() {
        let shapes = Shapes::new(&HashSeed::new(1));
        let long = |length: usize| acquire(&shapes, &"x".repeat(length), MatchPolicy::Prefix);
        let lengths: Vec<usize> = (1_000..1_000 + POOL).collect();
        assert!(lengths.iter().all(|length| long(*length).is_ok()));
        assert_eq!((long(999), long(1_000)), (Err(TooManyShapes), Ok(())));
        shapes.release(Some(Shape::Prefix(1_000)), 2);
        assert_eq!((long(999), long(1_000)), (Ok(()), Err(TooManyShapes)));
        let configured = Shape::of(&"x".repeat(1_000), MatchPolicy::Prefix);
        assert_eq!(shapes.acquire(configured, Asker::Configuration), Ok(()));
    }

    #[test]
    fn free_are_the_shapes_with_the_fewest_open_components() {
        for (components, open) in [(1, 1), (8, 8), (9, 4), (11, 3), (22, 2), (128, 1)] {
            assert!(is_free(components, open), "{open} of {components}");
            let is_last = components == 8 || open as usize == components;
            assert!(is_last || !is_free(components, open + 1), "{open} of {components}");
        }
        assert!(!is_free(128, 128));
    }
}

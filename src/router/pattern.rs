//! A concurrent table keyed by URI pattern: exact, prefix and wildcard (AP-PBS, AP-PBR).
//!
//! No linear scan over patterns. A *shape* says where a pattern leaves a URI open; to match a URI
//! under a shape, the table writes down the pattern that would match it and looks that text up.
//! So a lookup costs one hash per shape in use, whatever the number of patterns.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::FixedState;
use parking_lot::Mutex;

use crate::hash::{HashSeed, Map};
use crate::wamp::MatchPolicy;

/// A wildcard pattern has at most this many components: one bit each in its shape.
pub const MAX_WILDCARD_COMPONENTS: usize = 128;

/// Whether an entry lives on after it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

#[derive(Debug)]
pub(super) struct PatternTable<E> {
    exact: DashMap<Box<str>, E, FixedState>,
    prefix: DashMap<Box<str>, E, FixedState>,
    wildcard: DashMap<Box<str>, E, FixedState>,
    shapes: Shapes,
}

impl<E> PatternTable<E> {
    pub(super) fn new(seed: HashSeed) -> Self {
        let map = || DashMap::with_hasher(seed.state());
        Self { exact: map(), prefix: map(), wildcard: map(), shapes: Shapes::new(seed) }
    }

    /// Changes the entry of a pattern under its lock, or makes one if `make` gives one.
    ///
    /// `change` must not touch this table.
    pub(super) fn update<R>(
        &self,
        uri: &str,
        policy: MatchPolicy,
        make: impl FnOnce() -> Option<E>,
        change: impl FnOnce(&mut E) -> (Keep, R),
    ) -> Option<R> {
        // A shape is in the list before its first entry and until after its last.
        let shape = Shape::of(uri, policy);
        self.shapes.acquire(shape);
        let (result, releases) = match self.map(policy).entry(uri.into()) {
            Entry::Occupied(mut entry) => match change(entry.get_mut()) {
                (Keep::Yes, result) => (Some(result), 1),
                (Keep::No, result) => {
                    entry.remove();
                    (Some(result), 2)
                }
            },
            Entry::Vacant(slot) => match make().map(|mut entry| (change(&mut entry), entry)) {
                Some(((Keep::Yes, result), entry)) => {
                    slot.insert(entry);
                    (Some(result), 0)
                }
                Some(((Keep::No, result), _)) => (Some(result), 1),
                None => (None, 1),
            },
        };
        self.shapes.release(shape, releases);
        result
    }

    /// Looks at the entry of a pattern, under its lock; no matching is done.
    pub(super) fn look_up<R>(
        &self,
        uri: &str,
        policy: MatchPolicy,
        found: impl FnOnce(&E) -> R,
    ) -> Option<R> {
        self.map(policy).get(uri).map(|entry| found(&entry))
    }

    /// Calls `found` for every entry that matches `uri`, each under its lock.
    pub(super) fn for_each_match(&self, uri: &str, mut found: impl FnMut(MatchPolicy, &E)) {
        if let Some(entry) = self.exact.get(uri) {
            found(MatchPolicy::Exact, &entry);
        }
        self.shapes.for_each(|shape| {
            let (policy, key) = shape.pattern_for(uri)?;
            if let Some(entry) = self.map(policy).get(key.as_ref()) {
                found(policy, &entry);
            }
            None::<()>
        });
    }

    /// The first answer of `found` in the specification's order of precedence (AP-PBR-04).
    pub(super) fn best_match<R>(
        &self,
        uri: &str,
        mut found: impl FnMut(MatchPolicy, &E) -> R,
    ) -> Option<R> {
        if let Some(entry) = self.exact.get(uri) {
            return Some(found(MatchPolicy::Exact, &entry));
        }
        self.shapes.for_each(|shape| {
            let (policy, key) = shape.pattern_for(uri)?;
            let entry = self.map(policy).get(key.as_ref())?;
            Some(found(policy, &entry))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.prefix.len() + self.wildcard.len()
    }

    /// Whether the table is empty and has forgotten every shape.
    pub(super) fn is_idle(&self) -> bool {
        self.len() == 0 && self.shapes.is_empty()
    }

    const fn map(&self, policy: MatchPolicy) -> &DashMap<Box<str>, E, FixedState> {
        match policy {
            MatchPolicy::Exact => &self.exact,
            MatchPolicy::Prefix => &self.prefix,
            MatchPolicy::Wildcard => &self.wildcard,
        }
    }
}

/// Where a pattern leaves a URI open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Shape {
    /// Open behind this many bytes.
    Prefix(usize),
    /// So many components; a set bit is an open one.
    Wildcard { components: usize, open: u128 },
}

impl Shape {
    /// `None` for an exact pattern: it leaves nothing open.
    fn of(pattern: &str, policy: MatchPolicy) -> Option<Self> {
        match policy {
            MatchPolicy::Exact => None,
            MatchPolicy::Prefix => Some(Self::Prefix(pattern.len())),
            MatchPolicy::Wildcard => {
                let mut components = 0;
                let mut open = 0;
                for component in pattern.split('.') {
                    debug_assert!(components < MAX_WILDCARD_COMPONENTS, "checked by the handler");
                    open |= u128::from(component.is_empty()) << (components % 128);
                    components += 1;
                }
                Some(Self::Wildcard { components, open })
            }
        }
    }

    /// The text of the pattern of this shape that would match `uri`, if one could.
    fn pattern_for(self, uri: &str) -> Option<(MatchPolicy, std::borrow::Cow<'_, str>)> {
        match self {
            Self::Prefix(length) => Some((MatchPolicy::Prefix, uri.get(..length)?.into())),
            Self::Wildcard { components, open } => {
                let count = uri.bytes().filter(|byte| *byte == b'.').count() + 1;
                if count != components {
                    return None;
                }
                let mut pattern = String::with_capacity(uri.len());
                for (position, component) in uri.split('.').enumerate() {
                    if position > 0 {
                        pattern.push('.');
                    }
                    if open & (1 << position) == 0 {
                        pattern.push_str(component);
                    }
                }
                Some((MatchPolicy::Wildcard, pattern.into()))
            }
        }
    }

    /// Prefixes from long to short, then wildcards by the length of their literal runs, the
    /// longest first run first. The order depends on the shape alone, so the first hit wins.
    fn precedence(&self, other: &Self) -> Order {
        match (self, other) {
            (Self::Prefix(a), Self::Prefix(b)) => b.cmp(a),
            (Self::Prefix(_), Self::Wildcard { .. }) => Order::Less,
            (Self::Wildcard { .. }, Self::Prefix(_)) => Order::Greater,
            (Self::Wildcard { .. }, Self::Wildcard { .. }) => {
                other.literal_runs().cmp(self.literal_runs()).then_with(|| self.cmp(other))
            }
        }
    }

    /// Components of the literal run before the first open one, between the first and the
    /// second, and so on.
    fn literal_runs(&self) -> impl Iterator<Item = usize> + use<> {
        let (components, open) = match *self {
            Self::Prefix(_) => (0, 0),
            Self::Wildcard { components, open } => (components, open),
        };
        let mut position = 0;
        std::iter::from_fn(move || {
            if position > components {
                return None;
            }
            let start = position;
            while position < components && open & (1 << position) == 0 {
                position += 1;
            }
            position += 1;
            Some(position - 1 - start)
        })
    }
}

/// The shapes in use, sorted by precedence. A shape counts its entries and the updates under way.
#[derive(Debug)]
struct Shapes {
    /// Lets a lookup in a table without patterns skip everything else.
    count: AtomicUsize,
    sorted: ArcSwap<Vec<Shape>>,
    uses: Mutex<Map<Shape, usize>>,
}

impl Shapes {
    fn new(seed: HashSeed) -> Self {
        Self {
            count: AtomicUsize::new(0),
            sorted: ArcSwap::from_pointee(Vec::new()),
            uses: Mutex::new(seed.map()),
        }
    }

    fn for_each<R>(&self, mut visit: impl FnMut(Shape) -> Option<R>) -> Option<R> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.sorted.load().iter().find_map(|shape| visit(*shape))
    }

    /// Makes a shape visible, and holds it until as many releases.
    fn acquire(&self, shape: Option<Shape>) {
        let Some(shape) = shape else { return };
        let mut uses = self.uses.lock();
        let count = uses.entry(shape).or_insert(0);
        *count += 1;
        if *count == 1 {
            self.publish(&uses);
        }
    }

    fn release(&self, shape: Option<Shape>, times: usize) {
        let Some(shape) = shape.filter(|_| times > 0) else { return };
        let mut uses = self.uses.lock();
        let count = uses.get_mut(&shape).expect("a shape is released only while it is held");
        *count -= times;
        if *count == 0 {
            uses.remove(&shape);
            self.publish(&uses);
        }
    }

    fn is_empty(&self) -> bool {
        self.uses.lock().is_empty()
    }

    fn publish(&self, uses: &Map<Shape, usize>) {
        let mut sorted: Vec<Shape> = uses.keys().copied().collect();
        sorted.sort_by(Shape::precedence);
        self.count.store(sorted.len(), Ordering::Release);
        self.sorted.store(Arc::new(sorted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[(&str, MatchPolicy)]) -> PatternTable<usize> {
        let table = PatternTable::new(HashSeed::new(7));
        for (number, (uri, policy)) in patterns.iter().enumerate() {
            table.update(uri, *policy, || Some(number + 1), |_| (Keep::Yes, ()));
        }
        table
    }

    fn remove(table: &PatternTable<usize>, uri: &str, policy: MatchPolicy) {
        table.update(uri, policy, || None, |_| (Keep::No, ()));
    }

    /// The table of the specification's chapter on pattern-based registration (AP-PBR-04).
    ///
    /// Its row `a1.b2.c33.d4.e5` contradicts its own rule that prefixes go by characters:
    /// `a1.b2.c3` is one of it. The rule wins here; without that prefix the row holds, as the last
    /// line shows.
    #[test]
    fn the_best_match_follows_the_specification() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        let table = table(&[
            ("a1.b2.c3.d4.e55", Exact),
            ("a1.b2.c3", Prefix),
            ("a1.b2.c3.d4", Prefix),
            ("a1.b2..d4.e5", Wildcard),
            ("a1.b2.c33..e5", Wildcard),
            ("a1.b2..d4.e5..g7", Wildcard),
            ("a1.b2..d4..f6.g7", Wildcard),
        ]);
        for (uri, expected) in [
            ("a1.b2.c3.d4.e55", Some(1)),
            ("a1.b2.c3.d98.e74", Some(2)),
            ("a1.b2.c3.d4.e325", Some(3)),
            ("a1.b2.c55.d4.e5", Some(4)),
            ("a1.b2.c33.d4.e5", Some(2)),
            ("a1.b2.c88.d4.e5.f6.g7", Some(6)),
            ("a2.b2.c2.d2.e2", None),
        ] {
            assert_eq!(table.best_match(uri, |_, number| *number), expected, "{uri}");
        }
        remove(&table, "a1.b2.c3", Prefix);
        assert_eq!(table.best_match("a1.b2.c33.d4.e5", |_, number| *number), Some(5));
    }

    /// Prefixes go by characters, not by components (AP-PBR-02); wildcards by components.
    #[test]
    fn every_matching_pattern_is_found_once() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        let table = table(&[
            ("com.app.topic", Exact),
            ("com.app.top", Prefix),
            ("", Prefix),
            ("com..topic", Wildcard),
            (".app.", Wildcard),
            ("com.app", Prefix),
            ("com.apple", Prefix),
            ("com.app.topic.", Wildcard),
        ]);
        let mut found = Vec::new();
        table.for_each_match("com.app.topic", |_, number| found.push(*number));
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3, 4, 5, 6]);
        found.clear();
        table.for_each_match("com.ap\u{df}", |_, number| found.push(*number));
        assert_eq!(found, [3], "a prefix never cuts a character");
    }

    #[test]
    fn a_shape_lives_as_long_as_its_last_pattern() {
        use MatchPolicy::{Prefix, Wildcard};
        let table = table(&[("com.a", Prefix), ("com.b", Prefix), ("a..b", Wildcard)]);
        remove(&table, "com.a", Prefix);
        assert_eq!(table.best_match("com.bcd", |_, number| *number), Some(2));
        remove(&table, "com.b", Prefix);
        remove(&table, "com.b", Prefix);
        assert_eq!(table.best_match("a.x.b", |_, number| *number), Some(3));
        remove(&table, "a..b", Wildcard);
        assert!(table.is_idle());
    }
}

//! A concurrent table keyed by URI pattern: exact, prefix and wildcard (AP-PBS, AP-PBR).
//!
//! No linear scan over patterns. A *shape* says where a pattern leaves a URI open; to match a URI
//! under a shape, the table writes down the pattern that would match it and looks that text up.
//! So a lookup costs one hash per shape that can match, and [`Shapes`] bounds how many those are.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::shapes::{Asker, Shape, Shapes, TooManyShapes};
use crate::hash::{HashSeed, Keyed};
use crate::wamp::MatchPolicy;

/// Whether an entry lives on after it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

#[derive(Debug)]
pub(super) struct PatternTable<E> {
    exact: DashMap<Box<str>, E, Keyed>,
    prefix: DashMap<Box<str>, E, Keyed>,
    wildcard: DashMap<Box<str>, E, Keyed>,
    shapes: Shapes,
}

impl<E> PatternTable<E> {
    pub(super) fn new(seed: &HashSeed) -> Self {
        let map = || DashMap::with_hasher(seed.keyed());
        Self { exact: map(), prefix: map(), wildcard: map(), shapes: Shapes::new(seed) }
    }

    /// Changes the entry of a pattern under its lock, or makes one if `make` gives one.
    ///
    /// `change` must not touch this table.
    ///
    /// # Errors
    /// Only where there is no entry.
    pub(super) fn update<R>(
        &self,
        uri: &str,
        policy: MatchPolicy,
        asker: Asker,
        make: impl FnOnce() -> Option<E>,
        change: impl FnOnce(&mut E) -> (Keep, R),
    ) -> Result<Option<R>, TooManyShapes> {
        // A shape is in the list before its first entry and until after its last.
        let shape = Shape::of(uri, policy);
        self.shapes.acquire(shape, asker)?;
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
        Ok(result)
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

    /// Calls `found` for every entry that matches `uri`, each under its lock. Returns how many
    /// patterns were looked up.
    pub(super) fn for_each_match(
        &self,
        uri: &str,
        mut found: impl FnMut(MatchPolicy, &E),
    ) -> usize {
        let mut looked_up = 1;
        if let Some(entry) = self.exact.get(uri) {
            found(MatchPolicy::Exact, &entry);
        }
        self.shapes.find(uri, |policy, pattern| {
            looked_up += 1;
            if let Some(entry) = self.map(policy).get(pattern) {
                found(policy, &entry);
            }
            None::<()>
        });
        looked_up
    }

    /// Every pattern that has an entry.
    pub(super) fn for_each(&self, mut found: impl FnMut(MatchPolicy, &str)) {
        for policy in [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard] {
            self.map(policy).iter().for_each(|entry| found(policy, entry.key()));
        }
    }

    /// How many patterns a match of `uri` looks up at most.
    #[inline]
    pub(super) fn look_ups(&self, uri: &str) -> usize {
        1 + self.shapes.visits(uri)
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
        self.shapes.find(uri, |policy, pattern| {
            let entry = self.map(policy).get(pattern)?;
            Some(found(policy, &entry))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.prefix.len() + self.wildcard.len()
    }

    /// Whether some entry is as wanted. Looks at each in turn, under its lock.
    pub(super) fn any(&self, wanted: impl Fn(&E) -> bool) -> bool {
        let maps = [&self.exact, &self.prefix, &self.wildcard];
        maps.iter().any(|map| map.iter().any(|entry| wanted(&entry)))
    }

    /// Whether the table remembers the shapes of its entries and no others.
    pub(super) fn is_tidy(&self) -> bool {
        self.shapes.use_count() == self.prefix.len() + self.wildcard.len()
    }

    /// Whether the table is empty and has forgotten every shape.
    pub(super) fn is_idle(&self) -> bool {
        self.len() == 0 && self.is_tidy()
    }

    const fn map(&self, policy: MatchPolicy) -> &DashMap<Box<str>, E, Keyed> {
        match policy {
            MatchPolicy::Exact => &self.exact,
            MatchPolicy::Prefix => &self.prefix,
            MatchPolicy::Wildcard => &self.wildcard,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn table(patterns: &[(&str, MatchPolicy)]) -> PatternTable<usize> {
        let table = PatternTable::new(&HashSeed::new(7));
        for (number, (uri, policy)) in patterns.iter().enumerate() {
            let make = || Some(number + 1);
            let outcome = table.update(uri, *policy, Asker::Client, make, |_| (Keep::Yes, ()));
            assert_eq!(outcome, Ok(Some(())));
        }
        table
    }

    fn remove(table: &PatternTable<usize>, uri: &str, policy: MatchPolicy) {
        let _ = table.update(uri, policy, Asker::Client, || None, |_| (Keep::No, ()));
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

    fn pattern(components: std::ops::Range<usize>) -> impl Strategy<Value = String> {
        let component = prop_oneof!["a", "ab", "b", ""];
        vec(component, components).prop_map(|components| components.join("."))
    }

    /// The specification's order as it says it (AP-PBR-04): smaller is better.
    fn rank(pattern: &str, policy: MatchPolicy) -> (u8, Vec<std::cmp::Reverse<usize>>) {
        let runs = match policy {
            MatchPolicy::Exact => Vec::new(),
            MatchPolicy::Prefix => vec![pattern.len()],
            MatchPolicy::Wildcard => {
                let components: Vec<&str> = pattern.split('.').collect();
                components.split(|component| component.is_empty()).map(<[&str]>::len).collect()
            }
        };
        (policy as u8, runs.into_iter().map(std::cmp::Reverse).collect())
    }

    proptest! {
        /// Against every pattern's own definition, in any order of coming and going.
        #[test]
        fn the_table_matches_as_its_patterns_do(
            patterns in vec((pattern(1..5), 0..3_usize, any::<bool>()), 0..40),
            uri in vec(prop_oneof!["a", "ab", "b"], 1..5),
        ) {
            let policies = [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];
            let table = PatternTable::new(&HashSeed::new(7));
            let mut held: Vec<(String, MatchPolicy)> = Vec::new();
            for (pattern, policy, stays) in patterns {
                let entry = (pattern, policies[policy]);
                let make = || Some(entry.clone());
                let change = |_: &mut _| (if stays { Keep::Yes } else { Keep::No }, ());
                table.update(&entry.0, entry.1, Asker::Client, make, change).expect("few shapes");
                held.retain(|other| *other != entry);
                held.extend(stays.then_some(entry));
            }
            let uri = uri.join(".");
            held.retain(|(pattern, policy)| policy.matches(pattern, &uri));
            held.sort_by_key(|(pattern, policy)| rank(pattern, *policy));
            let mut found = Vec::new();
            table.for_each_match(&uri, |_, entry| found.push(entry.clone()));
            prop_assert_eq!(&found, &held);
            let best = table.best_match(&uri, |_, entry| entry.clone());
            prop_assert_eq!(best.as_ref(), held.first());
            prop_assert!(table.is_tidy());
        }
    }
}

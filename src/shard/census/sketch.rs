//! Which URIs came most of late, in bounded memory: Space-Saving (Metwally et al. 2005) over
//! weights that decay (forward decay: Cormode et al. 2009).
//!
//! What stands in no place was never more than the smallest place, and the smallest place is at
//! most the [`PLACES`]th part of all that came.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::sampler::Weight;
use crate::clock::Millis;
use crate::hash::{HashSeed, Keyed, Map};
use crate::router::{BusyList, BusyUri, HALF_LIFE_MS, Realm};

#[derive(Debug)]
pub(super) struct Sketch {
    keyed: Keyed,
    /// Which URI stands in which place, by its hash: that two share one of 64 secret bits does not
    /// happen.
    places: Map<u64, u32>,
    /// By place: how much came, at most, as of `base`.
    counts: Vec<f64>,
    entries: Vec<Entry>,
    /// What comes later than this weighs more, so that nothing has to be done as time passes.
    base: Millis,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    realm: Arc<str>,
    uri: Arc<str>,
    is_cut: bool,
    total: f64,
    /// What of the count came with others that stood here before.
    excess: f64,
    variance: f64,
}

impl Sketch {
    /// Takes no memory until something comes.
    pub(super) fn new(seed: &HashSeed) -> Self {
        let (counts, entries) = (Vec::new(), Vec::new());
        Self { keyed: seed.keyed(), places: seed.map(), counts, entries, base: Millis::default() }
    }

    pub(super) fn add(&mut self, realm: &Realm, uri: &str, weight: Weight, now: Millis) {
        self.add_of(realm.number(), realm.name(), uri, weight, now);
    }

    fn add_of(&mut self, number: usize, realm: &Arc<str>, uri: &str, it: Weight, now: Millis) {
        let scale = self.scale(now);
        let (shown, is_cut) = beginning(uri);
        let hash = self.keyed.hash_one((number, shown));
        let place = self.places.get(&hash).map(|place| *place as usize);
        let place = place.unwrap_or_else(|| self.take_place(hash, realm, shown, is_cut));
        self.counts[place] += it.units * scale;
        let entry = &mut self.entries[place];
        entry.total += it.units;
        entry.variance += it.variance * scale * scale;
        debug_assert!(self.entries.len() <= PLACES && self.places.len() == self.entries.len());
    }

    /// A place of its own for a URI: a free one, or that of the one that came least.
    fn take_place(&mut self, hash: u64, realm: &Arc<str>, uri: &str, is_cut: bool) -> usize {
        let (realm, uri) = (Arc::clone(realm), uri.into());
        let entry = Entry { hash, realm, uri, is_cut, total: 0.0, excess: 0.0, variance: 0.0 };
        let place = if self.entries.len() < PLACES {
            self.entries.push(entry);
            self.counts.push(0.0);
            self.entries.len() - 1
        } else {
            let place = self.smallest();
            let (excess, variance) = (self.counts[place], self.entries[place].variance);
            self.places.remove(&self.entries[place].hash);
            self.entries[place] = Entry { excess, variance, ..entry };
            place
        };
        self.places.insert(hash, u32::try_from(place).expect("places are few"));
        place
    }

    fn smallest(&self) -> usize {
        let counts = self.counts.iter().enumerate();
        let smallest = counts.min_by(|(_, one), (_, other)| one.total_cmp(other));
        smallest.map_or(0, |(place, _)| place)
    }

    /// What one unit weighs now. Weights that become too large for numbers are made smaller.
    fn scale(&mut self, now: Millis) -> f64 {
        let half_lives = now.since(self.base) as f64 / HALF_LIFE_MS as f64;
        if half_lives < MOST_HALF_LIVES {
            return half_lives.exp2();
        }
        let factor = (-half_lives).exp2();
        for (count, entry) in self.counts.iter_mut().zip(&mut self.entries) {
            *count *= factor;
            entry.excess *= factor;
            entry.variance *= factor * factor;
        }
        self.base = now;
        1.0
    }

    /// What is known: [`PLACES`] URIs at most.
    pub(super) fn list(&self, now: Millis) -> BusyList {
        let factor = (-(now.since(self.base) as f64) / HALF_LIFE_MS as f64).exp2();
        let uris = self.counts.iter().zip(&self.entries).map(|(count, entry)| BusyUri {
            realm: Arc::clone(&entry.realm),
            uri: Arc::clone(&entry.uri),
            is_cut: entry.is_cut,
            total: entry.total,
            recent: count * factor,
            excess: entry.excess * factor,
            variance: entry.variance * factor * factor,
        });
        let is_full = self.entries.len() == PLACES;
        let unlisted = if is_full { self.counts[self.smallest()] * factor } else { 0.0 };
        BusyList { uris: uris.collect(), unlisted, age_ms: now.0 }
    }

    /// Bytes of the URIs.
    #[cfg(test)]
    fn uri_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.uri.len()).sum()
    }
}

/// As much of a URI as it is told apart by, and whether that is not all.
fn beginning(uri: &str) -> (&str, bool) {
    let end = uri.floor_char_boundary(URI_BYTES);
    (&uri[..end], end < uri.len())
}

/// URIs that are counted by themselves.
pub(super) const PLACES: usize = 512;

/// Bytes of a URI by which it is told apart: so a sketch keeps half a MiB of them at most, and 128
/// KiB with the default of `limits.uri_bytes`.
const URI_BYTES: usize = 1_024;

/// Squares of what weighs 2 to the power of this are numbers still.
const MOST_HALF_LIVES: f64 = 400.0;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const ONE: Weight = Weight { units: 1.0, variance: 0.0 };

    fn sketch() -> Sketch {
        Sketch::new(&HashSeed::new(7))
    }

    fn add(sketch: &mut Sketch, number: usize, uri: &str, now: u64) {
        let realm = format!("realm{number}").as_str().into();
        sketch.add_of(number, &realm, uri, ONE, Millis(now));
    }

    proptest! {
        /// Against exact counts, for few that come often among many that come once, over hours: the
        /// count of each lies between the bounds, also of those that are not listed, and the bounds
        /// are as close as is said.
        #[test]
        fn bounds_hold_for_every_uri(
            coming in vec((0..3_u8, 0..2_000_u32, 0..40_000_u64), 1..4_000),
            hours in 0..3_u64,
        ) {
            let (mut sketch, mut exact) = (sketch(), BTreeMap::<String, Vec<u64>>::new());
            let mut now = 0;
            for (kind, number, later) in coming {
                now += later * hours / 4;
                let number = if kind == 0 { number } else { number % 20 };
                let uri = format!("com.{number}");
                add(&mut sketch, 1, &uri, now);
                exact.entry(uri).or_default().push(now);
            }
            let list = sketch.list(Millis(now));
            let decayed = |times: &Vec<u64>| -> f64 {
                let each = times.iter();
                each.map(|time| (-((now - time) as f64) / HALF_LIFE_MS as f64).exp2()).sum()
            };
            let all: f64 = exact.values().map(decayed).sum();
            prop_assert!(list.unlisted <= all / PLACES as f64 + 1e-6);
            prop_assert!(list.uris.len() <= PLACES);
            let listed: BTreeMap<&str, &BusyUri> =
                list.uris.iter().map(|it| (&*it.uri, it)).collect();
            for (uri, times) in &exact {
                let came = decayed(times);
                match listed.get(&**uri) {
                    Some(it) => {
                        prop_assert!(it.recent - it.excess <= came + 1e-6);
                        prop_assert!(came <= it.recent + 1e-6);
                        prop_assert!(it.excess <= list.unlisted + 1e-6);
                        prop_assert!(it.total <= times.len() as f64);
                    }
                    None => prop_assert!(came <= list.unlisted + 1e-6, "{uri}: {came}"),
                }
            }
        }
    }

    /// A client that publishes to ever other URIs of the longest kind takes no more memory, and
    /// does not hide what is busy.
    #[test]
    fn a_flood_of_uris_takes_bounded_memory_and_hides_nothing() {
        let mut sketch = sketch();
        for number in 0..20_000_u64 {
            add(&mut sketch, 1, &format!("com.{number:05}.{}", "x".repeat(4_000)), number / 10);
            if number % 50 == 0 {
                add(&mut sketch, 1, "com.busy", number / 10);
            }
        }
        assert_eq!((sketch.entries.len(), sketch.places.len()), (PLACES, PLACES));
        assert!(sketch.uri_bytes() <= PLACES * URI_BYTES);
        let list = sketch.list(Millis(2_000));
        let sure = |it: &BusyUri| it.recent - it.excess;
        let first =
            list.uris.iter().max_by(|one, other| sure(one).total_cmp(&sure(other))).unwrap();
        assert_eq!((&*first.uri, first.is_cut), ("com.busy", false));
        assert!(list.uris.iter().filter(|it| it.is_cut).count() > PLACES - 2);
    }

    #[test]
    fn realms_are_apart_and_the_past_fades() {
        let mut sketch = sketch();
        add(&mut sketch, 1, "com.x", 0);
        add(&mut sketch, 2, "com.x", 0);
        let list = sketch.list(Millis(HALF_LIFE_MS));
        let rows: Vec<_> = list.uris.iter().map(|it| (&*it.realm, it.recent, it.total)).collect();
        assert_eq!(rows, [("realm1", 0.5, 1.0), ("realm2", 0.5, 1.0)]);
        add(&mut sketch, 1, "com.x", 10_000 * HALF_LIFE_MS);
        let list = sketch.list(Millis(10_000 * HALF_LIFE_MS));
        assert_eq!((list.uris[0].recent, list.uris[1].recent), (1.0, 0.0));
    }
}

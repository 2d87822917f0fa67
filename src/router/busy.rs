//! What operators see of how busy URIs are: what shards have estimated, and how sure that is.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What is counted by its URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busyness {
    Publications,
    /// Events that were queued for receivers, by their topics.
    Events,
    Calls,
}

/// What one shard knows of how often URIs came.
#[derive(Clone, Debug, Default)]
pub struct BusyList {
    pub uris: Vec<BusyUri>,
    /// How often a URI that is not listed came at most, in the sense of [`BusyUri::recent`].
    pub unlisted: f64,
    /// How long the shard has counted, in milliseconds.
    pub age_ms: u64,
}

/// How often one URI came, as estimated. What is said of the past counts less the longer ago it
/// was: half after [`HALF_LIFE_MS`].
#[derive(Clone, Debug, PartialEq)]
pub struct BusyUri {
    pub realm: Arc<str>,
    /// Its beginning alone if `is_cut`.
    pub uri: Arc<str>,
    pub is_cut: bool,
    /// How often it came since it is counted by itself.
    pub total: f64,
    /// How often of late, at most.
    pub recent: f64,
    /// By how much `recent` may be too high because others were counted in the same place before.
    pub excess: f64,
    /// The variance of `recent`: not all that came was looked at.
    pub variance: f64,
}

/// In how many milliseconds what came comes to count half.
pub const HALF_LIFE_MS: u64 = 10_000;

/// How often a URI came, by all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Times since it is counted by itself.
    pub total: f64,
    /// Times a second of late.
    pub rate: f64,
    /// Between these it is but for chance: two standard deviations.
    pub at_least: f64,
    pub at_most: f64,
}

/// The lists of several shards, as one.
#[derive(Clone, Debug, Default)]
pub struct Busiest {
    rates: BTreeMap<(Arc<str>, Arc<str>), (Rate, bool)>,
    unlisted: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    total: f64,
    recent: f64,
    excess: f64,
    variance: f64,
    /// What the shards that list it say of those that are not listed.
    listed: f64,
    is_cut: bool,
}

impl Busiest {
    /// Adds up what each shard says.
    pub fn of(lists: &[BusyList]) -> Self {
        let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
        for list in lists {
            for uri in &list.uris {
                let key = (Arc::clone(&uri.realm), Arc::clone(&uri.uri));
                let sum = sums.entry(key).or_default();
                sum.total += uri.total;
                sum.recent += uri.recent;
                sum.excess += uri.excess;
                sum.variance += uri.variance;
                sum.listed += list.unlisted;
                sum.is_cut |= uri.is_cut;
            }
        }
        let unlisted: f64 = lists.iter().map(|list| list.unlisted).sum();
        let age_ms = lists.iter().map(|list| list.age_ms).max().unwrap_or_default();
        let seconds = span_seconds(age_ms);
        let rates =
            sums.into_iter().map(|(key, sum)| (key, (sum.rate(unlisted, seconds), sum.is_cut)));
        Self { rates: rates.collect(), unlisted: unlisted / seconds }
    }

    /// All that are listed by some shard: realm, URI, whether that is its beginning alone, rate.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, bool, Rate)> {
        self.rates.iter().map(|((realm, uri), (rate, is_cut))| (realm, uri, *is_cut, *rate))
    }

    /// What is known of a URI.
    pub fn get(&self, realm: &Arc<str>, uri: &Arc<str>) -> Rate {
        let listed = self.rates.get(&(Arc::clone(realm), Arc::clone(uri))).map(|(rate, _)| *rate);
        listed.unwrap_or_else(|| Rate { at_most: self.unlisted, ..Rate::default() })
    }

    /// Times a second that a URI comes at most that no shard lists.
    pub const fn unlisted(&self) -> f64 {
        self.unlisted
    }
}

impl Sum {
    fn rate(&self, unlisted: f64, seconds: f64) -> Rate {
        let sure = self.recent - self.excess;
        let doubt = 2.0 * self.variance.sqrt();
        let elsewhere = (unlisted - self.listed).max(0.0);
        Rate {
            total: self.total,
            rate: sure / seconds,
            at_least: (sure - doubt).max(0.0) / seconds,
            at_most: (self.recent + elsewhere + doubt) / seconds,
        }
    }
}

/// Seconds that what counts of late stands for: less than the whole span if less time has passed.
fn span_seconds(age_ms: u64) -> f64 {
    let half_lives = age_ms.max(1_000) as f64 / HALF_LIFE_MS as f64;
    SPAN_SECONDS * (1.0 - (-half_lives).exp2())
}

/// What comes once a second adds up to so much.
pub const SPAN_SECONDS: f64 = HALF_LIFE_MS as f64 / 1_000.0 / std::f64::consts::LN_2;

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(name: &str, recent: f64, excess: f64) -> BusyUri {
        let (realm, uri) = ("realm1".into(), name.into());
        BusyUri { realm, uri, is_cut: false, total: recent, recent, excess, variance: 0.0 }
    }

    #[test]
    fn shards_add_up_and_what_is_not_listed_may_have_come() {
        let age_ms = 1_000 * HALF_LIFE_MS;
        let uris = vec![uri("com.a", 10.0 * SPAN_SECONDS, 2.0 * SPAN_SECONDS)];
        let full = BusyList { uris, unlisted: 2.0 * SPAN_SECONDS, age_ms };
        let uris = vec![uri("com.a", SPAN_SECONDS, 0.0), uri("com.b", SPAN_SECONDS, 0.0)];
        let other = BusyList { uris, unlisted: 0.0, age_ms };
        let busiest = Busiest::of(&[full, other]);
        let rate = |name: &str| {
            let found = busiest.get(&"realm1".into(), &name.into());
            [found.rate, found.at_least, found.at_most].map(|rate| (rate * 1e6).round() / 1e6)
        };
        assert_eq!(rate("com.a"), [9.0, 9.0, 11.0]);
        assert_eq!(rate("com.b"), [1.0, 1.0, 3.0], "the full shard may have had some");
        assert_eq!(rate("com.c"), [0.0, 0.0, 2.0]);
        assert_eq!(busiest.iter().count(), 2);
    }

    #[test]
    fn a_young_router_knows_its_rates() {
        let recent = 5.0 * span_seconds(3_000);
        let list = BusyList { uris: vec![uri("com.a", recent, 0.0)], unlisted: 0.0, age_ms: 3_000 };
        let busiest = Busiest::of(&[list]);
        let rate = busiest.get(&"realm1".into(), &"com.a".into()).rate;
        assert!((rate - 5.0).abs() < 1e-9, "{rate}");
    }
}

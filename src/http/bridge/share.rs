//! How many calls of one client are under way, where strangers share a session: it may make so many
//! calls, and without a share the first one would use them up for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Calls under way of those who come by one way, each by its client.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<String, usize>>);

/// Calls that are under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    client: String,
    calls: usize,
}

impl Shares {
    /// `None` if more than `most` would be under way. Whoever has none under way is not remembered,
    /// so there are no more entries than requests.
    pub(super) fn take(self: &Arc<Self>, client: &str, calls: usize, most: usize) -> Option<Share> {
        let mut under_way = self.0.lock();
        let own = under_way.get(client).copied().unwrap_or_default() + calls;
        if own > most {
            return None;
        }
        under_way.insert(client.into(), own);
        Some(Share { shares: Arc::clone(self), client: client.into(), calls })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut under_way = self.shares.0.lock();
        if let Some(own) = under_way.get_mut(&self.client) {
            *own -= self.calls;
            if *own == 0 {
                under_way.remove(&self.client);
            }
        }
    }
}

/// Of the calls that a session may have under way, how many are one client's: a quarter, so that
/// several must come together to use up all.
pub(super) fn share_of(calls_per_session: usize) -> usize {
    (calls_per_session / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_a_share_of_its_own_and_gets_it_back() {
        let shares = Arc::<Shares>::default();
        let first = shares.take("a", 3, 4).expect("there is room");
        assert!(shares.take("a", 2, 4).is_none(), "five of four");
        let second = shares.take("a", 1, 4).expect("the last one");
        let other = shares.take("b", 4, 4).expect("nobody else's");
        drop(first);
        assert!(shares.take("a", 4, 4).is_none(), "one is still there");
        assert!(shares.take("a", 3, 4).is_some());
        drop((second, other));
        assert!(shares.0.lock().is_empty());
        assert_eq!([0, 3, 8, 10_000].map(share_of), [1, 1, 2, 2_500]);
    }
}

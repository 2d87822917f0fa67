//! Tokens whose signature was found right of late, so that it is not verified for each request that
//! shows one. What a token says is read each time: its times, for whom it is, and the role.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::keys::KeySet;

/// The last tokens that one of these keys has signed.
#[derive(Default)]
pub(super) struct Verified(Mutex<State>);

#[derive(Default)]
struct State {
    /// By which they were verified: with others nothing is known.
    keys: Option<Arc<KeySet>>,
    known: BTreeSet<Digest>,
    /// The oldest first.
    order: VecDeque<Digest>,
}

type Digest = [u8; 32];

impl Verified {
    /// Whether one of `keys` has signed the token, as `verify` finds out if it is not known.
    ///
    /// # Errors
    /// What `verify` says. It is not remembered, so that nobody fills this with what is wrong.
    pub(super) fn check<E>(
        &self,
        token: &str,
        keys: &Arc<KeySet>,
        verify: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let digest: Digest = Sha256::digest(token).into();
        let mut state = self.0.lock();
        if state.is_of(keys) && state.known.contains(&digest) {
            return Ok(());
        }
        drop(state);
        verify()?;
        state = self.0.lock();
        if !state.is_of(keys) {
            *state = State { keys: Some(Arc::clone(keys)), ..State::default() };
        }
        if state.known.insert(digest) {
            state.make_room();
            state.order.push_back(digest);
        }
        Ok(())
    }
}

impl State {
    fn is_of(&self, keys: &Arc<KeySet>) -> bool {
        self.keys.as_ref().is_some_and(|own| Arc::ptr_eq(own, keys))
    }

    /// Before the next is added, so that the memory for one more than `MOST` is never taken.
    fn make_room(&mut self) {
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// Tokens of one issuer, of some 100 bytes each.
const MOST: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::super::super::secret::Secret;
    use super::*;

    #[test]
    fn a_token_is_verified_once_for_each_set_of_keys() {
        let keys = || Arc::new(KeySet::from_secret(Secret::new("x".repeat(32))).unwrap());
        let (verified, old, new) = (Verified::default(), keys(), keys());
        let mut asked = 0;
        let mut check = |token: &str, keys, is_good| {
            let before = asked;
            let verify = || {
                asked += 1;
                if is_good { Ok(()) } else { Err(()) }
            };
            (verified.check(token, keys, verify).is_ok(), asked > before)
        };
        assert_eq!(check("a", &old, true), (true, true));
        assert_eq!(check("a", &old, false), (true, false));
        assert_eq!(check("b", &old, false), (false, true));
        assert_eq!(check("b", &old, false), (false, true), "what is wrong is not remembered");
        assert_eq!(check("a", &new, false), (false, true), "others may not have signed it");
        assert_eq!(check("a", &new, true), (true, true));
        assert_eq!(check("a", &old, true), (true, true), "a late one of old keys");
        for n in 0..MOST {
            assert_eq!(check(&n.to_string(), &old, true), (true, true));
        }
        assert_eq!(check(&(MOST - 1).to_string(), &old, true), (true, false));
        assert_eq!(check("a", &old, true), (true, true), "it was too long ago");
        let state = verified.0.lock();
        assert_eq!((state.known.len(), state.order.len()), (MOST, MOST));
        assert_eq!(state.order.capacity(), MOST, "not twice as much for one more");
    }
}

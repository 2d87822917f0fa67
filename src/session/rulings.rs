//! What authorizers have said of one session's requests: of the one at hand, and what may be
//! remembered of others for some time (AU-AZ-04).

use crate::authorization::{Action, Memory, Ruling};
use crate::clock::Millis;
use crate::router::Source;
use crate::wamp::MatchPolicy;

/// Bounded as [`Memory`] is, and by what one request needs.
#[derive(Debug, Default)]
pub(super) struct Rulings {
    /// Of the request at hand, until it is over. One has two at most: the call of a procedure of
    /// the router, and what that procedure does.
    at_hand: Vec<(Action, MatchPolicy, Box<str>, Heard)>,
    remembered: Memory<Remembered>,
}

/// What came of asking; `None`: nobody has decided.
pub(super) type Heard = Option<Ruling>;

#[derive(Clone, Copy, Debug)]
struct Remembered {
    ruling: Heard,
    until: Millis,
}

impl Rulings {
    pub(super) fn note(
        &mut self,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
        ruling: Heard,
        until: Option<Millis>,
    ) {
        debug_assert!(
            self.at_hand.len() < MOST_AT_HAND,
            "a request is decided about twice at most"
        );
        self.at_hand.push((action, policy, uri.into(), ruling));
        if let Some(until) = until {
            self.remembered.remember(action, uri, policy, Remembered { ruling, until });
        }
    }

    /// What holds for a request, and whether it was said of an earlier one.
    pub(super) fn recall(
        &self,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
        now: Millis,
    ) -> Option<(Heard, Source)> {
        let is_asked = |(of, under, about, _): &&(Action, MatchPolicy, Box<str>, Heard)| {
            *of == action && *under == policy && **about == *uri
        };
        let at_hand = self.at_hand.iter().find(is_asked).map(|(.., ruling)| *ruling);
        at_hand.map(|ruling| (ruling, Source::Fresh)).or_else(|| {
            let found = self.remembered.recall(action, uri, policy)?;
            (now < found.until).then_some((found.ruling, Source::Recalled))
        })
    }

    pub(super) fn forget_request(&mut self) {
        self.at_hand = Vec::new();
    }
}

const MOST_AT_HAND: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wamp::MatchPolicy::{Exact, Prefix};

    #[test]
    fn a_ruling_holds_for_its_request_and_for_others_until_its_time() {
        let granted = Some(Ruling { is_allowed: true, discloses: false, ttl_ms: Some(0) });
        let mut rulings = Rulings::default();
        rulings.note(Action::Call, "com.a", Exact, granted, Some(Millis(10)));
        rulings.note(Action::Publish, "com.a", Exact, None, None);
        let of = |rulings: &Rulings, action, policy, now| {
            rulings.recall(action, "com.a", policy, Millis(now))
        };
        assert_eq!(of(&rulings, Action::Call, Exact, 99), Some((granted, Source::Fresh)));
        assert_eq!(of(&rulings, Action::Publish, Exact, 99), Some((None, Source::Fresh)));
        assert_eq!(of(&rulings, Action::Call, Prefix, 0), None);
        rulings.forget_request();
        assert_eq!(of(&rulings, Action::Call, Exact, 9), Some((granted, Source::Recalled)));
        assert_eq!(of(&rulings, Action::Call, Exact, 10), None);
        assert_eq!(of(&rulings, Action::Publish, Exact, 0), None);
    }
}

//! What is a number between nodes, and has a name here.

use crate::wamp::{InvokePolicy, MatchPolicy};

/// By their numbers.
pub(super) const POLICIES: [MatchPolicy; 3] =
    [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];
pub(super) const INVOKES: [InvokePolicy; 5] = [
    InvokePolicy::Single,
    InvokePolicy::RoundRobin,
    InvokePolicy::Random,
    InvokePolicy::First,
    InvokePolicy::Last,
];

pub(super) fn number_of<T: Copy + PartialEq>(all: &[T], one: T) -> u8 {
    let place = all.iter().position(|other| *other == one);
    place.and_then(|place| u8::try_from(place).ok()).expect("all have numbers")
}

//! Which events of a topic stay when one more is among them.
//!
//! It follows from the events and their stamps alone, so all nodes of a cluster come to the same,
//! whatever came first: the last event for everyone; the one before it that the publisher of that
//! gets, if it does not get its own nor a later one; and of those for some that came later the last
//! for each audience, up to [`LIMITED_EVENTS_PER_TOPIC`].

use smallvec::{SmallVec, smallvec};

use super::super::Identity;
use super::Entry;

/// Of the entries of a topic, from old to new, which ones go for that at `place`, whose publisher
/// this is. It may go itself.
pub(super) fn outdated(
    entries: &[Entry],
    place: usize,
    publisher: Identity<'_>,
) -> SmallVec<[bool; 16]> {
    let mut goes: SmallVec<[bool; 16]> = smallvec![false; entries.len()];
    if let Some(whole) = entries.iter().rposition(|entry| !entry.is_limited()) {
        let (event, is_new) = (&entries[whole].event, place == whole);
        let left_out = event.left_out().map(|names| if is_new { publisher } else { names });
        let is_known = is_new || event.publisher.is_some();
        let admits = |entry: &Entry| left_out.is_some_and(|it| entry.event.audience.admits(it));
        // It gets a later one, so it never asks for what was before.
        let is_served = is_known && entries[whole + 1..].iter().any(admits);
        if place <= whole || is_served {
            let spared = entries[..whole].iter().rposition(admits).filter(|_| !is_served);
            (0..whole).for_each(|index| goes[index] = Some(index) != spared);
        }
    }
    let mut limited = 0;
    for index in (0..entries.len()).rev() {
        if goes[index] || !entries[index].is_limited() {
            continue;
        }
        let audience = &entries[index].event.audience;
        let is_replaced = entries[index + 1..].iter().any(|it| it.event.audience == *audience);
        goes[index] = is_replaced || limited == LIMITED_EVENTS_PER_TOPIC;
        limited += usize::from(!goes[index]);
    }
    goes
}

/// Events for some receivers only that are kept per topic, besides those for everyone.
const LIMITED_EVENTS_PER_TOPIC: usize = 8;

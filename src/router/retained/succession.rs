//! Which events of a topic stay when one more is among them.
//!
//! It follows from the events and their stamps alone, so all nodes of a cluster come to the same,
//! whatever came first: the last event for everyone; the one before it that the publisher of that
//! gets, if it does not get its own; and of those for some that came later the last for each
//! audience, up to [`LIMITED_EVENTS_PER_TOPIC`].

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
    let whole = entries.iter().rposition(|entry| !entry.is_limited());
    // What came behind the last one for everyone has changed nothing before that.
    if let Some(whole) = whole.filter(|whole| place <= *whole) {
        let left_out = entries[whole].event.left_out();
        let left_out = if place == whole { left_out.map(|_| publisher) } else { left_out };
        let spared = left_out.and_then(|publisher| {
            entries[..whole].iter().rposition(|entry| entry.event.audience.admits(publisher))
        });
        (0..whole).for_each(|index| goes[index] = Some(index) != spared);
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

//! Who may receive a publication: publisher exclusion and the six lists of a PUBLISH (AP-BWL,
//! AP-EXC), and who has come too late for it. Decided where the receiver lives, with the attributes
//! of its session.

use std::sync::Arc;

use crate::authorization::Managers;
use crate::wamp::{ReceiverFilter, SessionId, arc_block};

/// The attributes of a session that lists name.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub session: SessionId,
    pub authid: &'a str,
    pub authrole: &'a str,
}

/// The number of a publication on its realm, if it is of a kind that is numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    #[default]
    None,
    /// Among the retained events, from 1 on.
    Retained(u64),
    /// Among the meta events, from 0 on.
    Meta(u64),
}

/// What was numbered before somebody joined a subscription, and is not delivered to them although
/// it is still under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Horizon {
    /// Events retained up to this number came with the subscription; 0: none did (AP-RET-07).
    pub retained_until: u64,
    /// So many meta events had a number. Some of them may have passed the shard by, or were not
    /// even made, and those that came would tell of what followed from them.
    pub after_meta: u64,
}

impl Horizon {
    /// Whether a publication lies behind it.
    #[inline]
    pub const fn covers(self, numbering: Numbering) -> bool {
        match numbering {
            Numbering::None => false,
            Numbering::Retained(number) => number <= self.retained_until,
            Numbering::Meta(number) => number < self.after_meta,
        }
    }

    /// Covers what `other` covers, too.
    pub(crate) fn widen(&mut self, other: Self) {
        self.retained_until = self.retained_until.max(other.retained_until);
        self.after_meta = self.after_meta.max(other.after_meta);
    }
}

/// The restrictions on the receivers of one publication. Cloning shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// The publisher, if it must not receive its own event (BP-PUB-03).
    pub excluded: Option<SessionId>,
    /// Present if the publisher gave at least one list.
    pub lists: Option<Arc<ReceiverLists>>,
}

impl Audience {
    pub fn new(excluded: Option<SessionId>, filter: Option<Box<ReceiverFilter>>) -> Self {
        Self { excluded, lists: filter.map(|filter| Arc::new(ReceiverLists::new(*filter))) }
    }

    /// Those who may watch the router: whoever else has subscribed to a pattern hears nothing.
    pub fn of_managers(managers: &Managers) -> Self {
        let eligible_authrole = Some(managers.all().cloned().collect());
        let filter = ReceiverFilter { eligible_authrole, ..ReceiverFilter::default() };
        Self::new(None, Some(Box::new(filter)))
    }

    pub fn admits(&self, receiver: Identity<'_>) -> bool {
        self.excluded != Some(receiver.session)
            && self.lists.as_ref().is_none_or(|lists| lists.admit(receiver))
    }

    /// Whether lists name sessions, which are somebody else's tomorrow (AP-HIS-06).
    pub fn names_sessions(&self) -> bool {
        let filter = self.lists.as_ref().map(|lists| &lists.filter);
        filter.is_some_and(|filter| filter.exclude.is_some() || filter.eligible.is_some())
    }

    /// Bytes of memory that the lists take.
    pub fn weight(&self) -> usize {
        self.lists.as_ref().map_or(0, |lists| lists.weight)
    }
}

/// The lists of one PUBLISH, sorted: they may be as long as a message.
#[derive(Debug)]
pub struct ReceiverLists {
    filter: ReceiverFilter,
    /// Of the memory behind it, which equal lists may differ in.
    weight: usize,
}

impl PartialEq for ReceiverLists {
    fn eq(&self, other: &Self) -> bool {
        self.filter == other.filter
    }
}

impl Eq for ReceiverLists {}

impl ReceiverLists {
    fn new(mut filter: ReceiverFilter) -> Self {
        for ids in [&mut filter.exclude, &mut filter.eligible].into_iter().flatten() {
            ids.sort_unstable();
            ids.shrink_to_fit();
        }
        let names = [
            &mut filter.exclude_authid,
            &mut filter.exclude_authrole,
            &mut filter.eligible_authid,
            &mut filter.eligible_authrole,
        ];
        for names in names.into_iter().flatten() {
            names.sort_unstable();
            names.shrink_to_fit();
        }
        let weight = arc_block::<Self>() + filter.heap_bytes();
        Self { filter, weight }
    }

    /// Bytes of memory that the lists take, behind their `Arc`.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// The lists as the publisher gave them, but sorted.
    pub const fn filter(&self) -> &ReceiverFilter {
        &self.filter
    }

    /// Whether all lists that are present let `receiver` through (AP-BWL-02). Presence decides: an
    /// empty list of the eligible lets nobody through (AP-BWL-03).
    pub fn admit(&self, receiver: Identity<'_>) -> bool {
        let Identity { session, authid, authrole } = receiver;
        let ids = |list: &Option<Vec<SessionId>>| {
            list.as_ref().map(|ids| ids.binary_search(&session).is_ok())
        };
        let names = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().map(|names| names.binary_search_by(|n| n.as_str().cmp(name)).is_ok())
        };
        let filter = &self.filter;
        ids(&filter.eligible).unwrap_or(true)
            && names(&filter.eligible_authid, authid).unwrap_or(true)
            && names(&filter.eligible_authrole, authrole).unwrap_or(true)
            && !ids(&filter.exclude).unwrap_or(false)
            && !names(&filter.exclude_authid, authid).unwrap_or(false)
            && !names(&filter.exclude_authrole, authrole).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SessionId {
        SessionId::new(number).expect("a small number is an id")
    }

    /// AP-BWL-02, AP-BWL-03: the six lists against one session, alone and together.
    #[test]
    fn every_list_that_is_present_counts() {
        let me = Identity { session: id(7), authid: "joe", authrole: "user" };
        let ids = |numbers: &[u64]| Some(numbers.iter().map(|number| id(*number)).collect());
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let none = ReceiverFilter::default;
        for (filter, expected) in [
            (none(), true),
            (ReceiverFilter { eligible: ids(&[9, 7, 8]), ..none() }, true),
            (ReceiverFilter { eligible: ids(&[9, 8]), ..none() }, false),
            (ReceiverFilter { eligible: ids(&[]), ..none() }, false),
            (ReceiverFilter { exclude: ids(&[]), ..none() }, true),
            (ReceiverFilter { exclude: ids(&[9, 7, 8]), ..none() }, false),
            (ReceiverFilter { exclude_authid: names(&["zoe", "joe"]), ..none() }, false),
            (ReceiverFilter { exclude_authid: names(&["user"]), ..none() }, true),
            (ReceiverFilter { exclude_authrole: names(&["user"]), ..none() }, false),
            (ReceiverFilter { eligible_authid: names(&["zoe", "joe"]), ..none() }, true),
            (ReceiverFilter { eligible_authid: names(&[]), ..none() }, false),
            (ReceiverFilter { eligible_authrole: names(&["admin"]), ..none() }, false),
            (ReceiverFilter { eligible_authrole: names(&["user"]), ..none() }, true),
            (ReceiverFilter { eligible: ids(&[7]), exclude: ids(&[7]), ..none() }, false),
            (
                ReceiverFilter { eligible: ids(&[7]), eligible_authrole: names(&["a"]), ..none() },
                false,
            ),
        ] {
            let audience = Audience::new(None, Some(Box::new(filter.clone())));
            assert_eq!(audience.admits(me), expected, "{filter:?}");
            let excluded = Audience::new(Some(id(7)), Some(Box::new(filter)));
            assert!(!excluded.admits(me), "publisher exclusion applies in addition (AP-BWL-04)");
        }
    }
}

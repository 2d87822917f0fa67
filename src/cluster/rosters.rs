//! Who listens to the meta events of sessions and subscriptions: sessions of this node, for which
//! others tell what stands there and what comes of it, and other nodes, for which this one does.
//!
//! Each listening has a number of the listener's node, by which the other one names it. A roster is
//! told in pieces while there is room in the queue. Events for which there is none are not told,
//! and nothing is until the queue is short: then the roster is told anew, and the listener's node
//! compares. So what waits is bounded, and what stands is known in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::router::{MetaFamily, NodeNumber, Realm, SessionRef};
use crate::shard::{RosterCall, RosterCursor};
use crate::wamp::SessionId;

/// Which meta events: of a realm, by its name, and a family.
pub(super) type Feed = (Arc<str>, MetaFamily);

#[derive(Debug, Default)]
pub(super) struct Rosters {
    /// What sessions of this node listen to.
    listened: BTreeMap<Feed, Listened>,
    /// What other nodes do, and this one itself.
    served: BTreeMap<Feed, Vec<Serving>>,
    /// Who is told that it hears all once it does: the last ticket of each session.
    waiting: BTreeMap<SessionId, Waiting>,
    /// Some of these may wait no longer.
    is_news: bool,
    last_number: u64,
    last_serial: u64,
}

/// A feed that sessions of this node listen to.
#[derive(Debug)]
pub(super) struct Listened {
    pub(super) number: u64,
    /// The nodes, perhaps this one, that have not told all that stands there.
    awaited: BTreeSet<NodeNumber>,
    /// All had once told all, and the home shard knows.
    is_complete: bool,
    /// At the last look nobody listened.
    is_idle: bool,
}

/// A node that listens.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) node: NodeNumber,
    /// By which it names its listening.
    pub(super) number: u64,
    /// `None`: it is not configured here.
    pub(super) realm: Option<Arc<Realm>>,
    /// What is told of this roster, and not of one before.
    serial: u64,
    state: State,
    /// It tells its listeners what it has not heard of.
    is_news: bool,
    /// It is this node.
    pub(super) is_own: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next piece begins here.
    Due(RosterCursor),
    /// The home shard looks.
    Asked,
    /// All was told; events are.
    Told,
    /// Events were not told.
    Behind,
}

#[derive(Debug)]
struct Waiting {
    session: SessionRef,
    ticket: u64,
    feeds: BTreeSet<Feed>,
}

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addressee {
    pub(super) node: NodeNumber,
    pub(super) number: u64,
    pub(super) is_own: bool,
}

impl Rosters {
    /// A session listens. `Some`: nobody did before, so others are to be told the number; they and
    /// this node itself are awaited, as far as `awaited` names them.
    pub(super) fn listen(&mut self, feed: &Feed, awaited: BTreeSet<NodeNumber>) -> Option<u64> {
        if let Some(listened) = self.listened.get_mut(feed) {
            listened.is_idle = false;
            return None;
        }
        self.last_number += 1;
        let number = self.last_number;
        self.listened
            .insert(feed.clone(), Listened { number, awaited, is_complete: false, is_idle: false });
        Some(number)
    }

    /// What this node listens to, and the numbers of that.
    pub(super) fn listened(&self) -> impl Iterator<Item = (&Feed, u64)> {
        self.listened.iter().map(|(feed, listened)| (feed, listened.number))
    }

    /// What another node names by this number.
    pub(super) fn feed_of(&self, number: u64) -> Option<&Feed> {
        self.listened().find(|(_, other)| *other == number).map(|(feed, _)| feed)
    }

    /// A link with a node is open: it will tell what stands there.
    pub(super) fn await_node(&mut self, node: NodeNumber) {
        for listened in self.listened.values_mut() {
            listened.awaited.insert(node);
        }
    }

    /// A node has told all of a feed.
    pub(super) fn complete(&mut self, feed: &Feed, node: NodeNumber) {
        if let Some(listened) = self.listened.get_mut(feed) {
            listened.awaited.remove(&node);
            self.is_news = true;
        }
    }

    /// The next feed of which all have told all for the first time.
    pub(super) fn take_complete(&mut self) -> Option<Feed> {
        let mut listened = self.listened.iter_mut();
        let is_it = |it: &Listened| it.awaited.is_empty() && !it.is_complete;
        let (feed, listened) = listened.find(|(_, listened)| is_it(listened))?;
        listened.is_complete = true;
        Some(feed.clone())
    }

    /// A link has ended: nobody waits for that node, and nothing is told there. Returns what it
    /// listened to.
    pub(super) fn close(&mut self, node: NodeNumber) -> Vec<(MetaFamily, Arc<Realm>)> {
        for listened in self.listened.values_mut() {
            listened.awaited.remove(&node);
        }
        self.is_news = true;
        let mut realms = Vec::new();
        for ((_, family), serving) in &mut self.served {
            serving.retain(|serving| {
                let stays = serving.node != node;
                realms
                    .extend(serving.realm.clone().filter(|_| !stays).map(|realm| (*family, realm)));
                stays
            });
        }
        self.served.retain(|_, serving| !serving.is_empty());
        realms
    }

    /// Looks whether sessions still listen, which `is_heard` tells: what nobody did at two looks is
    /// given up, and returned with its number.
    pub(super) fn give_up_unheard(&mut self, is_heard: impl Fn(&Feed) -> bool) -> Vec<(Feed, u64)> {
        let mut given_up = Vec::new();
        self.is_news = true;
        self.listened.retain(|feed, listened| {
            let was_idle = std::mem::replace(&mut listened.is_idle, !is_heard(feed));
            let stays = !(was_idle && listened.is_idle);
            if !stays {
                given_up.push((feed.clone(), listened.number));
            }
            stays
        });
        given_up
    }

    /// A node listens from now on, and is told what stands here.
    pub(super) fn serve(
        &mut self,
        feed: &Feed,
        (node, number): (NodeNumber, u64),
        realm: Option<Arc<Realm>>,
        (is_news, is_own): (bool, bool),
    ) {
        let state = if realm.is_some() { State::begin(feed.1) } else { State::Told };
        let serving = Serving { node, number, realm, serial: 0, state, is_news, is_own };
        self.served.entry(feed.clone()).or_default().push(serving);
    }

    /// A node does not listen any more; what it has listened to.
    pub(super) fn dismiss(&mut self, node: NodeNumber, number: u64) -> Vec<(Feed, Serving)> {
        let mut dismissed = Vec::new();
        for (feed, all) in &mut self.served {
            let is_it = |serving: &mut Serving| serving.node == node && serving.number == number;
            dismissed.extend(all.extract_if(.., is_it).map(|serving| (feed.clone(), serving)));
        }
        self.served.retain(|_, all| !all.is_empty());
        dismissed
    }

    /// Whether there is somebody to be told something in any turn.
    pub(super) fn serves(&self) -> bool {
        !self.served.is_empty()
    }

    /// Those who are to be told an event of a feed.
    pub(super) fn listeners(&mut self, feed: &Feed) -> impl Iterator<Item = &mut Serving> {
        let all = self.served.get_mut(feed).into_iter().flatten();
        all.filter(|serving| !serving.is_own && serving.state != State::Behind)
    }

    /// All who listen, with what they do.
    pub(super) fn serving(&mut self) -> impl Iterator<Item = (&Feed, &mut Serving)> {
        self.served.iter_mut().flat_map(|(feed, all)| all.iter_mut().map(move |one| (feed, one)))
    }

    /// The next piece to be asked for of those who have room, and whether it is for this node
    /// itself; a roster that was behind begins anew.
    pub(super) fn next_call(
        &mut self,
        has_room: impl Fn(&Serving) -> bool,
    ) -> Option<(RosterCall, bool)> {
        let last_serial = &mut self.last_serial;
        for (feed, all) in &mut self.served {
            for serving in all {
                if let Some(call) = serving.next_call(feed.1, last_serial, &has_room) {
                    return Some((call, serving.is_own));
                }
            }
        }
        None
    }

    /// A home shard has looked: for whom. `None`: that roster is told no more.
    pub(super) fn take_answer(
        &mut self,
        serial: u64,
        cursor: RosterCursor,
        is_last: bool,
    ) -> Option<(Feed, Addressee)> {
        let (feed, serving) = self.serving().find(|(_, it)| it.serial == serial)?;
        if serving.state != State::Asked {
            return None;
        }
        serving.state = if is_last { State::Told } else { State::Due(cursor) };
        let Serving { node, number, is_own, .. } = *serving;
        Some((feed.clone(), Addressee { node, number, is_own }))
    }

    /// A session waits until all of these feeds are told everywhere, with its last ticket.
    pub(super) fn wait(&mut self, session: SessionRef, ticket: u64, feeds: BTreeSet<Feed>) {
        let waiting = self.waiting.entry(session.session);
        let waiting = waiting.or_insert(Waiting { session, ticket, feeds: BTreeSet::new() });
        waiting.ticket = waiting.ticket.max(ticket);
        waiting.feeds.extend(feeds);
        self.is_news = true;
    }

    /// Whether a session that has asked for something else waits for feeds, and so with it.
    pub(super) fn waits(&self, session: SessionId) -> bool {
        self.waiting.contains_key(&session)
    }

    /// The sessions that hear all by now, with their tickets.
    pub(super) fn take_heard(&mut self) -> Vec<(SessionRef, u64)> {
        if !std::mem::take(&mut self.is_news) {
            return Vec::new();
        }
        let listened = &self.listened;
        let is_told = |feed: &Feed| listened.get(feed).is_none_or(|it| it.awaited.is_empty());
        let heard = self.waiting.extract_if(.., |_, it| it.feeds.iter().all(is_told));
        heard.map(|(_, Waiting { session, ticket, .. })| (session, ticket)).collect()
    }

    /// How many feeds sessions here listen to, how many listen to this node, and how many sessions
    /// wait.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let served = self.served.values().map(Vec::len).sum();
        (self.listened.len(), served, self.waiting.len())
    }
}

impl State {
    const fn begin(family: MetaFamily) -> Self {
        Self::Due(RosterCursor::of(family))
    }
}

impl Serving {
    /// There was no room for an event.
    pub(super) const fn fall_behind(&mut self) {
        self.state = State::Behind;
    }

    /// The realm is another one, or none any more.
    pub(super) fn change_realm(&mut self, family: MetaFamily, realm: Option<Arc<Realm>>) {
        self.state = if realm.is_some() { State::begin(family) } else { State::Told };
        (self.realm, self.is_news, self.serial) = (realm, true, 0);
    }

    fn next_call(
        &mut self,
        family: MetaFamily,
        last_serial: &mut u64,
        has_room: impl Fn(&Self) -> bool,
    ) -> Option<RosterCall> {
        if matches!(self.state, State::Asked | State::Told) || !has_room(self) {
            return None;
        }
        if self.state == State::Behind {
            (self.state, self.is_news, self.serial) = (State::begin(family), true, 0);
        }
        let State::Due(cursor) = self.state else { return None };
        if self.serial == 0 {
            *last_serial += 1;
            self.serial = *last_serial;
        }
        let realm = Arc::clone(self.realm.as_ref()?);
        self.state = State::Asked;
        let Self { serial, is_news, .. } = *self;
        Some(RosterCall { realm, serial, cursor, is_news })
    }
}

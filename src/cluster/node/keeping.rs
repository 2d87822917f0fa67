//! What a node keeps of what others publish: retained events and event histories, live and copied.
//!
//! A node writes its own events to its own store: PUBLISHED waits for that one, and for no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::copies::{self, Copies, books, holds};
use super::super::entry::{Book, Entry, ForeignEvent, Unreadable};
use super::super::peer::Peer;
use super::super::wire::Incarnation;
use super::Node;
use crate::router::{
    Batch, Deposit, History, Holds, Numbering, Pushed, Realm, Record, RetainedEvent, Stamp,
    StoredEvent,
};
use crate::shard::Elsewhere;
use crate::wamp::Timestamp;

/// What a node needs to keep events of others.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The present of this turn: what a history says of ages goes by it.
    wall_clock: Timestamp,
    /// What the event at hand leaves on disk.
    records: Vec<Record>,
    /// What goes to the store at the end of the turn.
    deposits: Batch<Deposit>,
    /// Links that had ended when the others were last asked what is lacking.
    links_ended: u64,
    /// The realms by their numbers, as they were at the last look.
    realms: Vec<usize>,
    /// Up to which stamp realms keep nothing more, as others were told.
    floors: BTreeMap<Box<str>, Stamp>,
}

impl Node {
    /// A turn begins, now by the calendar: to be said before anything is received in it.
    pub fn begin_turn(&mut self, wall_clock: Timestamp) {
        self.keeping.wall_clock = wall_clock;
    }

    /// What is to be stored; `None` if there is nothing. Nobody waits for it.
    pub fn take_deposits(&mut self) -> Option<Batch<Deposit>> {
        let deposits = &mut self.keeping.deposits;
        (!deposits.is_empty()).then(|| std::mem::take(deposits))
    }

    /// Keeps an event of another node, as far as it is to be kept. Returns its number among the
    /// retained events, and whether it was kept nowhere.
    pub(super) fn keep(&mut self, realm: &Realm, event: &ForeignEvent) -> (Numbering, bool) {
        let mut numbering = Numbering::None;
        if let Some(kept) = &event.kept {
            let retained = RetainedEvent {
                publication: event.publication,
                stamp: kept.stamp,
                audience: event.audience.clone(),
                publisher: kept.publisher.clone(),
                details: event.details.clone(),
                payload: event.payload.clone(),
            };
            numbering = Numbering::Retained(self.retain(realm, &event.topic, retained));
        }
        let is_recorded = !realm.histories.is_empty() && self.record(realm, event);
        self.deposit();
        (numbering, !is_recorded && event.kept.is_none())
    }

    fn retain(&mut self, realm: &Realm, topic: &str, event: RetainedEvent) -> u64 {
        let edition = self.router.edition();
        let stored = realm.retained.store_stamped(topic, event, &edition.settings.limits);
        self.router.cluster_counters().retained_dropped.add(stored.dropped);
        let number = stored.number;
        if edition.settings.durable_retained {
            self.keeping.records.extend(stored.into_records(realm.name()));
        }
        number
    }

    /// Appends an event to the histories of its topic, unless its receivers are named by session.
    fn record(&mut self, realm: &Realm, event: &ForeignEvent) -> bool {
        let fanouts = realm.topics.matches(&event.topic);
        let mut histories = realm.histories.among(&fanouts).peekable();
        if histories.peek().is_none() || event.audience.names_sessions() {
            return false;
        }
        let stored = Arc::new(StoredEvent {
            timestamp: event.at,
            publication: event.publication,
            topic: event.topic.clone(),
            lists: event.audience.lists.clone(),
            details: event.details.clone(),
            payload: event.payload.clone(),
        });
        for history in histories {
            let pushed = history.push_foreign(Arc::clone(&stored), self.keeping.wall_clock);
            self.note_pushed(history, pushed, &stored);
        }
        true
    }

    fn note_pushed(
        &mut self,
        history: &Arc<History>,
        pushed: Option<Pushed>,
        event: &Arc<StoredEvent>,
    ) {
        let Some(pushed) = pushed else { return };
        let counters = self.router.cluster_counters();
        counters.history_events.increment();
        counters.history_evicted.add(pushed.dropped as u64);
        self.keeping.records.extend(history.record_of(pushed, event));
    }

    /// Hands what was recorded to the store: all of it is saved, or nothing.
    fn deposit(&mut self) {
        if !self.keeping.records.is_empty() {
            let records = std::mem::take(&mut self.keeping.records);
            self.keeping.deposits.push(Deposit::new(records, None, &self.held));
        }
    }

    /// What another node says of copies.
    pub(super) fn handle_copies(
        &mut self,
        from: Incarnation,
        entry: Entry,
    ) -> Result<(), Unreadable> {
        match entry {
            Entry::Holds { book, holds, edge } => self.handle_holds(from, book, holds, edge),
            Entry::Edge { book, edge } => self.handle_edge(&book, edge),
            Entry::Retained { realm, topic, event } => {
                if let Some(realm) = self.router.realm(&realm) {
                    self.retain(&realm, &topic, *event);
                }
            }
            Entry::Recorded { book, event } => self.handle_recorded(&book, &Arc::new(*event)),
            entry => return self.handle_offers(from, entry),
        }
        self.deposit();
        Ok(())
    }

    fn handle_offers(&mut self, from: Incarnation, entry: Entry) -> Result<(), Unreadable> {
        let Peer { copies, link, .. } = self.peers.get_mut(&from).expect("it has said so");
        match entry {
            Entry::Offer { book, offered } => {
                return copies.answer(link, &self.router, (&book, &offered));
            }
            Entry::Wants(wanted) => return copies.hear_wants(&wanted),
            Entry::HoldsEnd => copies.answer_when_done(),
            Entry::Copied => copies.has_all(),
            other => debug_assert!(false, "nothing of copies: {other:?}"),
        }
        Ok(())
    }

    /// Another node has this of a book: if that is not what is here, it is offered that.
    fn handle_holds(&mut self, from: Incarnation, book: Book, theirs: Holds, edge: Option<Stamp>) {
        if let Some(edge) = edge.filter(|_| book.pattern.is_none()) {
            self.handle_edge(&book, edge);
        }
        let Some((own, own_edge)) = holds(&self.router, &book) else { return };
        let Peer { copies, link, .. } = self.peers.get_mut(&from).expect("it has said so");
        if own != theirs {
            copies.owe(book);
        } else if let Some(own_edge) = own_edge.filter(|_| own_edge > edge) {
            Copies::say_edge(link, &book, own_edge);
        }
    }

    /// Another node keeps nothing of a book up to here. Retained events go here, too, as a limit
    /// is one of all nodes; of a history is noted that it may not reach back further.
    fn handle_edge(&mut self, book: &Book, edge: Stamp) {
        let Some(realm) = self.router.realm(&book.realm) else { return };
        if book.pattern.is_some() {
            let history = copies::history(&realm, book);
            self.keeping.records.extend(history.and_then(|it| it.note_evicted(edge.at)));
            return;
        }
        let is_durable = self.router.edition().settings.durable_retained;
        let mut is_done = false;
        while !is_done {
            let (numbers, was_last) = realm.retained.raise_floor(edge, RELEASED_AT_ONCE);
            is_done = was_last;
            if is_durable && !numbers.is_empty() {
                let realm = Arc::clone(realm.name());
                self.keeping.records.push(Record::Released { realm, numbers });
            }
        }
    }

    fn handle_recorded(&mut self, book: &Book, event: &Arc<StoredEvent>) {
        let Some(realm) = self.router.realm(&book.realm) else { return };
        let Some(history) = copies::history(&realm, book) else { return };
        let pushed = history.push_copy(Arc::clone(event), self.keeping.wall_clock);
        self.note_pushed(history, pushed, event);
    }

    /// Tells the others what the histories want, for which nobody subscribes.
    pub(super) fn tell_standing(&mut self) {
        let mut wanted = Vec::new();
        for realm in self.router.realms() {
            for history in realm.histories.iter() {
                let Some(described) = realm.topics.get(history.subscription) else { continue };
                let (policy, uri) = (described.policy, &described.uri);
                let (slot, shape) = self.interest.place(realm.name(), policy, uri);
                wanted.extend(self.handle_wanted(slot, shape));
            }
        }
        self.tell_slots(wanted);
    }

    /// Looks for realms that have come and gone, and for limits that were reached.
    pub(super) fn look_at_books(&mut self) {
        let realms = self.router.realms();
        let mut numbers: Vec<_> = realms.iter().map(|realm| realm.number()).collect();
        numbers.sort_unstable();
        if self.keeping.realms != numbers {
            self.keeping.realms = numbers;
            self.tell_standing();
            self.ask_all();
        }
        for realm in realms {
            let (_, Some(floor)) = realm.retained.holds_in_short() else { continue };
            let name: &str = realm.name();
            if self.keeping.floors.get(name) != Some(&floor) {
                self.keeping.floors.insert(name.into(), floor);
                let book = Book { realm: name.into(), pattern: None };
                self.open_peers().for_each(|peer| {
                    Copies::say_edge(&mut peer.link, &book, floor);
                });
            }
        }
        self.keeping.floors.retain(|name, _| self.router.realm(name).is_some());
    }

    /// Asks all for what may be lacking here.
    fn ask_all(&mut self) {
        let books = books(&self.router);
        self.open_peers().for_each(|peer| peer.copies.ask(books.clone()));
    }

    /// Where a step of a copy was dealt with, the copy goes on. What a node that is gone had for
    /// all may have come to some only, so these compare once more.
    pub(super) fn go_on_copying(&mut self) {
        if self.keeping.links_ended != self.counts.links_ended {
            self.keeping.links_ended = self.counts.links_ended;
            self.ask_all();
        }
        let half = self.settings.queue_bytes / 2;
        for Peer { copies, link, .. } in self.peers.values_mut() {
            let has_room = link.queued_bytes() <= half;
            copies.go_on(link, &self.router, has_room);
        }
    }
}

/// The books that an event of this node is in.
pub(super) fn books_of(event: &Elsewhere) -> Vec<Book> {
    let book = |pattern| Book { realm: (&**event.realm.name()).into(), pattern };
    let fanouts = event.realm.topics.matches(&event.topic);
    let histories = event.realm.histories.among(&fanouts);
    let patterns = histories.filter_map(|history| {
        let described = event.realm.topics.get(history.subscription)?;
        Some((described.policy, described.uri))
    });
    let retained = event.kept.as_ref().map(|_| book(None));
    retained.into_iter().chain(patterns.map(|pattern| book(Some(pattern)))).collect()
}

/// Retained events that are let go under one lock.
const RELEASED_AT_ONCE: usize = 256;

//! What two nodes keep alike: retained events and event histories, copied through a link.
//!
//! Each end says what its books hold, in short; where that is not what the other end has, the other
//! offers its events, and sends those that are wanted. One step is on its way at a time, and waits
//! until it was dealt with: so a copy of any length holds nothing up, and what is sent live goes
//! on beside it. Events that are published meanwhile come live.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::entry::{
    Book, MOST_OFFERED, Offered, Unreadable, encode_copied, encode_edge, encode_holds,
    encode_holds_end, encode_offer, encode_recorded, encode_retained, encode_wants,
};
use super::link::Link;
use crate::router::{History, Holds, Realm, Router, Stamp};

/// What is copied through one link, in both directions.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Books that the other end is to be told of, so that it offers what this one lacks.
    telling: Option<VecDeque<Book>>,
    /// Books in which the other end may lack something, each once.
    due: BTreeSet<Book>,
    /// The same, when less waits for it: events of them were dropped.
    missed: BTreeSet<Book>,
    /// The other end has told of all its books, and waits for word that all is offered.
    is_asked: bool,
    stage: Stage,
    /// The parcel that ends what was said last.
    said_at: u64,
    /// The same of the last answer to an offer.
    answered_at: u64,
    /// The other end has offered all that this one lacked when it asked first.
    has_all: bool,
    /// The parcel that has said so to the other end.
    copied_at: Option<u64>,
}

/// How far the offers of a book are.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Next(Book, Place),
    /// These were offered, from old to new.
    Asked(Book, Place, Vec<Event>),
    /// These are wanted.
    Sends(Book, Place, VecDeque<Event>),
}

/// Where the next offer begins. Only what was there when the first one did is offered: else there
/// might be no end of it.
#[derive(Clone, Debug)]
struct Place {
    /// The number of the last event that is offered.
    until: u64,
    /// Behind this topic, of retained events; `None`: with the first.
    after: Option<Arc<str>>,
    /// At this number, of a history.
    from: u64,
}

/// An event of a book, as the book finds it again.
#[derive(Debug)]
enum Event {
    Retained(Arc<str>, Stamp),
    Recorded(u64),
}

impl Copies {
    /// The other end is to offer what this one lacks of these books. It has none of it yet if the
    /// link has just begun.
    pub(super) fn ask(&mut self, books: VecDeque<Book>) {
        self.telling = Some(books);
    }

    /// The other end may lack something of a book.
    pub(super) fn owe(&mut self, book: Book) {
        self.due.insert(book);
    }

    /// An event of a book was dropped, as too much waited for the other end.
    pub(super) fn miss(&mut self, book: Book) {
        self.missed.insert(book);
    }

    /// The other end has told of all its books.
    pub(super) const fn answer_when_done(&mut self) {
        self.is_asked = true;
    }

    /// The other end has offered all that was lacking.
    pub(super) const fn has_all(&mut self) {
        self.has_all = true;
    }

    /// Whether both ends have what the other had when the link began.
    pub(super) fn is_complete(&self, link: &Link) -> bool {
        self.has_all && self.copied_at.is_some_and(|number| link.is_handled(number))
    }

    /// Says an edge of a book behind which this node keeps nothing more.
    pub(super) fn say_edge(link: &mut Link, book: &Book, edge: Stamp) {
        let mut entry = Vec::new();
        encode_edge(book, edge, &mut entry);
        link.push(&entry, false);
    }

    /// Answers an offer.
    ///
    /// # Errors
    /// If the other end has not dealt with the last answer: it is not to offer more.
    pub(super) fn answer(
        &mut self,
        link: &mut Link,
        router: &Router,
        (book, offered): (&Book, &Offered),
    ) -> Result<(), Unreadable> {
        if !link.is_handled(self.answered_at) {
            return Err(Unreadable);
        }
        let mut entry = Vec::new();
        encode_wants(&lacking(router, book, offered), &mut entry);
        self.answered_at = link.push(&entry, true);
        Ok(())
    }

    /// The other end says what it wants of what was offered last.
    ///
    /// # Errors
    /// If it was not asked, or says less.
    pub(super) fn hear_wants(&mut self, wanted: &[bool]) -> Result<(), Unreadable> {
        let Stage::Asked(book, place, events) = std::mem::take(&mut self.stage) else {
            return Err(Unreadable);
        };
        if wanted.len() < events.len() {
            return Err(Unreadable);
        }
        let wanted = events.into_iter().zip(wanted).filter(|(_, wanted)| **wanted);
        self.stage = Stage::Sends(book, place, wanted.map(|(event, _)| event).collect());
        Ok(())
    }

    /// Goes on until something waits to be dealt with, or there is nothing to do. `has_room`: not
    /// much waits for the other end.
    pub(super) fn go_on(&mut self, link: &mut Link, router: &Router, has_room: bool) {
        while link.is_open() && link.is_handled(self.said_at) && self.step(link, router, has_room) {
        }
    }

    /// One step: something is said, or found not to be worth it. `false`: there is none.
    fn step(&mut self, link: &mut Link, router: &Router, has_room: bool) -> bool {
        if let Some(books) = self.telling.take() {
            self.tell(link, router, books);
            return true;
        }
        match std::mem::take(&mut self.stage) {
            Stage::Idle => return self.begin(link, router, has_room),
            Stage::Next(book, place) => self.offer(link, router, book, place),
            Stage::Sends(book, place, events) => self.send(link, router, (book, place, events)),
            asked @ Stage::Asked(..) => {
                self.stage = asked;
                return false;
            }
        }
        true
    }

    /// Tells of some books.
    fn tell(&mut self, link: &mut Link, router: &Router, mut books: VecDeque<Book>) {
        let mut said = Vec::new();
        for book in books.drain(..books.len().min(BOOKS_PER_STEP)) {
            if let Some((holds, edge)) = holds(router, &book) {
                encode_holds(&book, holds, edge, &mut said);
            }
        }
        if books.is_empty() {
            encode_holds_end(&mut said);
        } else {
            self.telling = Some(books);
        }
        self.say(link, &said);
    }

    /// The next book that is due, or the word that there is none.
    fn begin(&mut self, link: &mut Link, router: &Router, has_room: bool) -> bool {
        if has_room {
            self.due.append(&mut self.missed);
        }
        if let Some(book) = self.due.pop_first() {
            if let Some(realm) = router.realm(&book.realm) {
                let history = history(&realm, &book);
                let until = match history {
                    Some(history) => history.last_number(),
                    None => realm.retained.last_number(),
                };
                self.stage = Stage::Next(book, Place { until, after: None, from: 0 });
            }
            return true;
        }
        let is_asked = std::mem::take(&mut self.is_asked);
        if is_asked {
            let mut said = Vec::new();
            encode_copied(&mut said);
            self.say(link, &said);
            self.copied_at.get_or_insert(self.said_at);
        }
        is_asked
    }

    /// Offers the next events of a book; behind the last one comes the edge, from which on it was
    /// whole.
    fn offer(&mut self, link: &mut Link, router: &Router, book: Book, place: Place) {
        let (mut said, realm) = (Vec::new(), router.realm(&book.realm));
        let listed = realm.and_then(|realm| list(&realm, &book, &place));
        match listed {
            Some((offered, events, next)) => {
                encode_offer(&book, &offered, &mut said);
                self.stage = Stage::Asked(book, next, events);
            }
            None => {
                let Some((_, Some(edge))) = holds(router, &book) else { return };
                encode_edge(&book, edge, &mut said);
            }
        }
        self.say(link, &said);
    }

    /// Sends some of the events that are wanted and still there.
    fn send(
        &mut self,
        link: &mut Link,
        router: &Router,
        (book, place, mut events): (Book, Place, VecDeque<Event>),
    ) {
        let (mut entry, mut bytes) = (Vec::new(), 0);
        let realm = router.realm(&book.realm);
        let history = realm.as_ref().and_then(|realm| history(realm, &book).map(Arc::clone));
        while bytes < BYTES_PER_STEP {
            let Some(event) = events.pop_front() else {
                self.stage = Stage::Next(book, place);
                return;
            };
            entry.clear();
            match (&event, &realm, &history) {
                (Event::Retained(topic, stamp), Some(realm), _) => {
                    let Some(event) = realm.retained.get(topic, *stamp) else { continue };
                    encode_retained(realm.name(), topic, &event, &mut entry);
                }
                (Event::Recorded(number), _, Some(history)) => {
                    let Some(event) = history.event(*number) else { continue };
                    encode_recorded(&book, &event, &mut entry);
                }
                _ => continue,
            }
            bytes += entry.len();
            self.say(link, &entry);
        }
        self.stage = Stage::Sends(book, place, events);
    }

    fn say(&mut self, link: &mut Link, entry: &[u8]) {
        self.said_at = link.push(entry, true);
    }
}

/// The books of a node.
pub(super) fn books(router: &Router) -> VecDeque<Book> {
    let mut books = VecDeque::new();
    for realm in router.realms() {
        let name = || (&**realm.name()).into();
        books.push_back(Book { realm: name(), pattern: None });
        let patterns = realm.histories.iter().filter_map(|history| {
            let described = realm.topics.get(history.subscription)?;
            Some((described.policy, described.uri))
        });
        books.extend(patterns.map(|pattern| Book { realm: name(), pattern: Some(pattern) }));
    }
    books
}

/// What a book holds, and from where on it is whole; `None` if there is no such book.
pub(super) fn holds(router: &Router, book: &Book) -> Option<(Holds, Option<Stamp>)> {
    let realm = router.realm(&book.realm)?;
    if book.pattern.is_none() {
        return Some(realm.retained.holds_in_short());
    }
    let (holds, evicted) = history(&realm, book)?.holds_in_short();
    Some((holds, evicted.map(|at| Stamp { at, node: None })))
}

/// The history that a book is.
pub(super) fn history<'a>(realm: &'a Realm, book: &Book) -> Option<&'a Arc<History>> {
    let (policy, uri) = book.pattern.as_ref()?;
    let found = realm.topics.look_up(uri, *policy)?;
    realm.histories.get(found.subscription)
}

/// The next events of a book from a place on, and where those behind them begin.
fn list(realm: &Realm, book: &Book, place: &Place) -> Option<(Offered, Vec<Event>, Place)> {
    if book.pattern.is_some() {
        let listed = history(realm, book)?.list_from(place.from, place.until, MOST_OFFERED);
        let next = Place { from: listed.last()?.0 + 1, ..place.clone() };
        let offered = listed.iter().map(|(_, publication, at)| (*publication, *at));
        let offered = Offered::Recorded(offered.collect());
        let events = listed.into_iter().map(|(number, ..)| Event::Recorded(number));
        return Some((offered, events.collect(), next));
    }
    let most = (MOST_OFFERED - MOST_OF_A_TOPIC, TOPIC_BYTES_PER_STEP);
    let (listed, last) = realm.retained.list_behind(place.after.as_deref(), place.until, most)?;
    let next = Place { after: Some(last), ..place.clone() };
    let offered = listed.iter().map(|(topic, stamp)| ((**topic).into(), *stamp));
    let offered = Offered::Retained(offered.collect());
    let event = |(topic, stamp)| Event::Retained(topic, stamp);
    Some((offered, listed.into_iter().map(event).collect(), next))
}

/// Of events that another node offers, those that are wanted here.
fn lacking(router: &Router, book: &Book, offered: &Offered) -> Vec<bool> {
    let realm = router.realm(&book.realm);
    match (realm, offered) {
        (Some(realm), Offered::Retained(events)) => {
            events.iter().map(|(topic, stamp)| realm.retained.lacks(topic, *stamp)).collect()
        }
        (Some(realm), Offered::Recorded(events)) => {
            let nothing = || vec![false; events.len()];
            history(&realm, book).map_or_else(nothing, |history| history.lacking(events))
        }
        (None, Offered::Retained(events)) => vec![false; events.len()],
        (None, Offered::Recorded(events)) => vec![false; events.len()],
    }
}

/// Books that another node is told of in one step.
const BOOKS_PER_STEP: usize = 64;

/// Bytes of events that are sent in one step, but for the last of them.
const BYTES_PER_STEP: usize = 256 * 1024;

/// Bytes of topics that are offered in one step, but for the last of them.
const TOPIC_BYTES_PER_STEP: usize = 32 * 1024;

/// More than a topic has retained events.
const MOST_OF_A_TOPIC: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::link::LinkLimits;
    use super::super::wire::{Head, Incarnation};
    use super::*;
    use crate::clock::Millis;
    use crate::hash::HashSeed;
    use crate::router::{RealmSettings, Settings};
    use crate::wamp::Timestamp;

    /// What one end has for the other arrives.
    fn pass(from: &mut Link, to: &mut Link) {
        let mut bytes = Vec::new();
        while from.take_transmit(Millis(1), &mut bytes) {
            let (head, body) = Head::decode(&bytes).expect("it is a head");
            to.receive(&head, body, Millis(1)).expect("it is well-formed");
            bytes.clear();
        }
    }

    fn linked() -> (Link, Link) {
        let limits = LinkLimits::new(1, 1 << 20, 10_000);
        let link = |name| Link::new(Incarnation(name), limits, Millis(0));
        let (mut here, mut there) = (link(1), link(2));
        for _ in 0..3 {
            pass(&mut here, &mut there);
            pass(&mut there, &mut here);
        }
        assert!(here.is_open() && there.is_open());
        (here, there)
    }

    fn router() -> Router {
        let realms = vec![RealmSettings::named("realm1")];
        Router::new(Settings::default(), realms, 1, HashSeed::new(1))
    }

    /// Who offers more before the answer was dealt with, or answers what was not asked, or only a
    /// part of it, is no node of these versions.
    #[test]
    fn a_node_speaks_in_turn() {
        let (router, (mut here, mut there)) = (router(), linked());
        let mut copies = Copies::default();
        assert_eq!(copies.hear_wants(&[true; 8]), Err(Unreadable), "nothing was offered");
        let (table, none) = (Book { realm: "realm1".into(), pattern: None }, Stamp::default());
        let stamp = Stamp { at: Timestamp::from_unix_us(1), ..none };
        let offered = Offered::Retained(vec![("com.x".into(), stamp)]);
        assert_eq!(copies.answer(&mut here, &router, (&table, &offered)), Ok(()));
        let again = copies.answer(&mut here, &router, (&table, &offered));
        assert_eq!(again, Err(Unreadable), "the first answer is under way");
        pass(&mut here, &mut there);
        there.handle_all(Millis(1));
        pass(&mut there, &mut here);
        assert_eq!(copies.answer(&mut here, &router, (&table, &offered)), Ok(()));
        let place = Place { until: 1, after: None, from: 0 };
        let events = vec![Event::Recorded(1), Event::Recorded(2)];
        copies.stage = Stage::Asked(table, place, events);
        assert_eq!(copies.hear_wants(&[true]), Err(Unreadable), "two were offered");
    }

    /// Only what is lacking is wanted, and nothing of a book that is not there.
    #[test]
    fn what_is_lacking_is_wanted() {
        let router = router();
        let book = |realm: &str| Book { realm: realm.into(), pattern: None };
        let stamp = |at| Stamp { at: Timestamp::from_unix_us(at), node: None };
        let two = [1, 9].map(|at| ("com.x".into(), stamp(at)));
        let offered = Offered::Retained(two.to_vec());
        let realm = router.realm("realm1").expect("it is configured");
        realm.retained.raise_floor(stamp(5), 1);
        assert_eq!(lacking(&router, &book("realm1"), &offered), [false, true]);
        assert_eq!(lacking(&router, &book("realm2"), &offered), [false, false]);
        assert_eq!(holds(&router, &book("realm1")), Some((Holds::default(), Some(stamp(5)))));
        assert_eq!(holds(&router, &book("realm2")), None);
    }

    /// A table with nothing to offer costs a word, and the word that all was offered.
    #[test]
    fn an_empty_table_is_copied_at_once() {
        let (router, (mut here, mut there)) = (router(), linked());
        let mut copies = Copies::default();
        copies.ask(books(&router));
        copies.owe(Book { realm: "realm1".into(), pattern: None });
        copies.answer_when_done();
        for _ in 0..3 {
            copies.go_on(&mut here, &router, true);
            pass(&mut here, &mut there);
            there.handle_all(Millis(1));
            pass(&mut there, &mut here);
        }
        assert!(!copies.is_complete(&here), "nothing was heard of the other end");
        copies.has_all();
        assert!(copies.is_complete(&here));
    }
}

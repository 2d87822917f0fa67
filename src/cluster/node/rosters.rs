//! Meta events of sessions and subscriptions between nodes: whoever listens here is told of all
//! nodes, and other nodes of this one.
//!
//! The home shard of a realm says what stands here and what comes of it, and takes in what others
//! say; here is only who is to be told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::entry::{Unreadable, encode_deaf, encode_listen, encode_meta, encode_roster};
use super::super::rosters::{Addressee, Feed, Serving};
use super::super::wire::Incarnation;
use super::Node;
use crate::router::{MetaFamily, NodeNumber, Realm, SessionRef};
use crate::shard::{
    Foreign, ForeignMetaEvent, ForeignNews, Mail, MetaElsewhere, RosterAnswer, RosterPiece,
};

impl Node {
    /// Feeds that sessions here listen to, those that others listen to here, and sessions that wait
    /// until they hear all.
    pub fn listening(&self) -> (usize, usize, usize) {
        self.rosters.counts()
    }

    /// A session listens: it is told of all nodes, and waits until it is.
    pub(super) fn handle_listen(
        &mut self,
        listener: SessionRef,
        realm: &Arc<Realm>,
        family: MetaFamily,
    ) {
        let Some(own) = self.members.ids().map(|ids| ids.node()) else { return };
        let feed = (Arc::clone(realm.name()), family);
        let mut awaited: BTreeSet<_> = self.open_peers().map(|peer| peer.number).collect();
        // Of sessions it is told at once; whether a subscription is a new one depends on others.
        let has_own = family == MetaFamily::Subscriptions;
        awaited.extend(has_own.then_some(own));
        if let Some(number) = self.rosters.listen(&feed, awaited) {
            let mut entry = Vec::new();
            encode_listen(number, realm.name(), family, false, &mut entry);
            self.tell_all(&entry);
            if has_own {
                realm.feed.want(family);
                let realm = Some(Arc::clone(realm));
                self.rosters.serve(&feed, (own, number), realm, (false, true));
            }
        }
        self.asked.feeds.entry(listener.session).or_default().insert(feed);
    }

    /// A link is open: the other end hears what this node listens to.
    pub(super) fn open_rosters(&mut self, with: Incarnation) {
        let Some(peer) = self.peers.get_mut(&with) else { return };
        for ((realm, family), number) in self.rosters.listened() {
            let mut entry = Vec::new();
            encode_listen(number, realm, *family, true, &mut entry);
            peer.link.push(&entry, true);
        }
        self.rosters.await_node(peer.number);
    }

    /// A link has ended: nothing stands at that node any more, as far as listeners here know.
    pub(super) fn end_rosters(&mut self, node: NodeNumber) {
        for (family, realm) in self.rosters.close(node) {
            realm.feed.want_no_more(family);
        }
        let listened: Vec<Feed> = self.rosters.listened().map(|(feed, _)| feed.clone()).collect();
        for (realm, family) in listened {
            self.post_foreign(&realm, node, ForeignNews::Roster(RosterPiece::nothing(family)));
        }
    }

    /// Another node listens.
    pub(super) fn handle_listener(
        &mut self,
        node: NodeNumber,
        number: u64,
        realm: &str,
        (family, is_news): (MetaFamily, bool),
    ) -> Result<(), Unreadable> {
        let found = self.router.realm(realm);
        let feed: Feed = (realm.into(), family);
        let all = self.rosters.serving().filter(|(_, serving)| serving.node == node);
        let (mut listens, mut is_twice) = (0, false);
        all.for_each(|(other, _)| (listens, is_twice) = (listens + 1, is_twice || *other == feed));
        if is_twice || listens >= MOST_FEEDS {
            return Err(Unreadable);
        }
        match &found {
            Some(realm) => realm.feed.want(family),
            None => self.tell_nothing(node, number, family),
        }
        self.rosters.serve(&feed, (node, number), found, (is_news, false));
        Ok(())
    }

    /// Another node, or this one, listens no more.
    pub(super) fn handle_deaf(&mut self, node: NodeNumber, number: u64) {
        for ((_, family), serving) in self.rosters.dismiss(node, number) {
            if let Some(realm) = serving.realm {
                realm.feed.want_no_more(family);
            }
        }
    }

    /// A home shard says what stands here.
    pub(super) fn handle_rostered(&mut self, answer: RosterAnswer) {
        let RosterAnswer { serial, cursor, piece } = answer;
        let told = self.rosters.take_answer(serial, cursor, piece.is_last);
        let Some((feed, Addressee { node, number, is_own })) = told else { return };
        if !is_own {
            let mut entry = Vec::new();
            encode_roster(number, &piece, &mut entry);
            self.push(node, &entry);
        } else if piece.is_last {
            self.rosters.complete(&feed, node);
        }
    }

    /// A meta event of this node, for those that listen and have room. Who has none is told anew
    /// what stands here, once it has.
    pub(super) fn handle_meta_elsewhere(&mut self, elsewhere: MetaElsewhere) {
        let MetaElsewhere { realm, event } = elsewhere;
        let Some(family) = event.topic.family() else { return };
        let feed = (Arc::clone(realm.name()), family);
        let Self { rosters, calls, peers, settings, counts, .. } = self;
        let mut entry = Vec::new();
        for serving in rosters.listeners(&feed) {
            let peer = calls.peer(serving.node).and_then(|name| peers.get_mut(&name));
            let Some(peer) = peer else { continue };
            entry.clear();
            encode_meta(serving.number, &event, &mut entry);
            if peer.link.queued_bytes() + entry.len() > settings.queue_bytes {
                serving.fall_behind();
                counts.dropped_meta_events += 1;
            } else {
                peer.link.push(&entry, false);
            }
        }
    }

    /// Another node says what stands there.
    pub(super) fn handle_roster(
        &mut self,
        node: NodeNumber,
        number: u64,
        piece: RosterPiece,
    ) -> Result<(), Unreadable> {
        // What this node does not listen to any more.
        let Some(feed) = self.rosters.feed_of(number).cloned() else { return Ok(()) };
        if piece.entries.family() != feed.1 {
            return Err(Unreadable);
        }
        let is_last = piece.is_last;
        self.post_foreign(&feed.0, node, ForeignNews::Roster(piece));
        if is_last {
            self.rosters.complete(&feed, node);
        }
        Ok(())
    }

    /// Another node says what has happened there.
    pub(super) fn handle_foreign_meta(
        &mut self,
        node: NodeNumber,
        number: u64,
        event: ForeignMetaEvent,
    ) -> Result<(), Unreadable> {
        let Some(feed) = self.rosters.feed_of(number).cloned() else { return Ok(()) };
        if event.topic.family() != Some(feed.1) {
            return Err(Unreadable);
        }
        self.post_foreign(&feed.0, node, ForeignNews::Event(event));
        Ok(())
    }

    /// Goes on telling others what stands here, and sessions that they hear all.
    pub(super) fn go_on_telling(&mut self, is_congested: bool) {
        if self.rosters.serves() && !is_congested {
            let Self { rosters, calls, peers, settings, outboxes, members, .. } = self;
            let has_room = |serving: &Serving| {
                let peer = calls.peer(serving.node).and_then(|name| peers.get(&name));
                let waiting = peer.map(|peer| peer.link.queued_bytes());
                serving.is_own || waiting.is_some_and(|waiting| waiting <= settings.queue_bytes / 2)
            };
            while let Some((call, is_own)) = rosters.next_call(has_room) {
                let home = usize::from(call.realm.home(outboxes.len()).0);
                let own = members.ids().map(|ids| ids.node()).filter(|_| is_own);
                outboxes[home].push(match own {
                    // In line with what others say.
                    Some(node) => {
                        let realm = Arc::clone(&call.realm);
                        let news = ForeignNews::Look(call);
                        Mail::Foreign(Box::new(Foreign { realm, node, news }))
                    }
                    None => Mail::RosterCall(Box::new(call)),
                });
            }
        }
        while let Some((realm, family)) = self.rosters.take_complete()
            && let Some(own) = self.members.ids().map(|ids| ids.node())
        {
            self.post_foreign(&realm, own, ForeignNews::Complete(family));
        }
        for (session, ticket) in self.rosters.take_heard() {
            self.outboxes[usize::from(session.shard.0)].push(Mail::Visible { session, ticket });
        }
    }

    /// Gives up what nobody here listens to any more, and follows realms that come and go.
    pub(super) fn look_at_rosters(&mut self) {
        let router = Arc::clone(&self.router);
        let is_heard = |(realm, family): &Feed| {
            router.realm(realm).is_some_and(|realm| realm.feed.is_heard(*family))
        };
        let own = self.members.ids().map(|ids| ids.node());
        for ((realm, family), number) in self.rosters.give_up_unheard(is_heard) {
            let mut entry = Vec::new();
            encode_deaf(number, &mut entry);
            self.tell_all(&entry);
            if let Some(own) = own {
                self.handle_deaf(own, number);
                self.post_foreign(&realm, own, ForeignNews::Forget(family));
            }
        }
        let mut gone = Vec::new();
        for ((name, family), serving) in self.rosters.serving() {
            let (found, before) = (router.realm(name), serving.realm.clone());
            let is_same = match (&found, &before) {
                (Some(found), Some(before)) => Arc::ptr_eq(found, before),
                (found, before) => found.is_none() && before.is_none(),
            };
            if is_same {
                continue;
            }
            before.iter().for_each(|realm| realm.feed.want_no_more(*family));
            found.iter().for_each(|realm| realm.feed.want(*family));
            if found.is_none() && !serving.is_own {
                gone.push((serving.node, serving.number, *family));
            }
            serving.change_realm(*family, found);
        }
        for (node, number, family) in gone {
            self.tell_nothing(node, number, family);
        }
    }

    fn tell_all(&mut self, entry: &[u8]) {
        for peer in self.open_peers() {
            peer.link.push(entry, true);
        }
    }

    /// Nothing stands here of what a node listens to.
    fn tell_nothing(&mut self, node: NodeNumber, number: u64, family: MetaFamily) {
        let mut entry = Vec::new();
        encode_roster(number, &RosterPiece::nothing(family), &mut entry);
        self.push(node, &entry);
    }

    fn post_foreign(&mut self, realm: &str, node: NodeNumber, news: ForeignNews) {
        let Some(realm) = self.router.realm(realm) else { return };
        let home = usize::from(realm.home(self.outboxes.len()).0);
        let foreign = Foreign { realm, node, news };
        self.outboxes[home].push(Mail::Foreign(Box::new(foreign)));
    }
}

/// Feeds that one other node may listen to here: two for each realm.
const MOST_FEEDS: usize = 4_096;

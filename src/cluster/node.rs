//! One node of a cluster: what its shards have for others, and what those have for its shards.
//!
//! Pure. In: messages and heartbeats of other nodes, who is a member, mail of the shards, the time.
//! Out: batches for the shards, then messages; in this order, as what is acknowledged was handed
//! over. A turn takes in what there is and ends with [`Node::end_turn`].

mod asked;
mod calls;
mod claims;
mod counts;
mod hearing;
mod interest;
mod keeping;
mod membership;
mod questions;
mod rosters;
mod service;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use minicbor::Decoder;

use asked::Asked;
pub use claims::ClaimCounts;
use claims::Claiming;
pub use counts::Counts;
use hearing::Hearing;
use interest::ToldShape;
use keeping::Keeping;
use service::Service;
use view::Seen;
pub use view::{NodeView, PeerView};

use super::beat::{self, Title};
use super::calls::Calls;
use super::copies::books;
use super::entry::{Entry, ForeignEvent, Unreadable, encode_event};
use super::link::LinkLimits;
use super::members::Members;
use super::peer::{Peer, Position};
use super::questions::Questions;
use super::rosters::Rosters;
use super::wire::{Head, Incarnation};
use crate::clock::Millis;
use crate::router::{Batch, HeldCount, Interest, Router, SessionRef, ShardId, Slot};
use crate::shard::{Carried, Elsewhere, EventHead, Mail, Publication, fan_out};

/// How a node deals with the others.
#[derive(Clone, Copy, Debug)]
pub struct NodeSettings {
    /// A message of the bus is so many bytes at most.
    pub max_payload: usize,
    /// How long a link is open, and who is at its other end a member, though nothing is heard, in
    /// milliseconds.
    pub silence_ms: u64,
    /// Bytes that may wait for one other node; beyond, events for it are dropped.
    pub queue_bytes: usize,
}

pub struct Node {
    me: Incarnation,
    settings: NodeSettings,
    members: Members,
    router: Arc<Router>,
    interest: Arc<Interest>,
    peers: BTreeMap<Incarnation, Peer>,
    is_ready: bool,
    service: Service,
    /// For the shards, by their numbers.
    outboxes: Vec<Batch<Mail>>,
    /// The shapes that others are told of.
    told_shapes: Vec<ToldShape>,
    /// What shards have asked for in this turn.
    asked: Asked,
    /// What is told and not known everywhere, from old to new.
    marks: VecDeque<(Asked, Vec<(Incarnation, Position)>)>,
    /// Counts the memory of events that wait for shards.
    held: Arc<HeldCount>,
    counts: Counts,
    look_at: Millis,
    beat_at: Millis,
    /// When it last looked at who is silent.
    ran_at: Millis,
    is_beat_due: bool,
    keeping: Keeping,
    claiming: Claiming,
    calls: Calls,
    questions: Questions,
    rosters: Rosters,
    hearing: Hearing,
    seen: Seen,
}

impl Node {
    /// The member that `router` is; its settings have what [`Members::ids`] says.
    pub fn new(
        members: Members,
        settings: NodeSettings,
        router: Arc<Router>,
        now: Millis,
    ) -> Option<Self> {
        let interest = Arc::clone(router.interest()?);
        let outboxes = (0..router.shard_count()).map(|_| Batch::default()).collect();
        let mut node = Self {
            me: members.incarnation(),
            settings,
            members,
            router,
            interest,
            peers: BTreeMap::new(),
            is_ready: false,
            service: Service::default(),
            outboxes,
            told_shapes: Vec::new(),
            asked: Asked::default(),
            marks: VecDeque::new(),
            held: Arc::default(),
            counts: Counts::default(),
            look_at: now + LOOK_MS,
            beat_at: now,
            ran_at: now,
            is_beat_due: false,
            keeping: Keeping::default(),
            claiming: Claiming::default(),
            calls: Calls::default(),
            questions: Questions::default(),
            rosters: Rosters::default(),
            hearing: Hearing::default(),
            seen: Seen::new(now),
        };
        node.follow(now);
        Some(node)
    }

    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn link_limits(&self, peers: usize) -> LinkLimits {
        LinkLimits::new(peers, self.settings.max_payload, self.settings.silence_ms)
    }

    /// A message to this node.
    pub fn receive(&mut self, message: &[u8], now: Millis) {
        match Head::decode(message) {
            Ok((head, body)) => self.hear(&head, body, now),
            Err(_) => self.counts.strange_messages += 1,
        }
    }

    /// A message to all nodes.
    pub fn receive_beat(&mut self, message: &[u8], now: Millis) {
        let (mut own, mut hears) = (None, BTreeSet::new());
        let read = beat::decode(message, |to, head| {
            if head.wishes.hears && self.members.stands(to) {
                hears.insert(to);
            }
            if to == self.me {
                own = Some(head);
            }
        });
        let Ok(Title { revision, from }) = read else {
            self.counts.strange_messages += 1;
            return;
        };
        let from = from.or_else(|| own.map(|head| head.from));
        if from.is_some_and(|from| from != self.me) {
            // Whoever it is: that one may have come by what was not read here.
            self.members.handle_revision(revision, now);
        }
        if let Some(from) = from.filter(|from| *from != self.me && self.members.stands(*from)) {
            self.hearing.take(from, revision, hears, now);
            let read = self.members.revision();
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.sight.lag = read.saturating_sub(revision);
            }
        }
        if let Some(head) = own {
            self.hear(&head, &[], now);
        }
        self.look_whether_to_enter(now);
    }

    fn hear(&mut self, head: &Head, body: &[u8], now: Millis) {
        let Some(peer) = self.peers.get_mut(&head.from) else {
            // Of one that has gone, or of one that this node is yet to read of.
            self.counts.stray_messages += 1;
            return;
        };
        let Ok(heard) = peer.link.receive(head, body, now) else {
            return self.refuse(head.from, now);
        };
        peer.hear(heard.opened, now);
        if heard.ended {
            self.forget(head.from);
        }
        if heard.opened {
            self.handle_opened(head.from);
        }
        if let Some(entries) = heard.entries
            && self.handle_entries(head.from, &entries).is_err()
        {
            self.refuse(head.from, now);
        }
    }

    /// A member has sent what no node sends.
    fn refuse(&mut self, member: Incarnation, now: Millis) {
        self.counts.strange_messages += 1;
        self.end_link(member, now);
    }

    fn handle_entries(&mut self, from: Incarnation, entries: &[u8]) -> Result<(), Unreadable> {
        let mut decoder = Decoder::new(entries);
        while let Some(entry) = Entry::decode(&mut decoder, &self.interest)? {
            let peer = self.peers.get_mut(&from).expect("it has said so");
            match entry {
                Entry::Slots { slots, wanted } => peer.hear_slots(&self.interest, &slots, wanted),
                Entry::Shapes { shapes, used } => peer.hear_shapes(&self.interest, &shapes, used),
                Entry::Complete => peer.complete(),
                Entry::Read(revision) => peer.read = peer.read.max(revision),
                Entry::Event(event) => self.handle_event(*event),
                about_calls @ (Entry::Invoke(_)
                | Entry::Chunk { .. }
                | Entry::Cancel { .. }
                | Entry::Return { .. }
                | Entry::Revocation { .. }) => self.handle_calls(from, about_calls)?,
                Entry::Ask { number, realm, question } => {
                    let node = peer.number;
                    self.handle_question(node, number, &realm, question);
                }
                Entry::Part { number, finding, is_last } => {
                    let node = peer.number;
                    self.handle_answer(node, number, finding, is_last);
                }
                Entry::Listen { number, realm, family, is_news } => {
                    let node = peer.number;
                    self.handle_listener(node, number, &realm, (family, is_news))?;
                }
                Entry::Deaf(number) => {
                    let node = peer.number;
                    self.handle_deaf(node, number);
                }
                Entry::Roster { number, piece } => {
                    let node = peer.number;
                    self.handle_roster(node, number, piece)?;
                }
                Entry::Meta { number, event } => {
                    let node = peer.number;
                    self.handle_foreign_meta(node, number, *event)?;
                }
                about_copies => self.handle_copies(from, about_copies)?,
            }
        }
        Ok(())
    }

    /// A link is open: the other end hears all that this node wants, and what it keeps.
    fn handle_opened(&mut self, with: Incarnation) {
        self.counts.links_opened += 1;
        self.open_calls(with);
        self.tell_standing();
        let shapes: Vec<_> = self.told_shapes.iter().map(|told| told.shape).collect();
        let revision = self.members.revision();
        let peer = self.peers.get_mut(&with).expect("it has said so");
        peer.say_all(&self.interest, &shapes, revision);
        peer.copies.ask(books(&self.router));
        self.open_rosters(with);
    }

    /// A publication of another node, for whoever wants it here.
    fn handle_event(&mut self, event: ForeignEvent) {
        self.counts.events += 1;
        let Some(realm) = self.router.realm(&event.realm) else {
            self.counts.useless_events += 1;
            return;
        };
        // As at its own node, before the subscriptions are looked up.
        let (numbering, mut is_useless) = self.keep(&realm, &event);
        let ForeignEvent { topic, publication, publisher, audience, details, payload, .. } = event;
        let publisher =
            SessionRef { session: publisher, slot: Slot::new(0), shard: ShardId::CLUSTER };
        let head = EventHead {
            publication,
            publisher: Some(publisher),
            cause: None,
            audience,
            numbering,
            traced: 0,
            details,
        };
        let outboxes = &mut self.outboxes;
        let publication = Publication { head, topic, payload };
        fan_out(&realm.topics, publication, &self.held, |shard, event| {
            is_useless = false;
            outboxes[usize::from(shard.0)].push(Mail::Event(event));
        });
        self.counts.useless_events += u64::from(is_useless);
    }

    fn end_link(&mut self, member: Incarnation, now: Millis) {
        let Some(peer) = self.peers.get_mut(&member) else { return };
        if peer.link.end(now) {
            self.forget(member);
        }
    }

    /// A link that was open has ended, and with it all that was pending through it.
    fn forget(&mut self, member: Incarnation) {
        let Some(peer) = self.peers.get_mut(&member) else { return };
        self.counts.links_ended += 1;
        peer.forget(&self.interest);
        let number = peer.number;
        self.end_calls(number);
        self.end_questions(number);
        self.end_rosters(number);
    }

    /// What a shard has for other nodes.
    pub fn handle_mail(&mut self, mail: Vec<Mail>, now: Millis) {
        let mut wanted = Vec::new();
        for mail in mail {
            match mail {
                Mail::Wanted { slot, shape } => {
                    wanted.extend(self.handle_wanted(slot, shape.map(|shape| *shape)));
                }
                Mail::Reveal { session, ticket } => {
                    self.asked.tickets.insert(session.session, (session, ticket));
                    self.asked.revision = self.claiming.granted;
                }
                Mail::Claim(claim) => self.handle_claim(claim, now),
                Mail::Proof { callee, claim, grant } => self.handle_proof(callee, claim, grant),
                Mail::Release { callee, claim } => self.handle_release(callee, claim, now),
                Mail::Publication(publication) => self.handle_publication(&publication),
                Mail::Ask(ask) => self.handle_ask(*ask, now),
                Mail::Part(part) => self.handle_part(*part),
                Mail::Listen { listener, realm, family } => {
                    self.handle_listen(listener, &realm, family);
                }
                Mail::Rostered(answer) => self.handle_rostered(*answer),
                Mail::MetaElsewhere(event) => self.handle_meta_elsewhere(*event),
                // Who publishes elsewhere is held up by the window: while shards are congested,
                // nothing is acknowledged.
                Mail::Pace { .. } | Mail::Unheard { .. } => {}
                about_calls => self.handle_mail_of_calls(about_calls),
            }
        }
        self.tell_slots(wanted);
    }

    fn open_peers(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers.values_mut().filter(|peer| peer.link.is_open())
    }

    fn handle_publication(&mut self, publication: &Carried<Elsewhere>) {
        let (event, mut entry) = (&publication.message, Vec::new());
        let most = self.settings.queue_bytes;
        let mut dropped = 0;
        let is_for = |peer: &&mut Peer| event.kept.is_some() || event.nodes.contains(peer.number);
        for peer in self.open_peers().filter(is_for) {
            if entry.is_empty() {
                encode_event(event, &publication.payload, &mut entry);
            }
            if peer.link.queued_bytes() + entry.len() > most {
                dropped += 1;
                peer.sight.dropped_events += 1;
                keeping::books_of(event).into_iter().for_each(|book| peer.copies.miss(book));
            } else {
                peer.link.push(&entry, false);
            }
        }
        self.counts.dropped_events += dropped;
    }

    /// What carries messages was away, and some with it.
    pub fn handle_bus_changed(&mut self, now: Millis) {
        self.peers.values_mut().for_each(|peer| peer.handle_bus_changed(now));
    }

    /// What is due.
    pub fn handle_timeout(&mut self, now: Millis) {
        let peers = self.peers.iter_mut();
        let ended = peers.filter_map(|(name, peer)| peer.link.handle_timeout(now).then_some(*name));
        let ended: Vec<_> = ended.collect();
        ended.into_iter().for_each(|member| self.forget(member));
        self.look_for_the_silent(now);
        self.give_up_claims(now);
        if now >= self.look_at {
            self.look_at = now + LOOK_MS;
            self.give_up_unused();
            self.look_at_books();
            self.look_at_claims(now);
            self.questions.forget_late(now);
            self.look_at_rosters();
        }
        if now >= self.beat_at {
            self.beat_at = now + BEAT_MS;
            self.is_beat_due = true;
            self.say_how_far();
        }
    }

    /// Ends a turn: what was taken in is dealt with once the outboxes are handed over, unless the
    /// shards have too much waiting.
    pub fn end_turn(&mut self, is_congested: bool, now: Millis) {
        if !is_congested {
            self.peers.values_mut().for_each(|peer| peer.link.handle_all(now));
            self.go_on_copying();
        }
        self.go_on_claiming(now);
        self.look_whether_ready(now);
        self.look_at_service(now);
        self.confirm_what_all_know();
        self.go_on_telling(is_congested);
    }

    /// What a shard is to be handed, if there is anything.
    pub fn take_outbox(&mut self, shard: ShardId) -> Option<Batch<Mail>> {
        let outbox = self.outboxes.get_mut(usize::from(shard.0))?;
        (!outbox.is_empty()).then(|| std::mem::take(outbox))
    }

    /// Appends the next message for another node, and says for which; `None` if there is none. To
    /// be asked until then.
    pub fn take_transmit(&mut self, now: Millis, into: &mut Vec<u8>) -> Option<Incarnation> {
        let mut peers = self.peers.iter_mut();
        peers.find_map(|(name, peer)| peer.link.take_transmit(now, into).then_some(*name))
    }

    /// Appends the message for all nodes, if it is due.
    pub fn take_beat(&mut self, into: &mut Vec<u8>) -> bool {
        if !std::mem::take(&mut self.is_beat_due) {
            return false;
        }
        let at = self.ran_at;
        let heads = self.peers.iter_mut().map(|(name, peer)| {
            let mut head = peer.link.beat();
            head.wishes.hears = peer.was_heard_since(hearing::FRESH_MS, at);
            (*name, head)
        });
        beat::encode((self.members.revision(), self.me), heads, into);
        true
    }

    /// When there is something to do though nothing comes.
    pub fn next_deadline(&self) -> Millis {
        let links = self.peers.values().filter_map(|peer| peer.link.next_deadline());
        let claims = self.next_claim_deadline();
        let own = [self.members.next_deadline(), self.next_silence(), claims];
        let own = own.into_iter().chain([self.next_end_of_service()]).flatten();
        links.chain(own).fold(self.look_at.min(self.beat_at), Millis::min)
    }

    /// Checks that what is known of claims fits together.
    pub fn check_invariants(&self) {
        self.claiming.check();
    }

    /// Checks that nothing is left of sessions that have all gone, and of members that have.
    pub fn check_empty(&self) {
        assert!(self.asked.is_empty() && self.marks.is_empty(), "{:?}", self.marks);
        self.calls.check();
        assert_eq!(self.calls.pending(), (0, 0), "calls elsewhere, and of others here");
        assert_eq!(self.questions.pending(), (0, 0), "questions elsewhere, and of others here");
        assert_eq!(self.rosters.counts(), (0, 0, 0), "feeds, and who waits for them");
        assert!(self.outboxes.iter().all(Batch::is_empty) && self.held.get() == 0);
        for (name, peer) in &self.peers {
            assert_eq!(peer.link.queued_bytes(), 0, "for {name:?}");
        }
        self.check_no_claims();
    }
}

/// How often is looked for what is not used any more, in milliseconds: it is given up at the second
/// look.
const LOOK_MS: u64 = 2_500;

/// How often all nodes are told how this one is, in milliseconds.
const BEAT_MS: u64 = 1_000;

//! The home shard of a realm in a cluster: it tells other nodes what stands here and what comes of
//! it, and takes in what they tell, for the listeners of this node.
//!
//! A session is announced when it is entered, and gone when it is taken out, wherever it lives; a
//! subscription is created when it stands at a first node, and deleted when it does at none. So
//! each listener hears of each once, whether an event tells of it, a roster, or the end of a node.
//! Before all nodes have told what stands nobody can say what is created, so what comes of
//! subscriptions here waits until then: a listener also hears of its own.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, Weak};

use super::super::work::LOOKUP_UNITS;
use super::super::{Mail, MetaEvent, Shard};
use super::details_of;
use super::roster::{
    Foreign, ForeignMetaEvent, ForeignNews, MetaElsewhere, RosterAnswer, RosterCall, RosterCursor,
    RosterEntries, RosterPiece, SessionEntry, Standing, SubscriptionEntry,
};
use super::sessions::session_details;
use crate::router::{
    Described, Listing, MetaFamily, MetaTopic, NodeNumber, Realm, SessionRef, ShardId, Slot,
};
use crate::wamp::{Dict, SessionId, SubscriptionId, Value};

/// What this shard knows of the other nodes, of the realms that it is the home of.
#[derive(Debug, Default)]
pub(in crate::shard) struct Rosters {
    /// By the realm's number.
    rosters: BTreeMap<usize, Roster>,
    /// What has come of other nodes and is not dealt with, in its order. Only the first has begun.
    waiting: VecDeque<Waiting>,
    /// What the mail counts for, in bytes, that brought what waits no more.
    done_bytes: usize,
}

/// What stands elsewhere of one realm, and of subscriptions here, too.
#[derive(Debug, Default)]
struct Roster {
    realm: Weak<Realm>,
    sessions: Standing<Leaver>,
    /// `None`: nobody here listens.
    subscriptions: Option<Counted>,
    /// What came of subscriptions here since somebody listens, before all nodes have told theirs.
    early: Early,
}

/// Meta events that wait, in their order.
#[derive(Debug, Default)]
struct Early {
    events: VecDeque<MetaEvent>,
    bytes: usize,
}

/// The subscriptions that stand.
#[derive(Debug, Default)]
struct Counted {
    standing: Standing<()>,
    /// All nodes have told theirs. Before that nobody can say which are new, and who listens has
    /// not heard SUBSCRIBED.
    is_complete: bool,
}

/// What is to be said when a session has left.
#[derive(Debug)]
struct Leaver {
    authid: Box<str>,
    authrole: Box<str>,
}

#[derive(Debug)]
struct Waiting {
    foreign: Foreign,
    /// How far what was said before is compared, once all was taken in.
    swept: Option<u64>,
    /// What the mail that it came with counts for, in bytes.
    weight: usize,
}

impl Rosters {
    /// Forgets realms that are gone.
    pub(in crate::shard) fn forget_gone(&mut self) {
        self.rosters.retain(|_, roster| roster.realm.strong_count() > 0);
    }

    pub(in crate::shard) fn has_jobs(&self) -> bool {
        !self.waiting.is_empty() || self.done_bytes > 0
    }

    /// The weight of mail that is done with since this was last asked.
    pub(in crate::shard) const fn take_done_bytes(&mut self) -> usize {
        mem::replace(&mut self.done_bytes, 0)
    }

    /// How many sessions and subscriptions are known to stand.
    pub(in crate::shard) fn len(&self) -> usize {
        self.rosters.values().map(Roster::len).sum()
    }

    fn of(&mut self, realm: &Arc<Realm>) -> &mut Roster {
        let make = || Roster { realm: Arc::downgrade(realm), ..Roster::default() };
        self.rosters.entry(realm.number()).or_insert_with(make)
    }
}

impl Shard {
    /// How many sessions and subscriptions it knows of at other nodes.
    pub fn known_elsewhere(&self) -> usize {
        self.rosters.len()
    }

    /// A piece of what stands here is wanted. What comes after this piece is told after it.
    pub(in crate::shard) fn handle_roster_call(&mut self, call: &RosterCall) {
        let (cursor, piece) = self.look_on(call);
        self.answer_roster_call(call.serial, cursor, piece);
    }

    fn look_on(&mut self, call: &RosterCall) -> (RosterCursor, RosterPiece) {
        let mut cursor = call.cursor;
        let is_first = cursor.is_first();
        let (entries, units) = look(&call.realm, &mut cursor, call.is_news);
        self.cx.work.charge(units);
        (cursor, RosterPiece { is_first, is_last: cursor.is_done(), entries })
    }

    fn answer_roster_call(&mut self, serial: u64, cursor: RosterCursor, piece: RosterPiece) {
        let answer = RosterAnswer { serial, cursor, piece };
        self.cx.post.send(ShardId::CLUSTER, Mail::Rostered(Box::new(answer)));
    }

    /// This node itself listens.
    fn look_for_own(&mut self, node: NodeNumber, call: &RosterCall) {
        let (cursor, mut piece) = self.look_on(call);
        let nothing = RosterPiece::nothing(piece.entries.family()).entries;
        let roster = self.rosters.of(&call.realm);
        if piece.is_first {
            roster.begin(node, piece.entries.family());
        }
        if let RosterEntries::Subscriptions(own) = mem::replace(&mut piece.entries, nothing) {
            for entry in own {
                roster.is_news(node, MetaTopic::SubscriptionOnCreate, entry.subscription.get());
            }
        }
        self.answer_roster_call(call.serial, cursor, piece);
    }

    /// Tells other nodes of a meta event of this one, whose turn has come, if some want it.
    pub(super) fn tell_elsewhere(
        &mut self,
        realm: &Arc<Realm>,
        topic: MetaTopic,
        (cause, args): (SessionId, &[Value]),
        is_quiet: bool,
    ) {
        let Some(about) = about(topic, args) else { return };
        let args = if is_quiet { Vec::new() } else { args.to_vec() };
        let event = ForeignMetaEvent { topic, cause, about, args, is_quiet };
        let elsewhere = MetaElsewhere { realm: Arc::clone(realm), event };
        self.cx.post.send(ShardId::CLUSTER, Mail::MetaElsewhere(Box::new(elsewhere)));
    }

    /// The meta event of this node, if it is to be published now: not of a subscription that stands
    /// elsewhere, nor before that is known.
    pub(super) fn take_news(&mut self, event: MetaEvent) -> Option<MetaEvent> {
        if event.topic.family() != Some(MetaFamily::Subscriptions) {
            return Some(event);
        }
        let node = self.cx.router.ids().node()?;
        // Perhaps other nodes alone want to know.
        let is_heard = event.realm.feed.is_heard(MetaFamily::Subscriptions);
        let roster = match is_heard {
            true => self.rosters.of(&event.realm),
            false => self.rosters.rosters.get_mut(&event.realm.number())?,
        };
        let is_news = roster.is_news(node, event.topic, about(event.topic, &event.args)?);
        if roster.is_complete() {
            return Some(event).filter(|_| is_news);
        }
        if is_heard && !roster.early.push(event) {
            self.cx.counters.meta_events_dropped.increment();
        }
        None
    }

    /// All nodes have told what stands with them. `false`: there is more to be published.
    fn complete(&mut self, realm: &Arc<Realm>) -> bool {
        let node = self.cx.router.ids().node();
        while !self.cx.work.is_step_over() {
            let Roster { subscriptions, early, .. } = self.rosters.of(realm);
            let (Some(counted), Some(node)) = (subscriptions, node) else { return true };
            let Some(event) = early.pop() else {
                counted.is_complete = true;
                return true;
            };
            self.cx.work.charge(LOOKUP_UNITS);
            let is_counted = is_counted(event.topic);
            let is_elsewhere = |about| counted.standing.stands_beside(node, about);
            if !is_counted || !about(event.topic, &event.args).is_some_and(is_elsewhere) {
                self.publish_event(&event);
            }
        }
        false
    }

    /// What another node says, in line with what it has said before. Returns the weight that its
    /// mail still counts for.
    pub(in crate::shard) fn handle_foreign(&mut self, foreign: Foreign) -> usize {
        let weight = foreign.weight();
        self.rosters.waiting.push_back(Waiting { foreign, swept: None, weight });
        let before = self.rosters.done_bytes;
        if self.rosters.waiting.len() == 1 {
            self.go_on_with_foreign();
        }
        // What is done with at once need not count any longer.
        let done = self.rosters.done_bytes > before;
        self.rosters.done_bytes = before;
        if done { 0 } else { weight }
    }

    /// Goes on with what other nodes have said, as far as the step allows. `false` if there is
    /// nothing.
    pub(in crate::shard) fn go_on_with_foreign(&mut self) -> bool {
        if self.rosters.waiting.is_empty() {
            return false;
        }
        while !self.cx.work.is_step_over()
            && let Some(mut waiting) = self.rosters.waiting.pop_front()
        {
            self.cx.work.charge(LOOKUP_UNITS);
            if self.take_foreign(&mut waiting) {
                self.rosters.done_bytes += waiting.weight;
            } else {
                self.rosters.waiting.push_front(waiting);
            }
        }
        true
    }

    /// `false`: the step was over before all of it was taken in.
    fn take_foreign(&mut self, waiting: &mut Waiting) -> bool {
        let Waiting { foreign, swept, .. } = waiting;
        let (realm, node) = (Arc::clone(&foreign.realm), foreign.node);
        match &mut foreign.news {
            ForeignNews::Event(event) => self.take_foreign_event(&realm, node, event),
            ForeignNews::Forget(family) => return self.forget(&realm, *family),
            ForeignNews::Complete(MetaFamily::Sessions) => {}
            ForeignNews::Complete(MetaFamily::Subscriptions) => return self.complete(&realm),
            ForeignNews::Look(call) => self.look_for_own(node, call),
            ForeignNews::Roster(piece) => {
                if mem::take(&mut piece.is_first) {
                    self.rosters.of(&realm).begin(node, piece.entries.family());
                }
                if !self.enter_all(&realm, node, &mut piece.entries) {
                    return false;
                }
                if piece.is_last {
                    let family = piece.entries.family();
                    return self.sweep(&realm, node, family, swept.get_or_insert(0));
                }
            }
        }
        true
    }

    fn take_foreign_event(
        &mut self,
        realm: &Arc<Realm>,
        node: NodeNumber,
        event: &ForeignMetaEvent,
    ) {
        let ForeignMetaEvent { topic, cause, about, args, is_quiet } = event;
        let roster = self.rosters.of(realm);
        let is_news = match topic {
            MetaTopic::SessionOnJoin => {
                let leaver = Leaver::of(args.first());
                roster.sessions.enter(node, *about, leaver)
            }
            MetaTopic::SessionOnLeave => roster.sessions.leave(node, *about).is_some(),
            topic => roster.is_news(node, *topic, *about),
        };
        if is_news && !is_quiet {
            self.announce_foreign(realm, *topic, *cause, args);
        }
    }

    /// `false`: there is more.
    fn enter_all(
        &mut self,
        realm: &Arc<Realm>,
        node: NodeNumber,
        entries: &mut RosterEntries,
    ) -> bool {
        while !self.cx.work.is_step_over() {
            self.cx.work.charge(1);
            let is_over = match entries {
                RosterEntries::Sessions(entries) => {
                    entries.pop().map(|entry| self.enter_session(realm, node, entry)).is_none()
                }
                RosterEntries::Subscriptions(entries) => {
                    entries.pop().map(|entry| self.enter_subscription(realm, node, entry)).is_none()
                }
            };
            if is_over {
                return true;
            }
        }
        false
    }

    fn enter_session(&mut self, realm: &Arc<Realm>, node: NodeNumber, entry: SessionEntry) {
        let SessionEntry { session, authid, authrole, details } = entry;
        let leaver = Leaver { authid, authrole };
        let is_new = self.rosters.of(realm).sessions.enter(node, session.get(), leaver);
        if let Some(details) = details.filter(|_| is_new) {
            let args = [Value::Dict(details)];
            self.announce_foreign(realm, MetaTopic::SessionOnJoin, session, &args);
        }
    }

    fn enter_subscription(
        &mut self,
        realm: &Arc<Realm>,
        node: NodeNumber,
        entry: SubscriptionEntry,
    ) {
        let SubscriptionEntry { subscription, described } = entry;
        let topic = MetaTopic::SubscriptionOnCreate;
        let is_new = self.rosters.of(realm).is_news(node, topic, subscription.get());
        if let Some(Described { uri, policy, created, .. }) = described.filter(|_| is_new) {
            let details = details_of(subscription.get(), created, &uri, policy);
            let args = [UNKNOWN.into(), Value::Dict(details)];
            self.announce_foreign(realm, topic, SessionId::ROUTER, &args);
        }
    }

    /// What a node has not said again has gone. `false`: there is more.
    fn sweep(
        &mut self,
        realm: &Arc<Realm>,
        node: NodeNumber,
        family: MetaFamily,
        after: &mut u64,
    ) -> bool {
        while !self.cx.work.is_step_over() {
            self.cx.work.charge(1);
            let roster = self.rosters.of(realm);
            let is_over = match family {
                MetaFamily::Sessions => match roster.sessions.sweep(node, after) {
                    Some(Some((id, leaver))) => {
                        self.announce_lost(realm, id, leaver);
                        false
                    }
                    swept => swept.is_none(),
                },
                MetaFamily::Subscriptions => match roster.sweep_subscriptions(node, after) {
                    Some(Some(id)) => {
                        let (args, topic) =
                            ([UNKNOWN.into(), id.into()], MetaTopic::SubscriptionOnDelete);
                        self.announce_foreign(realm, topic, SessionId::ROUTER, &args);
                        false
                    }
                    swept => swept.is_none(),
                },
            };
            if is_over {
                return true;
            }
        }
        false
    }

    /// A session has gone with its node, or while events of it were dropped.
    fn announce_lost(&mut self, realm: &Arc<Realm>, id: u64, leaver: Leaver) {
        let Some(session) = SessionId::new(id) else { return };
        let rules = self.cx.edition.rules_of(realm);
        let mut args = vec![id.into()];
        if rules.is_some_and(|rules| rules.settings.disclose_leavers) {
            let Leaver { authid, authrole } = leaver;
            args.extend([Value::from(&*authid), Value::from(&*authrole)]);
        }
        self.announce_foreign(realm, MetaTopic::SessionOnLeave, session, &args);
    }

    fn announce_foreign(
        &mut self,
        realm: &Arc<Realm>,
        topic: MetaTopic,
        cause: SessionId,
        args: &[Value],
    ) {
        let cause = SessionRef { session: cause, slot: Slot::new(0), shard: ShardId::CLUSTER };
        self.publish_about(realm, topic, cause, args);
    }

    /// `false`: there is more.
    fn forget(&mut self, realm: &Arc<Realm>, family: MetaFamily) -> bool {
        let roster = self.rosters.of(realm);
        let mut is_over = false;
        while !is_over && !self.cx.work.is_step_over() {
            self.cx.work.charge(1);
            is_over = match family {
                MetaFamily::Sessions => !roster.sessions.forget_one(),
                MetaFamily::Subscriptions => {
                    let counted = roster.subscriptions.as_mut();
                    let is_over = counted.is_none_or(|counted| !counted.standing.forget_one());
                    if is_over {
                        (roster.subscriptions, roster.early) = (None, Early::default());
                    }
                    is_over
                }
            };
        }
        if is_over && roster.len() == 0 {
            self.rosters.rosters.remove(&realm.number());
        }
        is_over
    }
}

impl Roster {
    fn len(&self) -> usize {
        let counted = self.subscriptions.as_ref().map_or(0, |counted| counted.standing.len());
        self.sessions.len() + counted + self.early.events.len()
    }

    /// All nodes have told which subscriptions stand with them.
    fn is_complete(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|counted| counted.is_complete)
    }

    fn begin(&mut self, node: NodeNumber, family: MetaFamily) {
        match family {
            MetaFamily::Sessions => self.sessions.begin(node),
            MetaFamily::Subscriptions => {
                self.subscriptions.get_or_insert_default().standing.begin(node);
            }
        }
    }

    /// Whether a meta event of a subscription of a node is one of the cluster.
    fn is_news(&mut self, node: NodeNumber, topic: MetaTopic, about: u64) -> bool {
        if !is_counted(topic) {
            return true;
        }
        let is_created = topic == MetaTopic::SubscriptionOnCreate;
        let Some(Counted { standing, is_complete }) = &mut self.subscriptions else { return false };
        let stood = standing.stands(about);
        if is_created {
            standing.enter(node, about, ());
            *is_complete && !stood
        } else {
            standing.leave(node, about);
            *is_complete && stood && !standing.stands(about)
        }
    }

    /// As [`Standing::sweep`]; what still stands at another node is none of those that have gone.
    fn sweep_subscriptions(&mut self, node: NodeNumber, after: &mut u64) -> Option<Option<u64>> {
        let Counted { standing, is_complete } = self.subscriptions.as_mut()?;
        let swept = standing.sweep(node, after)?;
        let gone = swept.map(|(id, ())| id).filter(|id| *is_complete && !standing.stands(*id));
        Some(gone)
    }
}

impl Early {
    /// `false`: there is no room.
    fn push(&mut self, event: MetaEvent) -> bool {
        let bytes = self.bytes + event.weight();
        if self.events.len() >= MOST_EARLY || bytes > MOST_EARLY_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.events.push_back(event);
        true
    }

    fn pop(&mut self) -> Option<MetaEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= event.weight();
        Some(event)
    }
}

impl Leaver {
    /// As `on_join` names a session.
    fn of(details: Option<&Value>) -> Self {
        let text = |key: &str| match details {
            Some(Value::Dict(details)) => {
                let found = details.iter().find(|(name, _)| name == key);
                found.and_then(|(_, value)| value.as_text()).unwrap_or_default().into()
            }
            _ => Box::default(),
        };
        Self { authid: text("authid"), authrole: text("authrole") }
    }
}

/// Looks at what stands here, from a cursor on, which is moved; and how many units that took.
fn look(realm: &Realm, cursor: &mut RosterCursor, is_news: bool) -> (RosterEntries, usize) {
    match cursor {
        RosterCursor::Sessions(walk) => {
            let mut entries = Vec::new();
            let units = realm.members_on(walk, PIECE, |member| {
                let (session, profile) = (member.at.session, &member.profile);
                let details: Option<Dict> = is_news.then(|| session_details(session, profile));
                let (authid, authrole) = (profile.authid.clone(), profile.authrole.clone());
                entries.push(SessionEntry { session, authid, authrole, details });
            });
            (RosterEntries::Sessions(entries), units)
        }
        RosterCursor::Subscriptions(walk) => {
            let mut listing = Listing::default();
            let units = realm.topics.list_on(walk, &mut listing, PIECE);
            let Listing { exact, prefix, wildcard } = listing;
            let ids = [exact, prefix, wildcard].into_iter().flatten();
            let entry = |subscription: SubscriptionId| {
                let described = is_news.then(|| realm.topics.get(subscription)).flatten();
                SubscriptionEntry { subscription, described }
            };
            (RosterEntries::Subscriptions(ids.map(entry).collect()), units)
        }
    }
}

/// Whether it is told of a subscription at its first or last node alone.
const fn is_counted(topic: MetaTopic) -> bool {
    matches!(topic, MetaTopic::SubscriptionOnCreate | MetaTopic::SubscriptionOnDelete)
}

/// What a meta event is about: a session, or a subscription.
fn about(topic: MetaTopic, args: &[Value]) -> Option<u64> {
    let id = |value: &Value| if let Value::UInt(id) = value { Some(*id) } else { None };
    let id_of = |details: &Dict, key: &str| {
        details.iter().find(|(name, _)| name == key).and_then(|(_, value)| id(value))
    };
    match (topic, args) {
        (MetaTopic::SessionOnJoin, [Value::Dict(details)]) => id_of(details, "session"),
        (MetaTopic::SessionOnLeave, [session, ..]) => id(session),
        (MetaTopic::SubscriptionOnCreate, [_, Value::Dict(details)]) => id_of(details, "id"),
        (_, [_, subscription]) => id(subscription),
        _ => None,
    }
}

/// In the place of the session that has subscribed first or left last, if no event told of it. No
/// session has this id.
const UNKNOWN: u64 = 0;

/// Meta events of a realm that wait until all nodes have told what stands with them, and their
/// bytes.
const MOST_EARLY: usize = 1_024;
const MOST_EARLY_BYTES: usize = 1 << 20;

/// Entries that are looked at for one piece.
const PIECE: usize = 512;

//! What concerns the sessions of other nodes: what they are told that this one wants, and what is
//! published here and wanted there.

use std::sync::Arc;

use super::super::mail::{Carried, Elsewhere};
use super::super::work::PATTERN_UNITS;
use super::super::{EventHead, Mail, Shard};
use super::KeptAs;
use crate::router::{Destinations, MetaFamily, Realm, ShardId, Slot};
use crate::wamp::{MatchPolicy, PayloadBuf};

impl Shard {
    /// The session in a slot has subscribed to a pattern: unless they do so already, all nodes are
    /// to send what it matches, and SUBSCRIBED waits for that.
    #[inline]
    pub(super) fn want(&mut self, slot: Slot, realm: &Arc<Realm>, policy: MatchPolicy, uri: &str) {
        if self.cx.router.interest().is_some() {
            let listens = self.listen(slot, realm, policy, uri);
            if !self.tell_wanted(realm, policy, uri) && !listens {
                return;
            }
        }
        self.cork(slot);
    }

    /// `false`: all nodes send what the pattern matches.
    fn tell_wanted(&mut self, realm: &Realm, policy: MatchPolicy, uri: &str) -> bool {
        let Some(interest) = self.cx.router.interest() else { return false };
        if interest.is_confirmed(realm.name(), policy, uri) {
            return false;
        }
        let (wanted, shape) = interest.place(realm.name(), policy, uri);
        let shape = shape.map(Box::new);
        self.cx.post.send(ShardId::CLUSTER, Mail::Wanted { slot: wanted, shape });
        true
    }

    /// Whether the pattern hears meta events of sessions or subscriptions: those of other nodes
    /// are to be heard as well.
    fn listen(&mut self, slot: Slot, realm: &Arc<Realm>, policy: MatchPolicy, uri: &str) -> bool {
        if !self.cx.settings().rosters {
            return false;
        }
        let mut listens = false;
        for family in MetaFamily::heard_by(uri, policy) {
            let listener = self.cx.reference(slot, self.connections.joined(slot).id);
            let listen = Mail::Listen { listener, realm: Arc::clone(realm), family };
            self.cx.post.send(ShardId::CLUSTER, listen);
            listens = true;
        }
        listens
    }

    /// Hands a publication on for the nodes that want it, or for all if it is kept. Returns where
    /// it went.
    #[cold]
    pub(super) fn publish_elsewhere(
        &mut self,
        realm: &Arc<Realm>,
        topic: &str,
        head: &EventHead,
        kept: Option<KeptAs>,
        copied: impl Fn() -> PayloadBuf,
    ) -> Destinations {
        let wanted = self.cx.router.interest().map(|all| all.nodes(realm.name(), topic));
        let (nodes, looked_up) = wanted.unwrap_or_default();
        self.cx.work.charge(PATTERN_UNITS * looked_up);
        let is_for_some = !nodes.is_empty() || kept.is_some();
        let Some(publisher) = head.publisher.filter(|_| is_for_some) else {
            return Destinations::default();
        };
        let message = Elsewhere {
            nodes,
            realm: Arc::clone(realm),
            topic: topic.into(),
            publication: head.publication,
            publisher: publisher.session,
            audience: head.audience.clone(),
            details: head.details.clone(),
            at: self.cx.wall_clock,
            kept: kept.map(Box::new),
        };
        let publication = Carried::publication(message, copied(), self.cx.held());
        self.cx.post.send(ShardId::CLUSTER, Mail::Publication(Box::new(publication)));
        Destinations::only(ShardId::CLUSTER)
    }
}

//! What clients hear of the router's own events, and whether it can have happened so (AP-SMA,
//! AP-RMA, AP-SUA): nothing before its creation, nothing after its end, everything once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stentor::wamp::{RegistrationId, SessionId, SubscriptionId};

use super::client::Stage;
use super::hearing::number;
use super::model::{Pattern, Policy};
use super::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Registration,
    Subscription,
}

/// The world as one subscription has heard of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetaView {
    /// Whose creation was heard, with their members.
    members: BTreeMap<(Kind, u64), BTreeSet<u64>>,
    deleted: BTreeSet<(Kind, u64)>,
    /// Events so far.
    heard: usize,
    /// Who left what last.
    last_left: Option<(Kind, u64, u64)>,
    present: BTreeSet<u64>,
    gone: BTreeSet<u64>,
}

impl MetaView {
    /// Takes in one event; panics if it cannot be true. What is deleted may come again if its id is
    /// that of its pattern.
    fn note(&mut self, topic: &str, args: &[Value], may_come_again: bool) {
        self.heard += 1;
        let (kind, what) = match topic.strip_prefix("wamp.").and_then(|rest| rest.split_once('.')) {
            Some(("session", "on_join")) => return self.note_join(number(&args[0]["session"])),
            Some(("session", "on_leave")) => return self.note_leave(number(&args[0])),
            Some(("registration", what)) => (Kind::Registration, what),
            Some(("subscription", what)) => (Kind::Subscription, what),
            _ => panic!("no meta event: {topic}"),
        };
        let session = number(&args[0]);
        assert!(!self.gone.contains(&session), "{topic} of {session}, which has left");
        let id = if what == "on_create" { number(&args[1]["id"]) } else { number(&args[1]) };
        let key = (kind, id);
        if may_come_again && what == "on_create" {
            self.deleted.remove(&key);
        }
        assert!(!self.deleted.contains(&key), "{topic} of {id}, which is deleted");
        match what {
            "on_create" => {
                let before = self.members.insert(key, BTreeSet::new());
                assert_eq!(before, None, "{id} is created once");
            }
            "on_register" | "on_subscribe" => {
                if let Some(members) = self.members.get_mut(&key) {
                    assert!(members.insert(session), "{session} joins {id} once");
                }
            }
            "on_unregister" | "on_unsubscribe" => {
                if let Some(members) = self.members.get_mut(&key) {
                    assert!(members.remove(&session), "{session} leaves {id}, where it is not");
                }
                self.last_left = Some((kind, id, session));
            }
            "on_delete" => {
                let members = self.members.remove(&key).unwrap_or_default();
                assert!(members.is_empty(), "{id} is deleted before {members:?} left");
                let left = Some((kind, id, session));
                // Who has subscribed between the two hears the second one alone.
                if self.heard > 1 {
                    assert_eq!(self.last_left, left, "the last one to leave deletes, at once");
                }
                self.deleted.insert(key);
            }
            other => panic!("no meta event: {other}"),
        }
    }

    fn note_join(&mut self, session: u64) {
        assert!(!self.gone.contains(&session), "{session} joins after it has left");
        assert!(self.present.insert(session), "{session} joins once");
    }

    fn note_leave(&mut self, session: u64) {
        self.present.remove(&session);
        assert!(self.gone.insert(session), "{session} leaves once");
    }
}

/// The topic of a meta event, if a message is one.
pub(crate) fn meta_topic(pattern: &Pattern, details: &Value) -> Option<String> {
    let topic = details.get("topic").map(|topic| topic.as_str().expect("a URI"));
    let exact = (pattern.policy == Policy::Exact).then_some(pattern.uri.as_str());
    topic.or(exact).filter(|topic| topic.starts_with("wamp.")).map(str::to_owned)
}

/// A pattern that hears of everything.
pub(crate) fn meta_pattern(realm: &'static str) -> Pattern {
    Pattern { realm, uri: "wamp.".to_owned(), policy: Policy::Prefix }
}

impl World {
    pub(crate) fn hear_meta_event(&mut self, c: usize, topic: &str, message: &[Value]) {
        self.note(&format!("heard {topic}"), format_args!("c{c}"));
        assert!(message[3].get("publisher").is_none(), "the router is no publisher (AP-META-01)");
        let args = message[4].as_array().expect("meta events have arguments");
        let session = &mut self.clients[c].session;
        if topic == "wamp.session.on_join" {
            assert_ne!(number(&args[0]["session"]), session.id, "one does not see oneself join");
        }
        let held = session.subscriptions.get_mut(&number(&message[1])).expect("it is held");
        if !self.plan.loses_meta_events() {
            held.meta.note(topic, args, self.plan.settings.node.is_some());
        }
    }

    /// Nothing is under way: what was heard of is what is there.
    pub(crate) fn check_meta_views(&self) {
        if self.plan.loses_meta_events() || self.shutting_down {
            return;
        }
        let joined = self.clients.iter().filter(|client| client.stage == Stage::Joined);
        for held in joined.flat_map(|client| client.session.subscriptions.values()) {
            let realm = self.net.router.realm(held.pattern.realm).expect("it is configured");
            let exists = |(kind, id): (Kind, u64)| match kind {
                Kind::Registration => {
                    realm.procedures.get(RegistrationId::new(id).expect("an id")).is_some()
                }
                Kind::Subscription => {
                    realm.topics.get(SubscriptionId::new(id).expect("an id")).is_some()
                }
            };
            assert!(held.meta.members.keys().all(|key| exists(*key)), "no deletion is kept quiet");
            assert!(!held.meta.deleted.iter().any(|key| exists(*key)), "what is deleted is gone");
            let here = |id: &u64| realm.find(SessionId::new(*id).expect("an id")).is_some();
            let silent = self.may_leave_silently(held.pattern.realm);
            assert!(
                silent || held.meta.present.iter().all(here),
                "no end of a session is kept quiet"
            );
            assert!(!held.meta.gone.iter().any(here), "who has left is gone");
        }
    }
}

//! Publications that are not for everyone, that say who published them, or that are retained: the
//! options that clients draw, and what the model makes of them.

use rand::RngExt;
use serde_json::{Value, json};
use stentor::authorization::{Action, Disclosure};
use stentor::router::PublisherDisclosure;

use super::calls::extend;
use super::client::Session;
use super::hearing::{number, origin, payload};
use super::meta::meta_topic;
use super::model::{Policy, Publication, Tag};
use super::plan::pick;
use super::world::World;

/// Retained events on their way to a client, behind its SUBSCRIBED.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retained {
    /// The subscription that they belong to; nothing else comes in between.
    subscription: Option<u64>,
    /// Whether the subscription is new to the session.
    joined: bool,
    /// Publications that were retained for sure before SUBSCRIBE: one as recent must come.
    floor: Vec<(Tag, u64)>,
    /// What has come.
    heard: Vec<(Tag, u64)>,
}

impl Retained {
    /// Whether what was retained for sure has not come.
    pub(crate) fn is_missing(&self) -> bool {
        !self.floor.is_empty() && self.heard.is_empty()
    }
}

impl Publication {
    /// Whether a session may receive it, as far as lists go (AP-BWL-02).
    pub(crate) fn admits(&self, session: &Session) -> bool {
        let attributes = [
            ("", json!(session.id)),
            ("_authid", json!(session.authid)),
            ("_authrole", json!(session.authrole)),
        ];
        attributes.iter().all(|(suffix, mine)| {
            let listed = |list: &str| {
                let list = self.options.get(format!("{list}{suffix}"))?.as_array();
                Some(list.expect("a list").contains(mine))
            };
            listed("eligible").unwrap_or(true) && !listed("exclude").unwrap_or(false)
        })
    }

    /// `EVENT.Details` as they should be.
    pub(crate) fn details(&self, topic: bool, retained: bool) -> Value {
        let mut details = self.details.clone();
        if topic {
            details["topic"] = json!(self.topic);
        }
        if retained {
            details["retained"] = json!(true);
        }
        details
    }

    /// Lists of session ids keep it out of histories (AP-HIS-06).
    pub(crate) fn names_sessions(&self) -> bool {
        ["exclude", "eligible"].iter().any(|list| self.options.get(list).is_some())
    }

    pub(crate) fn retains(&self) -> bool {
        self.options.get("retain") == Some(&json!(true))
    }

    fn has_lists(&self) -> bool {
        LISTS.iter().any(|list| self.options.get(list).is_some())
    }
}

impl World {
    /// Adds options to a PUBLISH; gives what will stand in EVENT.Details, or `None` if the realm
    /// refuses the publication.
    pub(crate) fn publish_options(
        &mut self,
        c: usize,
        topic: &str,
        options: &mut Value,
    ) -> Option<Value> {
        if self.rng.random_bool(0.2) {
            options["retain"] = json!(true);
        }
        if self.rng.random_bool(0.15) {
            self.lists(options);
        }
        let asks = self.rng.random_bool(0.15);
        if asks {
            options["disclose_me"] = json!(true);
        }
        let mut details = json!({});
        if self.rng.random_bool(0.05) {
            let keys = self.passthru();
            extend(options, &keys);
            extend(&mut details, &keys);
        }
        let disclosure = self.plan.realm.publisher_disclosure;
        let by_rule = self.plan.discloses(Disclosure::Publisher, topic);
        if by_rule
            || disclosure == PublisherDisclosure::Always
            || asks && disclosure == PublisherDisclosure::Allow
        {
            let session = &self.clients[c].session;
            details["publisher"] = json!(session.id);
            details["publisher_authid"] = json!(session.authid);
            details["publisher_authrole"] = json!(session.authrole);
        }
        if let Some(level) = self.plan.trustlevel(Action::Publish, topic) {
            details["trustlevel"] = json!(level);
        }
        let refused = asks && disclosure == PublisherDisclosure::Forbid && !by_rule;
        (!refused).then_some(details)
    }

    /// One or two lists that name some of the clients.
    fn lists(&mut self, options: &mut Value) {
        let role = self.plan.anonymous_role().to_owned();
        for _ in 0..self.rng.random_range(1..=2) {
            let list = *pick(&mut self.rng, LISTS);
            let mut names = Vec::new();
            for client in &self.clients {
                // An id of nobody is as good as any.
                let (id, authid) = (client.session.id.max(1), &client.session.authid);
                if self.rng.random_bool(0.5) {
                    names.push(match list.rsplit_once('_') {
                        None => json!(id),
                        Some((_, "authid")) => json!(authid),
                        Some(_) => json!(if id % 2 == 0 { &*role } else { "manager" }),
                    });
                }
            }
            options[list] = json!(names);
        }
    }

    /// Asks for retained events, and notes what must come.
    pub(crate) fn get_retained(&mut self, c: usize, request: u64, topic: &str, policy: Policy) {
        let session = &self.clients[c].session;
        let output = &self.plan.settings.output;
        let sure = policy == Policy::Exact
            && !self.plan.tight_limits
            && !self.plan.tight_output
            && !self.plan.is_large
            && output.hard_bytes > 1_000_000
            && self.clients[c].link.limit_bytes() > 10_000;
        let mut floor = Vec::new();
        for ((tag, number), publication) in &self.model.publications {
            let fits = publication.realm == session.realm && publication.topic == topic;
            let is_there = publication.is_in_memory || self.plan.settings.durable_retained;
            if sure
                && fits
                && is_there
                && publication.settled
                && publication.retains()
                && *tag != session.tag
                && publication.admits(session)
                && !publication.has_lists()
            {
                floor.retain(|(other, _)| other != tag);
                floor.push((*tag, *number));
            }
        }
        self.clients[c].session.asked_retained.insert(request, floor);
    }

    /// SUBSCRIBED has come: what was asked for follows at once (AP-RET-07).
    pub(crate) fn expect_retained(&mut self, c: usize, request: u64, subscription: u64) {
        let session = &mut self.clients[c].session;
        let joined = !session.subscriptions.contains_key(&subscription);
        let Some(floor) = session.asked_retained.remove(&request) else { return };
        let heard = Vec::new();
        session.retained = Retained { subscription: Some(subscription), joined, floor, heard };
    }

    /// Something else comes, or nothing more: all that was retained for sure has come.
    pub(crate) fn end_retained(&mut self, c: usize) {
        let retained = std::mem::take(&mut self.clients[c].session.retained);
        let lives = self.excuses(c).is_empty();
        assert!(!lives || !retained.is_missing(), "c{c} hears no retained event: {retained:?}");
    }

    pub(crate) fn hear_event(&mut self, c: usize, message: &[Value]) {
        let is_retained = message[3].get("retained").is_some();
        if !is_retained {
            self.end_retained(c);
        }
        let session = &self.clients[c].session;
        let (subscription, id) = (number(&message[1]), number(&message[2]));
        let held = session.subscriptions.get(&subscription);
        let held = held.unwrap_or_else(|| panic!("c{c} holds no subscription {subscription}"));
        if let Some(topic) = meta_topic(&held.pattern, &message[3]) {
            return self.hear_meta_event(c, &topic, message);
        }
        let payload = payload(&message[4..]);
        let (from, sequence) = origin(&payload);
        self.check_testament(c, from);
        let session = &self.clients[c].session;
        let held = &session.subscriptions[&subscription];
        let publication = self.model.publications.get_mut(&(from, sequence));
        let publication = publication.expect("the event was published");
        assert!(!publication.void, "event {from}/{sequence} comes from behind a violation");
        assert!(held.pattern.matches(publication.realm, &publication.topic), "the topic matches");
        self.plan.check_granted([Action::Publish, Action::Subscribe], &publication.topic);
        assert_eq!(payload, publication.payload, "the payload of {from}/{sequence}");
        let details = publication.details(held.pattern.policy != Policy::Exact, is_retained);
        assert_eq!(message[3], details, "the details of {from}/{sequence}");
        assert!(from != session.tag || !publication.exclude_me, "the publisher is excluded");
        assert!(publication.admits(session), "the lists of {from}/{sequence} (AP-BWL-02)");
        assert_eq!(*publication.id.get_or_insert(id), id, "one publication id (BP-ID-05)");
        let tag = session.tag;
        if !is_retained {
            self.model.note_event(tag, subscription, from, sequence);
            return;
        }
        assert!(publication.retains(), "nobody wanted {from}/{sequence} to be retained");
        self.note("heard a retained EVENT", format_args!("c{c}"));
        let retained = &mut self.clients[c].session.retained;
        assert_eq!(retained.subscription, Some(subscription), "it comes behind SUBSCRIBED");
        for (other, last) in retained.heard.iter().chain(&retained.floor) {
            let newer = *other != from || *last <= sequence;
            assert!(newer, "{other}/{last} was retained later than {from}/{sequence}");
        }
        assert!(!retained.heard.contains(&(from, sequence)), "{from}/{sequence} comes once");
        retained.heard.push((from, sequence));
        if retained.joined {
            self.model.note_retained(tag, subscription, from, sequence);
        }
    }
}

const LISTS: &[&str] = &[
    "exclude",
    "exclude_authid",
    "exclude_authrole",
    "eligible",
    "eligible_authid",
    "eligible_authrole",
];

//! Event history: what clients ask of it, and what an answer must and must not hold. And the
//! store, which saves or fails when it likes.

use std::collections::BTreeMap;

use rand::RngExt;
use serde_json::{Value, json};
use stentor::authorization::Action;
use stentor::router::{HistorySettings, HistoryStore, RealmSettings};
use stentor::wamp::MatchPolicy;

use super::client::Request;
use super::hearing::{number, origin, payload};
use super::model::{Pattern, Policy, Publication, Tag};
use super::plan::pick;
use super::world::{REALMS, World};

/// A request for events, and what must be in its answer.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    id: u64,
    pub(crate) pattern: Pattern,
    reverse: bool,
    limit: Option<u64>,
    topic: Option<&'static str>,
    /// Publications that were answered before the request was sent.
    settled: Vec<(Tag, u64)>,
}

/// Draws the histories of every realm.
pub(crate) fn draw(rng: &mut rand::rngs::StdRng, realm: &mut RealmSettings) {
    for (topic, policy) in PATTERNS {
        if rng.random_bool(0.5) {
            let is_durable = rng.random_bool(0.5);
            realm.histories.push(HistorySettings {
                topic: topic.to_owned(),
                policy,
                events: Some(*pick(rng, &[3, 20, 100_000])),
                bytes: Some(*pick(rng, &[4_096, 1 << 30])),
                age_ms: rng.random_bool(0.2).then_some(5_000),
                store: if is_durable { HistoryStore::Durable } else { HistoryStore::Memory },
            });
        }
    }
}

impl World {
    /// The store takes some of what waits for it, and saves it or not.
    pub(crate) fn serve_store(&mut self) {
        let waiting = self.net.links.store.queue.len();
        if waiting == 0 {
            return;
        }
        let count = self.rng.random_range(1..=waiting);
        let is_saved = self.rng.random_bool(0.8);
        let answered = self.net.serve_store(count, is_saved);
        let what = if is_saved { "store saves" } else { "store fails" };
        self.note(what, format_args!("{count} deposits, {answered} answers"));
    }

    /// Asks for the events of a history.
    pub(crate) fn ask_history(&mut self, c: usize) {
        let histories = &self.plan.realm.histories;
        if histories.is_empty() {
            return;
        }
        let choice = self.rng.random_range(0..histories.len());
        let realm = self.clients[c].session.realm;
        let before = REALMS.iter().position(|name| *name == realm).expect("a realm");
        let history = &histories[choice];
        // Alone, the ids of the histories are the first ones, realm by realm.
        let bits = self.plan.settings.node.map_or_else(
            || (before * histories.len() + choice) as u64,
            |node| node.pattern(realm, history.policy, &history.topic, 0),
        );
        let id = bits + 1;
        let is_durable = history.store == HistoryStore::Durable;
        let (uri, policy) = (history.topic.clone(), policy_of(history.policy));
        let pattern = Pattern { realm, uri, policy };
        self.model.check_pattern(id, &pattern);
        let mut filters = json!({});
        let reverse = self.rng.random_bool(0.4);
        if reverse {
            filters["reverse"] = json!(true);
        }
        let limit = self.rng.random_bool(0.3).then(|| self.rng.random_range(1..6));
        let topic = self.rng.random_bool(0.2).then(|| *pick(&mut self.rng, &["com.a", "x"]));
        limit.iter().for_each(|limit| filters["limit"] = json!(limit));
        topic.iter().for_each(|topic| filters["topic"] = json!(topic));
        let request = self.next_request(c);
        let procedure = "wamp.subscription.get_events";
        self.say(c, "get_events", &json!([48, request, {}, procedure, [id], filters]));
        let is_there = |p: &Publication| p.settled && (p.is_in_memory || is_durable);
        let settled = self.model.publications.iter().filter(|(_, p)| is_there(p));
        let settled = settled.map(|(origin, _)| *origin).collect();
        let ask = Ask { id, pattern, reverse, limit, topic, settled };
        self.expect(c, request, Request::Events(Box::new(ask)));
    }

    /// The answer holds what was published, as it was published, in one order for all, and all of
    /// it if it says so; and nothing that the session may not see (AP-HIS-01 to AP-HIS-06).
    pub(crate) fn hear_history(&mut self, c: usize, ask: &Ask, answer: &[Value]) {
        assert!(self.may_read(ask), "who may not subscribe reads no history: c{c}");
        let events = answer[0].as_array().expect("a list of events");
        let mut heard: Vec<(Tag, u64)> = Vec::new();
        for event in events {
            heard.push(self.check_stored(c, ask, event));
        }
        assert!(ask.limit.is_none_or(|limit| events.len() as u64 <= limit));
        if ask.reverse {
            heard.reverse();
        }
        let mut last = BTreeMap::new();
        for (place, later) in heard.iter().enumerate() {
            let previous = last.insert(later.0, later.1);
            assert!(previous < Some(later.1), "{previous:?} before {later:?} of one publisher");
            for earlier in &heard[place.saturating_sub(NEIGHBOURS)..place] {
                self.model.note_order(ask.id, *earlier, *later);
            }
        }
        let is = |flag: &str| answer[1][flag].as_bool().expect("a flag");
        let takes_all = self.clients[c].link.limit_bytes() > 10_000;
        if is("complete") && !is("is_limit_reached") && takes_all {
            for origin in &ask.settled {
                let expected = heard.contains(origin) || !self.is_owed(c, ask, *origin);
                assert!(expected, "{origin:?} is missing in {} of c{c}", ask.id);
            }
            self.note("heard all of a history", format_args!("c{c}, {}", events.len()));
        } else {
            self.note("heard some of a history", format_args!("c{c}, {}", events.len()));
        }
    }

    /// Whether a publication belongs into an answer that leaves nothing out.
    fn is_owed(&self, c: usize, ask: &Ask, origin: (Tag, u64)) -> bool {
        let publication = &self.model.publications[&origin];
        ask.pattern.matches(publication.realm, &publication.topic)
            && ask.topic.is_none_or(|topic| topic == publication.topic)
            && publication.admits(&self.clients[c].session)
            && !publication.names_sessions()
    }

    fn check_stored(&mut self, c: usize, ask: &Ask, event: &Value) -> (Tag, u64) {
        let parts: Vec<Value> = ["args", "kwargs"].map(|part| event[part].clone()).into();
        let given = parts.into_iter().filter(|part| !part.is_null()).collect::<Vec<_>>();
        let payload = payload(&given);
        let origin = origin(&payload);
        assert!(self.is_owed(c, ask, origin), "{origin:?} is not for c{c} in {}", ask.id);
        let publication = self.model.publications.get_mut(&origin);
        let publication = publication.expect("the event was published");
        assert!(!publication.void, "{origin:?} comes from behind a violation");
        self.plan.check_granted([Action::Publish, Action::Subscribe], &publication.topic);
        assert_eq!(payload, publication.payload, "the payload of {origin:?}");
        let is_pattern = ask.pattern.policy != Policy::Exact;
        assert_eq!(event["details"], publication.details(is_pattern, false), "{origin:?}");
        let id = number(&event["publication"]);
        assert_eq!(*publication.id.get_or_insert(id), id, "one publication id (BP-ID-05)");
        assert_eq!(event["subscription"], json!(ask.id));
        let timestamp = event["timestamp"].as_str().expect("text");
        assert!(timestamp.starts_with("2024-05-01T1") && timestamp.ends_with('Z'), "{timestamp}");
        origin
    }
}

const fn policy_of(policy: MatchPolicy) -> Policy {
    match policy {
        MatchPolicy::Exact => Policy::Exact,
        MatchPolicy::Prefix => Policy::Prefix,
        MatchPolicy::Wildcard => Policy::Wildcard,
    }
}

/// How far apart two events may be whose order is remembered.
const NEIGHBOURS: usize = 6;

const PATTERNS: [(&str, MatchPolicy); 4] = [
    ("com.a", MatchPolicy::Exact),
    ("com", MatchPolicy::Prefix),
    (".a", MatchPolicy::Wildcard),
    ("", MatchPolicy::Prefix),
];

//! The meta API in the simulation of several nodes: whoever asks is answered for all, and whoever
//! listens hears of each session and subscription once, and knows in the end who is there.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use serde_json::{Value, json};

use super::super::keeping;
use super::super::plan::pick;
use super::{Asked, World};

/// What a client knows by its meta events: what it has heard of last.
#[derive(Default)]
pub(super) struct Ear {
    /// SUBSCRIBED to which family, and how many clients had come then.
    pub(super) since: BTreeMap<Family, usize>,
    /// Whether what has this id is there.
    heard: BTreeMap<(Family, u64), bool>,
    /// Its own subscriptions for that.
    own: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Sessions,
    Subscriptions,
}

impl World {
    pub(super) fn act_on_meta(&mut self) {
        let Some(client) = self.any_client() else { return };
        if self.rng.random_bool(0.2) {
            let family = *pick(&mut self.rng, &[Family::Sessions, Family::Subscriptions]);
            let prefix = match family {
                Family::Sessions => "wamp.session.on",
                Family::Subscriptions => "wamp.subscription.",
            };
            let options = json!({"match": "prefix"});
            self.ask(client, Asked::Listen(family), |id| json!([32, id, options, prefix]));
            return;
        }
        let other = self.any_client().unwrap_or(client);
        let (session, some) = (self.clients[other].session, json!([7]));
        let (procedure, args) = match self.rng.random_range(0..6) {
            0 => ("session.count", json!([])),
            1 => ("session.list", json!([["anonymous"]])),
            2 if session != 0 => ("session.get", json!([session])),
            3 => ("subscription.list", json!([])),
            4 => ("subscription.match", json!(["com.a.x"])),
            _ => ("subscription.count_subscribers", some),
        };
        let procedure = format!("wamp.{procedure}");
        self.ask(client, Asked::Question, |id| json!([48, id, {}, procedure, args]));
    }

    /// The answer to a question. It may be an error, as what is asked about may have gone.
    pub(super) fn take_meta_answer(&mut self, message: &Value, when: &str) {
        if message[0] == 8 {
            return self.count("a question without an answer");
        }
        let kwargs = &message[4];
        if kwargs.is_null() {
            return self.count("a question answered by all");
        }
        assert_eq!(kwargs["partial"], true, "{when}: {message}");
        self.count("a question answered in part");
    }

    pub(super) fn begin_to_listen(&mut self, client: usize, family: Family, subscription: u64) {
        let clients = self.clients.len();
        let ear = &mut self.clients[client].ear;
        ear.since.entry(family).or_insert(clients);
        ear.own.insert(subscription);
        self.count("a listener");
    }

    /// Whether a message is a meta event, which is taken in.
    pub(super) fn take_meta_event(&mut self, client: usize, message: &Value, when: &str) -> bool {
        let topic = message[3]["topic"].as_str().unwrap_or_default();
        let Some(what) = topic.strip_prefix("wamp.") else { return false };
        let args = &message[4];
        let (family, about, is_there) = match what {
            "session.on_join" => (Family::Sessions, &args[0]["session"], true),
            "session.on_leave" => (Family::Sessions, &args[0], false),
            "subscription.on_create" => (Family::Subscriptions, &args[1]["id"], true),
            "subscription.on_delete" => (Family::Subscriptions, &args[1], false),
            _ => return true,
        };
        let about = about.as_u64().expect("an id");
        let heard = &mut self.clients[client].ear.heard;
        let before = heard.insert((family, about), is_there);
        assert_ne!(before, Some(is_there), "{when}: twice, {message}");
        self.count(if is_there { "it has come" } else { "it has gone" });
        true
    }

    /// At rest: who listens knows who is there, and all say the same.
    pub(super) fn check_ears(&mut self, when: &str) {
        let here = || self.clients.iter().enumerate().filter(|(_, client)| !client.is_lost);
        let sessions: BTreeSet<u64> = here().map(|(_, client)| client.session).collect();
        let subscriptions: BTreeSet<u64> = here()
            .flat_map(|(_, client)| client.subscriptions.keys().chain(&client.ear.own))
            .copied()
            .collect();
        let mut known = 0;
        for (at, client) in here() {
            for ((family, about), is_there) in &client.ear.heard {
                let standing = match family {
                    Family::Sessions => sessions.contains(about),
                    Family::Subscriptions => subscriptions.contains(about),
                };
                known += 1;
                assert_eq!(*is_there, standing, "{when}: client {at}, {family:?} {about}");
            }
            let Some(since) = client.ear.since.get(&Family::Sessions) else { continue };
            for (other, it) in here().filter(|(other, _)| other >= since) {
                let heard = client.ear.heard.get(&(Family::Sessions, it.session));
                assert_eq!(heard, Some(&true), "{when}: client {at} of client {other}");
            }
        }
        *self.tally.entry("what listeners know".into()).or_default() += known;
        self.check_answers(&sessions, &subscriptions, when);
    }

    /// Whoever is asked, the answer is everybody's.
    fn check_answers(&mut self, sessions: &BTreeSet<u64>, subscribed: &BTreeSet<u64>, when: &str) {
        let here = (0..self.clients.len()).filter(|client| !self.clients[*client].is_lost);
        let here: Vec<usize> = here.collect();
        for client in here {
            for procedure in ["wamp.session.list", "wamp.subscription.list"] {
                self.ask(client, Asked::Question, |id| json!([48, id, {}, procedure]));
                self.cluster.settle();
                self.answers.clear();
                self.hear(client, when);
                let [answer] = &self.answers[..] else { panic!("{when}: {:?}", self.answers) };
                assert_eq!(answer[4], Value::Null, "{when}: all answer: {answer}");
                let listed = match procedure {
                    "wamp.session.list" => ids(&answer[3][0]),
                    _ => ["exact", "prefix", "wildcard"]
                        .into_iter()
                        .flat_map(|policy| ids(&answer[3][0][policy]))
                        .collect(),
                };
                let (said, expected) = match procedure {
                    "wamp.session.list" => (listed, sessions.clone()),
                    // Histories are subscribed to for as long as they are configured.
                    _ => {
                        let kept = keeping::HISTORIES.len();
                        assert!(listed.len() <= subscribed.len() + kept, "{when}: {answer}");
                        (listed.intersection(subscribed).copied().collect(), subscribed.clone())
                    }
                };
                assert_eq!(said, expected, "{when}: {procedure} at client {client}");
            }
        }
    }
}

fn ids(list: &Value) -> BTreeSet<u64> {
    list.as_array().into_iter().flatten().map(|id| id.as_u64().expect("an id")).collect()
}

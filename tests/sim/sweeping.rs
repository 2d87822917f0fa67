//! Look-ups of what one holds oneself, and the ends of many sessions by one call.

use rand::RngExt;
use serde_json::{Value, json};

use super::actions::URIS;
use super::asking::{MetaAsk, ids};
use super::client::Session;
use super::hearing::number;
use super::model::{Policy, Tag};
use super::world::World;

/// A call that ends all sessions of a kind.
#[derive(Debug)]
pub(crate) struct Sweep {
    realm: &'static str,
    by: Tag,
    /// `None`: all sessions of the realm, which all have the same role.
    authid: Option<String>,
    /// Neither `on_leave` nor testaments come of it (AP-SMA-03).
    is_silent: bool,
    /// The step in which the answer came.
    answered: Option<usize>,
}

impl Sweep {
    fn may_end(&self, session: &Session) -> bool {
        let known = self.authid.as_deref().filter(|_| !session.authid.is_empty());
        self.realm == session.realm
            && self.by != session.tag
            && known.is_none_or(|authid| authid == session.authid)
            && self.answered.is_none_or(|at| at >= session.joining)
    }
}

impl World {
    pub(crate) fn look_up(&mut self, c: usize) {
        let Some((kind, id, pattern)) = self.something(c) else { return };
        let (policy, realm) = (pattern.policy, pattern.realm);
        let matching = URIS.iter().find(|uri| pattern.matches(realm, uri));
        match (self.rng.random_range(0..3), matching) {
            (0, _) => self.ask(c, &format!("wamp.{kind}.list"), &json!([]), MetaAsk::List(id)),
            (1, Some(uri)) => {
                let ask = MetaAsk::Match { id, policy };
                self.ask(c, &format!("wamp.{kind}.match"), &json!([uri]), ask);
            }
            _ => {
                let args = json!([pattern.uri, {"match": policy.as_str()}]);
                self.ask(c, &format!("wamp.{kind}.lookup"), &args, MetaAsk::Lookup { id });
            }
        }
    }

    /// Subscriptions are listed, of registrations there is the best one.
    pub(crate) fn check_match(&self, c: usize, id: u64, policy: Policy, answer: &Value) {
        let of_calls = self.clients[c].session.registrations.contains_key(&id);
        let found = match answer {
            Value::Array(_) => ids(answer).contains(&id),
            Value::Null => false,
            best if policy == Policy::Exact => *best == json!(id),
            best => of_calls && number(best) > 0,
        };
        assert!(found || !self.still_holds(c, id), "{id} does not match: {answer}");
    }

    /// Ends all other sessions of the realm, or one by its authid.
    pub(crate) fn sweep(&mut self, c: usize) {
        let Some((other, ..)) = self.somebody(c) else { return };
        let authid = self.clients[other].session.authid.clone();
        let role = self.plan.anonymous_role().to_owned();
        let (what, args) = match self.rng.random_range(0..4) {
            0 => ("kill_all", json!([])),
            1 => ("kill_by_authrole", json!([role])),
            _ => ("kill_by_authid", json!([authid])),
        };
        let Session { realm, tag, .. } = self.clients[c].session;
        let number = self.model.sweeps.len();
        if self.may_kill() && !self.clients[c].hostile {
            let authid = (what == "kill_by_authid").then_some(authid);
            let is_silent = what == "kill_all";
            self.model.sweeps.push(Sweep { realm, by: tag, authid, is_silent, answered: None });
            self.forgive_the_gone(realm);
        }
        let words = json!({"reason": "com.sim.killed", "message": "enough"});
        let procedure = format!("wamp.session.{what}");
        self.ask_with(c, &procedure, &args, &words, MetaAsk::Sweep(number));
    }

    /// Another node ends the sessions with the authid of a client. The number is of the sweep.
    pub(crate) fn sweep_from_elsewhere(&mut self, c: usize) -> (usize, String) {
        let Session { realm, authid, .. } = &self.clients[c].session;
        let (realm, authid) = (*realm, authid.clone());
        let number = self.model.sweeps.len();
        let sweep = Sweep {
            realm,
            by: Tag::MAX,
            authid: Some(authid.clone()),
            is_silent: false,
            answered: None,
        };
        self.model.sweeps.push(sweep);
        self.forgive_the_gone(realm);
        (number, authid)
    }

    pub(crate) fn note_swept(&mut self, number: usize) {
        self.model.sweeps[number].answered = Some(self.number);
    }

    /// What sessions sent whose sockets are gone may not be read before they are ended.
    fn forgive_the_gone(&mut self, realm: &str) {
        let here: Vec<Tag> = self.clients.iter().map(|client| client.session.tag).collect();
        let publications = &self.model.publications;
        self.model.owed.retain(|owed| {
            publications[&(owed.2, owed.3)].realm != realm || here.contains(&owed.2)
        });
    }

    pub(crate) fn hear_swept(&mut self, c: usize, number: usize, answer: &Value) {
        assert!(self.may_kill(), "nobody may kill here (AP-SMA-07)");
        let mine = self.clients[c].session.id;
        if answer.is_array() {
            let ids = ids(answer);
            assert!(!ids.contains(&mine), "nobody ends oneself (AP-SMA-02)");
            self.check_distinct(&ids);
            let gone = ids.iter().all(|id| !self.is_listed(c, *id));
            assert!(gone, "some of the killed are still there: {ids:?}");
        } else {
            assert!(answer.is_u64(), "a number of sessions: {answer}");
        }
        self.model.sweeps[number].answered = Some(self.number);
        self.note("swept", format_args!("c{c}: {answer}"));
    }

    /// Whether a call may have ended the session of a client, with others.
    pub(crate) fn may_be_swept(&self, c: usize) -> bool {
        let session = &self.clients[c].session;
        self.model.sweeps.iter().any(|sweep| sweep.may_end(session))
    }

    /// Whether sessions of a realm may have ended without a word.
    pub(crate) fn may_leave_silently(&self, realm: &str) -> bool {
        self.model.sweeps.iter().any(|sweep| sweep.is_silent && sweep.realm == realm)
    }
}

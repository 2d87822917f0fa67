//! How many sessions a realm has: `wamp.session.count` against the sessions that clients know of.

use std::collections::BTreeMap;

use serde_json::json;

use super::asking::MetaAsk;
use super::client::Excuse;
use super::model::Tag;
use super::world::{REALMS, World};

/// Sessions that may be there, and those that are over for sure.
#[derive(Default)]
pub(crate) struct Census {
    /// The realm and the pipe of each.
    open: BTreeMap<Tag, (&'static str, usize)>,
    /// The realm, and the step in which its end was known.
    over: BTreeMap<Tag, (&'static str, usize)>,
}

/// A call of `wamp.session.count`.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    /// The step in which it was sent.
    asked: usize,
    /// Who was there then.
    present: Vec<Tag>,
    /// Nothing else is under way.
    is_at_rest: bool,
}

impl Census {
    pub(crate) fn enter(&mut self, tag: Tag, realm: &'static str, pipe: usize) {
        self.open.insert(tag, (realm, pipe));
    }

    pub(crate) fn note_over(&mut self, tag: Tag, step: usize) {
        if let Some((realm, _)) = self.open.remove(&tag) {
            self.over.insert(tag, (realm, step));
        }
    }

    /// Sessions of a realm that were not known to be over before a step.
    fn possible(&self, realm: &str, since: usize) -> usize {
        let open = self.open.values().filter(|(of, _)| *of == realm);
        let over = self.over.values().filter(|(of, at)| *of == realm && *at >= since);
        open.count() + over.count()
    }
}

impl World {
    pub(crate) fn ask_for_count(&mut self, c: usize, is_at_rest: bool) {
        let realm = self.clients[c].session.realm;
        let here =
            |other: &usize| self.is_joined(*other) && self.clients[*other].session.realm == realm;
        let present = (0..self.clients.len()).filter(here);
        let present = present.map(|other| self.clients[other].session.tag).collect();
        let count = Count { asked: self.number, present, is_at_rest };
        self.ask(c, "wamp.session.count", &json!([]), MetaAsk::Count(count));
    }

    /// Who was there from the question to the answer is counted, who was not there is not, and the
    /// number is exact if nobody came or went.
    pub(crate) fn check_count(&mut self, c: usize, count: &Count, answer: u64) {
        let session = &self.clients[c].session;
        let is_killed = self.excuses(c).contains(&Excuse::Killed);
        let stays = |tag: &&Tag| self.is_well(**tag) || **tag == session.tag && !is_killed;
        let least = match count.is_at_rest {
            true => count.present.len(),
            false => count.present.iter().filter(stays).count(),
        };
        let most = match count.is_at_rest {
            true => least,
            false => self.model.census.possible(session.realm, count.asked),
        };
        let is_exact = least == most;
        assert!(
            (least..=most).contains(&(answer as usize)),
            "{answer} sessions in {}, {least} to {most} there are",
            session.realm
        );
        if is_exact {
            self.log.count("sessions counted exactly");
        }
    }

    /// Nothing is under way: each realm has the sessions of the clients that are joined.
    pub(crate) fn probe_counts(&mut self) {
        for realm in REALMS {
            let here = |world: &Self, c: usize| {
                world.is_joined(c) && world.clients[c].session.realm == realm
            };
            let Some(c) = self.any_such(here) else { continue };
            self.ask_for_count(c, true);
            self.drain(true);
        }
    }

    /// Notes which sessions are over because the router has closed their sockets.
    pub(crate) fn take_census(&mut self) {
        let pipes = &self.net.links.pipes;
        let open = self.model.census.open.iter();
        let closed = open.filter(|(_, (_, pipe))| pipes[*pipe].closed);
        let closed: Vec<Tag> = closed.map(|(tag, _)| *tag).collect();
        closed.into_iter().for_each(|tag| self.model.census.note_over(tag, self.number));
    }
}

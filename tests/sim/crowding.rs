//! What makes work: a topic that everybody subscribes to, a session with many patterns that all
//! match, and many costly questions in one read.

use rand::RngExt;

use super::client::Expected;
use super::model::{Pattern, Policy};
use super::world::World;

impl World {
    /// The first request of every client of a crowd.
    pub(crate) fn join_the_crowd(&mut self, c: usize) {
        let realm = self.clients[c].session.realm;
        let pattern = Pattern { realm, uri: CROWDED_TOPIC.to_owned(), policy: Policy::Exact };
        self.subscribe_to(c, pattern, Expected::Success, false);
    }

    /// Subscribes to every pattern there is of one topic: its prefixes, itself, and those with one
    /// component left open.
    pub(crate) fn subscribe_widely(&mut self, c: usize) {
        let realm = self.clients[c].session.realm;
        let parts: Vec<&str> = LONG_TOPIC.split('.').collect();
        let mut patterns = vec![(LONG_TOPIC.to_owned(), Policy::Exact)];
        for length in 0..parts.len() {
            patterns.push((parts[..length].join("."), Policy::Prefix));
            let mut open = parts.clone();
            open[length] = "";
            patterns.push((open.join("."), Policy::Wildcard));
        }
        let retained_at = self.rng.random_range(0..patterns.len());
        self.note("subscribe widely", format_args!("c{c}, {}", patterns.len()));
        for (index, (uri, policy)) in patterns.into_iter().enumerate() {
            let pattern = Pattern { realm, uri, policy };
            self.subscribe_to(c, pattern, Expected::Success, index == retained_at);
        }
    }

    /// Many questions at once, of all kinds.
    pub(crate) fn ask_much(&mut self, c: usize) {
        let count = self.rng.random_range(5..30);
        self.note("many questions", format_args!("c{c}, {count}"));
        let realm = self.clients[c].session.realm;
        for _ in 0..count {
            match self.rng.random_range(0..4) {
                0 => self.ask_history(c),
                1 => {
                    let all = Pattern { realm, uri: String::new(), policy: Policy::Prefix };
                    self.subscribe_to(c, all, Expected::Success, true);
                }
                2 => self.look_up(c),
                _ => self.ask_router(c),
            }
        }
    }
}

pub(crate) const LONG_TOPIC: &str = "com.a.b.c.d.e.f.g.h.i";
pub(crate) const CROWDED_TOPIC: &str = "com.a";

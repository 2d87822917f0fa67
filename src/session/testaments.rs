//! What a session leaves to be published when it ends (AP-TES).

use crate::authorization::Terms;
use crate::router::Held;
use crate::wamp::{PayloadBuf, PublishOptions};

/// When a testament is published. There is no session resumption, so a session is detached and
/// destroyed at once; what is in `Detached` comes first (AP-TES-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Detached,
    Destroyed,
}

/// One publication to be.
#[derive(Debug)]
pub struct Testament {
    pub topic: Box<str>,
    pub options: PublishOptions,
    pub payload: PayloadBuf,
    /// What it counts for, in bytes.
    pub weight: usize,
    /// Counts it for the realm, once it is kept.
    pub held: Option<Held>,
    /// On which terms an authorizer has granted it; `None`: none was asked.
    pub granted: Option<Terms>,
}

/// The testaments of one session, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Testaments {
    detached: Vec<Testament>,
    destroyed: Vec<Testament>,
}

impl Testaments {
    pub fn add(&mut self, scope: Scope, testament: Testament) {
        self.of(scope).push(testament);
    }

    pub fn flush(&mut self, scope: Scope) {
        self.of(scope).clear();
    }

    /// Of both scopes together.
    pub const fn len(&self) -> usize {
        self.detached.len() + self.destroyed.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In bytes, of both scopes together.
    pub fn weight(&self) -> usize {
        self.detached.iter().chain(&self.destroyed).map(|testament| testament.weight).sum()
    }

    /// All of them in the order of publication.
    pub fn into_publications(self) -> impl Iterator<Item = Testament> {
        self.detached.into_iter().chain(self.destroyed)
    }

    const fn of(&mut self, scope: Scope) -> &mut Vec<Testament> {
        match scope {
            Scope::Detached => &mut self.detached,
            Scope::Destroyed => &mut self.destroyed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testament(topic: &str, weight: usize) -> Testament {
        let options = PublishOptions::default();
        let (topic, payload) = (topic.into(), PayloadBuf::Empty);
        Testament { topic, options, payload, weight, held: None, granted: None }
    }

    /// AP-TES-01, AP-TES-02: two buckets, each in order, `detached` first.
    #[test]
    fn each_scope_is_flushed_alone_and_keeps_its_order() {
        let mut all = Testaments::default();
        for (scope, topic) in [
            (Scope::Destroyed, "1"),
            (Scope::Detached, "2"),
            (Scope::Destroyed, "3"),
            (Scope::Detached, "4"),
        ] {
            all.add(scope, testament(topic, 5));
        }
        assert_eq!((all.len(), all.weight()), (4, 20));
        let mut kept = Testaments::default();
        std::mem::swap(&mut all, &mut kept);
        let topics: Vec<_> = kept.into_publications().map(|t| t.topic).collect();
        assert_eq!(topics.iter().map(|topic| &**topic).collect::<Vec<_>>(), ["2", "4", "1", "3"]);
        all.add(Scope::Detached, testament("5", 1));
        all.add(Scope::Destroyed, testament("6", 1));
        all.flush(Scope::Destroyed);
        assert_eq!(all.into_publications().map(|t| t.topic).collect::<Vec<_>>(), ["5".into()]);
    }
}

//! What stands in for the way to other nodes: it takes the mail for them.

use std::collections::VecDeque;

use stentor::router::{NodeName, NodeNumber, SessionRef, ShardId};
use stentor::shard::{Ask, Finding, Mail, Part, Reply, Word};

use super::Network;

#[derive(Default)]
pub(crate) struct Gateway {
    /// What other nodes are to confirm: of which session, and its ticket.
    pub(crate) asked: VecDeque<(SessionRef, u64)>,
    /// They confirm nothing unless told to.
    pub(crate) is_held: bool,
    /// What it was told of publishers elsewhere: whether they are to wait.
    pub(crate) paces: Vec<(SessionRef, bool)>,
    /// They answer no question unless told to.
    pub(crate) is_silent: bool,
    /// What they are asked.
    pub(crate) asks: VecDeque<Ask>,
    /// What they were answered.
    pub(crate) parts: Vec<Part>,
    /// Of callees elsewhere: the mail for them.
    pub(crate) revoked: Vec<SessionRef>,
}

impl Gateway {
    pub(crate) fn accept(&mut self, mail: Vec<Mail>) {
        for mail in mail {
            match mail {
                Mail::Reveal { session, ticket } => self.asked.push_back((session, ticket)),
                Mail::Ask(ask) => self.asks.push_back(*ask),
                Mail::Part(part) => self.parts.push(*part),
                Mail::RevokeRegistration { callee, .. } => self.revoked.push(callee),
                Mail::Pace { publisher, waits } => self.paces.push((publisher, waits)),
                other => panic!("nothing for other nodes: {other:?}"),
            }
        }
    }
}

impl Network {
    /// Something is said to a shard of a question that it has asked.
    pub(crate) fn reply(&mut self, (asker, ticket): (ShardId, u64), word: Word) {
        let reply = Mail::Reply(Box::new(Reply { ticket, word }));
        self.deliver_counted(usize::from(asker.0), reply);
    }

    /// These nodes are asked.
    pub(crate) fn name_asked(&mut self, at: (ShardId, u64), nodes: &[(u8, &str)]) {
        let node = |(number, name): &(u8, &str)| {
            (node(*number), NodeName::new(name).expect("a name is short and plain"))
        };
        self.reply(at, Word::Asked(nodes.iter().map(node).collect()));
    }

    /// A node gives its part.
    pub(crate) fn give_part(&mut self, at: (ShardId, u64), number: u8, finding: Finding) {
        self.reply(at, Word::Found { node: node(number), finding, is_last: true });
    }

    /// There are no other nodes to be asked.
    pub(crate) fn answer_for_nobody(&mut self) {
        let ask = self.links.gateway.asks.pop_front().expect("they are asked something");
        self.name_asked((ask.asker, ask.ticket), &[]);
    }
}

pub(crate) fn node(number: u8) -> NodeNumber {
    NodeNumber::new(number).expect("7 bits")
}

//! Questions of the meta API between nodes: whom a question of this node is for, and what comes of
//! it; and what a shard of this node answers to others.
//!
//! The shard of whoever asks merges the answers and holds the deadline.

use std::collections::BTreeSet;

use super::super::entry::{encode_ask, encode_part};
use super::super::questions::{Taken, Waiting};
use super::Node;
use crate::clock::Millis;
use crate::router::{NodeName, NodeNumber, ShardId};
use crate::shard::{Ask, Finding, Mail, Part, Question, Reply, Word};

impl Node {
    /// Questions of this node that others are to answer, and questions of others here.
    pub fn pending_questions(&self) -> (usize, usize) {
        self.questions.pending()
    }

    /// A shard asks: the node of the session that it is about, or all others. Who cannot be reached
    /// does not answer.
    pub(super) fn handle_ask(&mut self, ask: Ask, now: Millis) {
        let Ask { asker, ticket, realm, question } = ask;
        let waiting = (asker, ticket);
        if !self.members.is_member() {
            return self.reply(waiting, Word::Alone);
        }
        let session = question.session();
        let owner = session.and_then(|session| self.owner(session));
        let is_meant = |number| session.is_none() || owner == Some(number);
        let meant = self.members.others().filter(|(_, number, _)| is_meant(*number));
        let named = meant.map(|(_, number, record)| (number, record.name.clone()));
        let named: Vec<(NodeNumber, NodeName)> = named.collect();
        let number = self.questions.next();
        let mut entry = Vec::new();
        encode_ask(number, &realm, &question, &mut entry);
        let is_reached = |node: &NodeNumber| self.has_room(*node, entry.len(), 1);
        let (reached, missing): (BTreeSet<_>, BTreeSet<_>) =
            named.iter().map(|(node, _)| *node).partition(is_reached);
        self.reply(waiting, Word::Asked(named));
        if !missing.is_empty() {
            self.reply(waiting, Word::Missing(missing.into_iter().collect()));
        }
        if !reached.is_empty() {
            reached.iter().for_each(|node| self.push(*node, &entry));
            let until = now + self.router.edition().settings.question_ms;
            self.questions.ask(waiting, reached, until);
            self.counts.questions += 1;
        }
    }

    /// Another node asks: one shard finds this node's answer.
    pub(super) fn handle_question(
        &mut self,
        node: NodeNumber,
        number: u64,
        realm: &str,
        question: Question,
    ) {
        self.counts.foreign_questions += 1;
        let ticket = self.questions.take(Taken { node, number });
        let shards = self.outboxes.len();
        let shard = usize::try_from(ticket % shards as u64).expect("there are few shards");
        let ask = Ask { asker: ShardId::CLUSTER, ticket, realm: realm.into(), question };
        self.outboxes[shard].push(Mail::Ask(Box::new(ask)));
    }

    /// A shard answers another node. There is room for answers when there is none for events;
    /// beyond that the other node hears that there was none.
    pub(super) fn handle_part(&mut self, part: Part) {
        let Part { ticket, finding, is_last } = part;
        let Some(Taken { node, number }) = self.questions.taken(ticket, is_last) else { return };
        let mut entry = Vec::new();
        encode_part(number, &finding, is_last, &mut entry);
        if !self.has_room(node, entry.len(), 2) {
            entry.clear();
            encode_part(number, &Finding::Unable, true, &mut entry);
            self.questions.taken(ticket, true);
        }
        self.push(node, &entry);
    }

    /// Another node answers.
    pub(super) fn handle_answer(
        &mut self,
        node: NodeNumber,
        number: u64,
        finding: Finding,
        is_last: bool,
    ) {
        match self.questions.answer(node, number, is_last) {
            Some(waiting) => self.reply(waiting, Word::Found { node, finding, is_last }),
            // Whoever has asked has its answer, without this.
            None => self.counts.late_parts += 1,
        }
    }

    /// A link has ended, and with it what was asked through it.
    pub(super) fn end_questions(&mut self, node: NodeNumber) {
        for waiting in self.questions.close(node) {
            self.reply(waiting, Word::Missing(vec![node]));
        }
    }

    fn reply(&mut self, (shard, ticket): Waiting, word: Word) {
        let reply = Mail::Reply(Box::new(Reply { ticket, word }));
        self.outboxes[usize::from(shard.0)].push(reply);
    }
}

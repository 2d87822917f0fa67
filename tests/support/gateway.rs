//! What stands in for the way to other nodes: it takes the mail for them, and has their order of
//! callees.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use stentor::router::{NodeName, NodeNumber, RegisterError, SessionRef, ShardId};
use stentor::session::{Claim, ClaimId};
use stentor::shard::{
    Ask, CallElsewhere, Cancellation, Carried, ClaimOutcome, Finding, Mail, Part, Reply, Return,
    Word,
};
use stentor::wamp::InvokePolicy;

use super::Network;

#[derive(Default)]
pub(crate) struct Gateway {
    /// What other nodes are to confirm: of which session, and its ticket.
    pub(crate) asked: VecDeque<(SessionRef, u64)>,
    /// They confirm and grant nothing unless told to.
    pub(crate) is_held: bool,
    /// What it was told of publishers elsewhere: whether they are to wait.
    pub(crate) paces: Vec<(SessionRef, bool)>,
    /// All that came, as it came, for a node of a cluster to deal with; `None`: there is none.
    pub(crate) collected: Option<Vec<Mail>>,
    /// What was claimed and is not decided.
    pub(crate) claims: VecDeque<Arc<Claim>>,
    /// What was given back and still stands.
    pub(crate) released: VecDeque<(SessionRef, ClaimId)>,
    /// The claims that stand, by their grants: the bucket.
    pub(crate) bucket: BTreeMap<u64, Arc<Claim>>,
    /// What was said of claims and has not arrived.
    pub(crate) under_way: VecDeque<Mail>,
    /// The last grant.
    pub(crate) revision: u64,
    /// Calls go from node to node, so this one has single halves.
    pub(crate) has_calls: bool,
    /// Calls to sessions of other nodes, what became of them, and answers to callers there.
    pub(crate) invoked: Vec<Carried<CallElsewhere>>,
    pub(crate) canceled: Vec<Cancellation>,
    pub(crate) returned: Vec<Carried<Return>>,
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
        if let Some(collected) = &mut self.collected {
            collected.extend(mail);
            return;
        }
        for mail in mail {
            match mail {
                Mail::Wanted { .. } => {}
                // All keep it, and there are none.
                Mail::Publication(publication) if publication.message.kept.is_some() => {}
                Mail::Reveal { session, ticket } => self.asked.push_back((session, ticket)),
                Mail::Ask(ask) => self.asks.push_back(*ask),
                Mail::Part(part) => self.parts.push(*part),
                Mail::RevokeRegistration { callee, .. } => self.revoked.push(callee),
                Mail::Pace { publisher, waits } => self.paces.push((publisher, waits)),
                Mail::Claim(claim) => self.claims.push_back(claim),
                // Nobody else is ahead of it.
                Mail::Proof { .. } => {}
                Mail::Release { callee, claim } => self.release(callee, claim),
                Mail::Call(call) => self.invoked.push(*call),
                Mail::Cancel(cancellation) => self.canceled.push(cancellation),
                Mail::Return(answer) => self.returned.push(*answer),
                other => panic!("nothing for other nodes: {other:?}"),
            }
        }
    }

    /// What was not decided never is; what was refused or given up is gone.
    fn release(&mut self, callee: SessionRef, id: ClaimId) {
        let is_it = |claim: &Arc<Claim>| claim.callee.session == callee && claim.id == id;
        let before = self.claims.len();
        self.claims.retain(|claim| !is_it(claim));
        let stands = self.bucket.values().any(is_it);
        assert!(!self.released.contains(&(callee, id)), "it is given back once");
        assert!(!stands || before == self.claims.len());
        if stands {
            self.released.push_back((callee, id));
        }
    }

    /// Answers a claim: with what is to be said, or else by the rule.
    pub(crate) fn answer(&mut self, place: usize, outcome: Option<ClaimOutcome>) -> ClaimOutcome {
        let claim = self.claims.remove(place).expect("it was claimed");
        let outcome = outcome.unwrap_or_else(|| self.decide(&claim));
        let (callee, claim) = (claim.callee.session, claim.id);
        self.under_way.push_back(Mail::Claimed { callee, claim, outcome });
        outcome
    }

    /// The rule that all nodes share, told once more in its plainest form.
    fn decide(&mut self, claim: &Arc<Claim>) -> ClaimOutcome {
        self.revision += 1;
        let mut counting: Vec<&Arc<Claim>> = Vec::new();
        let is_same = |other: &&Arc<Claim>| {
            Arc::ptr_eq(&other.realm, &claim.realm)
                && (other.policy, &other.uri) == (claim.policy, &claim.uri)
        };
        for other in self.bucket.values().filter(is_same) {
            if refusal(&counting, other).is_none() {
                counting.push(other);
            }
        }
        match refusal(&counting, claim) {
            Some(error) => ClaimOutcome::Refused(error),
            None => {
                self.bucket.insert(self.revision, Arc::clone(claim));
                ClaimOutcome::Granted(self.revision)
            }
        }
    }

    /// The key of what was given back goes, and no node routes to it.
    pub(crate) fn let_go(&mut self, place: usize) {
        let (callee, id) = self.released.remove(place).expect("it was given back");
        let before = self.bucket.len();
        self.bucket.retain(|_, claim| claim.id != id || claim.callee.session != callee);
        assert_eq!(self.bucket.len() + 1, before, "what is given back was granted");
        self.under_way.push_back(Mail::Released { callee, claim: id });
    }

    pub(crate) fn has_claims(&self) -> bool {
        !self.claims.is_empty() || !self.released.is_empty() || !self.under_way.is_empty()
    }

    /// Nobody holds anything, so nothing stands.
    pub(crate) fn check_empty(&self) {
        assert!(!self.has_claims(), "somebody waits for the cluster");
        assert!(self.bucket.is_empty(), "claims of nobody stand: {:?}", self.bucket);
    }
}

/// Why a claim does not count behind these.
fn refusal(counting: &[&Arc<Claim>], claim: &Claim) -> Option<RegisterError> {
    let first = counting.first()?;
    let session = claim.callee.session.session;
    if counting.iter().any(|other| other.callee.session.session == session) {
        Some(RegisterError::Twice)
    } else if claim.invoke != first.invoke {
        Some(RegisterError::OtherPolicy)
    } else if claim.invoke == InvokePolicy::Single {
        Some(RegisterError::Taken)
    } else {
        None
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

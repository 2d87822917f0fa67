//! What stands in for the way to other nodes: it takes the mail for them.

use std::collections::VecDeque;

use stentor::router::SessionRef;
use stentor::shard::Mail;

#[derive(Default)]
pub(crate) struct Gateway {
    /// What other nodes are to confirm: of which session, and its ticket.
    pub(crate) asked: VecDeque<(SessionRef, u64)>,
    /// They confirm nothing unless told to.
    pub(crate) is_held: bool,
    /// What it was told of publishers elsewhere: whether they are to wait.
    pub(crate) paces: Vec<(SessionRef, bool)>,
    /// All that came, as it came, for a node of a cluster to deal with; `None`: there is none.
    pub(crate) collected: Option<Vec<Mail>>,
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
                Mail::Reveal { session, ticket } => self.asked.push_back((session, ticket)),
                Mail::Pace { publisher, waits } => self.paces.push((publisher, waits)),
                other => panic!("nothing for other nodes: {other:?}"),
            }
        }
    }
}

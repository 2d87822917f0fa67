//! What other nodes are asked, and what they ask. They answer in any order, late, in parts, with
//! what is no answer, or never; each question of a client ends once all the same, with what is here
//! and what those others said, and each of theirs is answered once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stentor::router::{Described, Listing, ShardId};
use stentor::shard::{Ask, Finding, LastWords, Mail, PollTally, Question, Whom, Word};
use stentor::wamp::{MatchPolicy, SessionId, SubscriptionId, Timestamp};

use super::client::Stage;
use super::plan::pick;
use super::world::World;
use crate::support::node;

/// The other nodes of a run.
pub(crate) struct Away {
    rng: StdRng,
    /// What they are asked and may still answer.
    asked: Vec<Asked>,
    /// What they ask, by their tickets, and the sweep that it is.
    open: BTreeMap<u64, Option<usize>>,
    last_ticket: u64,
    /// Of each shard, when it was last looked at.
    before: BTreeMap<usize, PollTally>,
}

struct Asked {
    at: (ShardId, u64),
    question: Question,
    /// Those who have not said all, once it is said who is asked.
    nodes: Option<BTreeSet<u8>>,
}

impl Away {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed.rotate_left(16)),
            asked: Vec::new(),
            open: BTreeMap::new(),
            last_ticket: 0,
            before: BTreeMap::new(),
        }
    }

    /// The process has ended; its next one is another node to them.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
        self.open.clear();
        self.before.clear();
    }

    /// What a node may say that understands the question.
    fn finding(&mut self, question: &Question) -> Finding {
        let rng = &mut self.rng;
        let is_there = rng.random_bool(0.5);
        let mut ids = || -> Vec<u64> {
            (0..rng.random_range(0..3)).map(|_| ID_ELSEWHERE + rng.random_range(0..4)).collect()
        };
        let subscription = |id: u64| SubscriptionId::new(id).expect("an id");
        let mut sessions = || {
            let ids = ids();
            let id = |id: &u64| SessionId::new(*id).expect("an id");
            Finding::Sessions(Some(ids.iter().map(id).collect()))
        };
        let one = is_there.then(|| subscription(ID_ELSEWHERE));
        match question {
            Question::CountSubscribers(_) => Finding::Count(is_there.then_some(COUNT_ELSEWHERE)),
            Question::ListSubscribers(_) if !is_there => Finding::Sessions(None),
            Question::ListSessions { .. }
            | Question::ListSubscribers(_)
            | Question::KillSessions { whom: Whom::Authid(_), .. } => sessions(),
            Question::CountSessions { .. } | Question::KillSessions { .. } => {
                Finding::Count(Some(COUNT_ELSEWHERE))
            }
            Question::ListSubscriptions => {
                let exact = ids().into_iter().map(subscription).collect();
                Finding::Subscriptions(Listing { exact, ..Listing::default() })
            }
            Question::MatchSubscriptions { .. } => {
                Finding::Matches(ids().into_iter().map(subscription).collect())
            }
            Question::LookUpSubscription { .. } => Finding::Subscription(one),
            Question::GetSubscription(_) => Finding::Described(one.map(|_| Described {
                uri: URI_ELSEWHERE.into(),
                policy: MatchPolicy::Exact,
                invoke: None,
                created: Timestamp::from_unix_ms(i64::MAX / 2),
            })),
            // They have no session that is or was here.
            _ => nothing(question),
        }
    }
}

impl World {
    /// Where there are other nodes, clients ask more of the router.
    pub(crate) fn asks_others_now(&mut self) -> bool {
        self.plan.settings.question_ms > 0 && self.away.rng.random_bool(0.15)
    }

    /// Other nodes say something of what they are asked, or ask something.
    pub(crate) fn answer_elsewhere(&mut self) {
        if self.plan.settings.question_ms == 0 {
            return;
        }
        let asks = std::mem::take(&mut self.net.links.gateway.asks);
        self.away.asked.extend(asks.into_iter().map(|ask| Asked {
            at: (ask.asker, ask.ticket),
            question: ask.question,
            nodes: None,
        }));
        self.hear_parts();
        self.note_polls();
        match self.away.rng.random_range(0..10) {
            0 => self.ask_from_elsewhere(),
            1..5 if !self.away.asked.is_empty() => self.say_something(),
            _ => {}
        }
    }

    fn say_something(&mut self) {
        let place = self.away.rng.random_range(0..self.away.asked.len());
        let Asked { at, question, nodes } = self.away.asked.swap_remove(place);
        let Some(mut nodes) = nodes else {
            if self.away.rng.random_bool(0.1) {
                return self.note("a question is lost", format_args!("{at:?}, {question:?}"));
            }
            let count = self.away.rng.random_range(0..NODES.len());
            self.net.name_asked(at, &NODES[..count]);
            let nodes = Some(NODES[..count].iter().map(|(node, _)| *node).collect());
            self.away.asked.push(Asked { at, question, nodes });
            return;
        };
        // One of those that are asked, or were, or never.
        let number = NODES[self.away.rng.random_range(0..NODES.len())].0;
        let finding = self.away.finding(&question);
        let roll = self.away.rng.random_range(0..20);
        let what = match roll {
            0 => "a node is missing",
            1 => "a node answers nonsense",
            2..5 => "a node answers in pieces",
            _ if nodes.contains(&number) => "a node answers",
            _ => "a node answers that was not asked",
        };
        let finding = if roll == 1 { nonsense(&finding) } else { finding };
        let node = node(number);
        self.net.reply(
            at,
            match roll {
                0 => Word::Missing(vec![node]),
                _ => Word::Found { node, finding, is_last: !matches!(roll, 2..5) },
            },
        );
        if !matches!(roll, 2..5) {
            nodes.remove(&number);
        }
        self.note(what, format_args!("{at:?}, {number}"));
        // Some go on when nobody listens any more.
        if !nodes.is_empty() || self.away.rng.random_bool(0.3) {
            self.away.asked.push(Asked { at, question, nodes: Some(nodes) });
        }
    }

    fn ask_from_elsewhere(&mut self) {
        let joined = |c: &usize| self.clients[*c].stage == Stage::Joined;
        let here: Vec<usize> = (0..self.clients.len()).filter(joined).collect();
        if here.is_empty() {
            return;
        }
        let c = *pick(&mut self.away.rng, &here);
        let session = &self.clients[c].session;
        let (realm, id, mut sweep) = (session.realm, session.id, None);
        let held = session.subscriptions.keys().next().copied().unwrap_or(ID_ELSEWHERE);
        let subscription = SubscriptionId::new(held).expect("an id");
        let uri: Arc<str> = "com.a".into();
        let question = match self.away.rng.random_range(0..24) {
            0 | 1 => Question::CountSessions { roles: None },
            2 | 3 => Question::CountSessions { roles: Some(Arc::from([Box::from("guest")])) },
            4..7 => Question::ListSessions { roles: None },
            7..10 => Question::ListSubscriptions,
            10 | 11 => Question::LookUpSubscription { uri, policy: MatchPolicy::Exact },
            12 | 13 => Question::MatchSubscriptions { uri },
            14 | 15 => Question::GetSubscription(subscription),
            16 | 17 => Question::CountSubscribers(subscription),
            18 | 19 => Question::ListSubscribers(subscription),
            20 | 21 => Question::GetSession(SessionId::new(id).expect("an id")),
            22 => {
                let (number, authid) = self.sweep_from_elsewhere(c);
                sweep = Some(number);
                let (whom, caller) = (Whom::Authid(authid.into()), id_elsewhere());
                Question::KillSessions { whom, caller, words: words() }
            }
            _ => {
                // From here on its session may end at any time.
                self.clients[c].killed = true;
                let session = SessionId::new(id).expect("an id");
                Question::KillSession { session, words: words() }
            }
        };
        self.note("another node asks", format_args!("{question:?}"));
        self.away.last_ticket += 1;
        let (ticket, realm) = (self.away.last_ticket, Arc::from(realm));
        self.away.open.insert(ticket, sweep);
        let shard = self.away.rng.random_range(0..self.plan.shards);
        let ask = Ask { asker: ShardId::CLUSTER, ticket, realm, question };
        self.net.deliver_counted(shard, Mail::Ask(Box::new(ask)));
    }

    /// Each question of another node is answered once.
    fn hear_parts(&mut self) {
        for part in std::mem::take(&mut self.net.links.gateway.parts) {
            let what = match part.finding {
                Finding::Unable => "another node is not answered",
                _ => "another node is answered",
            };
            self.note(what, format_args!("{part:?}"));
            let sweep = self.away.open.get(&part.ticket);
            let sweep = *sweep.unwrap_or_else(|| panic!("nobody waits for {part:?}"));
            if part.is_last {
                self.away.open.remove(&part.ticket);
                sweep.into_iter().for_each(|sweep| self.note_swept(sweep));
            }
        }
    }

    fn note_polls(&mut self) {
        for index in 0..self.plan.shards {
            let now = self.net.shard(index).poll_tally();
            let before = self.away.before.insert(index, now).unwrap_or_default();
            for (what, is_more) in [
                (
                    "all nodes have answered",
                    now.answered - before.answered > now.partial - before.partial,
                ),
                ("an answer is partial", now.partial > before.partial),
                ("an answer comes too late", now.late > before.late),
            ] {
                if is_more {
                    self.log.count(what);
                }
            }
        }
    }

    /// `ArgumentsKw` of an answer: who is missing, if somebody is.
    pub(crate) fn check_missing_nodes(&mut self, kwargs: Option<&Value>) {
        let Some(kwargs) = kwargs else { return };
        assert!(self.plan.settings.question_ms > 0, "nobody else was asked: {kwargs}");
        let missing = kwargs["missing"].as_array().expect("a list of names");
        assert_eq!(*kwargs, json!({"partial": true, "missing": missing}));
        let names: Vec<&str> = missing.iter().filter_map(Value::as_str).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "in order, and none twice: {names:?}");
        let are_known = names.iter().all(|name| NODES.iter().any(|(_, known)| known == name));
        assert!(are_known && names.len() == missing.len(), "unknown nodes: {missing:?}");
        self.log.count("heard of missing nodes");
    }

    /// What a count is of this node alone.
    pub(crate) fn without_others(&self, count: u64) -> u64 {
        let is_asked = self.plan.settings.question_ms > 0;
        assert!(is_asked || count < COUNT_ELSEWHERE, "nobody else was asked");
        count % COUNT_ELSEWHERE
    }

    /// What nobody answers comes to its end.
    pub(crate) fn outwait_questions(&mut self) {
        self.answer_elsewhere();
        self.net.links.gateway.is_silent = false;
        let asked = |world: &Self| {
            (0..world.plan.shards).map(|shard| world.net.shard(shard).poll_count()).sum::<usize>()
        };
        self.net.settle();
        for _ in 0..MANY_ROUNDS {
            if asked(self) == 0 {
                break;
            }
            self.net.advance(WAIT_MS);
            self.drain(false);
        }
        assert_eq!(asked(self), 0, "somebody waits for other nodes for ever");
        self.hear_parts();
        assert!(self.away.open.is_empty(), "other nodes wait for {:?}", self.away.open);
    }
}

fn nothing(question: &Question) -> Finding {
    match question {
        Question::GetSession(_) => Finding::Session(None),
        _ => Finding::Done(Err(stentor::shard::Absent::Session)),
    }
}

/// Another kind of answer.
fn nonsense(finding: &Finding) -> Finding {
    match finding {
        Finding::Matches(_) => Finding::Count(Some(7)),
        _ => Finding::Matches(Vec::new()),
    }
}

fn words() -> LastWords {
    LastWords { reason: "com.sim.killed".into(), message: "enough".into() }
}

fn id_elsewhere() -> SessionId {
    SessionId::new(ID_ELSEWHERE).expect("an id")
}

/// Up to so many are asked.
const NODES: [(u8, &str); 4] = [(3, "a"), (5, "b"), (90, "c"), (127, "d")];

/// What other nodes have: sessions and subscriptions from this id on, and counts of so many.
const ID_ELSEWHERE: u64 = 9_007_199_254_740_000;
const COUNT_ELSEWHERE: u64 = 1_000;
pub(crate) const URI_ELSEWHERE: &str = "com.elsewhere";

/// How far the time leaps: less than what answers to pings may take.
const WAIT_MS: u64 = 20;

/// As many as it takes: whoever is parked asks once more, one after the other.
const MANY_ROUNDS: usize = 10_000;

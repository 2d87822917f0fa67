//! Reloads while clients log in, publish, call, subscribe and wait for an authorizer: each shard
//! learns of each reload at another time, and goes through its sessions while they go on.
//!
//! Nothing passes that neither the rules of before nor those of after grant, nothing is refused
//! that both grant, and no session ends whose right has stood all the time. At rest everybody has
//! what the last reload leaves, and no more.

mod judging;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stentor::authorization::Action;
use stentor::limits::TurnLimits;
use stentor::router::{self, Settings};
use stentor::shard::Admission;

use super::Tally;
use super::editions::{Edition, REALMS, USERS, requests};
use super::plan::{draw_link, pick};
use crate::support::{Carrier, Incoming, Link, Network, Serializer};

/// One connection with one session.
struct Client {
    pipe: usize,
    shard: usize,
    link: Link,
    kind: Kind,
    realm: &'static str,
    authid: &'static str,
    role: String,
    id: u64,
    stage: Stage,
    requests: u64,
    /// The first edition that may have held for it, as far as it is known.
    since: usize,
    /// What it holds, by action and id: its URI, and the first edition that may have granted it.
    held: BTreeMap<(Action, u64), (&'static str, usize)>,
    /// The last publication that it has heard of each session.
    heard: BTreeMap<u64, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    User,
    /// Decides, as an anonymous client.
    Authorizer,
    /// Hears all events of the realm that stays, and may do everything.
    Witness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Hello,
    Joined,
    Gone,
}

/// A request of a user.
#[derive(Debug)]
struct Request {
    action: Action,
    uri: &'static str,
    /// The first edition that may have decided about it.
    since: usize,
    /// What the authorizer has said of it.
    rulings: BTreeSet<bool>,
    /// Whether it was granted; `None` while it is not answered.
    outcome: Option<bool>,
}

/// What an authorizer is asked about: session, action and URI.
type Asked = (u64, String, String);

struct World {
    network: Network,
    settings: Settings,
    rng: StdRng,
    editions: Vec<Edition>,
    /// What each shard has not heard of, with its number.
    under_way: Vec<VecDeque<(usize, Arc<router::Edition>)>>,
    /// The last edition that each shard has heard of.
    reached: Vec<usize>,
    /// The first one that some session of it may live by.
    lived: Vec<usize>,
    clients: Vec<Client>,
    /// Questions to the authorizer: it, and the invocation.
    questions: VecDeque<(usize, u64, Asked)>,
    /// By session and number.
    requests: BTreeMap<(u64, u64), Request>,
    witnessed: BTreeSet<(u64, u64)>,
    tally: Tally,
}

/// Runs one simulation.
pub(crate) fn run(seed: u64, tally: &mut Tally) {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        world.act();
        world.network.check_invariants();
        world.hear_all(&format!("seed {seed}, step {step}"));
    }
    world.finish(&format!("seed {seed}, the end"), tally);
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut settings = Settings::default();
        settings.timeouts.ping_interval_ms = 0;
        // What is claimed is granted when everything else has come to rest.
        settings.claims = seed % 3 == 1;
        settings.limits.questions_per_procedure = *pick(&mut rng, &[1, 100]);
        if rng.random_bool(0.6) {
            let step_units = *pick(&mut rng, &[20, 500]);
            settings.turn = TurnLimits { step_units, turn_units: 2 * step_units, ..settings.turn };
        }
        let shards = *pick(&mut rng, &[1, 2, 3]);
        let first = Edition::first(&mut rng);
        let network = Network::new(settings.clone(), first.settings(), shards);
        let mut world = Self {
            network,
            settings,
            rng,
            editions: vec![first],
            under_way: vec![VecDeque::new(); shards],
            reached: vec![0; shards],
            lived: vec![0; shards],
            clients: Vec::new(),
            questions: VecDeque::new(),
            requests: BTreeMap::new(),
            witnessed: BTreeSet::new(),
            tally: Tally::new(),
        };
        world.join(Kind::Authorizer);
        let witness = world.join(Kind::Witness);
        for message in [
            json!([32, 1, {"match": "prefix"}, "com.t"]),
            json!([32, 2, {}, "wamp.session.on_leave"]),
            json!([32, 3, {}, "wamp.subscription.on_unsubscribe"]),
        ] {
            world.say(witness, &message);
            world.rest();
        }
        world
    }

    fn act(&mut self) {
        match self.rng.random_range(0..24) {
            0..=8 => self.request(),
            9..=11 => self.decide(),
            12 | 13 => drop(self.join(Kind::User)),
            14 => self.lose_somebody(),
            15 | 16 => self.reload(),
            17 | 18 => self.tell_a_shard(),
            _ => self.go_on(),
        }
    }

    fn go_on(&mut self) {
        for route in self.network.mail_routes() {
            self.network.deliver_mail(route);
        }
        for shard in 0..self.network.shard_count() {
            self.network.turn(shard);
        }
        self.note_rest();
    }

    /// A shard that has nothing to do has given every session the rules of the last edition.
    fn note_rest(&mut self) {
        for shard in 0..self.network.shard_count() {
            if !self.network.is_busy(shard) {
                self.lived[shard] = self.reached[shard];
            }
        }
    }

    fn reload(&mut self) {
        let next = self.editions[self.editions.len() - 1].next(&mut self.rng);
        let edition = self.network.router.reload(self.settings.clone(), next.settings());
        let number = self.editions.len();
        self.editions.push(next);
        for queue in &mut self.under_way {
            queue.push_back((number, Arc::clone(&edition)));
        }
        self.count("reload");
    }

    /// One of the shards hears of the next edition.
    fn tell_a_shard(&mut self) {
        let shard = self.rng.random_range(0..self.network.shard_count());
        self.tell(shard);
    }

    fn tell(&mut self, shard: usize) {
        if let Some((number, edition)) = self.under_way[shard].pop_front() {
            if self.lived[shard] < self.reached[shard] {
                self.count("a reload follows another");
            }
            self.reached[shard] = number;
            self.network.adopt(shard, &edition);
        }
    }

    /// Everything that is under way arrives, but for reloads.
    fn rest(&mut self) {
        self.network.settle();
        self.note_rest();
        self.hear_all("rest");
    }

    fn join(&mut self, kind: Kind) -> usize {
        let shard = self.rng.random_range(0..self.network.shard_count());
        let pipe = self.network.connect(shard, Admission::Welcome, usize::MAX);
        let link = match kind {
            Kind::User => draw_link(&mut self.rng),
            _ => Link::new(Carrier::WebSocket, *pick(&mut self.rng, &Serializer::ALL)),
        };
        let (realm, authid) = match kind {
            Kind::User => (*pick(&mut self.rng, &REALMS), *pick(&mut self.rng, &USERS)),
            _ => (REALMS[0], ""),
        };
        let roles = json!({
            "publisher": {},
            "subscriber": {"features": {"subscription_revocation": true}},
            "caller": {},
            "callee": {"features": {"registration_revocation": true, "call_canceling": true}},
        });
        let mut details = json!({ "roles": roles });
        if kind == Kind::User {
            details["authmethods"] = json!(["ticket"]);
            details["authid"] = json!(authid);
        }
        let mut bytes = link.greeting();
        bytes.extend(link.message(&json!([1, realm, details])));
        let client = Client {
            pipe,
            shard,
            link,
            kind,
            realm,
            authid,
            role: String::new(),
            id: 0,
            stage: Stage::Hello,
            requests: 0,
            since: self.lived[shard],
            held: BTreeMap::new(),
            heard: BTreeMap::new(),
        };
        self.clients.push(client);
        self.network.receive(pipe, &bytes);
        let number = self.clients.len() - 1;
        if kind != Kind::User {
            self.rest();
        }
        if kind == Kind::Authorizer {
            self.say(number, &json!([64, 1, {}, "com.auth"]));
            self.rest();
        }
        number
    }

    fn say(&mut self, client: usize, message: &Value) {
        let Client { pipe, link, .. } = &self.clients[client];
        let bytes = link.message(message);
        if self.rng.random_bool(0.5) {
            self.network.receive(*pipe, &bytes);
        } else {
            self.network.push(*pipe, &bytes);
        }
    }

    fn draw(&mut self) -> Option<usize> {
        let fits = |c: &Client| c.kind == Kind::User && c.stage == Stage::Joined;
        let all: Vec<_> = (0..self.clients.len()).filter(|i| fits(&self.clients[*i])).collect();
        (!all.is_empty()).then(|| *pick(&mut self.rng, &all))
    }

    fn lose_somebody(&mut self) {
        if let Some(number) = self.draw()
            && self.rng.random_bool(0.5)
        {
            self.clients[number].stage = Stage::Gone;
            self.network.lose(self.clients[number].pipe);
        }
    }

    fn request(&mut self) {
        let Some(number) = self.draw() else {
            self.join(Kind::User);
            return;
        };
        let (action, uri) = *pick(&mut self.rng, &requests());
        let client = &mut self.clients[number];
        client.requests += 1;
        let (id, request) = (client.id, client.requests);
        let since = self.lived[client.shard];
        let sent = Request { action, uri, since, rulings: BTreeSet::new(), outcome: None };
        self.requests.insert((id, request), sent);
        let args = json!([id, request]);
        let message = match action {
            Action::Publish => json!([16, request, {"acknowledge": true}, uri, args]),
            Action::Subscribe => json!([32, request, {}, uri]),
            Action::Call => json!([48, request, {}, uri, args]),
            Action::Register => json!([64, request, {"invoke": "roundrobin"}, uri]),
        };
        self.say(number, &message);
    }

    /// The authorizer answers one of its questions; they may be withdrawn meanwhile.
    fn decide(&mut self) {
        self.network.settle();
        self.note_rest();
        self.hear_all("decide");
        if self.questions.is_empty() {
            return;
        }
        let place = self.rng.random_range(0..self.questions.len());
        let (authorizer, id, about) = self.questions.remove(place).expect("it was just drawn");
        let allow = self.rng.random_bool(0.6);
        // A call that waits for its callee may be like it: both get what is said.
        for ((session, _), request) in &mut self.requests {
            let is_like = about == (*session, request.action.as_str().into(), request.uri.into());
            if is_like && request.outcome.is_none() {
                request.rulings.insert(allow);
            }
        }
        self.say(authorizer, &json!([70, id, {}, [allow]]));
    }

    /// The editions that may have held for a client, from one on.
    fn editions(&self, client: usize, since: usize) -> impl Iterator<Item = &Edition> {
        let range: RangeInclusive<usize> = since..=self.reached[self.clients[client].shard];
        self.editions[range].iter()
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    fn hear_all(&mut self, context: &str) {
        for number in 0..self.clients.len() {
            let bytes = self.network.read(self.clients[number].pipe, usize::MAX);
            self.clients[number].link.feed(&bytes);
            while let Some(incoming) = self.clients[number].link.next() {
                if let Incoming::Message(message) = incoming {
                    self.hear(number, &message, &format!("{context}: {number} hears {message}"));
                }
            }
        }
    }

    fn hear(&mut self, number: usize, message: &Value, context: &str) {
        let Client { kind, stage, id, .. } = self.clients[number];
        let field = |place: usize| message[place].as_u64().expect("an id");
        match (message[0].as_u64().expect("a type"), kind) {
            _ if stage == Stage::Gone => {}
            (2, _) => self.welcome(number, message, context),
            (4, Kind::User) => self.say(number, &json!([5, "pencil", {}])),
            (3, Kind::User) => self.turned_away(number, message, context),
            (6, Kind::User) => self.ended(number, message, context),
            (68, Kind::Authorizer) => {
                let who = message[4][0]["session"].as_u64().expect("an id");
                let text = |place: usize| message[4][place].as_str().expect("text").to_owned();
                let about = (who, text(2), text(1));
                self.questions.push_back((number, field(1), about));
            }
            (69, Kind::Authorizer) => {
                self.questions.retain(|(_, invocation, _)| *invocation != field(1));
                self.count("a question is withdrawn");
            }
            (36, Kind::Witness) if message[4][1].is_u64() => {
                let of = (message[4][0].as_u64().unwrap(), message[4][1].as_u64().unwrap());
                // Meta events name a session and a subscription.
                if self.requests.get(&of).is_some_and(|it| it.action == Action::Publish)
                    && message[3]["topic"].is_string()
                {
                    self.witness(number, of, context);
                }
            }
            (36, Kind::User) => {
                let of = (message[4][0].as_u64().unwrap(), message[4][1].as_u64().unwrap());
                let held = self.clients[number].held.get(&(Action::Subscribe, field(1)));
                assert!(held.is_some(), "an event without a subscription: {context}");
                self.witness(number, of, context);
            }
            (68, Kind::User) => {
                let held = self.clients[number].held.get(&(Action::Register, field(2)));
                assert!(held.is_some(), "a call without a registration: {context}");
                self.say(number, &json!([70, field(1), {}]));
            }
            (35, Kind::User) if field(1) == 0 => self.revoked(number, Action::Subscribe, message),
            (67, Kind::User) if field(1) == 0 => self.revoked(number, Action::Register, message),
            (17 | 50, Kind::User) => self.answered((id, field(1)), number, None, context),
            (33 | 65, Kind::User) => {
                let request = &self.requests[&(id, field(1))];
                let held = ((request.action, field(2)), (request.uri, request.since));
                self.clients[number].held.insert(held.0, held.1);
                self.answered((id, field(1)), number, None, context);
            }
            (8, Kind::User) => {
                let error = message[4].as_str().expect("a URI");
                self.answered((id, field(2)), number, Some(error), context);
            }
            (33 | 65, _) | (36, Kind::Witness) | (69, Kind::User) => {}
            _ => panic!("{context}"),
        }
    }

    fn finish(mut self, context: &str, tally: &mut Tally) {
        for shard in 0..self.network.shard_count() {
            while !self.under_way[shard].is_empty() {
                self.tell(shard);
            }
        }
        // Whoever waits is decided about, one after the other.
        for _ in 0..MOST_WAITING {
            self.rest();
            while !self.questions.is_empty() {
                self.decide();
            }
        }
        self.rest();
        self.check_rest(context);
        self.tally.iter().for_each(|(what, count)| {
            *tally.entry(what.clone()).or_default() += count;
        });
        for pipe in 0..self.network.links.pipes.len() {
            self.network.lose(pipe);
        }
        self.network.settle();
        self.network.check_empty();
        drop(self.under_way);
        assert_eq!(self.network.router.removed_realms().len(), 0, "{context}");
    }
}

const STEPS: usize = 300;

/// Requests that may wait for one another at the end of a run.
const MOST_WAITING: usize = 100;

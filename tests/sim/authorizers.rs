//! Requests that authorizers decide about, procedures and an endpoint, while those are late, wrong,
//! gone, or fewer than needed.
//!
//! Nothing passes without a grant, each request is answered once and as it was decided, and nothing
//! of a session overtakes what it has sent before, whatever the others wait for.

mod endpoint;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::clock::Millis;
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, Settings};
use stentor::shard::Admission;
use stentor::wamp::MatchPolicy;

use super::Tally;
use super::plan::{draw_link, pick};
use crate::support::{Carrier, Incoming, Link, Network, Says, Serializer};

/// One session, of any kind.
struct Client {
    pipe: usize,
    link: Link,
    id: u64,
    kind: Kind,
    is_gone: bool,
    requests: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Publishes and calls, also what is to be decided about.
    Asker,
    /// Decides.
    Authorizer,
    /// Hears all events and takes all calls.
    Witness,
}

/// A question that an authorizer has.
struct Question {
    authorizer: usize,
    invocation: u64,
    /// The asker, and the number of its request.
    about: (u64, u64),
    since: Millis,
}

/// What is known of a request.
#[derive(Debug)]
struct Request {
    uri: String,
    action: Action,
    sent: Millis,
    /// What an authorizer has said of it in time.
    ruling: Option<bool>,
    /// It was said so soon that it counts for sure: a question may have waited for its turn.
    is_sure: bool,
    /// Whether it was granted; `None` while it is not answered.
    outcome: Option<bool>,
}

struct World {
    network: Network,
    rng: StdRng,
    clients: Vec<Client>,
    questions: VecDeque<Question>,
    /// By asker and number.
    requests: BTreeMap<(u64, u64), Request>,
    /// Until when a grant may be remembered, by asker, action and URI.
    remembered: BTreeMap<(u64, Action, String), Millis>,
    /// The last number that the witness has heard of each asker, in events and in calls.
    heard: BTreeMap<(u64, Action), u64>,
    /// What it has heard.
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
        settings.timeouts.authorizer_ms = PATIENCE_MS;
        settings.timeouts.ping_interval_ms = 0;
        settings.limits.authorizer_cache_ms = CACHE_MS;
        settings.limits.questions_per_procedure = *pick(&mut rng, &[1, 2, 100]);
        if rng.random_bool(0.5) {
            let step_units = *pick(&mut rng, &[20, 500]);
            settings.turn = TurnLimits { step_units, turn_units: 2 * step_units, ..settings.turn };
        }
        let shards = *pick(&mut rng, &[1, 2, 3]);
        let mut network = Network::new(settings, vec![realm()], shards);
        network.links.verifier.is_held = true;
        let mut world = Self {
            network,
            rng,
            clients: Vec::new(),
            questions: VecDeque::new(),
            requests: BTreeMap::new(),
            remembered: BTreeMap::new(),
            heard: BTreeMap::new(),
            witnessed: BTreeSet::new(),
            tally: Tally::new(),
        };
        world.prepare();
        world
    }

    /// The witness gets what it needs, which is decided about as well.
    fn prepare(&mut self) {
        let authorizer = self.join(Kind::Authorizer);
        let witness = self.join(Kind::Witness);
        for message in [
            json!([32, 1, {"match": "prefix"}, "com.asked."]),
            json!([32, 2, {"match": "prefix"}, "com.free."]),
            json!([64, 3, {"match": "prefix"}, "com.asked."]),
            json!([64, 4, {"match": "prefix"}, "com.free."]),
            json!([32, 5, {"match": "prefix"}, "com.away."]),
            json!([64, 6, {"match": "prefix"}, "com.away."]),
        ] {
            self.say(witness, &message);
            self.network.links.verifier.endpoint.says = Says::Body("true".into());
            for _ in 0..2 {
                self.network.settle();
                self.network.serve_verifier(usize::MAX);
            }
            self.hear_all("prepare");
            if let Some(question) = self.questions.pop_front() {
                self.say(authorizer, &json!([70, question.invocation, {}, [true]]));
                self.network.settle();
                self.hear_all("prepare");
            }
        }
        for _ in 0..self.rng.random_range(1..4) {
            self.join(Kind::Asker);
        }
    }

    fn join(&mut self, kind: Kind) -> usize {
        let shard = self.rng.random_range(0..self.network.shard_count());
        let pipe = self.network.connect(shard, Admission::Welcome, usize::MAX);
        let link = match kind {
            Kind::Asker => draw_link(&mut self.rng),
            _ => Link::new(Carrier::WebSocket, *pick(&mut self.rng, &Serializer::ALL)),
        };
        let canceling = json!({"features": {"call_canceling": self.rng.random_bool(0.5)}});
        let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": canceling});
        let mut bytes = link.greeting();
        bytes.extend(link.message(&json!([1, "realm1", { "roles": roles }])));
        self.network.receive(pipe, &bytes);
        let client = Client { pipe, link, id: 0, kind, is_gone: false, requests: 0 };
        self.clients.push(client);
        self.network.settle();
        self.hear_all("join");
        let number = self.clients.len() - 1;
        if kind == Kind::Authorizer {
            self.say(number, &json!([64, 1, {"invoke": "roundrobin"}, "com.auth"]));
        }
        number
    }

    fn say(&mut self, client: usize, message: &Value) {
        let Client { pipe, link, .. } = &self.clients[client];
        let bytes = link.message(message);
        // Often several lie there before anybody looks.
        if self.rng.random_bool(0.5) {
            self.network.receive(*pipe, &bytes);
        } else {
            self.network.push(*pipe, &bytes);
        }
    }

    fn draw(&mut self, kind: Kind) -> Option<usize> {
        let fits = |client: &Client| client.kind == kind && !client.is_gone;
        let all: Vec<_> = (0..self.clients.len()).filter(|i| fits(&self.clients[*i])).collect();
        (!all.is_empty()).then(|| *pick(&mut self.rng, &all))
    }

    fn act(&mut self) {
        match self.rng.random_range(0..20) {
            0..=6 => self.request(),
            7..=9 => self.decide(),
            10 | 14 => self.rule(),
            11 => self.come_or_go(),
            12 => self.wait(),
            13 if self.rng.random_bool(0.1) => self.kill(),
            _ => {
                for route in self.network.mail_routes() {
                    self.network.deliver_mail(route);
                }
                for shard in 0..self.network.shard_count() {
                    self.network.turn(shard);
                }
            }
        }
    }

    fn request(&mut self) {
        let Some(asker) = self.draw(Kind::Asker) else {
            self.join(Kind::Asker);
            return;
        };
        let client = &mut self.clients[asker];
        client.requests += 1;
        let (id, number) = (client.id, client.requests);
        let action = *pick(&mut self.rng, &[Action::Publish, Action::Call]);
        let uri = match self.rng.random_range(0..5) {
            0 => format!("com.free.{number}"),
            1 => format!("com.asked.{number}"),
            2 => format!("com.away.{number}"),
            3 => format!("com.away.often{}", number % 2),
            _ => format!("com.asked.often{}", number % 2),
        };
        let sent = self.network.now;
        let (uri_of, ruling, outcome) = (uri.clone(), None, None);
        let request = Request { uri: uri_of, action, sent, ruling, is_sure: false, outcome };
        self.requests.insert((id, number), request);
        let message = match action {
            Action::Publish => {
                let options = json!({"acknowledge": true, "exclude": [number]});
                json!([16, number, options, uri, [id, number]])
            }
            _ => json!([48, number, {"timeout": HOUR_MS + number}, uri, [id, number]]),
        };
        self.say(asker, &message);
    }

    /// Answers one question, rightly or wrongly; the oldest one is not always the first.
    fn decide(&mut self) {
        self.network.settle();
        self.hear_all("decide");
        if self.questions.is_empty() {
            return;
        }
        let number = self.rng.random_range(0..self.questions.len());
        let question = self.questions.remove(number).expect("it was just drawn");
        let (allow, cache) = (self.rng.random_bool(0.6), self.rng.random_bool(0.3));
        let (id, kind) = (question.invocation, self.rng.random_range(0..8));
        let (answer, ruling) = match kind {
            0 => (json!([70, id, {}, [1]]), None),
            1 => (json!([8, 68, id, {}, "com.oops", [true]]), None),
            2 => (json!([70, id, {}, [{"allow": true, "alow": true}]]), None),
            // It forgets.
            3 => return self.count("forgotten"),
            4 | 5 => (json!([70, id, {}, [allow]]), Some((allow, false))),
            _ => (json!([70, id, {}, [{"allow": allow, "cache": cache}]]), Some((allow, cache))),
        };
        self.say(question.authorizer, &answer);
        // From here on it is a matter of the router alone.
        self.network.settle();
        let is_late = self.network.now.since(question.since) >= PATIENCE_MS;
        if let Some((allow, cache)) = ruling.filter(|_| !is_late) {
            self.note_ruling(question.about, allow, cache);
        }
    }

    /// An authorizer has said this of a request, unless it was given up before.
    fn note_ruling(&mut self, about: (u64, u64), allow: bool, cache: bool) {
        let request = self.requests.get_mut(&about).expect("it was sent");
        if request.outcome.is_some() {
            return;
        }
        request.ruling = Some(allow);
        request.is_sure = self.network.now.since(request.sent) < PATIENCE_MS;
        if cache && allow {
            let until = self.network.now + CACHE_MS;
            let of = (about.0, request.action, request.uri.clone());
            self.remembered.insert(of, until);
        }
    }

    fn come_or_go(&mut self) {
        match self.rng.random_range(0..6) {
            0 => {
                let Some(number) = self.draw(Kind::Authorizer) else { return };
                self.lose(number);
                self.questions.retain(|question| question.authorizer != number);
                self.count("an authorizer vanishes");
            }
            1 => {
                let Some(number) = self.draw(Kind::Asker) else { return };
                self.lose(number);
            }
            2 | 3 => drop(self.join(Kind::Authorizer)),
            _ => drop(self.join(Kind::Asker)),
        }
    }

    fn lose(&mut self, number: usize) {
        self.clients[number].is_gone = true;
        self.network.lose(self.clients[number].pipe);
    }

    /// A session ends while it waits.
    fn kill(&mut self) {
        let (Some(killer), Some(killed)) = (self.draw(Kind::Witness), self.draw(Kind::Asker))
        else {
            return;
        };
        self.clients[killer].requests += 1;
        let request = 100 + self.clients[killer].requests;
        let id = self.clients[killed].id;
        self.say(killer, &json!([48, request, {}, "wamp.session.kill", [id]]));
        self.network.settle();
        self.hear_all("kill");
        self.lose(killed);
        self.count("killed");
    }

    /// All that is under way arrives first, so that what is late is late by the clock.
    fn wait(&mut self) {
        self.network.settle();
        self.hear_all("wait");
        let ms = *pick(&mut self.rng, &[1, 100, 400]);
        self.network.advance(ms);
        self.network.settle();
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
        let Client { id, kind, is_gone, .. } = self.clients[number];
        let field = |place: usize| message[place].as_u64().expect("an id");
        match (message[0].as_u64(), kind) {
            (Some(2), _) => self.clients[number].id = field(1),
            (Some(68), Kind::Authorizer) if is_gone => {}
            (Some(68), Kind::Authorizer) => {
                let args = &message[4];
                assert_eq!(args.as_array().map(Vec::len), Some(4), "{context}");
                let asker = args[0]["session"].as_u64().expect("an id");
                let about = (asker, number_of_request(&args[3]));
                let (invocation, since) = (field(1), self.network.now);
                let question = Question { authorizer: number, invocation, about, since };
                let mut others = self.questions.iter().filter(|other| other.about.0 == asker);
                let is_one = self.is_late(&question) || others.all(|other| self.is_late(other));
                assert!(is_one, "a session is asked about once at a time: {context}");
                self.questions.push_back(question);
            }
            (Some(69), Kind::Authorizer) => {
                self.questions.retain(|question| {
                    (question.authorizer, question.invocation) != (number, field(1))
                });
                self.count("interrupted");
            }
            (Some(36), Kind::Witness) => self.witness(&message[4], Action::Publish, context),
            (Some(68), Kind::Witness) => {
                self.witness(&message[4], Action::Call, context);
                self.say(number, &json!([70, field(1), {}]));
            }
            (Some(17 | 50), Kind::Asker) => self.end((id, field(1)), None, context),
            (Some(8), Kind::Asker) => {
                let error = message[4].as_str().expect("a URI");
                self.end((id, field(2)), Some(error), context);
            }
            (Some(33 | 65 | 50), _) | (Some(69), Kind::Witness) => {}
            (Some(3 | 6), Kind::Asker) if is_gone || self.network.is_over() => {}
            (Some(6), Kind::Asker) => self.clients[number].is_gone = true,
            _ => panic!("{context}"),
        }
    }

    /// Whether the router may have given it up: it may have waited for its turn before.
    fn is_late(&self, question: &Question) -> bool {
        let sent = self.requests.get(&question.about).map_or(Millis(0), |request| request.sent);
        self.network.now.since(sent) >= PATIENCE_MS
            || self.clients.iter().any(|c| c.id == question.about.0 && c.is_gone)
    }

    /// Somebody hears what an asker has sent: it was granted, and comes in its order.
    fn witness(&mut self, args: &Value, action: Action, context: &str) {
        let (asker, number) = (args[0].as_u64().expect("an id"), args[1].as_u64().expect("one"));
        let last = self.heard.insert((asker, action), number);
        assert!(last < Some(number), "after {last:?} (BP-ORD-01, BP-ORD-04): {context}");
        let request = &self.requests[&(asker, number)];
        assert_ne!(request.outcome, Some(false), "it was refused: {context}");
        assert_ne!(request.ruling, Some(false), "it was denied: {context}");
        let remembered = self.remembered.get(&(asker, action, request.uri.clone()));
        let is_remembered = remembered.is_some_and(|until| request.sent <= *until);
        let is_free = request.uri.starts_with("com.free.");
        let is_granted = is_free || request.ruling == Some(true) || is_remembered;
        assert!(is_granted, "without a grant, {request:?}: {context}");
        if !is_free && request.ruling.is_none() {
            self.count("remembered");
        }
        self.witnessed.insert((asker, number));
    }

    /// A request is answered, once, as it was decided, and after those before it.
    fn end(&mut self, request: (u64, u64), error: Option<&str>, context: &str) {
        let ended = self.requests.get_mut(&request).expect("it was sent");
        assert_eq!(ended.outcome.replace(error.is_none()), None, "answered once: {context}");
        let is_free = ended.uri.starts_with("com.free.");
        match (error, ended.ruling) {
            (None, ruling) => assert_ne!(ruling, Some(false), "{context}"),
            (Some("wamp.error.not_authorized"), ruling) => {
                assert!(ruling != Some(true) && !is_free, "{context}");
                self.count("denied");
            }
            (Some("wamp.error.authorization_failed"), _) => {
                assert!(!ended.is_sure && !is_free, "{context}");
                self.count("failed");
            }
            (Some(other), _) => panic!("{other}: {context}"),
        }
        if error.is_none() && !is_free {
            self.count("granted");
        }
    }

    fn finish(mut self, context: &str, tally: &mut Tally) {
        // What is not answered any more fails in its time, one after the other.
        for _ in 0..MOST_WAITING {
            self.network.settle();
            self.hear_all(context);
            self.network.advance(PATIENCE_MS);
        }
        self.network.settle();
        self.hear_all(context);
        self.network.links.verifier.queue.clear();
        for ((asker, number), request) in &self.requests {
            let is_here = self.clients.iter().any(|c| c.id == *asker && !c.is_gone);
            let is_heard = self.witnessed.contains(&(*asker, *number));
            let is_ended = request.outcome.is_some();
            assert!(is_ended || !is_here, "{number} of {asker} waits for ever: {context}");
            assert!(!is_here || request.outcome == Some(is_heard), "{request:?}: {context}");
        }
        let now = self.network.router.snapshot();
        for (name, count) in [
            ("late", now.questions_late),
            ("refused", now.questions_refused),
            ("misanswered", now.questions_misanswered),
            ("not brought", now.questions_not_brought),
        ] {
            *self.tally.entry(name.to_owned()).or_default() += count;
        }
        self.tally.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count);
        for pipe in 0..self.network.links.pipes.len() {
            self.network.lose(pipe);
        }
        self.network.settle();
        self.network.check_empty();
    }
}

/// The number of a request, as its options have it.
fn number_of_request(options: &Value) -> u64 {
    let of_call = options["timeout"].as_u64().map(|ms| ms - HOUR_MS);
    of_call.or_else(|| options["exclude"][0].as_u64()).unwrap_or_default()
}

fn realm() -> RealmSettings {
    let asked = Permission {
        authorizer: Some("com.auth".into()),
        ..Permission::everything_below("com.asked.")
    };
    let kill = Permission {
        uri: "wamp.session.kill".into(),
        policy: MatchPolicy::Exact,
        allow: vec![Action::Call],
        ..Permission::default()
    };
    let everything = Permission::everything_below("");
    let permissions = vec![everything, asked, endpoint::permission(), kill];
    let access = Access::Roles(vec![RoleSettings::new("anonymous", permissions)]);
    let authorizers = vec![endpoint::settings()];
    RealmSettings { access, authorizers, ..RealmSettings::named("realm1") }
}

const STEPS: usize = 400;
const PATIENCE_MS: u64 = 1_000;
const CACHE_MS: u64 = 1_500;
const HOUR_MS: u64 = 3_600_000;

/// Requests of one asker that may wait at the end of a run.
const MOST_WAITING: usize = 200;

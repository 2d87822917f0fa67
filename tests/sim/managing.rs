//! The management API: whoever answers is slow, answers in any order, twice, too late or never, or
//! takes nothing more; callers flood and go, and reloads change who may ask. Each call of a living
//! session ends once and in its turn, and nobody hears what is not for its role.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stentor::authorization::{
    Access, ManagementProcedure, ManagementTopic, Managers, Permission, RoleSettings,
};
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, Settings};
use stentor::shard::{Admission, Errand, Passage, Waiter};

use super::Tally;
use super::plan::{draw_link, pick};
use crate::support::{Incoming, Link, Network, bulletin};

struct World {
    network: Network,
    rng: StdRng,
    settings: Settings,
    clients: Vec<Client>,
    /// Calls that were taken, and are answered long after or never.
    stuck: Vec<(Waiter, Errand)>,
    /// Whether the role of everybody is among those who watch.
    is_watching: bool,
    tally: Tally,
}

struct Client {
    pipe: usize,
    link: Link,
    is_lost: bool,
    /// The last one given out.
    request: u64,
    /// Requests without an answer, in their order.
    owed: VecDeque<u64>,
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
        if rng.random_bool(0.5) {
            let step_units = *pick(&mut rng, &[20, 500]);
            settings.turn = TurnLimits { step_units, turn_units: 2 * step_units, ..settings.turn };
        }
        let shards = *pick(&mut rng, &[1, 2, 3]);
        let realms = vec![realm(Managers { watch: everybody(), act: Vec::new() })];
        let mut network = Network::new(settings.clone(), realms, shards);
        network.links.verifier.is_held = true;
        let (clients, stuck, tally) = (Vec::new(), Vec::new(), Tally::new());
        Self { network, rng, settings, clients, stuck, is_watching: true, tally }
    }

    fn act(&mut self) {
        match self.rng.random_range(0..20) {
            0 if self.clients.len() < 12 => self.come(),
            1..=6 => self.ask(),
            7..=10 => self.answer(),
            11 => {
                let verifier = &mut self.network.links.verifier;
                verifier.room = self.rng.random_bool(0.3).then_some(0);
            }
            12 if self.rng.random_bool(0.3) => self.reload(),
            13 | 14 => self.announce(),
            15 if self.rng.random_bool(0.3) => {
                if let Some(number) = self.draw() {
                    self.clients[number].is_lost = true;
                    let is_waiting = !self.clients[number].owed.is_empty();
                    self.network.lose(self.clients[number].pipe);
                    self.count(if is_waiting { "a caller goes" } else { "a client goes" });
                }
            }
            16 => drop(self.network.advance(*pick(&mut self.rng, &[1, 100, 900, 15_000]))),
            17 if self.rng.random_bool(0.3) => self.get_stuck(),
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

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    fn draw(&mut self) -> Option<usize> {
        let here: Vec<_> = (0..self.clients.len()).filter(|c| !self.clients[*c].is_lost).collect();
        (!here.is_empty()).then(|| *pick(&mut self.rng, &here))
    }

    fn come(&mut self) {
        let shard = self.rng.random_range(0..self.network.shard_count());
        let pipe = self.network.connect(shard, Admission::Welcome, usize::MAX);
        let link = draw_link(&mut self.rng);
        let subscriber = json!({"features": {"subscription_revocation": true}});
        let roles = json!({"caller": {}, "subscriber": subscriber});
        let hello = json!([1, "realm1", {"roles": roles}]);
        let mut bytes = link.greeting();
        bytes.extend(link.message(&hello));
        self.network.receive(pipe, &bytes);
        let owed = VecDeque::new();
        self.clients.push(Client { pipe, link, is_lost: false, request: 0, owed });
    }

    /// One client says something, or much at once.
    fn ask(&mut self) {
        let Some(number) = self.draw() else { return };
        let flood = if self.rng.random_bool(0.2) { 20 } else { 1 };
        let mut bytes = Vec::new();
        for _ in 0..flood {
            let client = &mut self.clients[number];
            client.request += 1;
            let request = client.request;
            client.owed.push_back(request);
            let procedure = pick(&mut self.rng, ManagementProcedure::ALL).uri();
            let topic = pick(&mut self.rng, &ManagementTopic::ALL).uri();
            let message = match self.rng.random_range(0..8) {
                0 => json!([32, request, {}, topic]),
                1 => json!([32, request, {"match": "prefix"}, "stentor."]),
                2 => json!([48, request, {}, "wamp.session.count"]),
                3 => json!([48, request, {}, procedure, [], {"fail": "as asked"}]),
                _ => json!([48, request, {}, procedure, [], {"number": request}]),
            };
            bytes.extend(client.link.message(&message));
        }
        self.network.receive(self.clients[number].pipe, &bytes);
    }

    /// One of the calls that wait is answered, perhaps twice.
    fn answer(&mut self) {
        let verifier = &mut self.network.links.verifier;
        if verifier.queue.is_empty() {
            return;
        }
        let number = self.rng.random_range(0..verifier.queue.len());
        let (waiter, errand) = verifier.queue.remove(number).expect("it was just drawn");
        let times = if self.rng.random_bool(0.1) { 2 } else { 1 };
        for _ in 0..times {
            self.answer_to(&waiter, &errand);
        }
        self.count(if waiter.has_left() { "answered in vain" } else { "answered" });
    }

    /// One of the calls that wait is taken and not answered, or answered whenever that is.
    fn get_stuck(&mut self) {
        let queue = &mut self.network.links.verifier.queue;
        if self.rng.random_bool(0.5) {
            self.stuck.extend(queue.pop_front());
        } else if !self.stuck.is_empty() {
            let (waiter, errand) =
                self.stuck.swap_remove(self.rng.random_range(0..self.stuck.len()));
            if waiter.has_left() {
                self.count("answered too late");
            }
            self.answer_to(&waiter, &errand);
        }
    }

    fn answer_to(&mut self, waiter: &Waiter, errand: &Errand) {
        let now = self.network.wall_clock();
        let mail = self.network.links.verifier.judge(waiter.session, errand, now);
        self.network.deliver(usize::from(waiter.session.shard.0), mail);
    }

    fn reload(&mut self) {
        let (watch, act) = *pick(&mut self.rng, &[(true, false), (false, true), (false, false)]);
        self.is_watching = watch || act;
        let listed = |is_in: bool| if is_in { everybody() } else { Vec::new() };
        let managers = Managers { watch: listed(watch), act: listed(act) };
        self.network.reload(self.settings.clone(), vec![realm(managers)]);
        self.count("reload");
    }

    fn announce(&mut self) {
        let topic = pick(&mut self.rng, &ManagementTopic::ALL).uri();
        let (said, passage) = (json!({ "is_meant": self.is_watching }), Passage::default());
        let (home, mail) = bulletin(&self.network.router, "realm1", topic, &said, &passage);
        self.network.deliver(usize::from(home.0), mail);
    }

    fn hear_all(&mut self, context: &str) {
        for number in 0..self.clients.len() {
            let client = &mut self.clients[number];
            if client.is_lost {
                continue;
            }
            let bytes = self.network.read(client.pipe, usize::MAX);
            client.link.feed(&bytes);
            while let Some(incoming) = self.clients[number].link.next() {
                let Incoming::Message(message) = incoming else { continue };
                self.hear(number, &message, &format!("{context}, c{number}: {message}"));
            }
        }
    }

    fn hear(&mut self, number: usize, message: &Value, context: &str) {
        let owed = &mut self.clients[number].owed;
        let mut is_next = |place: usize| {
            let request = message[place].as_u64();
            assert_eq!(request, owed.pop_front(), "{context}: in its turn, and once");
        };
        match message[0].as_u64() {
            Some(2) => {}
            // Revoked by a reload.
            Some(35) if message[1] == 0 => self.count("revoked"),
            Some(33) => is_next(1),
            Some(36) => {
                assert_eq!(message[4][0]["is_meant"], true, "{context}");
                self.count("heard");
            }
            Some(50) => {
                is_next(1);
                if let Some(asked) = message[3][0]["arguments"].as_object() {
                    assert_eq!(asked["number"], message[1], "{context}: its own answer");
                }
                self.count("result");
            }
            Some(8) => {
                is_next(2);
                let error = message[4].as_str().expect("a URI").to_owned();
                let known = ["not_authorized", "resource_limit", "invalid_argument", "timeout"];
                assert!(known.iter().any(|end| error.ends_with(end)), "{context}");
                self.count(&error);
            }
            _ => panic!("{context}"),
        }
    }

    fn finish(mut self, context: &str, tally: &mut Tally) {
        self.network.links.verifier.is_held = false;
        self.network.links.verifier.room = None;
        self.network.settle();
        // Nobody answers what is stuck.
        self.network.advance(PATIENCE_MS);
        self.network.settle();
        for (waiter, errand) in std::mem::take(&mut self.stuck) {
            self.answer_to(&waiter, &errand);
        }
        self.network.settle();
        self.hear_all(context);
        for client in self.clients.iter().filter(|client| !client.is_lost) {
            assert!(client.owed.is_empty(), "{context}: {:?} are without an answer", client.owed);
        }
        self.tally.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count);
        for pipe in 0..self.network.links.pipes.len() {
            self.network.lose(pipe);
        }
        self.network.settle();
        self.network.check_empty();
    }
}

fn everybody() -> Vec<String> {
    vec!["anonymous".into()]
}

/// Everybody may do everything there that a permission can give.
fn realm(managers: Managers) -> RealmSettings {
    let permissions = ["", "stentor.", "wamp."].map(Permission::everything_below).to_vec();
    let access = Access::Roles(vec![RoleSettings::new("anonymous", permissions)]);
    RealmSettings { access, managers: Some(managers), ..RealmSettings::named("realm1") }
}

const STEPS: usize = 400;

/// How long a session waits for an answer.
const PATIENCE_MS: u64 = 40_000;

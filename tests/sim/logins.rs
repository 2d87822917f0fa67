//! Clients that log in by every method, rightly, wrongly, late, twice or never, while those who
//! judge are late, full, or gone, and so are procedures that are asked. Nobody joins without a
//! proof, and a challenge serves once.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, Method};
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, Settings};
use stentor::shard::Admission;

use super::Tally;
use super::authenticators::{ASKED, ASKING, Authenticators, REFUSAL, yes};
use super::plan::{draw_link, pick};
use crate::support::{
    CLIENT_NONCE, Incoming, Link, Network, Says, prove, public_key_of, user,
    user_with_chosen_ticket,
};

/// A client, and what the model knows of it.
struct Applicant {
    pipe: usize,
    link: Link,
    method: &'static str,
    authid: &'static str,
    state: State,
    /// The Extra of its CHALLENGE.
    challenge: Value,
    /// Its answer is the one that its challenge wants.
    is_right: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// HELLO is sent.
    Greeted,
    Challenged,
    Answered,
    Joined,
    Gone,
}

struct World {
    network: Network,
    rng: StdRng,
    applicants: Vec<Applicant>,
    authenticators: Authenticators,
    /// Every challenge that was given out.
    challenges: BTreeSet<String>,
    /// An answer to some earlier challenge, by method.
    overheard: Vec<(&'static str, String)>,
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
        settings.timeouts.login_ms = 2_000;
        settings.limits.login_failures_per_authid = *pick(&mut rng, &[0, 3]);
        settings.limits.questions_per_procedure = *pick(&mut rng, &[1, 2, 128]);
        if rng.random_bool(0.5) {
            let step_units = *pick(&mut rng, &[20, 500]);
            settings.turn = TurnLimits { step_units, turn_units: 2 * step_units, ..settings.turn };
        }
        let shards = *pick(&mut rng, &[1, 2, 3]);
        let realms =
            [realm(), remote_realm()].into_iter().chain(Authenticators::realms()).collect();
        let mut network = Network::new(settings, realms, shards);
        network.links.verifier.is_held = true;
        let (challenges, overheard) = (BTreeSet::new(), Vec::new());
        let (applicants, tally) = (Vec::new(), Tally::new());
        let authenticators = Authenticators::default();
        Self { network, rng, applicants, authenticators, challenges, overheard, tally }
    }

    fn act(&mut self) {
        match self.rng.random_range(0..16) {
            0 | 1 => self.greet(),
            2..=4 => self.answer_one(),
            5 => {
                let count = self.rng.random_range(1..4);
                (0..count).for_each(|_| self.judge_one());
            }
            6 => {
                self.network.links.verifier.room =
                    self.rng.random_bool(0.3).then(|| self.rng.random_range(0..3))
            }
            // The verifier vanishes with all that it had.
            7 if self.rng.random_bool(0.2) => self.network.links.verifier.queue.clear(),
            8 => {
                let ms = *pick(&mut self.rng, &[1, 100, 900]);
                self.network.advance(ms);
            }
            9 => {
                if let Some(number) = self.draw(|state| state != State::Gone) {
                    let applicant = &mut self.applicants[number];
                    applicant.state = State::Gone;
                    self.network.lose(applicant.pipe);
                }
            }
            10..=13 => self.authenticators.act(&mut self.network, &mut self.rng),
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

    /// Whoever judges deals with the first in the queue; the endpoint is of another mind each time.
    fn judge_one(&mut self) {
        let kind = match self.rng.random_range(0..5) {
            0 => "the endpoint denies",
            1 => "the endpoint fails",
            _ => "the endpoint grants",
        };
        let endpoint = &mut self.network.links.verifier.endpoint;
        endpoint.says = match kind {
            "the endpoint grants" => Says::Body(yes("remote").to_string()),
            "the endpoint denies" => Says::No,
            _ if self.rng.random_bool(0.5) => Says::Body("[]".into()),
            _ => Says::Nothing,
        };
        endpoint.asked = None;
        self.network.serve_verifier(1);
        let Some(asked) = self.network.links.verifier.endpoint.asked.take() else { return };
        let session = asked["details"]["session"].as_u64().expect("an id");
        if kind == "the endpoint grants" {
            self.authenticators.granted.insert(session);
        }
        *self.tally.entry(kind.to_owned()).or_default() += 1;
    }

    fn draw(&mut self, wanted: impl Fn(State) -> bool) -> Option<usize> {
        let fitting: Vec<_> =
            (0..self.applicants.len()).filter(|i| wanted(self.applicants[*i].state)).collect();
        (!fitting.is_empty()).then(|| *pick(&mut self.rng, &fitting))
    }

    fn greet(&mut self) {
        let shard = self.rng.random_range(0..self.network.shard_count());
        let pipe = self.network.connect(shard, Admission::Welcome, usize::MAX);
        let link = draw_link(&mut self.rng);
        let method = *pick(&mut self.rng, &["ticket", "wampcra", "wamp-scram", "cryptosign"]);
        let authid = *pick(&mut self.rng, &["joe", "chosen", "nobody", ASKED, REMOTE]);
        let realm = match authid {
            ASKED => ASKING,
            REMOTE => "realm2",
            _ => "realm1",
        };
        let details = json!({"roles": {"caller": {}}, "authmethods": [method, "x"],
            "authid": authid,
            "authextra": {"nonce": CLIENT_NONCE, "pubkey": public_key_of("joe")}});
        let mut bytes = link.greeting();
        bytes.extend(link.message(&json!([1, realm, details])));
        self.network.receive(pipe, &bytes);
        let state = State::Greeted;
        let (challenge, is_right) = (Value::Null, false);
        let applicant = Applicant { pipe, link, method, authid, state, challenge, is_right };
        self.applicants.push(applicant);
    }

    /// An applicant answers its challenge: rightly, wrongly, or with what it has overheard; and
    /// perhaps once more, and perhaps with a call behind it.
    fn answer_one(&mut self) {
        let Some(number) = self.draw(|state| state == State::Challenged) else { return };
        let kind = self.rng.random_range(0..4);
        let applicant = &mut self.applicants[number];
        let extra = applicant.challenge.clone();
        let right = if applicant.method == "cryptosign" { "joe" } else { "pencil" };
        let secret = if kind == 0 { "wrong" } else { right };
        let (method, authid) = (applicant.method, applicant.authid);
        let mut proof = prove(method, authid, secret, &extra);
        let is_asked = [ASKED, REMOTE].contains(&authid) && method != "wamp-scram";
        let is_known = authid == "joe" || authid == "chosen" && method == "ticket" || is_asked;
        applicant.is_right = secret == right && is_known;
        let overheard = self.overheard.iter().rev().find(|(of, _)| *of == method);
        if kind == 1
            && method != "ticket"
            && let Some((_, old)) = overheard
        {
            proof.clone_from(old);
            applicant.is_right = false;
        } else {
            self.overheard.push((method, proof.clone()));
        }
        applicant.state = State::Answered;
        let answer = json!([5, proof, {"nonce": extra["nonce"]}]);
        let mut bytes = applicant.link.message(&answer);
        if kind == 2 {
            bytes.extend(applicant.link.message(&json!([48, 1, {}, "wamp.session.count"])));
        }
        self.network.receive(applicant.pipe, &bytes);
    }

    fn hear_all(&mut self, context: &str) {
        self.authenticators.hear(&mut self.network, context);
        for number in 0..self.applicants.len() {
            let pipe = self.applicants[number].pipe;
            let bytes = self.network.read(pipe, usize::MAX);
            let applicant = &mut self.applicants[number];
            applicant.link.feed(&bytes);
            while let Some(incoming) = self.applicants[number].link.next() {
                if let Incoming::Message(message) = incoming {
                    self.hear(number, &message, context);
                }
            }
        }
    }

    fn hear(&mut self, number: usize, message: &Value, context: &str) {
        let applicant = &mut self.applicants[number];
        let context = format!(
            "{context}: {} as {}, {:?}, hears {message}",
            applicant.method, applicant.authid, applicant.state
        );
        if applicant.state == State::Gone {
            return;
        }
        match message[0].as_u64() {
            Some(4) => {
                assert_eq!(applicant.state, State::Greeted, "{context}");
                let extra = &message[2];
                let fresh = extra.get("challenge").or_else(|| extra.get("nonce"));
                if let Some(fresh) = fresh {
                    assert!(self.challenges.insert(fresh.to_string()), "used before: {context}");
                }
                applicant.challenge = message[2].clone();
                applicant.state = State::Challenged;
            }
            Some(2) => {
                assert!(applicant.state == State::Answered && applicant.is_right, "{context}");
                assert_eq!(message[2]["authid"], json!(applicant.authid), "{context}");
                assert_eq!(message[2]["authmethod"], json!(applicant.method), "{context}");
                if [ASKED, REMOTE].contains(&applicant.authid) {
                    let session = message[1].as_u64().expect("an id");
                    assert!(self.authenticators.granted.contains(&session), "{context}");
                    assert_eq!(message[2]["authprovider"], json!("dynamic"), "{context}");
                    *self.tally.entry("granted".to_owned()).or_default() += 1;
                }
                applicant.state = State::Joined;
                let welcome = applicant.method;
                *self.tally.entry(welcome.to_owned()).or_default() += 1;
            }
            Some(50) => assert_eq!(applicant.state, State::Joined, "{context}"),
            Some(3) => {
                let reason = message[2].as_str().unwrap_or_default();
                let is_wrong = applicant.state == State::Answered && !applicant.is_right;
                let may_be_denied = is_wrong || applicant.authid == REMOTE;
                assert!(reason != "wamp.error.authentication_denied" || may_be_denied, "{context}");
                let is_known = ["denied", "failed", "no_matching_auth_method"]
                    .iter()
                    .any(|end| reason.ends_with(end));
                let is_passed_on = reason == REFUSAL && applicant.authid == ASKED;
                assert!(is_known || is_passed_on, "{context}");
                if is_passed_on {
                    *self.tally.entry("passed on".to_owned()).or_default() += 1;
                }
                applicant.state = State::Gone;
            }
            _ => panic!("{context}"),
        }
    }

    fn finish(mut self, context: &str, tally: &mut Tally) {
        self.network.links.verifier.is_held = false;
        self.network.links.verifier.endpoint.says = Says::Nothing;
        self.network.settle();
        self.hear_all(context);
        let now = self.network.router.snapshot();
        for (name, count) in [
            ("denied", now.logins_denied),
            ("failed", now.logins_failed),
            ("limited", now.logins_limited_by_authid),
        ] {
            *self.tally.entry(name.to_owned()).or_default() += count;
        }
        let asked = std::mem::take(&mut self.authenticators.tally).into_iter();
        asked.for_each(|(what, count)| *tally.entry(what.to_owned()).or_default() += count);
        self.tally.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count);
        for pipe in 0..self.network.links.pipes.len() {
            self.network.lose(pipe);
        }
        self.network.settle();
        // What nobody judged any more is given up in time, which begins anew for a shard that was
        // late.
        for _ in 0..6 {
            self.network.advance(1_000);
        }
        self.network.settle();
        self.network.check_empty();
    }
}

fn realm() -> RealmSettings {
    let mut realm = RealmSettings::named("realm1");
    let methods = [Method::Ticket, Method::Wampcra, Method::Scram, Method::Cryptosign];
    let ways = methods.map(|method| AuthenticatorSettings::of(method, vec![user("joe", method)]));
    let chosen = user_with_chosen_ticket("chosen");
    let chosen = AuthenticatorSettings::of(Method::Ticket, vec![chosen]);
    realm.authenticators = ways.into_iter().chain([chosen]).collect();
    realm
}

/// Its users are those whom an endpoint says yes to.
fn remote_realm() -> RealmSettings {
    let methods = [Method::Ticket, Method::Wampcra, Method::Cryptosign];
    let url = "https://auth.example.org/wamp";
    let ways = methods.map(|method| AuthenticatorSettings::asking(method, url));
    RealmSettings { authenticators: ways.to_vec(), ..RealmSettings::named("realm2") }
}

/// Joins the realm whose authenticator is an endpoint.
const REMOTE: &str = "remote";

const STEPS: usize = 400;

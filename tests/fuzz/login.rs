//! From HELLO to WELCOME, by every method: a script of what several clients say, rightly, wrongly
//! or in bytes of their own, while those who judge are late, full or gone.
//!
//! Nobody joins a realm that asks for a proof without one, a challenge serves once, and when all
//! have left nothing of them is kept. The first byte of the input chooses the length of a step, the
//! others are operations with their operands.

mod applicant;
mod script;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, Method};
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, Settings};
use stentor::shard::Admission;

use self::applicant::{Applicant, State};
use self::script::Script;
use crate::support::{
    CLIENT_NONCE, Carrier, Incoming, Link, Network, Serializer, public_key_of, user,
    user_with_chosen_ticket,
};

pub(super) fn judge(data: &[u8]) {
    let mut script = Script::of(data);
    let step_units = if script.byte().is_multiple_of(2) { 50_000 } else { 20 };
    let mut world = World::new(step_units);
    while !script.is_over() {
        world.act(&mut script);
        world.network.check_invariants();
        world.hear_all();
    }
    world.check_steps(step_units);
    world.finish();
}

struct World {
    network: Network,
    applicants: Vec<Applicant>,
    /// Every challenge that was given out.
    challenges: BTreeSet<String>,
    /// An answer to some earlier challenge.
    overheard: Option<String>,
    /// So many bytes of the next message come first.
    cut: usize,
    /// Whoever judges may not have judged in time.
    is_disturbed: bool,
}

impl World {
    fn new(step_units: u32) -> Self {
        let mut settings = Settings::default();
        settings.timeouts.login_ms = LOGIN_MS;
        settings.limits.login_failures_per_authid = 0;
        settings.limits.login_failures_per_address = 0;
        settings.turn = TurnLimits { step_units, turn_units: 2 * step_units, ..settings.turn };
        let mut network = Network::new(settings, REALMS.clone(), 2);
        network.links.verifier.is_held = true;
        let (applicants, challenges) = (Vec::new(), BTreeSet::new());
        Self { network, applicants, challenges, overheard: None, cut: 0, is_disturbed: false }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 | 1 => self.connect(script),
            2 | 3 => self.greet(script),
            4 | 5 => self.answer(script),
            6 => self.say(script, |link, script| link.frame(script.text())),
            7 => self.say(script, |_, script| script.text().to_vec()),
            8 => self.garble_hello(script),
            9 => {
                self.say(script, |link, _| link.message(&json!([48, 1, {}, "wamp.session.count"])))
            }
            10 => self.say(script, |link, _| link.message(&json!([6, {}, "wamp.close.normal"]))),
            11 => self.lose(script),
            12 => self.cut = usize::from(script.byte()),
            13 => self.pass_time(script),
            14 => self.trouble_verifier(script),
            _ => self.move_on(),
        }
    }

    fn connect(&mut self, script: &mut Script<'_>) {
        if self.applicants.len() == MOST_APPLICANTS {
            return;
        }
        let choice = usize::from(script.byte());
        let carrier =
            if choice & 8 == 0 { Carrier::WebSocket } else { Carrier::RawSocket { exponent: 15 } };
        let mut link = Link::new(carrier, Serializer::ALL[choice % 3]);
        link.separator = [None, Some(0x1E), None, Some(0x18)][choice / 64];
        link.either_separator = true;
        let pipe = self.network.connect(choice / 16 % 2, Admission::Welcome, usize::MAX);
        self.network.receive(pipe, &link.greeting());
        self.applicants.push(Applicant::new(pipe, link));
    }

    /// HELLO as it should be.
    fn greet(&mut self, script: &mut Script<'_>) {
        let Some(number) = self.draw(script) else { return };
        let hello = hello(script);
        let applicant = &mut self.applicants[number];
        applicant.greet(&hello);
        let bytes = applicant.link.message(&hello);
        self.send(number, &bytes);
    }

    /// HELLO with some of its bytes changed.
    fn garble_hello(&mut self, script: &mut Script<'_>) {
        let Some(number) = self.draw(script) else { return };
        let applicant = &mut self.applicants[number];
        let mut body = applicant.link.serializer.encode(&hello(script));
        for _ in 0..=script.byte() % 4 {
            let at = usize::from(script.byte()) % body.len();
            body[at] = script.byte();
        }
        applicant.be_wild();
        let bytes = applicant.link.frame(&body);
        self.send(number, &bytes);
    }

    fn answer(&mut self, script: &mut Script<'_>) {
        let Some(number) = self.draw(script) else { return };
        let choice = script.byte();
        let overheard = self.overheard.clone().filter(|_| choice.is_multiple_of(4));
        let applicant = &mut self.applicants[number];
        let Some(answer) = applicant.answer(choice, overheard) else { return };
        self.overheard = answer[1].as_str().map(str::to_owned);
        let bytes = applicant.link.message(&answer);
        self.send(number, &bytes);
    }

    /// Somebody sends anything else: who it is afterwards nobody knows.
    fn say(&mut self, script: &mut Script<'_>, make: impl Fn(&Link, &mut Script<'_>) -> Vec<u8>) {
        let Some(number) = self.draw(script) else { return };
        let applicant = &mut self.applicants[number];
        let bytes = make(&applicant.link, script);
        applicant.be_wild();
        self.send(number, &bytes);
    }

    fn send(&mut self, number: usize, bytes: &[u8]) {
        let pipe = self.applicants[number].pipe;
        let (first, rest) = bytes.split_at(self.cut.min(bytes.len()));
        self.cut = 0;
        self.network.receive(pipe, first);
        self.network.receive(pipe, rest);
    }

    fn lose(&mut self, script: &mut Script<'_>) {
        let Some(number) = self.draw(script) else { return };
        self.applicants[number].state = State::Gone;
        self.network.lose(self.applicants[number].pipe);
    }

    fn pass_time(&mut self, script: &mut Script<'_>) {
        self.is_disturbed = true;
        self.network.advance([1, 100, LOGIN_MS, 20_000][usize::from(script.byte() % 4)]);
    }

    fn trouble_verifier(&mut self, script: &mut Script<'_>) {
        match script.byte() % 4 {
            0 => self.network.links.verifier.queue.clear(),
            1 => self.network.links.verifier.room = Some(0),
            2 => self.network.links.verifier.room = None,
            _ => {
                self.network.serve_verifier(1);
                return;
            }
        }
        self.is_disturbed = true;
    }

    fn move_on(&mut self) {
        for route in self.network.mail_routes() {
            self.network.deliver_mail(route);
        }
        (0..self.network.shard_count()).for_each(|shard| self.network.turn(shard));
    }

    fn draw(&self, script: &mut Script<'_>) -> Option<usize> {
        let number = usize::from(script.byte()).checked_rem(self.applicants.len())?;
        (self.applicants[number].state != State::Gone).then_some(number)
    }

    fn hear_all(&mut self) {
        for applicant in &mut self.applicants {
            let bytes = self.network.read(applicant.pipe, usize::MAX);
            applicant.link.feed(&bytes);
            while let Some(incoming) = applicant.link.next() {
                match incoming {
                    Incoming::Message(message) => {
                        if let Some(fresh) = applicant.hear(&message) {
                            assert!(self.challenges.insert(fresh), "a challenge that was used");
                        }
                    }
                    Incoming::Refused(status) => panic!("a good handshake is refused: {status}"),
                    _ => {}
                }
            }
        }
    }

    fn check_steps(&self, step_units: u32) {
        let most = u64::from(step_units) + INDIVISIBLE_UNITS;
        for shard in 0..self.network.shard_count() {
            let longest = self.network.shard(shard).longest_step();
            assert!(longest <= most, "a step of {longest} units");
        }
    }

    fn finish(mut self) {
        self.network.links.verifier.is_held = false;
        self.network.settle();
        self.hear_all();
        for applicant in &self.applicants {
            let state = applicant.state;
            let is_owed = applicant.is_owed_welcome() && !self.is_disturbed;
            assert!(!is_owed, "{state:?}, and its answer was right");
        }
        for pipe in 0..self.network.links.pipes.len() {
            self.network.lose(pipe);
        }
        self.network.settle();
        // What nobody judged any more is given up in time.
        for _ in 0..3 {
            self.network.advance(20_000);
            self.network.settle();
        }
        self.network.check_empty();
    }
}

fn hello(script: &mut Script<'_>) -> Value {
    let (who, how) = (usize::from(script.byte()), usize::from(script.byte()));
    let authid = ["joe", "chosen", "nobody", "joe\u{e9}"][who % 4];
    let realm = ["closed", "closed", "closed", "open"][who / 4 % 4];
    let methods = ["ticket", "wampcra", "wamp-scram", "cryptosign", "anonymous", "x"];
    let method = methods[how % methods.len()];
    let mut details = json!({"roles": {"caller": {}}, "authmethods": [method], "authid": authid,
        "authextra": {"nonce": CLIENT_NONCE, "pubkey": public_key_of("joe")}});
    if how >= 0x80 {
        details["authextra"] = json!({"channel_binding": null});
    }
    json!([1, realm, details])
}

static REALMS: LazyLock<Vec<RealmSettings>> = LazyLock::new(|| {
    let mut closed = RealmSettings::named("closed");
    let methods = [Method::Ticket, Method::Wampcra, Method::Scram, Method::Cryptosign];
    let ways = methods.map(|method| AuthenticatorSettings::of(method, vec![user("joe", method)]));
    let chosen = user_with_chosen_ticket("chosen");
    let chosen = AuthenticatorSettings::of(Method::Ticket, vec![chosen]);
    closed.authenticators = ways.into_iter().chain([chosen]).collect();
    vec![closed, RealmSettings::named("open")]
});

const LOGIN_MS: u64 = 2_000;
const MOST_APPLICANTS: usize = 12;

/// What verifying a signature takes, and a message of `limits.hello_bytes`.
const INDIVISIBLE_UNITS: u64 = 6_000;

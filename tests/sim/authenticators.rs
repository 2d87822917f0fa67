//! Authenticators that are procedures, in a realm of their own: they come and vanish, answer
//! rightly, wrongly, in any order, late or never. What they have granted is noted.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, Method};
use stentor::router::RealmSettings;
use stentor::shard::Admission;

use super::plan::{draw_link, pick};
use crate::support::{Incoming, Link, Network, public_key_of};

/// Joins this realm, which asks about it.
pub(super) const ASKED: &str = "asked";
pub(super) const ASKING: &str = "asking";

/// How a question ends, by what is said.
pub(super) const REFUSAL: &str = "com.sim.no";

#[derive(Default)]
pub(super) struct Authenticators {
    callees: Vec<Callee>,
    /// The ids of sessions that may be.
    pub(super) granted: BTreeSet<u64>,
    /// Questions, INTERRUPTs and ends by kind.
    pub(super) tally: BTreeMap<&'static str, u64>,
}

struct Callee {
    pipe: usize,
    link: Link,
    is_lost: bool,
    /// Ids of invocations, with the session and the method in question.
    open: Vec<(u64, u64, String)>,
}

impl Authenticators {
    /// The realm that asks them, and the one in which they are.
    pub(super) fn realms() -> [RealmSettings; 2] {
        let methods = [Method::Ticket, Method::Wampcra, Method::Cryptosign];
        let ways = methods.map(|method| AuthenticatorSettings {
            procedure_realm: Some("auth".into()),
            timeout_ms: 1_500,
            ..AuthenticatorSettings::calling(method, PROCEDURE)
        });
        let [mut asking, mut own] = [ASKING, "auth"].map(RealmSettings::named);
        asking.authenticators = ways.to_vec();
        own.authenticators = vec![AuthenticatorSettings::anonymous("authenticator")];
        [asking, own]
    }

    pub(super) fn act(&mut self, network: &mut Network, rng: &mut StdRng) {
        self.callees.retain(|callee| !callee.is_lost);
        match rng.random_range(0..8) {
            0 if self.callees.len() < 3 => self.come(network, rng),
            1 if rng.random_bool(0.1) => {
                if let Some(callee) = self.callees.first_mut() {
                    callee.is_lost = true;
                    network.lose(callee.pipe);
                    *self.tally.entry("an authenticator vanishes").or_default() += 1;
                }
            }
            _ => self.answer(network, rng),
        }
    }

    fn come(&mut self, network: &mut Network, rng: &mut StdRng) {
        let shard = rng.random_range(0..network.shard_count());
        let pipe = network.connect(shard, Admission::Welcome, usize::MAX);
        let link = draw_link(rng);
        let features = json!({"call_canceling": rng.random_bool(0.7)});
        let hello = json!([1, "auth", {"roles": {"callee": {"features": features}}}]);
        let register = json!([64, 1, {"invoke": "roundrobin"}, PROCEDURE]);
        let mut bytes = link.greeting();
        bytes.extend(link.message(&hello));
        bytes.extend(link.message(&register));
        network.receive(pipe, &bytes);
        self.callees.push(Callee { pipe, link, is_lost: false, open: Vec::new() });
    }

    fn answer(&mut self, network: &mut Network, rng: &mut StdRng) {
        let open = self.callees.iter().filter(|callee| !callee.open.is_empty()).count();
        if open == 0 {
            return;
        }
        let callee = rng.random_range(0..open);
        let mut callees = self.callees.iter_mut().filter(|callee| !callee.open.is_empty());
        let callee = callees.nth(callee).expect("one of those that are open");
        let index = rng.random_range(0..callee.open.len());
        let (id, session, method) = callee.open.swap_remove(index);
        let yes = yes(&method);
        let (kind, message) = match rng.random_range(0..8) {
            0 => ("refuses", json!([8, 68, id, {}, REFUSAL, ["no"]])),
            1 => ("fails", json!([8, 68, id, {}, "wamp.error.runtime_error"])),
            2 => {
                let wrong = [json!([]), json!([7]), json!([{}]), json!(["a", "b"])];
                let wrong = pick(rng, &wrong);
                ("misanswers", json!([70, id, {}, wrong]))
            }
            _ => {
                self.granted.insert(session);
                ("grants", json!([70, id, {}, [yes]]))
            }
        };
        *self.tally.entry(kind).or_default() += 1;
        let bytes = callee.link.message(&message);
        network.receive(callee.pipe, &bytes);
    }

    pub(super) fn hear(&mut self, network: &mut Network, context: &str) {
        for callee in self.callees.iter_mut().filter(|callee| !callee.is_lost) {
            let bytes = network.read(callee.pipe, usize::MAX);
            callee.link.feed(&bytes);
            while let Some(incoming) = callee.link.next() {
                let Incoming::Message(message) = incoming else { continue };
                let kind = match message[0].as_u64() {
                    Some(68) => {
                        callee.open.push(question(&message, context));
                        "asked"
                    }
                    // Half of them stop, the others answer in vain.
                    Some(69) => {
                        let id = message[1].as_u64();
                        callee.open.retain(|open| Some(open.0) != id || open.0 % 2 == 0);
                        "interrupted"
                    }
                    Some(2 | 65) => continue,
                    _ => panic!("{context}: an authenticator hears {message}"),
                };
                *self.tally.entry(kind).or_default() += 1;
            }
        }
    }
}

/// The answer that lets a client in, by every method, with a word for the authextra of WELCOME.
pub(super) fn yes(method: &str) -> Value {
    json!({"role": "user", "ticket": "pencil", "secret": "pencil",
        "pubkey": public_key_of("joe"), "extra": {"method": method}})
}

/// The invocation, the session and the method; the router asks about those alone that it should.
fn question(message: &Value, context: &str) -> (u64, u64, String) {
    let [realm, authid, details] = message[4].as_array().expect("arguments").as_slice() else {
        panic!("{context}: three arguments, not {message}");
    };
    assert_eq!((realm, authid), (&json!(ASKING), &json!(ASKED)), "{context}");
    let method = details["authmethod"].as_str().expect("a method");
    assert_eq!(method == "ticket", details.get("ticket").is_some(), "{context}: {message}");
    let session = details["session"].as_u64().expect("an id");
    (message[1].as_u64().expect("an id"), session, method.to_owned())
}

const PROCEDURE: &str = "com.sim.authenticate";

//! Statements about the router as a whole, and those that are more than a line: what a trace has
//! seen, and revocations.

use serde_json::{Value, json};
use stentor::router::{Busyness, SessionRef};
use stentor::shard::{Mail, Passage};
use stentor::wamp::SessionId;

use super::super::traces::Tracer;
use super::Stage;
use crate::support::{Network, Says, bulletin, published_elsewhere, token};

impl Stage {
    /// The statements about the router as a whole.
    pub(super) fn run_router(&mut self, words: &[&str]) {
        match words {
            ["reload", number] => {
                let number: usize = number.parse().expect("a number");
                let (settings, realms) = self.reloads[number - 1].clone();
                self.world.reload(&settings, &realms);
            }
            ["counted", "client", name, now, opened] => {
                let mut counted = [0, 0];
                for network in self.world.networks() {
                    let counts = network.router.client_counts();
                    let found = counts.iter().find(|(client, ..)| client == name);
                    let (_, open, all) =
                        found.map_or((name, 0, 0), |(_, open, all)| (name, *open, *all));
                    counted = [counted[0] + open, counted[1] + all];
                }
                assert_eq!(counted.map(|n| n.to_string()), [*now, *opened], "{}", self.line);
            }
            ["counted", "group", name, expected @ ..] => {
                let of = [Busyness::Publications, Busyness::Events, Busyness::Calls];
                let found = of.map(|what| {
                    let of_node = |network: &mut Network| {
                        let counts = network.router.group_counts(what);
                        counts.iter().find(|(group, _)| group == name).expect("a group").1
                    };
                    self.world.networks().into_iter().map(of_node).sum::<u64>().to_string()
                });
                assert_eq!(found, expected, "{}", self.line);
            }
            ["shutdown"] => self.at_all(Network::begin_shutdown),
            ["drain", ms] => {
                let ms = ms.parse().expect("milliseconds");
                self.at_all(|network| network.begin_drain(ms));
            }
            ["store", "waits"] => self.at_all(|network| network.links.store.is_held = true),
            ["store", "saves"] => self.at_all(|network| {
                network.serve_store(usize::MAX, true);
            }),
            ["store", "fails"] => {
                self.at_all(|network| {
                    network.serve_store(usize::MAX, false);
                });
            }
            ["trace", filter, rest @ ..] => {
                let filter = self.literal(filter);
                self.tracer = Some(Tracer::begin(self.world.alone(), &filter, rest));
            }
            ["traced", words @ ..] => self.check_traced(words),
            _ => self.run_login(words),
        }
    }

    /// The statements about logins.
    fn run_login(&mut self, words: &[&str]) {
        match words {
            ["the", "router", "announces", topic, said] => {
                let said = serde_json::from_str(said).expect("JSON");
                let (network, passage) = (self.world.alone(), Passage::default());
                let (home, mail) = bulletin(&network.router, "realm1", topic, &said, &passage);
                network.deliver(usize::from(home.0), mail);
                network.settle();
            }
            ["another", "node", "publishes", topic, said] => {
                let said = serde_json::from_str(said).expect("JSON");
                let network = self.world.alone();
                let mail = published_elsewhere(&network.router, "realm1", topic, &said);
                for (shard, mail) in mail {
                    network.deliver(usize::from(shard.0), mail);
                }
            }
            ["verifier", "waits"] => self.at_all(|network| network.links.verifier.is_held = true),
            ["verifier", "judges"] => self.at_all(|network| {
                network.serve_verifier(usize::MAX);
            }),
            ["verifier", "judges", "the", "first"] => {
                self.world.alone().serve_verifier(1);
            }
            ["verifier", "takes", room] => {
                let room = room.parse().expect("a number");
                self.at_all(|network| network.links.verifier.room = Some(room));
            }
            ["prove", proof, "by", method, authid, secret, "from", extra] => {
                self.prove(proof, method, [authid, secret], extra);
            }
            ["token", name, "for", ms, claims] => self.issue(name, ms, claims),
            ["the", "endpoint", "says", words @ ..] => {
                let says = match words {
                    ["no"] => Says::No,
                    ["nothing"] => Says::Nothing,
                    ["error", uri, text] => Says::Error((*uri).into(), (*text).into()),
                    [answer] => Says::Body(self.literal(answer).to_string()),
                    _ => panic!("no statement: {}", self.line),
                };
                self.at_all(|network| network.links.verifier.endpoint.says = says.clone());
            }
            ["the", "endpoint", "was", "asked", realm, authid, details] => {
                let asked = self.last_asked();
                assert_eq!(asked["realm"], self.literal(realm), "{}", self.line);
                assert_eq!(asked["authid"], self.literal(authid), "{}", self.line);
                for (key, value) in self.literal(details).as_object().expect("a dict") {
                    assert_eq!(asked["details"][key], *value, "{key}: {}", self.line);
                }
            }
            ["the", "endpoint", "was", "asked", "about", action, uri, options] => {
                let asked = self.last_asked();
                assert_eq!(asked["action"], json!(action), "{}", self.line);
                assert_eq!(asked["uri"], json!(uri), "{}", self.line);
                assert_eq!(asked["options"], self.literal(options), "{}", self.line);
            }
            [name, "comes", "from", peer] => {
                let peer: std::net::SocketAddr = peer.parse().expect("an address");
                let (node, _) = self.world.place(self.actors.len());
                self.world.network(node).peer = Some(peer.into());
                self.actor(name);
            }
            _ => panic!("no statement: {}", self.line),
        }
    }

    fn issue(&mut self, name: &str, ms: &str, claims: &str) {
        let ms: i64 = ms.parse().expect("milliseconds");
        let expires = self.world.network(0).wall_clock().unix_ms() + ms;
        let mut claims = self.literal(claims);
        #[expect(clippy::cast_precision_loss, reason = "the present is far from 2^53")]
        let seconds = expires as f64 / 1_000.0;
        claims["exp"] = json!(seconds);
        self.bindings.insert(name.to_owned(), json!(token(&claims)));
    }

    pub(super) fn check_traced(&mut self, words: &[&str]) {
        let mut tracer = self.tracer.take().expect("a trace");
        tracer.fetch(self.world.alone());
        match words {
            ["nothing"] => tracer.check_empty(&self.line),
            [direction, message, fields] => {
                // What is not bound yet is what the trace says.
                let fields = self.literal(fields);
                tracer.expect(direction, message, &fields, &self.line);
            }
            _ => panic!("no statement: {}", self.line),
        }
        self.tracer = Some(tracer);
    }

    /// The session, the id and the reason of a revocation.
    pub(super) fn revocation(
        &mut self,
        name: &str,
        id: &str,
        rest: &[&str],
    ) -> (SessionRef, u64, Option<Box<str>>) {
        let session = self.bindings[&format!("$id_{name}")].as_u64().and_then(SessionId::new);
        let (network, _) = self.socket(name);
        let realm = network.router.realm("realm1").expect("it is configured");
        let session = realm.find(session.expect("an id")).expect("the session is there");
        let reason = match rest {
            [] => None,
            ["because", word] => Some(self.literal(word).as_str().expect("text").into()),
            _ => panic!("no statement: {}", self.line),
        };
        (session, self.literal(id).as_u64().expect("an id"), reason)
    }

    /// Mail from outside of all shards, at the node of a client.
    pub(super) fn deliver(&mut self, name: &str, to: SessionRef, mail: Mail) {
        self.socket(name).0.deliver(usize::from(to.shard.0), mail);
    }

    fn at_all(&mut self, act: impl FnMut(&mut Network)) {
        self.world.networks().into_iter().for_each(act);
    }

    /// What an endpoint was asked last, by whichever node.
    fn last_asked(&mut self) -> Value {
        let mut networks = self.world.networks().into_iter();
        let asked = networks.find_map(|network| network.links.verifier.endpoint.asked.take());
        asked.unwrap_or_else(|| panic!("nobody was asked: {}", self.line))
    }
}

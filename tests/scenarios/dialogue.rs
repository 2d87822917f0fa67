//! The language of the scenarios, and what runs them.
//!
//! One statement a line, which goes on behind a `\` at its end. Every statement has taken effect
//! everywhere before the next one:
//!
//! ```text
//! join a b                        clients say HELLO to realm1 and get WELCOME; binds $id_a and
//!                                 $authid_a to what it says of `a`
//! join fully a b                  the same, and they announce every feature that clients can have
//! a via rawsocket 512             a client takes so much on RawSocket; or: via websocket
//! a -> SUBSCRIBE {} com.x         the request id is put in by itself; #7 gives another one
//! a -> [32, 1, {}, "com.x"]       any JSON
//! a <- SUBSCRIBED 1 $s            the next message of `a`; $s is bound, or must be the same again
//! a <- ERROR 34 2 {} $uri ...     `*` is any element, `...` any rest; both names and `*` may stand
//!                                 in a list or dict, such as [$id_a,*]
//! a <- RESULT 1 {} ~[[3,1,2]]     `~`: lists may be in another order
//! a <- CLOSED 1008                the router ended the transport; on WebSocket with this code
//! a <- PING                       which stays unanswered
//! a sends oversized               or: broken, garbage, wrong type (text for binary)
//! a loses $s because reason         its subscription is revoked; or: a loses $s
//! a loses registration $r because x or its registration is; or: a loses registration $r
//! a sees broker event_retention   WELCOME announced the feature; or: sees no broker ...
//! a asks 3 {"limit":2} and gets [1] [2] complete, more
//!                                 the history of subscription 3 has these `args`; it is complete,
//!                                 and has more, only if the line says so
//! store waits | store saves | store fails   what is to be stored waits; then it succeeds, or not
//! prove $p by wampcra joe secret from $x
//!                                 what `joe` answers to a CHALLENGE with the Extra $x; binds also
//!                                 $session and $nonce to what the Extra says of them
//! verifier waits | verifier judges | verifier takes N   tickets are to be judged; then they are,
//!                                 all or, with `the first` behind it, one
//! token $t for 60000 {"sub":"joe"}
//!                                 what the issuer of `by_token` signs; it expires in so many ms
//! the endpoint says {"role":"x"}  to whoever is asked about; or: says no, says nothing, or
//!                                 says error com.x text, as a procedure would
//! the endpoint was asked realm1 joe {"ticket":"x"}
//!                                 about whom last, with these details among others
//! the endpoint was asked about publish com.x {"match":"exact"}
//!                                 about which request last, with these options
//! the router announces stentor.x {"n":1}
//!                                 publishes in realm1 to those who watch the router
//! another node publishes com.x {"n":1}
//!                                 in realm1; what its session was, nobody knows here
//! reload 2                        see `check_reloads`
//! counted client wampy.js 1 2     so many sessions are open by that name, and were opened
//! counted group shop 1 2 3        its publications, events and calls
//! a comes from 10.0.0.1:5         before anything else of `a`
//! trace {"session":$id_a} payload 9 begins a trace, instead of an earlier one; see `traces`
//! traced in publish {"uri":"com.x"} among what it has seen is such a message; null: not there
//! traced nothing                  nothing else was seen until now
//! a is 50 ms behind             its oldest byte that its socket refused has waited; 0: none
//! a pings | a connects | a is lost | a stalls | a reads | wait 5000 | shutdown | drain 5000
//! at one node: the reason           as the first line: it does not run with several nodes
//! ```
//!
//! With several nodes each client is at another one than the client before it. A client's messages
//! must all be listed, in their order. At the end all clients leave, and the router must be empty.

#[path = "matching.rs"]
mod matching;
#[path = "statements.rs"]
mod statements;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stentor::router::{NodeIds, NodeNumber, RealmSettings, RequestIdCheck, Settings};
use stentor::shard::{Admission, Mail};
use stentor::wamp::{RegistrationId, SubscriptionId, UriRule};

use super::traces::Tracer;
use super::words::{FULLY, PLAINLY, Reload, code, tokens};
use super::world::World;
use crate::support::{Carrier, Incoming, Link, Network, Serializer, prove};

/// Runs a dialogue with the default settings.
pub(crate) fn check(dialogue: &str) {
    check_with(|_| {}, dialogue);
}

/// Runs a dialogue with other settings.
pub(crate) fn check_with(change: impl Fn(&mut Settings), dialogue: &str) {
    check_in(|_| {}, change, dialogue);
}

/// Runs a dialogue on realms with other settings.
pub(crate) fn check_realm(adapt: impl Fn(&mut RealmSettings), dialogue: &str) {
    check_in(adapt, |_| {}, dialogue);
}

/// Runs a dialogue on other realms with other settings.
pub(crate) fn check_realm_with(
    adapt: impl Fn(&mut RealmSettings),
    change: impl Fn(&mut Settings),
    dialogue: &str,
) {
    check_in(adapt, change, dialogue);
}

/// Runs a dialogue in which the router is reloaded: `reload 2` does what the second one of
/// `reloads` makes of the settings and realms that were there at first.
pub(crate) fn check_reloads(
    adapt: impl Fn(&mut RealmSettings),
    reloads: &[Reload<'_>],
    dialogue: &str,
) {
    check_all(adapt, |_| {}, reloads, dialogue);
}

fn check_in(adapt: impl Fn(&mut RealmSettings), change: impl Fn(&mut Settings), dialogue: &str) {
    check_all(adapt, change, &[], dialogue);
}

/// Runs a dialogue with other settings and realms, and with reloads.
pub(crate) fn check_all(
    adapt: impl Fn(&mut RealmSettings),
    change: impl Fn(&mut Settings),
    reloads: &[Reload<'_>],
    dialogue: &str,
) {
    let mut realms = ["realm1", "realm2", "strict"].map(RealmSettings::named);
    realms[2].uri_rule = UriRule::Strict;
    realms.iter_mut().for_each(adapt);
    // The dialogues are the specification's, so its rule is the default here.
    let mut settings = Settings { request_ids: RequestIdCheck::Strict, ..Settings::default() };
    change(&mut settings);
    let reload = |change: &Reload<'_>| {
        let (mut settings, mut realms) = (settings.clone(), realms.to_vec());
        change(&mut settings, &mut realms);
        (settings, realms)
    };
    let reloads: Vec<_> = reloads.iter().map(reload).collect();
    // Dialogues know histories by the ids that they have at a router that is alone.
    let has_node = realms.iter().all(|realm| realm.histories.is_empty());
    let setups = Setup::ALL.into_iter().filter(|setup| has_node || matches!(setup, Setup::Alone));
    let is_of_one = OF_ONE_NODE.iter().any(|statement| dialogue.contains(statement));
    let setups = setups.filter(|setup| !(setup.is_several() && is_of_one));
    for (setup, shards, mix) in setups.flat_map(Setup::runs) {
        let world = setup.build(settings.clone(), realms.to_vec(), shards);
        let mut stage = Stage::new(world, mix);
        stage.reloads.clone_from(&reloads);
        let context = format!("with {shards} shards, {mix:?}, {setup:?}");
        for (number, line) in dialogue.replace("\\\n", "").lines().enumerate() {
            let line = line.trim();
            stage.line = format!("line {}, `{line}`, {context}", number + 1);
            if !line.is_empty() && !line.starts_with(ONE_NODE) {
                stage.run(line);
            }
        }
        stage.line = format!("the end, {context}");
        stage.finish();
    }
}

const ONE_NODE: &str = "at one node:";

/// What observers see, and whoever is no client, is of one node.
const OF_ONE_NODE: [&str; 5] =
    [ONE_NODE, "another node publishes", "the router announces", "traced ", "judges the first"];

/// Where a dialogue runs.
#[derive(Clone, Copy, Debug)]
enum Setup {
    Alone,
    /// One router with the ids and the claims of a node, and nobody else.
    Lone,
    /// So many routers as one.
    Several(usize),
}

impl Setup {
    const ALL: [Self; 4] = [Self::Alone, Self::Lone, Self::Several(2), Self::Several(3)];

    fn is_several(self) -> bool {
        matches!(self, Self::Several(_))
    }

    /// With how many shards, and which clients.
    fn runs(self) -> Vec<(Self, usize, Mix)> {
        let (shards, mixes): (&[usize], &[Mix]) = match self {
            Self::Alone => (&[1, 2, 8], &Mix::ALL),
            Self::Lone | Self::Several(2) => (&[2], &[Mix::All]),
            Self::Several(_) => (&[1], &[Mix::Batched]),
        };
        let runs = shards.iter().flat_map(|shards| mixes.iter().map(move |mix| (*shards, *mix)));
        runs.map(|(shards, mix)| (self, shards, mix)).collect()
    }

    fn build(self, mut settings: Settings, realms: Vec<RealmSettings>, shards: usize) -> World {
        settings.output.deflate_min_bytes = 20;
        settings.claims = !matches!(self, Self::Alone);
        match self {
            Self::Alone => {}
            Self::Lone => settings.node = Some(node()),
            Self::Several(nodes) => return World::several(nodes, settings, realms, shards),
        }
        World::Alone(Box::new(Network::new(settings, realms, shards)))
    }
}

/// What makes the router one of a cluster, as far as its ids say.
fn node() -> NodeIds {
    NodeIds::new(NodeNumber::new(5).expect("7 bits"), 42)
}

/// Which serializers and transports the clients of one run use.
#[derive(Clone, Copy, Debug)]
enum Mix {
    Same(Serializer),
    /// Each client another one.
    All,
    /// The same, and messages in batches wherever there is a WebSocket.
    Batched,
}

impl Mix {
    const ALL: [Self; 5] = [
        Self::Same(Serializer::Cbor),
        Self::Same(Serializer::Json),
        Self::Same(Serializer::MsgPack),
        Self::All,
        Self::Batched,
    ];

    fn link(self, client: usize) -> Link {
        let websocket = Carrier::WebSocket;
        let rawsocket = Carrier::RawSocket { exponent: 15 };
        let (serializer, first) = match self {
            Self::Same(serializer) => (serializer, serializer == Serializer::Json),
            Self::All | Self::Batched => (Serializer::ALL[client % 3], client.is_multiple_of(2)),
        };
        let carrier = if client.is_multiple_of(2) == first { websocket } else { rawsocket };
        let mut link = Link::new(carrier, serializer);
        if matches!(self, Self::Batched) {
            link.carrier = websocket;
            link.separator = Some(if client < 3 { 0x1E } else { 0x18 });
            link.deflate = !client.is_multiple_of(2);
        }
        link
    }
}

struct Actor {
    link: Link,
    node: usize,
    pipe: usize,
    greeted: bool,
    requests: u64,
    reads: bool,
    inbox: Vec<Incoming>,
}

struct Stage {
    world: World,
    mix: Mix,
    actors: BTreeMap<String, Actor>,
    bindings: BTreeMap<String, Value>,
    reloads: Vec<(Settings, Vec<RealmSettings>)>,
    tracer: Option<Tracer>,
    /// Where we are, for messages.
    line: String,
}

impl Stage {
    fn new(world: World, mix: Mix) -> Self {
        let (actors, bindings) = (BTreeMap::new(), BTreeMap::new());
        let (reloads, tracer) = (Vec::new(), None);
        Self { world, mix, actors, bindings, reloads, tracer, line: String::new() }
    }

    /// The router of a client, and its socket there.
    fn socket(&mut self, name: &str) -> (&mut Network, usize) {
        let (node, pipe) = {
            let actor = self.actor(name);
            (actor.node, actor.pipe)
        };
        (self.world.network(node), pipe)
    }

    fn run(&mut self, line: &str) {
        let words = tokens(line);
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        match texts.as_slice() {
            ["join", "fully", names @ ..] => names.iter().for_each(|name| self.join(name, FULLY)),
            ["join", names @ ..] => names.iter().for_each(|name| self.join(name, PLAINLY)),
            ["wait", ms] => self.world.wait(ms.parse().expect("milliseconds")),
            [name, "via", "websocket"] => {
                self.actor(name).link.carrier = Carrier::WebSocket;
            }
            [name, "via", "rawsocket", limit] => {
                let limit: usize = limit.parse().expect("bytes");
                let exponent = u8::try_from(limit.ilog2() - 9).expect("512 B to 16 MiB");
                self.actor(name).link.carrier = Carrier::RawSocket { exponent };
            }
            [name, "connects"] => self.greet(name),
            [name, "is", "lost"] => {
                let (network, pipe) = self.socket(name);
                network.lose(pipe);
            }
            [name, "is", ms, "ms", "behind"] => {
                let (network, pipe) = self.socket(name);
                network.check_behind(pipe, ms, line);
            }
            [name, "stalls"] => self.stall(name),
            [name, "reads"] => self.unstall(name),
            [name, "pings"] => {
                let bytes = self.actor(name).link.ping(b"hello");
                self.send(name, &bytes);
            }
            [name, "sends", "oversized"] => {
                let bytes = self.actor(name).link.oversized();
                self.send(name, &bytes);
            }
            [name, "sends", "broken"] => {
                let bytes = self.actor(name).link.broken();
                self.send(name, &bytes);
            }
            [name, "sends", "wrong", "type"] => {
                let bytes = self.actor(name).link.wrong_type(&json!([16, 1, {}, "com.x"]));
                self.send(name, &bytes);
            }
            [name, "sends", "garbage"] => {
                let bytes = self.actor(name).link.frame(&[0xC1, b'{']);
                self.send(name, &bytes);
            }
            [name, "loses", "registration", id, rest @ ..] => {
                let (callee, id, reason) = self.revocation(name, id, rest);
                let registration = RegistrationId::new(id).expect("a registration");
                let mail = Mail::RevokeRegistration { callee, registration, reason };
                self.deliver(name, callee, mail);
            }
            [name, "loses", id, rest @ ..] => {
                let (subscriber, id, reason) = self.revocation(name, id, rest);
                let subscription = SubscriptionId::new(id).expect("a subscription");
                self.deliver(name, subscriber, Mail::Revoke { subscriber, subscription, reason });
            }
            [name, "sees", "no", role, feature] => {
                assert!(!self.sees(name, role, feature), "{line}")
            }
            [name, "sees", role, feature] => assert!(self.sees(name, role, feature), "{line}"),
            [name, "asks", id, filters, "and", "gets", expected @ ..] => {
                self.ask(name, id, filters, expected);
            }
            [name, "->", message @ ..] => self.say(name, message),
            [name, "<-", expected @ ..] => self.hear(name, expected),
            _ => self.run_router(&texts),
        }
        self.settle();
    }

    fn actor(&mut self, name: &str) -> &mut Actor {
        if !self.actors.contains_key(name) {
            let index = self.actors.len();
            let (node, shard) = self.world.place(index);
            let network = self.world.network(node);
            let pipe = network.connect(shard, Admission::Welcome, usize::MAX);
            let (link, inbox) = (self.mix.link(index), Vec::new());
            let actor = Actor { link, node, pipe, greeted: false, requests: 0, reads: true, inbox };
            self.actors.insert(name.to_owned(), actor);
        }
        self.actors.get_mut(name).expect("the actor exists by now")
    }

    fn greet(&mut self, name: &str) {
        let actor = self.actor(name);
        if !std::mem::replace(&mut actor.greeted, true) {
            let bytes = actor.link.greeting();
            let (network, pipe) = self.socket(name);
            network.receive(pipe, &bytes);
            self.settle();
        }
    }

    fn join(&mut self, name: &str, roles: &str) {
        self.say(name, &["HELLO", "realm1", roles]);
        self.settle();
        let (id, details) = (format!("$id_{name}"), format!("$welcome_{name}"));
        [&id, &details].into_iter().for_each(|name| drop(self.bindings.remove(name)));
        self.hear(name, &["WELCOME", &id, &details]);
        let authid = self.bindings[&details]["authid"].clone();
        self.bindings.insert(format!("$authid_{name}"), authid);
    }

    fn send(&mut self, name: &str, bytes: &[u8]) {
        self.greet(name);
        let (network, pipe) = self.socket(name);
        network.receive(pipe, bytes);
    }

    fn say(&mut self, name: &str, message: &[&str]) {
        self.greet(name);
        let message = self.message(name, message);
        if message[0] == json!(1) {
            self.actor(name).requests = 0;
        }
        let bytes = self.actor(name).link.message(&message);
        self.send(name, &bytes);
    }

    fn message(&mut self, name: &str, words: &[&str]) -> Value {
        if words[0].starts_with('[') {
            return serde_json::from_str(&words.concat()).expect("JSON");
        }
        let (code, numbered) = code(words[0]);
        let mut message = vec![json!(code)];
        let mut rest = &words[1..];
        let given = rest.first().and_then(|word| word.strip_prefix('#'));
        if let Some(id) = given {
            message.push(json!(id.parse::<u64>().expect("a request id")));
            rest = &rest[1..];
        } else if numbered {
            let actor = self.actor(name);
            actor.requests += 1;
            message.push(json!(actor.requests));
        }
        for word in rest {
            message.push(match self.bindings.get(*word) {
                Some(bound) => bound.clone(),
                None => self.literal(word),
            });
        }
        Value::Array(message)
    }

    fn prove(&mut self, proof: &str, method: &str, [authid, secret]: [&str; 2], extra: &str) {
        let extra = self.bindings[extra].clone();
        let answer = prove(method, authid, secret, &extra);
        self.bindings.insert(proof.to_owned(), json!(answer));
        self.bindings.insert("$nonce".to_owned(), extra["nonce"].clone());
        let challenge = extra["challenge"].as_str().unwrap_or_default();
        let said: Value = serde_json::from_str(challenge).unwrap_or_default();
        self.bindings.insert("$session".to_owned(), said["session"].clone());
    }

    /// Calls `wamp.subscription.get_events`, and looks at the payloads and the flags only.
    fn ask(&mut self, name: &str, id: &str, filters: &str, expected: &[&str]) {
        let arguments = format!("[{id}]");
        self.say(name, &["CALL", "{}", "wamp.subscription.get_events", &arguments, filters]);
        self.settle();
        let line = self.line.clone();
        let actor = self.actor(name);
        assert!(!actor.inbox.is_empty(), "`{name}` hears nothing: {line}");
        let Incoming::Message(answer) = actor.inbox.remove(0) else { panic!("no message: {line}") };
        assert_eq!(answer[0], json!(50), "`{name}` hears {answer}: {line}");
        let said = |flag: &str| expected.iter().any(|word| word.trim_end_matches(',') == flag);
        let flags = json!({"complete": said("complete"), "is_limit_reached": said("more")});
        let payloads = expected.iter().map(|word| word.trim_end_matches(','));
        let payloads = payloads.filter(|word| word.starts_with('[')).map(|word| self.literal(word));
        let events = answer[3].as_array().expect("a list").iter();
        let found: Vec<_> = events.map(|event| event["args"].clone()).collect();
        assert_eq!(found, payloads.collect::<Vec<_>>(), "`{name}` hears {answer}: {line}");
        assert_eq!(answer[4], flags, "`{name}` hears {answer}: {line}");
    }

    fn hear(&mut self, name: &str, expected: &[&str]) {
        let line = self.line.clone();
        if expected[0] == "CLOSED" {
            return self.hear_close(name, expected.get(1).copied());
        }
        let actor = self.actor(name);
        assert!(!actor.inbox.is_empty(), "`{name}` hears nothing: {line}");
        match (actor.inbox.remove(0), expected[0]) {
            (Incoming::Ping(_), "PING") | (Incoming::Pong(_), "PONG") => {}
            (Incoming::Refused(status), "REFUSED") => {
                let expected: u16 = expected[1].parse().expect("a status");
                assert_eq!(status, expected, "{line}");
            }
            (Incoming::Message(message), _) => {
                assert!(self.matches(&message, expected), "`{name}` hears {message}: {line}");
            }
            (other, _) => panic!("`{name}` hears {other:?}: {line}"),
        }
    }

    fn hear_close(&mut self, name: &str, code: Option<&str>) {
        let line = self.line.clone();
        let actor = self.actor(name);
        let websocket = actor.link.carrier == Carrier::WebSocket;
        let heard = std::mem::take(&mut actor.inbox);
        if let (true, Some(code)) = (websocket, code) {
            let code = code.parse().expect("a close code");
            assert_eq!(heard, [Incoming::Close(code)], "{line}");
        } else {
            assert!(heard.iter().all(|one| matches!(one, Incoming::Close(_))), "{heard:?}: {line}");
        }
        assert!(self.actors[name].link.is_drained(), "part of a frame is left: {line}");
        let (network, pipe) = self.socket(name);
        assert!(network.links.pipes[pipe].ended, "the transport is still open: {line}");
        network.lose(pipe);
    }

    /// Whether the WELCOME of a client that joined announced a feature.
    fn sees(&self, name: &str, role: &str, feature: &str) -> bool {
        let welcome = &self.bindings[&format!("$welcome_{name}")];
        welcome["roles"][role]["features"][feature] == json!(true)
    }

    fn stall(&mut self, name: &str) {
        self.actor(name).reads = false;
        let (network, pipe) = self.socket(name);
        network.links.pipes[pipe].capacity = 0;
    }

    fn unstall(&mut self, name: &str) {
        self.actor(name).reads = true;
        let (network, pipe) = self.socket(name);
        network.links.pipes[pipe].capacity = usize::MAX;
        network.wake(pipe);
    }

    /// Lets everything take effect, then takes what each client has got.
    fn settle(&mut self) {
        self.world.settle();
        for actor in self.actors.values_mut().filter(|actor| actor.reads) {
            let bytes = self.world.network(actor.node).read(actor.pipe, usize::MAX);
            actor.link.feed(&bytes);
            while let Some(incoming) = actor.link.next() {
                if incoming != Incoming::Opened {
                    actor.inbox.push(incoming);
                }
            }
        }
    }

    fn finish(&mut self) {
        for (name, actor) in &self.actors {
            assert_eq!(actor.inbox, [], "`{name}` hears more than is listed: {}", self.line);
        }
        self.world.finish();
    }
}

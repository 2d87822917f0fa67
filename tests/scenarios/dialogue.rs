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
//! ```
//!
//! A client's messages must all be listed, in their order. At the end all clients leave, and the
//! router must be empty.

#[path = "matching.rs"]
mod matching;
#[path = "statements.rs"]
mod statements;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stentor::router::{Busyness, NodeIds, NodeNumber, RealmSettings, RequestIdCheck, Settings};
use stentor::shard::{Admission, Mail, Passage};
use stentor::wamp::{RegistrationId, SubscriptionId, UriRule};

use super::traces::Tracer;
use super::words::{FULLY, PLAINLY, Reload, code, tokens};
use crate::support::{
    Carrier, Incoming, Link, Network, Says, Serializer, bulletin, prove, published_elsewhere, token,
};

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
    let node = realms.iter().all(|realm| realm.histories.is_empty()).then(node);
    let alone = [1, 2, 8].map(|shards| (shards, None, &Mix::ALL[..]));
    let clustered = node.map(|node| (2, Some(node), &[Mix::All][..]));
    for (shards, node, mixes) in alone.into_iter().chain(clustered) {
        settings.node = node;
        settings.claims = node.is_some();
        for mix in mixes.iter().copied() {
            let mut stage = Stage::new(settings.clone(), realms.to_vec(), shards, mix);
            stage.reloads.clone_from(&reloads);
            let context = format!("with {shards} shards, {mix:?}, {node:?}");
            for (number, line) in dialogue.replace("\\\n", "").lines().enumerate() {
                let line = line.trim();
                stage.line = format!("line {}, `{line}`, {context}", number + 1);
                if !line.is_empty() {
                    stage.run(line);
                }
            }
            stage.line = format!("the end, {context}");
            stage.finish();
        }
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
    pipe: usize,
    greeted: bool,
    requests: u64,
    reads: bool,
    inbox: Vec<Incoming>,
}

struct Stage {
    network: Network,
    mix: Mix,
    actors: BTreeMap<String, Actor>,
    bindings: BTreeMap<String, Value>,
    reloads: Vec<(Settings, Vec<RealmSettings>)>,
    tracer: Option<Tracer>,
    /// Where we are, for messages.
    line: String,
}

impl Stage {
    fn new(mut settings: Settings, realms: Vec<RealmSettings>, shards: usize, mix: Mix) -> Self {
        settings.output.deflate_min_bytes = 20;
        let network = Network::new(settings, realms, shards);
        let (actors, bindings) = (BTreeMap::new(), BTreeMap::new());
        let (reloads, tracer) = (Vec::new(), None);
        Self { network, mix, actors, bindings, reloads, tracer, line: String::new() }
    }

    fn run(&mut self, line: &str) {
        let words = tokens(line);
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        match texts.as_slice() {
            ["join", "fully", names @ ..] => names.iter().for_each(|name| self.join(name, FULLY)),
            ["join", names @ ..] => names.iter().for_each(|name| self.join(name, PLAINLY)),
            ["wait", ms] => self.wait(ms.parse().expect("milliseconds")),
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
                let pipe = self.actor(name).pipe;
                self.network.lose(pipe);
            }
            [name, "is", ms, "ms", "behind"] => {
                self.network.check_behind(self.actors[*name].pipe, ms, line);
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
                self.deliver(callee, Mail::RevokeRegistration { callee, registration, reason });
            }
            [name, "loses", id, rest @ ..] => {
                let (subscriber, id, reason) = self.revocation(name, id, rest);
                let subscription = SubscriptionId::new(id).expect("a subscription");
                self.deliver(subscriber, Mail::Revoke { subscriber, subscription, reason });
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

    /// The statements about the router as a whole.
    fn run_router(&mut self, words: &[&str]) {
        match words {
            ["reload", number] => {
                let number: usize = number.parse().expect("a number");
                let (settings, realms) = self.reloads[number - 1].clone();
                self.network.reload(settings, realms);
            }
            ["counted", "client", name, now, opened] => {
                let counts = self.network.router.client_counts();
                let found = counts.iter().find(|(client, ..)| client == name);
                let (_, open, all) = found.expect("a name that is counted");
                assert_eq!([open.to_string(), all.to_string()], [*now, *opened], "{}", self.line);
            }
            ["counted", "group", name, expected @ ..] => {
                let of = [Busyness::Publications, Busyness::Events, Busyness::Calls];
                let found = of.map(|what| {
                    let counts = self.network.router.group_counts(what);
                    counts.iter().find(|(group, _)| group == name).expect("a group").1.to_string()
                });
                assert_eq!(found, expected, "{}", self.line);
            }
            ["shutdown"] => self.network.begin_shutdown(),
            ["drain", ms] => self.network.begin_drain(ms.parse().expect("milliseconds")),
            ["store", "waits"] => self.network.links.store.is_held = true,
            ["store", "saves"] => drop(self.network.serve_store(usize::MAX, true)),
            ["store", "fails"] => drop(self.network.serve_store(usize::MAX, false)),
            ["trace", filter, rest @ ..] => {
                let filter = self.literal(filter);
                self.tracer = Some(Tracer::begin(&mut self.network, &filter, rest));
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
                let (router, passage) = (&self.network.router, Passage::default());
                let (home, mail) = bulletin(router, "realm1", topic, &said, &passage);
                self.network.deliver(usize::from(home.0), mail);
                self.network.settle();
            }
            ["another", "node", "publishes", topic, said] => {
                let said = serde_json::from_str(said).expect("JSON");
                let mail = published_elsewhere(&self.network.router, "realm1", topic, &said);
                for (shard, mail) in mail {
                    self.network.deliver(usize::from(shard.0), mail);
                }
            }
            ["verifier", "waits"] => self.network.links.verifier.is_held = true,
            ["verifier", "judges"] => drop(self.network.serve_verifier(usize::MAX)),
            ["verifier", "judges", "the", "first"] => drop(self.network.serve_verifier(1)),
            ["verifier", "takes", room] => {
                self.network.links.verifier.room = Some(room.parse().expect("a number"));
            }
            ["prove", proof, "by", method, authid, secret, "from", extra] => {
                self.prove(proof, method, [authid, secret], extra);
            }
            ["token", name, "for", ms, claims] => self.issue(name, ms, claims),
            ["the", "endpoint", "says", words @ ..] => {
                self.network.links.verifier.endpoint.says = match words {
                    ["no"] => Says::No,
                    ["nothing"] => Says::Nothing,
                    ["error", uri, text] => Says::Error((*uri).into(), (*text).into()),
                    [answer] => Says::Body(self.literal(answer).to_string()),
                    _ => panic!("no statement: {}", self.line),
                };
            }
            ["the", "endpoint", "was", "asked", realm, authid, details] => {
                let asked = self.network.links.verifier.endpoint.asked.take();
                let asked = asked.unwrap_or_else(|| panic!("nobody was asked: {}", self.line));
                assert_eq!(asked["realm"], self.literal(realm), "{}", self.line);
                assert_eq!(asked["authid"], self.literal(authid), "{}", self.line);
                for (key, value) in self.literal(details).as_object().expect("a dict") {
                    assert_eq!(asked["details"][key], *value, "{key}: {}", self.line);
                }
            }
            ["the", "endpoint", "was", "asked", "about", action, uri, options] => {
                let asked = self.network.links.verifier.endpoint.asked.take();
                let asked = asked.unwrap_or_else(|| panic!("nobody was asked: {}", self.line));
                assert_eq!(asked["action"], json!(action), "{}", self.line);
                assert_eq!(asked["uri"], json!(uri), "{}", self.line);
                assert_eq!(asked["options"], self.literal(options), "{}", self.line);
            }
            [name, "comes", "from", peer] => {
                self.network.peer = Some(peer.parse::<std::net::SocketAddr>().unwrap().into());
                self.actor(name);
            }
            _ => panic!("no statement: {}", self.line),
        }
    }

    fn issue(&mut self, name: &str, ms: &str, claims: &str) {
        let ms: i64 = ms.parse().expect("milliseconds");
        let expires = self.network.wall_clock().unix_ms() + ms;
        let mut claims = self.literal(claims);
        #[expect(clippy::cast_precision_loss, reason = "the present is far from 2^53")]
        let seconds = expires as f64 / 1_000.0;
        claims["exp"] = json!(seconds);
        self.bindings.insert(name.to_owned(), json!(token(&claims)));
    }

    /// A router that runs wakes up when something is due; a leap in time is a stall.
    fn wait(&mut self, ms: u64) {
        for passed in (0..ms).step_by(1_000) {
            self.network.advance((ms - passed).min(1_000));
        }
    }

    fn actor(&mut self, name: &str) -> &mut Actor {
        if !self.actors.contains_key(name) {
            let index = self.actors.len();
            let shard = index % self.network.shard_count();
            let pipe = self.network.connect(shard, Admission::Welcome, usize::MAX);
            let link = self.mix.link(index);
            let actor =
                Actor { link, pipe, greeted: false, requests: 0, reads: true, inbox: Vec::new() };
            self.actors.insert(name.to_owned(), actor);
        }
        self.actors.get_mut(name).expect("the actor exists by now")
    }

    fn greet(&mut self, name: &str) {
        let actor = self.actor(name);
        if !std::mem::replace(&mut actor.greeted, true) {
            let (pipe, bytes) = (actor.pipe, actor.link.greeting());
            self.network.receive(pipe, &bytes);
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
        let pipe = self.actor(name).pipe;
        self.network.receive(pipe, bytes);
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
        let pipe = actor.pipe;
        if let (true, Some(code)) = (websocket, code) {
            let code = code.parse().expect("a close code");
            assert_eq!(heard, [Incoming::Close(code)], "{line}");
        } else {
            assert!(heard.iter().all(|one| matches!(one, Incoming::Close(_))), "{heard:?}: {line}");
        }
        assert!(self.network.links.pipes[pipe].ended, "the transport is still open: {line}");
        assert!(self.actors[name].link.is_drained(), "part of a frame is left: {line}");
        self.network.lose(pipe);
    }

    /// Whether the WELCOME of a client that joined announced a feature.
    fn sees(&self, name: &str, role: &str, feature: &str) -> bool {
        let welcome = &self.bindings[&format!("$welcome_{name}")];
        welcome["roles"][role]["features"][feature] == json!(true)
    }

    fn stall(&mut self, name: &str) {
        let actor = self.actor(name);
        actor.reads = false;
        let pipe = actor.pipe;
        self.network.links.pipes[pipe].capacity = 0;
    }

    fn unstall(&mut self, name: &str) {
        let actor = self.actor(name);
        actor.reads = true;
        let pipe = actor.pipe;
        self.network.links.pipes[pipe].capacity = usize::MAX;
        self.network.wake(pipe);
    }

    /// Lets everything take effect, then takes what each client has got.
    fn settle(&mut self) {
        self.network.settle();
        for actor in self.actors.values_mut().filter(|actor| actor.reads) {
            let bytes = self.network.read(actor.pipe, usize::MAX);
            actor.link.feed(&bytes);
            while let Some(incoming) = actor.link.next() {
                if incoming != Incoming::Opened {
                    actor.inbox.push(incoming);
                }
            }
        }
    }

    fn finish(&mut self) {
        self.network.links.store.is_held = false;
        for (name, actor) in &self.actors {
            assert_eq!(actor.inbox, [], "`{name}` hears more than is listed: {}", self.line);
        }
        for pipe in 0..self.network.links.pipes.len() {
            self.network.lose(pipe);
        }
        self.network.settle();
        self.network.check_empty();
        let clients = self.network.router.client_counts();
        assert!(clients.iter().all(|(_, open, _)| *open == 0), "{clients:?}");
    }
}

//! What well-behaved clients do.

use rand::RngExt;
use serde_json::{Map, Value, json};
use stentor::authorization::Action;
use stentor::router::RequestIdCheck;

use super::client::{Expected, Request, Session, Stage};
use super::crowding::{CROWDED_TOPIC, LONG_TOPIC};
use super::endings::ENVELOPE_BYTES;
use super::meta::meta_pattern;
use super::model::{Pattern, Payload, Policy, Publication, Tag};
use super::plan::{LARGE_BYTES, pick};
use super::world::{REALMS, World};

impl World {
    /// One client says something, if it has something to say.
    pub(crate) fn act(&mut self) {
        let c = self.any_client();
        match self.clients[c].stage {
            Stage::Gone if self.shutting_down => {}
            Stage::Gone if self.rng.random_bool(0.5) => self.clients[c] = self.connect(),
            // HELLO need not wait for the end of the handshake.
            Stage::Greeting if self.rng.random_bool(0.3) => self.hello(c),
            Stage::Open if self.rng.random_bool(self.plan.trouble) => self.misbehave(c),
            Stage::Open => self.hello(c),
            Stage::Joined => self.act_joined(c),
            _ => {}
        }
    }

    fn act_joined(&mut self, c: usize) {
        let choice = self.rng.random_range(0..1_000);
        if self.clients[c].hostile && !matches!(choice, 110..680) {
            return;
        }
        if self.plan.is_crowd && self.clients[c].session.last_request == 0 {
            return self.join_the_crowd(c);
        }
        if self.asks_others_now() {
            return self.ask_router(c);
        }
        match choice {
            // Many first requests are calls, so that late answers to an earlier session find one.
            _ if self.clients[c].session.last_request == 0 && choice % 2 == 0 => self.call(c),
            0..72 => self.subscribe(c),
            72..80 => self.ask_history(c),
            80..90 => self.ask_router(c),
            90..110 => self.unsubscribe(c),
            110..480 => self.publish(c),
            480..680 => self.call(c),
            680..740 => self.register(c),
            740..755 => self.unregister(c),
            755..800 => self.act_on_long_calls(c),
            800..970 => self.answer(c),
            970..979 => self.goodbye(c),
            979..982 => self.abort(c),
            982..988 => self.burst(c),
            988..990 => self.ask_much(c),
            990..992 => self.subscribe_widely(c),
            _ => self.be_odd(c),
        }
    }

    /// Puts a message into the client's outbox.
    pub(crate) fn say(&mut self, c: usize, what: &str, message: &Value) {
        let fragmented = self.rng.random_bool(0.1);
        let client = &mut self.clients[c];
        let bytes = if fragmented {
            client.link.fragments(message, self.rng.random_range(0..30))
        } else {
            client.link.message(message)
        };
        self.push(c, &bytes);
        let hostile = if self.clients[c].hostile { "!" } else { "" };
        self.note(what, format_args!("c{c}{hostile} {}", Short(message)));
    }

    pub(crate) fn push(&mut self, c: usize, bytes: &[u8]) {
        let client = &mut self.clients[c];
        client.outbox.extend_from_slice(bytes);
        client.sent_bytes += bytes.len() as u64;
    }

    pub(crate) fn hello(&mut self, c: usize) {
        self.last_tag += 1;
        let joining = self.number;
        let realm = if self.rng.random_bool(0.85) { REALMS[0] } else { REALMS[1] };
        let client = &mut self.clients[c];
        client.stage = Stage::Hello;
        client.killed = false;
        client.session = Session { tag: self.last_tag, realm, joining, ..Session::default() };
        self.model.census.enter(self.last_tag, realm, client.pipe);
        let roles = self.roles(c);
        self.say(c, "HELLO", &json!([1, realm, { "roles": roles }]));
    }

    pub(crate) fn goodbye(&mut self, c: usize) {
        self.leave(c, Stage::Leaving);
        self.say(c, "GOODBYE", &json!([6, {}, "wamp.close.normal"]));
    }

    pub(crate) fn abort(&mut self, c: usize) {
        self.leave(c, Stage::Quitting);
        self.say(c, "ABORT", &json!([3, {}, "com.client.gives_up"]));
    }

    /// From here on nothing is sure to reach this session.
    fn leave(&mut self, c: usize, stage: Stage) {
        self.session_is_over(c);
        self.clients[c].stage = stage;
        self.clients[c].unjoined_since = self.net.now;
    }

    /// The id of the next request, as the settings demand.
    pub(crate) fn next_request(&mut self, c: usize) -> u64 {
        let session = &mut self.clients[c].session;
        let id = match self.plan.settings.request_ids {
            RequestIdCheck::Strict => session.last_request + 1,
            RequestIdCheck::Monotonic => session.last_request + self.rng.random_range(1..9),
            RequestIdCheck::Off => loop {
                // Also those of calls that are over, while late answers may be under way.
                let id = match session.ended_calls.last() {
                    Some(ended) if self.rng.random_bool(0.3) => *ended,
                    _ => self.rng.random_range(1..=1 << 53),
                };
                let long = &session.long;
                let is_long = long.uploads.contains_key(&id) || long.continued.contains(&id);
                if !session.pending.contains_key(&id) && !is_long {
                    break id;
                }
            },
        };
        session.last_request = id;
        id
    }

    /// What is to be expected of what would succeed if everybody might do it.
    pub(crate) fn permitted(
        &self,
        expected: Expected,
        action: Action,
        uri: &str,
        policy: Policy,
    ) -> Expected {
        let may_succeed = matches!(expected, Expected::Success | Expected::DiscloseMe);
        let is_denied = may_succeed && !self.plan.grants(action, uri, policy);
        if is_denied { Expected::Denied } else { expected }
    }

    pub(crate) fn pattern(&mut self, c: usize) -> (Pattern, Expected) {
        let realm = self.clients[c].session.realm;
        let (uri, policy, expected) = match self.rng.random_range(0..20) {
            0 => (*pick(&mut self.rng, INVALID), Policy::Exact, Expected::InvalidUri),
            1..5 => (*pick(&mut self.rng, PREFIXES), Policy::Prefix, Expected::Success),
            5..9 => (*pick(&mut self.rng, WILDCARDS), Policy::Wildcard, Expected::Success),
            _ => (*pick(&mut self.rng, URIS), Policy::Exact, Expected::Success),
        };
        (Pattern { realm, uri: uri.to_owned(), policy }, expected)
    }

    fn subscribe(&mut self, c: usize) {
        let (mut pattern, mut expected) = self.pattern(c);
        if self.rng.random_bool(0.08) {
            (pattern, expected) = (meta_pattern(pattern.realm), Expected::Success);
        }
        let get_retained = self.rng.random_bool(0.4);
        self.subscribe_to(c, pattern, expected, get_retained);
    }

    pub(crate) fn subscribe_to(
        &mut self,
        c: usize,
        pattern: Pattern,
        expected: Expected,
        get_retained: bool,
    ) {
        let expected = self.permitted(expected, Action::Subscribe, &pattern.uri, pattern.policy);
        let request = self.next_request(c);
        let mut options = json!({});
        if pattern.policy != Policy::Exact || self.rng.random_bool(0.1) {
            options["match"] = json!(pattern.policy.as_str());
        }
        if get_retained {
            options["get_retained"] = json!(true);
            self.get_retained(c, request, &pattern.uri, pattern.policy);
        }
        self.say(c, "SUBSCRIBE", &json!([32, request, options, pattern.uri]));
        self.expect(c, request, Request::Subscribe(pattern, expected));
    }

    fn unsubscribe(&mut self, c: usize) {
        let session = &self.clients[c].session;
        let held = session.subscriptions.iter().filter(|(_, held)| !held.leaving);
        let ids: Vec<u64> = held.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = *pick(&mut self.rng, &ids);
        let request = self.next_request(c);
        let session = &mut self.clients[c].session;
        session.subscriptions.get_mut(&id).expect("it was just listed").leaving = true;
        self.model.forgive_subscription(session.tag, id);
        self.say(c, "UNSUBSCRIBE", &json!([34, request, id]));
        self.expect(c, request, Request::Unsubscribe(id, true));
    }

    pub(crate) fn expect(&mut self, c: usize, request: u64, expected: Request) {
        // Behind a violation nothing is answered.
        if !self.clients[c].hostile {
            self.clients[c].session.pending.insert(request, expected);
        }
    }

    pub(crate) fn publish(&mut self, c: usize) {
        let (topic, mut expected) = match self.rng.random_range(0..20) {
            0 => (*pick(&mut self.rng, INVALID), Expected::InvalidUri),
            1 => ("wamp.session.on_join", Expected::InvalidUri),
            2 => (LONG_TOPIC, Expected::Success),
            3..10 if self.plan.is_crowd => (CROWDED_TOPIC, Expected::Success),
            _ => (*pick(&mut self.rng, URIS), Expected::Success),
        };
        let request = self.next_request(c);
        let session = &mut self.clients[c].session;
        session.publications += 1;
        let (tag, number, realm) = (session.tag, session.publications, session.realm);
        let payload = self.payload(tag, number);
        let mut options = json!({});
        // Where publications are refused, their publishers want to know.
        let acknowledge = self.rng.random_bool(0.4) || self.plan.tight_held;
        if acknowledge {
            options["acknowledge"] = json!(true);
        }
        let exclude_me = self.rng.random_bool(0.7);
        if !exclude_me {
            options["exclude_me"] = json!(false);
        }
        expected = self.permitted(expected, Action::Publish, topic, Policy::Exact);
        let details = self.publish_options(c, topic, &mut options);
        if details.is_none() && expected == Expected::Success {
            expected = Expected::DiscloseMe;
        }
        let details = details.unwrap_or_default();
        let message =
            with_payload(vec![json!(16), json!(request), options.clone(), json!(topic)], &payload);
        self.say(c, "PUBLISH", &message);
        let void = self.clients[c].hostile || expected != Expected::Success;
        let sent_bytes = self.clients[c].sent_bytes;
        let topic = topic.to_owned();
        let publication = Publication {
            realm,
            topic,
            payload,
            exclude_me,
            options,
            details,
            settled: false,
            is_in_memory: true,
            void,
            id: None,
            sent_bytes,
        };
        self.model.publications.insert((tag, number), publication);
        if !void {
            self.owe(c, (tag, number));
        }
        if acknowledge {
            self.expect(c, request, Request::Publish(number, expected));
        }
    }

    /// More than a slow consumer takes.
    fn burst(&mut self, c: usize) {
        let count = self.rng.random_range(5..40);
        self.note("burst", format_args!("c{c}, {count}"));
        let client = &self.clients[c];
        let (tag, before, sent_before) =
            (client.session.tag, client.outbox.len(), client.sent_bytes);
        for _ in 0..count {
            self.publish(c);
        }
        self.join_in_batches(c, before, 250 * count);
        let sent_bytes = self.clients[c].sent_bytes;
        let of_burst = self.model.publications.range_mut((tag, 0)..=(tag, u64::MAX));
        for (_, publication) in of_burst.filter(|(_, of)| of.sent_bytes > sent_before) {
            publication.sent_bytes = sent_bytes;
        }
    }

    /// What lies in a client's outbox behind its first bytes goes in batches, where it may.
    fn join_in_batches(&mut self, c: usize, before: usize, max_bytes: usize) {
        let client = &mut self.clients[c];
        let frames = client.outbox.split_off(before);
        let joined = client.link.joined(&frames, max_bytes);
        client.sent_bytes = client.sent_bytes + joined.len() as u64 - frames.len() as u64;
        client.outbox.extend_from_slice(&joined);
    }

    /// Who must get an event: whoever has seen its SUBSCRIBED and not begun to leave.
    fn owe(&mut self, publisher: usize, (tag, number): (Tag, u64)) {
        let publication = &self.model.publications[&(tag, number)];
        let size = json!(publication.payload.args).to_string().len();
        for (c, client) in self.clients.iter().enumerate() {
            let excluded =
                c == publisher && publication.exclude_me || !publication.admits(&client.session);
            let too_large = size + ENVELOPE_BYTES > client.link.limit_bytes();
            if client.stage != Stage::Joined || client.hostile || excluded || too_large {
                continue;
            }
            for (id, held) in &client.session.subscriptions {
                if !held.leaving && held.pattern.matches(publication.realm, &publication.topic) {
                    self.model.owed.insert((client.session.tag, *id, tag, number));
                }
            }
        }
    }

    /// `[tag, number, anything]`, now and then more than a small peer takes.
    pub(crate) fn payload(&mut self, tag: Tag, number: u64) -> Payload {
        let mut args = vec![json!(tag), json!(number)];
        if self.is_probing() {
            return Payload { args, kwargs: Map::new() };
        }
        if self.plan.is_large && self.rng.random_bool(0.02) {
            self.log.count("large payload");
            args.push(json!("w".repeat(self.rng.random_range(70_000..LARGE_BYTES))));
            return Payload { args, kwargs: Map::new() };
        }
        match self.rng.random_range(0..12) {
            0 => args.push(json!("y".repeat(self.rng.random_range(1_100..3_000)))),
            1 => args.push(json!([null, true, -1, 2.5, 1e300, u64::MAX, i64::MIN])),
            2 => args.push(json!({"käse": [[], {}, ""], "2": {"3": [4]}})),
            3 => args.push(json!("\0EOP/kFMHXFJvX8BtT+N82w==")),
            4..8 => args.push(json!("z".repeat(self.rng.random_range(0..300)))),
            _ => {}
        }
        let mut kwargs = Map::new();
        if self.rng.random_bool(0.3) {
            kwargs.insert("n".to_owned(), json!(self.rng.random_range(0..1_000_000)));
        }
        Payload { args, kwargs }
    }

    pub(crate) fn ping_somewhere(&mut self) {
        let open = |world: &Self, c: usize| {
            let client = &world.clients[c];
            !client.hostile && matches!(client.stage, Stage::Open | Stage::Joined | Stage::Hello)
        };
        let Some(c) = self.any_such(open) else { return };
        let bytes = self.clients[c].link.ping(b"are you there?");
        self.push(c, &bytes);
        self.clients[c].unanswered_pings += 1;
        self.note("ping", format_args!("c{c}"));
    }
}

/// A message with its payload, in the shortest form (BP-TY-07).
pub(crate) fn with_payload(mut message: Vec<Value>, payload: &Payload) -> Value {
    if !payload.args.is_empty() || !payload.kwargs.is_empty() {
        message.push(Value::Array(payload.args.clone()));
    }
    if !payload.kwargs.is_empty() {
        message.push(Value::Object(payload.kwargs.clone()));
    }
    Value::Array(message)
}

/// A message for the trace, without its longest parts.
pub(crate) struct Short<'a>(pub(crate) &'a Value);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        match text.char_indices().nth(160) {
            Some((end, _)) => write!(f, "{}...", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

pub(crate) const URIS: &[&str] = &["com.a", "com.a.b", "com.b", "com.b.c", "org.a.b", "x"];
const PREFIXES: &[&str] = &["", "com", "com.a", "com.a.", "org.a.b"];
const WILDCARDS: &[&str] = &["com..b", "..b", ".a", "com.", "..", "com.a.b"];
pub(crate) const INVALID: &[&str] = &[
    "com..a",
    "com.a b",
    "",
    "com.#",
    "com.a_uri_that_is_longer_than_the_64_bytes_which_this_router_is_told_to_accept",
];

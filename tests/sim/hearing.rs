//! What clients hear, and whether they may: the order of a session's life, events, invocations.

use rand::RngExt;
use serde_json::{Value, json};

use super::actions::Short;
use super::client::{Excuse, Stage};
use super::model::Payload;
use super::plan::pick;
use super::world::World;
use crate::support::Incoming;

impl World {
    pub(crate) fn read_somewhere(&mut self) {
        let readable = |world: &Self, c: usize| {
            let client = &world.clients[c];
            let pipe = &world.net.links.pipes[client.pipe];
            client.stage != Stage::Gone
                && !client.stalled
                && (pipe.ended || !pipe.unread.is_empty())
        };
        let Some(c) = self.any_such(readable) else { return };
        let limit = *pick(&mut self.rng, &[10, 100, usize::MAX, usize::MAX]);
        self.read(c, limit);
    }

    /// A client reads, handles what is whole, and sees the end if it has come.
    pub(crate) fn read(&mut self, c: usize, limit: usize) -> usize {
        let pipe = self.clients[c].pipe;
        let bytes = self.net.read(pipe, limit);
        self.clients[c].link.feed(&bytes);
        let cut = limit < usize::MAX;
        self.note(
            if cut { "read a little" } else { "read" },
            format_args!("c{c}, {} B", bytes.len()),
        );
        while let Some(incoming) = self.clients[c].link.next() {
            self.hear(c, incoming);
        }
        let end = &self.net.links.pipes[pipe];
        if end.ended && end.unread.is_empty() && self.clients[c].stage != Stage::Gone {
            self.hear_end(c);
            return bytes.len() + 1;
        }
        bytes.len()
    }

    fn hear(&mut self, c: usize, incoming: Incoming) {
        assert!(!self.clients[c].closed, "{incoming:?} follows a close frame (RFC 6455, 5.5.1)");
        match incoming {
            Incoming::Opened => {
                if self.clients[c].stage == Stage::Greeting {
                    self.clients[c].stage = Stage::Open;
                }
                self.note("heard the handshake's end", format_args!("c{c}"));
            }
            Incoming::Refused(status) => {
                assert!(self.clients[c].hostile, "c{c} was refused with {status}");
                self.clients[c].stage = Stage::Ending;
                self.note("heard a refusal", format_args!("c{c}, {status}"));
            }
            Incoming::Ping(payload) => {
                self.note("heard PING", format_args!("c{c}"));
                if self.rng.random_bool(0.8) {
                    let bytes = self.clients[c].link.pong(&payload);
                    self.push(c, &bytes);
                }
            }
            Incoming::Pong(payload) => {
                assert_eq!(payload, b"are you there?", "PONG has the payload of PING");
                let pings = &mut self.clients[c].unanswered_pings;
                *pings = pings.checked_sub(1).expect("a PONG for each PING");
                self.note("heard PONG", format_args!("c{c}"));
            }
            Incoming::Close(code) => self.hear_close(c, code),
            Incoming::Message(message) => self.hear_message(c, &message),
        }
    }

    /// Why the router may have ended the connection of a client, or its session, by now.
    pub(crate) fn excuses(&self, c: usize) -> Vec<Excuse> {
        let client = &self.clients[c];
        let ended_as = self.net.links.pipes[client.pipe].ended_as;
        let excuses = [
            (Excuse::Hostile, client.hostile),
            (Excuse::Slow, ended_as.slow),
            (Excuse::Silent, ended_as.silent),
            (Excuse::Late, client.late),
            (Excuse::Killed, client.killed || self.may_be_swept(c)),
            (Excuse::Shutdown, self.shutting_down),
        ];
        excuses.into_iter().filter(|(_, applies)| *applies).map(|(excuse, _)| excuse).collect()
    }

    /// The router may end this connection of its own accord.
    fn assert_excused(&mut self, c: usize, how: &str, reasons: &[Excuse]) {
        let excuses = self.excuses(c);
        let excuse = excuses.iter().find(|excuse| reasons.contains(excuse));
        let stage = self.clients[c].stage;
        let excuse = excuse.unwrap_or_else(|| {
            panic!("c{c} hears {how} in stage {stage:?}, and the reasons are {excuses:?}")
        });
        self.log.count(&format!("ended: {excuse:?}"));
    }

    fn hear_close(&mut self, c: usize, code: u16) {
        self.note(&format!("heard close {code}"), format_args!("c{c}"));
        if self.clients[c].stage != Stage::Ending {
            self.assert_excused(c, &format!("close {code}"), reasons_to_close(code));
            self.be_ended(c);
        }
        self.clients[c].closed = true;
        if !self.clients[c].closing {
            let bytes = self.clients[c].link.close(code);
            self.push(c, &bytes);
        }
    }

    fn hear_end(&mut self, c: usize) {
        self.note("heard the end", format_args!("c{c}"));
        let cut = self.net.links.pipes[self.clients[c].pipe].cut;
        if !matches!(self.clients[c].stage, Stage::Ending | Stage::Quitting) {
            let reasons = if cut { WITHOUT_ROOM } else { WITHOUT_A_WORD };
            self.assert_excused(c, "the end", reasons);
        }
        assert!(cut || self.clients[c].link.is_drained(), "a farewell follows whole frames");
        if self.clients[c].stage != Stage::Ending {
            self.be_ended(c);
        }
        self.net.lose(self.clients[c].pipe);
        self.clients[c].stage = Stage::Gone;
        self.clients[c].outbox.clear();
    }

    /// The router ended the session, nobody knows when.
    fn be_ended(&mut self, c: usize) {
        // What came before a violation was dealt with, if that was what ended the session.
        if self.excuses(c) != [Excuse::Hostile] {
            self.model.forgive_publisher(self.clients[c].session.tag, 0);
        }
        self.session_is_over(c);
        self.clients[c].stage = Stage::Ending;
    }

    fn hear_message(&mut self, c: usize, message: &Value) {
        let elements = message.as_array().expect("a message is a list");
        let code = elements[0].as_u64().expect("a message has a code");
        let name = NAMES.iter().find(|(known, _)| *known == code).expect("a message of a router").1;
        self.note(name, format_args!("c{c} {}", Short(message)));
        let stage = self.clients[c].stage;
        if code != 36 && stage == Stage::Joined {
            self.end_retained(c);
        }
        match (code, stage) {
            (2, Stage::Hello) => self.hear_welcome(c, elements),
            (3, _) => self.hear_abort(c, elements),
            (6, Stage::Leaving | Stage::Quitting | Stage::Joined) => self.hear_goodbye(c, elements),
            (_, Stage::Leaving | Stage::Quitting) => {}
            (35, Stage::Joined) if elements[1] == json!(0) => self.hear_revoked(c, &elements[2]),
            (67, Stage::Joined) if elements[1] == json!(0) => {
                self.hear_registration_revoked(c, &elements[2]);
            }
            (8, Stage::Joined) if elements[1] == json!(68) => self.hear_unreadable(c, elements),
            (36, Stage::Joined) => self.hear_event(c, elements),
            (50, Stage::Joined) if elements[2].get("progress").is_some() => {
                self.hear_partial(c, elements);
            }
            (68, Stage::Joined) if elements.get(4).is_some_and(|args| args[2] == "chunk") => {
                self.hear_chunk(c, elements);
            }
            (69, Stage::Joined) => self.hear_interrupt(c, elements),
            (68, Stage::Joined) => self.hear_invocation(c, elements),
            (_, Stage::Joined) => self.hear_answer(c, code, elements),
            _ => panic!("c{c} hears {} in stage {stage:?}", Short(message)),
        }
    }

    fn hear_welcome(&mut self, c: usize, message: &[Value]) {
        let id = number(&message[1]);
        assert!((1..=1 << 53).contains(&id));
        assert_eq!(message[2]["realm"], json!(self.clients[c].session.realm));
        assert!(
            message[2]["roles"]["broker"].is_object() && message[2]["roles"]["dealer"].is_object()
        );
        let client = &mut self.clients[c];
        client.session.id = id;
        client.session.authid = message[2]["authid"].as_str().expect("an authid").to_owned();
        client.session.authrole = self.plan.anonymous_role().to_owned();
        assert_eq!(message[2]["authrole"], json!(client.session.authrole));
        let has_level = self.plan.has_trustlevels();
        for (role, feature) in
            [("broker", "publication_trustlevels"), ("dealer", "call_trustlevels")]
        {
            // The smallest peers learn of no features.
            if let Some(features) = message[2]["roles"][role].get("features") {
                assert_eq!(features.get(feature), has_level.then_some(&json!(true)), "{feature}");
            }
        }
        client.stage = Stage::Joined;
        client.late = false;
    }

    fn hear_abort(&mut self, c: usize, message: &[Value]) {
        let reason = message[2].as_str().expect("a reason is a string");
        self.log.count(&format!("heard ABORT {reason}"));
        match reason {
            "wamp.close.slow_consumer" => self.assert_excused(c, reason, &[Excuse::Slow]),
            "wamp.close.system_shutdown" => assert!(self.shutting_down),
            _ => assert!(self.clients[c].hostile, "c{c} is aborted: {message:?}"),
        }
        assert_ne!(self.clients[c].stage, Stage::Ending, "nothing follows ABORT");
        if reason == "wamp.close.slow_consumer" {
            self.model.forgive_publisher(self.clients[c].session.tag, 0);
        }
        self.be_ended(c);
    }

    fn hear_goodbye(&mut self, c: usize, message: &[Value]) {
        let stage = self.clients[c].stage;
        if message[2] == json!("wamp.close.goodbye_and_out") {
            assert_eq!(stage, Stage::Leaving, "c{c} did not say GOODBYE");
            self.model.census.note_over(self.clients[c].session.tag, self.number);
            self.clients[c].stage = Stage::Open;
            return;
        }
        if message[2] == json!("com.sim.killed") {
            // What is said to who is about to leave was meant for the session before.
            if stage == Stage::Joined {
                self.assert_excused(c, "that it is killed", &[Excuse::Killed]);
            }
            // What it sent may have come too late.
            self.model.forgive_publisher(self.clients[c].session.tag, 0);
            assert_eq!(message[1], json!({"message": "enough"}), "the killer's last words");
        } else {
            assert_eq!(message[2], json!("wamp.close.system_shutdown"));
            assert!(self.shutting_down);
            self.check_at_rest(c);
        }
        self.be_ended(c);
        if stage == Stage::Joined && self.rng.random_bool(0.8) {
            self.say(c, "GOODBYE back", &json!([6, {}, "wamp.close.goodbye_and_out"]));
        }
    }
}

/// What the router closes a WebSocket for with this code, if it has said nothing else before.
fn reasons_to_close(code: u16) -> &'static [Excuse] {
    match code {
        1_000 | 1_002 | 1_003 | 1_007 | 1_009 => &[Excuse::Hostile],
        1_001 => &[Excuse::Shutdown],
        // An ABORT for which the queue has no room is left out before the close frame.
        1_008 => &[Excuse::Hostile, Excuse::Late, Excuse::Silent, Excuse::Slow],
        _ => &[],
    }
}

/// Why a socket is closed and nothing said: there is nothing to say it in. Who is killed hears
/// GOODBYE.
const WITHOUT_A_WORD: &[Excuse] =
    &[Excuse::Hostile, Excuse::Late, Excuse::Silent, Excuse::Slow, Excuse::Shutdown];

/// Why one is closed that did not take in time what was said.
const WITHOUT_ROOM: &[Excuse] = &[
    Excuse::Hostile,
    Excuse::Late,
    Excuse::Silent,
    Excuse::Slow,
    Excuse::Shutdown,
    Excuse::Killed,
];

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("an id must be an integer, got {value}"))
}

/// The payload of a message: what follows its details.
pub(crate) fn payload(rest: &[Value]) -> Payload {
    assert!(rest.len() <= 2, "at most two elements of payload");
    Payload {
        args: rest.first().map_or_else(Vec::new, |args| args.as_array().expect("a list").clone()),
        kwargs: rest
            .get(1)
            .map_or_else(Default::default, |kwargs| kwargs.as_object().expect("a dict").clone()),
    }
}

/// The session and number that every payload begins with.
pub(crate) fn origin(payload: &Payload) -> (u64, u64) {
    (number(&payload.args[0]), number(&payload.args[1]))
}

const NAMES: &[(u64, &str)] = &[
    (2, "heard WELCOME"),
    (3, "heard ABORT"),
    (6, "heard GOODBYE"),
    (8, "heard ERROR"),
    (17, "heard PUBLISHED"),
    (33, "heard SUBSCRIBED"),
    (35, "heard UNSUBSCRIBED"),
    (36, "heard EVENT"),
    (50, "heard RESULT"),
    (65, "heard REGISTERED"),
    (67, "heard UNREGISTERED"),
    (68, "heard INVOCATION"),
    (69, "heard INTERRUPT"),
];

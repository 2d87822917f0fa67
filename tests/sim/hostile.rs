//! What clients do that is odd but allowed, and what must end their session.

use rand::RngExt;
use serde_json::{Value, json};
use stentor::router::RequestIdCheck;

use super::client::{Request, Stage};
use super::plan::pick;
use super::world::World;
use crate::support::{Carrier, Serializer};

impl World {
    /// Something useless that the router must answer or ignore.
    pub(crate) fn be_odd(&mut self, c: usize) {
        match self.rng.random_range(0..5) {
            0 => self.leave_what_is_not_held(c, 34),
            1 => self.leave_what_is_not_held(c, 66),
            2 => {
                let session = &self.clients[c].session;
                let last = session.last_invocation;
                if last > 0 {
                    let id = self.rng.random_range(1..=last);
                    if !self.clients[c].session.invocations.contains_key(&id) {
                        self.say(c, "odd: YIELD again", &json!([70, id, {}]));
                    }
                }
            }
            3 => self.cancel_late(c),
            _ => {
                let strange = self.clients[c].session.last_request + 1_000_000;
                self.say(c, "odd: CANCEL", &json!([49, strange.min(1 << 53), {}]));
            }
        }
    }

    /// UNSUBSCRIBE or UNREGISTER with an id that this session cannot hold.
    fn leave_what_is_not_held(&mut self, c: usize, code: u64) {
        let id = self.rng.random_range(1..60);
        let session = &self.clients[c].session;
        let might_hold = match code {
            34 => session.subscriptions.contains_key(&id),
            _ => session.registrations.contains_key(&id),
        };
        let joins = |request: &Request| match request {
            Request::Subscribe(..) => code == 34,
            Request::Register(..) => code == 66,
            _ => false,
        };
        if might_hold || session.pending.values().any(joins) {
            return;
        }
        let request = self.next_request(c);
        self.say(c, "odd: leave what is not held", &json!([code, request, id]));
        let refused = match code {
            34 => Request::Unsubscribe(id, false),
            _ => Request::Unregister(id, false),
        };
        self.expect(c, request, refused);
    }

    pub(crate) fn misbehave_somewhere(&mut self) {
        let able = |world: &Self, c: usize| {
            let client = &world.clients[c];
            let stage = matches!(client.stage, Stage::Greeting | Stage::Open | Stage::Joined);
            stage && !client.hostile && !client.half_closed
        };
        if let Some(c) = self.any_such(able) {
            self.misbehave(c);
        }
    }

    pub(crate) fn misbehave(&mut self, c: usize) {
        let (what, bytes) = match self.clients[c].stage {
            Stage::Greeting => self.bad_greeting(c),
            Stage::Open => self.bad_opening(c),
            _ => self.bad_message(c),
        };
        self.clients[c].hostile = true;
        let tag = self.clients[c].session.tag;
        self.model.forgive_subscriber(tag);
        let held: Vec<_> = self.clients[c].session.registrations.values().cloned().collect();
        for held in held {
            self.model.unsettle_calls(&held.pattern);
        }
        self.push(c, &bytes);
        self.note(what, format_args!("c{c}"));
    }

    /// A handshake that cannot succeed, in place of the one that was to be sent.
    fn bad_greeting(&mut self, c: usize) -> (&'static str, Vec<u8>) {
        let client = &mut self.clients[c];
        if client.arrived_bytes > 0 {
            // Too late for that: anything but HELLO behind the handshake.
            return ("hostile: no HELLO", client.link.message(&json!([99])));
        }
        client.sent_bytes -= client.outbox.len() as u64;
        client.outbox.clear();
        match (client.link.carrier, self.rng.random_range(0..3)) {
            (_, 0) => ("hostile: unknown protocol", vec![0, 1, 2, 3]),
            (Carrier::RawSocket { .. }, 1) => {
                ("hostile: unknown serializer", vec![0x7F, 0xFE, 0, 0])
            }
            (Carrier::RawSocket { .. }, _) => ("hostile: reserved octets", vec![0x7F, 0xF1, 0, 7]),
            // What is for others leaves the shard, and nothing of it stays.
            (Carrier::WebSocket, 1) if c.is_multiple_of(2) => {
                ("request for others", b"GET /app HTTP/1.1\r\nHost: x\r\n\r\nGET".to_vec())
            }
            (Carrier::WebSocket, 1) => {
                ("hostile: plain GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec())
            }
            (Carrier::WebSocket, _) => ("hostile: POST", b"POST / HTTP/1.1\r\n\r\n".to_vec()),
        }
    }

    fn bad_opening(&mut self, c: usize) -> (&'static str, Vec<u8>) {
        let roles = json!({"roles": {"caller": {}}});
        let (what, message) = match self.rng.random_range(0..6) {
            0 => ("hostile: GOODBYE before HELLO", json!([6, {}, "wamp.close.normal"])),
            1 => ("hostile: PUBLISH before HELLO", json!([16, 1, {}, "com.a"])),
            2 => ("hostile: unknown realm", json!([1, "realm3", roles])),
            3 => ("hostile: invalid realm", json!([1, "realm..1", roles])),
            4 => ("hostile: no roles", json!([1, "realm1", {}])),
            _ => {
                let details = json!({"roles": {"caller": {}}, "authmethods": ["ticket"]});
                ("hostile: no authmethod", json!([1, "realm1", details]))
            }
        };
        (what, self.clients[c].link.message(&message))
    }

    fn bad_message(&mut self, c: usize) -> (&'static str, Vec<u8>) {
        let choice = self.rng.random_range(0..15);
        let router_only = *pick(&mut self.rng, &[2, 4, 17, 33, 35, 36, 50, 65, 67, 68, 69]);
        let client = &self.clients[c];
        let (link, session) = (&client.link, &client.session);
        let strange = session.last_invocation + 100_000;
        let next = session.last_request + 1;
        let message: (&'static str, Value) = match choice {
            0 => ("hostile: second HELLO", json!([1, "realm1", {"roles": {"caller": {}}}])),
            1 => ("hostile: router-only message", json!([router_only, 1, {}])),
            2 => ("hostile: unknown type", json!([99, 1])),
            3 => ("hostile: wrong shape", json!([32, 1, "com.a"])),
            4 => ("hostile: YIELD never invoked", json!([70, strange, {}])),
            5 => ("hostile: ERROR never invoked", json!([8, 68, strange, {}, "com.error"])),
            6 => ("hostile: ERROR of a wrong type", json!([8, 48, 1, {}, "com.error"])),
            7 => return ("hostile: garbage", link.frame(&garbage(link.serializer))),
            8 => return ("hostile: oversized frame", link.oversized()),
            9 => return ("hostile: broken frame", link.broken_batch(strange as usize)),
            13.. if link.carrier == Carrier::WebSocket => {
                let bytes = link.close(1000);
                self.clients[c].closing = true;
                return ("close frame", bytes);
            }
            10 if !session.announced.calls_in_passthru => {
                ("hostile: unannounced passthru", json!([48, next, {"ppt_scheme": "x"}, "com.a"]))
            }
            11 if !session.announced.advanced && self.plan.settings.strict_roles => {
                ("hostile: unannounced chunk", json!([48, next, {"progress": true}, "com.a"]))
            }
            _ => {
                let id = match self.plan.settings.request_ids {
                    RequestIdCheck::Strict => session.last_request + 2,
                    RequestIdCheck::Monotonic => session.last_request,
                    RequestIdCheck::Off => 0,
                };
                ("hostile: wrong request id", json!([32, id, {}, "com.a"]))
            }
        };
        if choice == 2 && link.carrier == Carrier::WebSocket {
            return ("hostile: wrong message type", link.wrong_type(&message.1));
        }
        (message.0, link.message(&message.1))
    }
}

/// Well-formed text that is no message, or bytes that no serializer makes.
fn garbage(serializer: Serializer) -> Vec<u8> {
    match serializer {
        Serializer::Json => b"{]".to_vec(),
        Serializer::MsgPack => vec![0xC1],
        Serializer::Cbor => vec![0xFF],
    }
}

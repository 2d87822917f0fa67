//! One hostile client: its manner, what it has seen, and how it handles what the router sends.

use crate::engine::link::{Link, Phase};
use crate::wire::Serializer;
use crate::wire::frame::{self, Kind};
use crate::wire::message::{self, Body, Opening};
use crate::wire::reader::{self, printable};

/// How a client behaves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Joins, reads, and answers no invocation.
    Silent,
    /// Joins and reads; every invocation is refused as `wamp.error.unavailable`.
    Unavailable,
    /// Joins and reads; every invocation gets an empty result.
    Obliging,
    /// Opens the transport and sends no HELLO by itself.
    Mute,
    /// Sends the first half of the transport handshake.
    Halfway,
    /// Says nothing by itself, and takes what it reads for answers to HTTP requests.
    Browser,
}

/// What a client has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// SUBSCRIBED, REGISTERED and PUBLISHED; UNSUBSCRIBED and UNREGISTERED.
    pub confirmed: u64,
    pub results: u64,
    pub errors: u64,
    pub events: u64,
    pub invocations: u64,
    pub pongs: u64,
    /// Answers to HTTP requests.
    pub responses: u64,
    /// The second id of the last confirmation: a subscription, registration or publication.
    pub last_id: u64,
    /// What the router last refused, as a person can read it.
    pub last_error: String,
    pub is_open: bool,
    pub is_joined: bool,
    /// The connection has ended, whoever ended it.
    pub is_over: bool,
}

pub(super) struct Member {
    pub(super) link: Link,
    pub(super) manner: Manner,
    pub(super) seen: Seen,
    pub(super) reads: bool,
    /// The part of the handshake that was not sent.
    pub(super) held_back: Vec<u8>,
}

impl Seen {
    /// Answers to SUBSCRIBE, REGISTER, acknowledged PUBLISH and CALL.
    pub const fn answers(&self) -> u64 {
        self.confirmed + self.results + self.errors
    }

    /// How many of `asked` requests are dealt with: answered, or ended with the connection.
    pub const fn settled(&self, asked: u64) -> u64 {
        if self.is_over { asked } else { self.answers() }
    }
}

impl Member {
    /// Whether it has come as far as its manner lets it come by itself.
    pub(super) const fn is_ready(&self) -> bool {
        match self.manner {
            Manner::Mute => self.seen.is_open,
            Manner::Halfway | Manner::Browser => true,
            Manner::Silent | Manner::Unavailable | Manner::Obliging => self.seen.is_joined,
        }
    }

    pub(super) fn end(&mut self) {
        self.seen.is_over = true;
        self.link.close();
    }

    /// Handles the whole frames of `buffer`: where they end, or `None` if they make no sense.
    pub(super) fn walk(&mut self, buffer: &[u8], realm: &str) -> Option<usize> {
        if self.manner == Manner::Browser {
            let answers = buffer.windows(STATUS_LINE.len()).filter(|bytes| *bytes == STATUS_LINE);
            self.seen.responses += answers.count() as u64;
            // The beginning of the next one may not be whole.
            return Some(buffer.len().saturating_sub(STATUS_LINE.len() - 1));
        }
        let mut at = 0;
        if self.link.phase == Phase::Opening {
            match self.link.finish_handshake(buffer).ok()? {
                Some(used) => at = used,
                None => return Some(0),
            }
            self.link.phase = Phase::Joining;
            self.seen.is_open = true;
            if self.manner != Manner::Mute {
                self.link.send_bytes(&hello(self.link.serializer, realm));
            }
        }
        while let Some(frame) = frame::parse(self.link.transport, buffer, at).ok()? {
            let payload = &buffer[frame.start..frame.end];
            match frame.kind {
                Kind::Whole => self.receive(payload),
                Kind::Begin | Kind::Middle => self.link.add_fragment(&frame, buffer, at),
                Kind::Last => {
                    self.link.add_fragment(&frame, buffer, at);
                    let whole = self.link.take_fragments();
                    self.receive(&whole.bytes);
                }
                Kind::Ping => self.link.send_pong(payload),
                Kind::Pong => self.seen.pongs += 1,
                Kind::Close | Kind::Subscribed | Kind::Notice | Kind::Failure => {}
            }
            at = frame.next;
        }
        Some(at)
    }

    fn receive(&mut self, text: &[u8]) {
        let Some(head) = reader::head(self.link.serializer, text) else { return };
        match head.code {
            message::WELCOME => {
                self.seen.is_joined = true;
                self.link.phase = Phase::Joined;
            }
            message::PUBLISHED | message::SUBSCRIBED | message::REGISTERED => {
                self.seen.confirmed += 1;
                self.seen.last_id = head.ids[1];
            }
            message::UNSUBSCRIBED | message::UNREGISTERED => self.seen.confirmed += 1,
            message::RESULT => self.seen.results += 1,
            message::ERROR => {
                self.seen.errors += 1;
                self.seen.last_error = printable(text);
            }
            message::ABORT | message::GOODBYE => self.seen.last_error = printable(text),
            message::EVENT => self.seen.events += 1,
            message::INVOCATION => self.invoked(head.ids[0]),
            _ => {}
        }
    }

    fn invoked(&mut self, invocation: u64) {
        self.seen.invocations += 1;
        let answer = match self.manner {
            Manner::Unavailable => {
                format!(r#"[8,68,{invocation},{{}},"wamp.error.unavailable"]"#)
            }
            Manner::Obliging => format!("[70,{invocation},{{}}]"),
            Manner::Silent | Manner::Mute | Manner::Halfway | Manner::Browser => return,
        };
        self.link.send_bytes(answer.as_bytes());
    }
}

/// How each answer over HTTP begins, and no page that the attacks ask for has it.
const STATUS_LINE: &[u8] = b"HTTP/1.";

/// HELLO; in JSON of a callee that takes calls together with others, and re-routed ones.
fn hello(serializer: Serializer, realm: &str) -> Vec<u8> {
    if serializer == Serializer::Json {
        let features = serde_json::json!({"call_reroute": true, "shared_registration": true});
        let callee = serde_json::json!({ "features": features });
        let roles = serde_json::json!(
            {"publisher": {}, "subscriber": {}, "caller": {}, "callee": callee}
        );
        return serde_json::json!([1, realm, { "roles": roles }]).to_string().into_bytes();
    }
    let mut body = Vec::new();
    Body::new(serializer, &mut body).hello(realm, &Opening::ANONYMOUS, false);
    body
}

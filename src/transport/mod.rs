//! Bytes to messages and back, per connection: negotiation, WebSocket, RawSocket, and the queue of
//! bytes to write.
//!
//! Pure: no socket, clock or thread. Frames are decoded in place in the caller's read buffer, so an
//! idle connection owns no buffer at all. Runs on the shard that owns the connection.

mod arena;
mod backlog;
mod batch;
mod deflate;
mod error;
mod extension;
mod forwarded;
mod framing;
mod headers;
mod http;
mod http_answer;
mod marks;
mod mask;
mod output;
mod proxy;
pub mod rawsocket;
mod rules;
mod target;
mod websocket;

pub use arena::{Arena, Span};
pub use batch::{BatchFault, Batching};
pub use deflate::{Deflater, Inflater, Tally};
pub use error::{HandshakeRefusal, HttpRefusal, TlsFault, TransportError, Violation};
pub use framing::{FrameStart, Framing};
pub use headers::PassedHeaders;
pub use mask::unmask;
pub use output::{Class, Dropped, GatheredBatch, Output};
pub use proxy::{MAX_PROXY_BYTES, Origin, ProxyFault, ProxyHeader, decode_proxy_header};
pub use rules::{Entrance, ForwardedBy, Origins, PathRules, Purpose, Stage, TransportRules, WayIn};
pub use target::{is_below, path_of};
pub use tungstenite::protocol::frame::coding::CloseCode;

use crate::codec::Codec;

use self::websocket::WebSocket;

/// What a peer accepts in one message that sets no limit: more than any frame of an [`Arena`] has.
pub const UNLIMITED_BYTES: usize = u32::MAX as usize;

/// What one step of [`Transport::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// The transport is ready. `max_message_bytes` is what the peer takes in one message:
    /// 2^(9+L) on RawSocket (TR-RS-03), [`UNLIMITED_BYTES`] on WebSocket.
    Opened {
        codec: Codec,
        framing: Framing,
        /// Messages come and go in batches: see [`Transport::batching`].
        is_batched: bool,
        max_message_bytes: usize,
        /// For whom a listed proxy has asked.
        origin: Option<Box<Origin>>,
        /// The headers of its request that the listener passes on.
        headers: Option<Box<PassedHeaders>>,
    },
    /// One whole WAMP message in the input, unmasked in place.
    Message(&'a [u8]),
    /// The same in a text message of a WebSocket, which was checked to be UTF-8.
    Text(&'a str),
    /// One whole WAMP message that came in fragments or compressed, or in a batch that did.
    Assembled(Vec<u8>),
    /// A sign of life that is no message: ping, pong, a fragment, or bytes after the end.
    Control,
    /// A request for what others serve, from its first byte on, and whatever came behind it: all of
    /// the input. Nothing has been answered, and nothing more is decoded;
    /// [`Transport::take_origin`] says for whom a listed proxy asks.
    Http(&'a [u8]),
    /// The peer closed the WebSocket in order. Queue what is still to be said, then what
    /// [`Transport::encode_close`] gives: the echo, if one is owed.
    Closed,
}

/// The state of one connection's transport.
#[derive(Debug)]
pub struct Transport {
    state: State,
    needed: u32,
    way_in: WayIn,
}

#[derive(Debug)]
enum State {
    Negotiating {
        /// So many bytes hold no end of an HTTP head.
        scanned: u32,
        /// The peer is believed about whom it asks for.
        is_proxy: bool,
    },
    WebSocket(WebSocket),
    RawSocket,
    /// The peer broke the rules: it is not heard any more, but may be told why.
    RawSocketBroken,
    /// Refused or closed: whatever still arrives is thrown away, and nothing is sent. A listed
    /// proxy may have said for whom it asked.
    Finished(Option<Box<Origin>>),
}

/// A step's outcome inside this module.
#[derive(Debug)]
enum Step<'a> {
    /// Nothing consumed; the input must be at least this long.
    Need(usize),
    Done(usize, Inbound<'a>),
}

impl Transport {
    pub const fn new() -> Self {
        let state = State::Negotiating { scanned: 0, is_proxy: false };
        Self { state, needed: 1, way_in: WayIn::LISTENER }
    }

    /// Whether the peer is believed about whom it asks for, from now on.
    pub const fn believe(&mut self, believed: bool) {
        if let State::Negotiating { is_proxy, .. } = &mut self.state {
            *is_proxy = believed;
        }
    }

    /// For whom a listed proxy has asked that was refused, or is for others.
    pub fn take_origin(&mut self) -> Option<Box<Origin>> {
        match &mut self.state {
            State::Finished(origin) => origin.take(),
            _ => None,
        }
    }

    /// Takes one step. `input` starts at a frame or handshake boundary, and holds the same bytes
    /// (and more) when it is offered again after `None`.
    ///
    /// `stage` decides how long a message may be ([`TransportRules::limit`]).
    ///
    /// Returns `None` if more bytes are needed, else how many bytes were consumed and what they
    /// were. A batch gives one message a step, of which some consume nothing. What is to be sent
    /// back at once, ahead of what waits, is appended to `reply`.
    ///
    /// # Errors
    /// What the peer did wrong. Send `reply`, say what the session has to say,
    /// [`Self::encode_close`] with the error's [`TransportError::close_code`], and close. After an
    /// error or [`Inbound::Closed`] all input is consumed and ignored.
    pub fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        stage: Stage,
        rules: &TransportRules,
        inflater: &mut Inflater,
        reply: &mut Vec<u8>,
    ) -> Result<Option<(usize, Inbound<'a>)>, TransportError> {
        let offered = input.len();
        if offered == 0 {
            return Ok(None);
        }
        let step = match &mut self.state {
            State::Negotiating { scanned, is_proxy } => {
                let by = if *is_proxy { rules.forwarded } else { ForwardedBy::Off };
                let way_in = &mut self.way_in;
                let mut asker = Asker { by, origin: None, way_in, headers: None };
                match negotiate(input, scanned, &mut asker, rules, reply) {
                    Ok(Negotiated::Need(bytes)) => Ok(Step::Need(bytes)),
                    Ok(Negotiated::Opened(length, inbound, opened)) => {
                        self.state = opened;
                        Ok(Step::Done(length, inbound))
                    }
                    Ok(Negotiated::Http) => {
                        self.state = State::Finished(asker.origin);
                        Ok(Step::Done(offered, Inbound::Http(input)))
                    }
                    Err(error) => {
                        self.state = State::Finished(asker.origin);
                        Err(error)
                    }
                }
            }
            State::WebSocket(websocket) => websocket.decode(input, stage, rules, inflater, reply),
            State::RawSocket => rawsocket::decode(input, stage, rules, reply),
            State::RawSocketBroken | State::Finished(_) => {
                Ok(Step::Done(offered, Inbound::Control))
            }
        };
        match step {
            Ok(Step::Done(consumed, inbound)) => {
                debug_assert!(consumed <= offered);
                self.needed = 1;
                Ok(Some((consumed, inbound)))
            }
            Ok(Step::Need(bytes)) => {
                debug_assert!(bytes > offered);
                self.needed = u32::try_from(bytes).unwrap_or(u32::MAX);
                Ok(None)
            }
            Err(error) => {
                self.fail();
                Err(error)
            }
        }
    }

    /// How many bytes `decode` must be offered before it can succeed, at least. Meaningful after
    /// it returned `None`; no reason to allocate that much before the bytes have come.
    pub const fn needed_bytes(&self) -> usize {
        self.needed as usize
    }

    /// By which part of the listener the peer came in, once the handshake is over.
    pub const fn way_in(&self) -> WayIn {
        self.way_in
    }

    /// Whether the handshake is over and the transport is still whole.
    pub const fn is_open(&self) -> bool {
        match &self.state {
            State::WebSocket(websocket) => websocket.is_open(),
            State::RawSocket => true,
            State::Negotiating { .. } | State::RawSocketBroken | State::Finished(_) => false,
        }
    }

    /// Whether a message may still be queued. Not before the handshake is over, and never after
    /// [`Self::encode_close`]: nothing follows a close frame (RFC 6455, 5.5.1).
    pub const fn may_send(&self) -> bool {
        match &self.state {
            State::WebSocket(websocket) => websocket.may_send(),
            State::RawSocket | State::RawSocketBroken => true,
            State::Negotiating { .. } | State::Finished(_) => false,
        }
    }

    /// How the messages of a batch are told apart, if the peer has asked for batches. Meaningful
    /// once messages may be sent.
    pub const fn batching(&self) -> Option<Batching> {
        match &self.state {
            State::WebSocket(websocket) => websocket.batching(),
            _ => None,
        }
    }

    /// Whether messages may be compressed, in both directions.
    pub const fn is_deflated(&self) -> bool {
        match &self.state {
            State::WebSocket(websocket) => websocket.is_deflated(),
            _ => false,
        }
    }

    /// Bytes of memory that an unfinished message in fragments holds here, room to grow included;
    /// at most what the message may have. The same of a batch in fragments or compressed, until
    /// the last of its messages was taken.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::WebSocket(websocket) => websocket.held_bytes(),
            _ => 0,
        }
    }

    /// Appends a ping; nothing if the transport is not open. `payload` is cut at 125 bytes.
    pub fn encode_ping(&self, payload: &[u8], out: &mut Vec<u8>) {
        let payload = &payload[..payload.len().min(websocket::CONTROL_BYTES)];
        match &self.state {
            State::WebSocket(websocket) => websocket.encode_ping(payload, out),
            State::RawSocket => rawsocket::encode_control(rawsocket::PING, payload, out),
            State::Negotiating { .. } | State::RawSocketBroken | State::Finished(_) => {}
        }
    }

    /// Ends the way out, and appends what says so: a close frame on WebSocket, once; elsewhere
    /// nothing. If the peer closed first, the frame echoes the peer's code instead of saying
    /// `code` and `reason`. `reason` is cut at 123 bytes.
    pub fn encode_close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        match &mut self.state {
            State::WebSocket(websocket) => websocket.encode_close(code, reason, out),
            state => *state = State::Finished(None),
        }
    }

    /// Appends the answer to a peer that came when all connections were taken, or all that its
    /// address may have, or when the router is about to stop: RawSocket error 4 (TR-RS-04) or HTTP
    /// 503, by what it has sent so far; nothing if that tells nothing.
    pub fn refuse_full(
        refusal: HttpRefusal,
        first_bytes: &[u8],
        rules: &TransportRules,
        reply: &mut Vec<u8>,
    ) {
        match first_bytes.first() {
            Some(&rawsocket::MAGIC) if rules.rawsocket => {
                reply.extend_from_slice(&rawsocket::connection_limit_reply());
            }
            Some(byte) if byte.is_ascii_alphabetic() && rules.websocket => {
                let asked = http_answer::Asked::by(first_bytes);
                http_answer::refuse(refusal, "", asked, rules, reply);
            }
            _ => {}
        }
    }

    /// Appends the answer to a peer that speaks plainly where TLS is spoken: HTTP 400, if its first
    /// byte may begin a request.
    pub fn refuse_plain(first: u8, rules: &TransportRules, reply: &mut Vec<u8>) {
        if first.is_ascii_alphabetic() {
            let asked = http_answer::Asked::by(&[first]);
            http_answer::refuse(HttpRefusal::TlsOnly, "", asked, rules, reply);
        }
    }

    fn fail(&mut self) {
        match &mut self.state {
            State::WebSocket(websocket) => websocket.fail(),
            State::RawSocket => self.state = State::RawSocketBroken,
            State::Negotiating { .. } | State::RawSocketBroken | State::Finished(_) => {}
        }
    }
}

impl Default for Transport {
    fn default() -> Self {
        Self::new()
    }
}

/// What a request tells of its sender.
struct Asker<'a> {
    /// The header in which it is believed about whom it asks for.
    by: ForwardedBy,
    /// For whom it asks.
    origin: Option<Box<Origin>>,
    way_in: &'a mut WayIn,
    /// Those of its headers that are passed on.
    headers: Option<Box<PassedHeaders>>,
}

/// How far a handshake has come.
enum Negotiated {
    /// The input must be at least this long.
    Need(usize),
    /// It has succeeded, took so many bytes, and this state follows.
    Opened(usize, Inbound<'static>, State),
    /// It is none: the request is for others.
    Http,
}

/// The first byte decides (TR-RS-02).
fn negotiate(
    input: &[u8],
    scanned: &mut u32,
    asker: &mut Asker<'_>,
    rules: &TransportRules,
    reply: &mut Vec<u8>,
) -> Result<Negotiated, TransportError> {
    match input[0] {
        rawsocket::MAGIC if !rules.rawsocket => Err(TransportError::RawSocketDisabled),
        rawsocket::MAGIC => match rawsocket::handshake(input, rules, reply)? {
            None => Ok(Negotiated::Need(rawsocket::HEADER_BYTES)),
            Some(opened) => {
                Ok(Negotiated::Opened(rawsocket::HEADER_BYTES, opened, State::RawSocket))
            }
        },
        _ if proxy::is_proxy_header(input) => Err(ProxyFault::Unexpected.into()),
        _ if proxy::may_be_signature(input) => Ok(Negotiated::Need(input.len() + 1)),
        TLS_HANDSHAKE => {
            reply.extend_from_slice(&TLS_ALERT);
            Err(TransportError::TlsOnPlainListener)
        }
        byte if byte.is_ascii_alphabetic() && rules.websocket => {
            let Some(head_bytes) = http::find_head(input, scanned, rules, reply)? else {
                return Ok(Negotiated::Need(input.len() + 1));
            };
            let Some(chosen) = http::upgrade(&input[..head_bytes], asker, rules, reply)? else {
                return Ok(Negotiated::Http);
            };
            let websocket = WebSocket::new(chosen);
            let opened = Inbound::Opened {
                codec: chosen.codec,
                framing: websocket.framing(),
                is_batched: chosen.is_batched,
                max_message_bytes: UNLIMITED_BYTES,
                origin: asker.origin.take(),
                headers: asker.headers.take(),
            };
            Ok(Negotiated::Opened(head_bytes, opened, State::WebSocket(websocket)))
        }
        byte => Err(TransportError::UnknownProtocol(byte)),
    }
}

/// The content type of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What a TLS client is told where nobody speaks TLS, since nothing else would be understood: the
/// fatal alert `handshake_failure` in a record of its own (RFC 8446, 6.2).
const TLS_ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 40];

const _: () = assert!(size_of::<Transport>() <= 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn first_step(bytes: &[u8], rules: &TransportRules) -> (Option<TransportError>, Vec<u8>) {
        let mut reply = Vec::new();
        let mut bytes = bytes.to_vec();
        let (stage, inflater) = (Stage::Establishing, &mut Inflater::default());
        let result = Transport::new().decode(&mut bytes, stage, rules, inflater, &mut reply);
        (result.err(), reply)
    }

    #[test]
    fn foreign_protocols_are_named_and_get_an_answer_if_there_is_one() {
        let rules = TransportRules::default();
        let (error, reply) = first_step(&[0x16, 3, 1], &rules);
        assert_eq!((error, reply), (Some(TransportError::TlsOnPlainListener), TLS_ALERT.to_vec()));
        let (error, reply) = first_step(&[0], &rules);
        assert_eq!((error, reply), (Some(TransportError::UnknownProtocol(0)), vec![]));
    }

    #[test]
    fn disabled_transports_get_no_answer() {
        let rules = TransportRules { rawsocket: false, websocket: false, ..Default::default() };
        let (error, reply) = first_step(&[0x7F], &rules);
        assert_eq!((error, reply), (Some(TransportError::RawSocketDisabled), vec![]));
        let (error, reply) = first_step(b"GET", &rules);
        assert_eq!((error, reply), (Some(TransportError::UnknownProtocol(b'G')), vec![]));
    }

    /// TR-RS-04, error 4, and its HTTP equivalent.
    #[test]
    fn a_full_router_answers_in_the_peers_protocol() {
        let rules = TransportRules::default();
        let answer = |first: &[u8]| {
            let mut reply = Vec::new();
            Transport::refuse_full(HttpRefusal::Full, first, &rules, &mut reply);
            reply
        };
        assert_eq!(answer(&[0x7F]), [0x7F, 0x40, 0, 0]);
        assert!(answer(b"GET").starts_with(b"HTTP/1.1 503 "));
        assert!(
            answer(b"GET")
                .ends_with(b"\r\n\r\nAll connections of this router are taken. Try again later.\n")
        );
        for head in ["H", "HEAD", "HEAD /ws"] {
            assert!(answer(head.as_bytes()).ends_with(b"\r\n\r\n"), "no body: {head}");
        }
        assert!(answer(b"").is_empty());
        assert!(answer(&[0x16]).is_empty());
    }

    /// What was checked to be UTF-8 says so by its type, so that nobody checks it again.
    #[test]
    fn text_is_checked_once() {
        let rules = TransportRules::default();
        let decode = |codec, opcode: u8, byte: u8| {
            let mut frame = [0x80 | opcode, 0x81, 1, 0, 0, 0, byte ^ 1];
            let mut websocket =
                WebSocket::new(http::Chosen { codec, is_batched: false, deflate: None });
            let (stage, inflater) = (Stage::Established, &mut Inflater::default());
            let step = websocket.decode(&mut frame, stage, &rules, inflater, &mut Vec::new());
            step.map(|step| format!("{step:?}"))
        };
        assert_eq!(decode(Codec::Json, 1, b'1'), Ok("Done(7, Text(\"1\"))".to_owned()));
        assert_eq!(decode(Codec::Json, 1, 0xff), Err(TransportError::InvalidUtf8));
        assert_eq!(decode(Codec::MsgPack, 2, 0xff), Ok("Done(7, Message([255]))".to_owned()));
    }

    #[test]
    fn plain_http_is_told_that_the_port_speaks_tls() {
        let answer = |first: u8| {
            let mut reply = Vec::new();
            Transport::refuse_plain(first, &TransportRules::default(), &mut reply);
            String::from_utf8(reply).unwrap()
        };
        let get = answer(b'G');
        assert!(get.starts_with("HTTP/1.1 400 "), "{get}");
        let said = "\r\n\r\nThis port speaks TLS. Connect to wss://<this host>/ instead.\n";
        assert!(get.ends_with(said), "{get}");
        assert!(answer(b'H').ends_with("\r\n\r\n"), "it may be HEAD, which gets no body");
        assert_eq!((answer(0x7F), answer(0x80)), (String::new(), String::new()));
    }

    #[test]
    fn nothing_but_silence_after_the_end() {
        let rules = TransportRules::default();
        let mut transport = Transport::new();
        let mut reply = Vec::new();
        let (stage, inflater) = (Stage::Establishing, &mut Inflater::default());
        let tls = &mut [0x16];
        let first = transport.decode(tls, stage, &rules, inflater, &mut reply);
        first.expect_err("TLS is refused");
        reply.clear();
        let mut late = [1, 2, 3];
        let step = transport.decode(&mut late, stage, &rules, inflater, &mut reply);
        assert_eq!(step, Ok(Some((3, Inbound::Control))));
        transport.encode_ping(b"x", &mut reply);
        transport.encode_close(CloseCode::Normal, "", &mut reply);
        assert!(reply.is_empty() && !transport.is_open() && !transport.may_send());
    }
}

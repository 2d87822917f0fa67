//! A client in one thread: it says what it is told to, and waits for what must come.

use std::io::{self, ErrorKind, Read, Write};

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::ListenAddress;

use super::frames::{self, Frame};
use super::{REALM, Stream};

/// The transport and the serializer of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Raw(Codec),
    Ws(Codec),
}

impl Kind {
    pub(crate) const fn codec(self) -> Codec {
        match self {
            Self::Raw(codec) | Self::Ws(codec) => codec,
        }
    }

    /// One message as bytes, without a frame.
    pub(crate) fn encode(self, message: &Value) -> Vec<u8> {
        match self.codec() {
            Codec::Json => serde_json::to_vec(message).unwrap(),
            Codec::MsgPack => rmp_serde::to_vec(message).unwrap(),
            Codec::Cbor => {
                let mut bytes = Vec::new();
                ciborium::into_writer(message, &mut bytes).unwrap();
                bytes
            }
        }
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> Value {
        match self.codec() {
            Codec::Json => serde_json::from_slice(bytes).unwrap(),
            Codec::MsgPack => rmp_serde::from_slice(bytes).unwrap(),
            Codec::Cbor => ciborium::from_reader(bytes).unwrap(),
        }
    }

    /// One message in one frame.
    pub(crate) fn frame(self, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw(_) => frames::raw_frame(0, payload),
            Self::Ws(Codec::Json) => frames::websocket_frame(frames::TEXT, true, payload),
            Self::Ws(_) => frames::websocket_frame(frames::BINARY, true, payload),
        }
    }

    pub(crate) fn message(self, message: &Value) -> Vec<u8> {
        self.frame(&self.encode(message))
    }

    /// What a client sends first.
    pub(crate) fn opening(self) -> Vec<u8> {
        match self {
            Self::Raw(codec) => frames::raw_handshake(codec, 15).to_vec(),
            Self::Ws(codec) => frames::http_upgrade("/ws", &frames::subprotocol(codec)).into(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Stream,
    pub(crate) kind: Kind,
    pub(crate) session: u64,
    /// The id of the last request.
    pub(crate) request: u64,
    /// What came and is not taken yet, from `taken` on.
    input: Vec<u8>,
    taken: usize,
}

impl Client {
    /// Connects and opens the transport, and no session.
    pub(crate) fn open(address: &ListenAddress, kind: Kind) -> Self {
        let stream = Stream::connect(address).unwrap();
        Self::open_on(stream, kind).unwrap()
    }

    /// Opens the transport on a stream.
    pub(crate) fn open_on(mut stream: Stream, kind: Kind) -> io::Result<Self> {
        stream.write_all(&kind.opening())?;
        let mut client = Self::on(stream, kind);
        client.read_opening()?;
        Ok(client)
    }

    /// A client on a stream whose transport somebody else opens.
    pub(crate) fn on(stream: Stream, kind: Kind) -> Self {
        Self { stream, kind, session: 0, request: 0, input: Vec::new(), taken: 0 }
    }

    /// Reads the router's answer to [`Kind::opening`].
    pub(crate) fn read_opening(&mut self) -> io::Result<()> {
        loop {
            let length = match self.kind {
                Kind::Raw(_) => (self.input.len() >= 4).then_some(4),
                Kind::Ws(_) => {
                    self.input.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
                }
            };
            if let Some(length) = length {
                let answer: Vec<u8> = self.input.drain(..length).collect();
                let accepted = match self.kind {
                    Kind::Raw(_) => answer[0] == 0x7F && answer[1] & 0x0F != 0,
                    Kind::Ws(_) => answer.starts_with(b"HTTP/1.1 101 "),
                };
                let text = || String::from_utf8_lossy(&answer).into_owned();
                return if accepted { Ok(()) } else { Err(io::Error::other(text())) };
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Connects and joins `realm1`.
    pub(crate) fn join(address: &ListenAddress, kind: Kind) -> Self {
        let mut client = Self::open(address, kind);
        client.hello(REALM);
        client
    }

    /// Joins a realm on a transport without a session.
    #[track_caller]
    pub(crate) fn hello(&mut self, realm: &str) {
        self.send(&hello(realm));
        self.welcomed();
    }

    #[track_caller]
    pub(crate) fn welcomed(&mut self) {
        let welcome = self.expect(2);
        self.session = welcome[1].as_u64().unwrap();
        self.request = 0;
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.write(&self.kind.message(message)).unwrap();
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn next_request(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    pub(crate) fn subscribe(&mut self, topic: &str) -> u64 {
        let request = self.next_request();
        self.send(&json!([32, request, {}, topic]));
        self.expect(33)[2].as_u64().unwrap()
    }

    pub(crate) fn register(&mut self, procedure: &str) -> u64 {
        let request = self.next_request();
        self.send(&json!([64, request, {}, procedure]));
        self.expect(65)[2].as_u64().unwrap()
    }

    /// Publishes without acknowledgement.
    pub(crate) fn publish(&mut self, topic: &str, argument: &Value) {
        let request = self.next_request();
        self.send(&json!([16, request, {}, topic, [argument]]));
    }

    /// Publishes and waits for PUBLISHED.
    #[track_caller]
    pub(crate) fn publish_acknowledged(&mut self, topic: &str, argument: &Value) {
        let request = self.next_request();
        self.send(&json!([16, request, {"acknowledge": true}, topic, [argument]]));
        self.expect(17);
    }

    pub(crate) fn call(&mut self, procedure: &str, argument: &Value) -> u64 {
        let request = self.next_request();
        self.send(&json!([48, request, {}, procedure, [argument]]));
        request
    }

    /// Takes one invocation and answers it with its arguments.
    #[track_caller]
    pub(crate) fn echo(&mut self) {
        let invocation = self.expect(68);
        let arguments = invocation.get(4).cloned().unwrap_or_else(|| json!([]));
        self.send(&json!([70, invocation[1], {}, arguments]));
    }

    /// Says GOODBYE and waits for the answer.
    #[track_caller]
    pub(crate) fn goodbye(&mut self) {
        self.send(&json!([6, {}, "wamp.close.close_realm"]));
        assert_eq!(self.expect(6)[2], "wamp.close.goodbye_and_out");
    }

    /// The next message; pings on the way are answered.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Value {
        match self.next_answering() {
            Frame::Message(bytes) => self.kind.decode(&bytes),
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// The next message, which must be of this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, code: u64) -> Value {
        let message = self.receive();
        assert_eq!(message[0], code, "{message}");
        message
    }

    /// Reads to the end of the stream: all messages, and the close code if there was one.
    pub(crate) fn drain(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut messages = Vec::new();
        let mut code = None;
        loop {
            match self.next_frame() {
                Frame::Message(bytes) => messages.push(self.kind.decode(&bytes)),
                Frame::Close(with) => code = Some(with),
                Frame::End => return (messages, code),
                Frame::Ping(_) | Frame::Pong(_) => {}
            }
        }
    }

    /// The next frame that is no ping; pings are answered.
    pub(crate) fn next_answering(&mut self) -> Frame {
        loop {
            let payload = match self.next_frame() {
                Frame::Ping(payload) => payload,
                other => return other,
            };
            let pong = match self.kind {
                Kind::Raw(_) => frames::raw_frame(2, &payload),
                Kind::Ws(_) => frames::websocket_frame(frames::PONG, true, &payload),
            };
            self.write(&pong).unwrap();
        }
    }

    /// The next frame of any kind.
    #[track_caller]
    pub(crate) fn next_frame(&mut self) -> Frame {
        loop {
            let rest = &self.input[self.taken..];
            let parsed = match self.kind {
                Kind::Raw(_) => frames::parse_raw(rest),
                Kind::Ws(_) => frames::parse_websocket(rest),
            };
            if let Some((frame, length)) = parsed {
                self.taken += length;
                return frame;
            }
            match self.fill() {
                Ok(0) => return Frame::End,
                Ok(_) => {}
                Err(error) if is_reset(&error) => return Frame::End,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        let mut chunk = [0; 64 * 1024];
        let length = self.stream.read(&mut chunk)?;
        self.input.extend_from_slice(&chunk[..length]);
        Ok(length)
    }
}

/// HELLO with all roles.
pub(crate) fn hello(realm: &str) -> Value {
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    json!([1, realm, {"roles": roles}])
}

/// Whether the peer closed while it had not read everything.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

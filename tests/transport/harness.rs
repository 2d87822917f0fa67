//! A connection as the event loop would drive it, and an in-memory stream for tungstenite.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use stentor::codec::Codec;
use stentor::transport::{
    Framing, Inbound, Inflater, Stage, Transport, TransportError, TransportRules,
};

/// What came out of a connection, with messages as bytes, however they came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Opened(Codec, Framing, usize),
    Message(Vec<u8>),
    Control,
    /// A request for others, with all that came with it.
    Http(Vec<u8>),
    Closed,
}

/// A connection with the bytes that it did not consume yet.
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    pub(crate) stage: Stage,
    pub(crate) rules: TransportRules,
    pub(crate) events: Vec<Event>,
    pub(crate) reply: Vec<u8>,
    pub(crate) error: Option<TransportError>,
    pub(crate) inflater: Inflater,
    pending: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(rules: TransportRules) -> Self {
        let (events, reply, pending) = (Vec::new(), Vec::new(), Vec::new());
        let (transport, stage) = (Transport::new(), Stage::Established);
        let inflater = Inflater::default();
        Self { transport, stage, rules, events, reply, error: None, inflater, pending }
    }

    pub(crate) fn websocket(rules: TransportRules, subprotocol: &str) -> Self {
        let mut connection = Self::new(rules);
        connection.feed(upgrade(&[("Sec-WebSocket-Protocol", subprotocol)]).as_bytes());
        assert!(connection.reply.starts_with(b"HTTP/1.1 101 "));
        connection.forget();
        connection
    }

    /// With permessage-deflate.
    pub(crate) fn deflated(rules: TransportRules, subprotocol: &str) -> Self {
        let mut connection = Self::new(TransportRules { deflate: true, ..rules });
        let headers = [
            ("Sec-WebSocket-Protocol", subprotocol),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ];
        connection.feed(upgrade(&headers).as_bytes());
        assert!(connection.transport.is_deflated());
        connection.forget();
        connection
    }

    pub(crate) fn rawsocket(rules: TransportRules, serializer: u8) -> Self {
        let mut connection = Self::new(rules);
        connection.feed(&[0x7F, 0xF0 | serializer, 0, 0]);
        assert!(connection.transport.is_open());
        connection.forget();
        connection
    }

    pub(crate) fn forget(&mut self) {
        self.events.clear();
        self.reply.clear();
    }

    /// Offers bytes, and checks that `needed_bytes` never lies.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        while self.error.is_none() && !self.pending.is_empty() {
            let before = self.pending.clone();
            let (stage, rules) = (self.stage, &self.rules);
            let (inflater, reply) = (&mut self.inflater, &mut self.reply);
            let step = self.transport.decode(&mut self.pending, stage, rules, inflater, reply);
            match step {
                Ok(None) => {
                    assert_eq!(self.pending, before, "what is not consumed is not touched");
                    assert!(self.transport.needed_bytes() > self.pending.len());
                    return;
                }
                Ok(Some((consumed, inbound))) => {
                    self.events.push(event(inbound));
                    self.pending.drain(..consumed);
                }
                Err(error) => self.error = Some(error),
            }
        }
    }

    /// What the event loop does after an error or at the end of a session.
    pub(crate) fn close_frame(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(code) = self.error.and_then(TransportError::close_code) {
            self.transport.encode_close(code, "because", &mut out);
        }
        out
    }

    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let message = |event: &Event| match event {
            Event::Message(bytes) => Some(bytes.clone()),
            _ => None,
        };
        self.events.iter().filter_map(message).collect()
    }
}

fn event(inbound: Inbound<'_>) -> Event {
    match inbound {
        Inbound::Opened { codec, framing, max_message_bytes, .. } => {
            Event::Opened(codec, framing, max_message_bytes)
        }
        Inbound::Message(bytes) => Event::Message(bytes.to_vec()),
        Inbound::Text(text) => Event::Message(text.as_bytes().to_vec()),
        Inbound::Assembled(bytes) => Event::Message(bytes),
        Inbound::Control => Event::Control,
        Inbound::Http(bytes) => Event::Http(bytes.to_vec()),
        Inbound::Closed => Event::Closed,
    }
}

/// Checks that `bytes` give the same, whole, byte by byte, and in pieces of each given size.
pub(crate) fn check_cuts(rules: &TransportRules, bytes: &[u8], sizes: &[usize]) -> Connection {
    let mut whole = Connection::new(rules.clone());
    whole.feed(bytes);
    for size in sizes {
        let mut cut = Connection::new(rules.clone());
        for piece in bytes.chunks(*size) {
            cut.feed(piece);
        }
        assert_eq!(cut.error, whole.error, "pieces of {size}");
        assert_eq!(cut.events, whole.events, "pieces of {size}");
        assert_eq!(cut.reply, whole.reply, "pieces of {size}");
    }
    whole
}

/// A good request with these headers added.
pub(crate) fn upgrade(headers: &[(&str, &str)]) -> String {
    let mut request = String::from(
        "GET /ws HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request + "\r\n"
}

/// A client's frame with its length in the shortest form.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let key = [0xA1, 0x5C, 0x33, 0xF0];
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Two byte queues that tungstenite takes for a socket; an empty one would block.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    pub(crate) to_client: Rc<RefCell<VecDeque<u8>>>,
    pub(crate) from_client: Rc<RefCell<Vec<u8>>>,
}

impl Wire {
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.from_client.borrow_mut())
    }

    pub(crate) fn give(&self, bytes: &[u8]) {
        self.to_client.borrow_mut().extend(bytes);
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.to_client.borrow_mut().read(into) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            result => result,
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_client.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

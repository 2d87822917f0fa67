//! An echo server made of the router's own transport, and the client that tests it: the peer of
//! the cases in `autobahn`.

use stentor::codec::Codec;
use stentor::transport::{
    CloseCode, Framing, Inbound, Inflater, Stage, Transport, TransportError, TransportRules,
};

use crate::harness::upgrade;

/// What the client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message, with its opcode.
    Message(u8, Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame, with its code; 0: it has none.
    Close(u16),
}

/// The server's end of a connection.
pub(crate) struct Echo {
    transport: Transport,
    rules: TransportRules,
    framing: Framing,
    inflater: Inflater,
    /// What has come and is not dealt with.
    input: Vec<u8>,
    /// What the client has not heard yet.
    output: Vec<u8>,
    is_over: bool,
}

impl Echo {
    /// With a client that speaks text (JSON) or binary (MessagePack).
    pub(crate) fn new(is_text: bool) -> Self {
        let codec = if is_text { Codec::Json } else { Codec::MsgPack };
        let subprotocol = format!("wamp.2.{}", codec.as_str());
        let rules = TransportRules { message_bytes: 16 << 20, ..TransportRules::default() };
        let mut echo = Self {
            transport: Transport::new(),
            rules,
            framing: Framing::RawSocket,
            inflater: Inflater::default(),
            input: Vec::new(),
            output: Vec::new(),
            is_over: false,
        };
        echo.receive(upgrade(&[("Sec-WebSocket-Protocol", &subprotocol)]).as_bytes());
        assert!(echo.output.starts_with(b"HTTP/1.1 101 "));
        echo.output.clear();
        echo
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(consumed) = self.step(&mut input[at..]) {
            at += consumed;
        }
        input.drain(..at);
        self.input = input;
    }

    /// One step, as a shard takes it: what answers of itself goes first.
    fn step(&mut self, input: &mut [u8]) -> Option<usize> {
        if self.is_over {
            return None;
        }
        let (stage, output) = (Stage::Established, &mut self.output);
        match self.transport.decode(input, stage, &self.rules, &mut self.inflater, output) {
            Ok(None) => return None,
            Ok(Some((consumed, inbound))) => {
                match inbound {
                    Inbound::Opened { framing, .. } => self.framing = framing,
                    Inbound::Message(bytes) => say(self.framing, bytes, output),
                    Inbound::Text(text) => say(self.framing, text.as_bytes(), output),
                    Inbound::Assembled(bytes) => say(self.framing, &bytes, output),
                    Inbound::Control | Inbound::Http(_) => {}
                    Inbound::Closed => self.close(CloseCode::Normal),
                }
                return Some(consumed);
            }
            Err(error) => self.fail(error),
        }
        None
    }

    fn fail(&mut self, error: TransportError) {
        self.close(error.close_code().expect("an open WebSocket is closed with a code"));
    }

    fn close(&mut self, code: CloseCode) {
        self.transport.encode_close(code, "", &mut self.output);
        self.is_over = true;
    }

    /// What the client has heard since it last listened: whole, unmasked, plain frames.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        let output = std::mem::take(&mut self.output);
        let (mut rest, mut heard) = (&output[..], Vec::new());
        while let [first, short, more @ ..] = rest {
            assert_eq!(first & 0xF0, 0x80, "a whole frame without extensions");
            let (length, more) = match short {
                126 => (number(&more[..2]), &more[2..]),
                127 => (number(&more[..8]), &more[8..]),
                short => (usize::from(*short), more),
            };
            let (payload, more) = more.split_at(length);
            heard.push(match first & 15 {
                opcode @ (1 | 2) => Heard::Message(opcode, payload.to_vec()),
                10 => Heard::Pong(payload.to_vec()),
                8 => Heard::Close(
                    payload.first_chunk::<2>().map_or(0, |code| u16::from_be_bytes(*code)),
                ),
                other => panic!("an opcode {other}"),
            });
            rest = more;
        }
        assert!(rest.is_empty(), "half a frame");
        heard
    }
}

fn say(framing: Framing, message: &[u8], out: &mut Vec<u8>) {
    let mut frame = Vec::new();
    let start = framing.begin(&mut frame);
    frame.extend_from_slice(message);
    let range = framing.finish(&mut frame, start);
    out.extend_from_slice(&frame[range]);
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

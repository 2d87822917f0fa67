//! tungstenite as the client, and as the judge of arbitrary frames.

use proptest::prelude::*;
use stentor::codec::Codec;
use stentor::transport::{CloseCode, Framing, TransportRules};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::harness::{Connection, Event, Wire, check_cuts, masked, upgrade};

const SUBPROTOCOLS: [(&str, Codec); 3] = [
    ("wamp.2.json", Codec::Json),
    ("wamp.2.msgpack", Codec::MsgPack),
    ("wamp.2.cbor", Codec::Cbor),
];

/// Lets a tungstenite client open a connection to ours.
fn connect(subprotocol: &str) -> (WebSocket<Wire>, Wire, Connection) {
    let mut request = "ws://localhost/ws".into_client_request().expect("a good address");
    let value = subprotocol.parse().expect("a good header value");
    request.headers_mut().insert("Sec-WebSocket-Protocol", value);
    let wire = Wire::default();
    let Err(HandshakeError::Interrupted(waiting)) = tungstenite::client(request, wire.clone())
    else {
        panic!("nobody has answered yet");
    };
    let mut connection = Connection::new(TransportRules::default());
    for byte in wire.take() {
        connection.feed(&[byte]);
    }
    wire.give(&connection.reply);
    let (client, response) = waiting.handshake().expect("our answer is accepted");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], subprotocol);
    connection.reply.clear();
    (client, wire, connection)
}

#[derive(Clone, Debug)]
enum Act {
    /// A message, cut in so many frames.
    Message(String, usize),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let control = proptest::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => (".{0,200}", 1..5usize).prop_map(|(text, frames)| Act::Message(text, frames)),
        1 => (60_000..70_000usize, 1..4usize)
            .prop_map(|(length, frames)| Act::Message("é".repeat(length / 2), frames)),
        2 => control.clone().prop_map(Act::Ping),
        1 => control.prop_map(Act::Pong),
    ]
}

fn send(client: &mut WebSocket<Wire>, act: &Act, binary: bool) {
    let message = match act {
        Act::Ping(payload) => Message::Ping(payload.clone().into()),
        Act::Pong(payload) => Message::Pong(payload.clone().into()),
        Act::Message(text, 1) if binary => Message::Binary(text.clone().into_bytes().into()),
        Act::Message(text, 1) => Message::Text(text.into()),
        Act::Message(text, frames) => {
            let size = text.len() / frames + 1;
            for (number, piece) in text.as_bytes().chunks(size).enumerate() {
                let kind = match (number, binary) {
                    (0, true) => Data::Binary,
                    (0, false) => Data::Text,
                    _ => Data::Continue,
                };
                let last = (number + 1) * size >= text.len();
                let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), last);
                client.send(Message::Frame(frame)).expect("the wire takes everything");
            }
            return;
        }
    };
    client.send(message).expect("the wire takes everything");
}

/// What a tungstenite server makes of the same bytes, up to the first end.
fn judge(bytes: &[u8], limit: usize) -> (Vec<Vec<u8>>, bool) {
    let config = WebSocketConfig::default().max_message_size(Some(limit));
    let wire = Wire::default();
    wire.give(bytes);
    let mut server = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match server.read() {
            Ok(Message::Close(_)) => return (messages, true),
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                messages.push(message.into_data().to_vec());
            }
            Ok(_) => {}
            Err(Error::Io(_)) => return (messages, false),
            Err(_) => return (messages, true),
        }
    }
}

/// A frame that is mostly right.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop_oneof![Just(0x81), Just(0x01), Just(0x00), Just(0x80), Just(0x89), Just(0x8A)],
        1 => any::<u8>().prop_filter("another type is judged elsewhere", |first| first & 15 != 2),
    ];
    let payload = prop_oneof![
        6 => "\\PC{0,60}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => (100..400usize).prop_map(|length| vec![b'x'; length]),
    ];
    (first, payload, 0..20u8).prop_map(|(first, payload, unmask)| {
        let mut frame = masked(first, &payload);
        if unmask == 0 {
            frame[1] &= 0x7F;
        }
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_client_sends_arrives(
        acts in proptest::collection::vec(act(), 0..8),
        which in 0..3usize,
        size in 1..3000usize,
    ) {
        let (subprotocol, codec) = SUBPROTOCOLS[which];
        let (mut client, wire, mut connection) = connect(subprotocol);
        let opened = matches!(connection.events[..], [Event::Opened(found, ..)] if found == codec);
        prop_assert!(opened);
        let (mut messages, mut pings) = (Vec::new(), Vec::new());
        for act in &acts {
            send(&mut client, act, codec != Codec::Json);
            match act {
                Act::Message(text, frames) if !text.is_empty() || *frames == 1 => {
                    messages.push(text.clone().into_bytes());
                }
                Act::Ping(payload) => pings.push(payload.clone()),
                _ => {}
            }
        }
        for piece in wire.take().chunks(size) {
            connection.feed(piece);
        }
        prop_assert_eq!(connection.error, None);
        prop_assert_eq!(connection.messages(), messages);
        wire.give(&connection.reply);
        for ping in pings {
            prop_assert_eq!(client.read().expect("a pong"), Message::Pong(ping.into()));
        }
        client.close(None).expect("the wire takes everything");
        connection.reply.clear();
        connection.feed(&wire.take());
        connection.transport.encode_close(CloseCode::Normal, "", &mut connection.reply);
        wire.give(&connection.reply);
        prop_assert_eq!(connection.events.last(), Some(&Event::Closed));
        prop_assert!(matches!(client.read(), Ok(Message::Close(_))));
    }

    #[test]
    fn what_we_send_arrives(
        messages in proptest::collection::vec("\\PC{0,200}", 0..10),
        large in 125..70_000usize,
    ) {
        let wire = Wire::default();
        let mut client = WebSocket::from_raw_socket(wire.clone(), Role::Client, None);
        for text in messages.into_iter().chain(["x".repeat(large)]) {
            for framing in [Framing::WebSocketText, Framing::WebSocketBinary] {
                let mut out = Vec::new();
                let start = framing.begin(&mut out);
                out.extend_from_slice(text.as_bytes());
                let range = framing.finish(&mut out, start);
                wire.give(&out[range]);
            }
            prop_assert_eq!(client.read().expect("text"), Message::text(text.as_str()));
            prop_assert_eq!(client.read().expect("binary"), Message::binary(text.into_bytes()));
        }
    }

    #[test]
    fn arbitrary_frames_get_the_same_verdict(
        frames in proptest::collection::vec(frame(), 0..12),
    ) {
        let rules = TransportRules { message_bytes: 300, ..Default::default() };
        let mut connection = Connection::websocket(rules, "wamp.2.json");
        let bytes = frames.concat();
        connection.feed(&bytes);
        let (messages, ended) = judge(&bytes, 300);
        prop_assert_eq!(connection.messages(), messages, "{:?}", connection.error);
        let closed = connection.events.contains(&Event::Closed);
        prop_assert_eq!(ended, closed || connection.error.is_some());
    }

    #[test]
    fn cuts_change_nothing(
        frames in proptest::collection::vec(frame(), 0..8),
        size in 1..100usize,
    ) {
        let mut bytes = upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json")]).into_bytes();
        bytes.extend(frames.concat());
        let end = bytes.len();
        check_cuts_until_the_end(&bytes[..end], size)?;
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (subprotocol, _) in SUBPROTOCOLS {
            let mut connection = Connection::websocket(TransportRules::default(), subprotocol);
            connection.feed(&bytes);
            connection.close_frame();
        }
        let mut text = b"GET ".to_vec();
        text.extend(&bytes);
        text.extend(b"\r\n\r\n");
        Connection::new(TransportRules::default()).feed(&text);
    }
}

/// After a close the number of `Control` events depends on the pieces, so only the rest counts.
fn check_cuts_until_the_end(bytes: &[u8], size: usize) -> Result<(), TestCaseError> {
    let outcome = |size: usize| {
        let mut connection = Connection::new(TransportRules::default());
        for piece in bytes.chunks(size) {
            connection.feed(piece);
        }
        let end = connection.events.iter().position(|event| *event == Event::Closed);
        connection.events.truncate(end.map_or(usize::MAX, |end| end + 1));
        (connection.events, connection.reply, connection.error)
    };
    let whole = outcome(bytes.len());
    prop_assert_eq!(&outcome(1), &whole);
    prop_assert_eq!(&outcome(size), &whole);
    Ok(())
}

/// Each handshake of the client above, cut at every place.
#[test]
fn a_real_clients_request_in_any_pieces() {
    let request = upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json, wamp.2.cbor")]);
    let sizes: Vec<usize> = (1..request.len()).collect();
    assert_eq!(check_cuts(&TransportRules::default(), request.as_bytes(), &sizes).error, None);
}

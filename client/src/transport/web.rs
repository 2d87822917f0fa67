//! WebSocket, by tungstenite: one message of WAMP is one message there.

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::VecDeque;
use std::future::poll_fn;
use stentor_protocol::wamp::Codec;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WebError};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{Connection, Incoming, READ_BYTES, Reader, Stream, Terms, WireError, Writer};
use crate::error::ConnectError;
use crate::url::Target;

pub(super) async fn handshake(
    target: &Target,
    stream: Stream,
    terms: Terms,
) -> Result<Connection, ConnectError> {
    let fail = |why: String| ConnectError::Handshake { target: target.text.clone(), why };
    let protocol = match terms.codec {
        Codec::Json => "wamp.2.json",
        Codec::MsgPack => "wamp.2.msgpack",
        Codec::Cbor => "wamp.2.cbor",
    };
    let request = Request::builder()
        .uri(format!("ws://{}{}", target.authority(), target.path))
        .header("Host", target.authority())
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .header("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol))
        .body(())
        .map_err(|error| fail(error.to_string()))?;
    let request = request.into_client_request().map_err(|error| fail(error.to_string()))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(terms.receives_bytes))
        .max_frame_size(Some(terms.receives_bytes));
    let (socket, response) = client_async_with_config(request, stream, Some(config))
        .await
        .map_err(|error| refused(target, error))?;
    let chosen = response.headers().get("Sec-WebSocket-Protocol");
    if chosen.is_none_or(|chosen| chosen.as_bytes() != protocol.as_bytes()) {
        return Err(fail(format!("it does not speak {protocol}")));
    }
    let (sink, stream) = socket.split();
    let is_text = terms.codec == Codec::Json;
    let (waiting, limit) = (VecDeque::new(), terms.receives_bytes);
    Ok(Connection {
        reader: Reader::Web(WebReader { stream, limit }),
        writer: Writer::Web(WebWriter { sink, is_text, waiting, waiting_bytes: 0 }),
        sends_bytes: usize::MAX,
        channel: None,
    })
}

/// Why a handshake has failed, with what the router says of it.
fn refused(target: &Target, error: WebError) -> ConnectError {
    let target = target.text.clone();
    match error {
        WebError::Io(error) => ConnectError::Io { target, error },
        WebError::Http(response) => {
            let status = response.status();
            let said = response.body().as_deref().unwrap_or_default();
            let said = String::from_utf8_lossy(&said[..said.len().min(SAID_BYTES)]);
            let said = said.trim().escape_debug();
            let why = if said.clone().next().is_some() {
                format!("it answers {status}: {said}")
            } else {
                format!("it answers {status}")
            };
            ConnectError::Handshake { target, why }
        }
        error => ConnectError::Handshake { target, why: error.to_string() },
    }
}

pub(crate) struct WebReader {
    stream: SplitStream<WebSocketStream<Stream>>,
    limit: usize,
}

impl WebReader {
    pub(super) async fn next(&mut self) -> Result<Incoming, WireError> {
        match self.stream.next().await {
            None => Err(WireError::Closed),
            Some(Ok(Message::Text(text))) => Ok(Incoming::Message(text.into())),
            Some(Ok(Message::Binary(bytes))) => Ok(Incoming::Message(bytes)),
            Some(Ok(Message::Close(_))) => Err(WireError::Closed),
            Some(Ok(_)) => Ok(Incoming::Sign),
            Some(Err(error)) => Err(broken(error, self.limit)),
        }
    }
}

pub(crate) struct WebWriter {
    sink: SplitSink<WebSocketStream<Stream>, Message>,
    is_text: bool,
    waiting: VecDeque<Message>,
    /// Of those that wait, and of those that were taken and are not flushed yet.
    waiting_bytes: usize,
}

impl WebWriter {
    pub(super) fn push(&mut self, message: Vec<u8>) {
        self.waiting_bytes += message.len();
        let message = if self.is_text {
            let text = Utf8Bytes::try_from(Bytes::from(message));
            Message::Text(text.expect("the codec writes JSON as UTF-8"))
        } else {
            Message::Binary(message.into())
        };
        self.waiting.push_back(message);
    }

    pub(super) fn ping(&mut self) {
        self.waiting.push_back(Message::Ping(Bytes::new()));
    }

    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        while !self.waiting.is_empty() {
            let ready = poll_fn(|cx| self.sink.poll_ready_unpin(cx)).await;
            ready.map_err(|error| broken(error, usize::MAX))?;
            // Nothing waits from here on, so the message cannot be lost between both.
            if let Some(message) = self.waiting.pop_front() {
                let sent = self.sink.start_send_unpin(message);
                sent.map_err(|error| broken(error, usize::MAX))?;
            }
        }
        self.sink.flush().await.map_err(|error| broken(error, usize::MAX))?;
        self.waiting_bytes = 0;
        Ok(())
    }

    pub(super) async fn close(&mut self) -> Result<(), WireError> {
        self.flush().await?;
        self.sink.close().await.map_err(|error| broken(error, usize::MAX))
    }
}

fn broken(error: WebError, limit: usize) -> WireError {
    match error {
        WebError::ConnectionClosed | WebError::AlreadyClosed => WireError::Closed,
        WebError::Io(error) => WireError::Io(error),
        WebError::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            WireError::TooLong { bytes: size, limit }
        }
        error => WireError::Broken(error.to_string()),
    }
}

/// What is quoted of the body of a refusal.
const SAID_BYTES: usize = 300;

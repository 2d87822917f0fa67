//! Connections: from a URL to two halves that read and write whole messages.
//!
//! Owns sockets, TLS, and the handshakes and frames of WebSocket and RawSocket. Both halves may be
//! dropped in the middle of a wait and asked again: nothing is lost.

mod raw;
mod tls;
mod web;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use stentor_protocol::wamp::Codec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::error::ConnectError;
use crate::url::{Address, Target, Transport};

pub(crate) use tls::TlsSettings;

/// What two endpoints of a transport agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) codec: Codec,
    /// The longest message that is taken, in bytes.
    pub(crate) receives_bytes: usize,
}

/// A connection whose handshakes are over.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// The longest message that the router takes, as far as it says.
    pub(crate) sends_bytes: usize,
    /// `tls-exporter` (RFC 9266), of TLS 1.3.
    pub(crate) channel: Option<[u8; 32]>,
}

/// What comes in.
pub(crate) enum Incoming {
    Message(Bytes),
    /// A PING of RawSocket, to be answered; WebSocket answers its own.
    Ping(Bytes),
    /// Something that only shows that the router lives.
    Sign,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the router has closed the connection")]
    Closed,
    #[error("the connection has failed: {0}")]
    Io(#[from] io::Error),
    #[error("the router breaks the rules of the transport: {0}")]
    Broken(String),
    #[error("the router has sent a message of {bytes} bytes, and {limit} are the most")]
    TooLong { bytes: usize, limit: usize },
}

pub(crate) enum Reader {
    Web(web::WebReader),
    Raw(raw::RawReader),
}

impl Reader {
    /// The next message. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Result<Incoming, WireError> {
        match self {
            Self::Web(reader) => reader.next().await,
            Self::Raw(reader) => reader.next().await,
        }
    }
}

pub(crate) enum Writer {
    Web(web::WebWriter),
    Raw(raw::RawWriter),
}

impl Writer {
    /// Takes a message, to be written by [`Self::flush`].
    pub(crate) fn push(&mut self, message: Vec<u8>) {
        match self {
            Self::Web(writer) => writer.push(message),
            Self::Raw(writer) => writer.push(message),
        }
    }

    /// Answers a PING.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        if let Self::Raw(writer) = self {
            writer.pong(payload);
        }
    }

    pub(crate) fn ping(&mut self) {
        match self {
            Self::Web(writer) => writer.ping(),
            Self::Raw(writer) => writer.ping(),
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting_bytes(&self) -> usize {
        match self {
            Self::Web(writer) => writer.waiting_bytes(),
            Self::Raw(writer) => writer.waiting_bytes(),
        }
    }

    /// Writes what waits. May be dropped at any time, and asked again.
    pub(crate) async fn flush(&mut self) -> Result<(), WireError> {
        match self {
            Self::Web(writer) => writer.flush().await,
            Self::Raw(writer) => writer.flush().await,
        }
    }

    /// Writes what waits and says that nothing follows.
    pub(crate) async fn close(&mut self) -> Result<(), WireError> {
        match self {
            Self::Web(writer) => writer.close().await,
            Self::Raw(writer) => writer.close().await,
        }
    }
}

/// Connects, and agrees on a serializer. Has no deadline of its own.
pub(crate) async fn connect(
    target: &Target,
    terms: Terms,
    tls: &TlsSettings,
) -> Result<Connection, ConnectError> {
    let (stream, channel) = open(target, tls).await?;
    let connection = match target.transport {
        Transport::RawSocket => raw::handshake(target, stream, terms).await?,
        Transport::WebSocket => web::handshake(target, stream, terms).await?,
    };
    Ok(Connection { channel, ..connection })
}

async fn open(
    target: &Target,
    tls: &TlsSettings,
) -> Result<(Stream, Option<[u8; 32]>), ConnectError> {
    let unreachable = |error| ConnectError::Io { target: target.text.clone(), error };
    match &target.address {
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(unreachable)?;
            Ok((Stream::new(stream), None))
        }
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((&**host, *port)).await.map_err(unreachable)?;
            // Messages are batched here; the kernel must not wait for more of them.
            stream.set_nodelay(true).map_err(unreachable)?;
            if !target.tls {
                return Ok((Stream::new(stream), None));
            }
            let stream = tls.connect(target, stream).await?;
            let (_, session) = stream.get_ref();
            let channel = tls::channel(session);
            Ok((Stream::new(stream), channel))
        }
    }
}

/// A stream of bytes of whatever kind.
pub(crate) struct Stream(Pin<Box<dyn Bytestream>>);

trait Bytestream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Bytestream for T {}

impl Stream {
    fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

/// Room for what a read brings. Tungstenite clears it before each, so more of it costs time.
const READ_BYTES: usize = 16 * 1024;

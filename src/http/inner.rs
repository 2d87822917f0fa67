//! Connections of the thread `http` into the router, by RawSocket: so a client that speaks HTTP has
//! a session like everybody else.
//!
//! Owns the frames of the client's side. What is said in them is for those who open a connection.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::yield_now;

use crate::address::Address;
use crate::authentication::Judgement;
use crate::codec::Codec;
use crate::transport::TransportRules;
use crate::transport::rawsocket::{self, FrameKind, HEADER_BYTES};
use crate::wamp::Timestamp;

/// The way into the router.
pub(crate) trait Inside: fmt::Debug + Send + Sync {
    /// Opens a connection with these rules ([`TransportRules::inner`]) for a client that comes from
    /// `peer`; `is_counted`: it is one of those of its address. A shard knows it from its next turn
    /// on, and waits for [`Inner::shake_hands`] as for that of any client. To be called on the
    /// thread `http`.
    ///
    /// # Errors
    /// [`NotOpened`].
    fn open(
        &self,
        rules: &Arc<TransportRules>,
        peer: Address,
        is_counted: bool,
    ) -> Result<Inner, NotOpened>;

    /// Whom a token makes of its bearer who comes into a realm by an entrance of this name, and
    /// until when.
    fn judge_token(
        &self,
        realm: &str,
        entrance: Option<&str>,
        is_confidential: bool,
        token: &str,
    ) -> Judgement;

    /// How long it is until that time, as far as the calendar is known.
    fn left_until(&self, time: Timestamp) -> Duration;
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error("all connections of the router are taken")]
    Full,
    #[error("this address has too many connections (`{0}`)")]
    Crowded(&'static str),
    #[error("too many connections are opened per second (`limits.accepts_per_second`)")]
    Fast,
    #[error("cannot open a connection inside of the router: {0}")]
    Failed(#[from] io::Error),
}

/// A connection into the router. To drop it ends its session as a lost socket does.
#[derive(Debug)]
pub(crate) struct Inner {
    stream: UnixStream,
    place: InnerPlace,
}

/// Gives the place of a connection back when it is dropped.
pub(crate) struct InnerPlace(Option<Box<dyn FnOnce() + Send + Sync>>);

impl InnerPlace {
    pub(crate) fn new(give_back: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(give_back)))
    }
}

impl fmt::Debug for InnerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InnerPlace")
    }
}

impl Drop for InnerPlace {
    fn drop(&mut self) {
        if let Some(give_back) = self.0.take() {
            give_back();
        }
    }
}

impl Inner {
    /// The other end of `stream` is a shard's.
    ///
    /// # Errors
    /// If there is no runtime to wait for it.
    pub(crate) fn new(
        stream: std::os::unix::net::UnixStream,
        place: InnerPlace,
    ) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::from_std(stream)?, place })
    }

    /// Agrees with the router on how messages are written, and that it sends none that is longer
    /// than so many bytes: a power of two, 512 to 16 MiB.
    ///
    /// # Errors
    /// Those of the connection; `ConnectionRefused` if the router does not take it, since it is
    /// full, stops, or does not have the serializer here.
    pub(crate) async fn shake_hands(
        mut self,
        codec: Codec,
        receives_bytes: usize,
    ) -> io::Result<(InnerReader, InnerWriter)> {
        self.stream.write_all(&rawsocket::client_handshake(codec, receives_bytes)).await?;
        let mut reply = [0; 4];
        self.stream.read_exact(&mut reply).await?;
        let most_bytes = rawsocket::limit_in_reply(reply).ok_or(ErrorKind::ConnectionRefused)?;
        let place = Arc::new(self.place);
        let (reading, writing) = self.stream.into_split();
        let held = BytesMut::new();
        let reader = InnerReader { half: reading, run: 0, held, _place: Arc::clone(&place) };
        Ok((reader, InnerWriter { half: writing, most_bytes, _place: place }))
    }
}

/// The way out of the router.
#[derive(Debug)]
pub(crate) struct InnerReader {
    half: OwnedReadHalf,
    /// Messages since others of the thread had their turn.
    run: u8,
    /// What has come and was not taken; without memory if there is nothing.
    held: BytesMut,
    _place: Arc<InnerPlace>,
}

impl InnerReader {
    /// The next WAMP message; `None` if the router has closed the connection. What is not taken
    /// stays where it is, and the router treats this client as a slow one. Nothing is lost if the
    /// future is dropped.
    ///
    /// # Errors
    /// Those of the connection, and `InvalidData` if the router does not speak RawSocket.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.run += 1;
        if self.run > LONGEST_RUN {
            self.run = 0;
            yield_now().await;
        }
        loop {
            match self.take()? {
                Taken::Frame(FrameKind::Message, message) => return Ok(Some(message)),
                // Nobody pings here.
                Taken::Frame(FrameKind::Ping | FrameKind::Pong, _) => {}
                Taken::Needs(bytes) => {
                    if !self.read_more(bytes).await? {
                        let is_whole = self.held.is_empty();
                        return if is_whole {
                            Ok(None)
                        } else {
                            Err(ErrorKind::UnexpectedEof.into())
                        };
                    }
                }
            }
        }
    }

    fn take(&mut self) -> io::Result<Taken> {
        let Some(&header) = self.held.first_chunk() else { return Ok(Taken::Needs(HEADER_BYTES)) };
        let header = rawsocket::parse_header(header);
        let (kind, length) =
            header.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let end = HEADER_BYTES + length;
        if self.held.len() < end {
            return Ok(Taken::Needs(end));
        }
        let mut frame = self.held.split_to(end);
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        frame.advance(HEADER_BYTES);
        Ok(Taken::Frame(kind, frame.freeze()))
    }

    /// Reads something, once there is something; `false` at the end. The whole frame has `bytes`.
    async fn read_more(&mut self, bytes: usize) -> io::Result<bool> {
        loop {
            self.half.readable().await?;
            self.held.reserve(bytes.saturating_sub(self.held.len()).max(READ_BYTES));
            match self.half.try_read_buf(&mut self.held) {
                Ok(read) => return Ok(read > 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

enum Taken {
    Frame(FrameKind, Bytes),
    /// So many bytes must be there.
    Needs(usize),
}

/// The way into the router. Whoever writes waits while the router does not read.
#[derive(Debug)]
pub(crate) struct InnerWriter {
    half: OwnedWriteHalf,
    most_bytes: usize,
    _place: Arc<InnerPlace>,
}

impl InnerWriter {
    /// The longest message that the router takes once the session is established, in bytes. It is
    /// not below `limits.message_bytes`, and may be above: whoever writes keeps that limit.
    pub(crate) const fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// Writes a WAMP message. A future that is dropped before its end leaves half of a frame: the
    /// connection is good for nothing then.
    ///
    /// # Errors
    /// Those of the connection; `InvalidInput` for more than [`Self::most_bytes`].
    pub(crate) async fn send(&mut self, message: impl Buf) -> io::Result<()> {
        if message.remaining() > self.most_bytes {
            return Err(ErrorKind::InvalidInput.into());
        }
        let header = rawsocket::header(FrameKind::Message, message.remaining());
        let mut parts = Buf::chain(&header[..], message);
        self.half.write_all_buf(&mut parts).await
    }
}

/// The least room that is made for a read.
const READ_BYTES: usize = 4 * 1024;

/// Messages that come without a wait before others of the thread have their turn.
const LONGEST_RUN: u8 = 64;

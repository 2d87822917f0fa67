//! TLS of a connection that a shard has handed over: its [`Channel`] goes on below tokio.
//!
//! The handshake is over. Bytes of records that are not whole, and ciphertext that the socket has
//! refused, come with it.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::tls::OpenTls;

/// A stream with TLS over another one.
#[derive(Debug)]
pub(super) struct TlsIo<S> {
    inner: S,
    tls: OpenTls,
    /// So much of `tls.unsent` was taken by the socket.
    sent: usize,
    /// What the peer did wrong was told to it, and nothing more is understood.
    has_failed: bool,
    has_said_end: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsIo<S> {
    pub(super) const fn new(inner: S, tls: OpenTls) -> Self {
        Self { inner, tls, sent: 0, has_failed: false, has_said_end: false }
    }

    /// Offers the socket all that it has not taken.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.tls.unsent.len() {
            let rest = &self.tls.unsent[self.sent..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        (self.tls.unsent, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Reads more of the socket behind what is there: so many bytes.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let start = self.tls.inbox.len();
        self.tls.inbox.resize(start + READ_BYTES, 0);
        let mut room = ReadBuf::new(&mut self.tls.inbox[start..]);
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut room);
        let read = room.filled().len();
        self.tls.inbox.truncate(start + read);
        if self.tls.inbox.is_empty() {
            self.tls.inbox = Vec::new();
        }
        polled.map_ok(|()| read)
    }

    /// Until there is plaintext, or the end.
    fn poll_plaintext(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..RECORDS_PER_POLL {
            if !self.tls.left.is_empty() || self.tls.has_peer_closed {
                return Poll::Ready(Ok(()));
            }
            // Answers to records wait for nobody, but who takes none of them is not read.
            let pushed = self.poll_push(cx)?;
            if pushed.is_pending() && self.tls.unsent.len() - self.sent > MOST_ANSWER_BYTES {
                return Poll::Pending;
            }
            match self.tls.take_record() {
                Ok(true) => {}
                Ok(false) if ready!(self.poll_more(cx))? == 0 => {
                    return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
                }
                Ok(false) => {}
                Err(reason) => {
                    self.has_failed = true;
                    let _ = self.poll_push(cx)?;
                    return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, reason)));
                }
            }
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_failed {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        ready!(self.poll_plaintext(cx))?;
        let left = &mut self.tls.left;
        let length = left.len().min(out.remaining());
        out.put_slice(&left[..length]);
        if length == left.len() {
            *left = Vec::new();
        } else {
            left.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Ciphertext cannot be taken back, so there is never more of it than one piece.
        ready!(self.poll_push(cx))?;
        let piece = &bytes[..bytes.len().min(WRITE_BYTES)];
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.tls.seal(piece).map_err(io::Error::other)?;
        if let Poll::Ready(Err(error)) = self.poll_push(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_said_end, true) && !self.has_failed {
            // Keys that have served for as much as they may say nothing more.
            let _ = self.tls.seal_close_notify();
        }
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Bytes of one read: a record and a little.
const READ_BYTES: usize = 17 * 1024;

/// Plaintext of one write: what a record holds.
const WRITE_BYTES: usize = 16 * 1024;

/// Records that are dealt with before others have their turn: an empty one brings nothing.
const RECORDS_PER_POLL: usize = 64;

/// Bytes of answers to records, as key updates are, of which a peer has taken none.
const MOST_ANSWER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;

//! The streams of connections that shards have handed over: what was read of them comes first, and
//! whoever does not take what is written to it is given up.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A stream of which some bytes were read already.
#[derive(Debug)]
pub(super) struct Begun<S> {
    read: Vec<u8>,
    inner: S,
}

impl<S> Begun<S> {
    pub(super) const fn new(read: Vec<u8>, inner: S) -> Self {
        Self { read, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, out);
        }
        let length = self.read.len().min(out.remaining());
        out.put_slice(&self.read[..length]);
        if length == self.read.len() {
            self.read = Vec::new();
        } else {
            self.read.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream that fails with `TimedOut` while its peer takes less than [`LEAST_BYTES`] in a while.
#[derive(Debug)]
pub(super) struct Patient<S> {
    inner: S,
    patience: Duration,
    /// Until when the peer has to take something, since it has refused bytes.
    deadline: Option<Pin<Box<Sleep>>>,
    /// What it has taken since.
    taken: usize,
}

impl<S> Patient<S> {
    pub(super) const fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience, deadline: None, taken: 0 }
    }

    /// The peer refuses bytes: fails if it has done that for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<ErrorKind> {
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| {
            self.taken = 0;
            Box::pin(sleep_until(Instant::now() + patience))
        });
        while deadline.as_mut().poll(cx).is_ready() {
            if self.taken < LEAST_BYTES {
                return Poll::Ready(ErrorKind::TimedOut);
            }
            self.taken = 0;
            deadline.as_mut().reset(Instant::now() + patience);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, bytes) {
            Poll::Ready(Ok(taken)) => {
                self.taken = self.taken.saturating_add(taken);
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_patience(cx).map(|kind| Err(kind.into())),
        }
    }

    /// Called when all is written: nothing is refused any more.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.deadline = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What a peer must take in the time of one patience, while it refuses bytes: half a kilobyte a
/// second by default, and less than any line has.
const LEAST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;

//! The bodies of answers: nothing, some bytes, a part of a file that is read as it is sent, or what
//! somebody else makes piece by piece.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;

use super::disk::Disk;

/// The body of an answer.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// What is sent first.
    bytes: Bytes,
    /// What follows.
    rest: Option<Rest>,
}

#[derive(Debug)]
enum Rest {
    File(FileRest),
    /// Nobody knows how long it is.
    Streamed(Streamed),
}

/// Pieces that somebody else makes, one after the other; over when that one is gone.
#[derive(Debug)]
pub(super) struct Streamed(Receiver<Bytes>);

impl Streamed {
    pub(super) const fn new(pieces: Receiver<Bytes>) -> Self {
        Self(pieces)
    }
}

/// A piece of a file, and the file from there on.
type Piece = io::Result<(File, Bytes)>;

/// What is still to be sent of a file. One piece is in memory at a time.
#[derive(Debug)]
pub(super) struct FileRest {
    left: u64,
    state: State,
    disk: Disk,
}

enum State {
    Idle(File),
    Reading(Pin<Box<dyn Future<Output = Option<Piece>> + Send>>),
    Over,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle(_) => "Idle",
            Self::Reading(_) => "Reading",
            Self::Over => "Over",
        })
    }
}

impl FileRest {
    /// The next `left` bytes of a file.
    pub(super) const fn new(file: File, left: u64, disk: Disk) -> Self {
        Self { left, state: State::Idle(file), disk }
    }

    /// Reads the next piece, of [`PIECE_BYTES`] at most.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if let State::Idle(_) = self.state {
            let State::Idle(file) = std::mem::replace(&mut self.state, State::Over) else {
                unreachable!("it was just looked at");
            };
            let length = self.left.min(PIECE_BYTES as u64);
            let piece = self.disk.clone().run(move || read_piece(file, length));
            self.state = State::Reading(Box::pin(piece));
        }
        let State::Reading(reading) = &mut self.state else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let read = ready!(reading.as_mut().poll(cx));
        self.state = State::Over;
        let (file, piece) = read.ok_or(io::ErrorKind::TimedOut)??;
        self.left -= piece.len() as u64;
        self.state = State::Idle(file);
        Poll::Ready(Ok(piece))
    }
}

/// Reads the next `length` bytes.
///
/// # Errors
/// Those of the file, and `UnexpectedEof` if it has become shorter: what was promised cannot be
/// sent.
pub(super) fn read_piece(mut file: File, length: u64) -> io::Result<(File, Bytes)> {
    let mut piece = Vec::new();
    Read::by_ref(&mut file).take(length).read_to_end(&mut piece)?;
    match piece.len() as u64 == length {
        true => Ok((file, piece.into())),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Content {
    pub(super) fn of(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), rest: None }
    }

    /// Bytes, and what follows them in a file.
    pub(super) const fn with_rest(bytes: Bytes, rest: FileRest) -> Self {
        Self { bytes, rest: Some(Rest::File(rest)) }
    }

    pub(super) const fn streamed(pieces: Streamed) -> Self {
        Self { bytes: Bytes::new(), rest: Some(Rest::Streamed(pieces)) }
    }

    /// `None`: nobody knows.
    pub(super) fn length(&self) -> Option<u64> {
        let rest = match &self.rest {
            None => 0,
            Some(Rest::File(rest)) => rest.left,
            Some(Rest::Streamed(_)) => return None,
        };
        Some(self.bytes.len() as u64 + rest)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.bytes.is_empty() {
            // hyper copies what it is given, and asks for more when little of that is left.
            let length = self.bytes.len().min(PIECE_BYTES);
            let piece = self.bytes.split_to(length);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut self.rest {
            Some(Rest::Streamed(Streamed(pieces))) => {
                pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
            Some(Rest::File(rest)) if rest.left > 0 => {
                let piece = ready!(rest.poll_piece(cx));
                Poll::Ready(Some(piece.map(Frame::data)))
            }
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Bytes of a file that are in memory at a time for one answer.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

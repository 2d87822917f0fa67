//! A non-blocking socket with TLS on it, which reads and writes as the socket does.

use std::io::{self, Read, Write};

use rustls::Connection;

pub struct Secured<S> {
    socket: S,
    tls: Connection,
    /// The peer still has to say a line in plain, and TLS begins behind it.
    awaits_line: bool,
}

impl<S> Secured<S> {
    pub(super) const fn new(socket: S, tls: Connection) -> Self {
        Self { socket, tls, awaits_line: false }
    }

    /// The same where the server speaks first: a line in plain, as that of NATS.
    pub const fn behind_a_line(mut self) -> Self {
        self.awaits_line = true;
        self
    }

    pub const fn socket(&self) -> &S {
        &self.socket
    }

    pub const fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whether there are records that the socket has not taken.
    pub fn holds_back(&self) -> bool {
        self.tls.wants_write()
    }
}

impl<S: Read + Write> Secured<S> {
    /// Takes the line in front of TLS, and no byte behind it; `false` at the end of the stream.
    fn skip_line(&mut self) -> io::Result<bool> {
        let mut byte = [0];
        while self.awaits_line {
            if self.socket.read(&mut byte)? == 0 {
                return Ok(false);
            }
            self.awaits_line = byte != *b"\n";
        }
        flushed(self.push())?;
        Ok(true)
    }

    /// Gives the socket what it takes of the records.
    fn push(&mut self) -> io::Result<()> {
        if self.awaits_line {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

/// `WouldBlock` means that both TLS and the socket are empty.
impl<S: Read + Write> Read for Secured<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.awaits_line && !self.skip_line()? {
            return Ok(0);
        }
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            self.tls.process_new_packets().map_err(io::Error::other)?;
            // A handshake goes on by itself.
            flushed(self.push())?;
        }
    }
}

/// What is taken is encrypted, and may wait for the socket; see [`Secured::holds_back`].
impl<S: Read + Write> Write for Secured<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(bytes)?;
        flushed(self.push())?;
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

/// A socket that is full, or not connected yet, is no error.
fn flushed(pushed: io::Result<()>) -> io::Result<()> {
    match pushed {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
        {
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::super::{Acceptor, Identity, Trust};
    use super::*;

    fn pair() -> (Secured<UnixStream>, Secured<UnixStream>) {
        let identity = Identity::make().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        for socket in [&one, &other] {
            socket.set_nonblocking(true).unwrap();
        }
        let trust = Trust::of_pem(identity.certificate.as_bytes()).unwrap();
        let acceptor = Acceptor::of_pem(identity.pem().as_bytes()).unwrap();
        (trust.secure(one, "127.0.0.1:1").unwrap(), acceptor.secure(other).unwrap())
    }

    fn is_blocked<T: std::fmt::Debug>(outcome: io::Result<T>) -> bool {
        matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn what_is_written_early_comes_after_the_handshake() {
        let (mut client, mut server) = pair();
        let mut buffer = [0; 16];
        assert_eq!(client.write(b"hello").unwrap(), 5);
        for _ in 0..3 {
            if let Ok(count) = server.read(&mut buffer) {
                assert_eq!(&buffer[..count], b"hello");
                return;
            }
            assert!(is_blocked(client.read(&mut [0; 16])));
        }
        panic!("the handshake takes three flights at most");
    }

    #[test]
    fn a_line_may_come_first() {
        let (client, mut server) = pair();
        let mut client = client.behind_a_line();
        let mut buffer = [0; 16];
        assert_eq!(client.write(b"hello").unwrap(), 5);
        assert!(is_blocked(server.read(&mut buffer)), "nothing is sent before the line");
        server.socket.write_all(b"INFO {}\r").unwrap();
        assert!(is_blocked(client.read(&mut [0; 16])));
        server.socket.write_all(b"\n").unwrap();
        for _ in 0..3 {
            assert!(is_blocked(client.read(&mut [0; 16])));
            if let Ok(count) = server.read(&mut buffer) {
                assert_eq!(&buffer[..count], b"hello");
                return;
            }
        }
        panic!("the handshake takes three flights at most");
    }

    #[test]
    fn what_the_socket_refuses_is_held_back_and_told() {
        let (mut client, mut server) = pair();
        let (mut sent, mut received) = (0, 0);
        let mut buffer = vec![0; 1 << 20];
        let large = vec![7; 1 << 20];
        // Before the handshake is over only so much is taken; then until the socket is full.
        for _ in 0..3 {
            while let Ok(count) = server.read(&mut buffer) {
                received += count;
            }
            let _ = client.read(&mut [0; 16]);
            while let Ok(count) = client.write(&large) {
                sent += count;
            }
        }
        assert!(client.holds_back(), "the socket is full");
        while client.holds_back() {
            let _ = client.flush();
            while let Ok(count) = server.read(&mut buffer) {
                received += count;
            }
        }
        assert!(sent > 0 && received == sent, "{sent} sent, {received} received");
    }
}

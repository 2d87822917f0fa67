//! What stands between two NATS servers and can be cut.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A port that leads to another one while it is open.
pub(super) struct Route {
    port: u16,
    /// Both ends of each connection; `None` while it is cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Route {
    pub(super) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let port = listener.local_addr().expect("it is bound").port();
        let route = Self { port, streams: Arc::new(Mutex::new(Some(Vec::new()))) };
        let streams = Arc::clone(&route.streams);
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A server that is away, or has gone, ends this connection alone.
                let _ = stream.and_then(|stream| carry(stream, target, &streams));
            }
        });
        route
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn cut(&self) {
        let cut = self.streams.lock().expect("nobody has failed").take();
        for stream in cut.into_iter().flatten() {
            // Its other end may have gone.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn mend(&self) {
        *self.streams.lock().expect("nobody has failed") = Some(Vec::new());
    }
}

fn carry(near: TcpStream, target: u16, streams: &Mutex<Option<Vec<TcpStream>>>) -> io::Result<()> {
    let mut open = streams.lock().expect("nobody has failed");
    let Some(open) = &mut *open else { return Ok(()) };
    let far = TcpStream::connect(("127.0.0.1", target))?;
    for (from, to) in [(&near, &far), (&far, &near)] {
        open.push(from.try_clone()?);
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

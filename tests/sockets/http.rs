//! An HTTP server that does what it is told: for each request it says something, late, too much, or
//! nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::PATIENCE;

/// What is said to one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status and a body; the connection stays.
    Say(u16, String),
    /// Bytes as they are; then the connection is closed.
    Raw(Vec<u8>),
    /// Nothing, until the other side closes.
    Hang,
}

/// One request, as the server has heard it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    /// As it came.
    pub(crate) text: String,
    pub(crate) body: Value,
}

pub(crate) struct HttpServer {
    scheme: &'static str,
    address: SocketAddr,
    heard: Receiver<Heard>,
}

impl HttpServer {
    /// `reply` says what to say to a request; it runs on a thread of each connection.
    pub(crate) fn start(reply: impl Fn(&Heard) -> Reply + Clone + Send + 'static) -> Self {
        Self::start_with(None, reply)
    }

    /// The same over TLS.
    pub(crate) fn start_secure(
        config: Arc<ServerConfig>,
        reply: impl Fn(&Heard) -> Reply + Clone + Send + 'static,
    ) -> Self {
        Self::start_with(Some(config), reply)
    }

    fn start_with(
        config: Option<Arc<ServerConfig>>,
        reply: impl Fn(&Heard) -> Reply + Clone + Send + 'static,
    ) -> Self {
        let scheme = if config.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heard) = channel();
        thread::spawn(move || {
            // Ends with the test.
            for stream in listener.incoming().flatten() {
                let (config, sender, reply) = (config.clone(), sender.clone(), reply.clone());
                thread::spawn(move || match config {
                    None => serve(stream, &sender, reply),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &sender, reply);
                    }
                });
            }
        });
        Self { scheme, address, heard }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The next request; it must come.
    pub(crate) fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("a request comes")
    }

    /// Whether there was none since the last look.
    pub(crate) fn heard_nothing(&self) -> bool {
        self.heard.try_recv().is_err()
    }
}

fn serve(mut stream: impl Read + Write, sender: &Sender<Heard>, reply: impl Fn(&Heard) -> Reply) {
    while let Some(heard) = read(&mut stream) {
        let reply = reply(&heard);
        let _ = sender.send(heard);
        match reply {
            Reply::Say(status, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                if stream.write_all((head + &body).as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Reply::Hang => {
                let _ = stream.read(&mut [0]);
                return;
            }
        }
    }
}

fn read(stream: &mut impl Read) -> Option<Heard> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            let text = body.to_owned();
            let body = serde_json::from_str(body).unwrap_or(Value::Null);
            return Some(Heard { head, text, body });
        }
    }
}

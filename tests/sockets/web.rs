//! A client that speaks HTTP/1.1, request by request, and reads answers to the byte.

use std::io::{Read, Write};

use stentor::config::ListenAddress;

use super::Stream;

#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) stream: Stream,
    /// What has come and is not taken.
    held: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header that stands there once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = named.next().map(|(_, value)| value);
        assert_eq!(named.next(), None, "twice: {name} in {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn check(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text()), (status, text), "{}", self.head);
    }
}

impl Web {
    pub(crate) fn connect(address: &ListenAddress) -> Self {
        Self::over(Stream::connect(address).unwrap())
    }

    pub(crate) const fn over(stream: Stream) -> Self {
        Self { stream, held: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Asks for a path, with these further header lines.
    pub(crate) fn get_with(&mut self, path: &str, fields: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        self.response()
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.get_with(path, "")
    }

    /// Asks for something with a body.
    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
        self.send([head.as_bytes(), fields.as_bytes(), b"\r\n", body].concat());
    }

    pub(crate) fn post_with(
        &mut self,
        path: &str,
        fields: &str,
        body: impl AsRef<[u8]>,
    ) -> Response {
        self.ask("POST", path, fields, body);
        self.response()
    }

    pub(crate) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.post_with(path, "", body)
    }

    /// The head of an answer, whose body does not follow.
    pub(crate) fn head_with(&mut self, path: &str, fields: &str) -> Response {
        self.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        self.response_head()
    }

    /// The next answer, which has a length.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.response_head();
        if !matches!(response.status, 204 | 304) {
            let length = response.header("content-length").expect("it has a length");
            response.body = self.take(length.parse().unwrap());
        }
        response
    }

    #[track_caller]
    pub(crate) fn response_head(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.held.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more(), "the stream ends in a head: {:?}", self.held);
        };
        let head = String::from_utf8(self.take(end)).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head, body: Vec::new() }
    }

    /// The next chunk of a body without a length; `None` if it is over.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = self.held.windows(2).position(|window| window == b"\r\n") {
                break at + 2;
            }
            if !self.more() {
                return None;
            }
        };
        let length = String::from_utf8(self.take(end)).unwrap();
        let length = usize::from_str_radix(length.trim_end(), 16).unwrap();
        let chunk = self.take(length);
        self.take(2);
        (length > 0).then_some(chunk)
    }

    /// Reads more; `false` at the end.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).unwrap();
        self.held.extend_from_slice(&buffer[..read]);
        read > 0
    }

    #[track_caller]
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.held.len() < length {
            assert!(self.more(), "the stream ends in a body");
        }
        self.held.drain(..length).collect()
    }

    /// The router closes the connection, in order or not, and says nothing more.
    #[track_caller]
    pub(crate) fn check_over(mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        assert!(self.held.is_empty() && rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}

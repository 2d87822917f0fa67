//! As much of Redis's RESP as publishing and subscribing take. The answer to each PUBLISH is the
//! number of its receivers; it comes with the protocol and is read past.

use memchr::memchr;

use super::frame::{Frame, Kind, MAX_MESSAGE_BYTES};

/// A client's first bytes; they are answered by `+PONG`.
pub const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

/// How many bytes the answer to [`PING`] took; `None` if it is not all there yet.
pub fn finish_handshake(buffer: &[u8]) -> Result<Option<usize>, String> {
    if buffer.starts_with(PONG) {
        return Ok(Some(PONG.len()));
    }
    match PONG.starts_with(buffer) {
        true => Ok(None),
        false => Err(String::from_utf8_lossy(buffer).trim_end().to_owned()),
    }
}

pub fn put_subscribe(topic: &str, out: &mut Vec<u8>) {
    put_command(&[b"SUBSCRIBE", topic.as_bytes()], out);
}

pub fn put_publish(topic: &str, payload: &[u8], out: &mut Vec<u8>) {
    put_command(&[b"PUBLISH", topic.as_bytes(), payload], out);
}

fn put_command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Finds what starts at `at`; `None` if it is not all there yet.
pub(super) fn parse(buffer: &[u8], at: usize) -> Result<Option<Frame>, &'static str> {
    match (Cursor { buffer, at }).frame() {
        Ok(frame) => Ok(Some(frame)),
        Err(Stop::Partial) => Ok(None),
        Err(Stop::Malformed(why)) => Err(why),
    }
}

struct Cursor<'a> {
    buffer: &'a [u8],
    at: usize,
}

enum Stop {
    /// The rest has not arrived.
    Partial,
    Malformed(&'static str),
}

impl Cursor<'_> {
    fn frame(&mut self) -> Result<Frame, Stop> {
        let at = self.at;
        let (start, end) = self.line()?;
        let kind = match self.buffer[at] {
            b'*' => return self.push(),
            b'+' | b':' => Kind::Notice,
            b'-' => Kind::Failure,
            _ => return Err(Stop::Malformed("this is no answer of Redis")),
        };
        Ok(Frame { kind, compressed: false, start, end, next: self.at })
    }

    /// What comes to a subscriber: a word that says what it is, the topic, and a payload or number.
    fn push(&mut self) -> Result<Frame, Stop> {
        let (start, end) = self.bulk()?;
        let is_message = match &self.buffer[start..end] {
            b"message" => true,
            b"subscribe" => false,
            _ => return Err(Stop::Malformed("neither a message nor a subscription")),
        };
        self.bulk()?;
        let (kind, (start, end)) =
            if is_message { (Kind::Whole, self.bulk()?) } else { (Kind::Subscribed, self.line()?) };
        Ok(Frame { kind, compressed: false, start, end, next: self.at })
    }

    /// The rest of a line without its first octet and its end.
    fn line(&mut self) -> Result<(usize, usize), Stop> {
        let length = memchr(b'\n', &self.buffer[self.at..]).ok_or(Stop::Partial)?;
        let (start, end) = (self.at + 1, self.at + length);
        self.at = end + 1;
        if end <= start { Err(Stop::Malformed("an empty line")) } else { Ok((start, end - 1)) }
    }

    fn bulk(&mut self) -> Result<(usize, usize), Stop> {
        let (start, end) = self.line()?;
        let mut bytes = 0usize;
        for digit in &self.buffer[start..end] {
            bytes = bytes.saturating_mul(10).saturating_add(usize::from(digit.wrapping_sub(b'0')));
        }
        if bytes as u64 > MAX_MESSAGE_BYTES {
            return Err(Stop::Malformed("the payload is longer than 64 MiB"));
        }
        let start = self.at;
        self.at += bytes + 2;
        if self.at > self.buffer.len() { Err(Stop::Partial) } else { Ok((start, start + bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_pong() {
        assert_eq!(finish_handshake(b"+PONG\r\n*3"), Ok(Some(7)));
        assert_eq!(finish_handshake(b"+PO"), Ok(None));
        assert!(finish_handshake(b"-DENIED it\r\n").unwrap_err().contains("DENIED"));
    }

    #[test]
    fn commands() {
        let mut out = Vec::new();
        put_publish("a", b"xyz", &mut out);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$3\r\nxyz\r\n");
        out.clear();
        put_subscribe("a", &mut out);
        assert_eq!(out, b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n");
    }

    #[test]
    fn what_a_subscriber_gets() {
        let whole = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n\
            *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nx\r\nyz\r\n";
        let first = parse(whole, 0).unwrap().unwrap();
        assert_eq!((first.kind, &whole[first.start..first.end]), (Kind::Subscribed, &b"1"[..]));
        let second = parse(whole, first.next).unwrap().unwrap();
        assert_eq!((second.kind, second.next), (Kind::Whole, whole.len()));
        assert_eq!(&whole[second.start..second.end], b"x\r\nyz");
        for cut in first.next..whole.len() {
            assert_eq!(parse(&whole[..cut], first.next), Ok(None), "{cut}");
        }
    }

    #[test]
    fn other_answers() {
        let kind = |text: &[u8]| parse(text, 0).map(|frame| frame.unwrap().kind);
        assert_eq!(kind(b":100\r\n"), Ok(Kind::Notice));
        assert_eq!(kind(b"-ERR unknown command\r\n"), Ok(Kind::Failure));
        for bad in [&b"HTTP/1.1 400\r\n"[..], b"*3\r\n$2\r\nhi\r\n$1\r\na\r\n:1\r\n", b"\n"] {
            assert!(kind(bad).is_err());
        }
        assert!(kind(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$99999999999\r\n").is_err());
    }
}

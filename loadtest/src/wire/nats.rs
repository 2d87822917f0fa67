//! As much of the NATS client protocol as publishing and subscribing take: lines of text, and a
//! payload whose length its line says.

use memchr::{memchr, memmem};

use super::frame::{Frame, Kind, MAX_MESSAGE_BYTES};

/// A client's first bytes; they are answered by INFO and PONG.
pub const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
pub const PONG: &[u8] = b"PONG\r\n";

/// How many bytes the answer to [`CONNECT`] took; `None` if it is not all there yet.
pub fn finish_handshake(buffer: &[u8]) -> Result<Option<usize>, String> {
    if let Some(at) = memmem::find(buffer, b"-ERR") {
        return Err(String::from_utf8_lossy(&buffer[at..]).trim_end().to_owned());
    }
    Ok(memmem::find(buffer, PONG).map(|at| at + PONG.len()))
}

/// Subscribes, and asks for a PONG that says when that is done.
pub fn put_subscribe(topic: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("SUB {topic} 1\r\nPING\r\n").as_bytes());
}

pub fn put_publish(topic: &str, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("PUB {topic} {}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Finds what starts at `at`; `None` if it is not all there yet.
pub(super) fn parse(buffer: &[u8], at: usize) -> Result<Option<Frame>, &'static str> {
    let Some(length) = memchr(b'\n', &buffer[at..]) else {
        return Ok(None);
    };
    let after = at + length + 1;
    let line = buffer[at..after].trim_ascii_end();
    let (kind, start, end, next) = match line.get(..4).unwrap_or(line) {
        b"MSG " => {
            let bytes = last_number(line).ok_or("a MSG without its length")?;
            let end = after + bytes;
            (Kind::Whole, after, end, end + 2)
        }
        b"PING" => (Kind::Ping, after, after, after),
        // Only a subscription asks for it once the connection stands.
        b"PONG" => (Kind::Subscribed, after, after, after),
        b"INFO" | b"+OK" => (Kind::Notice, after, after, after),
        b"-ERR" => (Kind::Failure, at, at + line.len(), after),
        _ => return Err("this is no line of NATS"),
    };
    Ok((next <= buffer.len()).then_some(Frame { kind, compressed: false, start, end, next }))
}

/// The number at the end of a line.
fn last_number(line: &[u8]) -> Option<usize> {
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let text = str::from_utf8(&line[line.len() - digits..]).ok()?;
    text.parse().ok().filter(|bytes| *bytes as u64 <= MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_ends_with_pong() {
        let answer = b"INFO {\"server_id\":\"x\"}\r\nPONG\r\nMSG";
        assert_eq!(finish_handshake(answer), Ok(Some(answer.len() - 3)));
        assert_eq!(finish_handshake(&answer[..20]), Ok(None));
        assert!(finish_handshake(b"INFO {}\r\n-ERR 'no'\r\n").unwrap_err().contains("no"));
    }

    #[test]
    fn commands() {
        let mut out = Vec::new();
        put_subscribe("a.b", &mut out);
        put_publish("a.b", b"xyz", &mut out);
        assert_eq!(out, b"SUB a.b 1\r\nPING\r\nPUB a.b 3\r\nxyz\r\n");
    }

    #[test]
    fn messages_with_and_without_a_reply_subject() {
        for head in ["MSG a.b 1 5\r\n", "MSG a.b 1 re.ply 5\r\n"] {
            let whole = [head.as_bytes(), b"a\r\nbc\r\nPING\r\n"].concat();
            let frame = parse(&whole, 0).unwrap().unwrap();
            assert_eq!(
                (frame.kind, &whole[frame.start..frame.end]),
                (Kind::Whole, &b"a\r\nbc"[..])
            );
            let ping = parse(&whole, frame.next).unwrap().unwrap();
            assert_eq!((ping.kind, ping.next), (Kind::Ping, whole.len()));
            for cut in 0..frame.next {
                assert_eq!(parse(&whole[..cut], 0), Ok(None), "{cut}");
            }
        }
    }

    #[test]
    fn other_lines() {
        let kind = |line: &[u8]| parse(line, 0).map(|frame| frame.unwrap().kind);
        assert_eq!(kind(b"PONG\r\n"), Ok(Kind::Subscribed));
        assert_eq!(kind(b"+OK\r\n"), Ok(Kind::Notice));
        assert_eq!(kind(b"INFO {}\r\n"), Ok(Kind::Notice));
        let error = parse(b"-ERR 'Slow Consumer'\r\n", 0).unwrap().unwrap();
        assert_eq!((error.kind, error.end), (Kind::Failure, 20));
        assert!(kind(b"HTTP/1.1 400\r\n").is_err());
        assert!(kind(b"MSG a.b 1 99999999999\r\n").is_err());
    }
}

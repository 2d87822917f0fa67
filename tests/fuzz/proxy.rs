//! The PROXY protocol's header, read by the letter of its specification: a listed proxy's says what
//! the plain reader finds, as soon as that can be told, and from anybody else it is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stentor::address::Address;
use stentor::transport::{MAX_PROXY_BYTES, ProxyFault, ProxyHeader, decode_proxy_header};

use super::cuts::{outcome, short_rules};

pub(super) fn header(data: &[u8]) {
    // The router looks at so much of what has come, and no more.
    let seen = &data[..data.len().min(MAX_PROXY_BYTES)];
    let found = decode_proxy_header(seen);
    let expected = read(seen);
    assert_eq!(found.as_ref().map_or_else(|fault| Found::of(*fault), Found::from), expected);
    check_prefixes(seen, found);
    if seen.len() == MAX_PROXY_BYTES {
        assert_ne!(found, Ok(None), "nothing more is looked at, so nobody is waited for");
    }
    if let Ok(Some(header)) = found {
        check_header(seen, header);
    }
    let from_stranger = outcome(|| super::harness::Connection::new(short_rules()), data);
    if data.starts_with(LINE) || data.starts_with(SIGNATURE) {
        let kind = from_stranger.error.map(|error| error.kind());
        assert_eq!(kind, Some("proxy_header_unexpected"));
        assert!(from_stranger.events.is_empty() && from_stranger.reply.is_empty());
    }
}

/// What was found once stays found, whatever comes behind it.
fn check_prefixes(seen: &[u8], whole: Result<Option<ProxyHeader>, ProxyFault>) {
    let found = (0..seen.len()).map(|length| decode_proxy_header(&seen[..length]));
    let first = found.into_iter().enumerate().find(|(_, found)| *found != Ok(None));
    let Some((length, first)) = first else { return };
    assert_eq!(first, whole, "{length} bytes were enough");
    let rest = length..seen.len();
    rest.for_each(|length| assert_eq!(decode_proxy_header(&seen[..length]), whole, "{length}"));
}

/// Where it ends is its end: with a byte less it has not come whole.
fn check_header(seen: &[u8], header: ProxyHeader) {
    assert!(header.length <= seen.len());
    assert_eq!(decode_proxy_header(&seen[..header.length]), Ok(Some(header)));
    assert_eq!(decode_proxy_header(&seen[..header.length - 1]), Ok(None));
    let Some(address) = header.origin.map(|origin| origin.address) else { return };
    assert_eq!(address.ip().is_some(), address.port().is_some(), "whole, or a Unix socket");
    if let Some(IpAddr::V6(ip)) = address.ip() {
        assert!(ip.to_ipv4_mapped().is_none(), "limits would count {ip} twice");
    }
}

/// What some bytes are.
#[derive(Debug, PartialEq)]
enum Found {
    Missing,
    Malformed,
    TooLong,
    /// They may become a header.
    Unfinished,
    Header {
        length: usize,
        origin: Option<(Address, bool)>,
    },
}

impl Found {
    fn of(fault: ProxyFault) -> Self {
        match fault {
            ProxyFault::Missing => Self::Missing,
            ProxyFault::Malformed(_) => Self::Malformed,
            ProxyFault::TooLong => Self::TooLong,
            ProxyFault::Unexpected => panic!("who reads it expects it"),
        }
    }
}

impl From<&Option<ProxyHeader>> for Found {
    fn from(header: &Option<ProxyHeader>) -> Self {
        let Some(header) = header else { return Self::Unfinished };
        let origin = header.origin.map(|origin| (origin.address, origin.by_tls));
        Self::Header { length: header.length, origin }
    }
}

fn read(bytes: &[u8]) -> Found {
    let is_begun = |text: &[u8]| bytes.iter().zip(text).all(|(byte, letter)| byte == letter);
    match () {
        () if is_begun(LINE) => read_line(bytes),
        () if is_begun(SIGNATURE) => read_binary(bytes),
        () => Found::Missing,
    }
}

/// Section 2.1: words with one space between them.
fn read_line(bytes: &[u8]) -> Found {
    let end = (0..LINE_BYTES - 1).find(|at| bytes.get(*at..at + 2) == Some(b"\r\n"));
    let Some(end) = end else {
        return if bytes.len() < LINE_BYTES { Found::Unfinished } else { Found::Malformed };
    };
    // Each byte is a letter; no word of a header has any beyond ASCII.
    let line: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let is_ignored = str::from_utf8(&bytes[..end]).is_ok();
    let words: Vec<&str> = line.split(' ').collect();
    let header = |origin| Found::Header { length: end + 2, origin };
    let address = match words[..] {
        ["PROXY", "UNKNOWN", ..] if is_ignored => return header(None),
        ["PROXY", family, source, target, from, to] => {
            let read = |text| match family {
                "TCP4" => ipv4(text).map(IpAddr::from),
                "TCP6" => ipv6(text).map(|groups| Ipv6Addr::from(groups).into()),
                _ => None,
            };
            read(source).zip(read(target)).zip(decimal(from, 0xFFFF).zip(decimal(to, 0xFFFF)))
        }
        _ => None,
    };
    let Some(((source, _), (port, _))) = address else { return Found::Malformed };
    let port = u16::try_from(port).expect("it is in range");
    header(Some((Address::new(source, Some(port)), false)))
}

/// Digits without a zero in front.
fn decimal(text: &str, most: u32) -> Option<u32> {
    let number = text.chars().try_fold(0_u32, |number, letter| {
        number.checked_mul(10)?.checked_add(letter.to_digit(10)?)
    });
    number.filter(|number| *number <= most && number.to_string() == text)
}

fn ipv4(text: &str) -> Option<[u8; 4]> {
    let bytes: Option<Vec<u8>> =
        text.split('.').map(|part| Some(decimal(part, 255)? as u8)).collect();
    bytes?.try_into().ok()
}

/// RFC 4291, 2.2: eight groups, of which one run of zeros may be left out, and of which the last
/// two may be an IPv4 address.
fn ipv6(text: &str) -> Option<[u16; 8]> {
    let groups = |text: &str| -> Option<Vec<u16>> {
        let mut found = Vec::new();
        let parts: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(':').collect() };
        for (place, part) in parts.iter().enumerate() {
            if place + 1 == parts.len() && part.contains('.') {
                let [a, b, c, d] = ipv4(part)?;
                found.extend([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
            } else {
                let is_group = (1..=4).contains(&part.len())
                    && part.chars().all(|letter| letter.is_ascii_hexdigit());
                found.push(u16::from_str_radix(part, 16).ok().filter(|_| is_group)?);
            }
        }
        Some(found)
    };
    let all = match text.split_once("::") {
        None => groups(text)?,
        Some((head, tail)) => {
            // An address of four bytes stands at the end only.
            let (head, tail) = (groups(head).filter(|_| !head.contains('.'))?, groups(tail)?);
            let zeros = 8_usize.checked_sub(head.len() + tail.len()).filter(|zeros| *zeros > 0)?;
            [head, vec![0; zeros], tail].concat()
        }
    };
    all.try_into().ok()
}

/// Section 2.2: the length says where it ends, whatever is in it.
fn read_binary(bytes: &[u8]) -> Found {
    let Some(command) = bytes.get(12) else { return Found::Unfinished };
    if !matches!(command, 0x20 | 0x21) {
        return Found::Malformed;
    }
    if bytes.len() < 16 {
        return Found::Unfinished;
    }
    let length = 16 + usize::from(bytes[14]) * 256 + usize::from(bytes[15]);
    if length > MAX_PROXY_BYTES {
        return Found::TooLong;
    }
    if bytes.len() < length {
        return Found::Unfinished;
    }
    let header = |origin| Found::Header { length, origin };
    if *command == 0x20 {
        return header(None);
    }
    let block = &bytes[16..length];
    let addresses = match bytes[13] {
        0x00 => return header(None),
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        _ => return Found::Malformed,
    };
    let Some((named, extensions)) = block.split_at_checked(addresses) else {
        return Found::Malformed;
    };
    let port = |at: usize| Some(u16::from(named[at]) * 256 + u16::from(named[at + 1]));
    let address = match addresses {
        12 => Address::new(Ipv4Addr::new(named[0], named[1], named[2], named[3]).into(), port(8)),
        36 => {
            let source: [u8; 16] = named[..16].try_into().expect("sixteen bytes");
            Address::new(source.into(), port(32))
        }
        _ => Address::UNIX,
    };
    match read_extensions(&bytes[..length], length - extensions.len()) {
        Some(by_tls) => header(Some((address, by_tls))),
        None => Found::Malformed,
    }
}

/// Section 2.2.6: whether one of them says that the client speaks TLS; `None` if they do not fill
/// what is left of the header, or one is a checksum (section 2.2.3) of other bytes or a second one.
fn read_extensions(header: &[u8], mut at: usize) -> Option<bool> {
    let (mut by_tls, mut checksums) = (false, 0);
    while at < header.len() {
        let length = usize::from(*header.get(at + 1)?) * 256 + usize::from(*header.get(at + 2)?);
        let value = header.get(at + 3..at + 3 + length)?;
        by_tls |= header[at] == 0x20 && length > 0 && value[0] % 2 == 1;
        if header[at] == 0x03 {
            checksums += 1;
            let mut zeroed = header.to_vec();
            zeroed[at + 3..at + 3 + length].fill(0);
            if checksums > 1 || value != crc32c(&zeroed).to_be_bytes() {
                return None;
            }
        }
        at += 3 + length;
    }
    Some(by_tls)
}

/// RFC 3720, 12.1, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 }
        })
    })
}

const LINE: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line, with its end.
const LINE_BYTES: usize = 107;

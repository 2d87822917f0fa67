//! The PROXY protocol's header, by which a proxy for TCP streams says whom it speaks for: version 1
//! (text) and 2 (binary), as HAProxy's specification of 2020 has them.
//!
//! Pure framing: it says what the bytes mean. Whether their sender is to be believed is decided
//! where the connection was accepted. A header is judged as early as its bytes tell: nobody is
//! waited for whose bytes cannot become one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crc::{CRC_32_ISCSI, Crc};

use crate::address::Address;

/// What somebody in front of the router says of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub address: Address,
    /// Its bytes came by TLS, as far as to the one who says so.
    pub by_tls: bool,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Bytes that it takes; what follows is the client's.
    pub length: usize,
    /// `None`: the proxy speaks for itself, or does not know for whom.
    pub origin: Option<Origin>,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// A listed proxy must send one: without it nobody knows whose the connection is.
    #[error("no PROXY header came from a proxy that must send one (trusted_proxies)")]
    Missing,
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    #[error("the PROXY header is longer than {MAX_PROXY_BYTES} bytes")]
    TooLong,
    /// Without this rule every client could choose its address.
    #[error(
        "a PROXY header came where none is taken: from a peer that is not in `trusted_proxies`, to \
         a listener without `proxy_protocol`, or a second time"
    )]
    Unexpected,
}

impl ProxyFault {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Missing => "proxy_header_missing",
            Self::Malformed(_) => "proxy_header",
            Self::TooLong => "proxy_header_too_long",
            Self::Unexpected => "proxy_header_unexpected",
        }
    }
}

/// Reads the header at the start of `input`; `None` if it has not come whole.
///
/// # Errors
/// [`ProxyFault`] as soon as it cannot become one any more.
pub fn decode_proxy_header(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyFault> {
    if begins(input, TEXT) {
        text_header(input)
    } else if begins(input, SIGNATURE) {
        binary_header(input)
    } else {
        Err(ProxyFault::Missing)
    }
}

/// Whether `input` begins like a header, as far as it goes: then that is what it is, since neither
/// a RawSocket nor an HTTP request does.
pub(super) fn is_proxy_header(input: &[u8]) -> bool {
    input.starts_with(TEXT) || input.starts_with(SIGNATURE)
}

/// Whether `input` may still become the signature of version 2.
pub(super) fn may_be_signature(input: &[u8]) -> bool {
    input.len() < SIGNATURE.len() && SIGNATURE.starts_with(input)
}

/// Whether as much of `expected` has come as may have.
fn begins(input: &[u8], expected: &[u8]) -> bool {
    let length = input.len().min(expected.len());
    input[..length] == expected[..length]
}

/// Version 1: one line of 107 bytes at most, its end included.
fn text_header(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyFault> {
    let seen = &input[..input.len().min(TEXT_BYTES)];
    let Some(end) = seen.windows(2).position(|two| two == b"\r\n") else {
        return match input.len() {
            0..TEXT_BYTES => Ok(None),
            _ => Err(ProxyFault::Malformed("its line does not end within 107 bytes")),
        };
    };
    let bad = ProxyFault::Malformed("its line is not as version 1 has it");
    let line = str::from_utf8(&seen[..end]).map_err(|_| bad)?;
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next().unwrap_or_default();
    let address = match next() {
        // Whatever follows is to be ignored.
        "UNKNOWN" => return Ok(Some(ProxyHeader { length: end + 2, origin: None })),
        "TCP4" => [next(), next()].map(|word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4)),
        "TCP6" => [next(), next()].map(|word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
        _ => return Err(bad),
    };
    let ports = [next(), next()].map(port);
    let ([Some(source), Some(_)], [Some(port), Some(_)]) = (address, ports) else {
        return Err(bad);
    };
    if words.next().is_some() {
        return Err(bad);
    }
    let origin = Origin { address: Address::new(source, Some(port)), by_tls: false };
    Ok(Some(ProxyHeader { length: end + 2, origin: Some(origin) }))
}

/// A port in the one form that a number has.
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| is_plain)
}

/// Version 2: sixteen bytes, and behind them as many as they say.
fn binary_header(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyFault> {
    let Some(&version) = input.get(SIGNATURE.len()) else { return Ok(None) };
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyFault::Malformed("its version or command is unknown")),
    };
    let Some(&[.., family, high, low]) = input.first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_PROXY_BYTES {
        return Err(ProxyFault::TooLong);
    }
    let Some(header) = input.get(..length) else { return Ok(None) };
    let origin = if is_local { None } else { origin(family, header)? };
    Ok(Some(ProxyHeader { length, origin }))
}

/// Whom version 2 names: behind its first bytes a block of addresses, and what is to be known
/// besides.
fn origin(family: u8, header: &[u8]) -> Result<Option<Origin>, ProxyFault> {
    let block = &header[FIXED_BYTES..];
    let short = ProxyFault::Malformed("its addresses are cut short");
    let (address, rest) = match family {
        UNSPECIFIED => return Ok(None),
        TCP_OVER_IPV4 => {
            let (addresses, rest) = block.split_first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            (Address::new([a, b, c, d].into(), Some(port)), rest)
        }
        TCP_OVER_IPV6 => {
            let (addresses, rest) = block.split_first_chunk::<36>().ok_or(short)?;
            let source = *addresses.first_chunk::<16>().ok_or(short)?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            (Address::new(source.into(), Some(port)), rest)
        }
        UNIX_STREAM => (Address::UNIX, block.get(2 * UNIX_PATH_BYTES..).ok_or(short)?),
        _ => return Err(ProxyFault::Malformed("it is about no stream of a known kind")),
    };
    Ok(Some(Origin { address, by_tls: read_extensions(header, rest)? }))
}

/// Goes through the extensions at the end of a header: one tells of TLS, and one is a checksum of
/// the whole. Returns whether the client came by TLS.
fn read_extensions(header: &[u8], mut extensions: &[u8]) -> Result<bool, ProxyFault> {
    let (mut by_tls, mut is_checked) = (false, false);
    while let [kind, high, low, rest @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, rest)) = rest.split_at_checked(length) else { break };
        if *kind == SSL {
            by_tls |= value.first().is_some_and(|client| client & CLIENT_SSL != 0);
        } else if *kind == CHECKSUM {
            // Each would cost a look at all bytes.
            if std::mem::replace(&mut is_checked, true) {
                return Err(ProxyFault::Malformed("it has two checksums"));
            }
            let end = header.len() - rest.len();
            check(header, end - length..end)?;
        }
        extensions = rest;
    }
    if extensions.is_empty() {
        Ok(by_tls)
    } else {
        Err(ProxyFault::Malformed("its extensions are cut short"))
    }
}

/// The checksum is that of the header with zeros in its place (section 2.2.3).
fn check(header: &[u8], place: Range<usize>) -> Result<(), ProxyFault> {
    let wrong = ProxyFault::Malformed("its checksum is that of other bytes");
    let said = header[place.clone()].try_into().map_err(|_| wrong)?;
    let mut digest = CRC32C.digest();
    digest.update(&header[..place.start]);
    digest.update(&[0; 4]);
    digest.update(&header[place.end..]);
    if digest.finalize() == u32::from_be_bytes(said) { Ok(()) } else { Err(wrong) }
}

/// The most bytes of a header: the longest addresses, certificates' names and ids of known proxies
/// take a fraction of it.
pub const MAX_PROXY_BYTES: usize = 2 * 1024;

/// The most bytes of version 1 (section 2.1).
const TEXT_BYTES: usize = 107;
const TEXT: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length (section 2.2).
const FIXED_BYTES: usize = 16;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
const UNIX_PATH_BYTES: usize = 108;
/// `PP2_TYPE_CRC32C` (section 2.2.3).
const CHECKSUM: u8 = 0x03;
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// `PP2_TYPE_SSL`, and in its first byte `PP2_CLIENT_SSL` (section 2.2.6).
const SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

#[cfg(test)]
mod tests;

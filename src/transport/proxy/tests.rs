//! Headers as the specification shows them, what comes near one, and every way to cut them.

use core::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn from(address: &str) -> Option<Origin> {
    let address = address.parse::<SocketAddr>().unwrap().into();
    Some(Origin { address, by_tls: false })
}

/// A header of version 2.
fn binary(version: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[version, family], &length, block].concat()
}

const IPV4: [u8; 12] = [192, 168, 0, 1, 192, 168, 0, 11, 0xDC, 0x04, 0x01, 0xBB];

fn ipv6() -> Vec<u8> {
    let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let target: Ipv6Addr = "2001:db8::2".parse().unwrap();
    [&source.octets()[..], &target.octets(), &[0xDC, 0x04, 0x01, 0xBB]].concat()
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

/// The examples of sections 2.1 and 2.2, and every kind of header besides.
fn whole_headers() -> Vec<(Vec<u8>, Option<Origin>)> {
    let worst = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let with = |extensions: &[Vec<u8>]| [&IPV4[..], &extensions.concat()].concat();
    let tls = Some(Origin { by_tls: true, ..from("192.168.0.1:56324").unwrap() });
    let unix = Some(Origin { address: Address::UNIX, by_tls: false });
    vec![
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(), from("192.168.0.1:56324")),
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
            from("255.255.255.255:65535"),
        ),
        (longest.into(), from("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
        (b"PROXY TCP6 ::ffff:10.0.0.1 ::1 1 0\r\n".to_vec(), from("10.0.0.1:1")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (worst.to_vec(), None),
        (binary(0x21, 0x11, &IPV4), from("192.168.0.1:56324")),
        (binary(0x21, 0x21, &ipv6()), from("[2001:db8::1]:56324")),
        (binary(0x21, 0x31, &[0; 216]), unix),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x00, b"anything"), None),
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x11, &IPV4), None),
        (binary(0x20, 0x77, b"anything"), None),
        (
            binary(0x21, 0x11, &with(&[extension(0x04, &[0; 32]), extension(0x02, b"a.b")])),
            from("192.168.0.1:56324"),
        ),
        (binary(0x21, 0x11, &with(&[extension(SSL, &[1, 0, 0, 0, 0])])), tls),
        (
            binary(0x21, 0x11, &with(&[extension(0x30, b"ns"), extension(SSL, &[7, 0, 0, 0, 1])])),
            tls,
        ),
        (binary(0x21, 0x11, &with(&[extension(SSL, &[0; 5])])), from("192.168.0.1:56324")),
        (binary(0x21, 0x00, &vec![0; MAX_PROXY_BYTES - FIXED_BYTES]), None),
    ]
}

#[test]
fn whole_headers_say_whom_they_are_about() {
    for (header, origin) in whole_headers() {
        let expected = ProxyHeader { length: header.len(), origin };
        assert_eq!(decode_proxy_header(&header), Ok(Some(expected)), "{header:?}");
        let followed = [&header[..], b"\x7f\xf1\0\0PROXY \r\n"].concat();
        assert_eq!(decode_proxy_header(&followed), Ok(Some(expected)), "{header:?}");
    }
}

/// RFC 3720, appendix B.4, has the CRC32C of these bytes.
#[test]
fn the_checksum_is_crc32c() {
    let ascending: Vec<u8> = (0..32).collect();
    assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
    assert_eq!(CRC32C.checksum(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(CRC32C.checksum(&ascending), 0x46dd_794e);
}

/// A header with a checksum of all of it, where zeros stand until it is known.
fn checked(before: &[Vec<u8>], after: &[Vec<u8>]) -> Vec<u8> {
    let place = FIXED_BYTES + IPV4.len() + before.concat().len() + 3;
    let extensions = [&before.concat()[..], &extension(0x03, &[0; 4]), &after.concat()].concat();
    let mut header = binary(0x21, 0x11, &[&IPV4[..], &extensions].concat());
    let checksum = CRC32C.checksum(&header).to_be_bytes();
    header[place..place + 4].copy_from_slice(&checksum);
    header
}

#[test]
fn a_checksum_that_is_there_must_be_right() {
    let tls = || extension(SSL, &[1, 0, 0, 0, 0]);
    for (header, by_tls) in [
        (checked(&[], &[]), false),
        (checked(&[tls()], &[extension(0x02, b"a.b")]), true),
        (checked(&[extension(0x30, b"ns")], &[tls()]), true),
    ] {
        let read = decode_proxy_header(&header).expect("a header").expect("a whole one");
        assert_eq!(read.origin.expect("somebody").by_tls, by_tls);
        for place in FIXED_BYTES..FIXED_BYTES + IPV4.len() {
            let mut wrong = header.clone();
            wrong[place] ^= 1;
            let fault = ProxyFault::Malformed("its checksum is that of other bytes");
            assert_eq!(decode_proxy_header(&wrong), Err(fault), "byte {place}");
        }
    }
    let short = binary(0x21, 0x11, &[&IPV4[..], &extension(0x03, &[0; 3])].concat());
    assert!(matches!(decode_proxy_header(&short), Err(ProxyFault::Malformed(_))));
    let twice = checked(&[extension(0x03, &[0; 4])], &[]);
    assert!(matches!(decode_proxy_header(&twice), Err(ProxyFault::Malformed(_))));
}

/// Each checksum costs a look at all bytes, so there is one.
#[test]
fn the_second_checksum_is_not_looked_at() {
    let checksum = checked(&[], &[extension(0x03, &[0; 4])]);
    let fault = ProxyFault::Malformed("it has two checksums");
    assert_eq!(decode_proxy_header(&checksum), Err(fault));
}

#[test]
fn a_header_that_has_not_come_whole_is_waited_for() {
    for (header, _) in whole_headers() {
        for length in 0..header.len() {
            assert_eq!(decode_proxy_header(&header[..length]), Ok(None), "{length} of {header:?}");
        }
    }
}

#[test]
fn what_comes_near_a_header_is_none() {
    let malformed = |input: &[u8]| {
        let found = decode_proxy_header(input);
        assert!(matches!(found, Err(ProxyFault::Malformed(_))), "{found:?} of {input:?}");
    };
    for line in [
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 1\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n",
        "PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 65536\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 +56324 443\r\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 056324 443\r\n",
        "PROXY TCP4 192.168.0.01 192.168.0.11 56324 443\r\n",
        "PROXY TCP4 ::1 ::1 56324 443\r\n",
        "PROXY TCP6 10.0.0.1 10.0.0.1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UDP4 10.0.0.1 10.0.0.1 1 2\r\n",
        "PROXY tcp4 10.0.0.1 10.0.0.1 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY \r\n",
    ] {
        malformed(line.as_bytes());
    }
    malformed(b"PROXY TCP4 \xff\r\n");
    malformed(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat());
    for (version, family) in [(0x11, 0x11), (0x22, 0x11), (0x2F, 0), (0x21, 0x12), (0x21, 0x41)] {
        malformed(&binary(version, family, &ipv6()));
    }
    for (family, length) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        malformed(&binary(0x21, family, &vec![0; length]));
    }
    for cut in [&[4][..], &[4, 0], &[4, 0, 1], &[4, 0, 0, 4, 255, 255, 1]] {
        malformed(&binary(0x21, 0x11, &[&IPV4[..], cut].concat()));
    }
    // Known before the rest has come.
    malformed(&[SIGNATURE, &[0x31]].concat());
    let long = [SIGNATURE, &[0x21, 0x11, 0x07, 0xF1]].concat();
    assert_eq!(decode_proxy_header(&long), Err(ProxyFault::TooLong));
    for other in ["GET / HTTP/1.1\r\n", "PROXYTCP4", "proxy ", "\x7f", "\x16\x03\x01", "\r\n\r\nX"]
    {
        assert_eq!(decode_proxy_header(other.as_bytes()), Err(ProxyFault::Missing), "{other:?}");
    }
}

proptest! {
    /// However the bytes of a header are spread over reads, the outcome is that of the whole.
    #[test]
    fn no_split_changes_what_is_found(
        which in 0..19_usize,
        damage in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        let (mut bytes, _) = whole_headers().swap_remove(which);
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend_from_slice(b"\x7f\xf1\0\0");
        let whole = decode_proxy_header(&bytes);
        let mut lengths: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        lengths.sort_unstable();
        lengths.push(bytes.len());
        let found = lengths.iter().map(|length| decode_proxy_header(&bytes[..*length]));
        let first = found.into_iter().find(|found| *found != Ok(None)).unwrap_or(Ok(None));
        prop_assert_eq!(first, whole);
    }

    /// No bytes make it panic, or take more than was offered.
    #[test]
    fn any_bytes_have_an_answer(
        tail in proptest::collection::vec(any::<u8>(), 0..300), text in any::<bool>(),
    ) {
        let input = [if text { TEXT } else { SIGNATURE }, &tail].concat();
        if let Ok(Some(header)) = decode_proxy_header(&input) {
            prop_assert!(header.length <= input.len());
        }
    }
}

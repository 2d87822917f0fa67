//! What proxies for HTTP say of a request: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Each proxy appends whom it was asked by, so the list is read from its end, and only as far as
//! listed proxies have written it: whatever stands before may be the client's own invention.

use core::net::{IpAddr, SocketAddr};

use httparse::Header;

use super::proxy::Origin;
use super::rules::ForwardedBy;
use crate::address::{Address, Network};

/// Who a listed proxy has asked for; `None` if it does not say.
pub(super) fn origin(
    headers: &[Header<'_>],
    by: ForwardedBy,
    proxies: &[Network],
) -> Option<Origin> {
    let name = by.header()?;
    let named = headers.iter().rev().filter(|header| header.name.eq_ignore_ascii_case(name));
    // A comma ends an element even within quotes: a client that leaves one open must not swallow
    // what its proxy says behind it.
    let elements = named.flat_map(|header| header.value.rsplit(|byte| *byte == b','));
    let mut found = None;
    for element in elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
        let hop = str::from_utf8(element).ok().and_then(|text| match by {
            ForwardedBy::Forwarded => forwarded_hop(text),
            _ => node(text).map(|address| Origin { address, by_tls: false }),
        });
        // What cannot be read hides whatever stands before it.
        let Some(hop) = hop else { break };
        found = Some(hop);
        if !proxies.iter().any(|network| network.contains(hop.address)) {
            break;
        }
    }
    let by_tls = by == ForwardedBy::XForwardedFor && said_https(headers);
    found.map(|origin| Origin { by_tls: origin.by_tls || by_tls, ..origin })
}

/// One element of `Forwarded`: pairs of which `for` and `proto` count.
fn forwarded_hop(element: &str) -> Option<Origin> {
    let (mut address, mut by_tls) = (None, false);
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').filter(|text| !text.contains(['"', '\\']))?,
            None => value,
        };
        if name.eq_ignore_ascii_case("for") {
            address = Some(node(value)?);
        } else if name.eq_ignore_ascii_case("proto") {
            by_tls = is_https(value);
        }
    }
    address.map(|address| Origin { address, by_tls })
}

/// An address with or without port; none of the names that hide it (RFC 7239, 6.2 and 6.3).
fn node(text: &str) -> Option<Address> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.into());
    }
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = inside.unwrap_or(text).parse().ok()?;
    (inside.is_none() || ip.is_ipv6()).then(|| Address::new(ip, None))
}

/// What the last proxy says in `X-Forwarded-Proto`.
fn said_https(headers: &[Header<'_>]) -> bool {
    let is_named = |header: &&Header<'_>| header.name.eq_ignore_ascii_case("x-forwarded-proto");
    let last = headers.iter().rev().find(is_named);
    let last = last.and_then(|header| header.value.rsplit(|byte| *byte == b',').next());
    last.and_then(|word| str::from_utf8(word.trim_ascii()).ok()).is_some_and(is_https)
}

fn is_https(word: &str) -> bool {
    word.eq_ignore_ascii_case("https") || word.eq_ignore_ascii_case("wss")
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "X-Forwarded-For";
    const RFC: &str = "forwarded";

    /// What is found in headers that came from `10.0.0.1`, a listed proxy like its neighbours.
    fn found(by: ForwardedBy, headers: &[(&str, &str)]) -> Option<(String, bool)> {
        let proxies = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().unwrap());
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let found = origin(&headers, by, &proxies);
        found.map(|origin| (origin.address.to_string(), origin.by_tls))
    }

    fn check(by: ForwardedBy, headers: &[(&str, &str)], expected: Option<&str>) {
        let address = found(by, headers).map(|(address, _)| address);
        assert_eq!(address.as_deref(), expected, "{headers:?}");
    }

    #[test]
    fn the_last_hop_that_is_no_proxy_counts() {
        let ten = "1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4, 5.5.5.5, 6.6.6.6, 7.7.7.7, 8.8.8.8, \
                   203.0.113.9, 10.9.9.9";
        for (value, expected) in [
            ("203.0.113.9", Some("203.0.113.9")),
            ("1.1.1.1, 203.0.113.9", Some("203.0.113.9")),
            (ten, Some("203.0.113.9")),
            ("203.0.113.9,10.0.0.2,10.0.0.3", Some("203.0.113.9")),
            ("10.0.0.3, 10.0.0.2", Some("10.0.0.3")),
            ("203.0.113.9:4711", Some("203.0.113.9:4711")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:4711", Some("[2001:db8::1]:4711")),
            ("203.0.113.9, 2001:db8:1::7", Some("203.0.113.9")),
            ("::ffff:203.0.113.9", Some("203.0.113.9")),
            (" 203.0.113.9 ,, ", Some("203.0.113.9")),
            ("1.1.1.1, unknown", None),
            ("1.1.1.1, unknown, 10.0.0.2", Some("10.0.0.2")),
            ("1.1.1.1, [203.0.113.9]", None),
            ("203.0.113.09", None),
            ("203.0.113.9:99999", None),
            ("\"203.0.113.9\"", None),
            ("203.0.113.9 x", None),
            ("", None),
        ] {
            check(ForwardedBy::XForwardedFor, &[(X, value)], expected);
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let headers = [(X, "1.1.1.1, 203.0.113.9"), ("host", "x"), (X, "10.0.0.2")];
        check(ForwardedBy::XForwardedFor, &headers, Some("203.0.113.9"));
        let by = ForwardedBy::XForwardedFor;
        check(by, &[("x-forwarded-for", "1.1.1.1"), (X, "203.0.113.9")], Some("203.0.113.9"));
    }

    /// RFC 7239, section 4 and 6, has these elements.
    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        for (value, expected) in [
            ("for=\"_gazonk\"", None),
            ("For=\"[2001:db8:cafe::17]:4711\"", Some("[2001:db8:cafe::17]:4711")),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
            ("for=192.0.2.43, for=198.51.100.17", Some("198.51.100.17")),
            ("for=192.0.2.43, for=10.0.0.9", Some("192.0.2.43")),
            ("for=\"192.0.2.43:47011\"", Some("192.0.2.43:47011")),
            ("for=unknown", None),
            ("for=\"192.0.2.43:_port\"", None),
            ("by=192.0.2.43", None),
            ("for=", None),
            ("192.0.2.43", None),
            // A client that leaves a quote open hides nothing of what its proxy says.
            ("for=\"1.1.1.1, for=192.0.2.43", Some("192.0.2.43")),
            ("for=\"1.1.1.1\\\", for=192.0.2.43", Some("192.0.2.43")),
        ] {
            check(ForwardedBy::Forwarded, &[(RFC, value)], expected);
        }
    }

    #[test]
    fn only_the_chosen_header_counts() {
        let both = [(X, "1.1.1.1"), (RFC, "for=2.2.2.2")];
        check(ForwardedBy::XForwardedFor, &both, Some("1.1.1.1"));
        check(ForwardedBy::Forwarded, &both, Some("2.2.2.2"));
        check(ForwardedBy::Off, &both, None);
    }

    #[test]
    fn tls_in_front_is_known_if_the_proxy_says_it() {
        let by = ForwardedBy::XForwardedFor;
        for (value, expected) in
            [("https", true), ("http", false), ("wss", true), ("https, http", false), ("", false)]
        {
            let headers = [(X, "1.1.1.1"), ("X-Forwarded-Proto", value)];
            assert_eq!(found(by, &headers).map(|(_, by_tls)| by_tls), Some(expected), "{value}");
        }
        let said = |value| found(ForwardedBy::Forwarded, &[(RFC, value)]).map(|(_, by)| by);
        assert_eq!(said("for=1.1.1.1;proto=https"), Some(true));
        assert_eq!(said("for=9.9.9.9;proto=https, for=1.1.1.1"), Some(false));
    }
}

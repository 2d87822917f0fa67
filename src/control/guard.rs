//! Who may ask: no page of another site, whatever its name resolves to.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

/// The names by which the admin listener may be asked for.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<[String]>);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forbidden {
    #[error("the request names no host, or one that is no text")]
    NoHost,
    #[error(
        "`{0}` is no name of this listener; ask for it by its address, or add the name to `hosts` \
         in [admin]"
    )]
    UnknownHost(String),
    #[error("pages of `{0}` may not read this listener")]
    ForeignPage(String),
}

impl Guard {
    pub(super) fn new(hosts: &[String]) -> Self {
        Self(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    /// Refuses hosts that nobody has configured, and requests of pages that came from elsewhere.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Forbidden> {
        let host = text(headers, HOST).ok_or(Forbidden::NoHost)?;
        if !self.is_ours(name_of(host)) {
            return Err(Forbidden::UnknownHost(quotable(host)));
        }
        match text(headers, ORIGIN) {
            None if headers.contains_key(ORIGIN) => Err(Forbidden::ForeignPage("?".to_owned())),
            Some(origin) if origin.split_once("://").map(|(_, from)| from) != Some(host) => {
                Err(Forbidden::ForeignPage(quotable(origin)))
            }
            _ => Ok(()),
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|host| name.eq_ignore_ascii_case(host))
    }
}

/// `Host` without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    first.filter(|_| second.is_none())?.to_str().ok()
}

fn quotable(text: &str) -> String {
    text.chars().take(MOST_QUOTED).collect()
}

/// Characters of a header that an answer repeats.
const MOST_QUOTED: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(HeaderName, &str)]) -> Result<(), Forbidden> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        Guard::new(&["Stentor.internal".to_owned()]).check(&map)
    }

    #[test]
    fn addresses_and_configured_names_are_hosts() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9080",
            "[::1]:9080",
            "[::1]",
            "localhost:9080",
            "LOCALHOST",
            "stentor.internal",
            "stentor.INTERNAL:80",
        ] {
            assert_eq!(check(&[(HOST, host)]), Ok(()), "{host}");
        }
    }

    /// DNS rebinding: a name of the attacker that resolves to 127.0.0.1 for a moment.
    #[test]
    fn other_names_are_refused() {
        for host in [
            "evil.example",
            "evil.example:9080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "stentor.internal.evil.example",
            "xstentor.internal",
            "",
            ":9080",
            "[::1",
        ] {
            let refused = Err(Forbidden::UnknownHost(host.to_owned()));
            assert_eq!(check(&[(HOST, host)]), refused, "{host}");
        }
        assert_eq!(check(&[]), Err(Forbidden::NoHost));
        assert_eq!(check(&[(HOST, "127.0.0.1"), (HOST, "evil")]), Err(Forbidden::NoHost));
    }

    #[test]
    fn a_page_reads_only_where_it_comes_from() {
        let from = |origin| check(&[(HOST, "127.0.0.1:9080"), (ORIGIN, origin)]);
        assert_eq!(from("http://127.0.0.1:9080"), Ok(()));
        for origin in
            ["null", "http://127.0.0.1:9081", "http://127.0.0.1", "https://evil.example", "x"]
        {
            assert_eq!(from(origin), Err(Forbidden::ForeignPage(origin.to_owned())));
        }
    }
}

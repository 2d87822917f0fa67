//! Where a router listens: `ws://host:port/path`, `wss://`, RawSocket as `rs://host:port` and
//! `rss://`, and on Unix sockets `unix:/path` (RawSocket), `rs+unix:///path` and
//! `ws+unix:///path[:/http/path]`.

use std::path::PathBuf;

use crate::error::ConnectError;

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) transport: Transport,
    pub(crate) address: Address,
    /// Whether TLS comes first.
    pub(crate) tls: bool,
    /// HTTP path of a WebSocket.
    pub(crate) path: String,
    /// The URL, to be named in errors.
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    RawSocket,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let fail = |why| ConnectError::Url { url: url.to_owned(), why };
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Self::unix(Transport::RawSocket, path, url);
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| fail("it needs a scheme, as in ws://localhost:8080/ws"))?;
        let (transport, tls, port) = match scheme {
            "ws" => (Transport::WebSocket, false, Some(80)),
            "wss" => (Transport::WebSocket, true, Some(443)),
            "rs" => (Transport::RawSocket, false, None),
            "rss" => (Transport::RawSocket, true, None),
            "ws+unix" => return Self::unix(Transport::WebSocket, rest, url),
            "rs+unix" => return Self::unix(Transport::RawSocket, rest, url),
            _ => {
                return Err(fail("the scheme must be ws, wss, rs, rss, unix, ws+unix or rs+unix"));
            }
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.contains('@') {
            return Err(fail("credentials do not belong into the URL"));
        }
        if !is_plain(path) || path.contains('#') {
            return Err(fail("the path must be printable ASCII without a fragment"));
        }
        let (host, port) = split_port(authority, port).map_err(fail)?;
        if host.is_empty() || !is_plain(host) {
            return Err(fail("there is no host in it"));
        }
        let address = Address::Tcp { host: host.to_owned(), port };
        Ok(Self { transport, address, tls, path: path.to_owned(), text: url.to_owned() })
    }

    fn unix(transport: Transport, rest: &str, url: &str) -> Result<Self, ConnectError> {
        let (socket, path) = match (transport, rest.split_once(":/")) {
            (Transport::WebSocket, Some((socket, path))) => (socket, format!("/{path}")),
            _ => (rest, "/".to_owned()),
        };
        if !socket.starts_with('/') {
            let why = "a socket's path is absolute, as in unix:/run/router.sock";
            return Err(ConnectError::Url { url: url.to_owned(), why });
        }
        let address = Address::Unix(socket.into());
        Ok(Self { transport, address, tls: false, path, text: url.to_owned() })
    }

    /// The name that a certificate must be for.
    pub(crate) fn host(&self) -> &str {
        match &self.address {
            Address::Tcp { host, .. } => host,
            Address::Unix(_) => "localhost",
        }
    }

    /// Value of the HTTP `Host` field.
    pub(crate) fn authority(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// `host:port`, `[v6]:port`, or a host alone if there is a default port.
fn split_port(authority: &str, default: Option<u16>) -> Result<(&str, u16), &'static str> {
    const NO_PORT: &str = "it needs a port, as in rs://localhost:8080";
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("the bracket of an IPv6 address is open")?,
        None => match authority.rfind(':') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        },
    };
    if host.contains(':') && !authority.starts_with('[') {
        return Err("an IPv6 address stands in brackets");
    }
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("the port is no port")?,
        None => default.ok_or(NO_PORT)?,
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, transport, address, tls, path) in [
            ("ws://localhost:8080/ws", Transport::WebSocket, tcp("localhost", 8080), false, "/ws"),
            ("ws://example.org", Transport::WebSocket, tcp("example.org", 80), false, "/"),
            ("wss://[::1]/a?b=c", Transport::WebSocket, tcp("::1", 443), true, "/a?b=c"),
            ("rs://10.0.0.1:9", Transport::RawSocket, tcp("10.0.0.1", 9), false, "/"),
            ("rss://[::1]:9", Transport::RawSocket, tcp("::1", 9), true, "/"),
            ("unix:/run/a", Transport::RawSocket, Address::Unix("/run/a".into()), false, "/"),
            ("rs+unix:///run/a", Transport::RawSocket, Address::Unix("/run/a".into()), false, "/"),
            (
                "ws+unix:///run/a:/ws",
                Transport::WebSocket,
                Address::Unix("/run/a".into()),
                false,
                "/ws",
            ),
        ] {
            let target = Target::parse(url).unwrap();
            let expected =
                Target { transport, address, tls, path: path.to_owned(), text: url.to_owned() };
            assert_eq!(target, expected);
        }
        assert_eq!(Target::parse("wss://[::1]/").unwrap().authority(), "[::1]:443");
    }

    #[test]
    fn refusals_say_why() {
        for (url, why) in [
            ("localhost:8080", "scheme"),
            ("http://localhost", "the scheme must be"),
            ("rs://localhost", "needs a port"),
            ("ws://localhost:x", "no port"),
            ("ws://localhost:0", "no port"),
            ("ws://localhost:99999", "no port"),
            ("ws://:80", "no host"),
            ("ws://::1:80", "brackets"),
            ("ws://[::1:80", "open"),
            ("ws://joe:secret@localhost/", "credentials"),
            ("unix:relative", "absolute"),
            ("ws://localhost/a b", "printable"),
            ("ws://localhost/\r\nX: y", "printable"),
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}

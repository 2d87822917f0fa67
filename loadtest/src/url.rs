//! Where a router listens: `ws://host:port/path`, `rs://host:port`, `ws+unix:///socket[:/path]`,
//! `rs+unix:///socket`; and, to compare, brokers without WAMP: `nats://host:port`,
//! `redis://host:port`, `bun+ws://host:port`. The floor program is reached by `floor://host:port`.
//! With TLS: `wss`, `rss`, `bun+wss`, `nats+tls` and `floor+tls`. The generator then encrypts and
//! decrypts as much as the router does, so only the router's CPU time tells something.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub transport: Transport,
    pub address: Address,
    /// Whether TLS comes first.
    pub tls: bool,
    /// Value of the HTTP `Host` field.
    pub host: String,
    /// HTTP path of a WebSocket URL.
    pub path: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    RawSocket,
    /// The floor program's own: RawSocket frames, no handshake, no WAMP.
    Floor,
    /// WebSocket without WAMP: the path says who subscribes and who publishes to which topic.
    Bun,
    Nats,
    Redis,
}

impl Transport {
    pub const fn speaks_wamp(self) -> bool {
        self.language().is_none()
    }

    /// What is spoken instead of WAMP.
    pub const fn language(self) -> Option<&'static str> {
        match self {
            Self::WebSocket | Self::RawSocket => None,
            Self::Floor => Some("no protocol"),
            Self::Bun => Some("plain WebSocket"),
            Self::Nats => Some("NATS"),
            Self::Redis => Some("RESP"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |why| Error::Url(text.to_owned(), why);
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fail("no scheme"))?;
        let (plain_scheme, tls) = match scheme {
            "wss" => ("ws", true),
            "rss" => ("rs", true),
            "bun+wss" => ("bun+ws", true),
            "floor+tls" => ("floor", true),
            "nats+tls" => ("nats", true),
            plain => (plain, false),
        };
        let (transport, unix) = match plain_scheme {
            "ws" => (Transport::WebSocket, false),
            "rs" => (Transport::RawSocket, false),
            "floor" => (Transport::Floor, false),
            "bun+ws" => (Transport::Bun, false),
            "nats" => (Transport::Nats, false),
            "redis" => (Transport::Redis, false),
            "ws+unix" => (Transport::WebSocket, true),
            "rs+unix" => (Transport::RawSocket, true),
            _ => {
                return Err(fail(
                    "the scheme must be ws, wss, rs, rss, ws+unix or rs+unix, or nats, nats+tls, \
                     redis, bun+ws or bun+wss",
                ));
            }
        };
        let (address, host, path) = if unix {
            let (socket, path) = rest.split_once(":/").unwrap_or((rest, ""));
            if !socket.starts_with('/') {
                return Err(fail("a socket path is absolute, as in ws+unix:///run/router.sock"));
            }
            (Address::Unix(socket.into()), "localhost", path)
        } else {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let mut found =
                host.to_socket_addrs().map_err(|_| fail("host:port does not resolve"))?;
            let address = found.next().ok_or_else(|| fail("host:port does not resolve"))?;
            (Address::Tcp(address), host, path)
        };
        let (host, path) = (host.to_owned(), format!("/{path}"));
        Ok(Self { transport, address, tls, host, path, text: text.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, Error> {
        text.parse()
    }

    #[test]
    fn tcp_urls_carry_host_and_path() {
        let target = parse("ws://127.0.0.1:8080/ws").unwrap();
        assert_eq!(target.transport, Transport::WebSocket);
        assert_eq!(target.address, Address::Tcp("127.0.0.1:8080".parse().unwrap()));
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:8080", "/ws"));
        assert_eq!(parse("rs://127.0.0.1:9000").unwrap().transport, Transport::RawSocket);
        assert_eq!(parse("nats://127.0.0.1:4222").unwrap().transport, Transport::Nats);
        assert_eq!(parse("redis://127.0.0.1:6379").unwrap().transport, Transport::Redis);
        assert_eq!(parse("bun+ws://127.0.0.1:3000").unwrap().transport, Transport::Bun);
        for (secured, plain) in
            [("wss", "ws"), ("rss", "rs"), ("floor+tls", "floor"), ("nats+tls", "nats")]
        {
            let [secured, plain] =
                [secured, plain].map(|scheme| parse(&format!("{scheme}://127.0.0.1:1")).unwrap());
            assert!(secured.tls && !plain.tls);
            assert_eq!(secured.transport, plain.transport);
        }
    }

    #[test]
    fn unix_urls_may_name_an_http_path() {
        let target = parse("ws+unix:///run/a.sock:/ws").unwrap();
        assert_eq!(target.address, Address::Unix("/run/a.sock".into()));
        assert_eq!(target.path, "/ws");
        assert_eq!(parse("rs+unix:///run/a.sock").unwrap().path, "/");
    }

    #[test]
    fn refusals_say_why() {
        for (text, why) in [
            ("127.0.0.1:1", "no scheme"),
            ("http://127.0.0.1:1", "the scheme must"),
            ("ws://nohost", "does not resolve"),
            ("rs+unix://relative", "absolute"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(why), "{text}");
        }
    }
}

//! Where a connection comes from: one type for logs, limits and meta answers, and the lists of
//! networks that a configuration names.
//!
//! Knows no socket; whoever accepts a connection, or reads what a proxy says of it, makes these.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The other end of a connection. IPv4 addresses that are mapped into IPv6 are IPv4 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// `None`: a Unix socket.
    ip: Option<IpAddr>,
    /// `None` if nobody has said it, as proxies do.
    port: Option<u16>,
}

impl Address {
    /// A process of this machine, by a Unix socket.
    pub const UNIX: Self = Self { ip: None, port: None };

    pub const fn new(ip: IpAddr, port: Option<u16>) -> Self {
        Self { ip: Some(ip.to_canonical()), port }
    }

    /// `None`: a Unix socket.
    pub const fn ip(self) -> Option<IpAddr> {
        self.ip
    }

    /// `None`: a Unix socket, or nobody has said it.
    pub const fn port(self) -> Option<u16> {
        self.port
    }

    /// Whether it is this machine.
    pub const fn is_local(self) -> bool {
        match self.ip {
            None => true,
            Some(ip) => ip.is_loopback(),
        }
    }

    /// As whom limits count it.
    pub const fn client(self) -> Client {
        match self.ip {
            None => Client::Unix,
            Some(IpAddr::V4(ip)) => Client::V4(ip.octets()),
            Some(IpAddr::V6(ip)) => Client::V6(network_of(ip)),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), Some(address.port()))
    }
}

/// As logs write it: `192.0.2.1:5000`, `[2001:db8::1]:5000`, `2001:db8::1` or `unix`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (None, _) => f.write_str("unix"),
            (Some(ip), None) => ip.fmt(f),
            (Some(ip), Some(port)) => SocketAddr::new(ip, port).fmt(f),
        }
    }
}

/// Where connections come from, as far as limits tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    V4([u8; 4]),
    /// The network of 64 bits that one customer has at least.
    V6([u16; 4]),
    /// A socket of this machine: who may connect is for its file's mode.
    Unix,
}

const fn network_of(ip: Ipv6Addr) -> [u16; 4] {
    let [a, b, c, d, ..] = ip.segments();
    [a, b, c, d]
}

/// A set of addresses as a configuration names it: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1` or
/// `unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Network {
    Ip {
        base: IpAddr,
        /// How many bits of the address count: up to 32 for IPv4, 128 for IPv6.
        bits: u32,
    },
    /// Whoever comes by a Unix socket.
    Unix,
}

impl Network {
    pub fn contains(self, address: Address) -> bool {
        match (self, address.ip) {
            (Self::Unix, None) => true,
            (Self::Ip { base, bits }, Some(ip)) => {
                base.is_ipv4() == ip.is_ipv4() && masked(ip, bits) == masked(base, bits)
            }
            _ => false,
        }
    }

    /// Whether it holds all addresses of a family.
    pub const fn is_everybody(self) -> bool {
        matches!(self, Self::Ip { bits: 0, .. })
    }
}

/// The bits that count, in place.
fn masked(ip: IpAddr, bits: u32) -> u128 {
    let (all, width) = match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    all.checked_shr(width - bits).unwrap_or_default()
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::Ip { base, bits } => write!(f, "{base}/{bits}"),
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let bad = || BadNetwork::Unknown(text.into());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| bad())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let is_number = |bits: &&str| bits.bytes().all(|digit| digit.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) => {
                Some(bits).filter(is_number).and_then(|b| b.parse().ok()).ok_or_else(bad)?
            }
        };
        if bits > width {
            return Err(BadNetwork::Bits { text: text.into(), width });
        }
        let network = Self::Ip { base, bits };
        let zeros = width - bits;
        if masked(base, bits).checked_shl(zeros).unwrap_or_default() != masked(base, width) {
            return Err(BadNetwork::Host { text: text.into(), bits });
        }
        Ok(network)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl TryFrom<String> for Network {
    type Error = BadNetwork;

    fn try_from(text: String) -> Result<Self, BadNetwork> {
        text.parse()
    }
}

/// Why a text names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    #[error(
        "`{0}` is no network; write `10.0.0.0/8`, `2001:db8::/32`, a single address, or `unix`"
    )]
    Unknown(String),
    #[error("`{text}` counts more than the {width} bits of such an address")]
    Bits { text: String, width: u32 },
    #[error(
        "`{text}` is an address within a network, of which {bits} bits count; write the rest of it \
         as zeros, or the address alone"
    )]
    Host { text: String, bits: u32 },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn addresses_are_written_as_logs_have_them() {
        for text in ["10.0.0.1:5", "[2001:db8::1]:5"] {
            assert_eq!(address(text).to_string(), text);
        }
        assert_eq!(address("[::ffff:10.0.0.1]:5").to_string(), "10.0.0.1:5");
        assert_eq!(Address::new("2001:db8::1".parse().unwrap(), None).to_string(), "2001:db8::1");
        assert_eq!(Address::UNIX.to_string(), "unix");
    }

    #[test]
    fn limits_count_networks() {
        let same = |one, other| address(one).client() == address(other).client();
        assert!(same("10.0.0.1:1", "10.0.0.1:2") && !same("10.0.0.1:1", "10.0.0.2:1"));
        assert!(same("[2001:db8::1]:1", "[2001:db8::ffff:1]:2"));
        assert!(!same("[2001:db8::1]:1", "[2001:db8:0:1::1]:1"));
        assert!(same("10.0.0.1:1", "[::ffff:10.0.0.1]:1"));
        assert_eq!(Address::UNIX.client(), Client::Unix);
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(address(local).is_local(), "{local}");
        }
        assert!(Address::UNIX.is_local());
        assert!(!address("10.0.0.1:1").is_local() && !address("[2001:db8::1]:1").is_local());
    }

    #[test]
    fn networks_hold_what_their_bits_say() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1:1", "11.0.0.1:1"),
            ("192.0.2.1", "192.0.2.1:9", "192.0.2.2:9"),
            ("192.0.2.128/25", "[::ffff:192.0.2.200]:1", "192.0.2.1:1"),
            ("0.0.0.0/0", "8.8.8.8:1", "[2001:db8::1]:1"),
            ("2001:db8::/32", "[2001:db8:ffff::1]:1", "[2001:db9::1]:1"),
            ("::/0", "[2001:db8::1]:1", "8.8.8.8:1"),
            ("::1", "[::1]:1", "[::2]:1"),
        ] {
            let set: Network = network.parse().unwrap();
            assert!(set.contains(address(inside)), "{network} {inside}");
            assert!(!set.contains(address(outside)), "{network} {outside}");
            assert!(!set.contains(Address::UNIX), "{network}");
        }
        let unix: Network = "unix".parse().unwrap();
        assert!(unix.contains(Address::UNIX) && !unix.contains(address("127.0.0.1:1")));
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_network_says_why() {
        for text in ["", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "localhost", "10.0.0.0:80", "::/a"]
        {
            let error = text.parse::<Network>().unwrap_err();
            assert_eq!(error, BadNetwork::Unknown(text.into()));
        }
        for (text, width) in [("10.0.0.0/33", 32), ("::/129", 128)] {
            let error = text.parse::<Network>().unwrap_err();
            assert_eq!(error, BadNetwork::Bits { text: text.into(), width });
        }
        for (text, bits) in [("10.0.0.1/8", 8), ("2001:db8::1/64", 64), ("0.0.0.1/0", 0)] {
            let error = text.parse::<Network>().unwrap_err();
            assert_eq!(error, BadNetwork::Host { text: text.into(), bits });
        }
    }
}

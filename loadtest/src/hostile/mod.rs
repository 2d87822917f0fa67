//! What one client should not be able to do to the others: each [`Kind`] is one way to cost the
//! router far more than its sender, within the limits that a router has by default.
//!
//! Attacks run on a thread of their own; `scenario::hostile` measures victims meanwhile. A kind has
//! to show that it did its work, so that one that does nothing is not taken for a good router.

pub mod attack;
mod calls;
pub mod crowd;
mod events;
mod held;
mod http;
mod lists;
pub mod member;
mod patterns;
mod pings;

use std::fmt;
use std::str::FromStr;

pub use attack::{Attack, Outcome};

use crate::error::Result;

/// The kinds of hostile traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A retained event that grows six times in JSON, and reads full of requests for it.
    Retained,
    /// Publications of 1 MB that match thousands of patterns of one session.
    Patterns,
    /// Reads full of questions about thousands of sessions and 100,000 subscriptions.
    Lists,
    /// Thousands of wildcard patterns of different shape, which leave all at once.
    Shapes,
    /// Reads full of pings.
    Pings,
    /// Thousands of connections that each keep most of a large message to themselves.
    Partials,
    /// Hundreds of large calls that nobody answers, kept for re-routing.
    Pending,
    /// Calls that thousands of callees refuse one after the other.
    Reroute,
    /// More calls than fit at once, to a callee that is busy for half a second.
    Busy,
    /// A list of a million nils for subscribers of another serializer.
    Transcoding,
    /// Large events at one moment for a subscriber that reads.
    Bursts,
    /// Subscribers of a fast topic that never read.
    Stalled,
    /// Clients that connect, join and leave as fast as they can.
    Storm,
    /// Thousands of handshakes that stop halfway.
    Handshakes,
    /// HTTP requests that are half, without an end, of two meanings, or whose answers nobody reads.
    Http,
    /// Of these, only those that stop halfway.
    HttpHalves,
    /// Of these, only those that have no end or two meanings.
    HttpForms,
    /// Of these, only those whose answers nobody reads.
    HttpDeaf,
    /// Reads full of HTTP requests, whose answers are read.
    HttpFlood,
}

impl Kind {
    pub const ALL: [Self; 19] = [
        Self::Retained,
        Self::Patterns,
        Self::Lists,
        Self::Shapes,
        Self::Pings,
        Self::Partials,
        Self::Pending,
        Self::Reroute,
        Self::Busy,
        Self::Transcoding,
        Self::Bursts,
        Self::Stalled,
        Self::Storm,
        Self::Handshakes,
        Self::Http,
        Self::HttpHalves,
        Self::HttpForms,
        Self::HttpDeaf,
        Self::HttpFlood,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Retained => "retained",
            Self::Patterns => "patterns",
            Self::Lists => "lists",
            Self::Shapes => "shapes",
            Self::Pings => "pings",
            Self::Partials => "partials",
            Self::Pending => "pending",
            Self::Reroute => "reroute",
            Self::Busy => "busy",
            Self::Transcoding => "transcoding",
            Self::Bursts => "bursts",
            Self::Stalled => "stalled",
            Self::Storm => "storm",
            Self::Handshakes => "handshakes",
            Self::Http => "http",
            Self::HttpHalves => "http-halves",
            Self::HttpForms => "http-forms",
            Self::HttpDeaf => "http-deaf",
            Self::HttpFlood => "http-flood",
        }
    }

    /// Whether it runs only where it is asked for: [`Self::Http`] stands for it.
    pub const fn is_on_request(self) -> bool {
        matches!(self, Self::HttpHalves | Self::HttpForms | Self::HttpDeaf | Self::HttpFlood)
    }

    /// Runs the attack to its end. An error is that of a client that could not go on.
    pub fn run(self, attack: &mut Attack) -> Result<()> {
        match self {
            Self::Retained => events::retained(attack),
            Self::Patterns => patterns::fan_out(attack),
            Self::Lists => lists::lists(attack),
            Self::Shapes => patterns::shapes(attack),
            Self::Pings => pings::pings(attack),
            Self::Partials => held::partials(attack),
            Self::Pending => calls::pending(attack),
            Self::Reroute => calls::reroute(attack),
            Self::Busy => calls::busy(attack),
            Self::Transcoding => events::transcoding(attack),
            Self::Bursts => events::bursts(attack),
            Self::Stalled => events::stalled(attack),
            Self::Storm => held::storm(attack),
            Self::Handshakes => held::handshakes(attack),
            Self::Http => http::mixed(attack),
            Self::HttpHalves => http::halves(attack),
            Self::HttpForms => http::forms(attack),
            Self::HttpDeaf => http::deaf(attack),
            Self::HttpFlood => http::flood(attack),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.into_iter().map(Self::name).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}

/// Connections that a kind has open at most.
pub const MAX_CONNECTIONS: usize = 4_000;

//! What a trace says of one message. Everything that a client chose is cut here, and none of it is
//! escaped: that is for whoever shows it.

use serde::{Serialize, Serializer};

use super::filter::{Party, Subject};
use crate::address::Address;
use crate::authorization::{Rule, RuleOrigin, shown_authorizer};
use crate::codec::{self, PIECE_BYTES, Preview};
use crate::router::Destinations;
use crate::wamp::{MatchPolicy, Payload, Timestamp};

/// One message that a client has sent, or was sent.
#[derive(Clone, Debug, Serialize)]
pub struct TraceRecord {
    /// Its place among what the trace keeps, of all shards.
    #[serde(skip)]
    pub order: u64,
    /// Of the turn in which it was dealt with.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    pub direction: Direction,
    pub shard: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authid: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authrole: Option<Box<str>>,
    #[serde(serialize_with = "as_text")]
    pub peer: Address,
    /// Its type, as the specification calls it, in small letters; of what could not be read
    /// [`UNREADABLE`].
    pub message: &'static str,
    /// The message without its frame, in bytes.
    pub bytes: usize,
    #[serde(flatten)]
    pub about: About,
    /// Of what came in, if there was something to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Verdict>,
    /// The rule that has decided; `None` where no rule grants it, or there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<TracedRule>>,
    /// It was handled once before, and an authorizer has been asked meanwhile.
    #[serde(skip_serializing_if = "is_false")]
    pub again: bool,
    /// Of a PUBLISH, the sessions that its events were queued for; see [`Self::awaited`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receivers: Option<u64>,
    /// The shards that have not counted their receivers yet: each is to say it in
    /// [`super::TraceHaul::delivered`].
    #[serde(skip)]
    pub awaited: Destinations,
    /// Shards that have not said how many of [`Self::receivers`] they have; for whoever adds them
    /// up.
    #[serde(skip_serializing_if = "is_zero")]
    pub uncounted_shards: u64,
    /// Of a CALL, the session that it went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee: Option<u64>,
    /// Of what was to be sent and was not, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<&'static str>,
    /// Events that were dropped for this one, which found the queue full.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_older: u64,
    /// The beginning of the payload as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<str>>,
    #[serde(skip_serializing_if = "is_false")]
    pub is_payload_cut: bool,
}

/// What a message is about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The topic or procedure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<Box<str>>,
    /// How it is matched, if not exactly.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'static str>,
    /// The error or reason in the message, or the one with which it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publication: Option<u64>,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// What was decided about a message that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Granted,
    /// By a rule or an authorizer, or because nothing grants it.
    Denied,
    /// Not yet: an authorizer is asked, and the message waits.
    Asked,
    /// For another reason than permissions; [`About::error`] says which.
    Refused,
    /// It is a further chunk of a call that was granted.
    Continued,
    /// It came too late to have an effect.
    Ignored,
}

/// A rule of a role, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TracedRule {
    pub uri: Box<str>,
    #[serde(rename = "match")]
    pub policy: &'static str,
    /// The line of the file that it stands in, if it stands in one.
    pub line: Option<usize>,
    /// It stands for a place in `admin_roles`.
    pub is_admin: bool,
    /// Who decides for it, if it does not decide itself.
    pub authorizer: Option<Box<str>>,
}

impl TracedRule {
    pub(super) fn new(rule: &Rule, authorizer: Option<&str>) -> Self {
        Self {
            uri: cut(&rule.uri),
            policy: rule.policy.as_str(),
            line: rule.line,
            is_admin: rule.origin == RuleOrigin::AdminRoles,
            authorizer: authorizer.map(|name| cut(shown_authorizer(name))),
        }
    }
}

impl TraceRecord {
    pub(super) fn new(
        time: Timestamp,
        shard: u8,
        (direction, message, bytes): (Direction, &'static str, usize),
        party: &Party<'_>,
        about: About,
    ) -> Self {
        Self {
            order: 0,
            time,
            direction,
            shard,
            session: party.session.map(u64::from),
            realm: party.realm.map(cut),
            authid: party.authid.map(cut),
            authrole: party.authrole.map(cut),
            peer: party.peer,
            message,
            bytes,
            about,
            decision: None,
            rule: None,
            again: false,
            receivers: None,
            awaited: Destinations::default(),
            uncounted_shards: 0,
            callee: None,
            dropped: None,
            dropped_older: 0,
            payload: None,
            is_payload_cut: false,
        }
    }

    /// Bytes of memory that it takes.
    pub(super) fn weight(&self) -> usize {
        let About { uri, error, .. } = &self.about;
        let own = [&self.realm, &self.authid, &self.authrole, uri, error, &self.payload];
        let texts = own.into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let rule = self.rule.as_ref().map_or(0, |rule| {
            let authorizer = rule.authorizer.as_ref().map_or(0, |name| name.len());
            size_of::<TracedRule>() + rule.uri.len() + authorizer
        });
        size_of::<Self>() + texts + rule
    }

    /// Keeps the beginning of a payload.
    pub(super) fn show(&mut self, payload: Payload<'_>, limit_bytes: usize) {
        let Preview { text, is_cut } = codec::preview(payload, limit_bytes);
        let is_there = is_cut || !text.is_empty();
        (self.payload, self.is_payload_cut) = (is_there.then(|| text.into()), is_cut);
    }

    /// The payload, no longer than `limit_bytes`.
    pub(super) fn cut_payload(&mut self, limit_bytes: usize) {
        if limit_bytes == 0 {
            (self.payload, self.is_payload_cut) = (None, false);
        } else if let Some(payload) = &mut self.payload
            && payload.len() > limit_bytes
        {
            *payload = payload[..payload.floor_char_boundary(limit_bytes)].into();
            self.is_payload_cut = true;
        }
    }
}

impl About {
    #[must_use]
    pub(super) fn matching(mut self, policy: MatchPolicy) -> Self {
        self.policy = (policy != MatchPolicy::Exact).then(|| policy.as_str());
        self
    }

    /// With the beginnings of these texts.
    #[must_use]
    pub(super) fn with(mut self, subject: Subject<'_>) -> Self {
        [self.uri, self.error] = subject.map(|text| text.map(cut));
        self
    }
}

/// What it costs at most to keep the beginning of a payload, in units of work.
pub(super) fn preview_units(payload: Payload<'_>) -> usize {
    PIECE_BYTES.min(payload.weight()) / PREVIEW_BYTES_PER_UNIT
}

/// The beginning of a text that somebody else chose.
pub(super) fn cut(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(MOST_TEXT_BYTES)].into()
}

fn as_text<T: ToString, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.to_string())
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What stands for the type of a message that could not be read.
pub const UNREADABLE: &str = "unreadable";

/// Bytes that are shown of one text: of a URI, an authid, a realm.
pub const MOST_TEXT_BYTES: usize = 512;

/// Bytes of payload that are made JSON in the time of one unit.
const PREVIEW_BYTES_PER_UNIT: usize = 16;

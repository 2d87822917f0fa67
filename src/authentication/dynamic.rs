//! The contract with an authenticator outside of the router (AU-DYN-01), as crossbar has it: what
//! it is asked, and what its answer means. A procedure and an HTTP endpoint get the same three
//! values.
//!
//! Asks nobody: who does is `net` for endpoints, and the shard for procedures. `wampcra`,
//! `cryptosign`, `wamp-scram` and `anonymous` are asked about at HELLO, and the answer says what to
//! challenge with; `ticket` at AUTHENTICATE, and the answer is the verdict.

use core::net::IpAddr;
use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::MAX_AUTHID_BYTES;
use super::certificate::{CertificateName, ClientCertificate};
use super::credential::Credential;
use super::cryptosign::PublicKey;
use super::json::{from_json, to_json};
use super::scram::{Kdf, ScramRecord};
use super::secret::Secret;
use super::settings::Method;
use super::ticket::TicketHash;
use super::wampcra::CraKey;
use crate::address::Address;
use crate::wamp::{Dict, SessionId, Value, dict_heap_bytes};

/// What is known of a client that somebody outside is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub realm: &'a str,
    /// The id that the session will have (AU-GEN-08).
    pub session: SessionId,
    /// As the client asks for it; it may get another one.
    pub authrole: Option<&'a str>,
    /// `HELLO.Details.authextra`.
    pub authextra: &'a Dict,
    pub transport: Transport<'a>,
}

/// How a client came.
#[derive(Clone, Copy)]
pub struct Transport<'a> {
    /// `websocket` or `rawsocket`.
    pub kind: &'a str,
    /// `cbor`, `json` or `msgpack`.
    pub serializer: &'a str,
    /// Messages go in batches, which the name of the subprotocol says.
    pub is_batched: bool,
    pub peer: Address,
    pub is_secure: bool,
    /// What tells the TLS channel from all others (RFC 9266).
    pub channel_id: Option<[u8; 32]>,
    /// The headers of its request that the listener passes on; `None`: it passes none, there were
    /// none, or they are forgotten, as is everything about them after WELCOME.
    pub headers: Option<&'a [(Box<str>, String)]>,
    /// The certificate that it has shown, verified.
    pub certificate: Option<&'a ClientCertificate>,
}

/// Not the headers: there may be a cookie among them.
impl fmt::Debug for Transport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Transport");
        shown.field("kind", &self.kind).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// What an authenticator is asked: `(realm, authid, details)`.
pub struct Question {
    method: Method,
    /// Of those for whom the answer says none.
    default_role: Option<Arc<str>>,
    realm: Box<str>,
    authid: Option<Box<str>>,
    details: Dict,
}

/// What an authenticator grants.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// `None`: the one that the client names.
    pub authid: Option<Box<str>>,
    pub role: Box<str>,
    /// `None`: the one that the client wants to join.
    pub realm: Option<Box<str>>,
    /// Becomes `WELCOME.Details.authextra`.
    pub extra: Dict,
    /// What the client is challenged with, where the method has a challenge.
    pub credential: Option<Credential>,
}

/// Why an answer is none. Quotes nothing of it: there may be secrets in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    #[error("the answer is neither a role nor a dict, or is not one value")]
    Form,
    #[error("the answer has no `role`, and the authenticator has none for all")]
    NoRole,
    #[error("`{0}` in the answer has the wrong type, or is empty or too long")]
    Member(&'static str),
    #[error("the answer lacks `{0}`, which the method needs")]
    Missing(&'static str),
    #[error("the answer is no JSON document")]
    NoJson,
}

impl Question {
    pub(super) fn new(
        method: Method,
        default_role: Option<&Arc<str>>,
        authid: Option<&str>,
        facts: &Facts<'_>,
    ) -> Self {
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let details = vec![
            ("session".into(), facts.session.get().into()),
            ("authmethod".into(), method.as_str().into()),
            ("authextra".into(), Value::Dict(facts.authextra.clone())),
            ("authid".into(), text(authid)),
            ("authrole".into(), text(facts.authrole)),
            ("transport".into(), Value::Dict(facts.transport.details())),
        ];
        let default_role = default_role.map(Arc::clone);
        let (realm, authid) = (facts.realm.into(), authid.map(Into::into));
        Self { method, default_role, realm, authid, details }
    }

    /// The same about a client that has answered with this ticket.
    pub(super) fn with_ticket(mut self, ticket: &str) -> Self {
        self.details.push(("ticket".into(), ticket.into()));
        self
    }

    /// The three arguments of a CALL.
    pub fn args(&self) -> [Value; 3] {
        let authid = self.authid.as_deref().map_or(Value::Null, Value::from);
        [(&*self.realm).into(), authid, Value::Dict(self.details.clone())]
    }

    /// The same as the body of an HTTP request.
    pub fn to_json(&self) -> Secret {
        let [realm, authid, details] = self.args();
        let members = [("realm", realm), ("authid", authid), ("details", details)];
        let body = members.map(|(name, value)| (name.into(), value)).to_vec();
        Secret::new(to_json(&Value::Dict(body)).to_string())
    }

    /// Bytes of memory that it takes.
    pub fn weight(&self) -> usize {
        let texts = self.realm.len() + self.authid.as_ref().map_or(0, |authid| authid.len());
        size_of::<Self>() + texts + dict_heap_bytes(&self.details)
    }

    /// What an answer means.
    pub(super) fn read(&self, answer: &Value) -> Result<Grant, BadAnswer> {
        Grant::read(self.method, answer, self.default_role.as_deref())
    }

    /// The same of the body of a response.
    pub(super) fn read_json(&self, body: &[u8]) -> Result<Grant, BadAnswer> {
        Grant::read_json(self.method, body, self.default_role.as_deref())
    }

    /// The ticket in it, if it is about one.
    fn ticket(&self) -> Option<&str> {
        text_in(&self.details, "ticket")
    }
}

/// Not the details: there is a ticket among them.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Question");
        shown.field("realm", &self.realm).field("authid", &self.authid).finish_non_exhaustive()
    }
}

impl Grant {
    /// What the answer to a question means: a role, or a dict of which members that are not known
    /// are ignored. `default_role` is for answers without a role.
    ///
    /// # Errors
    /// [`BadAnswer`] if that is not what it is: the login has failed then.
    pub fn read(
        method: Method,
        answer: &Value,
        default_role: Option<&str>,
    ) -> Result<Self, BadAnswer> {
        let empty = Dict::new();
        let (said, members) = match answer {
            Value::Str(role) => (Some(bounded(role, "role")?), &empty),
            Value::Dict(members) => (text_of(members, "role")?, members),
            _ => return Err(BadAnswer::Form),
        };
        let role = said.or(default_role).ok_or(BadAnswer::NoRole)?.into();
        let owned = |text: Option<&str>| text.map(Into::into);
        let extra = match find(members, "extra") {
            None => Dict::new(),
            Some(Value::Dict(extra)) => extra.clone(),
            Some(_) => return Err(BadAnswer::Member("extra")),
        };
        Ok(Self {
            authid: owned(text_of(members, "authid")?),
            role,
            realm: owned(text_of(members, "realm")?),
            extra,
            credential: credential(method, members)?,
        })
    }

    /// As [`Self::read`], from the body of an HTTP response.
    ///
    /// # Errors
    /// [`BadAnswer`] if it is not what was asked for.
    pub fn read_json(
        method: Method,
        body: &[u8],
        default_role: Option<&str>,
    ) -> Result<Self, BadAnswer> {
        let json = serde_json::from_slice(body).map_err(|_| BadAnswer::NoJson)?;
        Self::read(method, &from_json(&json), default_role)
    }

    /// Whether the ticket of the question is the one that the answer names, if it names one.
    pub fn agrees_with(&self, question: &Question) -> bool {
        match (&self.credential, question.ticket()) {
            (Some(Credential::Ticket(hash)), Some(ticket)) => hash.is_of(ticket.as_bytes()),
            (Some(Credential::Ticket(_)), None) => false,
            _ => true,
        }
    }
}

/// What the client is challenged with.
fn credential(method: Method, members: &Dict) -> Result<Option<Credential>, BadAnswer> {
    let needs = |name| text_of(members, name)?.ok_or(BadAnswer::Missing(name));
    Ok(match method {
        Method::Anonymous | Method::Tls => None,
        Method::Ticket => {
            let ticket = secret_of(members, "ticket")?;
            ticket.map(|ticket| Credential::Ticket(TicketHash::of_random(ticket.as_bytes())))
        }
        Method::Wampcra => Some(Credential::Wampcra(cra_key(members)?)),
        Method::Cryptosign => {
            let bad = BadAnswer::Member("pubkey");
            let bytes = HEXLOWER_PERMISSIVE.decode(needs("pubkey")?.as_bytes()).map_err(|_| bad)?;
            let key = bytes.try_into().ok().and_then(PublicKey::new).ok_or(bad)?;
            Some(Credential::Cryptosign(vec![key]))
        }
        Method::Scram => Some(Credential::Scram(scram_record(members)?)),
    })
}

/// With a `salt` the secret is a derived key, in the text form in which it is used (AU-CRA-03).
fn cra_key(members: &Dict) -> Result<CraKey, BadAnswer> {
    let secret = secret_of(members, "secret")?.ok_or(BadAnswer::Missing("secret"))?;
    let Some(salt) = text_of(members, "salt")? else {
        return Ok(CraKey::plain(Secret::new(secret)));
    };
    let iterations = number_of(members, "iterations", 1..=10_000_000)?.unwrap_or(1_000);
    let key_bytes = number_of(members, "keylen", 16..=64)?.unwrap_or(32);
    Ok(CraKey::salted(Secret::new(secret), salt, iterations, key_bytes))
}

/// Hexadecimal values under the names that crossbar has for them.
fn scram_record(members: &Dict) -> Result<ScramRecord, BadAnswer> {
    let bytes = |name| {
        let text = text_of(members, name)?.ok_or(BadAnswer::Missing(name))?;
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| BadAnswer::Member(name))
    };
    let number = |name, range| number_of(members, name, range)?.ok_or(BadAnswer::Missing(name));
    let kdf = match text_of(members, "kdf")?.ok_or(BadAnswer::Missing("kdf"))? {
        "argon2id13" | "argon2id-13" => Kdf::Argon2id13 {
            passes: number("iterations", 1..=64)?,
            memory_kib: number("memory", 8..=1024 * 1024)?,
        },
        "pbkdf2" => Kdf::Pbkdf2 { iterations: number("iterations", 1..=10_000_000)? },
        _ => return Err(BadAnswer::Member("kdf")),
    };
    let (stored, server) = (bytes("stored-key")?, bytes("server-key")?);
    ScramRecord::of_keys(kdf, bytes("salt")?, stored, server).ok_or(BadAnswer::Member("salt"))
}

impl Transport<'_> {
    /// Both shapes that authenticators read: crossbar's old one, and the one of
    /// `TransportDetails.marshal`, with null for what the router does not know.
    pub fn details(&self) -> Dict {
        let Self { kind, serializer, is_batched, peer, .. } = *self;
        let Self { is_secure, channel_id, headers, certificate, .. } = *self;
        let header = |(name, value): &(Box<str>, String)| {
            (name.to_string().into(), Value::Str(value.clone()))
        };
        let headers = headers.map(|headers| headers.iter().map(header).collect());
        let headers = headers.map_or(Value::Null, Value::Dict);
        let certificate = certificate.map_or(Value::Null, certificate_details);
        let protocol = match kind {
            "websocket" if is_batched => format!("wamp.2.{serializer}.batched").into(),
            "websocket" => format!("wamp.2.{serializer}").into(),
            _ => Value::Null,
        };
        let channel_type = match (is_secure, peer_scheme(peer)) {
            (true, _) => "tls",
            (false, "unix") => "unix",
            (false, _) => "tcp",
        };
        let id = channel_id.map(|id| data_encoding::HEXLOWER.encode(&id));
        let id = id.map_or(Value::Null, |id| Value::Dict(vec![("tls-exporter".into(), id.into())]));
        vec![
            ("type".into(), kind.into()),
            ("protocol".into(), protocol.clone()),
            ("peer".into(), peer_text(peer).into()),
            ("http_headers_received".into(), headers),
            ("http_headers_sent".into(), Value::Null),
            ("cbtid".into(), Value::Null),
            ("client_cert".into(), certificate.clone()),
            ("channel_type".into(), channel_type.into()),
            ("channel_framing".into(), kind.into()),
            ("channel_serializer".into(), serializer.into()),
            ("channel_id".into(), id),
            ("peer_cert".into(), certificate),
            ("is_secure".into(), is_secure.into()),
            ("websocket_protocol".into(), protocol),
            ("http_cbtid".into(), Value::Null),
        ]
    }
}

/// A certificate, as far as it can be told by that: `sha256` and the common name are where crossbar
/// has them.
fn certificate_details(certificate: &ClientCertificate) -> Value {
    let (mut details, mut subject, mut names) = (Dict::new(), Dict::new(), Vec::new());
    for name in certificate.names() {
        match name {
            CertificateName::Fingerprint(bytes) => {
                let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                details.push(("sha256".into(), pairs.join(":").into()));
            }
            CertificateName::CommonName(name) => subject.push(("cn".into(), (&**name).into())),
            CertificateName::Subject(text) => {
                details.push(("subject_dn".into(), (&**text).into()));
            }
            CertificateName::Dns(_) | CertificateName::Uri(_) | CertificateName::Email(_) => {
                names.push(Value::from(name.to_string()));
            }
        }
    }
    details.push(("subject".into(), Value::Dict(subject)));
    details.push(("subject_alt_names".into(), Value::List(names)));
    Value::Dict(details)
}

fn peer_scheme(peer: Address) -> &'static str {
    match peer.ip() {
        Some(IpAddr::V4(_)) => "tcp4",
        Some(IpAddr::V6(_)) => "tcp6",
        None => "unix",
    }
}

/// `scheme:host:port`, which authenticators split at the colons.
fn peer_text(peer: Address) -> String {
    let scheme = peer_scheme(peer);
    match (peer.ip(), peer.port()) {
        (None, _) => "unix:".to_owned(),
        (Some(ip), None) => format!("{scheme}:{ip}:"),
        (Some(ip), Some(port)) => format!("{scheme}:{ip}:{port}"),
    }
}

fn find<'a>(members: &'a Dict, name: &str) -> Option<&'a Value> {
    let found = members.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    found.filter(|value| **value != Value::Null)
}

fn text_in<'a>(members: &'a Dict, name: &str) -> Option<&'a str> {
    match find(members, name) {
        Some(Value::Str(text)) => Some(text),
        _ => None,
    }
}

/// A short text.
fn text_of<'a>(members: &'a Dict, name: &'static str) -> Result<Option<&'a str>, BadAnswer> {
    match find(members, name) {
        None => Ok(None),
        Some(Value::Str(text)) => bounded(text, name).map(Some),
        Some(_) => Err(BadAnswer::Member(name)),
    }
}

/// A text that may be longer.
fn secret_of<'a>(members: &'a Dict, name: &'static str) -> Result<Option<&'a str>, BadAnswer> {
    match find(members, name) {
        None => Ok(None),
        Some(Value::Str(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(BadAnswer::Member(name)),
    }
}

fn bounded<'a>(text: &'a str, name: &'static str) -> Result<&'a str, BadAnswer> {
    let is_good = (1..=MAX_AUTHID_BYTES).contains(&text.len());
    if is_good { Ok(text) } else { Err(BadAnswer::Member(name)) }
}

fn number_of(
    members: &Dict,
    name: &'static str,
    range: std::ops::RangeInclusive<u32>,
) -> Result<Option<u32>, BadAnswer> {
    let number = match find(members, name) {
        None => return Ok(None),
        Some(Value::UInt(number)) => u32::try_from(*number).ok(),
        Some(Value::Int(number)) => u32::try_from(*number).ok(),
        Some(_) => None,
    };
    let number = number.filter(|number| range.contains(number));
    number.map(Some).ok_or(BadAnswer::Member(name))
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use serde_json::{Value as Json, json};

    use super::*;

    fn read(method: Method, answer: &Json) -> Result<Grant, BadAnswer> {
        Grant::read(method, &from_json(answer), None)
    }

    fn question(method: Method, peer: &str) -> Question {
        let peer = peer.parse::<SocketAddr>().map_or(Address::UNIX, Address::from);
        let transport = Transport {
            kind: "websocket",
            serializer: "json",
            is_batched: false,
            peer,
            is_secure: true,
            channel_id: None,
            headers: None,
            certificate: None,
        };
        let extra = vec![("a".into(), Value::Bytes(vec![1]))];
        let session = SessionId::new(7).expect("an id");
        let facts =
            Facts { realm: "realm1", session, authrole: Some("x"), authextra: &extra, transport };
        Question::new(method, None, Some("joe"), &facts)
    }

    /// Seven public authenticators read these, in one of the two shapes or the other.
    #[test]
    fn a_question_has_both_shapes_of_transport() {
        let question = question(Method::Ticket, "127.0.0.1:17185").with_ticket("pencil");
        let body: Json = serde_json::from_slice(question.to_json().bytes()).expect("JSON");
        assert_eq!((&body["realm"], &body["authid"]), (&json!("realm1"), &json!("joe")));
        let details = &body["details"];
        assert_eq!(details["session"], json!(7));
        assert_eq!(details["authmethod"], json!("ticket"));
        assert_eq!(details["authextra"], json!({"a": "\0AQ=="}));
        assert_eq!((&details["authid"], &details["authrole"]), (&json!("joe"), &json!("x")));
        assert_eq!(details["ticket"], json!("pencil"));
        let transport = details["transport"].as_object().expect("a dict");
        for (old, new) in [("type", "channel_framing"), ("protocol", "websocket_protocol")] {
            assert_eq!(transport[old], transport[new], "{old}");
        }
        assert_eq!(transport["peer"], json!("tcp4:127.0.0.1:17185"));
        assert_eq!(transport["protocol"], json!("wamp.2.json"));
        assert_eq!(transport["channel_serializer"], json!("json"));
        assert_eq!(transport["channel_type"], json!("tls"));
        for name in [
            "http_headers_received",
            "http_headers_sent",
            "cbtid",
            "client_cert",
            "peer_cert",
            "http_cbtid",
            "channel_id",
            "is_secure",
        ] {
            assert!(transport.contains_key(name), "{name}");
        }
        assert!(!format!("{question:?}").contains("pencil"));
    }

    #[test]
    fn peers_are_written_as_authenticators_split_them() {
        for (peer, text) in [("10.0.0.1:80", "tcp4:10.0.0.1:80"), ("[::1]:80", "tcp6:::1:80")] {
            let peer: SocketAddr = peer.parse().expect("an address");
            assert_eq!(peer_text(peer.into()), text);
        }
        assert_eq!(peer_text(Address::new(IpAddr::from([10, 0, 0, 1]), None)), "tcp4:10.0.0.1:");
        assert_eq!(peer_text(Address::UNIX), "unix:");
    }

    #[test]
    fn an_answer_is_a_role_or_a_dict() {
        let role = |answer| read(Method::Ticket, &answer).map(|grant| grant.role.to_string());
        assert_eq!(role(json!("user")), Ok("user".into()));
        assert_eq!(role(json!({"role": "user", "whatever": [1]})), Ok("user".into()));
        assert_eq!(role(json!({})), Err(BadAnswer::NoRole));
        assert_eq!(role(json!({"role": null})), Err(BadAnswer::NoRole));
        for wrong in [json!(null), json!(true), json!(1), json!(0.5), json!(["user"])] {
            assert_eq!(role(wrong), Err(BadAnswer::Form));
        }
        for wrong in [json!(""), json!("x".repeat(257)), json!({"role": 1}), json!({"role": ""})] {
            assert_eq!(role(wrong), Err(BadAnswer::Member("role")));
        }
        for name in ["authid", "realm", "extra"] {
            let answer = json!({"role": "user", name: 7});
            assert!(matches!(role(answer), Err(BadAnswer::Member(_))), "{name}");
        }
        let given = Value::Dict(Dict::new());
        let grant = Grant::read(Method::Ticket, &given, Some("guest"));
        assert_eq!(grant.map(|grant| grant.role), Ok("guest".into()));
        assert_eq!(Grant::read_json(Method::Ticket, b"{", None), Err(BadAnswer::NoJson));
    }

    #[test]
    fn an_answer_may_say_more() {
        let answer = json!({"role": "user", "realm": "realm2", "authid": "jim",
            "extra": {"a": [1]}});
        let grant = read(Method::Ticket, &answer).expect("an answer");
        assert_eq!(grant.realm.as_deref(), Some("realm2"));
        assert_eq!(grant.authid.as_deref(), Some("jim"));
        assert_eq!(grant.extra, vec![("a".into(), Value::List(vec![Value::UInt(1)]))]);
    }

    /// A ticket in the answer is the one that was to be shown.
    #[test]
    fn a_ticket_in_the_answer_must_be_the_clients() {
        let question = question(Method::Ticket, "x").with_ticket("pencil");
        for (ticket, is_right) in [(json!("pencil"), true), (json!("pen"), false)] {
            let grant = read(Method::Ticket, &json!({"role": "user", "ticket": ticket}));
            assert_eq!(grant.expect("an answer").agrees_with(&question), is_right);
        }
        let silent = read(Method::Ticket, &json!("user")).expect("an answer");
        assert!(silent.agrees_with(&question));
    }

    #[test]
    fn each_method_needs_its_credential() {
        let with = |method, members: Json| {
            let mut answer = members;
            answer["role"] = json!("user");
            read(method, &answer).map(|grant| grant.credential.is_some())
        };
        assert_eq!(with(Method::Anonymous, json!({})), Ok(false));
        assert_eq!(with(Method::Wampcra, json!({})), Err(BadAnswer::Missing("secret")));
        assert_eq!(with(Method::Wampcra, json!({"secret": "x"})), Ok(true));
        let salted = json!({"secret": "x", "salt": "s", "iterations": 1000, "keylen": 32});
        assert_eq!(with(Method::Wampcra, salted), Ok(true));
        for (name, value) in [("iterations", json!(0)), ("keylen", json!(1.5)), ("salt", json!(1))]
        {
            let mut wrong = json!({"secret": "x", "salt": "s"});
            wrong[name] = value;
            assert_eq!(with(Method::Wampcra, wrong), Err(BadAnswer::Member(name)), "{name}");
        }
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(with(Method::Cryptosign, json!({"pubkey": key})), Ok(true));
        assert_eq!(
            with(Method::Cryptosign, json!({"pubkey": "11"})),
            Err(BadAnswer::Member("pubkey"))
        );
        let keys = "00".repeat(32);
        let record = json!({"kdf": "pbkdf2", "iterations": 4096, "salt": "0011223344556677",
            "stored-key": keys, "server-key": keys});
        assert_eq!(with(Method::Scram, record.clone()), Ok(true));
        for name in ["kdf", "iterations", "salt", "stored-key", "server-key"] {
            let mut wrong = record.clone();
            wrong[name] = json!("zz");
            assert!(matches!(with(Method::Scram, wrong), Err(BadAnswer::Member(_))), "{name}");
        }
    }
}

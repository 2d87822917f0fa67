//! The contract with an authorizer outside of the router (AU-AZ-04), as crossbar has it: what it is
//! asked, and what its answer means. A procedure and an HTTP endpoint get the same four values.
//!
//! Asks nobody, and remembers nothing.

use std::borrow::Cow;

use super::Action;
use crate::authentication::{Secret, from_json, to_json};
use crate::wamp::{Dict, SessionId, Value};

/// A request that an authorizer is asked about, and whose it is.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub realm: &'a str,
    pub session: SessionId,
    pub authid: &'a str,
    pub authrole: &'a str,
    pub authmethod: &'a str,
    pub authprovider: &'a str,
    /// As an authenticator is told it; see `authentication::Transport`.
    pub transport: Dict,
    pub action: Action,
    /// Of a subscription or registration perhaps a pattern.
    pub uri: &'a str,
    /// Those of the request, with its `match`.
    pub options: Dict,
}

/// What an authorizer has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub is_allowed: bool,
    /// Whether the caller or publisher is made known to the other side.
    pub discloses: bool,
    /// For how many milliseconds the same request of the session need not be asked about again;
    /// `None`: as long as the session lasts.
    pub ttl_ms: Option<u64>,
}

/// Why an answer is no decision: the request is refused as if it had failed, with
/// `wamp.error.authorization_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRuling {
    #[error("the answer is neither true or false nor a dict")]
    Form,
    #[error("the answer has no `allow`")]
    NoAllow,
    #[error("`{0}` in the answer has the wrong type or is out of range")]
    Member(&'static str),
    #[error("the answer has a member that nobody knows: it may have meant something else")]
    Unknown,
    #[error("the answer is no JSON document")]
    NoJson,
}

/// The body of an HTTP request that asks about a case, whose arguments these are. The members have
/// the names of the arguments.
pub fn case_to_json(args: &[Value]) -> Secret {
    let members = ARGUMENTS.iter().zip(args);
    let body = members.map(|(name, value)| ((*name).into(), value.clone())).collect();
    Secret::new(to_json(&Value::Dict(body)).to_string())
}

/// Whether an authorizer is the address of an endpoint, and not a procedure.
pub fn is_endpoint(authorizer: &str) -> bool {
    authorizer.contains("://")
}

/// An authorizer as a log may show it: what stands behind a question mark may be a secret.
pub fn shown_authorizer(authorizer: &str) -> &str {
    match authorizer.split_once('?') {
        Some((address, _)) if is_endpoint(authorizer) => address,
        _ => authorizer,
    }
}

impl Case<'_> {
    /// `(session_details, uri, action, options)`, as the arguments of a CALL. Sessions do not keep
    /// their `authextra`.
    pub fn into_args(self) -> [Value; 4] {
        let details = vec![
            ("session".into(), self.session.get().into()),
            ("realm".into(), self.realm.into()),
            ("authid".into(), self.authid.into()),
            ("authrole".into(), self.authrole.into()),
            ("authmethod".into(), self.authmethod.into()),
            ("authprovider".into(), self.authprovider.into()),
            ("authextra".into(), Value::Dict(Dict::new())),
            ("transport".into(), Value::Dict(self.transport)),
        ];
        let action = self.action.as_str().into();
        [Value::Dict(details), self.uri.into(), action, Value::Dict(self.options)]
    }
}

impl Ruling {
    /// What an answer means: true, false, or `{allow, disclose?, cache?, ttl?, validate?}`, with
    /// `ttl` in seconds. `cache` without `ttl` is for the whole session, and `ttl` counts only with
    /// `cache`. `validate` is for schemas, which the router does not have.
    ///
    /// # Errors
    /// [`BadRuling`] if it is anything else: a request is never allowed by guessing.
    pub fn read(answer: &Value) -> Result<Self, BadRuling> {
        let members = match answer {
            Value::Bool(is_allowed) => return Ok(Self::uncached(*is_allowed, false)),
            Value::Dict(members) => members,
            _ => return Err(BadRuling::Form),
        };
        let is_known = |name: &str| MEMBERS.contains(&name);
        if members.iter().any(|(name, _)| !is_known(name)) {
            return Err(BadRuling::Unknown);
        }
        let is_allowed = truth(members, "allow")?.ok_or(BadRuling::NoAllow)?;
        let discloses = truth(members, "disclose")?.unwrap_or_default();
        let is_cached = truth(members, "cache")?.unwrap_or_default();
        let ttl_ms = ttl(members)?;
        Ok(if is_cached {
            Self { is_allowed, discloses, ttl_ms }
        } else {
            Self::uncached(is_allowed, discloses)
        })
    }

    /// What a response means: with status 200 what its body says, 401 and 403 are a no, and all
    /// else is a failure.
    ///
    /// # Errors
    /// Why there is no decision, for the log.
    pub fn of_response(status: u16, body: &[u8]) -> Result<Self, Cow<'static, str>> {
        let why = match status {
            200 => match Self::read_json(body) {
                Ok(ruling) => return Ok(ruling),
                Err(bad) => format!("the endpoint gave no answer: {bad}"),
            },
            401 | 403 => return Ok(Self::uncached(false, false)),
            status => format!("the endpoint answered with status {status}"),
        };
        Err(why.into())
    }

    fn read_json(body: &[u8]) -> Result<Self, BadRuling> {
        let json = serde_json::from_slice(body).map_err(|_| BadRuling::NoJson)?;
        Self::read(&from_json(&json))
    }

    const fn uncached(is_allowed: bool, discloses: bool) -> Self {
        Self { is_allowed, discloses, ttl_ms: Some(0) }
    }
}

fn find<'a>(members: &'a Dict, name: &str) -> Option<&'a Value> {
    let found = members.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    found.filter(|value| **value != Value::Null)
}

fn truth(members: &Dict, name: &'static str) -> Result<Option<bool>, BadRuling> {
    match find(members, name) {
        None => Ok(None),
        Some(Value::Bool(truth)) => Ok(Some(*truth)),
        Some(_) => Err(BadRuling::Member(name)),
    }
}

fn ttl(members: &Dict) -> Result<Option<u64>, BadRuling> {
    let seconds = match find(members, "ttl") {
        None => return Ok(None),
        Some(Value::UInt(seconds)) => Some(*seconds),
        Some(Value::Int(seconds)) => u64::try_from(*seconds).ok(),
        Some(_) => None,
    };
    let seconds = seconds.filter(|seconds| *seconds <= LONGEST_TTL_SECONDS);
    seconds.map(|seconds| Some(seconds * 1_000)).ok_or(BadRuling::Member("ttl"))
}

/// As crossbar's authorizers call their arguments.
const ARGUMENTS: [&str; 4] = ["session_details", "uri", "action", "options"];

const MEMBERS: [&str; 5] = ["allow", "cache", "disclose", "ttl", "validate"];

/// A day: who wants it longer asks once a day.
const LONGEST_TTL_SECONDS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(members: &[(&'static str, Value)]) -> Value {
        Value::Dict(members.iter().map(|(key, value)| ((*key).into(), value.clone())).collect())
    }

    fn ruling(is_allowed: bool, discloses: bool, ttl_ms: Option<u64>) -> Result<Ruling, BadRuling> {
        Ok(Ruling { is_allowed, discloses, ttl_ms })
    }

    #[test]
    fn an_answer_is_a_truth_or_a_dict_of_known_members() {
        let (yes, no) = (Value::Bool(true), Value::Bool(false));
        let read = |members: &[_]| Ruling::read(&dict(members));
        assert_eq!(Ruling::read(&yes), ruling(true, false, Some(0)));
        assert_eq!(Ruling::read(&no), ruling(false, false, Some(0)));
        let allow = || ("allow", yes.clone());
        let cache = || ("cache", yes.clone());
        assert_eq!(read(&[allow()]), ruling(true, false, Some(0)));
        assert_eq!(read(&[allow(), cache()]), ruling(true, false, None));
        let ttl = |seconds: u64| ("ttl", Value::UInt(seconds));
        assert_eq!(read(&[allow(), cache(), ttl(5)]), ruling(true, false, Some(5_000)));
        assert_eq!(read(&[allow(), ttl(5)]), ruling(true, false, Some(0)), "not cached");
        let disclose = ("disclose", yes.clone());
        assert_eq!(read(&[("allow", no), disclose]), ruling(false, true, Some(0)));
        assert_eq!(read(&[allow(), ("validate", dict(&[]))]), ruling(true, false, Some(0)));
    }

    /// Nothing is allowed by guessing: a float, a text, a list, nothing, or what nobody knows.
    #[test]
    fn anything_else_is_a_failure() {
        let forms = [
            Value::Null,
            Value::Float(1.0),
            Value::UInt(1),
            "true".into(),
            Value::List(vec![Value::Bool(true)]),
        ];
        for form in &forms {
            assert_eq!(Ruling::read(form), Err(BadRuling::Form), "{form:?}");
            let expected = match form {
                Value::Null => BadRuling::NoAllow,
                _ => BadRuling::Member("allow"),
            };
            assert_eq!(Ruling::read(&dict(&[("allow", form.clone())])), Err(expected));
        }
        assert_eq!(Ruling::read(&dict(&[])), Err(BadRuling::NoAllow));
        let yes = ("allow", Value::Bool(true));
        let unknown = dict(&[yes.clone(), ("alow", Value::Bool(false))]);
        assert_eq!(Ruling::read(&unknown), Err(BadRuling::Unknown));
        for seconds in [Value::UInt(86_401), Value::Int(-1), Value::Float(1.0), "5".into()] {
            let answer = dict(&[yes.clone(), ("ttl", seconds)]);
            assert_eq!(Ruling::read(&answer), Err(BadRuling::Member("ttl")));
        }
    }

    #[test]
    fn a_case_has_four_values() {
        let case = Case {
            realm: "realm1",
            session: SessionId::new(7).expect("an id"),
            authid: "joe",
            authrole: "user",
            authmethod: "ticket",
            authprovider: "static",
            transport: vec![("type".into(), "websocket".into())],
            action: Action::Subscribe,
            uri: "com.",
            options: vec![("match".into(), "prefix".into())],
        };
        let [Value::Dict(details), uri, action, options] = case.into_args() else {
            panic!("a dict")
        };
        let names: Vec<_> = details.iter().map(|(name, _)| &**name).collect();
        assert_eq!(
            names,
            [
                "session",
                "realm",
                "authid",
                "authrole",
                "authmethod",
                "authprovider",
                "authextra",
                "transport"
            ]
        );
        assert_eq!((uri, action), ("com.".into(), "subscribe".into()));
        assert_eq!(options, dict(&[("match", "prefix".into())]));
    }
}

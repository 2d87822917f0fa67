//! The arguments of a meta procedure, by position and by name, with their types checked.

use super::super::requests::Refusal;
use crate::wamp::{
    Dict, MatchPolicy, RegistrationId, SessionId, SubscriptionId, UriRule, Value, WampError,
    is_valid_uri,
};

/// What a caller gave. `null` is as good as nothing; what nobody asks for is ignored.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Arguments<'a> {
    args: &'a [Value],
    kwargs: &'a Dict,
}

impl<'a> Arguments<'a> {
    pub(in crate::shard) const fn new(args: &'a [Value], kwargs: &'a Dict) -> Self {
        Self { args, kwargs }
    }

    pub(in crate::shard) fn at(self, position: usize) -> Option<&'a Value> {
        self.args.get(position).filter(|value| **value != Value::Null)
    }

    pub(in crate::shard) const fn has_names(self) -> bool {
        !self.kwargs.is_empty()
    }

    pub(in crate::shard) fn named(self, name: &str) -> Option<&'a Value> {
        let found = self.kwargs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value).filter(|value| **value != Value::Null)
    }

    pub(in crate::shard) fn session(self, position: usize) -> Result<SessionId, Refusal> {
        self.id(position).and_then(SessionId::new).ok_or(NO_SESSION_ID)
    }

    pub(in crate::shard) fn subscription(self, position: usize) -> Result<SubscriptionId, Refusal> {
        self.id(position).and_then(SubscriptionId::new).ok_or(NO_ID)
    }

    pub(in crate::shard) fn registration(self, position: usize) -> Result<RegistrationId, Refusal> {
        self.id(position).and_then(RegistrationId::new).ok_or(NO_ID)
    }

    pub(in crate::shard) fn text(
        self,
        position: usize,
        complaint: Refusal,
    ) -> Result<&'a str, Refusal> {
        match self.at(position) {
            Some(Value::Str(text)) => Ok(text),
            _ => Err(complaint),
        }
    }

    /// A list of strings; `None` if it is absent, which is not the same as empty (AP-SMA-04).
    pub(in crate::shard) fn names(self, position: usize) -> Result<Option<Vec<&'a str>>, Refusal> {
        let Some(value) = self.at(position) else { return Ok(None) };
        let Value::List(items) = value else { return Err(NO_ROLES) };
        let text = |item: &'a Value| match item {
            Value::Str(text) => Ok(text.as_str()),
            _ => Err(NO_ROLES),
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// `match` of the options at `position`, as in SUBSCRIBE and REGISTER.
    pub(in crate::shard) fn match_policy(self, position: usize) -> Result<MatchPolicy, Refusal> {
        let options = match self.at(position) {
            None => return Ok(MatchPolicy::Exact),
            Some(Value::Dict(options)) => options,
            Some(_) => return Err(NO_OPTIONS),
        };
        match options.iter().find(|(key, _)| key == "match").map(|(_, value)| value) {
            None | Some(Value::Null) => Ok(MatchPolicy::Exact),
            Some(Value::Str(policy)) => match policy.as_str() {
                "exact" => Ok(MatchPolicy::Exact),
                "prefix" => Ok(MatchPolicy::Prefix),
                "wildcard" => Ok(MatchPolicy::Wildcard),
                _ => Err(NO_OPTIONS),
            },
            Some(_) => Err(NO_OPTIONS),
        }
    }

    /// The keyword `reason`, a URI (AP-SMA-02).
    pub(in crate::shard) fn reason(self, limit_bytes: usize) -> Result<Option<&'a str>, Refusal> {
        match self.named("reason") {
            None => Ok(None),
            Some(Value::Str(uri))
                if is_valid_uri(uri, UriRule::Loose) && uri.len() <= limit_bytes =>
            {
                Ok(Some(uri))
            }
            Some(Value::Str(_)) => Err(BAD_REASON),
            Some(_) => Err(NO_REASON),
        }
    }

    /// The keyword `message`, a text for people.
    pub(in crate::shard) fn message(self) -> Result<Option<&'a str>, Refusal> {
        match self.named("message") {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(_) => Err(NO_MESSAGE),
        }
    }

    fn id(self, position: usize) -> Option<u64> {
        id_of(self.at(position)?)
    }
}

/// A whole number. JavaScript clients write those above 2^32 as floats.
pub(in crate::shard) fn id_of(value: &Value) -> Option<u64> {
    match *value {
        Value::UInt(id) => Some(id),
        Value::Int(id) => u64::try_from(id).ok(),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        Value::Float(id) if id.fract() == 0.0 && (1.0..=LARGEST_ID).contains(&id) => {
            Some(id as u64)
        }
        _ => None,
    }
}

/// 2^53.
const LARGEST_ID: f64 = 9_007_199_254_740_992.0;

const NO_SESSION_ID: Refusal =
    (WampError::InvalidArgument, "an argument is missing, or no id, that must be a session's id");
const NO_ID: Refusal =
    (WampError::InvalidArgument, "the first argument must be the id of what is asked for");
const NO_ROLES: Refusal =
    (WampError::InvalidArgument, "the filter must be a list of authroles, or absent");
const NO_OPTIONS: Refusal = (
    WampError::InvalidArgument,
    "the options must be a dict whose `match` is exact, prefix or wildcard",
);
const BAD_REASON: Refusal = (WampError::InvalidUri, "`reason` must be a valid URI");
const NO_REASON: Refusal = (WampError::InvalidArgument, "`reason` must be a URI");
const NO_MESSAGE: Refusal = (WampError::InvalidArgument, "`message` must be a text");

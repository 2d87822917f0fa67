//! `HELLO.Details` (BP-SES-02, BP-SES-03) and `AUTHENTICATE.Extra`: what a client says of itself.

use std::borrow::Cow;

use super::DecodeError;
use super::options::{Entry, each_option};
use super::scan::{Place, Room, Scan};
use super::token::{Reader, Sequence, Token};
use crate::wamp::{Dict, Feature, Features, Hello, Role, Roles, Value};

/// Reads the details; the realm is not among them and stays `None`.
pub(super) fn details<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Result<Hello<'a>, DecodeError> {
    let mut hello = Hello {
        realm: None,
        roles: Roles::default(),
        agent: None,
        authmethods: None,
        authid: None,
        authrole: None,
        authextra: Dict::new(),
    };
    each_option(scan, dict, place, |key, value| {
        match key {
            "roles" => roles(value, &mut hello.roles)?,
            "agent" => hello.agent = value.text()?,
            "authmethods" => hello.authmethods = value.strings()?,
            "authid" => hello.authid = value.string()?,
            "authrole" => hello.authrole = value.string()?,
            "authextra" => {
                if let Some(dict) = inner_dict(&value)? {
                    hello.authextra = unique_dict(value.scan, dict, value.place)?;
                }
            }
            _ => value.skip()?,
        }
        Ok(())
    })?;
    if hello.roles.is_empty() {
        let place = Place::within("roles", &place);
        return Err(place.mismatch("a dict with a client role", "none"));
    }
    Ok(hello)
}

/// A dict whose values are kept, and whose keys are unique on every level (BP-TY-02). It comes
/// before authentication, so what it becomes is bounded, by [`EXTRA_BYTES`].
pub(super) fn unique_dict<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Result<Dict, DecodeError> {
    let entries = scan.dict(dict, &mut Room::new(place, EXTRA_BYTES))?;
    check_dict(&entries, place)?;
    Ok(entries)
}

fn check_dict(dict: &Dict, place: Place<'_>) -> Result<(), DecodeError> {
    let mut keys: Vec<&Cow<'_, str>> = dict.iter().map(|(key, _)| key).collect();
    place.check_unique(&mut keys)?;
    dict.iter().try_for_each(|(_, value)| check_value(value, place))
}

fn check_value(value: &Value, place: Place<'_>) -> Result<(), DecodeError> {
    match value {
        Value::Dict(dict) => check_dict(dict, place),
        Value::List(list) => list.iter().try_for_each(|value| check_value(value, place)),
        _ => Ok(()),
    }
}

/// The dict that the value must be; `None` for null.
fn inner_dict<'a, R: Reader<'a>>(
    value: &Entry<'_, 'a, R>,
) -> Result<Option<Sequence>, DecodeError> {
    match value.head {
        Token::Null => Ok(None),
        Token::Dict(dict) => Ok(Some(dict)),
        _ => value.mismatch("a dict"),
    }
}

fn roles<'a, R: Reader<'a>>(value: Entry<'_, 'a, R>, roles: &mut Roles) -> Result<(), DecodeError> {
    let Some(dict) = inner_dict(&value)? else {
        return Ok(());
    };
    each_option(value.scan, dict, value.place, |key, value| {
        let Some(role) = Role::ALL.into_iter().find(|role| role.as_str() == key) else {
            return value.skip();
        };
        let Some(dict) = inner_dict(&value)? else {
            return Ok(());
        };
        let mut announced = Features::default();
        each_option(value.scan, dict, value.place, |key, value| match key {
            "features" => features(value, &mut announced),
            _ => value.skip(),
        })?;
        roles.announce(role, announced);
        Ok(())
    })
}

fn features<'a, R: Reader<'a>>(
    value: Entry<'_, 'a, R>,
    announced: &mut Features,
) -> Result<(), DecodeError> {
    let Some(dict) = inner_dict(&value)? else {
        return Ok(());
    };
    each_option(value.scan, dict, value.place, |key, value| {
        let Some(feature) = feature(key) else {
            return value.skip();
        };
        let mut is_on = false;
        value.bool(&mut is_on)?;
        if is_on {
            *announced = announced.with(feature);
        }
        Ok(())
    })
}

/// Memory that the values of `authextra` may take, in bytes: a public key, a certificate chain and
/// what an application adds take much less.
const EXTRA_BYTES: usize = 16 * 1024;

fn feature(name: &str) -> Option<Feature> {
    Some(match name {
        "call_canceling" | "call_cancelling" => Feature::CallCanceling,
        "call_reroute" => Feature::CallReroute,
        "call_timeout" => Feature::CallTimeout,
        "payload_passthru_mode" => Feature::PayloadPassthruMode,
        "progressive_call_invocations" => Feature::ProgressiveCallInvocations,
        "progressive_call_results" => Feature::ProgressiveCallResults,
        "registration_revocation" => Feature::RegistrationRevocation,
        "subscription_revocation" => Feature::SubscriptionRevocation,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::read_json;
    use super::*;
    use crate::wamp::ClientMessage;

    fn hello(details: &str) -> Result<Box<Hello<'static>>, String> {
        match read_json(&format!(r#"[1,"realm1",{details}]"#)) {
            Ok(ClientMessage::Hello(hello)) => {
                let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
                Ok(Box::new(Hello {
                    realm: hello.realm.map(own),
                    agent: hello.agent.map(own),
                    ..*hello
                }))
            }
            Ok(other) => panic!("{other:?} is no HELLO"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn roles_and_features_are_read() {
        let hello = hello(
            r#"{"roles":{"publisher":{},"callee":{"features":{"call_cancelling":true,
                "progressive_call_results":false,"sharded_registration":"maybe"}},"broker":7},
                "agent":"a","authmethods":["ticket","anonymous"],"authextra":{"a":[1]}}"#,
        )
        .expect("it is valid");
        assert_eq!(hello.roles.get(Role::Publisher), Some(Features::default()));
        assert!(hello.roles.has(Role::Callee, Feature::CallCanceling));
        assert!(!hello.roles.has(Role::Callee, Feature::ProgressiveCallResults));
        assert_eq!(hello.roles.get(Role::Caller), None);
        assert_eq!(hello.authmethods.as_deref(), Some(&["ticket".into(), "anonymous".into()][..]));
        assert_eq!(hello.authextra, [("a".into(), Value::List(vec![Value::UInt(1)]))]);
        assert_eq!(hello.agent.as_deref(), Some("a"));
    }

    #[test]
    fn a_client_role_is_required() {
        for details in ["{}", r#"{"roles":{}}"#, r#"{"roles":null}"#, r#"{"roles":{"broker":{}}}"#]
        {
            let error = hello(details).expect_err(details);
            assert_eq!(error, "HELLO.Details.roles must be a dict with a client role, got none");
        }
    }

    #[test]
    fn wrong_types_are_named() {
        for (details, message) in [
            (r#"{"roles":[]}"#, "HELLO.Details.roles must be a dict, got a list"),
            (
                r#"{"roles":{"caller":1}}"#,
                "HELLO.Details.roles.caller must be a dict, got an integer",
            ),
            (
                r#"{"roles":{"caller":{"features":{"call_timeout":1}}}}"#,
                "HELLO.Details.roles.caller.features.call_timeout must be a bool, got an integer",
            ),
            (
                r#"{"authmethods":"ticket"}"#,
                "HELLO.Details.authmethods must be a list of strings, got a string",
            ),
            (
                r#"{"authextra":{"a":[{"b":1,"b":2}]}}"#,
                "HELLO.Details.authextra has the key \"b\" twice",
            ),
        ] {
            assert_eq!(hello(details).expect_err(details), message);
        }
    }

    #[test]
    fn the_realm_may_be_null() {
        let decoded = read_json(r#"[1,null,{"roles":{"caller":{}}}]"#);
        assert!(matches!(decoded, Ok(ClientMessage::Hello(hello)) if hello.realm.is_none()));
    }

    /// What comes before authentication takes no more memory than a client needs, whatever the
    /// shape of its values.
    #[test]
    fn authextra_is_bounded_in_memory() {
        let extra = |value: &str| {
            let details = format!(r#"{{"roles":{{"caller":{{}}}},"authextra":{{"a":{value}}}}}"#);
            hello(&details).map(drop)
        };
        let too_large = "HELLO.Details.authextra takes more than 16384 bytes of memory".to_owned();
        assert_eq!(extra(&format!("\"{}\"", "x".repeat(16_000))), Ok(()));
        assert_eq!(extra(&format!("[{}0]", "0,".repeat(350))), Ok(()));
        for value in [
            format!("\"{}\"", "x".repeat(16_400)),
            format!("\"\\n{}\"", "x".repeat(16_400)),
            format!("\"\\u0000{}\"", "AAAA".repeat(4_100)),
            format!("[{}0]", "null,".repeat(520)),
            format!("[{}[]]", "[],".repeat(520)),
            format!("{{{}\"b\":0}}", "\"\":0,".repeat(300)),
            format!("{{\"{}\":0}}", "k".repeat(16_400)),
        ] {
            assert_eq!(extra(&value), Err(too_large.clone()), "{}", &value[..20]);
        }
        let text = format!("[5,\"\",{{\"a\":[{}0]}}]", "0,".repeat(1_000_000));
        let error = read_json(&text).expect_err("it is too large").to_string();
        assert_eq!(error, "AUTHENTICATE.Extra takes more than 16384 bytes of memory");
    }
}

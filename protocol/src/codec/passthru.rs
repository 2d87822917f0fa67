//! Options that several messages share: payload passthru (AP-PPT-01, AP-PPT-05), and keys outside
//! of the specification that the test vectors check.

use std::borrow::Cow;

use super::DecodeError;
use super::options::{Entry, each_option, put};
use super::token::{Reader, Token};
use crate::wamp::{MAX_ID, Passthru, quote};

/// Reads an option of a message with payload.
pub(super) fn passthru_option<'a, R: Reader<'a>>(
    key: &str,
    value: Entry<'_, 'a, R>,
    target: &mut Option<Box<Passthru>>,
) -> Result<(), DecodeError> {
    match key {
        "ppt_scheme" => put(target, short(value)?, |p| &mut p.ppt_scheme),
        "ppt_serializer" => put(target, short(value)?, |p| &mut p.ppt_serializer),
        "ppt_cipher" => put(target, short(value)?, |p| &mut p.ppt_cipher),
        "ppt_keyid" => put(target, short(value)?, |p| &mut p.ppt_keyid),
        "enc_algo" => put(target, enc_algo(value)?, |p| &mut p.enc_algo),
        "enc_serializer" => put(target, short(value)?, |p| &mut p.enc_serializer),
        "enc_key" => put(target, short(value)?, |p| &mut p.enc_key),
        _ => common_option(key, value)?,
    }
    Ok(())
}

/// Reads an option that any message may have; all of them are checked and then ignored.
pub(super) fn common_option<'a, R: Reader<'a>>(
    key: &str,
    value: Entry<'_, 'a, R>,
) -> Result<(), DecodeError> {
    match key {
        "transaction_hash" => value.text().map(drop),
        "x_acknowledged_delivery" => value.bool(&mut false),
        "forward_for" => forward_for(value),
        _ => value.skip(),
    }
}

/// A text that is kept and forwarded with the payload, and so must not be a payload of its own.
fn short<'a, R: Reader<'a>>(value: Entry<'_, 'a, R>) -> Result<Option<String>, DecodeError> {
    let place = value.place;
    match value.exact_text()? {
        Some(text) if text.len() > PASSTHRU_BYTES => {
            let got = format!("one of {}", text.len());
            Err(place.mismatch("a string of at most 4096 bytes", got))
        }
        text => Ok(text.map(Cow::into_owned)),
    }
}

fn enc_algo<'a, R: Reader<'a>>(value: Entry<'_, 'a, R>) -> Result<Option<String>, DecodeError> {
    let place = value.place;
    let Some(name) = short(value)? else {
        return Ok(None);
    };
    match name.as_str() {
        "cryptobox" | "mqtt" | "xbr" => Ok(Some(name)),
        custom if custom.starts_with("x_") => Ok(Some(name)),
        other => Err(place.mismatch("\"cryptobox\", \"mqtt\", \"xbr\" or \"x_...\"", quote(other))),
    }
}

/// The routers that a message came through: a list of dicts that name a session each.
fn forward_for<'a, R: Reader<'a>>(value: Entry<'_, 'a, R>) -> Result<(), DecodeError> {
    let mut list = match value.head {
        Token::Null => return Ok(()),
        Token::List(list) => list,
        _ => return value.mismatch("a list of dicts"),
    };
    let Entry { place, scan, .. } = value;
    scan.enter()?;
    while scan.advance(&mut list)? {
        let item = match scan.token()? {
            Token::Dict(item) => item,
            other => {
                let got = format!("one with {}", other.describe());
                return Err(place.mismatch("a list of dicts", got));
            }
        };
        each_option(scan, item, place, |key, value| match key {
            "session" => {
                let is_id = |id| (1..=MAX_ID).contains(&id).then_some(());
                value.integer("an integer from 1 to 2^53", is_id).map(drop)
            }
            "authid" | "authrole" => value.text().map(drop),
            _ => value.skip(),
        })?;
    }
    Ok(())
}

/// Bytes of one `ppt_` or `enc_` value: more than the longest public key in use, as base64.
const PASSTHRU_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::read_json;
    use crate::wamp::ClientMessage;

    /// AP-PPT-01, AP-PPT-05: what is kept beside a payload is short, in every message that has one.
    #[test]
    fn passthru_values_have_a_bound() {
        for key in ["ppt_scheme", "ppt_serializer", "ppt_cipher", "ppt_keyid", "enc_key"] {
            let text = |length: usize| {
                let value = "x".repeat(length);
                format!(r#"[16,1,{{"{key}":"{value}"}},"a"]"#)
            };
            assert!(read_json(&text(4096)).is_ok(), "{key}");
            let error = read_json(&text(4097)).expect_err("it is too long").to_string();
            let place = format!("PUBLISH.Options.{key}");
            assert_eq!(
                error,
                format!("{place} must be a string of at most 4096 bytes, got one of 4097")
            );
        }
        let long = "x".repeat(4097);
        for (head, tail) in [("[48,1,", r#","a"]"#), ("[70,1,", "]"), ("[8,68,1,", r#","a"]"#)] {
            let text = format!(r#"{head}{{"enc_algo":"x_{long}"}}{tail}"#);
            assert!(read_json(&text).is_err(), "{head}");
        }
    }

    #[test]
    fn passthru_values_are_never_changed() {
        let error = read_json(r#"[16,1,{"ppt_keyid":"\ud834"},"a"]"#).expect_err("it is no text");
        assert_eq!(
            error.to_string(),
            "PUBLISH.Options.ppt_keyid must be a string, got one with a lone surrogate"
        );
    }

    #[test]
    fn passthru_values_are_kept() {
        let text = r#"[16,1,{"ppt_scheme":"x_a","ppt_keyid":"\u00e4"},"a"]"#;
        let Ok(ClientMessage::Publish(publish)) = read_json(text) else { panic!("it is valid") };
        let passthru = publish.options.passthru.expect("there are keys");
        assert_eq!(passthru.ppt_keyid.as_deref(), Some("ä"));
    }
}

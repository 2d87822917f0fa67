//! Options that several messages share: payload passthru (AP-PPT-01, AP-PPT-05), and keys outside
//! of the specification that the test vectors check.

use super::DecodeError;
use super::error::quote;
use super::options::{Entry, each_option, put};
use super::token::{Reader, Token};
use crate::wamp::{MAX_ID, Passthru};

/// Reads an option of a message with payload.
pub(super) fn passthru_option<'a, R: Reader<'a>>(
    key: &str,
    value: Entry<'_, 'a, R>,
    target: &mut Option<Box<Passthru>>,
) -> Result<(), DecodeError> {
    match key {
        "ppt_scheme" => put(target, value.string()?, |p| &mut p.ppt_scheme),
        "ppt_serializer" => put(target, value.string()?, |p| &mut p.ppt_serializer),
        "ppt_cipher" => put(target, value.string()?, |p| &mut p.ppt_cipher),
        "ppt_keyid" => put(target, value.string()?, |p| &mut p.ppt_keyid),
        "enc_algo" => put(target, enc_algo(value)?, |p| &mut p.enc_algo),
        "enc_serializer" => put(target, value.string()?, |p| &mut p.enc_serializer),
        "enc_key" => put(target, value.string()?, |p| &mut p.enc_key),
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

fn enc_algo<'a, R: Reader<'a>>(value: Entry<'_, 'a, R>) -> Result<Option<String>, DecodeError> {
    let place = value.place;
    let Some(name) = value.string()? else {
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

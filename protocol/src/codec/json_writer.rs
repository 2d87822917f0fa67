//! Writes JSON without spaces, binary data as U+0000 and base64 (TR-JSON-02, TR-JSON-03).

use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::encode::Writer;
use super::json_text::{is_plain_text, put_decimal};
use super::out::{Head, Out};
use super::{Codec, EncodeError};

pub(super) struct JsonWriter;

impl Writer for JsonWriter {
    const CODEC: Codec = Codec::Json;
    const IS_COUNTED: bool = false;

    /// Written from the back, as digits are found, so that it goes out in one piece.
    fn start(out: &mut Out<'_>, _length: usize, code: u16, ids: &[u64]) -> Result<(), EncodeError> {
        debug_assert!(ids.len() <= 2);
        let mut text = [0; START_BYTES];
        let mut start = text.len();
        for id in ids.iter().rev() {
            start = put_decimal(&mut text, start, *id) - 1;
            text[start] = b',';
        }
        start = put_decimal(&mut text, start, code.into()) - 1;
        text[start] = b'[';
        out.extend(&text[start..]);
        Ok(())
    }

    fn list_head(_length: usize) -> Result<Head, EncodeError> {
        Ok(Head::of(b'['))
    }

    fn dict_head(_length: usize) -> Result<Head, EncodeError> {
        Ok(Head::of(b'{'))
    }

    fn separate(out: &mut Out<'_>) {
        out.push(b',');
    }

    fn end_list(out: &mut Out<'_>) {
        out.push(b']');
    }

    fn end_dict(out: &mut Out<'_>) {
        out.push(b'}');
    }

    /// A key is always text, so it may begin with NUL.
    fn key(out: &mut Out<'_>, key: &str) -> Result<(), EncodeError> {
        text(out, key)?;
        out.push(b':');
        Ok(())
    }

    fn null(out: &mut Out<'_>) {
        out.extend(b"null");
    }

    fn bool(out: &mut Out<'_>, truth: bool) {
        out.extend(if truth { b"true" } else { b"false" });
    }

    fn int(out: &mut Out<'_>, number: i64) {
        leaf(out, &number).expect("JSON has every integer");
    }

    fn uint(out: &mut Out<'_>, number: u64) {
        let mut text = [0; UINT_BYTES];
        let start = put_decimal(&mut text, UINT_BYTES, number);
        out.extend(&text[start..]);
    }

    fn float(out: &mut Out<'_>, number: f64) -> Result<(), EncodeError> {
        if !number.is_finite() {
            return Err(inexpressible("NaN or an infinity"));
        }
        leaf(out, &number)
    }

    /// Text that begins with NUL would be read as binary data.
    fn str(out: &mut Out<'_>, text: &str) -> Result<(), EncodeError> {
        if text.starts_with('\0') {
            return Err(inexpressible("a string that begins with NUL"));
        }
        self::text(out, text)
    }

    fn bytes(out: &mut Out<'_>, bytes: &[u8]) -> Result<(), EncodeError> {
        let base64 = Base64Display::new(bytes, &STANDARD);
        match write!(out, "\"\\u0000{base64}\"") {
            Err(_) if !out.is_full() => Err(inexpressible("binary data")),
            _ => Ok(()),
        }
    }
}

fn text(out: &mut Out<'_>, text: &str) -> Result<(), EncodeError> {
    if !is_plain_text(text.as_bytes()) {
        return leaf(out, text);
    }
    out.push(b'"');
    out.extend(text.as_bytes());
    out.push(b'"');
    Ok(())
}

fn leaf<T: serde::Serialize + ?Sized>(out: &mut Out<'_>, value: &T) -> Result<(), EncodeError> {
    match serde_json::to_writer(&mut *out, value) {
        Err(_) if !out.is_full() => Err(inexpressible("a scalar")),
        _ => Ok(()),
    }
}

const fn inexpressible(what: &'static str) -> EncodeError {
    EncodeError::Inexpressible { what, codec: Codec::Json }
}

/// The longest number of 64 bits.
const UINT_BYTES: usize = 20;

/// The longest start of a message: a bracket, a type and two ids with a comma each.
const START_BYTES: usize = 1 + 5 + 2 * (1 + UINT_BYTES);

//! Writes JSON without spaces, binary data as U+0000 and base64 (TR-JSON-02, TR-JSON-03).

use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::encode::Writer;
use super::{Codec, EncodeError};

pub(super) struct JsonWriter;

impl Writer for JsonWriter {
    const CODEC: Codec = Codec::Json;

    fn begin_list(out: &mut Vec<u8>, _length: usize) -> Result<(), EncodeError> {
        out.push(b'[');
        Ok(())
    }

    fn begin_dict(out: &mut Vec<u8>, _length: usize) -> Result<(), EncodeError> {
        out.push(b'{');
        Ok(())
    }

    fn separate(out: &mut Vec<u8>) {
        out.push(b',');
    }

    fn end_list(out: &mut Vec<u8>) {
        out.push(b']');
    }

    fn end_dict(out: &mut Vec<u8>) {
        out.push(b'}');
    }

    /// A key is always text, so it may begin with NUL.
    fn key(out: &mut Vec<u8>, key: &str) -> Result<(), EncodeError> {
        leaf(out, key)?;
        out.push(b':');
        Ok(())
    }

    fn null(out: &mut Vec<u8>) {
        out.extend_from_slice(b"null");
    }

    fn bool(out: &mut Vec<u8>, truth: bool) {
        out.extend_from_slice(if truth { b"true" } else { b"false" });
    }

    fn int(out: &mut Vec<u8>, number: i64) {
        leaf(out, &number).expect("JSON has every integer");
    }

    fn uint(out: &mut Vec<u8>, number: u64) {
        leaf(out, &number).expect("JSON has every integer");
    }

    fn float(out: &mut Vec<u8>, number: f64) -> Result<(), EncodeError> {
        if !number.is_finite() {
            return Err(inexpressible("NaN or an infinity"));
        }
        leaf(out, &number)
    }

    /// Text that begins with NUL would be read as binary data.
    fn str(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
        if text.starts_with('\0') {
            return Err(inexpressible("a string that begins with NUL"));
        }
        leaf(out, text)
    }

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
        let base64 = Base64Display::new(bytes, &STANDARD);
        write!(out, "\"\\u0000{base64}\"").expect("a Vec takes every write");
        Ok(())
    }
}

fn leaf<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    serde_json::to_writer(out, value).map_err(|_| inexpressible("a scalar"))
}

const fn inexpressible(what: &'static str) -> EncodeError {
    EncodeError::Inexpressible { what, codec: Codec::Json }
}

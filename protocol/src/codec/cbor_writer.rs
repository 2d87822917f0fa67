//! Writes CBOR with definite lengths, the shortest heads, and floats as doubles.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::encode::Error;

use super::encode::Writer;
use super::out::{Head, Out};
use super::{Codec, EncodeError};

pub(super) struct CborWriter;

impl Writer for CborWriter {
    const CODEC: Codec = Codec::Cbor;
    const IS_COUNTED: bool = true;

    fn list_head(length: usize) -> Result<Head, EncodeError> {
        let mut head = Head::new();
        done(Encoder::new(&mut head).array(length as u64));
        Ok(head)
    }

    fn dict_head(length: usize) -> Result<Head, EncodeError> {
        let mut head = Head::new();
        done(Encoder::new(&mut head).map(length as u64));
        Ok(head)
    }

    fn separate(_out: &mut Out<'_>) {}

    fn end_list(_out: &mut Out<'_>) {}

    fn end_dict(_out: &mut Out<'_>) {}

    fn key(out: &mut Out<'_>, key: &str) -> Result<(), EncodeError> {
        Self::str(out, key)
    }

    fn null(out: &mut Out<'_>) {
        out.push(NULL);
    }

    fn bool(out: &mut Out<'_>, truth: bool) {
        out.push(if truth { TRUE } else { FALSE });
    }

    fn int(out: &mut Out<'_>, number: i64) {
        let mut head = Head::new();
        done(Encoder::new(&mut head).i64(number));
        out.extend(head.as_slice());
    }

    #[inline]
    fn uint(out: &mut Out<'_>, number: u64) {
        if number <= SHORT_MAX {
            return out.push(number as u8);
        }
        let mut head = Head::new();
        done(Encoder::new(&mut head).u64(number));
        out.extend(head.as_slice());
    }

    fn float(out: &mut Out<'_>, number: f64) -> Result<(), EncodeError> {
        let mut head = Head::new();
        done(Encoder::new(&mut head).f64(number));
        out.extend(head.as_slice());
        Ok(())
    }

    fn str(out: &mut Out<'_>, text: &str) -> Result<(), EncodeError> {
        let mut head = Head::new();
        done(Encoder::new(&mut head).str_len(text.len() as u64));
        out.extend(head.as_slice());
        out.extend(text.as_bytes());
        Ok(())
    }

    fn bytes(out: &mut Out<'_>, bytes: &[u8]) -> Result<(), EncodeError> {
        let mut head = Head::new();
        done(Encoder::new(&mut head).bytes_len(bytes.len() as u64));
        out.extend(head.as_slice());
        out.extend(bytes);
        Ok(())
    }
}

fn done(written: Result<&mut Encoder<&mut Head>, Error<Infallible>>) {
    written.expect("a head takes the longest");
}

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
/// The largest integer that is its own byte.
const SHORT_MAX: u64 = 23;

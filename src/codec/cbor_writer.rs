//! Writes CBOR with definite lengths, the shortest heads, and floats as doubles.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::encode::Error;

use super::encode::Writer;
use super::{Codec, EncodeError};

pub(super) struct CborWriter;

impl Writer for CborWriter {
    const CODEC: Codec = Codec::Cbor;

    fn begin_list(out: &mut Vec<u8>, length: usize) -> Result<(), EncodeError> {
        done(Encoder::new(out).array(length as u64));
        Ok(())
    }

    fn begin_dict(out: &mut Vec<u8>, length: usize) -> Result<(), EncodeError> {
        done(Encoder::new(out).map(length as u64));
        Ok(())
    }

    fn separate(_out: &mut Vec<u8>) {}

    fn end_list(_out: &mut Vec<u8>) {}

    fn end_dict(_out: &mut Vec<u8>) {}

    fn key(out: &mut Vec<u8>, key: &str) -> Result<(), EncodeError> {
        Self::str(out, key)
    }

    fn null(out: &mut Vec<u8>) {
        done(Encoder::new(out).null());
    }

    fn bool(out: &mut Vec<u8>, truth: bool) {
        done(Encoder::new(out).bool(truth));
    }

    fn int(out: &mut Vec<u8>, number: i64) {
        done(Encoder::new(out).i64(number));
    }

    fn uint(out: &mut Vec<u8>, number: u64) {
        done(Encoder::new(out).u64(number));
    }

    fn float(out: &mut Vec<u8>, number: f64) -> Result<(), EncodeError> {
        done(Encoder::new(out).f64(number));
        Ok(())
    }

    fn str(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
        done(Encoder::new(out).str(text));
        Ok(())
    }

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
        done(Encoder::new(out).bytes(bytes));
        Ok(())
    }
}

fn done(written: Result<&mut Encoder<&mut Vec<u8>>, Error<Infallible>>) {
    written.expect("a Vec takes every write");
}

//! Writes MessagePack in its shortest formats, floats as doubles.

use rmp::encode as rmp;

use super::encode::Writer;
use super::{Codec, EncodeError};

pub(super) struct MsgPackWriter;

impl Writer for MsgPackWriter {
    const CODEC: Codec = Codec::MsgPack;

    fn begin_list(out: &mut Vec<u8>, length: usize) -> Result<(), EncodeError> {
        rmp::write_array_len(out, checked(length)?).expect(TAKES_ALL);
        Ok(())
    }

    fn begin_dict(out: &mut Vec<u8>, length: usize) -> Result<(), EncodeError> {
        rmp::write_map_len(out, checked(length)?).expect(TAKES_ALL);
        Ok(())
    }

    fn separate(_out: &mut Vec<u8>) {}

    fn end_list(_out: &mut Vec<u8>) {}

    fn end_dict(_out: &mut Vec<u8>) {}

    fn key(out: &mut Vec<u8>, key: &str) -> Result<(), EncodeError> {
        Self::str(out, key)
    }

    fn null(out: &mut Vec<u8>) {
        rmp::write_nil(out).expect(TAKES_ALL);
    }

    fn bool(out: &mut Vec<u8>, truth: bool) {
        rmp::write_bool(out, truth).expect(TAKES_ALL);
    }

    fn int(out: &mut Vec<u8>, number: i64) {
        rmp::write_sint(out, number).expect(TAKES_ALL);
    }

    fn uint(out: &mut Vec<u8>, number: u64) {
        rmp::write_uint(out, number).expect(TAKES_ALL);
    }

    fn float(out: &mut Vec<u8>, number: f64) -> Result<(), EncodeError> {
        rmp::write_f64(out, number).expect(TAKES_ALL);
        Ok(())
    }

    fn str(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
        rmp::write_str_len(out, checked(text.len())?).expect(TAKES_ALL);
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
        rmp::write_bin_len(out, checked(bytes.len())?).expect(TAKES_ALL);
        out.extend_from_slice(bytes);
        Ok(())
    }
}

fn checked(length: usize) -> Result<u32, EncodeError> {
    let what = "a value of 4 GiB or more";
    let codec = Codec::MsgPack;
    u32::try_from(length).map_err(|_| EncodeError::Inexpressible { what, codec })
}

const TAKES_ALL: &str = "a Vec takes every write";

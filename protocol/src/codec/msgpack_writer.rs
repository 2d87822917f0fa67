//! Writes MessagePack in its shortest formats, floats as doubles.

use rmp::encode as rmp;

use super::encode::Writer;
use super::out::{Head, Out};
use super::{Codec, EncodeError};

pub(super) struct MsgPackWriter;

impl Writer for MsgPackWriter {
    const CODEC: Codec = Codec::MsgPack;
    const IS_COUNTED: bool = true;

    fn list_head(length: usize) -> Result<Head, EncodeError> {
        let mut head = Head::new();
        rmp::write_array_len(&mut head, checked(length)?).expect(TAKES_ALL);
        Ok(head)
    }

    fn dict_head(length: usize) -> Result<Head, EncodeError> {
        let mut head = Head::new();
        rmp::write_map_len(&mut head, checked(length)?).expect(TAKES_ALL);
        Ok(head)
    }

    fn separate(_out: &mut Out<'_>) {}

    fn end_list(_out: &mut Out<'_>) {}

    fn end_dict(_out: &mut Out<'_>) {}

    fn key(out: &mut Out<'_>, key: &str) -> Result<(), EncodeError> {
        Self::str(out, key)
    }

    fn null(out: &mut Out<'_>) {
        out.push(NIL);
    }

    fn bool(out: &mut Out<'_>, truth: bool) {
        out.push(if truth { TRUE } else { FALSE });
    }

    fn int(out: &mut Out<'_>, number: i64) {
        let mut head = Head::new();
        rmp::write_sint(&mut head, number).expect(TAKES_ALL);
        out.extend(head.as_slice());
    }

    #[inline]
    fn uint(out: &mut Out<'_>, number: u64) {
        if number <= FIX_POS_MAX {
            return out.push(number as u8);
        }
        let mut head = Head::new();
        rmp::write_uint(&mut head, number).expect(TAKES_ALL);
        out.extend(head.as_slice());
    }

    fn float(out: &mut Out<'_>, number: f64) -> Result<(), EncodeError> {
        let mut head = Head::new();
        rmp::write_f64(&mut head, number).expect(TAKES_ALL);
        out.extend(head.as_slice());
        Ok(())
    }

    fn str(out: &mut Out<'_>, text: &str) -> Result<(), EncodeError> {
        let mut head = Head::new();
        rmp::write_str_len(&mut head, checked(text.len())?).expect(TAKES_ALL);
        out.extend(head.as_slice());
        out.extend(text.as_bytes());
        Ok(())
    }

    fn bytes(out: &mut Out<'_>, bytes: &[u8]) -> Result<(), EncodeError> {
        let mut head = Head::new();
        rmp::write_bin_len(&mut head, checked(bytes.len())?).expect(TAKES_ALL);
        out.extend(head.as_slice());
        out.extend(bytes);
        Ok(())
    }
}

fn checked(length: usize) -> Result<u32, EncodeError> {
    let what = "a value of 4 GiB or more";
    let codec = Codec::MsgPack;
    u32::try_from(length).map_err(|_| EncodeError::Inexpressible { what, codec })
}

const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;
/// The largest integer that is its own byte.
const FIX_POS_MAX: u64 = 0x7f;
const TAKES_ALL: &str = "a head takes the longest";

//! The beginning of a payload as JSON, for people who look at a message: never more than they have
//! asked for, whatever the payload's serializer and length.

use super::encode::{args_element, kwargs_element};
use super::json_writer::JsonWriter;
use super::out::Out;
use super::{Codec, EncodeError};
use crate::wamp::Payload;

/// The beginning of a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// `Arguments` as JSON, and `ArgumentsKw` behind a space if they are there. Not escaped for a
    /// terminal.
    pub text: String,
    /// There is more, or what follows cannot be said in JSON.
    pub is_cut: bool,
}

/// The first bytes of a payload, `limit_bytes` at most, cut between characters. Of another
/// serializer than JSON, one value that takes more than [`PIECE_BYTES`] ends it before that value.
pub fn preview(payload: Payload<'_>, limit_bytes: usize) -> Preview {
    let mut preview = Preview::default();
    match payload {
        Payload::Raw { codec: Codec::Json, args, kwargs } => {
            preview.append_json(args, limit_bytes);
            if let Some(kwargs) = kwargs {
                preview.append_json(b" ", limit_bytes);
                preview.append_json(kwargs, limit_bytes);
            }
        }
        _ => {
            let (has_args, has_kwargs) = match payload {
                Payload::Raw { kwargs, .. } => (true, kwargs.is_some()),
                Payload::Values { args, kwargs } => {
                    (!args.is_empty() || !kwargs.is_empty(), !kwargs.is_empty())
                }
                Payload::Empty => (false, false),
            };
            if has_args {
                preview.append(limit_bytes, |out| args_element::<JsonWriter>(out, payload));
            }
            if has_kwargs {
                preview.append_json(b" ", limit_bytes);
                preview.append(limit_bytes, |out| kwargs_element::<JsonWriter>(out, payload));
            }
        }
    }
    preview
}

impl Preview {
    /// Appends bytes of JSON, which were checked to be UTF-8 when they came.
    fn append_json(&mut self, bytes: &[u8], limit_bytes: usize) {
        let room = limit_bytes.saturating_sub(self.text.len());
        let part = &bytes[..bytes.len().min(room)];
        let part = match str::from_utf8(part) {
            Ok(part) => part,
            Err(cut) => str::from_utf8(&part[..cut.valid_up_to()]).unwrap_or_default(),
        };
        if !self.is_cut {
            self.text.push_str(part);
            self.is_cut = part.len() < bytes.len();
        }
    }

    /// Appends what `write` makes, as far as there is room.
    fn append(
        &mut self,
        limit_bytes: usize,
        write: impl FnOnce(&mut Out<'_>) -> Result<(), EncodeError>,
    ) {
        let mut bytes = Vec::new();
        let mut out = Out::new(&mut bytes, limit_bytes.max(PIECE_BYTES));
        let written = write(&mut out);
        let is_whole = written.is_ok() && !out.is_full();
        self.append_json(&bytes, limit_bytes);
        self.is_cut |= !is_whole;
    }
}

/// Bytes of JSON that are made of a payload at most, so that the beginning of a long text is there.
pub const PIECE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::super::transcode;
    use super::*;
    use crate::wamp::{Dict, Value};

    fn shown(payload: Payload<'_>, limit_bytes: usize) -> (String, bool) {
        let Preview { text, is_cut } = preview(payload, limit_bytes);
        assert!(text.len() <= limit_bytes);
        (text, is_cut)
    }

    /// The same in every serializer, and of values.
    #[test]
    fn a_payload_is_shown_as_json_up_to_its_limit() {
        let args = [Value::from("zwölf"), Value::UInt(7), Value::List(vec![Value::Null])];
        let kwargs: Dict = vec![("a".into(), true.into())];
        let values = Payload::Values { args: &args, kwargs: &kwargs };
        let whole = r#"["zwölf",7,[null]] {"a":true}"#;
        let all = [Codec::Json, Codec::Cbor, Codec::MsgPack]
            .map(|codec| transcode(values, codec).expect("every serializer has these"));
        for payload in all.iter().map(|made| made.as_payload()).chain([values]) {
            assert_eq!(shown(payload, 100), (whole.to_owned(), false));
            assert_eq!(shown(payload, 3), (r#"["z"#.to_owned(), true));
            assert_eq!(shown(payload, 5), (r#"["zw"#.to_owned(), true), "between characters");
            assert_eq!(shown(payload, 0), (String::new(), true));
            assert_eq!(shown(payload, 19), (whole[..19].to_owned(), true));
        }
        assert_eq!(shown(Payload::Empty, 9), (String::new(), false));
        let nothing = Payload::Values { args: &[], kwargs: &Dict::new() };
        assert_eq!(shown(nothing, 9), (String::new(), false));
    }

    #[test]
    fn what_is_long_or_cannot_be_said_ends_it() {
        let long = [Value::from("x".repeat(PIECE_BYTES - 10)), Value::UInt(1)];
        let none = Dict::new();
        let long = transcode(Payload::Values { args: &long, kwargs: &none }, Codec::Cbor).unwrap();
        assert_eq!(shown(long.as_payload(), 6), (r#"["xxxx"#.to_owned(), true));
        let longer = [Value::UInt(1), Value::from("x".repeat(PIECE_BYTES))];
        let longer = Payload::Values { args: &longer, kwargs: &none };
        let longer = transcode(longer, Codec::MsgPack).unwrap();
        let (text, is_cut) = shown(longer.as_payload(), 9);
        assert!(text.starts_with("[1,") && is_cut, "{text}");
        let strange = [Value::UInt(1), Value::Float(f64::NAN)];
        let strange = Payload::Values { args: &strange, kwargs: &none };
        let strange = transcode(strange, Codec::MsgPack).unwrap();
        assert_eq!(shown(strange.as_payload(), 9), ("[1,".to_owned(), true));
    }
}

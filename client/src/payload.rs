//! The arguments of messages: bytes of the connection's serializer until somebody wants values.
//!
//! Owns how serde's types become `Arguments` and `ArgumentsKw` and come out of them again, and how
//! binary data looks in JSON.

use std::fmt;
use std::io;

use data_encoding::BASE64;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;
use stentor_protocol::codec;
use stentor_protocol::wamp::{self, Codec, Dict, PayloadBuf, Value};

/// Why arguments are not what was asked for, or cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// `Arguments` are a tuple, a list, a struct's fields as a tuple struct, or `()`.
    #[error("arguments must be a tuple, a list or (), which {type_name} is not")]
    NoList { type_name: &'static str },
    /// `ArgumentsKw` are a struct, a map with string keys, or `()`.
    #[error("keyword arguments must be a struct, a map or (), which {type_name} is not")]
    NoDict { type_name: &'static str },
    #[error("cannot write {type_name} as {}: {reason}", codec.as_str())]
    Unwritable { type_name: &'static str, codec: Codec, reason: String },
    #[error("the {element} are no {type_name}: {reason}")]
    Mismatch { element: &'static str, type_name: &'static str, reason: String },
}

/// Arguments as bytes of a serializer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawPayload<'a> {
    pub codec: Codec,
    /// `Arguments`, one list.
    pub args: &'a [u8],
    /// `ArgumentsKw`, one map.
    pub kwargs: Option<&'a [u8]>,
}

/// The arguments that came with a message. Cloning shares the bytes.
#[derive(Clone)]
pub struct Payload(PayloadBuf);

impl Payload {
    /// Of a message without arguments.
    pub const EMPTY: Self = Self(PayloadBuf::Empty);

    /// What came with a message, copied.
    pub fn of(payload: wamp::Payload<'_>) -> Self {
        Self(payload.to_buf())
    }

    /// Arguments that are values already.
    pub const fn of_values(args: Vec<Value>, kwargs: Dict) -> Self {
        Self(PayloadBuf::Values { args, kwargs })
    }

    /// Whether there is neither an argument list nor keyword arguments.
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, PayloadBuf::Empty)
    }

    /// The positional arguments, as a tuple or a list of what they are. No arguments are an empty
    /// list.
    ///
    /// # Errors
    /// They have another type, or there are fewer. Whether more than a tuple has are an error is up
    /// to the serializer's library: JSON's refuses them, CBOR's passes over them.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.read("arguments", false)
    }

    /// The first positional argument; others may follow.
    ///
    /// # Errors
    /// There is none, or it has another type.
    pub fn first<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.args::<First<T>>().map(|First(first)| first)
    }

    /// The keyword arguments, as a struct or a map. None are an empty map.
    ///
    /// # Errors
    /// They have another type.
    pub fn kwargs<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.read("keyword arguments", true)
    }

    /// All arguments as values, whatever they are; binary data included.
    ///
    /// # Errors
    /// A value without counterpart in WAMP, or very many tiny values.
    pub fn values(&self) -> Result<(Vec<Value>, Dict), PayloadError> {
        let reason = |error: codec::DecodeError| PayloadError::Mismatch {
            element: "arguments",
            type_name: "values of WAMP",
            reason: error.to_string(),
        };
        codec::decode_payload(self.0.as_payload()).map_err(reason)
    }

    /// `Arguments` and, if they are there, `ArgumentsKw` as JSON, with binary data as WAMP has it
    /// there: U+0000 and Base64.
    ///
    /// # Errors
    /// A value that JSON cannot express, such as NaN.
    pub fn to_json(&self) -> Result<(String, Option<String>), PayloadError> {
        let (args, kwargs) = self.encoded(Codec::Json, "arguments")?;
        let text = |bytes| {
            String::from_utf8(bytes).map_err(|error| PayloadError::Mismatch {
                element: "arguments",
                type_name: "JSON",
                reason: error.to_string(),
            })
        };
        Ok((text(args)?, kwargs.map(text).transpose()?))
    }

    /// The bytes as they came; `None` if there are no arguments, or they came within an answer of
    /// the event history.
    pub fn raw(&self) -> Option<RawPayload<'_>> {
        match self.0.as_payload() {
            wamp::Payload::Raw { codec, args, kwargs } => Some(RawPayload { codec, args, kwargs }),
            _ => None,
        }
    }

    /// Bytes in memory.
    pub(crate) fn weight(&self) -> usize {
        self.0.heap_bytes()
    }

    fn encoded(
        &self,
        to: Codec,
        element: &'static str,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), PayloadError> {
        let reason = |error: codec::EncodeError| PayloadError::Mismatch {
            element,
            type_name: to.as_str(),
            reason: error.to_string(),
        };
        match codec::transcode(self.0.as_payload(), to).map_err(reason)? {
            PayloadBuf::Raw { bytes, args_len, has_kwargs, .. } => {
                let (args, kwargs) = bytes.split_at(args_len);
                Ok((args.to_vec(), has_kwargs.then(|| kwargs.to_vec())))
            }
            _ => Ok((empty_list(to).to_vec(), None)),
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        element: &'static str,
        is_dict: bool,
    ) -> Result<T, PayloadError> {
        let part = |codec, args, kwargs: Option<_>| {
            if is_dict { kwargs.unwrap_or_else(|| empty_dict(codec)) } else { args }
        };
        match self.0.as_payload() {
            wamp::Payload::Raw { codec, args, kwargs } => {
                parse(codec, part(codec, args, kwargs), element)
            }
            _ => {
                let (args, kwargs) = self.encoded(Codec::Cbor, element)?;
                parse(Codec::Cbor, part(Codec::Cbor, &args, kwargs.as_deref()), element)
            }
        }
    }
}

/// Not what is in it, which may be a secret of the application.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("bytes", &self.weight()).finish_non_exhaustive()
    }
}

fn parse<T: DeserializeOwned>(
    codec: Codec,
    bytes: &[u8],
    element: &'static str,
) -> Result<T, PayloadError> {
    let read = match codec {
        Codec::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        Codec::MsgPack => rmp_serde::from_slice(bytes).map_err(|error| error.to_string()),
        Codec::Cbor => ciborium::from_reader(bytes).map_err(|error| error.to_string()),
    };
    let type_name = std::any::type_name::<T>();
    read.map_err(|reason| PayloadError::Mismatch { element, type_name, reason })
}

/// Arguments on their way out, bytes already.
#[derive(Clone)]
pub struct Outgoing {
    codec: Codec,
    args: Option<Vec<u8>>,
    kwargs: Option<Vec<u8>>,
}

impl Outgoing {
    /// No arguments.
    pub const fn none(codec: Codec) -> Self {
        Self { codec, args: None, kwargs: None }
    }

    /// Positional arguments: a tuple, a list, or `()` for none.
    ///
    /// # Errors
    /// Something else, or what the serializer cannot express.
    pub fn new<T: Serialize + ?Sized>(codec: Codec, args: &T) -> Result<Self, PayloadError> {
        let mut outgoing = Self::none(codec);
        outgoing.args = element(codec, args, Kind::List)?;
        Ok(outgoing)
    }

    /// Adds keyword arguments: a struct, a map, or `()` for none.
    ///
    /// # Errors
    /// Something else, or what the serializer cannot express.
    pub fn set_kwargs<T: Serialize + ?Sized>(&mut self, kwargs: &T) -> Result<(), PayloadError> {
        self.kwargs = element(self.codec, kwargs, Kind::Dict)?;
        Ok(())
    }

    pub fn as_payload(&self) -> wamp::Payload<'_> {
        match (&self.args, &self.kwargs) {
            (None, None) => wamp::Payload::Empty,
            (args, kwargs) => wamp::Payload::Raw {
                codec: self.codec,
                args: args.as_deref().unwrap_or_else(|| empty_list(self.codec)),
                kwargs: kwargs.as_deref(),
            },
        }
    }
}

/// Neither arguments nor keyword arguments.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("codec", &self.codec).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Dict,
    Null,
    Other,
}

/// One element of a message; `None` for null, which stands for nothing.
fn element<T: Serialize + ?Sized>(
    codec: Codec,
    value: &T,
    wanted: Kind,
) -> Result<Option<Vec<u8>>, PayloadError> {
    let type_name = std::any::type_name::<T>();
    let written = write(codec, value);
    let bytes = written.map_err(|reason| PayloadError::Unwritable { type_name, codec, reason })?;
    match kind(codec, &bytes) {
        kind if kind == wanted => Ok(Some(bytes)),
        Kind::Null => Ok(None),
        _ if wanted == Kind::List => Err(PayloadError::NoList { type_name }),
        _ => Err(PayloadError::NoDict { type_name }),
    }
}

fn write<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match codec {
        Codec::Json => {
            let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, BinaryAsBase64);
            value.serialize(&mut serializer).map_err(|error| error.to_string())?;
        }
        Codec::MsgPack => {
            let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
            value.serialize(&mut serializer).map_err(|error| error.to_string())?;
        }
        Codec::Cbor => {
            ciborium::into_writer(value, &mut bytes).map_err(|error| error.to_string())?;
        }
    }
    Ok(bytes)
}

/// What a document is, by its first byte.
fn kind(codec: Codec, bytes: &[u8]) -> Kind {
    match (codec, bytes.first()) {
        (Codec::Json, Some(b'[')) => Kind::List,
        (Codec::Json, Some(b'{')) => Kind::Dict,
        (Codec::Json, Some(b'n')) => Kind::Null,
        (Codec::MsgPack, Some(0x90..=0x9f | 0xdc | 0xdd)) => Kind::List,
        (Codec::MsgPack, Some(0x80..=0x8f | 0xde | 0xdf)) => Kind::Dict,
        (Codec::MsgPack, Some(0xc0)) => Kind::Null,
        (Codec::Cbor, Some(0x80..=0x9f)) => Kind::List,
        (Codec::Cbor, Some(0xa0..=0xbf)) => Kind::Dict,
        (Codec::Cbor, Some(0xf6)) => Kind::Null,
        _ => Kind::Other,
    }
}

const fn empty_list(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::Json => b"[]",
        Codec::MsgPack => b"\x90",
        Codec::Cbor => b"\x80",
    }
}

const fn empty_dict(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::Json => b"{}",
        Codec::MsgPack => b"\x80",
        Codec::Cbor => b"\xa0",
    }
}

/// JSON as WAMP has it: binary data is a string of U+0000 and Base64.
struct BinaryAsBase64;

impl Formatter for BinaryAsBase64 {
    fn write_byte_array<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        value: &[u8],
    ) -> io::Result<()> {
        writer.write_all(b"\"\\u0000")?;
        writer.write_all(BASE64.encode(value).as_bytes())?;
        writer.write_all(b"\"")
    }
}

/// The first of a list, of which the rest is passed over.
struct First<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FirstVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for FirstVisitor<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list with an element")
            }

            fn visit_seq<S: de::SeqAccess<'de>>(self, mut list: S) -> Result<First<T>, S::Error> {
                let first = list.next_element()?;
                let first = first.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                while list.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_seq(FirstVisitor(std::marker::PhantomData))
    }
}

/// Binary data among arguments, in every serializer: bytes in MessagePack and CBOR, U+0000 and
/// Base64 in JSON. A plain `Vec<u8>` would be a list of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binary(pub Vec<u8>);

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BinaryVisitor)
    }
}

struct BinaryVisitor;

impl de::Visitor<'_> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Binary, E> {
        Ok(Binary(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Binary, E> {
        Ok(Binary(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Binary, E> {
        let base64 = text.strip_prefix('\0');
        let bytes = base64.and_then(|base64| BASE64.decode(base64.as_bytes()).ok());
        bytes.map(Binary).ok_or_else(|| E::invalid_type(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn received(outgoing: &Outgoing) -> Payload {
        Payload::of(outgoing.as_payload())
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Named {
        name: String,
        data: Binary,
        missing: Option<u8>,
    }

    #[test]
    fn what_goes_in_comes_out_in_every_serializer() {
        for codec in Codec::ALL {
            let data = Binary(vec![0, 1, 255]);
            let mut sent = Outgoing::new(codec, &(1_i64, "zwölf", &data)).unwrap();
            let named = Named { name: "a".to_owned(), data: data.clone(), missing: None };
            sent.set_kwargs(&named).unwrap();
            let payload = received(&sent);
            let args: (i64, String, Binary) = payload.args().unwrap();
            assert_eq!(args, (1, "zwölf".to_owned(), data.clone()));
            assert_eq!(payload.kwargs::<Named>().unwrap(), named);
            let (values, kwargs) = payload.values().unwrap();
            assert_eq!(values[2], Value::Bytes(data.0), "the router's codec sees bytes");
            assert_eq!(kwargs.len(), 3);
            let (args, kwargs) = payload.to_json().unwrap();
            assert_eq!(args, r#"[1,"zwölf","\u0000AAH/"]"#);
            assert!(kwargs.unwrap().contains("\"missing\":null"));
        }
    }

    #[test]
    fn nothing_is_an_empty_list_and_an_empty_map() {
        for codec in Codec::ALL {
            let none = received(&Outgoing::new(codec, &()).unwrap());
            assert!(none.is_empty());
            assert_eq!(none.args::<Vec<u8>>().unwrap(), [0_u8; 0]);
            assert_eq!(none.args::<[u8; 0]>().unwrap(), [0_u8; 0]);
            assert!(none.kwargs::<BTreeMap<String, u8>>().unwrap().is_empty());
            let mut kwargs = Outgoing::none(codec);
            kwargs.set_kwargs(&BTreeMap::from([("a", 1)])).unwrap();
            let kwargs = received(&kwargs);
            assert_eq!(kwargs.args::<Vec<u8>>().unwrap(), [0_u8; 0]);
            assert_eq!(kwargs.kwargs::<BTreeMap<String, u8>>().unwrap()["a"], 1);
        }
    }

    #[test]
    fn what_is_no_list_or_no_dict_is_refused_before_it_is_sent() {
        for codec in Codec::ALL {
            let error = Outgoing::new(codec, "text").unwrap_err();
            assert_eq!(error, PayloadError::NoList { type_name: "str" });
            let mut outgoing = Outgoing::none(codec);
            assert!(outgoing.set_kwargs(&(1, 2)).is_err());
            assert!(!format!("{outgoing:?}").contains("text"));
        }
    }

    #[test]
    fn a_mismatch_says_what_was_wanted() {
        for codec in Codec::ALL {
            let payload = received(&Outgoing::new(codec, &("a", 1)).unwrap());
            for error in [
                payload.args::<(u8, u8)>().unwrap_err(),
                payload.args::<(String, u8, u8)>().unwrap_err(),
            ] {
                assert!(error.to_string().starts_with("the arguments are no ("), "{error}");
            }
        }
    }
}

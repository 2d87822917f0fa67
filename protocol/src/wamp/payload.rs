//! Application payload: the arguments at the tail of a message, kept as the sender's bytes.

use std::fmt;

use bytes::Bytes;

use super::codec::Codec;
use super::value::{Dict, Value};

/// A payload on its way through one handler.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Neither `Arguments` nor `ArgumentsKw`.
    Empty,
    /// Well-formed bytes of the sender's serializer, checked at ingress.
    Raw {
        codec: Codec,
        /// `Arguments`: one encoded list (or one binary item, in payload transparency mode).
        args: &'a [u8],
        /// `ArgumentsKw`: one encoded dict.
        kwargs: Option<&'a [u8]>,
    },
    /// Values of the router itself, such as an error's explanation.
    Values { args: &'a [Value], kwargs: &'a Dict },
}

impl Payload<'_> {
    /// Copies the payload so that it can cross to another shard.
    pub fn to_buf(self) -> PayloadBuf {
        match self {
            Self::Empty => PayloadBuf::Empty,
            Self::Raw { codec, args, kwargs } => {
                let mut bytes = Vec::with_capacity(args.len() + kwargs.map_or(0, <[u8]>::len));
                bytes.extend_from_slice(args);
                bytes.extend_from_slice(kwargs.unwrap_or_default());
                PayloadBuf::Raw {
                    codec,
                    bytes: bytes.into(),
                    args_len: args.len(),
                    has_kwargs: kwargs.is_some(),
                }
            }
            Self::Values { args, kwargs } => {
                PayloadBuf::Values { args: args.to_vec(), kwargs: kwargs.clone() }
            }
        }
    }
}

/// A payload that owns its bytes. Cloning shares them.
#[derive(Clone)]
pub enum PayloadBuf {
    Empty,
    Raw { codec: Codec, bytes: Bytes, args_len: usize, has_kwargs: bool },
    Values { args: Vec<Value>, kwargs: Dict },
}

/// Not what is in it, which is between its peers; it may be a ticket for an authenticator.
impl fmt::Debug for PayloadBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadBuf")
            .field("weight", &self.as_payload().weight())
            .finish_non_exhaustive()
    }
}

impl PayloadBuf {
    pub fn as_payload(&self) -> Payload<'_> {
        match self {
            Self::Empty => Payload::Empty,
            Self::Raw { codec, bytes, args_len, has_kwargs } => {
                let (args, kwargs) = bytes.split_at(*args_len);
                Payload::Raw { codec: *codec, args, kwargs: has_kwargs.then_some(kwargs) }
            }
            Self::Values { args, kwargs } => Payload::Values { args, kwargs },
        }
    }
}

//! What things take in memory, in bytes: the one measure of all limits on what is kept.
//!
//! `heap_bytes` is what something owns besides itself. It counts capacity, not length, and whole
//! blocks of the allocator, so that many small things are not counted as less than they are.

use std::borrow::Cow;

use super::options::{CallOptions, Passthru, PublishOptions, ReceiverFilter};
use super::payload::{Payload, PayloadBuf};
use super::value::{Dict, Value};

/// The memory that an allocation of `bytes` takes: a header, and a multiple of 16 bytes.
pub const fn heap_block(bytes: usize) -> usize {
    match bytes.saturating_add(HEADER_BYTES + 15) & !15 {
        _ if bytes == 0 => 0,
        ..SMALLEST_BYTES => SMALLEST_BYTES,
        block => block,
    }
}

/// The memory of a vector's items, without what they own.
pub const fn vec_block<T>(items: &Vec<T>) -> usize {
    heap_block(items.capacity() * size_of::<T>())
}

/// What a dict owns.
pub fn dict_heap_bytes(dict: &Dict) -> usize {
    let entry = |(key, value): &(Cow<'static, str>, Value)| {
        let key = match key {
            Cow::Borrowed(_) => 0,
            Cow::Owned(key) => heap_block(key.capacity()),
        };
        key + value.heap_bytes()
    };
    vec_block(dict) + dict.iter().map(entry).sum::<usize>()
}

/// What a list of strings owns.
pub fn strings_heap_bytes(strings: &Vec<String>) -> usize {
    let text = |string: &String| heap_block(string.capacity());
    vec_block(strings) + strings.iter().map(text).sum::<usize>()
}

impl Value {
    /// Bytes that the value owns besides itself. A recursion as deep as the value is nested.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::UInt(_) | Self::Float(_) => 0,
            Self::Str(text) => heap_block(text.capacity()),
            Self::Bytes(bytes) => heap_block(bytes.capacity()),
            Self::List(values) => {
                vec_block(values) + values.iter().map(Self::heap_bytes).sum::<usize>()
            }
            Self::Dict(entries) => dict_heap_bytes(entries),
            Self::Encoded(_, bytes) => SHARED_BYTES + heap_block(bytes.len()),
        }
    }
}

impl Payload<'_> {
    /// Bytes of the payload: those of the sender, or those that the router's values take.
    pub fn weight(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Raw { args, kwargs, .. } => args.len() + kwargs.map_or(0, <[u8]>::len),
            Self::Values { args, kwargs } => {
                let heap = args.iter().map(Value::heap_bytes).sum::<usize>();
                heap_block(size_of_val(*args)) + heap + dict_heap_bytes(kwargs)
            }
        }
    }
}

impl PayloadBuf {
    /// Bytes that the payload owns besides itself, even if it shares them.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Raw { bytes, .. } => SHARED_BYTES + heap_block(bytes.len()),
            Self::Values { args, kwargs } => {
                let args = vec_block(args) + args.iter().map(Value::heap_bytes).sum::<usize>();
                args + dict_heap_bytes(kwargs)
            }
        }
    }
}

impl Passthru {
    /// Bytes that the keys own besides themselves.
    pub fn heap_bytes(&self) -> usize {
        let texts = [
            &self.ppt_scheme,
            &self.ppt_serializer,
            &self.ppt_cipher,
            &self.ppt_keyid,
            &self.enc_algo,
            &self.enc_serializer,
            &self.enc_key,
        ];
        texts.into_iter().flatten().map(|text| heap_block(text.capacity())).sum()
    }
}

impl ReceiverFilter {
    /// Bytes that the lists own besides themselves.
    pub fn heap_bytes(&self) -> usize {
        let ids = [&self.exclude, &self.eligible].into_iter().flatten();
        let names = [
            &self.exclude_authid,
            &self.exclude_authrole,
            &self.eligible_authid,
            &self.eligible_authrole,
        ];
        let names = names.into_iter().flatten();
        ids.map(vec_block).sum::<usize>() + names.map(strings_heap_bytes).sum::<usize>()
    }
}

impl PublishOptions {
    /// Bytes that the options own besides themselves.
    pub fn heap_bytes(&self) -> usize {
        let filter = self.filter.as_deref();
        let filter = filter.map_or(0, |lists| heap_block(size_of_val(lists)) + lists.heap_bytes());
        filter + passthru_heap_bytes(self.passthru.as_deref())
    }
}

impl CallOptions {
    /// Bytes that the options own besides themselves.
    pub fn heap_bytes(&self) -> usize {
        passthru_heap_bytes(self.passthru.as_deref())
    }
}

/// What a value takes behind an `Arc`.
pub const fn arc_block<T>() -> usize {
    heap_block(ARC_BYTES + size_of::<T>())
}

/// What optional passthru keys own, their box included.
pub fn passthru_heap_bytes(passthru: Option<&Passthru>) -> usize {
    passthru.map_or(0, |keys| heap_block(size_of_val(keys)) + keys.heap_bytes())
}

/// What an allocator keeps in front of a block.
const HEADER_BYTES: usize = 8;

const SMALLEST_BYTES: usize = 32;

/// The two counters in front of what an `Arc` shares.
const ARC_BYTES: usize = 16;

/// The counter beside shared bytes.
const SHARED_BYTES: usize = heap_block(24);

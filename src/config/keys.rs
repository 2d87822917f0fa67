//! The keys that a section of the file may hold, taken from its struct, and the nearest of them
//! to a misspelt one.

use std::cmp::Reverse;

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The file's names of the fields of `T`, in their order.
pub(super) fn keys_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Always an error: this deserializer has no values, it only overhears the names.
    let _ = T::deserialize(Eavesdropper { names: &mut names });
    debug_assert!(!names.is_empty(), "a section of the file is a struct with named fields");
    names
}

/// The candidate that `word` most likely stands for, if any is near.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let tolerance = 1.max(word.chars().count() / 3);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let contained = word.len() >= MIN_PART_BYTES && candidate.contains(word)
                || candidate.len() >= MIN_PART_BYTES && word.contains(candidate);
            let distance = strsim::damerau_levenshtein(word, candidate);
            (contained || distance <= tolerance).then_some((distance, candidate))
        })
        .min_by_key(|&(distance, candidate)| (distance, Reverse(candidate.len())))
        .map(|(_, candidate)| candidate)
}

struct Eavesdropper<'n> {
    names: &'n mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for Eavesdropper<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no value here"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.names = fields;
        Err(Error::custom("no value here"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Shorter words are parts of too many others.
const MIN_PART_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Listener};

    #[test]
    fn keys_are_the_names_in_the_file() {
        assert!(keys_of::<Config>().contains(&"listener"));
        assert!(!keys_of::<Config>().contains(&"development"), "not a key");
        assert!(keys_of::<Listener>().contains(&"listen"));
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["message_bytes", "nesting", "uri_bytes"];
        assert_eq!(nearest("massage_bytes", keys), Some("message_bytes"));
        assert_eq!(nearest("max_message_bytes", keys), Some("message_bytes"));
        assert_eq!(nearest("nestign", keys), Some("nesting"));
        assert_eq!(nearest("message", keys), Some("message_bytes"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", keys), None);
    }
}

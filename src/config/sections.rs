//! The sections of the file that are no lists, with their keys: what environment variables set.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::keys_of;
use super::parse::deserialize;
use super::{Admin, Cluster, Config, Log, Management, Metrics, Protocol, Storage, Tuning};
use crate::limits::{Limits, OutputLimits, Timeouts};

/// One section, or the top of the file.
pub(super) struct Section {
    /// As in `[limits]`; empty: the top.
    pub(super) name: &'static str,
    all_keys: fn() -> &'static [&'static str],
    takes_text: fn(&str, &str) -> bool,
}

impl Section {
    /// The keys that hold one value, or a list of values.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        let is_table = |key: &str| {
            let is_section = |section: &Self| self.name.is_empty() && section.name == key;
            LISTS.contains(&(self.name, key)) || SECTIONS.iter().any(is_section)
        };
        (self.all_keys)().iter().copied().filter(move |key| !is_table(key))
    }

    /// Whether `text` as it is can be the value of a key.
    pub(super) fn takes_text(&self, key: &str, text: &str) -> bool {
        (self.takes_text)(key, text)
    }

    /// The environment variable that sets a key.
    pub(super) fn variable(&self, key: &str) -> String {
        let (section, key) = (self.name.to_ascii_uppercase(), key.to_ascii_uppercase());
        let dash = if section.is_empty() { "" } else { "__" };
        format!("STENTOR_{section}{dash}{key}")
    }
}

fn takes_text<T: DeserializeOwned>(key: &str, text: &str) -> bool {
    let mut single = DeTable::new();
    let value = DeValue::String(Cow::Owned(text.to_owned()));
    single.insert(Spanned::new(0..0, Cow::Owned(key.to_owned())), Spanned::new(0..0, value));
    // Text of the wrong content is still text.
    !deserialize::<T>(single).is_err_and(|error| error.message().contains(WRONG_TYPE))
}

macro_rules! section {
    ($name:literal, $type:ty) => {
        Section { name: $name, all_keys: || keys_of::<$type>(), takes_text: takes_text::<$type> }
    };
}

pub(super) const SECTIONS: &[Section] = &[
    section!("", Config),
    section!("limits", Limits),
    section!("output", OutputLimits),
    section!("timeouts", Timeouts),
    section!("protocol", Protocol),
    section!("storage", Storage),
    section!("tuning", Tuning),
    section!("log", Log),
    section!("admin", Admin),
    section!("metrics", Metrics),
    section!("management", Management),
    section!("cluster", Cluster),
];

/// How serde says that a value of another type is needed.
pub(super) const WRONG_TYPE: &str = "invalid type";

/// Lists of tables: section and key.
const LISTS: [(&str, &str); 4] =
    [("", "listener"), ("", "realm"), ("admin", "tls"), ("metrics", "group")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plain_key_has_a_variable() {
        let variables: Vec<_> =
            SECTIONS.iter().flat_map(|one| one.keys().map(|key| one.variable(key))).collect();
        for name in ["STENTOR_SHARDS", "STENTOR_LIMITS__NESTING", "STENTOR_ADMIN__LISTEN"] {
            assert!(variables.iter().any(|other| other == name), "{name}");
        }
        let top: Vec<_> = SECTIONS[0].keys().collect();
        assert_eq!(top, ["shards"], "lists and sections have no variable of their own");
    }
}

//! A section of crossbar's file with its place: who reads it says which keys it knows, and what is
//! left at the end becomes a note. So nothing is dropped without a word.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::notes::Notes;
use super::value::Value;

#[derive(Debug)]
pub(super) struct Section<'v> {
    /// As in `workers[0].realms[1]`; empty for the whole file.
    pub(super) place: String,
    entries: &'v [(String, Value)],
    known: RefCell<BTreeSet<&'v str>>,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Item<'v> {
    pub(super) place: String,
    pub(super) value: &'v Value,
}

impl<'v> Section<'v> {
    pub(super) const fn new(place: String, entries: &'v [(String, Value)]) -> Self {
        Self { place, entries, known: RefCell::new(BTreeSet::new()) }
    }

    /// Where a key of it stands.
    pub(super) fn at(&self, key: &str) -> String {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.".contains(&byte);
        match (key.bytes().all(is_plain) && !key.is_empty(), self.place.as_str()) {
            (true, "") => key.to_owned(),
            (true, place) => format!("{place}.{key}"),
            (false, place) => format!("{place}[{key:?}]"),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, _)| known == key)
    }

    /// The value of a key; none if it is not there, or null.
    pub(super) fn item(&self, key: &str) -> Option<Item<'v>> {
        let (key, value) = self.entries.iter().find(|(known, _)| known == key)?;
        self.known.borrow_mut().insert(key);
        (*value != Value::Null).then(|| Item { place: self.at(key), value })
    }

    pub(super) fn text(&self, key: &str, notes: &mut Notes) -> Option<&'v str> {
        let item = self.item(key)?;
        item.value.as_text().or_else(|| item.reject("a text", notes))
    }

    pub(super) fn bool(&self, key: &str, notes: &mut Notes) -> Option<bool> {
        let item = self.item(key)?;
        match item.value {
            Value::Bool(bool) => Some(*bool),
            _ => item.reject("true or false", notes),
        }
    }

    pub(super) fn number(&self, key: &str, notes: &mut Notes) -> Option<u64> {
        let item = self.item(key)?;
        match item.value {
            Value::Int(number) if *number >= 0 => Some(*number as u64),
            _ => item.reject("a number from 0 on", notes),
        }
    }

    pub(super) fn section(&self, key: &str, notes: &mut Notes) -> Option<Self> {
        self.item(key)?.section(notes)
    }

    /// The items of a list; none if it is not there.
    pub(super) fn list(&self, key: &str, notes: &mut Notes) -> Vec<Item<'v>> {
        self.item(key).map(|item| item.items(notes)).unwrap_or_default()
    }

    /// The sections in a list.
    pub(super) fn sections(&self, key: &str, notes: &mut Notes) -> Vec<Self> {
        let items = self.list(key, notes);
        items.into_iter().filter_map(|item| item.section(notes)).collect()
    }

    /// The texts in a list.
    pub(super) fn texts(&self, key: &str, notes: &mut Notes) -> Vec<&'v str> {
        let items = self.list(key, notes);
        let text = |item: Item<'v>| item.value.as_text().or_else(|| item.reject("a text", notes));
        items.into_iter().filter_map(text).collect()
    }

    /// All its keys, for a section whose keys are names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, Item<'v>)> {
        self.entries.iter().map(|(key, value)| {
            self.known.borrow_mut().insert(key);
            (key.as_str(), Item { place: self.at(key), value })
        })
    }

    /// Keys that mean nothing for what the router does.
    pub(super) fn ignore(&self, keys: &[&str]) {
        let mut known = self.known.borrow_mut();
        known.extend(self.entries.iter().map(|(key, _)| &**key).filter(|key| keys.contains(key)));
    }

    /// What nobody has asked for is missing.
    pub(super) fn finish(&self, notes: &mut Notes) {
        let known = self.known.borrow();
        for (key, _) in self.entries.iter().filter(|(key, _)| !known.contains(key.as_str())) {
            notes.missing(self.at(key), format!("`{key}` is nothing that can be carried over"));
        }
    }
}

impl<'v> Item<'v> {
    pub(super) fn section(self, notes: &mut Notes) -> Option<Section<'v>> {
        match self.value {
            Value::Map(entries) => Some(Section::new(self.place, entries)),
            _ => self.reject("a section", notes),
        }
    }

    pub(super) fn items(self, notes: &mut Notes) -> Vec<Self> {
        let Value::List(items) = self.value else {
            return self.reject::<Vec<Self>>("a list", notes).unwrap_or_default();
        };
        let place = |number| format!("{}[{number}]", self.place);
        let items = items.iter().enumerate();
        items.map(|(number, value)| Self { place: place(number), value }).collect()
    }

    /// Crossbar would not have started with it.
    pub(super) fn reject<T>(&self, wanted: &str, notes: &mut Notes) -> Option<T> {
        let found = self.value.kind();
        notes.missing(&*self.place, format!("here must be {wanted}, and {found} is no such thing"));
        None
    }
}

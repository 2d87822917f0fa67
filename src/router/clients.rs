//! Which client libraries the sessions come from, as the `agent` of their HELLO says: how many
//! sessions each has open, and has opened. Only of those that the configuration names, as clients
//! choose what they say.

use super::Router;
use super::counters::Counter;

/// The names of client libraries that are counted. The same for the life of a router.
#[derive(Debug, Default)]
pub struct ClientNames {
    /// As they are shown, in the order of the configuration.
    names: Box<[Box<str>]>,
    /// What is compared of each, with its place; in order.
    keys: Box<[(String, u8)]>,
}

/// By which name a session is counted. It keeps it from its beginning to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientName(Option<u8>);

impl ClientNames {
    /// Names that [`client_key`] tells apart, [`MAX_CLIENT_NAMES`] at most.
    pub fn new(names: &[String]) -> Self {
        debug_assert!(names.len() <= MAX_CLIENT_NAMES, "the configuration bounds them");
        let keys = names.iter().zip(0..).map(|(name, place)| (client_key(name), place));
        let mut keys: Box<[_]> = keys.collect();
        keys.sort_unstable();
        Self { names: names.iter().map(|name| name.as_str().into()).collect(), keys }
    }

    /// Which of them an `agent` means.
    pub(crate) fn find(&self, agent: &str) -> ClientName {
        if self.keys.is_empty() {
            return ClientName::default();
        }
        let key = client_key(client_name(agent));
        let found = self.keys.binary_search_by(|(known, _)| known.as_str().cmp(&key));
        ClientName(found.ok().map(|index| self.keys[index].1))
    }

    /// The names, and at last that of all others; nothing if no name is configured.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let others = (!self.names.is_empty()).then_some(OTHER_CLIENTS);
        self.names.iter().map(|name| &**name).chain(others)
    }
}

/// The sessions of one shard by client, as [`ClientNames::labels`] has them.
#[derive(Debug, Default)]
pub struct ClientCounts(Box<[ClientCount]>);

#[derive(Debug, Default)]
struct ClientCount {
    sessions: Counter,
    opened: Counter,
}

impl ClientCounts {
    pub(super) fn of(names: &ClientNames) -> Self {
        Self(names.labels().map(|_| ClientCount::default()).collect())
    }

    /// A session has begun.
    pub(crate) fn note_joined(&self, client: ClientName) {
        if let Some(count) = self.count(client) {
            count.sessions.increment();
            count.opened.increment();
        }
    }

    /// One that has begun here has ended.
    pub(crate) fn note_left(&self, client: ClientName) {
        if let Some(count) = self.count(client) {
            count.sessions.subtract(1);
        }
    }

    /// How many sessions each has, and how many it has opened.
    pub fn read(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.0.iter().map(|count| (count.sessions.get(), count.opened.get()))
    }

    /// The others come last.
    fn count(&self, ClientName(place): ClientName) -> Option<&ClientCount> {
        place.map_or_else(|| self.0.last(), |place| self.0.get(usize::from(place)))
    }
}

impl Router {
    /// How many sessions each named client has, and how many it has opened; others come last.
    pub fn client_counts(&self) -> Vec<(&str, u64, u64)> {
        let mut all: Vec<_> = self.client_names.labels().map(|name| (name, 0, 0)).collect();
        for measures in &self.measures {
            for ((_, open, opened), (more, joined)) in all.iter_mut().zip(measures.clients.read()) {
                (*open, *opened) = (*open + more, *opened + joined);
            }
        }
        all
    }

    /// By which names of clients sessions are counted.
    pub(crate) const fn client_names(&self) -> &ClientNames {
        &self.client_names
    }
}

/// The part of an `agent` before its version, which begins behind `/` or `(`, or with a digit,
/// or `v` and a digit, behind a blank, `-` or `_`: `AutobahnJS` of `AutobahnJS-0.9.14`.
pub fn client_name(agent: &str) -> &str {
    let begins = |(index, letter): (usize, char)| match letter {
        '/' | '(' => true,
        '-' | '_' => is_version(&agent[index + 1..]),
        _ => letter.is_whitespace() && is_version(agent[index..].trim_start()),
    };
    let end = agent.char_indices().find(|found| begins(*found)).map(|(index, _)| index);
    &agent[..end.unwrap_or(agent.len())]
}

/// What is compared of a name: its letters and digits, without their case.
pub fn client_key(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_version(text: &str) -> bool {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    text.starts_with(|letter: char| letter.is_ascii_digit())
}

/// The most names of client libraries.
pub const MAX_CLIENT_NAMES: usize = 32;

/// As which those are counted whose names are not configured.
pub const OTHER_CLIENTS: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(agent: &str, name: &str) {
        assert_eq!(client_name(agent), name, "{agent}");
    }

    #[test]
    fn a_name_ends_before_its_version() {
        check("AutobahnPython/24.4.2", "AutobahnPython");
        check("AutobahnJS-0.9.14", "AutobahnJS");
        check("wampy.js v7", "wampy.js");
        check("Wampy.js  v7.0.1 (linux)", "Wampy.js");
        check("x_1", "x");
        check("autobahn-java", "autobahn-java");
        check("my client", "my client");
        check("my very v client 2", "my very v client");
        check("f64-client", "f64-client");
        check("Ä\u{3000}7", "Ä");
        check("2", "2");
        check("", "");
    }

    #[test]
    fn names_are_compared_by_letters_and_digits() {
        let names = ["wampy.js", "autobahn-python", "Größe"].map(str::to_owned);
        let names = ClientNames::new(&names);
        let place = |agent| names.find(agent).0;
        assert_eq!(place("Wampy.js v7"), Some(0));
        assert_eq!(place("AutobahnPython/24.4.2"), Some(1));
        assert_eq!(place("autobahn_python"), Some(1));
        assert_eq!(place("GRÖßE 7b"), Some(2));
        for agent in ["", "autobahn", "AutobahnPython2/1", "crossbar"] {
            assert_eq!(place(agent), None, "{agent}");
        }
        let labels: Vec<_> = names.labels().collect();
        assert_eq!(labels, ["wampy.js", "autobahn-python", "Größe", OTHER_CLIENTS]);
    }

    #[test]
    fn counts_are_those_of_the_labels() {
        let names = ClientNames::new(&["b".to_owned(), "a".to_owned()]);
        let counts = ClientCounts::of(&names);
        for agent in ["a/1", "c", "", "a/2", "b"] {
            counts.note_joined(names.find(agent));
        }
        counts.note_left(names.find("a/1"));
        counts.note_left(names.find(""));
        assert_eq!(counts.read().collect::<Vec<_>>(), [(1, 1), (1, 2), (1, 2)]);
        let none = ClientNames::default();
        let counts = ClientCounts::of(&none);
        counts.note_joined(none.find("a"));
        assert_eq!((none.labels().count(), counts.read().len()), (0, 0));
    }
}

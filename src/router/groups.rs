//! URIs in groups that the configuration names, each by a prefix: how many publications, events
//! and calls each has. Clients choose URIs, so only what operators name is counted by name.

use serde::{Deserialize, Serialize};

use super::Router;
use super::busy::Busyness;
use super::counters::Counter;

/// The URIs that begin with a text, in all realms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UriGroup {
    /// As it is shown.
    pub name: String,
    /// Whatever follows it, as that of a subscription with `match: "prefix"`.
    pub prefix: String,
}

/// The groups of a router. The same for its life.
#[derive(Debug, Default)]
pub struct UriGroups {
    /// In the order of the configuration.
    names: Box<[Box<str>]>,
    /// Each with the place of its group; the longest first.
    prefixes: Box<[(Box<str>, usize)]>,
}

impl UriGroups {
    /// Groups of different prefixes, [`MAX_URI_GROUPS`] at most.
    pub fn new(groups: &[UriGroup]) -> Self {
        debug_assert!(groups.len() <= MAX_URI_GROUPS, "the configuration bounds them");
        let places = groups.iter().enumerate();
        let mut prefixes: Box<[_]> =
            places.map(|(place, group)| (group.prefix.as_str().into(), place)).collect();
        prefixes.sort_by_key(|(prefix, _): &(Box<str>, usize)| std::cmp::Reverse(prefix.len()));
        Self { names: groups.iter().map(|group| group.name.as_str().into()).collect(), prefixes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The group of a URI: that of the longest prefix.
    pub(crate) fn find(&self, uri: &str) -> Option<usize> {
        let found = self.prefixes.iter().find(|(prefix, _)| uri.starts_with(&**prefix));
        found.map(|(_, place)| *place)
    }
}

/// What one shard has counted by group.
#[derive(Debug, Default)]
pub struct GroupCounts(Box<[[Counter; 3]]>);

impl GroupCounts {
    pub(super) fn of(groups: &UriGroups) -> Self {
        Self(groups.names.iter().map(|_| Default::default()).collect())
    }

    pub(crate) fn note(&self, group: usize, what: Busyness, units: u64) {
        self.0[group][what as usize].add(units);
    }
}

impl Router {
    /// By which groups publications, events and calls are counted.
    pub(crate) const fn uri_groups(&self) -> &UriGroups {
        &self.uri_groups
    }

    /// How much of this each group has had, on all shards.
    pub fn group_counts(&self, what: Busyness) -> Vec<(&str, u64)> {
        let sum = |group: usize| {
            let shards = self.measures.iter();
            shards.map(|measures| measures.groups.0[group][what as usize].get()).sum()
        };
        let names = self.uri_groups.names.iter().enumerate();
        names.map(|(group, name)| (&**name, sum(group))).collect()
    }
}

/// The most groups: each publication, delivery and call is compared with all of their prefixes.
pub const MAX_URI_GROUPS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let group = |(name, prefix): (&str, &str)| UriGroup {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        };
        let groups = [("shop", "com.shop."), ("cart", "com.shop.cart"), ("all", "com.")];
        let groups = UriGroups::new(&groups.map(group));
        let find = |uri| groups.find(uri).map(|place| &*groups.names[place]);
        assert_eq!(find("com.shop.order"), Some("shop"));
        assert_eq!(find("com.shop.cart"), Some("cart"));
        assert_eq!(find("com.shop.carts.x"), Some("cart"));
        assert_eq!(find("com.shop"), Some("all"));
        assert_eq!(find("com.shopping"), Some("all"));
        for uri in ["com", "org.com.shop.", "", "Com.shop.x"] {
            assert_eq!(find(uri), None, "{uri}");
        }
        assert_eq!(UriGroups::default().find("com.shop.order"), None);
    }
}

//! The rules of a role that decide about one action, in tables: no decision about a URI looks at
//! all of them.
//!
//! Of the rules that match, an exact one is the most specific, then the longest prefix, then
//! wildcards by the lengths of their literal runs (AP-PBR-04). That order does not depend on the
//! URI, so it also says which of two rules decides where both match.

use std::sync::Arc;

use super::MAX_RULE_COMPONENTS;
use super::PROTOCOL;
use super::pattern::{Pattern, is_open, literal_head, overlaps, shape_of};
use super::role::{Effect, RuleId};
use crate::wamp::MatchPolicy;

/// A rule as a table holds it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) uri: Arc<str>,
    pub(super) rule: RuleId,
    pub(super) effect: Effect,
}

impl Entry {
    /// Whether it keeps a less specific one, which grants with `effect`, from granting a pattern of
    /// which both match something.
    fn restricts(&self, effect: Effect) -> bool {
        match self.effect {
            Effect::Allow => false,
            Effect::Ask(_) => self.effect != effect,
            Effect::Deny => true,
        }
    }
}

#[derive(Debug)]
struct Prefix {
    entry: Entry,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
}

/// The wildcards of one shape.
#[derive(Debug)]
struct Shape {
    components: usize,
    /// The open components as bits, the first one in the highest bit. So of two shapes with as
    /// many components the smaller one has the longer literal run where they differ first.
    open: u128,
    /// By their texts.
    entries: Vec<Entry>,
}

/// All lists are sorted, and no pattern stands in one twice.
#[derive(Debug, Default)]
pub(super) struct Table {
    exact: Vec<Entry>,
    prefixes: Vec<Prefix>,
    shapes: Vec<Shape>,
    /// Places in `exact` and `prefixes` of those that do not just allow.
    strict_exact: Vec<usize>,
    strict_prefixes: Vec<usize>,
    strict_wildcards: usize,
    /// All those that have an authorizer.
    asking: usize,
}

/// The most specific rule that covers a pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best<'t> {
    pub(super) entry: &'t Entry,
    /// Of a wildcard.
    open: Option<u128>,
}

impl Table {
    /// Of two rules for one pattern one that denies counts, or else one that asks, or the first.
    pub(super) fn new(entries: impl IntoIterator<Item = (Entry, MatchPolicy)>) -> Self {
        let (mut exact, mut prefixes, mut wildcards) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, policy) in entries {
            match policy {
                MatchPolicy::Exact => exact.push(entry),
                MatchPolicy::Prefix => prefixes.push(entry),
                MatchPolicy::Wildcard => wildcards.push(entry),
            }
        }
        let is_strict = |entry: &Entry| entry.effect != Effect::Allow;
        let strict_wildcards = wildcards.iter().filter(|entry| is_strict(entry)).count();
        let all = exact.iter().chain(&prefixes).chain(&wildcards);
        let asking = all.filter(|entry| matches!(entry.effect, Effect::Ask(_))).count();
        let (exact, prefixes) = (sorted(exact), linked(sorted(prefixes)));
        let places = |list: &mut dyn Iterator<Item = &Entry>| -> Vec<usize> {
            list.enumerate().filter(|(_, entry)| is_strict(entry)).map(|(place, _)| place).collect()
        };
        Self {
            strict_exact: places(&mut exact.iter()),
            strict_prefixes: places(&mut prefixes.iter().map(|prefix| &prefix.entry)),
            strict_wildcards,
            asking,
            shapes: shapes(sorted(wildcards)),
            exact,
            prefixes,
        }
    }

    /// The most specific rule that matches every URI of `pattern`. `by_name`: only rules that begin
    /// with `wamp.` count.
    pub(super) fn best_cover(&self, pattern: Pattern<'_>, by_name: bool) -> Option<Best<'_>> {
        let counts = |entry: &Entry| !by_name || entry.uri.starts_with(PROTOCOL);
        let found = |entry| Some(Best { entry, open: None });
        if !is_open(pattern)
            && let Ok(place) = self.exact.binary_search_by(|entry| (*entry.uri).cmp(pattern.0))
            && counts(&self.exact[place])
        {
            return found(&self.exact[place]);
        }
        match self.longest_prefix(literal_head(pattern)) {
            Some(entry) if counts(entry) => found(entry),
            _ if pattern.1 == MatchPolicy::Prefix => None,
            _ => self.best_wildcard(pattern.0, counts),
        }
    }

    /// The longest prefix that `text` begins with.
    fn longest_prefix(&self, text: &str) -> Option<&Entry> {
        let behind = self.prefixes.partition_point(|prefix| &*prefix.entry.uri <= text);
        // What `text` begins with is the text just before it in the order, or a prefix of that.
        let mut candidate = behind.checked_sub(1);
        while let Some(place) = candidate {
            let Prefix { entry, parent } = &self.prefixes[place];
            if text.starts_with(&*entry.uri) {
                return Some(entry);
            }
            candidate = *parent;
        }
        None
    }

    fn best_wildcard(&self, text: &str, counts: impl Fn(&Entry) -> bool) -> Option<Best<'_>> {
        if self.shapes.is_empty() {
            return None;
        }
        let (components, own) = shape_of(text);
        let mut key = String::with_capacity(text.len());
        for shape in self.shapes_of(components).iter().filter(|shape| shape.open & own == own) {
            write_key(text, shape.open, &mut key);
            let found = shape.entries.binary_search_by(|entry| (*entry.uri).cmp(&*key));
            if let Ok(place) = found
                && counts(&shape.entries[place])
            {
                let entry = &shape.entries[place];
                return Some(Best { entry, open: Some(shape.open) });
            }
        }
        None
    }

    /// A rule that denies some of the URIs of an open `pattern` which `best` covers, or asks
    /// another authorizer about them, although `best` grants them: one that is more specific.
    pub(super) fn denial_within(&self, pattern: Pattern<'_>, best: Best<'_>) -> Option<RuleId> {
        let (head, effect) = (literal_head(pattern), best.entry.effect);
        let exact = within(&self.strict_exact, head, |place| &self.exact[place]);
        let prefixes = within(&self.strict_prefixes, head, |place| &self.prefixes[place].entry);
        if pattern.1 == MatchPolicy::Prefix {
            // Only a prefix covers a prefix, and no wildcard is more specific than one.
            let mut within = exact.into_iter().chain(prefixes);
            return within.find(|entry| entry.restricts(effect)).map(|entry| entry.rule);
        }
        let meets = |entry: &Entry, policy| {
            entry.restricts(effect) && overlaps((&entry.uri, policy), pattern)
        };
        let exact = exact.into_iter().find(|entry| meets(entry, MatchPolicy::Exact));
        exact
            .or_else(|| prefixes.into_iter().find(|entry| meets(entry, MatchPolicy::Prefix)))
            .or_else(|| self.wildcard_denial(pattern.0, best.open?, effect))
            .map(|entry| entry.rule)
    }

    fn wildcard_denial(&self, text: &str, open: u128, effect: Effect) -> Option<&Entry> {
        let (components, _) = shape_of(text);
        let shapes = self.shapes_of(components).iter().take_while(|shape| shape.open < open);
        let mut entries = shapes.flat_map(|shape| &shape.entries);
        entries.find(|entry| {
            let wildcard = (&*entry.uri, MatchPolicy::Wildcard);
            entry.restricts(effect) && overlaps(wildcard, (text, MatchPolicy::Wildcard))
        })
    }

    fn shapes_of(&self, components: usize) -> &[Shape] {
        let start = self.shapes.partition_point(|shape| shape.components < components);
        let end = self.shapes.partition_point(|shape| shape.components <= components);
        &self.shapes[start..end]
    }

    /// What a decision costs at most, in comparisons of two URIs.
    pub(super) const fn effort(&self, policy: MatchPolicy) -> usize {
        let strict = self.strict_exact.len() + self.strict_prefixes.len() + self.strict_wildcards;
        match policy {
            MatchPolicy::Exact => SEARCHES + self.shapes.len() * SEARCH,
            MatchPolicy::Prefix => SEARCHES + self.asking,
            MatchPolicy::Wildcard => SEARCHES + self.shapes.len() * SEARCH + strict,
        }
    }
}

/// Comparisons of one binary search among the rules of a role, and of those in its longest lists.
const SEARCH: usize = 14;
const SEARCHES: usize = 4 * SEARCH;

/// Of the rules at `places`, whose texts are sorted, those whose text begins with `head`.
fn within<'t>(
    places: &'t [usize],
    head: &'t str,
    entry: impl Fn(usize) -> &'t Entry,
) -> impl IntoIterator<Item = &'t Entry> {
    let start = places.partition_point(|place| &*entry(*place).uri < head);
    let entries = places[start..].iter().map(move |place| entry(*place));
    entries.take_while(move |entry| entry.uri.starts_with(head))
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| {
        let laxness = |entry: &Entry| match entry.effect {
            Effect::Deny => 0,
            Effect::Ask(_) => 1,
            Effect::Allow => 2,
        };
        a.uri.cmp(&b.uri).then(laxness(a).cmp(&laxness(b)))
    });
    entries.dedup_by(|later, first| later.uri == first.uri);
    entries
}

/// Sorted prefixes, each with the longest other one that it begins with.
fn linked(entries: Vec<Entry>) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut parent = prefixes.len().checked_sub(1);
        while let Some(place) = parent {
            if entry.uri.starts_with(&*prefixes[place].entry.uri) {
                break;
            }
            parent = prefixes[place].parent;
        }
        prefixes.push(Prefix { entry, parent });
    }
    prefixes
}

fn shapes(entries: Vec<Entry>) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for entry in entries {
        let (components, open) = shape_of(&entry.uri);
        assert!(components <= MAX_RULE_COMPONENTS, "the configuration bounds the components");
        let at = shapes.binary_search_by_key(&(components, open), |s| (s.components, s.open));
        let place = at.unwrap_or_else(|place| {
            shapes.insert(place, Shape { components, open, entries: Vec::new() });
            place
        });
        shapes[place].entries.push(entry);
    }
    shapes
}

/// The text of the wildcard that leaves `text` open there.
fn write_key(text: &str, open: u128, key: &mut String) {
    key.clear();
    for (position, component) in text.split('.').enumerate() {
        if position > 0 {
            key.push('.');
        }
        if (open << position) >> 127 == 0 {
            key.push_str(component);
        }
    }
}

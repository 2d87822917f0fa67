//! How the URIs of two patterns lie to each other: within, apart, or partly in both.
//!
//! A prefix goes by characters, a wildcard by components; no component of a URI is empty.

use super::MAX_RULE_COMPONENTS;
use crate::wamp::MatchPolicy;

/// A pattern's text with its policy.
pub(super) type Pattern<'p> = (&'p str, MatchPolicy);

/// Whether every URI that `inner` matches is one that `outer` matches.
pub fn covers(outer: Pattern<'_>, inner: Pattern<'_>) -> bool {
    use MatchPolicy::{Exact, Prefix, Wildcard};
    match (outer.1, inner.1) {
        (Prefix, _) => literal_head(inner).starts_with(outer.0),
        // URIs with a prefix have any number of components.
        (Exact | Wildcard, Prefix) => false,
        (Exact, Exact | Wildcard) => outer.0 == inner.0 && !is_open(inner),
        (Wildcard, Exact | Wildcard) => outer.1.matches(outer.0, inner.0),
    }
}

/// Whether some URI is matched by both.
pub fn overlaps(one: Pattern<'_>, other: Pattern<'_>) -> bool {
    use MatchPolicy::{Exact, Prefix, Wildcard};
    match (one.1, other.1) {
        (Exact, policy) => policy.matches(other.0, one.0),
        (policy, Exact) => policy.matches(one.0, other.0),
        (Prefix, Prefix) => one.0.starts_with(other.0) || other.0.starts_with(one.0),
        (Prefix, Wildcard) => prefix_meets(one.0, other.0),
        (Wildcard, Prefix) => prefix_meets(other.0, one.0),
        (Wildcard, Wildcard) => wildcards_meet(one.0, other.0),
    }
}

/// How many components a text has, and which of the first 128 are open, as bits from the highest.
pub fn shape_of(text: &str) -> (usize, u128) {
    let (mut components, mut open) = (0, 0);
    for component in text.split('.') {
        if components < MAX_RULE_COMPONENTS {
            open |= u128::from(component.is_empty()) << (127 - components);
        }
        components += 1;
    }
    (components, open)
}

/// What all URIs of a pattern begin with: the text before the first open component.
pub(super) fn literal_head(pattern: Pattern<'_>) -> &str {
    let (text, policy) = pattern;
    if policy != MatchPolicy::Wildcard {
        return text;
    }
    let mut start = 0;
    for component in text.split('.') {
        if component.is_empty() {
            return &text[..start];
        }
        start += component.len() + 1;
    }
    text
}

/// Whether a pattern matches more than one URI.
pub(super) fn is_open(pattern: Pattern<'_>) -> bool {
    match pattern.1 {
        MatchPolicy::Exact => false,
        MatchPolicy::Prefix => true,
        MatchPolicy::Wildcard => pattern.0.split('.').any(str::is_empty),
    }
}

/// Whether a URI of the wildcard begins with the prefix.
fn prefix_meets(prefix: &str, wildcard: &str) -> bool {
    let mut components = wildcard.split('.');
    let (whole, last) = prefix.rsplit_once('.').map_or((None, prefix), |(w, l)| (Some(w), l));
    let agree = |given: &str, ours: Option<&str>| {
        ours.is_some_and(|ours| !given.is_empty() && (ours.is_empty() || ours == given))
    };
    if !whole.is_none_or(|whole| whole.split('.').all(|given| agree(given, components.next()))) {
        return false;
    }
    components.next().is_some_and(|ours| ours.is_empty() || ours.starts_with(last))
}

/// Whether two wildcards agree wherever both are not open.
fn wildcards_meet(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.is_empty() || b.is_empty() || a == b => {}
            _ => return false,
        }
    }
}

//! Crossbar decides by the longest rule whose text a URI begins with, whatever its policy, and by
//! a wildcard before any prefix. Here the most specific rule decides that matches and names the
//! action. This writes rules that decide the same for each URI, or deny what cannot be said.
//!
//! The texts of rules without `..` are a tree: below each of them, as far as no longer one begins,
//! lies a *region* whose URIs it decides about. An exact rule grants nothing in its region, except
//! its own URI, so a prefix that denies goes with it where a shorter one would grant.

use std::collections::BTreeMap;

use super::notes::Notes;
use super::rules::{Actions, Rule, place_in_tables};
use crate::authorization::{Action, Disclosure, MAX_RULE_COMPONENTS, overlaps, shape_of};
use crate::wamp::{MatchPolicy, UriRule, is_valid_pattern};

/// A permission of this router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) uri: String,
    pub(super) policy: MatchPolicy,
    pub(super) allow: Actions,
    pub(super) deny: Actions,
    pub(super) disclose: Vec<Disclosure>,
    pub(super) authorizer: Option<String>,
    /// What is said above it, each a paragraph.
    pub(super) comments: Vec<String>,
}

impl Written {
    pub(super) fn new(uri: impl Into<String>, policy: MatchPolicy) -> Self {
        Self {
            uri: uri.into(),
            policy,
            allow: Actions::NONE,
            deny: Actions::NONE,
            disclose: Vec::new(),
            authorizer: None,
            comments: Vec::new(),
        }
    }
}

/// A region: what is granted there, and what a prefix at it or above it says at all.
#[derive(Clone, Debug)]
struct Region {
    text: String,
    /// The rule that it belongs to; `None`: it is there for a wildcard alone.
    rule: Option<usize>,
    grants: Actions,
    /// Denied for the sake of wildcards, which cannot deny here what a prefix grants.
    barred: Actions,
    deny: Actions,
    named: Actions,
}

/// Rules that decide as crossbar's do. Each of `rules` has a place of its own in its tables.
pub(super) fn written(rules: &[Rule], uri_rule: UriRule, notes: &mut Notes) -> Vec<Written> {
    let mut regions = regions(rules);
    let wildcards: Vec<_> = rules.iter().filter(|rule| place_in_tables(rule).0).collect();
    for wildcard in wildcards.iter().filter(|wildcard| is_seen(wildcard)) {
        bar(wildcard, &mut regions, notes);
    }
    settle(&mut regions);
    let granted: Vec<_> =
        wildcards.iter().map(|rule| granted_by(rule, &wildcards, &regions, notes)).collect();
    let shapes = wildcards.iter().zip(granted.iter().copied()).collect::<Vec<_>>();
    let mut list = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let own = regions.get(&rule.uri).filter(|region| region.rule == Some(number));
        match own {
            Some(region) => plain(rule, region, &shapes, uri_rule, &mut list, notes),
            None => {
                let place = wildcards.iter().position(|other| other.uri == rule.uri);
                let allow = place.map_or(Actions::NONE, |place| granted[place]);
                if !allow.is_empty() {
                    list.push(rewritten(rule, MatchPolicy::Wildcard, allow));
                }
            }
        }
    }
    for region in regions.values().filter(|region| region.rule.is_none() && !region.deny.is_empty())
    {
        let text = "Wildcards of crossbar's go before prefixes, and deny what they leave out; here \
                    prefixes go first, so this one has to deny it.";
        let comments = vec![text.to_owned()];
        let base = Written::new(&*region.text, MatchPolicy::Prefix);
        list.push(Written { deny: region.deny, comments, ..base });
    }
    list
}

/// The regions of rules without `..`, by their texts.
fn regions(rules: &[Rule]) -> BTreeMap<String, Region> {
    let mut regions = BTreeMap::new();
    for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| !place_in_tables(rule).0) {
        let is_prefix = rule.policy == MatchPolicy::Prefix;
        let region = Region {
            text: rule.uri.clone(),
            rule: Some(number),
            grants: if is_prefix { rule.allow } else { Actions::NONE },
            barred: Actions::NONE,
            deny: Actions::NONE,
            named: Actions::NONE,
        };
        regions.insert(rule.uri.clone(), region);
    }
    regions
}

/// Finds out what each region has to deny: what the one around it grants and it does not.
fn settle(regions: &mut BTreeMap<String, Region>) {
    let mut around: Vec<(String, Actions, Actions)> = Vec::new();
    for region in regions.values_mut() {
        while around.last().is_some_and(|(text, ..)| !region.text.starts_with(&**text)) {
            around.pop();
        }
        let (granted, named) = around
            .last()
            .map_or((Actions::NONE, Actions::NONE), |(_, granted, named)| (*granted, *named));
        if region.rule.is_none() {
            region.grants = granted;
        }
        region.grants = region.grants.without(region.barred);
        region.deny = granted.without(region.grants);
        region.named = named.and(region.grants).and(region.deny);
        around.push((region.text.clone(), region.grants, region.named));
    }
}

/// Denies in regions what a wildcard denies of it there: a prefix would grant it here.
fn bar(wildcard: &Rule, regions: &mut BTreeMap<String, Region>, notes: &mut Notes) {
    let denied = Actions::ALL.without(wildcard.allow);
    let head = head_of(wildcard);
    let mut lost = Vec::new();
    let holder = holder(&head, regions);
    if let Some(text) = holder
        && !regions[&text].grants.common(denied).is_empty()
    {
        let grants = regions[&text].grants;
        let region = regions.entry(head.clone()).or_insert_with(|| Region {
            text: head.clone(),
            rule: None,
            grants,
            barred: Actions::NONE,
            deny: Actions::NONE,
            named: Actions::NONE,
        });
        region.barred = region.barred.and(denied);
        lost.push(head.clone());
    }
    let pattern = (&*wildcard.uri, MatchPolicy::Wildcard);
    for (text, region) in regions.iter_mut().filter(|(text, _)| text.starts_with(&*head)) {
        let meets = overlaps((text, MatchPolicy::Prefix), pattern);
        if *text != head && meets && !region.grants.common(denied).is_empty() {
            region.barred = region.barred.and(denied);
            lost.push(text.clone());
        }
    }
    for text in lost {
        let text = format!(
            "crossbar asks this wildcard before prefixes, and it does not grant to {denied}. Here \
             a prefix goes first, so that is denied for all URIs that begin with `{text}`"
        );
        notes.denied(&*wildcard.place, text);
    }
}

/// The longest region that a text lies in.
fn holder(text: &str, regions: &BTreeMap<String, Region>) -> Option<String> {
    let mut before = regions.range(..=text.to_owned()).rev();
    before.find(|(region, _)| text.starts_with(&***region)).map(|(region, _)| region.clone())
}

/// What is written of a wildcard: what some of its URIs are granted by it alone.
fn granted_by(
    wildcard: &Rule,
    all: &[&Rule],
    regions: &BTreeMap<String, Region>,
    notes: &mut Notes,
) -> Actions {
    let place = &*wildcard.place;
    if !is_seen(wildcard) {
        let text = "this wildcard never matches in crossbar, whose literal parts must be a-z, 0-9, \
                    `_` and `-`. It is not carried over";
        notes.hint(place, text);
        return Actions::NONE;
    }
    let (head, pattern) = (head_of(wildcard), (&*wildcard.uri, MatchPolicy::Wildcard));
    let is_inner = |other: &&&Rule| {
        let (own, inner) = (place_in_tables(wildcard).1, place_in_tables(other).1);
        inner != own && inner.starts_with(&own) && overlaps((&inner, MatchPolicy::Prefix), pattern)
    };
    if let Some(inner) = all.iter().find(is_inner) {
        let text = format!(
            "crossbar does not ask this wildcard where {} begins alike, which cannot be said here; \
             so it grants nothing",
            inner.place
        );
        notes.denied(place, text);
        return Actions::NONE;
    }
    let within = regions.iter().filter(|(text, _)| {
        text.starts_with(&*head) && overlaps((text, MatchPolicy::Prefix), pattern)
    });
    let holder = holder(&head, regions);
    let mut met: Vec<_> = within.map(|(_, region)| region).collect();
    met.extend(holder.iter().filter(|text| **text != head).map(|text| &regions[text]));
    let is_lost = |action: &Action| {
        met.iter().any(|region| region.named.has(*action) && !region.grants.has(*action))
    };
    let lost: Vec<_> = wildcard.allow.iter().filter(is_lost).map(Action::as_str).collect();
    if !lost.is_empty() {
        let text = format!(
            "crossbar asks this wildcard before prefixes. Here a prefix goes first, and one has to \
             deny to {} there, so some of what this wildcard grants is denied",
            lost.join(", ")
        );
        notes.denied(place, text);
    }
    let is_outside = holder.is_none();
    let needs = |action: &Action| is_outside || met.iter().any(|one| !one.named.has(*action));
    let needed = wildcard.allow.iter().filter(needs);
    let mut allow = Actions::NONE;
    needed.for_each(|action| allow = allow.and(Actions::of(action)));
    if shape_of(&wildcard.uri).0 > MAX_RULE_COMPONENTS {
        notes.missing(place, format!("a wildcard has at most {MAX_RULE_COMPONENTS} components"));
        return Actions::NONE;
    }
    allow
}

/// What becomes of a rule without `..`.
fn plain(
    rule: &Rule,
    region: &Region,
    wildcards: &[(&&Rule, Actions)],
    uri_rule: UriRule,
    list: &mut Vec<Written>,
    notes: &mut Notes,
) {
    let is_valid = |policy| is_valid_pattern(&rule.uri, policy, uri_rule);
    if !is_valid(MatchPolicy::Prefix) {
        let text = "no URI that is valid in this realm matches this rule, so it is left out";
        notes.hint(&*rule.place, text);
        return;
    }
    if rule.policy == MatchPolicy::Prefix {
        let mut prefix = rewritten(rule, MatchPolicy::Prefix, region.grants);
        prefix.deny = region.deny;
        list.extend(Some(prefix).filter(|prefix| !prefix.allow.and(prefix.deny).is_empty()));
        return;
    }
    let shadow = region.deny;
    if rule.uri.is_empty() && !rule.allow.is_empty() {
        let text = "crossbar of today grants nothing by a rule for the empty URI without `match`, \
                    as that is exact; crossbar of earlier years took it for all URIs. If that is \
                    meant, write `match = \"prefix\"`";
        notes.hint(&*rule.place, text);
    } else if is_valid(MatchPolicy::Exact) {
        let matching = wildcards
            .iter()
            .filter(|(wildcard, _)| MatchPolicy::Wildcard.matches(&wildcard.uri, &rule.uri));
        let elsewhere = matching.fold(Actions::NONE, |all, (_, allow)| all.and(*allow));
        let allow = granted_at(rule, wildcards);
        let mut exact = rewritten(rule, MatchPolicy::Exact, allow);
        exact.deny = elsewhere.and(shadow).without(allow);
        list.extend(Some(exact).filter(|exact| !exact.allow.and(exact.deny).is_empty()));
    }
    if rule.policy == MatchPolicy::Wildcard && !rule.allow.is_empty() {
        let text = "crossbar takes a wildcard without `..` for its own text alone, however it \
                    begins and ends";
        notes.hint(&*rule.place, text);
    }
    if !shadow.is_empty() {
        let text = format!(
            "an exact rule hides shorter prefixes in crossbar for all URIs that begin with it, so \
             to {shadow} `{0}...` is denied there. Here the prefix would grant it; a permission \
             that denies is written. Remove it if only `{0}` was meant",
            rule.uri
        );
        notes.hint(&*rule.place, text);
        let text = "Crossbar grants nothing below an exact rule, although a shorter prefix does. \
                    Remove this one if that was never meant.";
        let comments = vec![text.to_owned()];
        list.push(Written {
            deny: shadow,
            comments,
            ..Written::new(&*rule.uri, MatchPolicy::Prefix)
        });
    }
}

/// What is granted of the URI of a rule without `..`: an exact one goes before all wildcards, one
/// that says `wildcard` does not.
fn granted_at(rule: &Rule, wildcards: &[(&&Rule, Actions)]) -> Actions {
    let begins = |wildcard: &&Rule| rule.uri.starts_with(&place_in_tables(wildcard).1);
    let asked = wildcards.iter().map(|(wildcard, _)| **wildcard).filter(begins);
    let asked = asked.max_by_key(|wildcard| place_in_tables(wildcard).1.len());
    let matching = asked.filter(|wildcard| {
        is_seen(wildcard) && MatchPolicy::Wildcard.matches(&wildcard.uri, &rule.uri)
    });
    match matching {
        Some(wildcard) if rule.policy == MatchPolicy::Wildcard => wildcard.allow,
        _ => rule.allow,
    }
}

fn rewritten(rule: &Rule, policy: MatchPolicy, allow: Actions) -> Written {
    let disclose = rule.disclose.iter().copied().filter(|who| allow.has(who.action())).collect();
    let comments = vec![rule.place.clone()];
    Written { allow, disclose, comments, ..Written::new(&*rule.uri, policy) }
}

/// Whether crossbar ever asks it: it finds wildcards by what comes before `..`, and reads them with
/// a parser that knows lower-case components only.
fn is_seen(wildcard: &Rule) -> bool {
    let is_literal = |component: &str| {
        let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let rest = |byte: u8| first(&byte) || matches!(byte, b'_' | b'-');
        component.bytes().next().is_none_or(|byte| first(&byte)) && component.bytes().all(rest)
    };
    !place_in_tables(wildcard).1.starts_with('.') && wildcard.uri.split('.').all(is_literal)
}

/// What all URIs of a wildcard begin with.
fn head_of(wildcard: &Rule) -> String {
    let head = place_in_tables(wildcard).1;
    if head.is_empty() { head } else { head + "." }
}

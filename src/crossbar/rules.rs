//! The rules of a role as crossbar's file writes them, and what they become here.

use std::collections::BTreeMap;
use std::fmt;

use super::notes::Notes;
use super::precedence::{Written, written};
use super::section::Section;
use crate::authorization::{Action, Disclosure, MAX_PERMISSIONS};
use crate::wamp::{MatchPolicy, UriRule};

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions(u8);

impl Actions {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(0b1111);

    pub(super) const fn of(action: Action) -> Self {
        Self(1 << action as u8)
    }

    pub(super) const fn has(self, action: Action) -> bool {
        self.0 & Self::of(action).0 != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.has(*action))
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Action::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

/// One rule of crossbar's, its stars made into a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) place: String,
    pub(super) uri: String,
    pub(super) policy: MatchPolicy,
    pub(super) allow: Actions,
    pub(super) disclose: Vec<Disclosure>,
}

/// The permissions of a role.
pub(super) fn permissions(
    role: &Section<'_>,
    uri_rule: UriRule,
    notes: &mut Notes,
) -> Vec<Written> {
    let sections = role.sections("permissions", notes);
    if sections.len() > MAX_PERMISSIONS / 2 {
        let text = "so many rules that they cannot be written here; the role may do nothing";
        notes.missing(role.at("permissions"), text);
        return Vec::new();
    }
    let rules = sections.iter().filter_map(|section| rule(section, notes)).collect();
    let rules = last_of_each(rules, notes);
    written(&rules, uri_rule, notes)
}

/// `None` if there is no URI.
fn rule(section: &Section<'_>, notes: &mut Notes) -> Option<Rule> {
    let place = section.place.clone();
    let Some(uri) = section.text("uri", notes) else {
        notes.missing(place, "a rule without `uri`, with which crossbar does not start");
        return None;
    };
    let said = section.text("match", notes);
    let policy = said.and_then(|policy| match policy {
        "exact" => Some(MatchPolicy::Exact),
        "prefix" => Some(MatchPolicy::Prefix),
        "wildcard" => Some(MatchPolicy::Wildcard),
        _ => None,
    });
    let (uri, policy) = match (said, policy) {
        (None, _) if section.has("match") => (uri.to_owned(), MatchPolicy::Exact),
        (None, _) => without_stars(uri),
        (Some(_), Some(policy)) => (uri.to_owned(), policy),
        (Some(other), None) => {
            let text =
                format!("`{other}` is no way to match a URI; nothing is granted by this rule");
            notes.missing(section.at("match"), text);
            return Some(Rule { allow: Actions::NONE, ..bare(place, uri.to_owned()) });
        }
    };
    if section.has("match") && uri.contains('*') {
        let text = "with `match`, crossbar takes a star as the letter, so this rule is for no URI \
                    that anybody uses; it is written as it is. Without the star it is a prefix";
        notes.hint(section.at("uri"), text);
    }
    let allow = allowed(section, notes);
    let disclose = disclosed(section, allow, notes);
    section.ignore(&["cache"]);
    if section.item("validate").is_some() {
        notes.missing(section.at("validate"), "payloads are not validated");
    }
    section.finish(notes);
    Some(Rule { place, uri, policy, allow, disclose })
}

fn bare(place: String, uri: String) -> Rule {
    let (policy, allow, disclose) = (MatchPolicy::Exact, Actions::NONE, Vec::new());
    Rule { place, uri, policy, allow, disclose }
}

/// A URI without `match`: one star at its end makes a prefix of it, others stand for components.
fn without_stars(uri: &str) -> (String, MatchPolicy) {
    match (uri.matches('*').count(), uri.strip_suffix('*')) {
        (0, _) => (uri.to_owned(), MatchPolicy::Exact),
        (1, Some(prefix)) => (prefix.to_owned(), MatchPolicy::Prefix),
        _ => (uri.replace('*', ""), MatchPolicy::Wildcard),
    }
}

/// What it grants: below `allow`, or beside `uri` as it was written before 2015.
fn allowed(section: &Section<'_>, notes: &mut Notes) -> Actions {
    let below = section.section("allow", notes);
    let has_flat = Action::ALL.iter().any(|action| section.has(action.as_str()));
    let granted = |from: &Section<'_>, notes: &mut Notes| {
        let is_granted = |action: &Action| from.bool(action.as_str(), notes) == Some(true);
        let granted: Vec<_> = Action::ALL.into_iter().filter(is_granted).collect();
        granted.into_iter().fold(Actions::NONE, |all, action| all.and(Actions::of(action)))
    };
    let place = &section.place;
    match (below, has_flat) {
        (Some(allow), has_flat) => {
            section.ignore(&Action::ALL.map(Action::as_str));
            if has_flat {
                let text = "actions beside `allow` grant nothing, there and here";
                notes.hint(&**place, text);
            }
            let actions = granted(&allow, notes);
            allow.finish(notes);
            actions
        }
        (None, true) => {
            let actions = granted(section, notes);
            let text = "the old form, with actions beside `uri`: crossbar of today grants nothing \
                        by it. It is carried over as it was meant";
            notes.changed(&**place, text);
            actions
        }
        (None, false) => Actions::NONE,
    }
}

/// Who is made known, as far as the rule allows what they do.
fn disclosed(section: &Section<'_>, allow: Actions, notes: &mut Notes) -> Vec<Disclosure> {
    let Some(disclose) = section.section("disclose", notes) else { return Vec::new() };
    let mut found = Vec::new();
    for who in [Disclosure::Caller, Disclosure::Publisher] {
        if disclose.bool(who.as_str(), notes) == Some(true) && allow.has(who.action()) {
            found.push(who);
        }
    }
    disclose.finish(notes);
    found
}

/// Of rules that crossbar keeps at one place in its tables, it knows the last one only.
fn last_of_each(rules: Vec<Rule>, notes: &mut Notes) -> Vec<Rule> {
    let mut last: BTreeMap<(bool, String), usize> = BTreeMap::new();
    for (number, rule) in rules.iter().enumerate() {
        last.insert(place_in_tables(rule), number);
    }
    let is_last = |(number, rule): &(usize, &Rule)| last[&place_in_tables(rule)] == *number;
    for (_, rule) in rules.iter().enumerate().filter(|one| !is_last(one)) {
        let other = &rules[last[&place_in_tables(rule)]];
        let text = format!("crossbar does not see this rule, as {} takes its place", other.place);
        notes.hint(&*rule.place, text);
    }
    rules.iter().enumerate().filter(is_last).map(|(_, rule)| rule.clone()).collect()
}

/// Rules with `..` stand in a table of their own, by what comes before it.
pub(super) fn place_in_tables(rule: &Rule) -> (bool, String) {
    match rule.uri.split_once("..") {
        Some((head, _)) => (true, head.to_owned()),
        None => (false, rule.uri.clone()),
    }
}

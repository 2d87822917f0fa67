//! The tables against the words of the specification, over all URIs of a small alphabet.

use std::cmp::Reverse;

use proptest::collection::vec;
use proptest::prelude::*;

use super::memory::{MAX_BYTES, MAX_DECISIONS};
use super::*;
use crate::wamp::MatchPolicy::{self, Exact, Prefix, Wildcard};

const POLICIES: [MatchPolicy; 3] = [Exact, Prefix, Wildcard];

/// All URIs of up to four of these words; no pattern here has more than three.
fn universe() -> Vec<String> {
    let words = ["a", "b", "ab", "c"];
    let mut all: Vec<String> = words.map(String::from).into();
    let mut last = all.clone();
    for _ in 0..3 {
        last = last.iter().flat_map(|uri| words.map(|word| format!("{uri}.{word}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn matched<'u>(
    universe: &'u [String],
    (pattern, policy): (&str, MatchPolicy),
) -> impl Iterator<Item = &'u String> {
    universe.iter().filter(move |uri| policy.matches(pattern, uri))
}

/// A valid pattern of up to three components.
fn pattern() -> impl Strategy<Value = (String, MatchPolicy)> {
    let component = prop_oneof!["a", "ab", "b", ""];
    let pattern = (vec(component, 1..4), 0..3_usize);
    pattern
        .prop_map(|(words, policy)| (words.join("."), POLICIES[policy]))
        .prop_filter("it is valid", |(text, policy)| {
            crate::wamp::is_valid_pattern(text, *policy, crate::wamp::UriRule::Loose)
        })
}

/// A rule that allows or denies SUBSCRIBE, PUBLISH, or both; some ask one of two authorizers about
/// what they allow.
fn permission() -> impl Strategy<Value = Permission> {
    let authorizer = prop_oneof![3 => Just(None), 1 => Just(Some("x")), 1 => Just(Some("y"))];
    (pattern(), 1..9_u8, authorizer).prop_map(|((uri, policy), effects, authorizer)| {
        let listed = |wanted: u8| {
            let says = move |place: u32| effects / 3_u8.pow(place) % 3 == wanted;
            let actions = [(0, Action::Subscribe), (1, Action::Publish)];
            actions.into_iter().filter(move |(place, _)| says(*place)).map(|(_, action)| action)
        };
        Permission {
            uri,
            policy,
            allow: listed(1).collect(),
            deny: listed(2).collect(),
            authorizer: authorizer.map(Into::into),
            ..Permission::default()
        }
    })
}

/// What a rule, or all of them, say of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said<'p> {
    Denies,
    Asks(&'p str),
    Allows,
}

impl<'p> Said<'p> {
    fn by(permission: &'p Permission, action: Action) -> Self {
        match &permission.authorizer {
            _ if permission.deny.contains(&action) => Self::Denies,
            Some(authorizer) => Self::Asks(authorizer),
            None => Self::Allows,
        }
    }

    /// Of two rules for the same URIs the lower one counts, or the first.
    const fn laxness(self) -> u8 {
        match self {
            Self::Denies => 0,
            Self::Asks(_) => 1,
            Self::Allows => 2,
        }
    }
}

fn said(role: &Role, action: Action, uri: &str, policy: MatchPolicy) -> Said<'static> {
    match role.authorize(action, uri, policy) {
        Decision::Allow(_) => Said::Allows,
        Decision::Deny(_) => Said::Denies,
        Decision::Ask(rule) => match &**role.authorizer(rule).expect("it asks somebody") {
            "x" => Said::Asks("x"),
            _ => Said::Asks("y"),
        },
    }
}

/// The specification's order as it says it (AP-PBR-04): smaller is better.
fn rank(pattern: &str, policy: MatchPolicy) -> (u8, Vec<Reverse<usize>>) {
    let runs = match policy {
        Exact => Vec::new(),
        Prefix => vec![pattern.len()],
        Wildcard => {
            let components: Vec<&str> = pattern.split('.').collect();
            components.split(|component| component.is_empty()).map(<[&str]>::len).collect()
        }
    };
    (policy as u8, runs.into_iter().map(Reverse).collect())
}

/// What the rules say of one URI, rule by rule.
fn decide<'p>(permissions: &'p [Permission], action: Action, uri: &str) -> Option<Said<'p>> {
    let matching = permissions.iter().filter(|p| p.names(action) && p.policy.matches(&p.uri, uri));
    let key = |p: &&Permission| (rank(&p.uri, p.policy), Said::by(p, action).laxness());
    Some(Said::by(matching.min_by_key(key)?, action))
}

/// The same of a pattern, after the definition in `docs/authorization.md`.
fn decide_pattern<'p>(permissions: &'p [Permission], pattern: (&str, MatchPolicy)) -> Said<'p> {
    let said = |p: &'p Permission| Said::by(p, Action::Subscribe);
    let key = |p: &Permission| (rank(&p.uri, p.policy), Said::by(p, Action::Subscribe).laxness());
    let named: Vec<_> = permissions.iter().filter(|p| p.names(Action::Subscribe)).collect();
    // Of several for the same URIs one counts.
    let counts = |(place, p): &(usize, &&'p Permission)| {
        let same = |other: &&&Permission| (&other.uri, other.policy) == (&p.uri, p.policy);
        let mut earlier = named[..*place].iter().filter(same);
        let mut later = named[*place + 1..].iter().filter(same);
        earlier.all(|other| key(p) < key(other)) && later.all(|other| key(p) <= key(other))
    };
    let all: Vec<_> = named.iter().enumerate().filter(counts).map(|(_, p)| *p).collect();
    let covering = all.iter().filter(|p| covers((&p.uri, p.policy), pattern));
    let Some(best) = covering.min_by_key(|p| key(p)) else { return Said::Denies };
    let restricts = |p: &&'p Permission| {
        let differs = !matches!(said(p), Said::Allows) && said(p) != said(best);
        differs && key(p) < key(best) && overlaps((&p.uri, p.policy), pattern)
    };
    if all.iter().any(restricts) { Said::Denies } else { said(best) }
}

fn role(permissions: Vec<Permission>) -> Role {
    Role::new(&RoleSettings::new("r", permissions), Powers::default())
}

fn is_allowed(role: &Role, action: Action, uri: &str, policy: MatchPolicy) -> bool {
    said(role, action, uri, policy) == Said::Allows
}

proptest! {
    /// What covers and what overlaps, by the URIs that are matched.
    #[test]
    fn patterns_lie_to_each_other_as_their_uris_do(one in pattern(), other in pattern()) {
        let (one, other) = ((&*one.0, one.1), (&*other.0, other.1));
        let all = universe();
        let both = matched(&all, one).any(|uri| other.1.matches(other.0, uri));
        prop_assert_eq!(overlaps(one, other), both);
        let within = matched(&all, other).all(|uri| one.1.matches(one.0, uri));
        prop_assert_eq!(covers(one, other), within);
    }

    /// AU-AZ-03: the tables find the most specific rule for each URI.
    #[test]
    fn the_most_specific_rule_decides(permissions in vec(permission(), 0..30)) {
        let role = role(permissions.clone());
        for uri in universe() {
            for action in [Action::Subscribe, Action::Publish, Action::Call] {
                let expected = decide(&permissions, action, &uri);
                let decision = role.authorize(action, &uri, Exact);
                let told = said(&role, action, &uri, Exact);
                prop_assert_eq!(told, expected.unwrap_or(Said::Denies));
                prop_assert_eq!(decision == Decision::Deny(None), expected.is_none(), "{}", uri);
            }
        }
    }

    /// A pattern that is granted holds no URI that is not; and it is granted where one rule covers
    /// it and no more specific one denies a part, or asks another authorizer about it.
    #[test]
    fn nothing_that_is_denied_leaks_through_a_pattern(
        permissions in vec(permission(), 0..30),
        patterns in vec(pattern(), 20),
    ) {
        let (role, all) = (role(permissions.clone()), universe());
        for (text, policy) in &patterns {
            let pattern = (&**text, *policy);
            let granted = said(&role, Action::Subscribe, text, *policy);
            prop_assert_eq!(granted, decide_pattern(&permissions, pattern), "{:?}", pattern);
            if granted != Said::Denies {
                for uri in matched(&all, pattern) {
                    let decided = decide(&permissions, Action::Subscribe, uri);
                    let is_granted = [Some(Said::Allows), Some(granted)].contains(&decided);
                    prop_assert!(is_granted, "{} of {:?}", uri, pattern);
                }
            }
        }
    }

    /// The rule that explains is the rule that decides, and each rule is told once.
    #[test]
    fn an_explanation_tells_of_every_rule(
        permissions in vec(permission(), 0..20),
        (uri, policy) in pattern(),
    ) {
        let role = role(permissions.clone());
        let told = role.explain(Action::Subscribe, &uri, policy);
        prop_assert_eq!(told.decision, role.authorize(Action::Subscribe, &uri, policy));
        prop_assert_eq!(told.rules.len() + told.unrelated, permissions.len());
        let decided = told.rules.iter().filter(|(_, outcome)| *outcome == Outcome::Decides);
        let by_none = told.decision == Decision::Deny(None);
        prop_assert_eq!(decided.count(), usize::from(!by_none));
    }

    /// The memory repeats what it was told, and keeps within its bounds.
    #[test]
    fn what_is_remembered_is_what_was_decided(
        requests in vec(("[ab]{1,3}(\\.[a-z]{1,40}){0,5}", 0..3_usize, 0..4_usize), 0..400),
    ) {
        let mut memory = Memory::default();
        for (number, (uri, policy, action)) in (0_u32..).zip(&requests) {
            let (policy, action) = (POLICIES[*policy], Action::ALL[*action]);
            let decision = Decision::Deny(Some(RuleId(number)));
            memory.remember(action, uri, policy, decision);
            prop_assert_eq!(memory.recall(action, uri, policy), Some(decision));
            let other = if policy == Exact { Prefix } else { Exact };
            prop_assert_ne!(memory.recall(action, uri, other), Some(decision));
            let (entries, bytes) = memory.size();
            prop_assert!(entries <= MAX_DECISIONS && bytes <= MAX_BYTES);
        }
    }
}

#[test]
fn a_long_uri_is_not_remembered() {
    let (mut memory, long) = (Memory::<Decision>::default(), "a".repeat(257));
    memory.remember(Action::Call, &long, Exact, Decision::Deny(None));
    assert_eq!(memory.recall(Action::Call, &long, Exact), None);
    assert_eq!(memory.size(), (0, 0));
}

/// Pitfall 6: a prefix subscription over an exact grant, a wildcard registration over a prefix.
#[test]
fn a_grant_covers_the_whole_pattern_or_nothing() {
    let allow = |uri: &str, policy| Permission {
        uri: uri.into(),
        policy,
        allow: Action::ALL.into(),
        ..Permission::default()
    };
    let role =
        role(vec![allow("com.a", Exact), allow("com.b.", Prefix), allow("org..x", Wildcard)]);
    for (uri, policy, granted) in [
        ("com.a", Exact, true),
        ("com.a", Prefix, false),
        ("com.a", Wildcard, true),
        ("com.b.", Prefix, true),
        ("com.b.c", Prefix, true),
        ("com.b", Prefix, false),
        ("com..c", Wildcard, false),
        ("com.b.", Wildcard, true),
        ("com.b..c", Wildcard, true),
        ("org.", Prefix, false),
        ("org..x", Wildcard, true),
        ("org.a.x", Wildcard, true),
        ("org..", Wildcard, false),
        ("..x", Wildcard, false),
    ] {
        for action in [Action::Subscribe, Action::Register] {
            assert_eq!(is_allowed(&role, action, uri, policy), granted, "{uri} {policy:?}");
        }
    }
}

/// AP-SMA-07: who may do everything may not end sessions; who is an admin may do that alone.
#[test]
fn what_ends_others_must_be_named() {
    let kill = "wamp.session.kill";
    let everything = Permission::everything_below("");
    let role = role(vec![everything.clone()]);
    assert_eq!(role.authorize(Action::Call, kill, Exact), Decision::Deny(None));
    assert!(is_allowed(&role, Action::Call, "wamp.session.count", Exact));
    assert!(is_allowed(&role, Action::Subscribe, kill, Exact), "it is no procedure there");
    for by_name in [kill, "wamp.", "wamp.session."] {
        let policy = if by_name == kill { Exact } else { Prefix };
        let named = Permission { policy, ..Permission::everything_below(by_name) };
        let role =
            Role::new(&RoleSettings::new("r", vec![everything.clone(), named]), Powers::default());
        assert!(is_allowed(&role, Action::Call, kill, Exact), "{by_name}");
    }
    let powers = Powers { is_admin: true, standing: None };
    let admin = Role::new(&RoleSettings::new("r", Vec::new()), powers);
    for procedure in ADMINISTRATIVE {
        assert!(is_allowed(&admin, Action::Call, procedure, Exact), "{procedure}");
    }
    assert!(!is_allowed(&admin, Action::Call, "wamp.session.count", Exact));
    let deny = Permission { uri: kill.into(), deny: vec![Action::Call], ..Permission::default() };
    let admin = Role::new(&RoleSettings::new("r", vec![deny]), powers);
    assert!(!is_allowed(&admin, Action::Call, kill, Exact), "a rule of its own says no");
}

/// A rule may have its own level, and else has that of its role.
#[test]
fn terms_are_those_of_the_rule_that_decides() {
    let secret = Permission {
        uri: "com.secret".into(),
        trustlevel: Some(9),
        disclose: vec![Disclosure::Publisher],
        allow: vec![Action::Publish],
        ..Permission::default()
    };
    let permissions = vec![Permission::everything_below(""), secret];
    let settings = RoleSettings { trustlevel: Some(1), ..RoleSettings::new("r", permissions) };
    let role = Role::new(&settings, Powers::default());
    let terms = |uri| match role.authorize(Action::Publish, uri, Exact) {
        Decision::Allow(rule) => role.rule(rule).terms,
        other => panic!("{uri}: {other:?}"),
    };
    let (plain, secret) = (terms("com.x"), terms("com.secret"));
    assert_eq!((plain.trustlevel(), secret.trustlevel()), (Some(1), Some(9)));
    assert!(secret.discloses_publisher() && !secret.discloses_caller());
    assert!(!plain.discloses_publisher() && !plain.discloses_caller());
    for level in [None, Some(0), Some(crate::wamp::MAX_ID)] {
        assert_eq!(Terms::new(&[Disclosure::Caller], level).trustlevel(), level);
    }
    assert_eq!(Terms::new(&[], None), Terms::default());
}

/// Whatever the rules of a role say, its place in `[management]` decides about the router's own
/// procedures and topics; of everything else that place says nothing.
#[test]
fn management_alone_decides_about_its_uris() {
    use ManagementProcedure::{LogList, SessionKick};
    let everything = Permission::everything_below("");
    let named = Permission {
        uri: SessionKick.uri().into(),
        allow: vec![Action::Call],
        ..Permission::default()
    };
    let denied =
        Permission { uri: LogList.uri().into(), deny: vec![Action::Call], ..Permission::default() };
    let settings = RoleSettings::new("r", vec![everything, named, denied]);
    let topic = ManagementTopic::RouterOnUpdate.uri();
    for (standing, sees, changes) in [
        (Standing::Stranger, false, false),
        (Standing::Watcher, true, false),
        (Standing::Actor, true, true),
    ] {
        let powers = Powers { is_admin: false, standing: Some(standing) };
        let role = Role::new(&settings, powers);
        for procedure in ManagementProcedure::ALL {
            let expected = if procedure.is_change() { changes } else { sees };
            let uri = procedure.uri();
            assert_eq!(is_allowed(&role, Action::Call, uri, Exact), expected, "{standing:?} {uri}");
            let explanation = role.explain(Action::Call, uri, Exact);
            let decides = explanation.rules.iter().find(|(_, it)| *it == Outcome::Decides);
            let origin = role.rule(decides.expect("one does").0).origin;
            let expected = if procedure.is_change() { RuleOrigin::Act } else { RuleOrigin::Watch };
            assert_eq!(origin, expected);
            assert!(explanation.rules.iter().any(|(_, it)| *it == Outcome::Unheeded), "{uri}");
        }
        assert_eq!(is_allowed(&role, Action::Subscribe, topic, Exact), sees);
        assert!(is_allowed(&role, Action::Call, "stentor.session.refresh", Exact));
        assert!(is_allowed(&role, Action::Subscribe, "", Prefix), "nobody loses a pattern for it");
        assert!(is_allowed(&role, Action::Call, "com.x", Exact));
        let idle: Vec<_> = role.idle_rules().iter().map(|idle| idle.rule).collect();
        assert_eq!(idle.len(), 2, "what names such URIs says nothing: {idle:?}");
        let nothing = Role::new(&RoleSettings::new("r", Vec::new()), powers);
        assert_eq!(is_allowed(&nothing, Action::Call, LogList.uri(), Exact), sees);
        assert!(!is_allowed(&nothing, Action::Call, "com.x", Exact));
    }
    let elsewhere = Role::new(&settings, Powers::default());
    assert!(is_allowed(&elsewhere, Action::Call, SessionKick.uri(), Exact), "no such realm");
}

//! URIs letter by letter, and which patterns match a topic component by component.
//!
//! The input is text, one URI in each line. In front of it stands what is done with it: `e`, `p` or
//! `w` subscribes (exact, prefix, wildcard), in capital letters unsubscribes, `t` publishes.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use stentor::hash::HashSeed;
use stentor::router::{MAX_WILDCARD_COMPONENTS, RealmSettings, Router, Settings, ShardId};
use stentor::wamp::{MatchPolicy, Timestamp, UriRule, is_reserved, is_valid_pattern, is_valid_uri};

pub(super) fn judge(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let realm = ROUTER.realm("realm1").expect("it is configured");
    let topics = &realm.topics;
    let mut held: BTreeSet<(Policy, &str)> = BTreeSet::new();
    for line in text.split('\n').take(MOST_LINES) {
        let Some(what) = line.chars().next() else { continue };
        let uri = &line[what.len_utf8()..];
        check_rules(uri);
        let policy = match what.to_ascii_lowercase() {
            'e' => Policy::Exact,
            'p' => Policy::Prefix,
            'w' => Policy::Wildcard,
            _ => {
                if is_valid_uri(uri, UriRule::Loose) {
                    check_matches(uri, &held);
                }
                continue;
            }
        };
        let of_table = policy.of_table();
        if what.is_ascii_uppercase() && held.remove(&(policy, uri)) {
            topics.leave(uri, of_table, ShardId(0));
        } else if what.is_ascii_lowercase() && policy.reaches_the_table(uri) {
            match topics.join(uri, of_table, ShardId(0), Timestamp::EPOCH) {
                Ok(joined) => {
                    held.insert((policy, uri));
                    let found = topics.look_up(uri, of_table).expect("it was just joined");
                    assert_eq!(found.subscription, joined.subscription);
                }
                Err(_) => assert!(policy.may_be_refused(uri), "{policy:?} {uri} is refused"),
            }
        }
        assert_eq!(topics.len(), held.len());
    }
    for (policy, uri) in held {
        topics.leave(uri, policy.of_table(), ShardId(0));
    }
    assert!(topics.is_empty() && topics.is_idle(), "nothing is left of those who have left");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Policy {
    Exact,
    Prefix,
    Wildcard,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Exact, Self::Prefix, Self::Wildcard];

    const fn of_table(self) -> MatchPolicy {
        match self {
            Self::Exact => MatchPolicy::Exact,
            Self::Prefix => MatchPolicy::Prefix,
            Self::Wildcard => MatchPolicy::Wildcard,
        }
    }

    /// What a shard checks before it subscribes a session.
    fn reaches_the_table(self, pattern: &str) -> bool {
        is_valid_pattern(pattern, self.of_table(), UriRule::Loose)
            && (self != Self::Wildcard || pattern.split('.').count() <= MAX_WILDCARD_COMPONENTS)
    }

    fn matches(self, pattern: &str, topic: &str) -> bool {
        match self {
            Self::Exact => pattern == topic,
            Self::Prefix => topic.starts_with(pattern),
            Self::Wildcard => {
                let (ours, theirs) = (pattern.split('.'), topic.split('.'));
                ours.clone().count() == theirs.clone().count()
                    && ours.zip(theirs).all(|(ours, theirs)| ours.is_empty() || ours == theirs)
            }
        }
    }

    /// Patterns of few components and short prefixes always have a place.
    fn may_be_refused(self, pattern: &str) -> bool {
        match self {
            Self::Exact => false,
            Self::Prefix => pattern.len() > 256,
            Self::Wildcard => pattern.split('.').count() > 8,
        }
    }

    /// Which components may be empty, by their places among so many.
    fn may_be_empty(self, place: usize, count: usize) -> bool {
        match self {
            Self::Exact => false,
            Self::Prefix => place + 1 == count,
            Self::Wildcard => true,
        }
    }
}

/// The specification's rules for URIs, and that nothing in them is invisible.
fn check_rules(uri: &str) {
    let loose = |letter: char| letter != '#' && !letter.is_whitespace() && !letter.is_control();
    let strict = |letter: char| matches!(letter, '0'..='9' | 'a'..='z' | '_');
    let components: Vec<&str> = uri.split('.').collect();
    for policy in Policy::ALL {
        let mut numbered = components.iter().enumerate();
        let filled = numbered.all(|(place, component)| {
            !component.is_empty() || policy.may_be_empty(place, components.len())
        });
        let judge = |rule| is_valid_pattern(uri, policy.of_table(), rule);
        let all = |allowed: &dyn Fn(char) -> bool| {
            filled && components.iter().all(|component| component.chars().all(allowed))
        };
        assert_eq!(judge(UriRule::Loose), all(&loose), "{policy:?} {uri:?}, loose");
        assert_eq!(judge(UriRule::Strict), all(&strict), "{policy:?} {uri:?}, strict");
    }
    assert_eq!(
        is_valid_uri(uri, UriRule::Loose),
        is_valid_pattern(uri, MatchPolicy::Exact, UriRule::Loose)
    );
    assert_eq!(is_reserved(uri), ["wamp", "stentor"].contains(&components[0]), "{uri:?}");
}

/// Whoever matches is found, once, and by few look-ups.
fn check_matches(topic: &str, held: &BTreeSet<(Policy, &str)>) {
    let realm = ROUTER.realm("realm1").expect("it is configured");
    let (found, looked_up) = realm.topics.matches_counted(topic);
    let found: Vec<_> = found.iter().map(|fanout| fanout.subscription).collect();
    let matching = held.iter().filter(|(policy, pattern)| policy.matches(pattern, topic));
    let expected: BTreeSet<_> = matching
        .map(|(policy, pattern)| {
            let entry = realm.topics.look_up(pattern, policy.of_table());
            entry.expect("it is held").subscription
        })
        .collect();
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected, "{topic}");
    assert_eq!(found.len(), expected.len(), "each subscription of {topic} once");
    assert!(looked_up <= held.len() + 1, "{looked_up} look-ups among {} patterns", held.len());
}

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let realms = vec![RealmSettings::named("realm1")];
    Router::new(Settings::default(), realms, 1, HashSeed::new(7))
});

/// More say nothing new.
const MOST_LINES: usize = 200;

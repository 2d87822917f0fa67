//! URIs: the loose and the strict rule, patterns, and the reserved namespace (requirements 1.2.2).

use super::options::MatchPolicy;

/// How strictly URIs are checked (BP-URI-02, BP-URI-03).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UriRule {
    /// No component holds `.`, `#` or Unicode whitespace.
    #[default]
    Loose,
    /// Components are made of `[0-9a-z_]` only.
    Strict,
}

impl UriRule {
    fn allows(self, component: &str) -> bool {
        match self {
            Self::Loose => !component.contains(|c: char| c == '#' || c.is_whitespace()),
            Self::Strict => {
                component.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'_'))
            }
        }
    }
}

/// Whether `uri` names one topic, procedure, error, reason or realm: no component is empty.
pub fn is_valid_uri(uri: &str, rule: UriRule) -> bool {
    uri.split('.').all(|component| !component.is_empty() && rule.allows(component))
}

/// Whether `uri` may be subscribed or registered under `policy` (BP-URI-05).
///
/// A wildcard pattern may leave any component empty, a prefix the last one; the empty prefix
/// matches everything.
pub fn is_valid_pattern(uri: &str, policy: MatchPolicy, rule: UriRule) -> bool {
    match policy {
        MatchPolicy::Exact => is_valid_uri(uri, rule),
        MatchPolicy::Wildcard => uri.split('.').all(|component| rule.allows(component)),
        MatchPolicy::Prefix => match uri.rsplit_once('.') {
            Some((head, last)) => is_valid_uri(head, rule) && rule.allows(last),
            None => rule.allows(uri),
        },
    }
}

/// Whether the first component is `wamp`, which belongs to the protocol (BP-URI-07).
pub fn is_reserved(uri: &str) -> bool {
    uri.split('.').next() == Some("wamp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_uris_follow_the_specification() {
        for good in ["com.myapp.topic1", "a", "com.myapp.Größe", "com.my-app.x/y", "wamp"] {
            assert!(is_valid_uri(good, UriRule::Loose), "{good}");
        }
        for bad in ["", ".", "com..x", ".com", "com.", "com.my app", "com.#", "a\n", "a\u{a0}b"] {
            assert!(!is_valid_uri(bad, UriRule::Loose), "{bad:?}");
        }
    }

    #[test]
    fn strict_uris_are_lower_case_digits_and_underscore() {
        assert!(is_valid_uri("com.myapp.topic_1", UriRule::Strict));
        for bad in ["com.myapp.Topic", "com.my-app", "com.größe", "com..x", "com.x\n"] {
            assert!(!is_valid_uri(bad, UriRule::Strict), "{bad:?}");
        }
    }

    #[test]
    fn patterns_may_leave_components_empty_where_their_policy_allows() {
        let loose = UriRule::Loose;
        for good in ["com..x", ".", "", "..", ".x", "x."] {
            assert!(is_valid_pattern(good, MatchPolicy::Wildcard, loose), "{good:?}");
        }
        for good in ["", "com", "com.", "com.my"] {
            assert!(is_valid_pattern(good, MatchPolicy::Prefix, loose), "{good:?}");
        }
        for bad in [".", "com..", "com..x", ".com"] {
            assert!(!is_valid_pattern(bad, MatchPolicy::Prefix, loose), "{bad:?}");
        }
        assert!(!is_valid_pattern("com..x", MatchPolicy::Exact, loose));
        assert!(!is_valid_pattern("com. .x", MatchPolicy::Wildcard, loose));
    }

    #[test]
    fn only_the_first_component_reserves() {
        assert!(is_reserved("wamp"));
        assert!(is_reserved("wamp.session.on_join"));
        assert!(!is_reserved("wampfoo.bar"));
        assert!(!is_reserved("com.wamp"));
    }
}

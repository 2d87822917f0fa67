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
    /// Whether a component may hold this ASCII character.
    const fn allows(self, byte: u8) -> bool {
        match self {
            Self::Loose => !matches!(byte, b'#' | b' ' | b'\t'..=b'\r'),
            Self::Strict => matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_'),
        }
    }
}

/// Whether `uri` names one topic, procedure, error, reason or realm: no component is empty.
pub fn is_valid_uri(uri: &str, rule: UriRule) -> bool {
    matches!(scan(uri, rule), Some(Components { empty: 0, .. }))
}

/// Whether `uri` may be subscribed or registered under `policy` (BP-URI-05).
///
/// A wildcard pattern may leave any component empty, a prefix the last one; the empty prefix
/// matches everything.
pub fn is_valid_pattern(uri: &str, policy: MatchPolicy, rule: UriRule) -> bool {
    let Some(components) = scan(uri, rule) else { return false };
    match policy {
        MatchPolicy::Exact => components.empty == 0,
        MatchPolicy::Prefix => components.empty == usize::from(components.last_is_empty),
        MatchPolicy::Wildcard => true,
    }
}

/// What a look at each character of a URI tells about its components.
struct Components {
    empty: usize,
    last_is_empty: bool,
}

/// `None` if a component holds what the rule forbids. One pass, as every PUBLISH and CALL needs it.
fn scan(uri: &str, rule: UriRule) -> Option<Components> {
    let mut empty = 0;
    let mut at_start = true;
    for &byte in uri.as_bytes() {
        if byte == b'.' {
            empty += usize::from(at_start);
            at_start = true;
        } else if byte.is_ascii() && !rule.allows(byte) {
            return None;
        } else {
            at_start = false;
        }
    }
    if !uri.is_ascii() && (rule == UriRule::Strict || uri.contains(char::is_whitespace)) {
        return None;
    }
    Some(Components { empty: empty + usize::from(at_start), last_is_empty: at_start })
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

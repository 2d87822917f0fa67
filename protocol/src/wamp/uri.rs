//! URIs: the loose and the strict rule, patterns, and the reserved namespace (requirements 1.2.2).

use super::options::MatchPolicy;

/// How strictly URIs are checked (BP-URI-02, BP-URI-03).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UriRule {
    /// No component holds `.`, `#`, Unicode whitespace or a control character.
    #[default]
    Loose,
    /// Components are made of `[0-9a-z_]` only.
    Strict,
}

/// Whether `uri` names one topic, procedure, error, reason or realm: no component is empty.
pub fn is_valid_uri(uri: &str, rule: UriRule) -> bool {
    is_valid_pattern(uri, MatchPolicy::Exact, rule)
}

/// Whether `uri` may be subscribed or registered under `policy` (BP-URI-05).
///
/// A wildcard pattern may leave any component empty, a prefix the last one; the empty prefix
/// matches everything.
pub fn is_valid_pattern(uri: &str, policy: MatchPolicy, rule: UriRule) -> bool {
    if is_plain(uri.as_bytes(), rule) {
        return true;
    }
    let kinds = &KINDS[rule as usize];
    let (mut seen, mut doubled, mut last) = (0, 0, DOT);
    for byte in uri.bytes() {
        let kind = kinds[usize::from(byte)];
        seen |= kind;
        doubled |= kind & last;
        last = kind;
    }
    let (last_is_empty, another_is_empty) = (last == DOT, doubled & DOT != 0);
    if seen & FORBIDDEN != 0 || seen & BEYOND_ASCII != 0 && uri.contains(is_blank) {
        return false;
    }
    match policy {
        MatchPolicy::Exact => !last_is_empty && !another_is_empty,
        MatchPolicy::Prefix => !another_is_empty,
        MatchPolicy::Wildcard => true,
    }
}

/// Whether `uri` is valid under every policy for what its bytes are alone, as almost all are. May
/// be false for others, and is for short ones: every PUBLISH and CALL asks.
#[inline]
fn is_plain(uri: &[u8], rule: UriRule) -> bool {
    match (rule, uri.len()) {
        (_, 0..=8) => false,
        (UriRule::Loose, 9..=22) => is_short_and_plain(uri),
        (UriRule::Loose, _) => are_plain::<16>(uri, is_plain_loose),
        (UriRule::Strict, 9..=16) => are_plain::<8>(uri, is_plain_strict),
        (UriRule::Strict, _) => are_plain::<16>(uri, is_plain_strict),
    }
}

/// Three words that overlap, of a loose URI of 9 to 22 bytes.
#[inline]
fn is_short_and_plain(uri: &[u8]) -> bool {
    let last_start = uri.len() - 8;
    let word = |start: usize| uri[start..].first_chunk().map(|word| u64::from_le_bytes(*word));
    let begins_and_ends = uri.first() != Some(&b'.') && uri.last() != Some(&b'.');
    begins_and_ends
        && [0, last_start / 2, last_start].into_iter().filter_map(word).all(is_plain_word)
}

/// Whether each of the bytes is plain, and no two dots are neighbours. Something borrows or carries
/// into the highest bit of a byte only if that one or another is not.
const fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    let below = word.wrapping_sub(ONES * 0x21);
    let beyond = word | word.wrapping_add(ONES);
    let hash = (word ^ (ONES * b'#' as u64)).wrapping_sub(ONES);
    let dots = !(word ^ (ONES * b'.' as u64)).wrapping_add(ONES * 0x7f) & HIGHS;
    (below | beyond | hash) & HIGHS | dots & (dots >> 8) == 0
}

/// Goes in blocks that have no branch per byte, so that the compiler makes a few vector
/// instructions of each. The last block begins where it ends with `uri`, which is longer than one.
#[inline]
fn are_plain<const BLOCK: usize>(uri: &[u8], is_plain: impl Fn(u8) -> bool) -> bool {
    let (Some(&first), Some(&last)) = (uri.first(), uri.last()) else { return false };
    if first == b'.' || last == b'.' || !is_plain(last) {
        return false;
    }
    let last_start = uri.len() - BLOCK - 1;
    let mut start = 0;
    loop {
        let Some(pairs) = uri.get(start..=start + BLOCK) else { return false };
        let mut all = true;
        for at in 0..BLOCK {
            let (byte, next) = (pairs[at], pairs[at + 1]);
            all &= is_plain(byte) & ((byte != b'.') | (next != b'.'));
        }
        if !all || start == last_start {
            return all;
        }
        start = last_start.min(start + BLOCK);
    }
}

const fn is_plain_loose(byte: u8) -> bool {
    (byte > b' ') & (byte < 0x7f) & (byte != b'#')
}

const fn is_plain_strict(byte: u8) -> bool {
    (byte == b'.') | (byte == b'_') | byte.is_ascii_digit() | byte.is_ascii_lowercase()
}

/// Whether one cannot see it: whitespace, or a control character (C0, DEL, C1).
fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control()
}

/// Whether the first component is `wamp`, which belongs to the protocol (BP-URI-07), or `stentor`,
/// where the router has procedures and events of its own.
pub fn is_reserved(uri: &str) -> bool {
    let rest = uri.strip_prefix("wamp").or_else(|| uri.strip_prefix("stentor"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What each byte is to a rule, as bits; the rules in their order.
static KINDS: [[u8; 256]; 2] = [kinds(UriRule::Loose), kinds(UriRule::Strict)];

const fn kinds(rule: UriRule) -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = match (byte as u8, rule) {
            (b'.', _) => DOT,
            (b'#' | b' ' | 0..0x20 | 0x7f, UriRule::Loose) => FORBIDDEN,
            (0x80.., UriRule::Loose) => BEYOND_ASCII,
            (_, UriRule::Loose) => 0,
            (b'0'..=b'9' | b'a'..=b'z' | b'_', UriRule::Strict) => 0,
            (_, UriRule::Strict) => FORBIDDEN,
        };
        byte += 1;
    }
    kinds
}

const BEYOND_ASCII: u8 = 1;
const DOT: u8 = 1 << 1;
const FORBIDDEN: u8 = 1 << 2;

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

    /// Every length around those of a block, and every place in it.
    #[test]
    fn blocks_of_bytes_are_judged_like_single_ones() {
        for length in 1..50 {
            for (place, odd) in
                (0..length).flat_map(|place| ".#_Aé \x7f".chars().map(move |c| (place, c)))
            {
                let mut letters = vec!['a'; length];
                letters[place] = odd;
                letters[length / 2] = if odd == '.' { '.' } else { letters[length / 2] };
                let uri: String = letters.iter().collect();
                let has_empty = uri.split('.').any(str::is_empty);
                for (rule, forbidden) in [(UriRule::Loose, "# \x7f"), (UriRule::Strict, "#Aé \x7f")]
                {
                    let allowed = !uri.contains(|letter| forbidden.contains(letter));
                    assert_eq!(is_valid_uri(&uri, rule), allowed && !has_empty, "{uri:?}");
                    let prefix = uri.strip_suffix('.').unwrap_or(&uri);
                    let may_be_prefix = prefix.is_empty() || !prefix.split('.').any(str::is_empty);
                    let is_prefix = is_valid_pattern(&uri, MatchPolicy::Prefix, rule);
                    assert_eq!(is_prefix, allowed && may_be_prefix && uri != ".", "{uri:?}");
                }
            }
        }
    }

    /// Not in the specification: JSON cannot even write a string that begins with NUL (TR-JSON-02).
    #[test]
    fn uris_hold_no_control_characters() {
        for control in ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}') {
            for uri in
                [format!("{control}a"), format!("com.{control}"), format!("com.ä{control}.x")]
            {
                for policy in [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard] {
                    assert!(!is_valid_pattern(&uri, policy, UriRule::Loose), "{uri:?}");
                }
                assert!(!is_valid_uri(&uri, UriRule::Strict), "{uri:?}");
            }
        }
        assert!(is_valid_uri("com.\u{200d}", UriRule::Loose), "a joiner is part of some scripts");
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
        assert!(is_reserved("stentor.session.refresh"));
        assert!(!is_reserved("wampfoo.bar") && !is_reserved("stentors.x"));
        assert!(!is_reserved("com.wamp"));
    }
}

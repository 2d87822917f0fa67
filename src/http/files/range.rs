//! Which part of a file a client asks for (RFC 9110, 14). Of one who asks for several parts at once
//! the header is ignored, as that is allowed, and as it would decide how often what is sent.

use hyper::header::{HeaderMap, RANGE};

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ranged {
    Whole,
    /// From one byte to another, both included.
    Part {
        first: u64,
        last: u64,
    },
    /// There is no such part.
    Outside,
}

/// The part of a file of so many bytes.
pub(super) fn of(headers: &HeaderMap, length: u64) -> Ranged {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Ranged::Whole };
    let range = value.to_str().ok().and_then(|text| text.split_once('='));
    let Some((unit, range)) = range else { return Ranged::Whole };
    let Some((from, to)) = range.trim().split_once('-') else { return Ranged::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return Ranged::Whole;
    }
    let end = length.saturating_sub(1);
    match (number(from), number(to)) {
        (Some(first), _) if to.is_empty() && first < length => Ranged::Part { first, last: end },
        (Some(first), _) if to.is_empty() => {
            debug_assert!(first >= length);
            Ranged::Outside
        }
        (Some(first), Some(last)) if first <= last && first < length => {
            Ranged::Part { first, last: last.min(end) }
        }
        (Some(first), Some(last)) if first <= last => Ranged::Outside,
        (None, Some(0)) if from.is_empty() => Ranged::Outside,
        (None, Some(_)) if from.is_empty() && length == 0 => Ranged::Outside,
        (None, Some(count)) if from.is_empty() => {
            Ranged::Part { first: length.saturating_sub(count), last: end }
        }
        _ => Ranged::Whole,
    }
}

/// Digits, of which there may be more than a number has.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_there_is_of_it() {
        let part = |first, last| Ranged::Part { first, last };
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=2-", part(2, 9)),
            ("bytes=2-99", part(2, 9)),
            ("bytes=9-9", part(9, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-99", part(0, 9)),
            ("Bytes = 2-5", part(2, 5)),
            ("bytes=0-99999999999999999999999", part(0, 9)),
            ("bytes=10-", Ranged::Outside),
            ("bytes=10-12", Ranged::Outside),
            ("bytes=-0", Ranged::Outside),
            ("bytes=99999999999999999999999-", Ranged::Outside),
            ("bytes=5-2", Ranged::Whole),
            ("bytes=0-1,3-4", Ranged::Whole),
            ("bytes=", Ranged::Whole),
            ("bytes=-", Ranged::Whole),
            ("bytes=+1-2", Ranged::Whole),
            ("bytes=1-x", Ranged::Whole),
            ("bytes=x-1", Ranged::Whole),
            ("bytes", Ranged::Whole),
            ("lines=0-1", Ranged::Whole),
        ] {
            let headers = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
            assert_eq!(of(&headers, 10), expected, "{range}");
        }
        let headers = |range: &str| HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
        for empty in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(of(&headers(empty), 0), Ranged::Outside, "{empty}");
        }
        let mut twice = headers("bytes=0-1");
        twice.append(RANGE, "bytes=2-3".parse().unwrap());
        assert_eq!(of(&twice, 10), Ranged::Whole);
        assert_eq!(of(&HeaderMap::new(), 10), Ranged::Whole);
    }
}

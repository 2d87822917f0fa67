//! Conditional requests: whether a client has the file already, or means another one (RFC 9110,
//! 13).

use std::time::SystemTime;

use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// Which version of a file is there.
#[derive(Debug)]
pub(super) struct Version {
    /// Its ETag, as the header has it.
    pub(super) tag: String,
    /// In whole seconds.
    pub(super) modified: SystemTime,
}

/// What comes of the conditions of a GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It is answered as if there were none.
    Holds,
    /// The client has this version.
    NotModified,
    /// The client means another version.
    Failed,
}

impl Version {
    /// In the order of RFC 9110, 13.2.2: tags go before dates.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Condition {
        let is_same = match self.is_listed(headers, IF_MATCH, false) {
            Some(is_same) => is_same,
            None => date(headers, IF_UNMODIFIED_SINCE).is_none_or(|date| self.modified <= date),
        };
        if !is_same {
            return Condition::Failed;
        }
        let is_known = match self.is_listed(headers, IF_NONE_MATCH, true) {
            Some(is_known) => is_known,
            None => date(headers, IF_MODIFIED_SINCE).is_some_and(|date| self.modified <= date),
        };
        if is_known { Condition::NotModified } else { Condition::Holds }
    }

    /// Whether a range is one of this version: it is ignored else (RFC 9110, 13.1.5).
    pub(super) fn allows_range(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = headers.get(IF_RANGE) else { return true };
        let is_weak = self.tag.starts_with("W/");
        let is_date = || date(headers, IF_RANGE) == Some(self.modified);
        !is_weak && (condition.as_bytes() == self.tag.as_bytes() || is_date())
    }

    /// Whether a header lists the tag; `None`: it is not there.
    fn is_listed(&self, headers: &HeaderMap, name: HeaderName, weakly: bool) -> Option<bool> {
        let mut values = headers.get_all(name).iter().peekable();
        values.peek()?;
        let listed = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let bare = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_owned();
        let own = self.tag.as_bytes();
        Some(listed.map(<[u8]>::trim_ascii).any(|tag| match weakly {
            _ if tag == b"*" => true,
            true => bare(tag) == bare(own),
            false => tag == own && !own.starts_with(b"W/"),
        }))
    }
}

/// A date of HTTP; what is none is ignored.
fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn version(tag: &str) -> Version {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        Version { tag: tag.into(), modified }
    }

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn tags_and_dates_say_what_the_client_has() {
        let judge = |of| version("\"a\"").judge(&headers(of));
        for (of, expected) in [
            (&[][..], Condition::Holds),
            (&[(IF_NONE_MATCH, "\"a\"")], Condition::NotModified),
            (&[(IF_NONE_MATCH, "\"b\", W/\"a\"")], Condition::NotModified),
            (&[(IF_NONE_MATCH, "*")], Condition::NotModified),
            (&[(IF_NONE_MATCH, "\"b\"")], Condition::Holds),
            (&[(IF_NONE_MATCH, "a")], Condition::Holds),
            (&[(IF_MODIFIED_SINCE, AT)], Condition::NotModified),
            (&[(IF_MODIFIED_SINCE, AFTER)], Condition::NotModified),
            (&[(IF_MODIFIED_SINCE, BEFORE)], Condition::Holds),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Condition::Holds),
            // The tag decides.
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, AFTER)], Condition::Holds),
            (&[(IF_MATCH, "\"a\"")], Condition::Holds),
            (&[(IF_MATCH, "*")], Condition::Holds),
            (&[(IF_MATCH, "\"b\"")], Condition::Failed),
            (&[(IF_MATCH, "W/\"a\"")], Condition::Failed),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Condition::Failed),
            (&[(IF_UNMODIFIED_SINCE, AT)], Condition::Holds),
            (&[(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")], Condition::NotModified),
        ] {
            assert_eq!(judge(of), expected, "{of:?}");
        }
        let weak = version("W/\"a\"").judge(&headers(&[(IF_NONE_MATCH, "\"a\"")]));
        assert_eq!(weak, Condition::NotModified);
        let weak = version("W/\"a\"").judge(&headers(&[(IF_MATCH, "W/\"a\"")]));
        assert_eq!(weak, Condition::Failed);
    }

    #[test]
    fn a_range_is_one_of_the_version_that_the_client_has() {
        for (tag, condition, expected) in [
            ("\"a\"", None, true),
            ("\"a\"", Some("\"a\""), true),
            ("\"a\"", Some("\"b\""), false),
            ("\"a\"", Some("W/\"a\""), false),
            ("W/\"a\"", Some("W/\"a\""), false),
            ("\"a\"", Some(AT), true),
            ("W/\"a\"", Some(AT), false),
            ("\"a\"", Some(AFTER), false),
        ] {
            let condition: Vec<_> = condition.map(|value| (IF_RANGE, value)).into_iter().collect();
            assert_eq!(version(tag).allows_range(&headers(&condition)), expected, "{condition:?}");
        }
    }
}

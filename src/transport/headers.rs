//! What is kept of a WebSocket's request for those who are asked about its sender: the headers that
//! the listener names, and nothing else of it.

use std::fmt;

use httparse::Header;

use super::TransportRules;

/// Headers by their names in lower case, in the order of the listener's list. Such values may be
/// secrets, so they are not shown.
#[derive(PartialEq, Eq)]
pub struct PassedHeaders(Vec<(Box<str>, String)>);

/// They are longer than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl PassedHeaders {
    /// `None` if the listener passes none on. What is no UTF-8 in a value is replaced.
    ///
    /// # Errors
    /// [`TooLong`] if they have more than 4 KiB together.
    pub(super) fn of(
        headers: &[Header<'_>],
        rules: &TransportRules,
    ) -> Result<Option<Self>, TooLong> {
        if rules.passed_headers.is_empty() {
            return Ok(None);
        }
        let (mut passed, mut left) = (Vec::new(), MAX_PASSED_BYTES);
        for name in &rules.passed_headers {
            let separator = if name == "cookie" { "; " } else { ", " };
            let mut value: Option<String> = None;
            for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)) {
                let text = String::from_utf8_lossy(header.value.trim_ascii());
                left =
                    left.checked_sub(name.len() + text.len() + separator.len()).ok_or(TooLong)?;
                match &mut value {
                    Some(value) => value.extend([separator, &text]),
                    None => value = Some(text.into_owned()),
                }
            }
            passed.extend(value.map(|value| (name.as_str().into(), value)));
        }
        Ok(Some(Self(passed)))
    }

    pub fn as_slice(&self) -> &[(Box<str>, String)] {
        &self.0
    }

    /// Bytes of memory that they take.
    pub fn weight(&self) -> usize {
        let texts: usize = self.0.iter().map(|(name, value)| name.len() + value.capacity()).sum();
        size_of::<Self>() + self.0.capacity() * size_of::<(Box<str>, String)>() + texts
    }
}

impl fmt::Debug for PassedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Bytes of all names and values that are passed on.
const MAX_PASSED_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(names: &[&str], headers: &[(&str, &[u8])]) -> Result<Vec<(String, String)>, TooLong> {
        let passed_headers = names.iter().map(|name| (*name).to_owned()).collect();
        let rules = TransportRules { passed_headers, ..TransportRules::default() };
        let header = |(name, value)| Header { name, value };
        let headers: Vec<_> = headers.iter().copied().map(header).collect();
        let passed = PassedHeaders::of(&headers, &rules)?;
        let owned = |(name, value): &(Box<str>, String)| (name.to_string(), value.clone());
        Ok(passed.iter().flat_map(PassedHeaders::as_slice).map(owned).collect())
    }

    #[test]
    fn only_those_that_are_named_are_kept() {
        let sent: [(&str, &[u8]); 5] = [
            ("User-Agent", b" curl "),
            ("Cookie", b"a=1"),
            ("X-Tag", b"1"),
            ("cookie", b"b=2"),
            ("x-tag", b"\xff"),
        ];
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pass(&[], &sent), Ok(vec![]));
        assert_eq!(pass(&["user-agent", "host"], &sent), Ok(vec![text("user-agent", "curl")]));
        let all = pass(&["x-tag", "cookie"], &sent);
        assert_eq!(all, Ok(vec![text("x-tag", "1, \u{fffd}"), text("cookie", "a=1; b=2")]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = vec![b'x'; MAX_PASSED_BYTES - "x-tag".len() - 2];
        assert!(pass(&["x-tag"], &[("X-Tag", &long)]).is_ok());
        assert_eq!(pass(&["x-tag"], &[("X-Tag", &long), ("X-Tag", b"")]), Err(TooLong));
        assert!(pass(&["host"], &[("X-Tag", &[b'x'; 10_000])]).is_ok(), "nobody wants it");
    }

    #[test]
    fn values_are_not_shown() {
        let passed = PassedHeaders(vec![("cookie".into(), "secret".into())]);
        assert_eq!(format!("{passed:?}"), r#"["cookie"]"#);
        assert!(passed.weight() >= "cookie".len() + "secret".len());
    }
}

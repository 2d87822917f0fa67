//! What somebody wants to hear who asks for events: topics, how they match, and which event was the
//! last.

use hyper::header::{HeaderMap, HeaderName};

use crate::wamp::quote;

/// What is to be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http::bridge) struct Wish {
    pub(super) topics: Vec<String>,
    /// As in SUBSCRIBE.
    pub(super) policy: &'static str,
    /// The publication id of the last event that was heard.
    pub(super) last: Option<Last>,
}

/// What a client says of the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::bridge) enum Last {
    Publication(u64),
    /// It is no id of this router.
    Unknown,
}

/// Why a request is for no events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::http::bridge) enum WishFault {
    #[error("say which topic: `?topic=com.example.topic`, and more of them if needed")]
    NoTopic,
    #[error("{MOST_TOPICS} topics may be asked for at most: ask for a prefix with `match=prefix`")]
    TooMany,
    #[error("`match` must be `exact`, `prefix` or `wildcard`, and stand there once")]
    Policy,
    #[error("{0} is no parameter here: `topic`, `match` and `last_event_id` are")]
    Unknown(String),
}

impl Wish {
    pub(in crate::http::bridge) fn read(
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, WishFault> {
        let (mut topics, mut policy, mut last) = (Vec::new(), None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "topic" if topics.len() == MOST_TOPICS => return Err(WishFault::TooMany),
                "topic" => topics.push(value.into_owned()),
                "match" => {
                    let known = POLICIES.into_iter().find(|known| *known == value);
                    let known = known.filter(|_| policy.is_none());
                    policy = Some(known.ok_or(WishFault::Policy)?);
                }
                "last_event_id" | "lastEventId" => last = Some(Last::of(value.as_bytes())),
                // What is there against caches says nothing.
                name if name.starts_with('_') => {}
                name => return Err(WishFault::Unknown(quote(name))),
            }
        }
        if topics.is_empty() {
            return Err(WishFault::NoTopic);
        }
        // A browser sends the header when it connects anew, with what it has heard since.
        let said = headers.get(LAST_EVENT_ID).map(|value| Last::of(value.as_bytes()));
        topics.sort_unstable();
        topics.dedup();
        Ok(Self { topics, policy: policy.unwrap_or("exact"), last: said.or(last) })
    }
}

impl Last {
    fn of(value: &[u8]) -> Self {
        let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        number.map_or(Self::Unknown, Self::Publication)
    }
}

const POLICIES: [&str; 3] = ["exact", "prefix", "wildcard"];

/// Topics of one stream.
const MOST_TOPICS: usize = 32;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, last: &str) -> Result<Wish, WishFault> {
        let mut headers = HeaderMap::new();
        if !last.is_empty() {
            headers.insert(LAST_EVENT_ID, last.parse().unwrap());
        }
        Wish::read(Some(query), &headers)
    }

    #[test]
    fn a_query_names_topics() {
        let wish = read("topic=com.b&topic=com%2Ea&topic=com.b&_=17", "").unwrap();
        assert_eq!(
            (wish.topics, wish.policy, wish.last),
            (vec!["com.a".to_owned(), "com.b".to_owned()], "exact", None,)
        );
        let wish = read("topic=com.&match=prefix&last_event_id=3", "").unwrap();
        assert_eq!((wish.policy, wish.last), ("prefix", Some(Last::Publication(3))));
        let wish = read("topic=x&last_event_id=3", "7").unwrap();
        assert_eq!(wish.last, Some(Last::Publication(7)), "the header is newer");
        assert_eq!(read("topic=x", "seven").unwrap().last, Some(Last::Unknown));
    }

    #[test]
    fn what_is_no_wish_is_named() {
        assert_eq!(read("", ""), Err(WishFault::NoTopic));
        assert_eq!(Wish::read(None, &HeaderMap::new()), Err(WishFault::NoTopic));
        assert_eq!(read("topic=x&match=glob", ""), Err(WishFault::Policy));
        assert_eq!(read("topic=x&match=prefix&match=prefix", ""), Err(WishFault::Policy));
        assert_eq!(read("topic=x&mach=prefix", ""), Err(WishFault::Unknown("\"mach\"".into())));
        assert_eq!(read(&"topic=x&".repeat(33), ""), Err(WishFault::TooMany));
    }
}

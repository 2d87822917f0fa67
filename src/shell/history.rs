//! What was published before: `wamp.subscription.get_events`, page by page.
//!
//! Understands the shapes that routers answer in: an argument for each event, or one list of them.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;
use stentor::wamp::Timestamp;
use stentor_client::{Client, Error, SubscriptionId};

use super::text::Said;
use super::value::Arguments;
use super::{Fault, system_time};

/// A time, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    At(Timestamp),
    /// Milliseconds.
    Ago(i64),
}

/// A text that is no time.
#[derive(Debug, thiserror::Error)]
#[error("a time is 2026-11-27T17:00:00Z, or so long ago: 90s, 10m, 2h, 7d")]
pub(crate) struct BadTime;

impl FromStr for Since {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        let units = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
        for (unit, ms) in units {
            if let Some(number) = text.strip_suffix(unit) {
                let number: u32 = number.parse().map_err(|_| BadTime)?;
                return Ok(Self::Ago(i64::from(number) * ms));
            }
        }
        text.parse().map(Self::At).map_err(|_| BadTime)
    }
}

/// What of a history is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Since(Timestamp),
    Last(u32),
}

impl Ask {
    pub(crate) fn of(since: Option<Since>, last: Option<u32>) -> Option<Self> {
        match (since, last) {
            (Some(Since::At(time)), _) => Some(Self::Since(time)),
            (Some(Since::Ago(ms)), _) => {
                Some(Self::Since(Timestamp::from_unix_ms(system_time() - ms)))
            }
            (None, Some(number)) => Some(Self::Last(number)),
            (None, None) => None,
        }
    }
}

/// An event of a history.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Where it is said: of a pattern.
    pub(crate) topic: Option<String>,
    pub(crate) publication: u64,
    pub(crate) time: Option<String>,
    pub(crate) said: Said,
}

/// What was read: which publications, and what is to be said of it.
#[derive(Debug, Default)]
pub(crate) struct Past {
    publications: BTreeSet<u64>,
    pub(crate) warnings: Vec<String>,
}

impl Past {
    /// Whether an event that came live was in the history as well.
    pub(crate) fn has(&self, publication: u64) -> bool {
        self.publications.contains(&publication)
    }
}

/// Gives events from old to new; `give` says whether it wants more.
pub(crate) async fn read(
    client: &Client,
    subscription: SubscriptionId,
    ask: Ask,
    mut give: impl FnMut(Kept) -> Result<bool, Fault>,
) -> Result<Past, Fault> {
    let mut past = Past::default();
    let mut last_ones = Vec::new();
    let (mut taken, mut last_bytes) = (0, 0);
    let mut place: Option<u64> = None;
    loop {
        let wanted = match ask {
            Ask::Since(_) => MOST_EVENTS - taken,
            Ask::Last(_) if last_bytes > MOST_LAST_BYTES => 0,
            Ask::Last(number) => (number as usize) - taken,
        };
        if wanted == 0 {
            if ask != Ask::Last(u32::try_from(taken).unwrap_or(u32::MAX)) {
                past.warnings.push(format!("the history has more than {taken} events"));
            }
            break;
        }
        let page = match page(client, subscription, ask, place, wanted).await {
            Ok(page) => page,
            Err(Fault::Client(Error::Wamp(failure))) => {
                past.warnings.push(format!("there is no event history: {failure}"));
                break;
            }
            Err(other) => return Err(other),
        };
        match page.is_complete {
            Some(true) => {}
            Some(false) => {
                past.warn("events may be missing: there is no history, or not so far back")
            }
            None => past.warn("the router does not say whether the history is complete"),
        }
        place = page.events.last().map(|kept| kept.publication);
        for kept in page.events.into_iter().take(wanted) {
            past.publications.insert(kept.publication);
            taken += 1;
            last_bytes += kept.said.bytes();
            match ask {
                Ask::Last(_) => last_ones.push(kept),
                Ask::Since(_) if give(kept)? => {}
                Ask::Since(_) => return Ok(past),
            }
        }
        if !page.goes_on || place.is_none() {
            break;
        }
    }
    for kept in last_ones.into_iter().rev() {
        if !give(kept)? {
            break;
        }
    }
    Ok(past)
}

impl Past {
    /// Says it once.
    fn warn(&mut self, words: &str) {
        if !self.warnings.iter().any(|said| said == words) {
            self.warnings.push(words.to_owned());
        }
    }
}

struct Page {
    /// In the order that was asked for.
    events: Vec<Kept>,
    is_complete: Option<bool>,
    goes_on: bool,
}

async fn page(
    client: &Client,
    subscription: SubscriptionId,
    ask: Ask,
    place: Option<u64>,
    wanted: usize,
) -> Result<Page, Fault> {
    let mut arguments = Arguments::of(vec![subscription.get().into()]);
    let filters = &mut arguments.kwargs;
    filters.insert("limit".to_owned(), wanted.min(PAGE_EVENTS).into());
    match (ask, place) {
        (Ask::Since(time), None) => {
            filters.insert("from_time".to_owned(), time.to_string().into());
        }
        (Ask::Since(_), Some(place)) => {
            filters.insert("after_publication".to_owned(), place.into());
        }
        (Ask::Last(_), place) => {
            filters.insert("reverse".to_owned(), true.into());
            if let Some(place) = place {
                filters.insert("before_publication".to_owned(), place.into());
            }
        }
    }
    let call = client.call(GET_EVENTS, arguments.args()).kwargs(arguments.kwargs());
    let reply = call.await?;
    match Said::of(reply.payload()) {
        Said::Json { args, kwargs } => page_of(&args, kwargs.as_deref()).map_err(Fault::Strange),
        Said::Bytes { why, .. } => Err(Fault::Strange(why)),
    }
}

fn page_of(args: &str, kwargs: Option<&str>) -> Result<Page, String> {
    let strange = |error| format!("the answer of {GET_EVENTS} cannot be understood: {error}");
    let mut events: Vec<&RawValue> = serde_json::from_str(args).map_err(strange)?;
    if let [only] = *events
        && only.get().starts_with('[')
    {
        events = serde_json::from_str(only.get()).map_err(strange)?;
    }
    let events = events.iter().map(|event| serde_json::from_str(event.get()).map(Raw::kept));
    let events = events.collect::<Result<_, _>>().map_err(strange)?;
    let verdict: Verdict = serde_json::from_str(kwargs.unwrap_or("{}")).map_err(strange)?;
    Ok(Page { events, is_complete: verdict.complete, goes_on: verdict.is_limit_reached })
}

/// What a router says of its answer.
#[derive(Deserialize)]
struct Verdict {
    complete: Option<bool>,
    #[serde(default)]
    is_limit_reached: bool,
}

/// An event as routers write it.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(default)]
    timestamp: Option<String>,
    publication: u64,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    details: Option<RawDetails>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
    #[serde(borrow, default)]
    kwargs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawDetails {
    #[serde(default)]
    topic: Option<String>,
}

impl Raw<'_> {
    fn kept(self) -> Kept {
        let json = |raw: Option<&RawValue>| raw.map(|raw| raw.get().to_owned());
        let args = json(self.args).filter(|args| args != "null");
        let kwargs = json(self.kwargs).filter(|kwargs| kwargs != "null");
        Kept {
            topic: self.topic.or_else(|| self.details.and_then(|details| details.topic)),
            publication: self.publication,
            time: self.timestamp,
            said: Said::Json { args: args.unwrap_or_else(|| "[]".to_owned()), kwargs },
        }
    }
}

const GET_EVENTS: &str = "wamp.subscription.get_events";

/// Events that are asked for at a time; routers may give fewer.
const PAGE_EVENTS: usize = 1_000;

/// Bytes of the last events, which are held until the first of them is there.
const MOST_LAST_BYTES: usize = 256 * 1024 * 1024;

/// Events that are read from a history at most.
const MOST_EVENTS: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        assert_eq!("90s".parse::<Since>().unwrap(), Since::Ago(90_000));
        assert_eq!("7d".parse::<Since>().unwrap(), Since::Ago(604_800_000));
        let at = "2026-11-27T17:00:00+01:00".parse::<Since>().unwrap();
        assert_eq!(at, Since::At("2026-11-27T16:00:00Z".parse().unwrap()));
        for text in ["", "s", "-5m", "1.5h", "yesterday", "5", "99999999999999d", "2026-11-27"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
        assert_eq!(Ask::of(None, Some(3)), Some(Ask::Last(3)));
        assert_eq!(Ask::of(None, None), None);
        let Some(Ask::Since(time)) = Ask::of(Some(Since::Ago(60_000)), None) else { panic!() };
        let ago = system_time() - time.unix_ms();
        assert!((60_000..120_000).contains(&ago), "{ago}");
    }

    #[test]
    fn each_shape_of_an_answer_is_understood() {
        let event = r#"{"timestamp": "2026-11-27T17:00:00.000Z", "subscription": 1,
            "publication": 7, "details": {"topic": "com.x"}, "args": [1, "a"],
            "kwargs": {"b": 2}}"#;
        let other = r#"{"publication": 8, "args": null, "topic": "com.y"}"#;
        let verdict = Some(r#"{"complete": true, "is_limit_reached": true}"#);
        let arguments = format!("[{event}, {other}]");
        let list = format!("[[{event}, {other}]]");
        for (args, kwargs) in [(arguments.as_str(), verdict), (list.as_str(), None)] {
            let page = page_of(args, kwargs).unwrap();
            let [first, second] = &*page.events else { panic!("{:?}", page.events) };
            assert_eq!((first.publication, first.topic.as_deref()), (7, Some("com.x")));
            assert_eq!(first.time.as_deref(), Some("2026-11-27T17:00:00.000Z"));
            assert_eq!(first.said.words(), "1 \"a\" b=2");
            assert_eq!((second.publication, second.topic.as_deref()), (8, Some("com.y")));
            assert_eq!(second.said.words(), "");
            assert_eq!(page.is_complete, kwargs.map(|_| true));
            assert_eq!(page.goes_on, kwargs.is_some());
        }
        assert!(page_of("[]", None).unwrap().events.is_empty());
        assert!(page_of("[[]]", None).unwrap().events.is_empty());
        for bad in ["[5]", "[{}]", "{}", "[[5]]", "[{\"publication\": -1}]"] {
            let error = page_of(bad, None).err().unwrap();
            assert!(error.contains("cannot be understood"), "{bad}: {error}");
        }
    }
}

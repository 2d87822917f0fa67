//! Events as the lines of a stream (`text/event-stream`), and what is said besides.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One event, as the router has it: live or in a history.
#[derive(Debug)]
pub(in crate::http::bridge) struct Heard<'a> {
    pub(in crate::http::bridge) publication: u64,
    pub(in crate::http::bridge) details: Option<&'a RawValue>,
    pub(in crate::http::bridge) args: Option<&'a RawValue>,
    pub(in crate::http::bridge) kwargs: Option<&'a RawValue>,
    pub(in crate::http::bridge) timestamp: Option<&'a RawValue>,
}

/// What clients are told of the details of an event.
#[derive(Debug, Default, Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    #[serde(borrow)]
    publisher: Option<&'a RawValue>,
    #[serde(borrow)]
    publisher_authid: Option<&'a RawValue>,
    #[serde(borrow)]
    publisher_authrole: Option<&'a RawValue>,
    #[serde(borrow)]
    trustlevel: Option<&'a RawValue>,
    #[serde(borrow)]
    retained: Option<&'a RawValue>,
}

impl Heard<'_> {
    /// `topic`: that of the subscription, which an event of an exact one does not say.
    pub(super) fn to_line(&self, topic: &str) -> Bytes {
        let json = self.to_json(topic, "");
        format!("id: {}\ndata: {}\n\n", self.publication, on_one_line(&json)).into()
    }

    /// As an object, with these members as well: `,"a":1`.
    pub(in crate::http::bridge) fn to_json(&self, topic: &str, more: &str) -> String {
        let details = self.details.map(RawValue::get).unwrap_or("{}");
        let details = serde_json::from_str::<Details<'_>>(details).unwrap_or_default();
        let topic = match details.topic {
            Some(topic) => topic.get().to_owned(),
            None => serde_json::Value::from(topic).to_string(),
        };
        let args = self.args.map_or("[]", RawValue::get);
        let kwargs = self.kwargs.map_or("{}", RawValue::get);
        let mut json = format!("{{\"topic\":{topic},\"args\":{args},\"kwargs\":{kwargs}");
        for (name, value) in [
            ("publisher", details.publisher),
            ("publisher_authid", details.publisher_authid),
            ("publisher_authrole", details.publisher_authrole),
            ("trustlevel", details.trustlevel),
            ("retained", details.retained),
            ("timestamp", self.timestamp),
        ] {
            if let Some(value) = value {
                json.push_str(&format!(",\"{name}\":{}", value.get()));
            }
        }
        json.push_str(more);
        json.push('}');
        json
    }
}

/// JSON without the ends of lines that may stand between its words, and nowhere else.
fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// Events of a topic may have been missed, or have been.
pub(super) fn gap(topic: &str, reason: &str) -> Bytes {
    let json = serde_json::json!({ "topic": topic, "reason": reason });
    format!("event: gap\ndata: {json}\n\n").into()
}

/// The stream ends, and its client may come again.
pub(super) fn close(reason: &str) -> Bytes {
    let json = serde_json::json!({ "reason": reason });
    format!("event: close\ndata: {json}\n\n").into()
}

/// How a stream begins: with how long a client waits before it comes again.
pub(super) const OPENING: &[u8] = b"retry: 3000\n\n";

/// A comment, so that everybody on the way sees that the stream lives.
pub(super) const HEARTBEAT: &[u8] = b":\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let details = raw(r#"{"topic":"com.a","publisher":7,"other":1}"#);
        let args = raw("[1,\n\r\n \"a\\n\"]");
        let heard = Heard {
            publication: 5,
            details: Some(&details),
            args: Some(&args),
            kwargs: None,
            timestamp: None,
        };
        let expected = "id: 5\ndata: {\"topic\":\"com.a\",\"args\":[1,    \"a\\n\"],\"kwargs\":{},\
             \"publisher\":7}\n\n";
        assert_eq!(heard.to_line("com."), expected);
        let bare = Heard { details: None, args: None, ..heard };
        let expected = "id: 5\ndata: {\"topic\":\"c\\\"\",\"args\":[],\"kwargs\":{}}\n\n";
        assert_eq!(bare.to_line("c\""), expected);
        assert_eq!(close("a\nb"), "event: close\ndata: {\"reason\":\"a\\nb\"}\n\n");
    }
}

//! A trace of a dialogue: what was fetched of it, and is not expected yet.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::{Value, json};
use stentor::shard::{TraceFilter, TraceHaul, TraceRequest};
use stentor::wamp::SessionId;

use crate::support::Network;

pub(crate) struct Tracer {
    request: Arc<TraceRequest>,
    seen: Vec<Value>,
    /// Publications whose receivers are not counted on so many shards.
    awaited: Vec<(u64, u64)>,
}

impl Tracer {
    /// `rest`: `payload N`, or nothing.
    pub(crate) fn begin(network: &mut Network, filter: &Value, rest: &[&str]) -> Self {
        let text = |key: &str| filter[key].as_str().map(Into::into);
        let payload_bytes = match rest {
            [] => 0,
            ["payload", bytes] => bytes.parse().expect("bytes"),
            _ => panic!("no statement: {rest:?}"),
        };
        let filter = TraceFilter {
            session: filter["session"].as_u64().and_then(SessionId::new),
            authid: text("authid"),
            realm: text("realm"),
            address: filter["address"].as_str().map(|text| text.parse().expect("a network")),
            uri: text("uri"),
        };
        // Another number than the last one has: so the shards begin anew.
        let number = network.now.0 * 100 + network.last_trace;
        network.last_trace += 1;
        let request = TraceRequest {
            number,
            place: 1,
            filter,
            rate: 1_000,
            payload_bytes,
            order: AtomicU64::default(),
        };
        let mut tracer = Self { request: Arc::new(request), seen: Vec::new(), awaited: Vec::new() };
        tracer.fetch(network);
        tracer
    }

    pub(crate) fn fetch(&mut self, network: &mut Network) {
        let TraceHaul { records, delivered, left_out, lost, .. } =
            network.fetch_trace(&self.request, 60_000);
        assert_eq!((left_out, lost), (0, 0));
        for record in records {
            if !record.awaited.is_empty() {
                let publication = record.about.publication.expect("it was published");
                self.awaited.push((publication, record.awaited.shards().count() as u64));
            }
            self.seen.push(serde_json::to_value(&record).expect("it is JSON"));
        }
        for count in delivered {
            let publication = count.publication.get();
            let of = |(other, _): &&mut (u64, u64)| *other == publication;
            let (_, shards) = self.awaited.iter_mut().find(of).expect("it is awaited");
            *shards -= 1;
            let mut seen = self.seen.iter_mut();
            let record =
                seen.find(|it| it["publication"] == json!(publication)).expect("a PUBLISH");
            let before = record["receivers"].as_u64().expect("a number");
            record["receivers"] = json!(before + count.receivers);
        }
        self.awaited.retain(|(_, shards)| *shards > 0);
    }

    /// Takes the first message out that is like this. Those of other shards may have come before.
    pub(crate) fn expect(&mut self, direction: &str, message: &str, fields: &Value, line: &str) {
        let is_meant = |seen: &Value| {
            let mut fields = fields.as_object().expect("a dict").iter();
            seen["direction"] == *direction
                && seen["message"] == *message
                && fields.all(|(key, value)| seen[key] == *value)
        };
        let Some(index) = self.seen.iter().position(is_meant) else {
            panic!("no such message is in {:#?}: {line}", self.seen);
        };
        let seen = self.seen.remove(index);
        assert!(seen["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{seen}");
        assert!(
            seen["bytes"].as_u64().is_some_and(|bytes| bytes > 0) || !seen["dropped"].is_null()
        );
        // What comes before it of the same session was dealt with before.
        let mut earlier = self.seen[..index].iter();
        let overtaken =
            earlier.find(|it| !it["session"].is_null() && it["session"] == seen["session"]);
        assert_eq!(overtaken, None, "before {seen}: {line}");
    }

    pub(crate) fn check_empty(&self, line: &str) {
        assert!(self.seen.is_empty(), "{:#?}: {line}", self.seen);
        assert!(self.awaited.is_empty(), "receivers are not counted: {line}");
    }
}

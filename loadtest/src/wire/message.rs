//! The WAMP messages that a load generator sends, and the codes of those it receives.

use std::str::FromStr;

use super::Serializer;
use super::writer::Writer;

pub const WELCOME: u64 = 2;
pub const ABORT: u64 = 3;
pub const CHALLENGE: u64 = 4;
pub const GOODBYE: u64 = 6;
pub const ERROR: u64 = 8;
pub const PUBLISHED: u64 = 17;
pub const SUBSCRIBED: u64 = 33;
pub const UNSUBSCRIBED: u64 = 35;
pub const EVENT: u64 = 36;
pub const RESULT: u64 = 50;
pub const REGISTERED: u64 = 65;
pub const UNREGISTERED: u64 = 67;
pub const INVOCATION: u64 = 68;

/// What HELLO says of who the client is.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    pub authmethod: &'static str,
    pub authid: Option<&'a str>,
    /// The one entry of `authextra`.
    pub authextra: Option<(&'static str, String)>,
}

impl Opening<'_> {
    /// Somebody who need not say it.
    pub const ANONYMOUS: Self = Self { authmethod: "anonymous", authid: None, authextra: None };
}

/// What a CALL says of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Results may come in several.
    pub receive: bool,
    /// Another CALL of the same request follows.
    pub more: bool,
}

/// How a subscription's topic is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    #[default]
    Exact,
    Prefix,
    Wildcard,
}

impl Matching {
    const ALL: [Self; 3] = [Self::Exact, Self::Prefix, Self::Wildcard];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Wildcard => "wildcard",
        }
    }
}

impl FromStr for Matching {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|matching| matching.name() == text);
        found.ok_or_else(|| "expected exact, prefix or wildcard".to_owned())
    }
}

/// What AUTHENTICATE says.
#[derive(Clone, Debug)]
pub struct Answer {
    pub signature: String,
    /// `Extra.nonce`.
    pub nonce: Option<String>,
}

/// Writes one message into a body buffer that is emptied first.
pub struct Body<'a> {
    writer: Writer<'a>,
}

impl<'a> Body<'a> {
    pub fn new(serializer: Serializer, body: &'a mut Vec<u8>) -> Self {
        body.clear();
        Self { writer: Writer::new(serializer, body) }
    }

    /// `progressive` announces what calls and results in parts need.
    pub fn hello(mut self, realm: &str, opening: &Opening<'_>, progressive: bool) {
        let Opening { authmethod, authid, authextra } = opening;
        let entries = 3 + u8::from(authid.is_some()) + u8::from(authextra.is_some());
        let out = self.writer.array(3).uint(1).text(realm.as_bytes()).map(entries);
        out.key("agent").text(b"stentor-loadtest");
        out.key("authmethods").array(1).text(authmethod.as_bytes()).end_array();
        if let Some(authid) = authid {
            out.key("authid").text(authid.as_bytes());
        }
        if let Some((key, text)) = authextra {
            out.key("authextra").map(1).key(key).text(text.as_bytes()).end_map();
        }
        out.key("roles").map(4);
        for role in ["publisher", "subscriber", "caller", "callee"] {
            let out = out.key(role).map(1).key("features");
            if progressive && role.starts_with("call") {
                out.map(3).key("progressive_call_results").truth();
                out.key("progressive_call_invocations").truth();
                out.key("call_canceling").truth().end_map();
            } else {
                out.empty_map();
            }
            out.end_map();
        }
        out.end_map().end_map().end_array();
    }

    pub fn authenticate(mut self, answer: &Answer) {
        let out = self.writer.array(3).uint(5).text(answer.signature.as_bytes());
        match &answer.nonce {
            Some(nonce) => out.map(1).key("nonce").text(nonce.as_bytes()).end_map(),
            None => out.empty_map(),
        };
        out.end_array();
    }

    pub fn goodbye(mut self) {
        let out = self.writer.array(3).uint(6).empty_map();
        out.text(b"wamp.close.close_realm").end_array();
    }

    /// `get_retained` asks for what is retained, too.
    pub fn subscribe(mut self, request: u64, matching: Matching, get_retained: bool, topic: &str) {
        let entries = u8::from(matching != Matching::Exact) + u8::from(get_retained);
        let out = self.writer.array(4).uint(32).uint(request);
        if entries == 0 {
            out.empty_map();
        } else {
            out.map(entries);
            if matching != Matching::Exact {
                out.key("match").text(matching.name().as_bytes());
            }
            if get_retained {
                out.key("get_retained").truth();
            }
            out.end_map();
        }
        out.text(topic.as_bytes()).end_array();
    }

    pub fn unsubscribe(mut self, request: u64, subscription: u64) {
        self.writer.array(3).uint(34).uint(request).uint(subscription).end_array();
    }

    pub fn publish(mut self, request: u64, acknowledge: bool, topic: &str, payload: &[u8]) {
        let out = self.writer.array(5).uint(16).uint(request);
        if acknowledge {
            out.map(1).key("acknowledge").truth().end_map();
        } else {
            out.empty_map();
        }
        out.text(topic.as_bytes()).array(1).text(payload).end_array().end_array();
    }

    /// Publishes what stays with the topic, and asks for PUBLISHED.
    pub fn retain(mut self, request: u64, topic: &str, payload: &[u8]) {
        let out = self.writer.array(5).uint(16).uint(request);
        out.map(2).key("acknowledge").truth().key("retain").truth().end_map();
        out.text(topic.as_bytes()).array(1).text(payload).end_array().end_array();
    }

    /// Asks for the events of a subscription's history, at most `limit`, behind a publication or
    /// from the beginning.
    pub fn get_events(mut self, request: u64, subscription: u64, limit: u32, after: Option<u64>) {
        let out = self.writer.array(6).uint(48).uint(request).empty_map();
        out.text(b"wamp.subscription.get_events").array(1).uint(subscription).end_array();
        out.map(1 + u8::from(after.is_some())).key("limit").uint(u64::from(limit));
        if let Some(after) = after {
            out.key("after_publication").uint(after);
        }
        out.end_map().end_array();
    }

    /// `shared` lets several callees register the same procedure, served in turn.
    pub fn register(mut self, request: u64, procedure: &str, shared: bool) {
        let out = self.writer.array(4).uint(64).uint(request);
        if shared {
            out.map(1).key("invoke").text(b"roundrobin").end_map();
        } else {
            out.empty_map();
        }
        out.text(procedure.as_bytes()).end_array();
    }

    pub fn call(mut self, request: u64, parts: Parts, procedure: &str, payload: &[u8]) {
        let out = self.writer.array(5).uint(48).uint(request);
        match (parts.receive, parts.more) {
            (false, false) => out.empty_map(),
            (true, false) => out.map(1).key("receive_progress").truth().end_map(),
            (false, true) => out.map(1).key("progress").truth().end_map(),
            (true, true) => {
                out.map(2).key("receive_progress").truth().key("progress").truth().end_map()
            }
        };
        out.text(procedure.as_bytes()).array(1).text(payload).end_array().end_array();
    }

    /// `more` says that it is not the last result.
    pub fn yield_result(mut self, invocation: u64, more: bool, payload: &[u8]) {
        let out = self.writer.array(4).uint(70).uint(invocation);
        if more {
            out.map(1).key("progress").truth().end_map();
        } else {
            out.empty_map();
        }
        out.array(1).text(payload).end_array().end_array();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(write: impl FnOnce(Body<'_>)) -> String {
        let mut body = b"stale".to_vec();
        write(Body::new(Serializer::Json, &mut body));
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn golden_json() {
        assert_eq!(
            json(|body| body.retain(7, "a", b"p")),
            r#"[16,7,{"acknowledge":true,"retain":true},"a",["p"]]"#
        );
        assert_eq!(
            json(|body| body.get_events(8, 5, 100, None)),
            r#"[48,8,{},"wamp.subscription.get_events",[5],{"limit":100}]"#
        );
        let later = json(|body| body.get_events(8, 5, 100, Some(9)));
        assert!(later.ends_with(r#"[5],{"limit":100,"after_publication":9}]"#), "{later}");
        let subscribe =
            |matching, get_retained| json(|body| body.subscribe(1, matching, get_retained, "a.b"));
        assert_eq!(subscribe(Matching::Exact, false), r#"[32,1,{},"a.b"]"#);
        assert_eq!(
            subscribe(Matching::Wildcard, true),
            r#"[32,1,{"match":"wildcard","get_retained":true},"a.b"]"#
        );
        assert_eq!(json(|body| body.unsubscribe(2, 77)), "[34,2,77]");
        assert_eq!(json(|body| body.publish(3, false, "a", b"p")), r#"[16,3,{},"a",["p"]]"#);
        assert_eq!(
            json(|body| body.call(4, Parts::default(), "f", b"p")),
            r#"[48,4,{},"f",["p"]]"#
        );
        assert_eq!(json(|body| body.yield_result(5, false, b"p")), r#"[70,5,{},["p"]]"#);
        assert_eq!(
            json(|body| body.yield_result(5, true, b"p")),
            r#"[70,5,{"progress":true},["p"]]"#
        );
        let parts = Parts { receive: true, more: true };
        assert_eq!(
            json(|body| body.call(4, parts, "f", b"p")),
            r#"[48,4,{"receive_progress":true,"progress":true},"f",["p"]]"#
        );
        assert_eq!(
            json(|body| body.register(6, "f", true)),
            r#"[64,6,{"invoke":"roundrobin"},"f"]"#
        );
        let answer = Answer { signature: "s".to_owned(), nonce: Some("n".to_owned()) };
        assert_eq!(json(|body| body.authenticate(&answer)), r#"[5,"s",{"nonce":"n"}]"#);
        let opening = Opening {
            authmethod: "cryptosign",
            authid: Some("user"),
            authextra: Some(("pubkey", "00".to_owned())),
        };
        let hello = json(|body| body.hello("realm1", &opening, false));
        let says =
            r#""authmethods":["cryptosign"],"authid":"user","authextra":{"pubkey":"00"},"roles""#;
        assert!(hello.contains(says), "{hello}");
        assert_eq!(json(|body| body.goodbye()), r#"[6,{},"wamp.close.close_realm"]"#);
    }

    #[test]
    fn hello_says_the_same_in_every_serializer() {
        let decode = |serializer| -> serde_json::Value {
            let mut body = Vec::new();
            Body::new(serializer, &mut body).hello("realm1", &Opening::ANONYMOUS, true);
            match serializer {
                Serializer::Json => serde_json::from_slice(&body).unwrap(),
                Serializer::MessagePack => rmp_serde::from_slice(&body).unwrap(),
                Serializer::Cbor => ciborium::from_reader(&body[..]).unwrap(),
            }
        };
        let hello = decode(Serializer::Json);
        assert_eq!((&hello[0], &hello[1]), (&1.into(), &"realm1".into()));
        assert_eq!(hello[2]["roles"].as_object().unwrap().len(), 4);
        assert_eq!(hello[2]["roles"]["callee"]["features"]["call_canceling"], true);
        assert_eq!(hello[2]["roles"]["publisher"]["features"].as_object().unwrap().len(), 0);
        assert_eq!(decode(Serializer::MessagePack), hello);
        assert_eq!(decode(Serializer::Cbor), hello);
    }
}

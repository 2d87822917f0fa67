//! In which format a body comes, and in which one its answer goes: what `Content-Type` and `Accept`
//! say of JSON, CBOR and MessagePack.

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

use crate::codec::Codec;

/// A format by one of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) codec: Codec,
    /// Its media type, as its client calls it.
    pub(super) name: &'static str,
}

impl Format {
    pub(super) const JSON: Self = Self { codec: Codec::Json, name: "application/json" };

    /// Of a body: JSON if nothing is said. `None` for what is not known here, or said twice.
    pub(super) fn of_body(headers: &HeaderMap) -> Option<Self> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let Some(value) = types.next() else { return Some(Self::JSON) };
        let mut parts = value.to_str().ok()?.split(';').map(str::trim);
        let named = Self::named(parts.next()?)?;
        let is_good = named.codec != Codec::Json || parts.all(may_stand_behind_json);
        (is_good && types.next().is_none()).then_some(named)
    }

    /// Of an answer: what `Accept` names and likes best, the first of several; else, also where it
    /// takes anything, or nothing that is known here, that of the body.
    pub(super) fn of_answer(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = None;
        for item in values.flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let Some(format) = parts.next().and_then(Self::named) else { continue };
            let weight = parts.find_map(weight_in).unwrap_or(1.0);
            if weight > best.map_or(0.0, |(weight, _)| weight) {
                best = Some((weight, format));
            }
        }
        let of_body = || Self::of_body(headers).unwrap_or(Self::JSON);
        best.map_or_else(of_body, |(_, format)| format)
    }

    fn named(name: &str) -> Option<Self> {
        KNOWN.into_iter().find(|known| known.name.eq_ignore_ascii_case(name))
    }
}

/// JSON is in UTF-8; other parameters say nothing.
fn may_stand_behind_json(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return parameter.is_empty() };
    let value = value.trim_matches('"');
    !name.eq_ignore_ascii_case("charset")
        || ["utf-8", "utf8"].iter().any(|known| value.eq_ignore_ascii_case(known))
}

/// How much somebody likes something (RFC 9110, 12.4.2). What cannot be read counts as nothing.
fn weight_in(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let is_weight = name.trim_end().eq_ignore_ascii_case("q");
    is_weight.then(|| value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0))
}

const KNOWN: [Format; 5] = [
    Format::JSON,
    Format { codec: Codec::Cbor, name: "application/cbor" },
    Format { codec: Codec::MsgPack, name: "application/msgpack" },
    Format { codec: Codec::MsgPack, name: "application/vnd.msgpack" },
    Format { codec: Codec::MsgPack, name: "application/x-msgpack" },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: Option<&str>, accept: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
        }
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        headers
    }

    fn body(content_type: Option<&str>) -> Option<&'static str> {
        Format::of_body(&headers(content_type, &[])).map(|format| format.name)
    }

    #[test]
    fn a_body_is_what_its_type_says() {
        assert_eq!(body(None), Some("application/json"));
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"; x=y",
            "application/json;",
        ] {
            assert_eq!(body(Some(json)), Some("application/json"), "{json}");
        }
        assert_eq!(body(Some("application/CBOR; x=y")), Some("application/cbor"));
        for name in ["application/msgpack", "application/vnd.msgpack", "application/x-msgpack"] {
            assert_eq!(body(Some(name)), Some(name), "it is answered by the same name");
        }
        for bad in [
            "text/plain",
            "application/json; charset=latin1",
            "",
            "application/jsonx",
            "application/cbor-seq",
            "cbor",
        ] {
            assert_eq!(body(Some(bad)), None, "{bad}");
        }
        let mut twice = headers(Some("application/cbor"), &[]);
        twice.append(CONTENT_TYPE, "application/cbor".parse().unwrap());
        assert_eq!(Format::of_body(&twice), None);
    }

    #[test]
    fn an_answer_is_what_is_liked_best() {
        let (cbor, json) = (Some("application/cbor"), Some("application/json"));
        for (content_type, accept, expected) in [
            (cbor, &[][..], "application/cbor"),
            (None, &[], "application/json"),
            (cbor, &["*/*"], "application/cbor"),
            (cbor, &["text/html, application/*"], "application/cbor"),
            (Some("text/plain"), &["*/*"], "application/json"),
            (json, &["application/cbor"], "application/cbor"),
            (cbor, &["application/json"], "application/json"),
            (json, &["application/cbor, */*;q=0.1"], "application/cbor"),
            (json, &["application/cbor;q=0.5, application/json;q=0.4"], "application/cbor"),
            (json, &["application/cbor;q=0.5", "application/x-msgpack"], "application/x-msgpack"),
            (json, &["application/msgpack, application/cbor"], "application/msgpack"),
            (json, &["application/cbor; Q=0"], "application/json"),
            (json, &["application/cbor;q=NaN, application/cbor;q=2"], "application/json"),
            (json, &["application/cbor; x=y; q=0.001"], "application/cbor"),
            (json, &[",;,q=1,"], "application/json"),
        ] {
            let found = Format::of_answer(&headers(content_type, accept));
            assert_eq!(found.name, expected, "{content_type:?} {accept:?}");
        }
    }
}

//! The `Options` and `Details` of the messages from clients, key by key (BP-TY-03, BP-TY-04).
//!
//! Unknown keys are skipped, a null counts as absent, a key that comes twice is an error, and so is
//! a known key with a value of the wrong type.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::passthru::{common_option, passthru_option};
use super::scan::{Place, Scan};
use super::token::{Reader, Sequence, Token};
use super::{DecodeError, DecodeFault};
use crate::wamp::{
    CallOptions, CancelMode, Choice, ErrorDetails, InvokePolicy, MatchPolicy, PublishOptions,
    RegisterOptions, SessionId, SubscribeOptions, YieldOptions, heap_block, quote,
};

type Read<T> = Result<T, DecodeError>;

pub(super) fn publish_options<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<PublishOptions> {
    let mut options = PublishOptions::default();
    each_option(scan, dict, place, |key, value| {
        match key {
            "acknowledge" => value.bool(&mut options.acknowledge)?,
            "exclude_me" => value.bool(&mut options.exclude_me)?,
            "disclose_me" => value.bool(&mut options.disclose_me)?,
            "retain" => value.bool(&mut options.retain)?,
            "exclude" => put(&mut options.filter, value.ids()?, |f| &mut f.exclude),
            "exclude_authid" => {
                put(&mut options.filter, value.strings()?, |f| &mut f.exclude_authid);
            }
            "exclude_authrole" => {
                put(&mut options.filter, value.strings()?, |f| &mut f.exclude_authrole);
            }
            "eligible" => put(&mut options.filter, value.ids()?, |f| &mut f.eligible),
            "eligible_authid" => {
                put(&mut options.filter, value.strings()?, |f| &mut f.eligible_authid);
            }
            "eligible_authrole" => {
                put(&mut options.filter, value.strings()?, |f| &mut f.eligible_authrole);
            }
            _ => passthru_option(key, value, &mut options.passthru)?,
        }
        Ok(())
    })?;
    Ok(options)
}

pub(super) fn subscribe_options<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<SubscribeOptions> {
    let mut options = SubscribeOptions::default();
    each_option(scan, dict, place, |key, value| match key {
        "match" => value.match_policy(&mut options.match_policy),
        "get_retained" => value.bool(&mut options.get_retained),
        _ => common_option(key, value),
    })?;
    Ok(options)
}

pub(super) fn register_options<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<RegisterOptions> {
    let mut options = RegisterOptions::default();
    each_option(scan, dict, place, |key, value| match key {
        "match" => value.match_policy(&mut options.match_policy),
        "invoke" => value.choice(&mut options.invoke, invoke_policy),
        "disclose_caller" => value.bool(&mut options.disclose_caller),
        "forward_timeout" => value.bool(&mut options.forward_timeout),
        "concurrency" => {
            let parse = |number| u32::try_from(number).ok().filter(|number| *number > 0);
            options.concurrency = value.integer("an integer from 1 to 2^32 - 1", parse)?;
            Ok(())
        }
        _ => common_option(key, value),
    })?;
    Ok(options)
}

pub(super) fn call_options<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<CallOptions> {
    let mut options = CallOptions::default();
    each_option(scan, dict, place, |key, value| match key {
        "receive_progress" => value.bool(&mut options.receive_progress),
        "progress" => value.bool(&mut options.progress),
        "disclose_me" => value.bool(&mut options.disclose_me),
        "timeout" => {
            let timeout = value.integer("a non-negative integer", Some)?;
            options.timeout_ms = timeout.unwrap_or_default();
            Ok(())
        }
        _ => passthru_option(key, value, &mut options.passthru),
    })?;
    Ok(options)
}

pub(super) fn yield_options<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<YieldOptions> {
    let mut options = YieldOptions::default();
    each_option(scan, dict, place, |key, value| match key {
        "progress" => value.bool(&mut options.progress),
        _ => passthru_option(key, value, &mut options.passthru),
    })?;
    Ok(options)
}

pub(super) fn error_details<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<ErrorDetails> {
    let mut details = ErrorDetails::default();
    each_option(scan, dict, place, |key, value| {
        passthru_option(key, value, &mut details.passthru)
    })?;
    Ok(details)
}

pub(super) fn cancel_mode<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<Choice<CancelMode>> {
    let mut mode = Choice::default();
    each_option(scan, dict, place, |key, value| match key {
        "mode" => value.choice(&mut mode, |name| match name {
            "skip" => Some(CancelMode::Skip),
            "kill" => Some(CancelMode::Kill),
            "killnowait" => Some(CancelMode::KillNoWait),
            _ => None,
        }),
        _ => common_option(key, value),
    })?;
    Ok(mode)
}

/// The details of ABORT and GOODBYE: nothing in them changes what the router does.
pub(super) fn ignored_details<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    dict: Sequence,
    place: Place<'_>,
) -> Read<()> {
    each_option(scan, dict, place, |key, value| match key {
        "message" => value.text().map(drop),
        _ => value.skip(),
    })
}

/// Reads a dict whose keys are unique; `read` must read each value by one method of [`Entry`].
pub(super) fn each_option<'a, R: Reader<'a>>(
    scan: &mut Scan<'a, R>,
    mut dict: Sequence,
    place: Place<'_>,
    mut read: impl FnMut(&str, Entry<'_, 'a, R>) -> Read<()>,
) -> Read<()> {
    scan.enter()?;
    let mut keys: SmallVec<[Cow<'a, str>; 4]> = SmallVec::new();
    while scan.advance(&mut dict)? {
        let key = scan.key(place)?;
        let head = scan.token()?;
        if keys.len() == MAX_KEYS {
            return Err(place.too_many_keys(MAX_KEYS));
        }
        read(&key, Entry { head, place: Place::within(&key, &place), scan })?;
        keys.push(key);
    }
    place.check_unique(&mut keys)
}

/// Keys that one dict of options may have; the specification has less than 20 for any.
const MAX_KEYS: usize = 256;

/// Bytes in memory that one encoded byte of a list of strings may become; an honest one needs less.
const TEXT_EXPANSION: usize = 8;

/// Bytes in memory that any list of strings may take, however short its strings.
const SHORT_TEXTS_BYTES: usize = 1024 * 1024;

/// Sets a field of what is only there if one of its fields is.
pub(super) fn put<T: Default, V>(
    target: &mut Option<Box<T>>,
    value: Option<V>,
    field: impl FnOnce(&mut T) -> &mut Option<V>,
) {
    if value.is_some() {
        *field(target.get_or_insert_default()) = value;
    }
}

/// The value of one option, of which the head is read. Null is `None`, or changes nothing.
pub(super) struct Entry<'s, 'a, R> {
    pub(super) head: Token<'a>,
    pub(super) place: Place<'s>,
    pub(super) scan: &'s mut Scan<'a, R>,
}

impl<'a, R: Reader<'a>> Entry<'_, 'a, R> {
    pub(super) fn skip(self) -> Read<()> {
        self.scan.skip(self.head)
    }

    pub(super) fn bool(self, target: &mut bool) -> Read<()> {
        match self.head {
            Token::Null => {}
            Token::Bool(truth) => *target = truth,
            _ => return self.mismatch("a bool"),
        }
        Ok(())
    }

    /// An integer that `parse` takes.
    pub(super) fn integer<T>(
        self,
        expected: &'static str,
        parse: impl FnOnce(u64) -> Option<T>,
    ) -> Read<Option<T>> {
        match self.head {
            Token::Null => Ok(None),
            Token::UInt(number) => match parse(number) {
                Some(parsed) => Ok(Some(parsed)),
                None => Err(self.place.mismatch(expected, number.to_string())),
            },
            _ => self.mismatch(expected),
        }
    }

    pub(super) fn text(self) -> Read<Option<Cow<'a, str>>> {
        match self.head {
            Token::Null => Ok(None),
            Token::Str(text) => text.read_name().map(Some),
            _ => self.mismatch("a string"),
        }
    }

    /// A text that goes on to others, and so must be what was sent.
    pub(super) fn exact_text(self) -> Read<Option<Cow<'a, str>>> {
        match self.head {
            Token::Str(text) => {
                let lone = |_| self.place.mismatch("a string", "one with a lone surrogate");
                text.read().map(Some).map_err(lone)
            }
            _ => self.text(),
        }
    }

    pub(super) fn string(self) -> Read<Option<String>> {
        Ok(self.text()?.map(Cow::into_owned))
    }

    pub(super) fn strings(self) -> Read<Option<Vec<String>>> {
        let (place, start) = (self.place, self.scan.position());
        let mut heap_bytes = 0;
        self.list("a list of strings", |item, at| match item {
            Token::Str(text) => {
                let text = text.read_name()?.into_owned();
                heap_bytes += size_of::<String>() + heap_block(text.capacity());
                let limit_bytes = SHORT_TEXTS_BYTES + (at - start) * TEXT_EXPANSION;
                if heap_bytes > limit_bytes {
                    let place = place.path();
                    return Err(DecodeFault::TooLarge { place, limit_bytes }.into());
                }
                Ok(Some(text))
            }
            _ => Ok(None),
        })
    }

    fn ids(self) -> Read<Option<Vec<SessionId>>> {
        self.list("a list of ids", |item, _| Ok(item.whole().and_then(SessionId::new)))
    }

    /// A list of scalars that `parse` takes; it also gets the position behind the scalar.
    fn list<T>(
        self,
        expected: &'static str,
        mut parse: impl FnMut(Token<'a>, usize) -> Read<Option<T>>,
    ) -> Read<Option<Vec<T>>> {
        let mut list = match self.head {
            Token::Null => return Ok(None),
            Token::List(list) => list,
            _ => return self.mismatch(expected),
        };
        self.scan.enter()?;
        let mut items = Vec::new();
        while self.scan.advance(&mut list)? {
            let item = self.scan.token()?;
            match parse(item, self.scan.position())? {
                Some(parsed) => items.push(parsed),
                None => {
                    let got = format!("one with {}", item.describe());
                    return Err(self.place.mismatch(expected, got));
                }
            }
        }
        Ok(Some(items))
    }

    /// A value that decides how URIs match: an unknown one is an error.
    fn match_policy(self, target: &mut MatchPolicy) -> Read<()> {
        const EXPECTED: &str = "\"exact\", \"prefix\" or \"wildcard\"";
        let place = self.place;
        let (Token::Null | Token::Str(_)) = self.head else {
            return self.mismatch(EXPECTED);
        };
        *target = match self.text()?.as_deref() {
            None => return Ok(()),
            Some("exact") => MatchPolicy::Exact,
            Some("prefix") => MatchPolicy::Prefix,
            Some("wildcard") => MatchPolicy::Wildcard,
            Some(other) => return Err(place.mismatch(EXPECTED, quote(other))),
        };
        Ok(())
    }

    /// A string of an open set: an unknown one is for the handler to answer.
    fn choice<T>(self, target: &mut Choice<T>, parse: impl FnOnce(&str) -> Option<T>) -> Read<()> {
        if let Some(name) = self.text()? {
            *target = parse(&name).map_or(Choice::Unknown, Choice::Known);
        }
        Ok(())
    }

    pub(super) fn mismatch<T>(&self, expected: &'static str) -> Read<T> {
        Err(self.place.mismatch(expected, self.head.describe()))
    }
}

fn invoke_policy(name: &str) -> Option<InvokePolicy> {
    Some(match name {
        "single" => InvokePolicy::Single,
        "roundrobin" => InvokePolicy::RoundRobin,
        "random" => InvokePolicy::Random,
        "first" => InvokePolicy::First,
        "last" => InvokePolicy::Last,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, DecodeLimits, decode, read_json};
    use super::*;
    use crate::wamp::ClientMessage;

    fn publish(options: &str) -> Result<PublishOptions, String> {
        match read_json(&format!(r#"[16,1,{options},"a"]"#)) {
            Ok(ClientMessage::Publish(publish)) => Ok(publish.options),
            Ok(other) => panic!("{other:?} is no PUBLISH"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(read_json(text).expect_err(text).to_string(), message);
    }

    #[test]
    fn known_options_are_read_and_unknown_ones_ignored() {
        let options = publish(
            r#"{"acknowledge":true,"exclude_me":false,"eligible":[],"exclude_authid":["a"],
                "ppt_scheme":"x_a","x-custom":{"a":[1]},"":null}"#,
        )
        .expect("they are valid");
        assert!(options.acknowledge && !options.exclude_me && !options.retain);
        let filter = options.filter.expect("there are lists");
        assert_eq!(filter.eligible, Some(Vec::new()), "an empty list is not an absent one");
        assert_eq!(filter.exclude_authid, Some(vec!["a".to_owned()]));
        assert_eq!(options.passthru.expect("a scheme").ppt_scheme.as_deref(), Some("x_a"));
    }

    #[test]
    fn nulls_count_as_absent() {
        let all = r#"{"acknowledge":null,"exclude_me":null,"eligible":null,"enc_algo":null,
                      "forward_for":null,"transaction_hash":null}"#;
        assert_eq!(publish(all), Ok(PublishOptions::default()));
        let text = r#"[32,1,{"match":null},"a"]"#;
        assert!(read_json(text).is_ok());
        // What wampy.js sends for `undefined`.
        let msgpack = b"\x94\x20\x01\x81\xa5match\xd4\x00\x00\xa1a";
        let cbor = b"\x84\x18\x20\x01\xa1\x65match\xf7\x61a";
        for (codec, bytes) in [(Codec::MsgPack, &msgpack[..]), (Codec::Cbor, &cbor[..])] {
            match decode(codec, bytes, DecodeLimits { nesting: 64 }) {
                Ok(ClientMessage::Subscribe(subscribe)) => {
                    assert_eq!(subscribe.options, SubscribeOptions::default());
                }
                other => panic!("{other:?} is no SUBSCRIBE"),
            }
        }
    }

    #[test]
    fn session_ids_may_be_whole_floats_in_binary_serializers() {
        let publish = |number: f64| {
            let number = number.to_be_bytes();
            let bytes = [&b"\x94\x10\x01\x81\xa7exclude\x91\xcb"[..], &number, b"\xa1a"].concat();
            match decode(Codec::MsgPack, &bytes, DecodeLimits { nesting: 64 }) {
                Ok(ClientMessage::Publish(publish)) => publish.options.filter?.exclude,
                _ => None,
            }
        };
        let id = SessionId::new(1 << 40).expect("it is in range");
        assert_eq!(publish((1_u64 << 40) as f64), Some(vec![id]));
        for bad in [1.5, 0.0, -1.0, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(publish(bad), None, "{bad}");
        }
        assert!(read_json(r#"[16,1,{"exclude":[1.0]},"a"]"#).is_err(), "JSON has no excuse");
    }

    #[test]
    fn wrong_types_are_named() {
        let error = |options| publish(options).expect_err("it is refused");
        assert_eq!(
            error(r#"{"acknowledge":1}"#),
            "PUBLISH.Options.acknowledge must be a bool, got an integer"
        );
        assert_eq!(
            error(r#"{"exclude":["a"]}"#),
            "PUBLISH.Options.exclude must be a list of ids, got one with a string"
        );
        assert_eq!(
            error(r#"{"forward_for":[{"session":0}]}"#),
            "PUBLISH.Options.forward_for.session must be an integer from 1 to 2^53, got 0"
        );
        assert_eq!(
            error(r#"{"enc_algo":"rot13"}"#),
            r#"PUBLISH.Options.enc_algo must be "cryptobox", "mqtt", "xbr" or "x_...", got "rot13""#
        );
        refused(
            r#"[32,1,{"match":"regex"},"a"]"#,
            r#"SUBSCRIBE.Options.match must be "exact", "prefix" or "wildcard", got "regex""#,
        );
        for timeout in ["-1", "1.5", "1e3", "\"1\"", "true"] {
            let text = format!(r#"[48,1,{{"timeout":{timeout}}},"a"]"#);
            let error = read_json(&text).expect_err("it is refused").to_string();
            assert!(error.contains("timeout must be a non-negative integer"), "{error}");
        }
        refused(
            r#"[64,1,{"concurrency":0},"a"]"#,
            "REGISTER.Options.concurrency must be an integer from 1 to 2^32 - 1, got 0",
        );
    }

    #[test]
    fn unknown_choices_are_left_to_the_handler() {
        let cancel = |mode: &str| match read_json(&format!("[49,1,{{\"mode\":{mode}}}]")) {
            Ok(ClientMessage::Cancel(cancel)) => Some(cancel.mode),
            _ => None,
        };
        assert_eq!(cancel(r#""skip""#), Some(Choice::Known(CancelMode::Skip)));
        assert_eq!(cancel(r#""abort""#), Some(Choice::Unknown));
        assert_eq!(cancel("null"), Some(Choice::Known(CancelMode::KillNoWait)));
        assert_eq!(cancel("1"), None);
    }

    #[test]
    fn keys_must_not_come_twice() {
        let twice = "PUBLISH.Options has the key \"retain\" twice";
        assert_eq!(publish(r#"{"retain":true,"a":1,"retain":false}"#), Err(twice.to_owned()));
        assert!(publish(r#"{"a":1,"b":1,"\u0061":1}"#).is_err(), "escapes make no difference");
    }

    #[test]
    fn a_dict_of_options_has_few_keys() {
        let options = |count: usize| {
            let keys: Vec<_> = (0..count).map(|number| format!("\"x{number}\":0")).collect();
            publish(&format!("{{{}}}", keys.join(",")))
        };
        assert!(options(256).is_ok());
        let error = options(257).expect_err("there are too many");
        assert_eq!(error, "PUBLISH.Options must have at most 256 keys");
    }

    /// A name takes 56 bytes of memory at least, and two on the wire.
    #[test]
    fn a_list_of_names_takes_memory_in_proportion() {
        let list = |name: &str, count: u32| {
            let names = [&[0xa0 | name.len() as u8], name.as_bytes()].concat();
            let names = names.repeat(count as usize);
            let length = count.to_be_bytes();
            let head = b"\x94\x10\x01\x81\xaeexclude_authid\xdd";
            [&head[..], &length, &names, b"\xa1a"].concat()
        };
        let decoded =
            |bytes: &[u8]| decode(Codec::MsgPack, bytes, DecodeLimits { nesting: 64 }).map(drop);
        assert_eq!(decoded(&list("a", 20_000)), Ok(()));
        assert_eq!(decoded(&list("a user", 140_000)), Ok(()));
        let error = decoded(&list("a", 500_000)).expect_err("they are many").to_string();
        assert!(error.starts_with("PUBLISH.Options.exclude_authid takes more than "), "{error}");
    }
}

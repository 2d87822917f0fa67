//! The `Options` and `Details` of the messages from clients, key by key (BP-TY-03, BP-TY-04).
//!
//! Unknown keys are skipped, a null counts as absent, a key that comes twice is an error, and so is
//! a known key with a value of the wrong type.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::DecodeError;
use super::error::quote;
use super::passthru::{common_option, passthru_option};
use super::scan::{Place, Scan};
use super::token::{Reader, Sequence, Token};
use crate::wamp::{
    CallOptions, CancelMode, Choice, ErrorDetails, InvokePolicy, MatchPolicy, PublishOptions,
    RegisterOptions, SessionId, SubscribeOptions, YieldOptions,
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
        read(&key, Entry { head, place: Place::within(&key, &place), scan })?;
        keys.push(key);
    }
    place.check_unique(&mut keys)
}

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
            Token::Str(text) => text.read().map(Some),
            _ => self.mismatch("a string"),
        }
    }

    pub(super) fn string(self) -> Read<Option<String>> {
        Ok(self.text()?.map(Cow::into_owned))
    }

    pub(super) fn strings(self) -> Read<Option<Vec<String>>> {
        self.list("a list of strings", |item| match item {
            Token::Str(text) => Ok(Some(text.read()?.into_owned())),
            _ => Ok(None),
        })
    }

    fn ids(self) -> Read<Option<Vec<SessionId>>> {
        self.list("a list of ids", |item| match item {
            Token::UInt(number) => Ok(SessionId::new(number)),
            _ => Ok(None),
        })
    }

    /// A list of scalars that `parse` takes.
    fn list<T>(
        self,
        expected: &'static str,
        parse: impl Fn(Token<'a>) -> Read<Option<T>>,
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
            match parse(item)? {
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

//! What an authorizer says: the shapes that crossbar's authorizers answer in, and no others
//! (AU-AZ-04).

use crate::wamp::{Dict, Value};

/// What came of asking an authorizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// `discloses`: the other side learns who calls or publishes, whatever the realm says.
    Granted {
        discloses: bool,
    },
    Denied,
    /// It could not be asked, or has not answered in time, or not as it should.
    Failed,
}

/// What an authorizer has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizerAnswer {
    pub ruling: Ruling,
    /// It holds for further requests of the kind, too.
    pub may_cache: bool,
}

impl AuthorizerAnswer {
    /// Reads a RESULT: one `bool`, or one dict of `allow` (needed), `cache`, `disclose` (all bools)
    /// and `validate` (ignored).
    ///
    /// # Errors
    /// What is wrong with any other.
    pub fn read(args: &[Value], kwargs: &Dict) -> Result<Self, &'static str> {
        let [answer] = args else { return Err("it is not one value") };
        if !kwargs.is_empty() {
            return Err("it has keyword arguments");
        }
        match answer {
            Value::Bool(allow) => Ok(Self::new(*allow, false, false)),
            Value::Dict(answer) => Self::of_dict(answer),
            _ => Err("it is neither a bool nor a dict"),
        }
    }

    fn of_dict(answer: &Dict) -> Result<Self, &'static str> {
        let (mut allow, mut cache, mut disclose) = (None, None, None);
        for (key, value) in answer {
            let place = match &**key {
                "allow" => &mut allow,
                "cache" => &mut cache,
                "disclose" => &mut disclose,
                "validate" => continue,
                _ => return Err("its dict has other keys than allow, cache, disclose, validate"),
            };
            match value {
                Value::Bool(truth) => *place = Some(*truth),
                // Left out, in the words of some languages; but whether to allow is said.
                Value::Null if &**key != "allow" => {}
                _ => return Err("allow, cache and disclose are bools"),
            }
        }
        let allow = allow.ok_or("its dict does not say whether to allow")?;
        Ok(Self::new(allow, cache.unwrap_or_default(), disclose.unwrap_or_default()))
    }

    const fn new(allow: bool, may_cache: bool, discloses: bool) -> Self {
        let ruling = if allow { Ruling::Granted { discloses } } else { Ruling::Denied };
        Self { ruling, may_cache }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[Value]) -> Result<AuthorizerAnswer, &'static str> {
        AuthorizerAnswer::read(args, &Dict::new())
    }

    fn dict(entries: &[(&'static str, Value)]) -> Value {
        Value::Dict(entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect())
    }

    #[test]
    fn a_bool_or_a_dict_decides() {
        let granted = |discloses, may_cache| {
            Ok(AuthorizerAnswer { ruling: Ruling::Granted { discloses }, may_cache })
        };
        let denied = |may_cache| Ok(AuthorizerAnswer { ruling: Ruling::Denied, may_cache });
        let (yes, no) = (Value::Bool(true), Value::Bool(false));
        assert_eq!(read(&[Value::Bool(true)]), granted(false, false));
        assert_eq!(read(&[Value::Bool(false)]), denied(false));
        let allow = ("allow", yes.clone());
        assert_eq!(read(&[dict(&[("allow", Value::Bool(true))])]), granted(false, false));
        let validate = ("validate", Value::Dict(Dict::new()));
        let (cache, disclose) = (("cache", yes.clone()), ("disclose", yes));
        let all = [allow.clone(), cache.clone(), disclose, validate];
        assert_eq!(read(&[dict(&all)]), granted(true, true));
        assert_eq!(read(&[dict(&[("allow", no), cache])]), denied(true));
        assert_eq!(read(&[dict(&[allow, ("cache", Value::Null)])]), granted(false, false));
    }

    /// Nothing else grants anything.
    #[test]
    fn whatever_else_is_no_answer() {
        let yes = Value::Bool(true);
        let bad = [
            vec![],
            vec![yes.clone(), yes.clone()],
            vec![Value::Null],
            vec![Value::UInt(1)],
            vec![Value::Float(1.0)],
            vec!["true".into()],
            vec![Value::List(vec![yes.clone()])],
            vec![dict(&[])],
            vec![dict(&[("cache", yes.clone())])],
            vec![dict(&[("allow", Value::UInt(1))])],
            vec![dict(&[("allow", Value::Null)])],
            vec![dict(&[("allow", yes.clone()), ("cache", Value::UInt(1))])],
            vec![dict(&[("allow", yes.clone()), ("alow", yes.clone())])],
        ];
        for args in bad {
            assert!(read(&args).is_err(), "{args:?}");
        }
        assert!(
            AuthorizerAnswer::read(&[Value::Bool(true)], &vec![("allow".into(), yes)]).is_err()
        );
    }
}

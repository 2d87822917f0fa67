//! Options as a dict, for those who are asked about a request: what the router has understood of
//! them, without what is as if it were not there.

use super::options::{
    CallOptions, Choice, InvokePolicy, Passthru, PublishOptions, RegisterOptions, SubscribeOptions,
};
use super::value::{Dict, Value};
use super::{MatchPolicy, SessionId};

impl PublishOptions {
    /// `PUBLISH.Options`.
    pub fn to_dict(&self) -> Dict {
        let mut dict = Dict::new();
        flag(&mut dict, "acknowledge", self.acknowledge);
        flag(&mut dict, "disclose_me", self.disclose_me);
        flag(&mut dict, "retain", self.retain);
        if !self.exclude_me {
            dict.push(("exclude_me".into(), false.into()));
        }
        let filter = self.filter.as_deref();
        let ids =
            |list: &Vec<SessionId>| Value::List(list.iter().map(|id| id.get().into()).collect());
        let names = |list: &Vec<String>| {
            Value::List(list.iter().map(|name| name.as_str().into()).collect())
        };
        let lists = filter.into_iter().flat_map(|lists| {
            [
                ("exclude", lists.exclude.as_ref().map(ids)),
                ("exclude_authid", lists.exclude_authid.as_ref().map(names)),
                ("exclude_authrole", lists.exclude_authrole.as_ref().map(names)),
                ("eligible", lists.eligible.as_ref().map(ids)),
                ("eligible_authid", lists.eligible_authid.as_ref().map(names)),
                ("eligible_authrole", lists.eligible_authrole.as_ref().map(names)),
            ]
        });
        dict.extend(lists.filter_map(|(key, list)| Some((key.into(), list?))));
        passthru(&mut dict, self.passthru.as_deref());
        dict
    }
}

impl SubscribeOptions {
    /// `SUBSCRIBE.Options`.
    pub fn to_dict(&self) -> Dict {
        let mut dict = matching(self.match_policy);
        flag(&mut dict, "get_retained", self.get_retained);
        dict
    }
}

impl RegisterOptions {
    /// `REGISTER.Options`.
    pub fn to_dict(&self) -> Dict {
        let mut dict = matching(self.match_policy);
        if let Choice::Known(invoke) = self.invoke
            && invoke != InvokePolicy::Single
        {
            dict.push(("invoke".into(), invoke.as_str().into()));
        }
        flag(&mut dict, "disclose_caller", self.disclose_caller);
        flag(&mut dict, "forward_timeout", self.forward_timeout);
        let concurrency = self.concurrency.map(|most| u64::from(most).into());
        dict.extend(concurrency.map(|most| ("concurrency".into(), most)));
        dict
    }
}

impl CallOptions {
    /// `CALL.Options`.
    pub fn to_dict(&self) -> Dict {
        let mut dict = Dict::new();
        flag(&mut dict, "receive_progress", self.receive_progress);
        flag(&mut dict, "progress", self.progress);
        flag(&mut dict, "disclose_me", self.disclose_me);
        if self.timeout_ms > 0 {
            dict.push(("timeout".into(), self.timeout_ms.into()));
        }
        passthru(&mut dict, self.passthru.as_deref());
        dict
    }
}

fn matching(policy: MatchPolicy) -> Dict {
    vec![("match".into(), policy.as_str().into())]
}

fn flag(dict: &mut Dict, key: &'static str, is_set: bool) {
    if is_set {
        dict.push((key.into(), true.into()));
    }
}

/// Of payload passthru only how it is used: keys are for those who have the payload.
fn passthru(dict: &mut Dict, keys: Option<&Passthru>) {
    let Some(keys) = keys else { return };
    let texts = [("ppt_scheme", &keys.ppt_scheme), ("ppt_serializer", &keys.ppt_serializer)];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.as_deref()?)));
    dict.extend(texts.map(|(key, text)| (key.into(), text.into())));
}

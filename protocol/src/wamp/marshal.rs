//! Options as a dict, for those who are asked about a request: what the router has understood of
//! them, without what is as if it were not there.

use super::options::{
    CallOptions, Choice, InvokePolicy, Passthru, PublishOptions, ReceiverFilter, RegisterOptions,
    SubscribeOptions,
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
        dict.extend(self.filter.iter().flat_map(|lists| lists.to_dict()));
        passthru(&mut dict, self.passthru.as_deref());
        dict
    }
}

impl ReceiverFilter {
    /// The lists that there are, under their keys in `PUBLISH.Options`.
    pub fn to_dict(&self) -> Dict {
        let ids =
            |list: &Vec<SessionId>| Value::List(list.iter().map(|id| id.get().into()).collect());
        let names = |list: &Vec<String>| {
            Value::List(list.iter().map(|name| name.as_str().into()).collect())
        };
        let lists = [
            ("exclude", self.exclude.as_ref().map(ids)),
            ("exclude_authid", self.exclude_authid.as_ref().map(names)),
            ("exclude_authrole", self.exclude_authrole.as_ref().map(names)),
            ("eligible", self.eligible.as_ref().map(ids)),
            ("eligible_authid", self.eligible_authid.as_ref().map(names)),
            ("eligible_authrole", self.eligible_authrole.as_ref().map(names)),
        ];
        lists.into_iter().filter_map(|(key, list)| Some((key.into(), list?))).collect()
    }

    /// What [`Self::to_dict`] has made; `None` for anything else.
    pub fn from_dict(dict: Dict) -> Option<Self> {
        let mut filter = Self::default();
        for (key, list) in dict {
            let Value::List(items) = list else { return None };
            let ids = || items.iter().map(id).collect::<Option<Vec<_>>>();
            let names = || items.iter().map(name).collect::<Option<Vec<_>>>();
            match &*key {
                "exclude" => filter.exclude = Some(ids()?),
                "exclude_authid" => filter.exclude_authid = Some(names()?),
                "exclude_authrole" => filter.exclude_authrole = Some(names()?),
                "eligible" => filter.eligible = Some(ids()?),
                "eligible_authid" => filter.eligible_authid = Some(names()?),
                "eligible_authrole" => filter.eligible_authrole = Some(names()?),
                _ => return None,
            }
        }
        Some(filter)
    }
}

fn id(value: &Value) -> Option<SessionId> {
    if let Value::UInt(id) = value { SessionId::new(*id) } else { None }
}

fn name(value: &Value) -> Option<String> {
    if let Value::Str(name) = value { Some(name.clone()) } else { None }
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

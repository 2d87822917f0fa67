//! What HELLO says of the client: its roles, with the features that it has in each.

use stentor_protocol::wamp::{Dict, Value};

/// `HELLO.Details.roles`.
pub(super) fn roles() -> Dict {
    let role = |features: &[&'static str]| {
        let features = features.iter().map(|feature| ((*feature).into(), true.into())).collect();
        Value::Dict(vec![("features".into(), Value::Dict(features))])
    };
    vec![
        ("caller".into(), role(CALLER)),
        ("callee".into(), role(CALLEE)),
        ("publisher".into(), role(PUBLISHER)),
        ("subscriber".into(), role(SUBSCRIBER)),
    ]
}

const CALLER: &[&str] = &[
    "call_canceling",
    "call_timeout",
    "caller_identification",
    "progressive_call_invocations",
    "progressive_call_results",
];

const CALLEE: &[&str] = &[
    "call_canceling",
    "call_timeout",
    "caller_identification",
    "pattern_based_registration",
    "progressive_call_invocations",
    "progressive_call_results",
    "registration_revocation",
    "shared_registration",
];

const PUBLISHER: &[&str] =
    &["publisher_exclusion", "publisher_identification", "subscriber_blackwhite_listing"];

const SUBSCRIBER: &[&str] = &[
    "event_history",
    "pattern_based_subscription",
    "publisher_identification",
    "subscription_revocation",
];

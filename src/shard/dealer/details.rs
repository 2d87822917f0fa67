//! What an INVOCATION says besides its payload, and what it takes of a callee to be sent one.

use super::super::mail::passthru_details;
use super::super::requests::Refusal;
use super::super::requests::Violation;
use crate::authorization::Terms;
use crate::router::{CallerDisclosure, Picked, RealmSettings, Traits};
use crate::session::Session;
use crate::wamp::{
    CallOptions, Dict, Feature, MatchPolicy, Passthru, Role, Roles, Value, WampError,
};

/// `Details` of the INVOCATION for a call of `procedure`; empty for a call without options.
pub(super) fn invocation_details(
    session: &Session,
    options: &CallOptions,
    procedure: &str,
    picked: &Picked,
    terms: Terms,
) -> Dict {
    let mut details = passthru_details(options.passthru.clone());
    if picked.policy != MatchPolicy::Exact {
        details.push(("procedure".into(), procedure.into()));
    }
    if wants_progress(options, picked.traits) {
        details.push(("receive_progress".into(), Value::Bool(true)));
    }
    if forwards_timeout(options, picked.traits) {
        details.push(("timeout".into(), options.timeout_ms.into()));
    }
    if let Some(level) = terms.trustlevel() {
        details.push(("trustlevel".into(), level.into()));
    }
    if terms.discloses_caller() || is_disclosed(session, options, picked.traits) {
        let caller = session.identity();
        details.push(("caller".into(), caller.session.get().into()));
        details.push(("caller_authid".into(), caller.authid.into()));
        details.push(("caller_authrole".into(), caller.authrole.into()));
    }
    details
}

/// Whether the callee learns who calls (AP-CID-01, AP-CID-02), if no rule says so.
fn is_disclosed(session: &Session, options: &CallOptions, traits: Traits) -> bool {
    match session.rules.settings.caller_disclosure {
        CallerDisclosure::Allow => options.disclose_me || traits.disclose_caller,
        CallerDisclosure::Forbid => false,
        CallerDisclosure::Always => true,
    }
}

/// Whether the callee is asked for progressive results. That it takes no INTERRUPT is no reason
/// against it: deployed callees announce only the results.
pub(super) fn wants_progress(options: &CallOptions, traits: Traits) -> bool {
    options.receive_progress && traits.features.has(Feature::ProgressiveCallResults)
}

/// Whether partial results of a callee go to the caller, who has asked for them. wampy.js callees
/// send them and announce nothing: unless roles are strict, what a client does counts.
pub(super) fn takes_progress(options: &CallOptions, traits: Traits, strict_roles: bool) -> bool {
    if strict_roles { wants_progress(options, traits) } else { options.receive_progress }
}

/// Whether the callee watches the timeout itself (AP-TMO-03).
pub(super) fn forwards_timeout(options: &CallOptions, traits: Traits) -> bool {
    options.timeout_ms > 0 && traits.forward_timeout && traits.features.has(Feature::CallTimeout)
}

/// How long the dealer waits for the callee, in milliseconds; 0: for ever.
pub(super) fn dealer_timeout_ms(options: &CallOptions, traits: Traits, max_ms: u64) -> u64 {
    let asked = if forwards_timeout(options, traits) { 0 } else { options.timeout_ms };
    match (asked, max_ms) {
        (0, max) => max,
        (asked, 0) => asked,
        (asked, max) => asked.min(max),
    }
}

/// Whether the callee can do what the call needs (AP-PCI-04, AP-PPT-03).
pub(super) fn check_callee(options: &CallOptions, traits: Traits) -> Result<(), Refusal> {
    let has = |feature| traits.features.has(feature);
    let takes_chunks = has(Feature::ProgressiveCallInvocations) && has(Feature::CallCanceling);
    if options.progress && !takes_chunks {
        return Err(NO_CHUNKS);
    }
    if is_mode(options.passthru.as_deref()) && !has(Feature::PayloadPassthruMode) {
        return Err(NO_PASSTHRU_CALLEE);
    }
    Ok(())
}

/// Whether the caller announced what its call uses (AP-PCI-03, AP-PPT-03). Unless roles are strict,
/// a progressive call announces itself: wampy.js sends them without a word.
pub(super) fn check_caller(
    roles: &Roles,
    options: &CallOptions,
    strict_roles: bool,
) -> Result<(), Violation> {
    let has = |feature| roles.has(Role::Caller, feature);
    if strict_roles && options.progress && !has(Feature::ProgressiveCallInvocations) {
        return Err(Violation::ProgressNotAnnounced);
    }
    if is_mode(options.passthru.as_deref()) && !has(Feature::PayloadPassthruMode) {
        return Err(Violation::PassthruNotAnnounced { message: "CALL", role: "caller" });
    }
    Ok(())
}

/// Whether a message comes in payload passthru mode.
pub(super) fn is_mode(passthru: Option<&Passthru>) -> bool {
    passthru.is_some_and(Passthru::is_mode)
}

/// Whether a realm lets the caller disclose itself (AP-CID-03).
pub(in crate::shard) fn check_disclosure(
    settings: &RealmSettings,
    options: &CallOptions,
    terms: Terms,
) -> Result<(), Refusal> {
    let is_forbidden = settings.caller_disclosure == CallerDisclosure::Forbid;
    if options.disclose_me && is_forbidden && !terms.discloses_caller() {
        return Err(CALLERS_STAY_UNKNOWN);
    }
    Ok(())
}

const NO_CHUNKS: Refusal = (
    WampError::FeatureNotSupported,
    "the callee takes no progressive calls: it did not announce progressive_call_invocations and \
     call_canceling",
);
const NO_PASSTHRU_CALLEE: Refusal = (
    WampError::FeatureNotSupported,
    "the callee did not announce payload_passthru_mode: call it without ppt_scheme",
);
const CALLERS_STAY_UNKNOWN: Refusal = (
    WampError::OptionDisallowedDiscloseMe,
    "this realm does not disclose callers: call without disclose_me",
);

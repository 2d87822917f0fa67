//! What all requests share: which id and role they need, which URIs they may name, and how they are
//! answered, refused, or taken for a violation of the protocol.

use super::Shard;
use super::asking::Undecided;
use super::context::Context;
use crate::codec;
use crate::router::{MAX_WILDCARD_COMPONENTS, RealmRules, Slot};
use crate::session::{SequenceError, Session};
use crate::wamp::{
    Dict, MatchPolicy, Payload, RequestId, Role, RouterMessage, WampError, is_reserved,
    is_valid_pattern, is_valid_uri,
};

/// A message that ends the session of its sender (BP-PV-01). The text says what was wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Malformed(#[from] codec::DecodeError),
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    #[error("{0} is not allowed before the session is established: say HELLO first")]
    BeforeHello(&'static str),
    #[error("{0} is not allowed while the router waits for AUTHENTICATE")]
    InsteadOfAnswer(&'static str),
    #[error("{0} is not allowed after the session is established")]
    AfterWelcome(&'static str),
    #[error("{message} needs the role {role}, which HELLO did not announce")]
    RoleNotAnnounced { message: &'static str, role: &'static str },
    #[error(
        "{message} with ppt_scheme needs payload_passthru_mode, which HELLO did not announce for \
         the role {role}"
    )]
    PassthruNotAnnounced { message: &'static str, role: &'static str },
    #[error(
        "CALL with progress needs progressive_call_invocations, which HELLO did not announce for \
         the role caller"
    )]
    ProgressNotAnnounced,
    #[error("CALL continues the call {0}, which takes no more chunks")]
    NotProgressive(RequestId),
    #[error("CALL continues the call {0} with another procedure")]
    OtherProcedure(RequestId),
    #[error("a call with request id {0} is still pending")]
    CallPending(RequestId),
    #[error("{message} refers to INVOCATION {request}, which this session never received")]
    NeverInvoked { message: &'static str, request: RequestId },
}

/// Why a message is not handled to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It ends the session of its sender.
    Violation(Violation),
    /// It has had no effect: an authorizer is to be asked first.
    Undecided(Box<Undecided>),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// Why a request is refused: the error and a sentence that says what to do.
pub(super) type Refusal = (WampError, &'static str);

impl Context {
    /// Takes the request id of a new request of a session.
    #[inline]
    pub(super) fn accept(
        &self,
        session: &mut Session,
        request: RequestId,
        role: Role,
        message: &'static str,
    ) -> Result<(), Violation> {
        let settings = self.settings();
        let check = session.request_id_check(settings.request_ids);
        session.request_ids.accept(request, check)?;
        if settings.strict_roles && session.roles.get(role).is_none() {
            return Err(Violation::RoleNotAnnounced { message, role: role.as_str() });
        }
        Ok(())
    }
}

impl Shard {
    /// Queues an answer whose size and content cannot be a problem for any peer.
    pub(super) fn answer(&mut self, slot: Slot, message: &RouterMessage<'_>) {
        let sent = self.send(slot, message);
        debug_assert_eq!(sent, Ok(()), "answers are small and plain");
    }

    /// Answers a request with ERROR and a sentence of explanation.
    pub(super) fn refuse(
        &mut self,
        slot: Slot,
        request_type: u16,
        request: RequestId,
        why: (WampError, &str),
    ) {
        let (error, explanation) = why;
        self.answer(
            slot,
            &RouterMessage::Error {
                request_type,
                request,
                details: &Dict::new(),
                error: error.uri(),
                payload: Payload::Values { args: &[explanation.into()], kwargs: &Dict::new() },
            },
        );
    }
}

/// Whether `uri` names one topic or procedure on this realm (BP-URI-06).
pub(super) fn check_uri(rules: &RealmRules, uri: &str, limit_bytes: usize) -> Result<(), Refusal> {
    if uri.len() > limit_bytes {
        return Err(URI_TOO_LONG);
    }
    if !is_valid_uri(uri, rules.settings.uri_rule) {
        return Err((WampError::InvalidUri, "the URI is not valid under this realm's URI rule"));
    }
    Ok(())
}

/// Whether `uri` may be subscribed or registered under `policy` on this realm.
pub(super) fn check_pattern(
    rules: &RealmRules,
    uri: &str,
    policy: MatchPolicy,
    limit_bytes: usize,
) -> Result<(), Refusal> {
    if uri.len() > limit_bytes {
        return Err(URI_TOO_LONG);
    }
    let components = uri.bytes().filter(|byte| *byte == b'.').count() + 1;
    if policy == MatchPolicy::Wildcard && components > MAX_WILDCARD_COMPONENTS {
        return Err((WampError::InvalidUri, "a wildcard pattern has at most 128 components"));
    }
    if !is_valid_pattern(uri, policy, rules.settings.uri_rule) {
        return Err((WampError::InvalidUri, "the URI is not valid for its matching policy"));
    }
    Ok(())
}

/// Refuses what belongs to the protocol or to the router (BP-URI-07).
pub(super) fn unreserved(uri: &str) -> Result<(), Refusal> {
    if is_reserved(uri) {
        return Err((WampError::InvalidUri, "URIs below `wamp` and `stentor` are reserved"));
    }
    Ok(())
}

const URI_TOO_LONG: Refusal = (WampError::InvalidUri, "the URI is longer than this router accepts");
pub(super) const TOO_MANY_SHAPES: Refusal = (
    WampError::ResourceLimit,
    "this realm has no room for one more pattern of this kind: shorten the prefix to 256 bytes, or \
     leave fewer components of the wildcard open",
);

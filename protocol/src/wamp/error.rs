//! The predefined error and close URIs that the router itself uses (requirements 1.9).

/// A reason to refuse a request (ERROR) or a session (ABORT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WampError {
    /// Somebody else's authid, or the wrong secret (AU-GEN-04).
    AuthenticationDenied,
    /// Not the client's fault, or too many tries.
    AuthenticationFailed,
    AuthenticationRequired,
    /// Whoever should have decided about a request has not (AU-AZ-04).
    AuthorizationFailed,
    CallTimeout,
    Canceled,
    FeatureNotSupported,
    InvalidArgument,
    InvalidUri,
    NetworkFailure,
    NoAvailableCallee,
    NoMatchingAuthMethod,
    NoSuchProcedure,
    NoSuchRealm,
    NoSuchRegistration,
    NoSuchRole,
    NoSuchSession,
    NoSuchSubscription,
    NotAuthorized,
    /// A realm does not let its sessions disclose themselves.
    OptionDisallowedDiscloseMe,
    OptionNotAllowed,
    PayloadSizeExceeded,
    ProcedureAlreadyExists,
    ProtocolViolation,
    /// Not predefined: a limit of the router's configuration was reached.
    ResourceLimit,
    SystemShutdown,
}

impl WampError {
    /// The error of this URI, if it is one of the router's.
    pub fn of_uri(uri: &str) -> Option<Self> {
        ALL.into_iter().find(|error| error.uri() == uri)
    }

    pub const fn uri(self) -> &'static str {
        match self {
            Self::AuthenticationDenied => "wamp.error.authentication_denied",
            Self::AuthenticationFailed => "wamp.error.authentication_failed",
            Self::AuthenticationRequired => "wamp.error.authentication_required",
            Self::AuthorizationFailed => "wamp.error.authorization_failed",
            Self::CallTimeout => "wamp.error.timeout",
            Self::Canceled => "wamp.error.canceled",
            Self::FeatureNotSupported => "wamp.error.feature_not_supported",
            Self::InvalidArgument => "wamp.error.invalid_argument",
            Self::InvalidUri => "wamp.error.invalid_uri",
            Self::NetworkFailure => "wamp.error.network_failure",
            Self::NoAvailableCallee => "wamp.error.no_available_callee",
            Self::NoMatchingAuthMethod => "wamp.error.no_matching_auth_method",
            Self::NoSuchProcedure => "wamp.error.no_such_procedure",
            Self::NoSuchRealm => "wamp.error.no_such_realm",
            Self::NoSuchRegistration => "wamp.error.no_such_registration",
            Self::NoSuchRole => "wamp.error.no_such_role",
            Self::NoSuchSession => "wamp.error.no_such_session",
            Self::NoSuchSubscription => "wamp.error.no_such_subscription",
            Self::NotAuthorized => "wamp.error.not_authorized",
            Self::OptionDisallowedDiscloseMe => "wamp.error.option_disallowed.disclose_me",
            Self::OptionNotAllowed => "wamp.error.option_not_allowed",
            Self::PayloadSizeExceeded => "wamp.error.payload_size_exceeded",
            Self::ProcedureAlreadyExists => "wamp.error.procedure_already_exists",
            Self::ProtocolViolation => "wamp.error.protocol_violation",
            Self::ResourceLimit => "wamp.error.resource_limit",
            Self::SystemShutdown => "wamp.close.system_shutdown",
        }
    }
}

const ALL: [WampError; 26] = [
    WampError::AuthenticationDenied,
    WampError::AuthenticationFailed,
    WampError::AuthenticationRequired,
    WampError::AuthorizationFailed,
    WampError::CallTimeout,
    WampError::Canceled,
    WampError::FeatureNotSupported,
    WampError::InvalidArgument,
    WampError::InvalidUri,
    WampError::NetworkFailure,
    WampError::NoAvailableCallee,
    WampError::NoMatchingAuthMethod,
    WampError::NoSuchProcedure,
    WampError::NoSuchRealm,
    WampError::NoSuchRegistration,
    WampError::NoSuchRole,
    WampError::NoSuchSession,
    WampError::NoSuchSubscription,
    WampError::NotAuthorized,
    WampError::OptionDisallowedDiscloseMe,
    WampError::OptionNotAllowed,
    WampError::PayloadSizeExceeded,
    WampError::ProcedureAlreadyExists,
    WampError::ProtocolViolation,
    WampError::ResourceLimit,
    WampError::SystemShutdown,
];

/// Why the router says GOODBYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Of a realm that is not there any more.
    CloseRealm,
    /// The answer to the client's own GOODBYE.
    GoodbyeAndOut,
    /// The same, as crossbar says it.
    Normal,
    Killed,
    SystemShutdown,
    /// Not predefined: the token by which the session joined has expired.
    TokenExpired,
}

impl CloseReason {
    pub const fn uri(self) -> &'static str {
        match self {
            Self::GoodbyeAndOut => "wamp.close.goodbye_and_out",
            Self::Normal => "wamp.close.normal",
            Self::CloseRealm => "wamp.close.close_realm",
            Self::Killed => "wamp.close.killed",
            Self::SystemShutdown => "wamp.close.system_shutdown",
            Self::TokenExpired => "stentor.close.token_expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_by_its_uri() {
        for error in ALL {
            assert_eq!(WampError::of_uri(error.uri()), Some(error));
        }
        assert_eq!(WampError::of_uri("wamp.error.unheard_of"), None);
    }
}

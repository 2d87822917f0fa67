//! The router's own procedures, for those who wait.

use stentor_protocol::wamp::{MatchPolicy, RegistrationId, SessionId, SubscriptionId};

use super::Client;
use crate::error::Error;
use crate::meta::{IdsByPolicy, Meta, SessionDetails, UriDetails};

macro_rules! waits {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl Meta<Client> {
            $(
                /// See the asynchronous one of the same name.
                ///
                /// # Errors
                /// As those of any call.
                pub fn $name(&self, $($arg: $kind),*) -> Result<$answer, Error> {
                    let meta = Meta { client: self.client.inner.clone() };
                    self.client.runtime.block_on(meta.$name($($arg),*))
                }
            )*
        }
    };
}

waits! {
    session_count(authroles: Option<&[&str]>) -> u64;
    session_list(authroles: Option<&[&str]>) -> Vec<u64>;
    session_get(session: SessionId) -> SessionDetails;
    session_kill(session: SessionId) -> ();
    subscription_list() -> IdsByPolicy;
    subscription_lookup(topic: &str, policy: MatchPolicy) -> Option<SubscriptionId>;
    subscription_match(topic: &str) -> Vec<u64>;
    subscription_get(id: SubscriptionId) -> UriDetails;
    subscriber_count(id: SubscriptionId) -> u64;
    subscriber_list(id: SubscriptionId) -> Vec<u64>;
    registration_list() -> IdsByPolicy;
    registration_lookup(procedure: &str, policy: MatchPolicy) -> Option<RegistrationId>;
    registration_get(id: RegistrationId) -> UriDetails;
    callee_count(id: RegistrationId) -> u64;
    callee_list(id: RegistrationId) -> Vec<u64>;
}

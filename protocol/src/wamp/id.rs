//! The ids of the protocol, one type per kind (BP-ID-01, BP-ID-02).

use std::fmt;

/// The largest id of any kind: 2^53, inclusive (BP-ID-01).
pub const MAX_ID: u64 = 1 << 53;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// `None` outside [1, 2^53].
            pub const fn new(id: u64) -> Option<Self> {
                if id >= 1 && id <= MAX_ID { Some(Self(id)) } else { None }
            }

            /// Maps any 64 random bits to an id, uniformly.
            pub const fn from_random(bits: u64) -> Self {
                Self(bits % MAX_ID + 1)
            }

            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Global scope: drawn at random, unique among living sessions.
    SessionId
}
id! {
    /// Global scope: drawn at random for each publication.
    PublicationId
}
id! {
    /// Router scope: one per topic pattern with subscribers.
    SubscriptionId
}
id! {
    /// Router scope: one per procedure pattern with callees.
    RegistrationId
}
id! {
    /// Session scope: counts requests of one direction of one session, from 1.
    RequestId
}

impl SessionId {
    /// Beyond the ids of sessions, and never sent: who calls what the router itself calls.
    pub const ROUTER: Self = Self(MAX_ID + 1);
}

impl RequestId {
    /// The first id of a session and direction.
    pub const FIRST: Self = Self(1);

    /// The id that must follow: 2^53 wraps to 1 (BP-ID-02).
    pub const fn next(self) -> Self {
        if self.0 == MAX_ID { Self(1) } else { Self(self.0 + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_session_is_the_router() {
        assert_eq!(SessionId::new(SessionId::ROUTER.get()), None);
    }

    /// BP-ID-01, BP-ID-02
    #[test]
    fn ids_range_from_1_to_two_to_the_53() {
        assert_eq!(SessionId::new(0), None);
        assert_eq!(SessionId::new(MAX_ID + 1), None);
        for (bits, id) in [(0, 1), (MAX_ID - 1, MAX_ID), (MAX_ID, 1), (u64::MAX, MAX_ID)] {
            assert_eq!(Some(SessionId::from_random(bits)), SessionId::new(id));
        }
        let last = RequestId::new(MAX_ID).expect("the largest id is one");
        assert_eq!(last.next(), RequestId::FIRST);
        assert_eq!(RequestId::FIRST.next().get(), 2);
    }
}

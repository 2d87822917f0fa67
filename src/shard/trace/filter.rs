//! Which messages a trace is of: what a message is about, and whom it is from or for.

use crate::address::{Address, Network};
use crate::wamp::SessionId;

/// What must hold of a message; what is `None` may be anything. At least one is to be said, or
/// every message is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    pub session: Option<SessionId>,
    pub authid: Option<Box<str>>,
    pub realm: Option<Box<str>>,
    /// Where its connection comes from.
    pub address: Option<Network>,
    /// What its topic or procedure, or the error or reason in it, begins with.
    pub uri: Option<Box<str>>,
}

/// The client's side of a connection, as far as it is known when a message is dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party<'a> {
    /// From WELCOME on, and before it what it was challenged for.
    pub(super) session: Option<SessionId>,
    pub(super) realm: Option<&'a str>,
    /// Until WELCOME what it says of itself.
    pub(super) authid: Option<&'a str>,
    pub(super) authrole: Option<&'a str>,
    pub(super) peer: Address,
}

/// What a message is about: its topic or procedure, and the error or reason in it.
pub(super) type Subject<'a> = [Option<&'a str>; 2];

impl TraceFilter {
    /// Whether the messages of this client may be meant.
    pub(super) fn is_of(&self, party: &Party<'_>) -> bool {
        let Self { session, authid, realm, address, uri: _ } = self;
        session.is_none_or(|session| party.session == Some(session))
            && authid.as_deref().is_none_or(|authid| party.authid == Some(authid))
            && realm.as_deref().is_none_or(|realm| party.realm == Some(realm))
            && address.is_none_or(|network| network.contains(party.peer))
    }

    /// Whether messages about this may be meant.
    pub(super) fn is_about(&self, subject: Subject<'_>) -> bool {
        let begins =
            |prefix: &str| subject.into_iter().flatten().any(|uri| uri.starts_with(prefix));
        self.uri.as_deref().is_none_or(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_said_must_hold() {
        let peer = Address::new("10.0.0.7".parse().expect("an address"), Some(5_000));
        let party = Party {
            session: SessionId::new(7),
            realm: Some("realm1"),
            authid: Some("joe"),
            authrole: None,
            peer,
        };
        let about = [Some("com.shop.sold"), Some("wamp.error.canceled")];
        let network = |text: &str| text.parse().ok();
        let any = TraceFilter::default;
        for (filter, expected) in [
            (any(), true),
            (TraceFilter { session: SessionId::new(7), ..any() }, true),
            (TraceFilter { session: SessionId::new(8), ..any() }, false),
            (TraceFilter { authid: Some("joe".into()), ..any() }, true),
            (TraceFilter { authid: Some("jo".into()), ..any() }, false),
            (TraceFilter { realm: Some("realm2".into()), ..any() }, false),
            (TraceFilter { address: network("10.0.0.0/8"), ..any() }, true),
            (TraceFilter { address: network("unix"), ..any() }, false),
            (TraceFilter { uri: Some("com.shop.".into()), ..any() }, true),
            (TraceFilter { uri: Some("wamp.error.".into()), ..any() }, true),
            (TraceFilter { uri: Some("shop.".into()), ..any() }, false),
            (TraceFilter { authid: Some("joe".into()), uri: Some("org.".into()), ..any() }, false),
        ] {
            assert_eq!(filter.is_of(&party) && filter.is_about(about), expected, "{filter:?}");
        }
        let nobody = Party { session: None, realm: None, authid: None, authrole: None, peer };
        assert!(!TraceFilter { authid: Some("joe".into()), ..any() }.is_of(&nobody));
        assert!(!TraceFilter { uri: Some("".into()), ..any() }.is_about([None, None]));
    }
}

//! What a PUBLISH may ask for, and what its events say of their publisher.

use super::super::authorize::{Asked, Refused};
use super::super::context::Context;
use super::super::mail::passthru_details;
use super::super::requests::{Refusal, Violation, check_uri, unreserved};
use crate::authorization::{Action, Terms};
use crate::router::{Audience, PublisherDisclosure, RealmRules, RealmSettings};
use crate::session::Session;
use crate::wamp::{Dict, Feature, MatchPolicy, Publish, PublishOptions, Role, WampError};

/// What an event says of its publisher, the same for all subscriptions.
pub(in crate::shard) struct Author {
    pub(in crate::shard) audience: Audience,
    /// `EVENT.Details` without `topic`.
    pub(in crate::shard) details: Dict,
}

impl Author {
    #[inline]
    pub(in crate::shard) fn new(
        session: &Session,
        options: &mut PublishOptions,
        terms: Terms,
    ) -> Self {
        let filter = options.filter.take();
        let audience = Audience::new(options.exclude_me.then_some(session.id), filter);
        let details = event_details(session, options, terms);
        Self { audience, details }
    }
}

impl Context {
    /// Every check of a PUBLISH that is answered with an ERROR.
    #[inline]
    pub(in crate::shard) fn check_publish(
        &mut self,
        session: &mut Session,
        publish: &Publish<'_>,
    ) -> Result<Terms, Refused> {
        let (topic, exact) = (&*publish.topic, MatchPolicy::Exact);
        let terms = match session.permissions.recall(self.id, Action::Publish, topic, exact) {
            // Only what is valid is remembered.
            Some(decided) => decided?,
            None => {
                check_topic(&session.rules, topic, self.limits().uri_bytes)?;
                self.decide(session, Asked(Action::Publish, topic), exact)?
            }
        };
        check_disclosure(&session.rules.settings, &publish.options, terms)?;
        if self.may_hold(publish.payload.weight()) { Ok(terms) } else { Err(TOO_MUCH_HELD.into()) }
    }
}

/// Whether clients may publish to `topic`, if they may publish at all.
pub(in crate::shard) fn check_topic(
    rules: &RealmRules,
    topic: &str,
    uri_bytes: usize,
) -> Result<(), Refusal> {
    check_uri(rules, topic, uri_bytes)?;
    unreserved(topic)
}

/// Refuses payload passthru to a client that did not announce it (AP-PPT-03).
pub(in crate::shard) fn check_passthru(
    session: &Session,
    options: &PublishOptions,
) -> Result<(), Violation> {
    let role = Role::Publisher;
    let used = options.passthru.as_ref().is_some_and(|passthru| passthru.is_mode());
    if used && !session.roles.has(role, Feature::PayloadPassthruMode) {
        return Err(Violation::PassthruNotAnnounced { message: "PUBLISH", role: role.as_str() });
    }
    Ok(())
}

/// Refuses a publisher that wants to be known where nobody may be (AP-PID-02).
pub(in crate::shard) fn check_disclosure(
    settings: &RealmSettings,
    options: &PublishOptions,
    terms: Terms,
) -> Result<(), Refusal> {
    let is_forbidden = settings.publisher_disclosure == PublisherDisclosure::Forbid;
    if options.disclose_me && is_forbidden && !terms.discloses_publisher() {
        return Err((
            WampError::OptionDisallowedDiscloseMe,
            "publishers stay anonymous on this realm: publish without disclose_me",
        ));
    }
    Ok(())
}

/// `EVENT.Details` as far as it is the same for all subscriptions; without `topic`.
fn event_details(session: &Session, options: &mut PublishOptions, terms: Terms) -> Dict {
    let settings = &session.rules.settings;
    let mut details = passthru_details(options.passthru.take());
    let disclosed = match settings.publisher_disclosure {
        PublisherDisclosure::Allow => options.disclose_me,
        PublisherDisclosure::Forbid => false,
        PublisherDisclosure::Always => true,
    };
    if disclosed || terms.discloses_publisher() {
        let publisher = session.identity();
        details.push(("publisher".into(), publisher.session.get().into()));
        details.push(("publisher_authid".into(), publisher.authid.into()));
        details.push(("publisher_authrole".into(), publisher.authrole.into()));
    }
    if let Some(level) = terms.trustlevel() {
        details.push(("trustlevel".into(), level.into()));
    }
    details
}

const TOO_MUCH_HELD: Refusal = (
    WampError::ResourceLimit,
    "too much waits for its receivers, or for the store, to hold a publication of this size: try \
     again later, or publish less at once",
);

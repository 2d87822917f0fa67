//! What stands in for the link to another node: what it publishes comes without a session.

use serde_json::Value;
use stentor::router::{Audience, Numbering, Router, SessionRef, ShardId};
use stentor::shard::{EventHead, Mail, Publication, fan_out};
use stentor::wamp::{Dict, PublicationId};

use super::manager::payload;

/// What another node publishes in a realm: the mail for each shard with receivers.
pub(crate) fn published_elsewhere(
    router: &Router,
    realm: &str,
    topic: &str,
    said: &Value,
) -> Vec<(ShardId, Mail)> {
    published_by(None, router, realm, topic, said)
}

/// The same of a session that nobody here has ever seen.
pub(crate) fn published_by(
    publisher: Option<SessionRef>,
    router: &Router,
    realm: &str,
    topic: &str,
    said: &Value,
) -> Vec<(ShardId, Mail)> {
    let head = EventHead {
        publication: PublicationId::new(4_711).expect("in range"),
        publisher,
        cause: None,
        audience: Audience::default(),
        numbering: Numbering::None,
        traced: 0,
        details: Dict::new(),
    };
    let publication = Publication { head, topic: topic.into(), payload: payload(said) };
    let topics = &router.realm(realm).expect("there is such a realm").topics;
    let (count, mut mail) = (router.held(ShardId(0)), Vec::new());
    fan_out(topics, publication, count, |shard, event| mail.push((shard, Mail::Event(event))));
    mail
}

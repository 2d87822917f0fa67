//! What stands in for the thread that answers calls of the management API, and publishes there.

use std::sync::Arc;

use serde_json::{Value, json};
use stentor::authorization::ManagementTopic;
use stentor::router::{Audience, HeldCount, Router, ShardId};
use stentor::shard::{Bulletin, Mail, ManagementAnswer, ManagementCall, Passage};
use stentor::wamp::{Codec, PayloadBuf, WampError};

/// Says what was asked, and by whom; or that it is wrong, in the words of the argument `fail`.
pub(crate) fn answer(call: &ManagementCall) -> Mail {
    let arguments: Value = serde_json::from_slice(&call.arguments).expect("JSON");
    let outcome = match arguments["fail"].as_str() {
        Some(text) => Err((WampError::InvalidArgument, text.to_owned().into())),
        None => Ok(payload(&json!({
            "procedure": call.procedure.uri(),
            "arguments": arguments,
            "realm": &**call.realm.name(),
        }))),
    };
    let count = Arc::<HeldCount>::default();
    Mail::Managed(Box::new(ManagementAnswer::new(call, outcome, &count)))
}

/// Publishes in a realm to those who watch; the mail, and the shard that it goes to.
pub(crate) fn bulletin(
    router: &Router,
    realm: &str,
    topic: &str,
    said: &Value,
    passage: &Passage,
) -> (ShardId, Mail) {
    let edition = router.edition();
    let domain = edition.domain(realm).expect("there is such a realm");
    let managers = domain.rules.settings.managers.as_ref().expect("it has managers");
    let audience = Audience::of_managers(managers);
    let topic = ManagementTopic::named(topic).expect("there is such a topic");
    let home = domain.realm.home(router.shard_count());
    let counted = (router.held(home), passage.clone());
    let realm = Arc::clone(&domain.realm);
    let bulletin = Bulletin::new(realm, topic, payload(said), audience, counted);
    (home, Mail::Bulletin(Box::new(bulletin)))
}

pub(super) fn payload(value: &Value) -> PayloadBuf {
    let bytes = format!("[{value}]").into_bytes();
    let args_len = bytes.len();
    PayloadBuf::Raw { codec: Codec::Json, bytes: bytes.into(), args_len, has_kwargs: false }
}

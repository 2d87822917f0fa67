//! Sessions ended by an operator, as `wamp.session.kill` and `kill_by_authid` end them: taken out
//! of their realm's list by whoever comes first, then told to their shards, in pieces.

use std::sync::Arc;

use serde::Deserialize;
use tokio::task::yield_now;

use crate::net::View;
use crate::router::{Realm, SessionRef, Walk};
use crate::wamp::{CloseReason, SessionId, UriRule, is_valid_uri};

/// Whom to kick, and what to tell them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kick {
    /// `None`: the only one.
    pub(super) realm: Option<String>,
    pub(super) session: Option<u64>,
    /// All sessions of this authid.
    pub(super) authid: Option<String>,
    /// The URI in GOODBYE.
    pub(super) reason: Option<String>,
    /// For people.
    message: Option<String>,
}

/// Why nobody was kicked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KickError {
    #[error("say either `session`, an id, or `authid`, a text")]
    NobodyNamed,
    #[error("there is no realm `{0}`")]
    NoSuchRealm(String),
    #[error("there are several realms: say which `realm`")]
    WhichRealm,
    #[error("realm `{realm}` has no session {session}")]
    NoSuchSession { realm: String, session: u64 },
    #[error("`reason` must be a URI of up to {0} bytes, as in `wamp.close.killed`")]
    BadReason(usize),
    #[error("`message` must have {MOST_MESSAGE_BYTES} bytes at most")]
    LongMessage,
}

/// Ends the sessions, and gives their number. Each has left the realm when this returns; its shard
/// says GOODBYE when its turn comes.
pub(super) async fn kick(view: &View, order: &Kick) -> Result<usize, KickError> {
    let realm = realm_of(view, order.realm.as_deref())?;
    let uri_bytes = view.router().edition().settings.limits.uri_bytes;
    let reason = order.reason.as_deref().unwrap_or(CloseReason::Killed.uri());
    if !is_valid_uri(reason, UriRule::Loose) || reason.len() > uri_bytes {
        return Err(KickError::BadReason(uri_bytes));
    }
    let message = order.message.as_deref().unwrap_or_default();
    if message.len() > MOST_MESSAGE_BYTES {
        return Err(KickError::LongMessage);
    }
    let words = Words { reason: reason.into(), message: message.into() };
    match (order.session, &order.authid) {
        (Some(session), None) => {
            let none = || KickError::NoSuchSession { realm: realm.name().to_string(), session };
            let found = SessionId::new(session).and_then(|session| realm.find(session));
            let target = found.filter(|target| realm.leave(*target)).ok_or_else(none)?;
            view.kick(target.shard, &[target], &words.reason, &words.message);
            Ok(1)
        }
        (None, Some(authid)) => Ok(kick_all(view, &realm, authid, &words).await),
        _ => Err(KickError::NobodyNamed),
    }
}

/// What a session is told at its end.
struct Words {
    reason: Arc<str>,
    message: Arc<str>,
}

fn realm_of(view: &View, name: Option<&str>) -> Result<Arc<Realm>, KickError> {
    let router = view.router();
    if let Some(name) = name {
        return router.realm(name).ok_or_else(|| KickError::NoSuchRealm(name.to_owned()));
    }
    <[_; 1]>::try_from(router.realms()).map(|[realm]| realm).map_err(|_| KickError::WhichRealm)
}

async fn kick_all(view: &View, realm: &Realm, authid: &str, words: &Words) -> usize {
    let (mut walk, mut kicked) = (Walk::new(), 0);
    while !walk.is_done() {
        let mut targets = Vec::<SessionRef>::new();
        realm.members_on(&mut walk, PIECE, |member| {
            if *member.profile.authid == *authid {
                targets.push(member.at);
            }
        });
        // Whoever takes it out of the list ends it, so it is ended once.
        targets.retain(|target| realm.leave(*target));
        targets.sort_unstable_by_key(|target| target.shard);
        for of_shard in targets.chunk_by(|one, next| one.shard == next.shard) {
            view.kick(of_shard[0].shard, of_shard, &words.reason, &words.message);
        }
        kicked += targets.len();
        // Others are answered between two pieces.
        yield_now().await;
    }
    kicked
}

/// Sessions that are visited in one piece.
const PIECE: usize = 256;

/// Bytes of the longest message: each session's shard counts it as waiting mail.
const MOST_MESSAGE_BYTES: usize = 256;

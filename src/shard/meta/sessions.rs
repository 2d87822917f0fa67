//! The session meta API: who is here, and how to end it (AP-SMA).

use std::sync::Arc;

use super::super::requests::Refusal;
use super::super::{Kill, Mail, Shard};
use super::finding::Absent;
use super::question::{LastWords, Question, Roles, Whom};
use super::{Answer, Arguments, Caller};
use crate::clock::Millis;
use crate::router::{EndReason, Profile, Realm, RealmRules};
use crate::session::Permissions;
use crate::transport::CloseCode;
use crate::wamp::{CloseReason, Dict, SessionId, Value, WampError};

impl Shard {
    pub(super) fn session_count(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.find_out(caller, Question::CountSessions { roles: roles(args)? })
    }

    pub(super) fn session_list(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.find_out(caller, Question::ListSessions { roles: roles(args)? })
    }

    pub(super) fn session_get(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.find_out(caller, Question::GetSession(args.session(0)?))
    }

    pub(super) fn session_kill(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.authorized_realm(caller)?;
        let session = args.session(0)?;
        let words = self.last_words(args)?;
        if session == caller.session.session {
            return Err(NO_SUCH_SESSION);
        }
        self.find_out(caller, Question::KillSession { session, words })
    }

    /// Ends a session of this node, if it is here.
    pub(super) fn kill_one(
        &mut self,
        realm: &Realm,
        session: SessionId,
        words: &LastWords,
    ) -> Result<(), Absent> {
        // Whoever takes it out of the list ends it, so it is ended once.
        let target = realm.find(session).filter(|target| realm.leave(*target));
        let session = target.ok_or(Absent::Session)?;
        let LastWords { reason, message } = words.clone();
        self.kill(Kill { session, reason, message, end: EndReason::Killed });
        Ok(())
    }

    pub(super) fn session_kill_by_authid(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let authid = args.text(0, NO_AUTHID)?;
        self.kill_others(caller, args, Whom::Authid(authid.into()))
    }

    pub(super) fn session_kill_by_authrole(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let authrole = args.text(0, NO_AUTHROLE)?;
        self.kill_others(caller, args, Whom::Authrole(authrole.into()))
    }

    pub(super) fn session_kill_all(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.kill_others(caller, args, Whom::All)
    }

    /// Ends all of some sessions, except the caller's (AP-SMA-02), and answers with their ids or
    /// their number.
    fn kill_others(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
        whom: Whom,
    ) -> Result<Answer, Refusal> {
        self.authorized_realm(caller)?;
        let words = self.last_words(args)?;
        let caller_id = caller.session.session;
        self.find_out(caller, Question::KillSessions { whom, caller: caller_id, words })
    }

    /// The GOODBYE's reason and message.
    fn last_words(&self, args: Arguments<'_>) -> Result<LastWords, Refusal> {
        let reason = args.reason(self.cx.limits().uri_bytes)?;
        let reason = reason.unwrap_or(CloseReason::Killed.uri()).into();
        Ok(LastWords { reason, message: args.message()?.unwrap_or_default().into() })
    }

    pub(super) fn kill(&mut self, kill: Kill) {
        let (shard, mail) = (kill.session.shard, Mail::Kill(Box::new(kill)));
        if shard == self.cx.id {
            // There may be thousands: each waits for its turn.
            self.mailbox.post_later(mail);
        } else {
            self.cx.post.send(shard, mail);
        }
    }

    /// At the session's shard. It may have ended meanwhile.
    pub(in crate::shard) fn handle_kill(&mut self, kill: &Kill, now: Millis) {
        if self.connections.find(kill.session).is_none() {
            return;
        }
        self.cx.counters.sessions_killed.increment();
        let slot = kill.session.slot;
        self.say_goodbye(slot, kill.end, &kill.reason, &kill.message, CloseCode::Normal, now);
    }

    pub(super) fn rules_of(&self, caller: Caller) -> &RealmRules {
        &self.connections.joined(caller.session.slot).rules
    }

    pub(in crate::shard) fn realm_of(&self, caller: Caller) -> Arc<Realm> {
        Arc::clone(&self.connections.joined(caller.session.slot).realm)
    }

    /// The caller's realm, if the caller may end there what belongs to others (AP-SMA-07).
    pub(super) fn authorized_realm(&mut self, caller: Caller) -> Result<Arc<Realm>, Refusal> {
        let session = self.connections.joined_mut(caller.session.slot);
        let role = &*session.profile.authrole;
        // Where there are rules, one that names the procedure has granted the call.
        let is_granted = matches!(session.permissions, Permissions::Rules(_));
        let admins = &session.rules.settings.admin_roles;
        if is_granted || admins.iter().any(|admin| admin == role) {
            Ok(Arc::clone(&session.realm))
        } else {
            Err(NOT_AUTHORIZED)
        }
    }
}

/// The authroles that a caller asks for, sorted; `None`: all sessions.
fn roles(args: Arguments<'_>) -> Result<Roles, Refusal> {
    let Some(mut names) = args.names(0)? else { return Ok(None) };
    if names.len() > MOST_ROLES {
        return Err(TOO_MANY_ROLES);
    }
    names.sort_unstable();
    Ok(Some(names.into_iter().map(Into::into).collect()))
}

/// What `on_join` and `wamp.session.get` say of a session.
pub(super) fn session_details(session: SessionId, profile: &Profile) -> Dict {
    let mut transport = vec![
        ("type".into(), profile.transport.into()),
        ("serializer".into(), profile.serializer.into()),
    ];
    if let Some(peer) = profile.peer {
        transport.push(("peer".into(), peer.to_string().into()));
    }
    vec![
        ("session".into(), session.get().into()),
        ("authid".into(), (&*profile.authid).into()),
        ("authrole".into(), (&*profile.authrole).into()),
        ("authmethod".into(), profile.authmethod.into()),
        ("authprovider".into(), profile.authprovider.into()),
        ("transport".into(), Value::Dict(transport)),
    ]
}

pub(super) const NO_SUCH_SESSION: Refusal =
    (WampError::NoSuchSession, "this realm has no such session, or it is the caller's own");
const TOO_MANY_ROLES: Refusal =
    (WampError::ResourceLimit, "the filter must not list more than 256 authroles");
const NO_AUTHID: Refusal = (WampError::InvalidArgument, "the first argument must be an authid");
const NO_AUTHROLE: Refusal = (WampError::InvalidArgument, "the first argument must be an authrole");
const NOT_AUTHORIZED: Refusal = (
    WampError::NotAuthorized,
    "only roles that the realm's `admin_roles` names may end what belongs to other sessions",
);

/// Authroles of one filter; each session is compared with all of them.
pub const MOST_ROLES: usize = 256;

//! The registration meta API (AP-RMA). The router's own procedures are none of it (AP-RMA-03).

use super::super::requests::Refusal;
use super::super::work::PATTERN_UNITS;
use super::super::{Mail, Shard};
use super::lists::{Found, Subject};
use super::sessions::NO_SUCH_SESSION;
use super::{Answer, Arguments, Caller, details_of};
use crate::router::{Described, Listing, Walk};
use crate::wamp::{Dict, RegistrationId, Value, WampError, is_reserved};

impl Shard {
    pub(super) fn registration_list(
        &mut self,
        caller: Caller,
        _: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.survey(caller, Subject::Registrations(Walk::new(), Listing::default()))
    }

    pub(super) fn registration_lookup(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let uri = args.text(0, NO_PROCEDURE)?;
        let found = self.realm_of(caller).procedures.look_up(uri, args.match_policy(1)?);
        Ok(Answer::one(id_or_null(found)))
    }

    pub(super) fn registration_match(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let uri = args.text(0, NO_PROCEDURE)?;
        let realm = self.realm_of(caller);
        self.cx.work.charge(PATTERN_UNITS * realm.procedures.look_ups(uri));
        let found = realm.procedures.best_match(uri);
        Ok(Answer::one(id_or_null(found.filter(|_| !is_reserved(uri)))))
    }

    pub(super) fn registration_get(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let registration = args.registration(0)?;
        let described = self.realm_of(caller).procedures.get(registration);
        let described = described.ok_or(NO_SUCH_REGISTRATION)?;
        Ok(Answer::one(Value::Dict(registration_details(registration, &described))))
    }

    /// Ends the registration of another session (AP-REVR-03).
    pub(super) fn remove_callee(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let realm = self.authorized_realm(caller)?;
        let (registration, session) = (args.registration(0)?, args.session(1)?);
        let reason = args.reason(self.cx.limits().uri_bytes)?.map(Into::into);
        let callee = realm.procedures.callee(registration, session);
        let callee = callee.ok_or(NO_SUCH_REGISTRATION)?.ok_or(NO_SUCH_SESSION)?;
        self.cx.post.send(callee.shard, Mail::RevokeRegistration { callee, registration, reason });
        Ok(Answer::NOTHING)
    }

    pub(super) fn list_callees(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let (registration, found) = (args.registration(0)?, Found::new(true));
        self.survey(caller, Subject::Callees { registration, after: None, found })
    }

    pub(super) fn count_callees(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let registration = args.registration(0)?;
        let count = self.realm_of(caller).procedures.callee_count(registration);
        Ok(Answer::one(count.ok_or(NO_SUCH_REGISTRATION)? as u64))
    }
}

/// `RegistrationDetails`.
pub(super) fn registration_details(registration: RegistrationId, described: &Described) -> Dict {
    let Described { uri, policy, invoke, created, .. } = described;
    let mut details = details_of(registration.get(), *created, uri, *policy);
    details.push(("invoke".into(), invoke.unwrap_or_default().as_str().into()));
    details
}

fn id_or_null(id: Option<RegistrationId>) -> Value {
    id.map_or(Value::Null, |id| id.get().into())
}

pub(super) const NO_SUCH_REGISTRATION: Refusal =
    (WampError::NoSuchRegistration, "no registration has this id");
const NO_PROCEDURE: Refusal =
    (WampError::InvalidArgument, "the first argument must be the URI of a procedure");

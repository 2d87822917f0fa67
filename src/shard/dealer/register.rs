//! REGISTER, UNREGISTER and the revocation of registrations (BP-REG, AP-PBR, AP-SHR, AP-REVR):
//! each in one step, where no other node has a say; see `claims`.

use std::sync::Arc;

use super::super::Shard;
use super::super::asking::Undecided;
use super::super::authorize::{Asked, Refused};
use super::super::context::Context;
use super::super::requests::{
    Refusal, Stop, TOO_MANY_SHAPES, Violation, check_pattern, unreserved,
};
use crate::authorization::Action;
use crate::router::{
    Callee, CallerDisclosure, MetaTopic, Realm, RegisterError, Registered, SessionRef, Slot, Traits,
};
use crate::session::{Farewell, RegisteredPattern, Session};
use crate::wamp::{
    Choice, Feature, Register, RegistrationId, RequestId, Role, RouterMessage, WampError, code,
};

impl Shard {
    pub(in crate::shard) fn handle_register(
        &mut self,
        slot: Slot,
        register: &Register<'_>,
    ) -> Result<(), Stop> {
        let session = self.connections.joined_mut(slot);
        self.cx.accept(session, register.request, Role::Callee, "REGISTER")?;
        if let Err(refused) = check_register(&mut self.cx, session, register) {
            let asked = Asked(Action::Register, &register.procedure);
            let wait = |rule| {
                let (policy, options) = (register.options.match_policy, register.options.to_dict());
                Undecided::new(register.request, rule, asked, policy, options)
            };
            let refused = refused.decided(wait)?;
            self.refuse_request(slot, Some((code::REGISTER, register.request)), asked, refused);
            return Ok(());
        }
        let Choice::Known(invoke) = register.options.invoke else {
            self.refuse(slot, code::REGISTER, register.request, UNKNOWN_INVOKE);
            return Ok(());
        };
        let options = register.options;
        let policy = options.match_policy;
        let traits = Traits {
            features: session.roles.get(Role::Callee).unwrap_or_default(),
            disclose_caller: options.disclose_caller,
            forward_timeout: options.forward_timeout,
            is_limited_elsewhere: false,
        };
        let realm = Arc::clone(&session.realm);
        let member = self.cx.reference(slot, session.id);
        let callee = Callee { session: member, traits, concurrency: options.concurrency };
        if self.cx.settings().claims {
            self.claim(slot, register, invoke, callee);
            return Ok(());
        }
        let now = self.cx.wall_clock;
        match realm.procedures.register(&register.procedure, policy, invoke, callee, now) {
            Ok(Registered { registration, created }) => {
                let uri = register.procedure.as_ref().into();
                let pattern = RegisteredPattern { uri, policy, grant: None };
                session.registrations.insert(registration, pattern);
                let created = created.map(|number| (number, &*register.procedure, policy, invoke));
                self.announce_registration(&realm, member, registration, created);
                self.cx.counters.registrations.increment();
                self.cork(slot);
                let request = register.request;
                self.answer(slot, &RouterMessage::Registered { request, registration });
            }
            Err(error) => {
                self.refuse(slot, code::REGISTER, register.request, refusal_of(error));
            }
        }
        Ok(())
    }

    /// Pending invocations stay valid after UNREGISTER (BP-REG-02).
    pub(in crate::shard) fn handle_unregister(
        &mut self,
        slot: Slot,
        request: RequestId,
        registration: RegistrationId,
    ) -> Result<(), Violation> {
        let session = self.connections.joined_mut(slot);
        self.cx.accept(session, request, Role::Callee, "UNREGISTER")?;
        match session.registrations.remove(registration) {
            Some(pattern) => {
                let realm = Arc::clone(&session.realm);
                let leaver = self.cx.reference(slot, session.id);
                self.leave_registration(&realm, leaver, registration, &pattern);
                self.retire(slot, registration, pattern.grant, Farewell::Unregistered(request));
            }
            None => self.refuse(slot, code::UNREGISTER, request, NO_SUCH_REGISTRATION),
        }
        Ok(())
    }

    /// Ends a registration of a session of this shard, and says so if the client would understand
    /// (AP-REVR-01). Its pending invocations go on, as after UNREGISTER. Without effect if the
    /// session or its registration has gone meanwhile.
    pub(in crate::shard) fn handle_revoke_registration(
        &mut self,
        callee: SessionRef,
        registration: RegistrationId,
        reason: Option<&str>,
    ) {
        let Some(session) = self.connections.find_mut(callee) else { return };
        let announced = session.roles.has(Role::Callee, Feature::RegistrationRevocation);
        let Some(pattern) = session.registrations.remove(registration) else { return };
        let realm = Arc::clone(&session.realm);
        self.leave_registration(&realm, callee, registration, &pattern);
        let revoked = || Farewell::Revoked(reason.map(Into::into));
        let farewell = if announced { revoked() } else { Farewell::Nothing };
        self.retire(callee.slot, registration, pattern.grant, farewell);
    }

    /// Takes a session out of a registration that it held.
    pub(in crate::shard) fn leave_registration(
        &mut self,
        realm: &Arc<Realm>,
        leaver: SessionRef,
        registration: RegistrationId,
        pattern: &RegisteredPattern,
    ) {
        self.cx.counters.registrations.subtract(1);
        if let Some(grant) = &pattern.grant {
            return self.give_back(realm, leaver, pattern, grant);
        }
        let names = || vec![leaver.session.get().into(), registration.get().into()];
        let departure = realm.procedures.unregister(&pattern.uri, pattern.policy, leaver.session);
        let topics = (MetaTopic::RegistrationOnUnregister, MetaTopic::RegistrationOnDelete);
        self.announce_departure(realm, leaver, departure, topics, names);
    }
}

/// Every check that can refuse a registration: URI, permission, then options and limits.
fn check_register(
    cx: &mut Context,
    session: &mut Session,
    register: &Register<'_>,
) -> Result<(), Refused> {
    let policy = register.options.match_policy;
    check_pattern(&session.rules, &register.procedure, policy, cx.limits().uri_bytes)?;
    unreserved(&register.procedure)?;
    cx.authorize(session, Asked(Action::Register, &register.procedure), policy)?;
    let disclosure = session.rules.settings.caller_disclosure;
    if register.options.disclose_caller && disclosure == CallerDisclosure::Forbid {
        return Err(CALLERS_ARE_NOT_DISCLOSED.into());
    }
    if session.registrations.len() >= cx.limits().registrations_per_session {
        return Err(TOO_MANY_REGISTRATIONS.into());
    }
    Ok(())
}

/// What a callee is told that is not registered.
pub(super) const fn refusal_of(error: RegisterError) -> Refusal {
    match error {
        RegisterError::TooManyShapes => TOO_MANY_SHAPES,
        error => (WampError::ProcedureAlreadyExists, error.as_str()),
    }
}

const NO_SUCH_REGISTRATION: Refusal =
    (WampError::NoSuchRegistration, "this session does not hold that registration");
const UNKNOWN_INVOKE: Refusal = (
    WampError::InvalidArgument,
    "REGISTER.Options.invoke must be single, roundrobin, random, first or last",
);
const TOO_MANY_REGISTRATIONS: Refusal = (
    WampError::ResourceLimit,
    "this session holds as many registrations as the router allows per session",
);
const CALLERS_ARE_NOT_DISCLOSED: Refusal = (
    WampError::OptionDisallowedDiscloseMe,
    "this realm does not disclose callers: register without disclose_caller",
);

//! From what a transport found to the handler of a message: who may say what when.

use super::Shard;
use super::asking::Undecided;
use super::connection::{Connection, Phase};
use super::lifecycle::EndReason;
use super::work::MESSAGE_UNITS;
use crate::clock::Millis;
use crate::codec::{self, DecodeLimits};
use crate::session::{SequenceError, Session};
use crate::transport::{CloseCode, Framing, Inbound, Transport, TransportError};
use crate::wamp::{ClientMessage, RequestId, Role, WampError};

/// A message that ends the session of its sender (BP-PV-01). The text says what was wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Malformed(#[from] codec::DecodeError),
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    #[error("{0} is not allowed before the session is established: say HELLO first")]
    BeforeHello(&'static str),
    #[error("{0} is not allowed while the router waits for AUTHENTICATE")]
    InsteadOfAnswer(&'static str),
    #[error("{0} is not allowed after the session is established")]
    AfterWelcome(&'static str),
    #[error("{message} needs the role {role}, which HELLO did not announce")]
    RoleNotAnnounced { message: &'static str, role: &'static str },
    #[error(
        "{message} with ppt_scheme needs payload_passthru_mode, which HELLO did not announce for \
         the role {role}"
    )]
    PassthruNotAnnounced { message: &'static str, role: &'static str },
    #[error(
        "CALL with progress needs progressive_call_invocations, which HELLO did not announce for \
         the role caller"
    )]
    ProgressNotAnnounced,
    #[error("CALL continues the call {0}, which takes no more chunks")]
    NotProgressive(RequestId),
    #[error("CALL continues the call {0} with another procedure")]
    OtherProcedure(RequestId),
    #[error("a call with request id {0} is still pending")]
    CallPending(RequestId),
    #[error("{message} refers to INVOCATION {request}, which this session never received")]
    NeverInvoked { message: &'static str, request: RequestId },
}

/// Why a message is not handled to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It ends the session of its sender.
    Violation(Violation),
    /// It has had no effect: an authorizer is to be asked first.
    Undecided(Box<Undecided>),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl Shard {
    /// Answers a peer that came when all connections were taken (TR-RS-04).
    pub(super) fn refuse_full(&mut self, slot: u32, input: &[u8], now: Millis) {
        let connection = &mut self.connections[slot as usize];
        self.reply.clear();
        Transport::refuse_full(input, &connection.rules, &mut self.reply);
        self.counters.connections_refused.increment();
        if self.log_budget.allow(now) {
            tracing::info!(peer = %connection.peer, reason = "full", "connection refused");
        }
        self.outbound.queue_last(slot, connection, &self.reply);
        self.start_closing(slot, now);
    }

    pub(super) fn handle_inbound(&mut self, slot: u32, inbound: Inbound<'_>, now: Millis) {
        match inbound {
            Inbound::Opened { codec, framing, max_message_bytes } => {
                let connection = &mut self.connections[slot as usize];
                connection.codec = codec;
                connection.framing = framing;
                connection.peer_limit_bytes = max_message_bytes;
                connection.enter(Phase::Open, now);
                self.rearm(slot, now);
            }
            Inbound::Message(bytes) => self.handle_bytes(slot, bytes, None, now),
            Inbound::Text(text) => self.handle_bytes(slot, text.as_bytes(), Some(text), now),
            Inbound::Assembled(bytes) => self.handle_bytes(slot, &bytes, None, now),
            Inbound::Control => {}
            Inbound::Closed => {
                self.end_session(slot, EndReason::TransportClosed, now);
                // The echo of its close goes behind what waits: nothing may follow it.
                self.close_transport(slot, CloseCode::Normal, "", now);
            }
        }
    }

    pub(super) fn handle_transport_error(
        &mut self,
        slot: u32,
        error: &TransportError,
        now: Millis,
    ) {
        let connection = &self.connections[slot as usize];
        if matches!(connection.phase, Phase::Negotiating) {
            self.counters.connections_refused.increment();
            if self.log_budget.allow(now) {
                let (peer, reason) = (&connection.peer, error.kind());
                tracing::info!(%peer, reason, detail = %error, "connection refused");
            }
            self.start_closing(slot, now);
            return;
        }
        let code = error.close_code().unwrap_or(CloseCode::Protocol);
        let why = error.to_string();
        let said_goodbye = matches!(connection.phase, Phase::ShuttingDown(_));
        // RawSocket has no frame that could say it, so a message does (TR-SZ-02).
        let too_big = matches!(error, TransportError::MessageTooBig { .. });
        let needs_abort = too_big && connection.framing == Framing::RawSocket && !said_goodbye;
        if matches!(error, TransportError::WrongMessageType { .. }) && !said_goodbye {
            // The session is told before its transport is (TR-WS-04); GOODBYE was the last word.
            self.abort_for_violation(slot, &why, code, now);
            return;
        }
        if self.log_budget.allow(now) {
            let (peer, reason) = (&connection.peer, error.kind());
            tracing::info!(%peer, reason, detail = %error, "connection failed");
        }
        self.end_session(slot, EndReason::TransportError(error.kind()), now);
        if needs_abort {
            self.abort(slot, WampError::PayloadSizeExceeded, &why, code, now);
        } else {
            self.close_transport(slot, code, &why, now);
        }
    }

    /// Handles a message, which is also `text` if it is known to be UTF-8: only JSON comes so.
    fn handle_bytes(&mut self, slot: u32, bytes: &[u8], text: Option<&str>, now: Millis) {
        self.counters.messages_received.increment();
        self.hear(slot, bytes, text, now);
    }

    /// The same, also of a message that is handled once more.
    pub(super) fn hear(&mut self, slot: u32, bytes: &[u8], text: Option<&str>, now: Millis) {
        self.work.charge(MESSAGE_UNITS);
        self.work.charge_bytes(2 * bytes.len());
        let limits = DecodeLimits { nesting: self.settings().limits.nesting };
        let Some(connection) = self.connections.get(slot as usize) else { return };
        let decoded = match text {
            Some(text) => codec::decode_json(text, limits),
            None => codec::decode(connection.codec, bytes, limits),
        };
        let handled = match decoded {
            Ok(message) => self.handle_message(slot, message, now),
            Err(_) if matches!(connection.phase, Phase::ShuttingDown(_)) => Ok(()),
            Err(error) => Err(Violation::from(error).into()),
        };
        match handled {
            Ok(()) => {}
            Err(Stop::Violation(violation)) => {
                self.abort_for_violation(slot, &violation.to_string(), CloseCode::Policy, now);
            }
            Err(Stop::Undecided(undecided)) => self.ask_authorizer(slot, bytes, *undecided, now),
        }
    }

    fn handle_message(
        &mut self,
        slot: u32,
        message: ClientMessage<'_>,
        now: Millis,
    ) -> Result<(), Stop> {
        match &self.connections[slot as usize].phase {
            Phase::Open => Ok(self.handle_opening(slot, message, now)?),
            Phase::Challenged(_) => Ok(self.handle_answer(slot, message, now)?),
            Phase::Joined(_) => self.handle_joined(slot, message, now),
            Phase::ShuttingDown(_) => {
                if matches!(message, ClientMessage::Goodbye { .. } | ClientMessage::Abort { .. }) {
                    self.finish_goodbye(slot, now);
                }
                Ok(())
            }
            Phase::Negotiating
            | Phase::Judged(_)
            | Phase::Closing
            | Phase::Parted
            | Phase::Gone => Ok(()),
        }
    }

    /// What may answer a CHALLENGE (AU-GEN-06).
    fn handle_answer(
        &mut self,
        slot: u32,
        message: ClientMessage<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        match message {
            ClientMessage::Authenticate(answer) => {
                self.handle_authenticate(slot, &answer, now);
                Ok(())
            }
            ClientMessage::Abort { .. } => {
                self.start_closing(slot, now);
                Ok(())
            }
            other => Err(Violation::InsteadOfAnswer(other.name())),
        }
    }

    fn handle_opening(
        &mut self,
        slot: u32,
        message: ClientMessage<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        match message {
            ClientMessage::Hello(hello) => {
                self.handle_hello(slot, &hello, now);
                Ok(())
            }
            ClientMessage::Abort { .. } => {
                self.start_closing(slot, now);
                Ok(())
            }
            other => Err(Violation::BeforeHello(other.name())),
        }
    }

    fn handle_joined(
        &mut self,
        slot: u32,
        message: ClientMessage<'_>,
        now: Millis,
    ) -> Result<(), Stop> {
        match message {
            ClientMessage::Publish(publish) => self.handle_publish(slot, publish),
            ClientMessage::Subscribe(subscribe) => self.handle_subscribe(slot, &subscribe),
            ClientMessage::Unsubscribe { request, subscription } => {
                Ok(self.handle_unsubscribe(slot, request, subscription)?)
            }
            ClientMessage::Call(call) => self.handle_call(slot, call, now),
            ClientMessage::Cancel(cancel) => {
                self.handle_cancel(slot, cancel);
                Ok(())
            }
            ClientMessage::Register(register) => self.handle_register(slot, &register),
            ClientMessage::Unregister { request, registration } => {
                Ok(self.handle_unregister(slot, request, registration)?)
            }
            ClientMessage::Yield(answer) => Ok(self.handle_yield(slot, answer, now)?),
            ClientMessage::Error(error) => Ok(self.handle_invocation_error(slot, error, now)?),
            ClientMessage::Goodbye { .. } => {
                self.handle_goodbye(slot, now);
                Ok(())
            }
            ClientMessage::Abort { .. } => {
                self.end_session(slot, EndReason::ClientAbort, now);
                self.start_closing(slot, now);
                Ok(())
            }
            ClientMessage::Hello(_) | ClientMessage::Authenticate(_) => {
                Err(Violation::AfterWelcome(message.name()).into())
            }
        }
    }

    /// Takes the request id of a new request and gives the session that made it.
    pub(super) fn accept_request(
        &mut self,
        slot: u32,
        request: RequestId,
        role: Role,
        message: &'static str,
    ) -> Result<&mut Session, Violation> {
        let check = self.router.settings.request_ids;
        let strict_roles = self.router.settings.strict_roles;
        let session = self.joined(slot);
        session.request_ids.accept(request, check)?;
        if strict_roles && session.roles.get(role).is_none() {
            return Err(Violation::RoleNotAnnounced { message, role: role.as_str() });
        }
        Ok(session)
    }

    /// The session whose message is being handled.
    pub(super) fn joined(&mut self, slot: u32) -> &mut Session {
        let session = self.connections.get_mut(slot as usize).and_then(Connection::session_mut);
        session.expect("only messages of an established session get here")
    }
}

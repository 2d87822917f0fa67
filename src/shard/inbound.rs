//! From what a transport found to the handler of a message: who may say what when.

use super::connection::{KeptHeaders, Phase, encoding_of};
use super::requests::{Stop, Violation};
use super::work::MESSAGE_UNITS;
use super::{Admission, Shard};
use crate::clock::Millis;
use crate::codec::{self, DecodeLimits};
use crate::router::{EndReason, Slot};
use crate::transport::{CloseCode, Framing, HttpRefusal, Inbound, Transport, TransportError};
use crate::wamp::{ClientMessage, WampError};

impl Shard {
    /// Answers a peer that came when all connections were taken, or all of its address, or when the
    /// router is about to stop (TR-RS-04).
    pub(super) fn refuse_full(&mut self, slot: Slot, input: &[u8], now: Millis) {
        let connection = &mut self.connections[slot];
        let (refusal, reason) = match connection.admission {
            Admission::Full => (HttpRefusal::Full, Some("full")),
            Admission::Stopping => (HttpRefusal::Stopping, Some("stopping")),
            // Who is one of too many was counted and logged when that was found.
            Admission::Crowded | Admission::Welcome => (HttpRefusal::Crowded, None),
        };
        if let Some(reason) = reason {
            self.cx.counters.connections_refused.increment();
            self.cx.measures.handshake_failures.note(["admission", reason]);
            if self.cx.log_budget.allow(now) {
                tracing::info!(peer = %connection.peer, reason, "connection refused");
            }
        }
        self.cx.outbound.queue_last(slot, connection, |connection, out| {
            Transport::refuse_full(refusal, input, &connection.rules, out);
        });
        self.start_closing(slot, now);
    }

    pub(super) fn handle_inbound(&mut self, slot: Slot, inbound: Inbound<'_>, now: Millis) {
        match inbound {
            Inbound::Opened { codec, framing, is_batched, max_message_bytes, origin, headers } => {
                if let Some(origin) = origin
                    && !self.note_origin(slot, *origin, now)
                {
                    // Instead of the answer that the transport would have given.
                    self.cx.outbound.control.clear();
                    self.refuse_full(slot, b"GET ", now);
                    return;
                }
                let weight = headers.as_ref().map_or(0, |headers| headers.weight());
                if weight > 0 && !self.cx.may_hold(weight) {
                    self.cx.outbound.control.clear();
                    self.refuse_full(slot, b"GET ", now);
                    return;
                }
                let held = self.cx.router.held(self.cx.id);
                let connection = &mut self.connections[slot];
                connection.headers = headers.map(|headers| {
                    let _held = held.hold(weight);
                    Box::new(KeptHeaders { headers, _held })
                });
                connection.codec = codec;
                connection.framing = framing;
                connection.encoding = encoding_of(codec, framing);
                connection.is_batched = is_batched;
                connection.peer_limit_bytes = max_message_bytes;
                connection.enter(Phase::Open, now);
                self.rearm(slot, now);
            }
            Inbound::Message(bytes) => self.handle_bytes(slot, bytes, None, now),
            Inbound::Text(text) => self.handle_bytes(slot, text.as_bytes(), Some(text), now),
            Inbound::Assembled(bytes) => self.handle_bytes(slot, &bytes, None, now),
            Inbound::Control => {}
            Inbound::Http(input) => self.depart(slot, input, now),
            Inbound::Closed => {
                self.end_session(slot, EndReason::TransportClosed, now);
                // The echo of its close goes behind what waits: nothing may follow it.
                self.close_transport(slot, CloseCode::Normal, "", now);
            }
        }
    }

    pub(super) fn handle_transport_error(
        &mut self,
        slot: Slot,
        error: &TransportError,
        now: Millis,
    ) {
        let connection = &mut self.connections[slot];
        if matches!(connection.phase, Phase::Negotiating) {
            let origin = connection.transport.take_origin();
            origin.into_iter().for_each(|origin| connection.note_origin(*origin));
            if *error == TransportError::HealthCheck {
                self.start_closing(slot, now);
                return;
            }
            let (peer, is_proxy) = (connection.peer, connection.rules.trusts(connection.peer));
            if error.is_failed_handshake() && !is_proxy {
                self.cx.router.crowd().note_failure(peer, now);
            }
            self.cx.counters.connections_refused.increment();
            self.cx.measures.handshake_failures.note([error.stage(), error.kind()]);
            if self.cx.log_budget.allow(now) {
                let reason = error.kind();
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
        if self.cx.log_budget.allow(now) {
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
    fn handle_bytes(&mut self, slot: Slot, bytes: &[u8], text: Option<&str>, now: Millis) {
        self.cx.counters.messages_received.increment();
        self.hear(slot, bytes, text, true, now);
    }

    /// The same, also of a message that is handled once more: not for the first time.
    pub(super) fn hear(
        &mut self,
        slot: Slot,
        bytes: &[u8],
        text: Option<&str>,
        is_first: bool,
        now: Millis,
    ) {
        self.cx.work.charge(MESSAGE_UNITS);
        self.cx.work.charge_bytes(2 * bytes.len());
        let limits = DecodeLimits { nesting: self.cx.limits().nesting };
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.traffic.messages_received += u64::from(is_first);
        let decoded = match text {
            Some(text) => codec::decode_json(text, limits),
            None => codec::decode(connection.codec, bytes, limits),
        };
        let is_traced = self.cx.traces.are_on();
        if is_traced {
            self.begin_traced(slot, decoded.as_ref().ok(), bytes.len(), is_first);
        }
        let handled = match decoded {
            Ok(message) => {
                if is_first {
                    self.cx.measures.note_received(&message);
                }
                self.handle_message(slot, message, now)
            }
            Err(_) if matches!(self.connections[slot].phase, Phase::ShuttingDown(_)) => Ok(()),
            Err(error) => Err(Violation::from(error).into()),
        };
        if is_traced {
            self.finish_traced(&handled);
        }
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
        slot: Slot,
        message: ClientMessage<'_>,
        now: Millis,
    ) -> Result<(), Stop> {
        match &self.connections[slot].phase {
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
        slot: Slot,
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
        slot: Slot,
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
        slot: Slot,
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
}

//! What is queued for clients, but for the events of live publications: those are seen in
//! `delivery`.

use super::filter::Subject;
use super::follow::{Followed, Key, Side};
use super::record::{About, Direction, TraceRecord, preview_units};
use super::{LOOK_UNITS, RECORD_UNITS, Running};
use crate::router::Slot;
use crate::session::Session;
use crate::shard::connection::Connection;
use crate::shard::context::Context;
use crate::wamp::{Dict, Payload, RequestId, RouterMessage, Value, code, is_reserved};

/// How a message left.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Sent {
    /// The frame, in bytes.
    pub(in crate::shard) frame_bytes: usize,
    /// It waits to be written. Else there was no room, and the connection ends.
    pub(in crate::shard) is_queued: bool,
}

impl Context {
    /// A message was queued. `topic` is that of an event.
    #[cold]
    #[inline(never)]
    pub(in crate::shard) fn trace_sent(
        &mut self,
        slot: Slot,
        connection: &Connection,
        message: &RouterMessage<'_>,
        topic: Option<&str>,
        sent: Sent,
    ) {
        let Self { traces, work, .. } = self;
        let Some(running) = &mut traces.running else { return };
        work.charge(LOOK_UNITS * running.count());
        let session = connection.session();
        if let (Some(request), RouterMessage::Error { error, .. }) = (request_of(message), message)
        {
            running.refuse_at_hand(slot, request, error);
        }
        let (about, subject) = heard(message, session, &running.followed, topic);
        let party = running.known.party(slot, connection);
        let mut wanted = running.wanted(&party, subject);
        if is_about_connection(message) {
            wanted |= running.at_hand_of(slot);
        }
        if wanted == 0 {
            return;
        }
        let bytes = connection.framing.message_bytes(sent.frame_bytes);
        let kind = (Direction::Out, message.kind().as_str(), bytes);
        let about = about.with(subject);
        let mut record = TraceRecord::new(self.wall_clock, self.id.0, kind, &party, about);
        record.dropped = (!sent.is_queued).then_some(SLOW);
        let is_reserved = subject[0].is_none_or(is_reserved);
        if let (RouterMessage::Invocation { request, .. }, Some(session), Some(uri)) =
            (message, session, &record.about.uri)
        {
            let key = Key { session: session.id, side: Side::Invoked, request: *request };
            running.followed.note(key, uri);
        }
        let admitted = running.admit(wanted, self.now);
        if admitted.is_nobody() {
            return;
        }
        work.charge(RECORD_UNITS);
        let is_question =
            traces.is_routers_question && matches!(message, RouterMessage::Invocation { .. });
        let limit_bytes = running.payload_bytes(admitted);
        if let Some(payload) = payload_of(message)
            && limit_bytes > 0
            && !is_reserved
            && !is_question
        {
            record.show(payload, limit_bytes);
            work.charge(preview_units(payload));
        }
        running.keep(&record, admitted);
    }
}

/// What a message to a client is about: its numbers, and its texts.
fn heard<'a>(
    message: &'a RouterMessage<'_>,
    session: Option<&'a Session>,
    followed: &'a Followed,
    topic: Option<&'a str>,
) -> (About, Subject<'a>) {
    let request = request_of(message);
    let mut about = About { request: request.map(u64::from), ..About::default() };
    let followed = |side| {
        let key = Key { session: session?.id, side, request: request? };
        followed.get(key).map(|uri| &**uri)
    };
    let subject = match message {
        RouterMessage::Welcome { .. } | RouterMessage::Challenge { .. } => [None, None],
        RouterMessage::Abort { reason, .. } | RouterMessage::Goodbye { reason, .. } => {
            [None, Some(*reason)]
        }
        RouterMessage::Error { request_type, error, .. } => {
            let is_invoked = *request_type == code::INVOCATION;
            [followed(if is_invoked { Side::Invoked } else { Side::Own }), Some(*error)]
        }
        RouterMessage::Published { publication, .. } => {
            about.publication = Some(publication.get());
            [followed(Side::Own), None]
        }
        RouterMessage::Subscribed { subscription, .. } => {
            about.subscription = Some(subscription.get());
            [followed(Side::Own), None]
        }
        RouterMessage::Registered { registration, .. } => {
            about.registration = Some(registration.get());
            [followed(Side::Own), None]
        }
        RouterMessage::Unsubscribed { .. }
        | RouterMessage::Unregistered { .. }
        | RouterMessage::Result { .. } => [followed(Side::Own), None],
        RouterMessage::Revoked { details } => {
            about.subscription = number_in(details, "subscription");
            [None, text_in(details, "reason")]
        }
        RouterMessage::RegistrationRevoked { details } => {
            about.registration = number_in(details, "registration");
            [None, text_in(details, "reason")]
        }
        RouterMessage::Event { subscription, publication, .. } => {
            about.subscription = Some(subscription.get());
            about.publication = Some(publication.get());
            [topic, None]
        }
        RouterMessage::Invocation { registration, details, .. } => {
            about.registration = Some(registration.get());
            let held = session.and_then(|session| session.registrations.get(registration));
            let named = text_in(details, "procedure");
            [named.or_else(|| Some(&*held?.uri)), None]
        }
        RouterMessage::Interrupt { .. } => [followed(Side::Invoked), None],
    };
    (about, subject)
}

impl Running {
    /// An ERROR says what came of the message at hand, if it is the answer to it.
    fn refuse_at_hand(&mut self, slot: Slot, request: RequestId, error: &str) {
        if let Some(at_hand) = &mut self.at_hand
            && at_hand.is_request(slot, request)
        {
            at_hand.refuse(error);
        }
    }
}

/// Whether a message is not about a request, and is the answer to what came last.
const fn is_about_connection(message: &RouterMessage<'_>) -> bool {
    matches!(
        message,
        RouterMessage::Welcome { .. }
            | RouterMessage::Challenge { .. }
            | RouterMessage::Abort { .. }
            | RouterMessage::Goodbye { .. }
    )
}

const fn request_of(message: &RouterMessage<'_>) -> Option<RequestId> {
    match message {
        RouterMessage::Error { request, .. }
        | RouterMessage::Published { request, .. }
        | RouterMessage::Subscribed { request, .. }
        | RouterMessage::Unsubscribed { request }
        | RouterMessage::Registered { request, .. }
        | RouterMessage::Unregistered { request }
        | RouterMessage::Invocation { request, .. }
        | RouterMessage::Interrupt { request, .. }
        | RouterMessage::Result { request, .. } => Some(*request),
        RouterMessage::Welcome { .. }
        | RouterMessage::Abort { .. }
        | RouterMessage::Challenge { .. }
        | RouterMessage::Goodbye { .. }
        | RouterMessage::Revoked { .. }
        | RouterMessage::RegistrationRevoked { .. }
        | RouterMessage::Event { .. } => None,
    }
}

const fn payload_of<'a>(message: &RouterMessage<'a>) -> Option<Payload<'a>> {
    match message {
        RouterMessage::Error { payload, .. }
        | RouterMessage::Event { payload, .. }
        | RouterMessage::Invocation { payload, .. }
        | RouterMessage::Result { payload, .. } => Some(*payload),
        _ => None,
    }
}

fn text_in<'a>(details: &'a Dict, key: &str) -> Option<&'a str> {
    details.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_text())
}

fn number_in(details: &Dict, key: &str) -> Option<u64> {
    let (_, value) = details.iter().find(|(name, _)| name == key)?;
    if let Value::UInt(number) = value { Some(*number) } else { None }
}

/// Why something does not wait to be written: the peer does not take what waits already.
pub(super) const SLOW: &str = "slow_consumer";

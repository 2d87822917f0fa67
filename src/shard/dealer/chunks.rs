//! The further chunks of progressive calls, and those that come too late (AP-PCI).

use super::super::mail::NO_PAYLOAD;
use super::super::requests::Refusal;
use super::super::requests::Violation;
use super::super::{Invoke, Shard};
use super::call::CALLEE_BEHIND;
use crate::clock::Millis;
use crate::router::{Place, RequestIdCheck, Slot};
use crate::session::CallRef;
use crate::wamp::{Call, CancelMode, Payload, RouterMessage, Value, WampError, code};

impl Shard {
    /// Handles a CALL that is no new one; `None` if it is (AP-PCI-08).
    pub(super) fn continue_call(
        &mut self,
        slot: Slot,
        call: &Call<'_>,
        now: Millis,
    ) -> Option<Result<(), Violation>> {
        let request = call.request;
        let is_last = !call.options.progress;
        let configured = self.cx.settings().request_ids;
        let session = self.connections.joined_mut(slot);
        let check = session.request_id_check(configured);
        let Some(pending) = session.calls.get_mut(&request) else {
            let ended = session.ended_uploads.as_mut()?;
            let is_past = session.request_ids.is_past(request);
            let is_late =
                ended.take(request, is_last) || check == RequestIdCheck::Monotonic && is_past;
            if is_late && is_last && check == RequestIdCheck::Off {
                // Where ids may come again it may be a new call, and no call stays unanswered.
                self.refuse(slot, code::CALL, request, ENDED_BEFORE);
            }
            return is_late.then_some(Ok(()));
        };
        let (callee, serial) = (pending.callee, pending.serial);
        let upload = pending.extra.as_mut().and_then(|extra| extra.upload.as_mut());
        let Some(upload) = upload.filter(|upload| upload.open) else {
            return Some(Err(Violation::NotProgressive(request)));
        };
        if *upload.procedure != *call.procedure {
            return Some(Err(Violation::OtherProcedure(request)));
        }
        upload.open = !is_last;
        let registration = upload.registration;
        let mut details = upload.details.clone();
        if !is_last {
            details.push(("progress".into(), Value::Bool(true)));
        }
        let caller = self.cx.reference(slot, session.id);
        if let Err(refusal) = self.cx.may_carry(callee.shard, &call.payload) {
            // An invocation with a gap is worthless.
            self.give_up(caller, request, CancelMode::KillNoWait, refusal);
            return Some(Ok(()));
        }
        let invoke = Invoke {
            call: CallRef { caller, request, serial },
            callee,
            registration,
            place: Place::default(),
            details,
            is_continuation: true,
            receive_progress: false,
            takes_passthru: false,
            load: None,
        };
        self.bring(invoke, call.payload, now);
        Some(Ok(()))
    }

    /// The callee's side of a further chunk; one for an invocation that is over is discarded.
    pub(super) fn handle_chunk(&mut self, invoke: &Invoke, payload: Payload<'_>, now: Millis) {
        let Invoke { call, callee, registration, ref details, .. } = *invoke;
        let Some(session) = self.connections.find_mut(callee) else { return };
        let found = session.invocations.of_call(call.caller.session, call.request, call.serial);
        let Some((request, _)) = found else { return };
        self.cx.traces.is_routers_question = false;
        let message = RouterMessage::Invocation { request, registration, details, payload };
        let sent = if self.is_choked(callee.slot, payload.weight()) {
            Err(CALLEE_BEHIND)
        } else {
            self.bring_to_callee(callee.slot, &message)
        };
        let Err(refusal) = sent else { return };
        // An invocation with a gap is worthless: the callee is told, and the call fails.
        self.interrupt(callee, request);
        self.return_to(call, refusal.into(), NO_PAYLOAD, now);
    }
}

const ENDED_BEFORE: Refusal = (
    WampError::Canceled,
    "this request id is that of a progressive call that has ended, of which this would be the last \
     chunk: call again with another one",
);

//! Mail that waits for its turn, from other shards mostly, and what each piece of mail does here.

use std::collections::VecDeque;
use std::vec::IntoIter;

use super::work::LOOKUP_UNITS;
use super::{Carried, Mail, Shard};
use crate::clock::Millis;
use crate::router::Batch;

/// Batches in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    batches: VecDeque<Waiting>,
    /// The first of them.
    first: BatchNumber,
}

/// Names a batch by how many came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchNumber(u64);

impl Mailbox {
    /// Takes in a batch of mail from another shard, to be handled when its turn comes.
    pub(super) fn accept(&mut self, batch: Batch<Mail>) {
        let Batch { items, weight } = batch;
        self.batches.push_back(Waiting { mail: items.into_iter(), weight });
    }

    /// Mail of this shard to itself that is handled in its turn, and not with the current input.
    pub(super) fn post_later(&mut self, mail: Mail) {
        self.accept(Batch { items: vec![mail], weight: 0 });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The one behind the last batch that has come; see [`Self::has_come_to`].
    pub(super) fn next(&self) -> BatchNumber {
        BatchNumber(self.first.0 + self.batches.len() as u64)
    }

    /// Whether all batches before this one were handled.
    pub(super) fn has_come_to(&self, batch: BatchNumber) -> bool {
        self.first >= batch
    }

    fn drop_first(&mut self) {
        self.batches.pop_front();
        self.first.0 += 1;
    }
}

/// What is left of one batch.
#[derive(Debug)]
struct Waiting {
    mail: IntoIter<Mail>,
    /// Bytes that it counts for until all of it is handled.
    weight: usize,
}

impl Shard {
    /// Handles waiting mail while the turn lasts. Returns the weight of what is done with.
    pub(super) fn work_mail(&mut self, now: Millis) -> usize {
        let mut done = 0;
        while !self.is_turn_full()
            && let Some(waiting) = self.mailbox.batches.front_mut()
        {
            let Some(mail) = waiting.mail.next() else {
                done += waiting.weight;
                self.mailbox.drop_first();
                continue;
            };
            let still_held = self.handle_one_mail(mail, now);
            if let Some(waiting) = self.mailbox.batches.front_mut() {
                waiting.weight = waiting.weight.saturating_sub(still_held);
            }
            if self.cx.work.is_step_over() {
                self.settle(now);
                self.cx.work.end_step();
            }
        }
        self.settle(now);
        self.cx.work.end_step();
        done + self.event_orders.take_done_bytes() + self.rosters.take_done_bytes()
    }

    /// Handles one piece of mail. Returns the weight that it still counts for.
    pub(super) fn handle_one_mail(&mut self, mail: Mail, now: Millis) -> usize {
        self.cx.work.charge(LOOKUP_UNITS);
        match mail {
            Mail::Event(event) => {
                let weight = event.weight();
                return self.deliver_mail(event, weight);
            }
            Mail::Invoke(carried) => {
                let Carried { message, payload, .. } = *carried;
                self.handle_invoke(message, payload.as_payload(), now);
            }
            Mail::Cancel(cancellation) => self.handle_cancellation(cancellation),
            Mail::Return(carried) => {
                let Carried { message, payload, .. } = *carried;
                self.handle_return(message, payload.as_payload(), now);
            }
            Mail::Meta(event) => return self.handle_meta_event(*event),
            Mail::Kill(kill) => self.handle_kill(&kill, now),
            Mail::Pace { publisher, waits } => self.handle_pace(publisher, waits),
            Mail::Unheard { cause, waits } => self.handle_unheard(cause, waits),
            Mail::RollCall(call) => self.handle_roll_call(call),
            Mail::Roll(roll) => self.handle_roll(*roll),
            Mail::Ask(ask) => self.handle_ask(*ask),
            Mail::Reply(reply) => self.handle_reply(*reply),
            Mail::RosterCall(call) => self.handle_roster_call(&call),
            Mail::Foreign(foreign) => return self.handle_foreign(*foreign),
            Mail::Revoke { subscriber, subscription, reason } => {
                self.handle_revoke(subscriber, subscription, reason.as_deref());
            }
            Mail::RevokeRegistration { callee, registration, reason } => {
                self.handle_revoke_registration(callee, registration, reason.as_deref());
            }
            Mail::Judged { applicant, judgement } => {
                self.handle_judged(applicant, *judgement, now);
            }
            Mail::Managed(answer) => self.handle_management_answer(*answer),
            Mail::Bulletin(bulletin) => self.handle_bulletin(*bulletin),
            Mail::Ruled { question, ruled } => self.handle_ruled(question, *ruled, now),
            Mail::Wanted { .. }
            | Mail::Publication(_)
            | Mail::Call(_)
            | Mail::Reveal { .. }
            | Mail::Claim(_)
            | Mail::Proof { .. }
            | Mail::Part(_)
            | Mail::Listen { .. }
            | Mail::Rostered(_)
            | Mail::MetaElsewhere(_)
            | Mail::Release { .. } => {
                debug_assert!(false, "it is for other nodes");
            }
            Mail::Claimed { callee, claim, outcome } => self.handle_claimed(callee, claim, outcome),
            Mail::Released { callee, claim } => self.handle_released(callee, claim),
            Mail::Visible { session, ticket } => self.handle_visible(session, ticket, now),
            Mail::Stored { receipt, is_saved } => self.handle_stored(receipt, is_saved),
        }
        0
    }

    /// Whether the turn should be brought to its end before more is begun.
    pub(super) const fn is_turn_full(&self) -> bool {
        self.cx.work.is_turn_over() || self.cx.outbound.is_full()
    }

    /// Whether something goes on by itself, without anything arriving.
    pub fn has_jobs(&self) -> bool {
        !self.mailbox.is_empty()
            || !self.deliveries.is_empty()
            || !self.inquiries.is_empty()
            || !self.surveys.is_empty()
            || self.polls.has_jobs()
            || self.connections.leavers() > 0
            || self.shutdown.has_jobs()
            || self.can_drain()
            || self.event_orders.has_jobs()
            || self.rosters.has_jobs()
            || self.can_let_in()
            || self.can_review()
    }

    /// Goes on with what is held back: sessions that leave, connections to be told of the shutdown,
    /// and publications, each at least a step. Returns the weight of mail that is done with.
    pub(super) fn work_jobs(&mut self, now: Millis) -> usize {
        let mut done = 0;
        self.let_in(now);
        if self.go_on_shutting_down(now) || self.go_on_reviewing(now) {
            self.cx.work.end_step();
        }
        if self.go_on_draining(now) {
            self.cx.work.end_step();
        }
        for _ in 0..self.connections.leavers() {
            self.leave_further(now);
            self.cx.work.end_step();
            if self.cx.work.is_turn_over() {
                break;
            }
        }
        for _ in 0..self.event_orders.interrupted() {
            self.go_on_announcing();
            self.cx.work.end_step();
            self.settle(now);
            if self.is_turn_full() {
                break;
            }
        }
        if self.go_on_with_foreign() {
            self.settle(now);
            self.cx.work.end_step();
        }
        for _ in 0..self.inquiries.half_made() {
            self.go_on_inquiring();
            self.cx.work.end_step();
            if self.is_turn_full() {
                break;
            }
        }
        while self.go_on_polling() || self.go_on_surveying() {
            self.settle(now);
            self.cx.work.end_step();
            if self.is_turn_full() {
                break;
            }
        }
        // Of each publisher one, unless it may have many.
        let mut turns = self.deliveries.len();
        while turns > 0 && !self.cx.outbound.is_full() {
            let (weight, goes_on) = self.go_on_delivering();
            done += weight;
            turns -= usize::from(!goes_on);
            self.settle(now);
            self.cx.work.end_step();
            if self.cx.work.is_turn_over() {
                break;
            }
        }
        done + self.event_orders.take_done_bytes() + self.rosters.take_done_bytes()
    }
}

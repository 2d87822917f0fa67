//! Logins that a procedure decides about (AU-DYN-01): the question goes to it as a call of the
//! router's own, while the connection of the client is parked, and its answer is judged as that of
//! an endpoint is. Whatever keeps it from answering fails the login.

use std::sync::Arc;

use super::Shard;
use super::connection::Phase;
use super::questions::{Addressee, Question, Said};
use crate::authentication::{BadAnswer, Consultation, Judgement};
use crate::clock::Millis;
use crate::router::Slot;
use crate::wamp::RequestId;

/// What a login waits for.
#[derive(Debug)]
pub(super) struct Consulting {
    question: RequestId,
    about: Consultation,
}

impl Consulting {
    pub(super) const fn question(&self) -> RequestId {
        self.question
    }
}

impl Shard {
    /// Asks the procedure of an authenticator about a client that is parked in [`Phase::Judged`].
    pub(super) fn consult(&mut self, slot: Slot, about: Consultation, now: Millis) {
        let procedure = Arc::clone(&about.procedure);
        let Phase::Judged(applicant) = &mut self.connections[slot].phase else { return };
        let session = applicant.session;
        let realm = match &procedure.realm {
            None => Some(Arc::clone(&applicant.realm)),
            Some(name) => self.cx.edition.realm(name).map(Arc::clone),
        };
        // From here on the question counts what is kept.
        drop(applicant.held.take());
        let asker = self.cx.reference(slot, session);
        let Some(realm) = realm else {
            let why = "the realm of the authenticator is none of this router";
            return self.handle_judged(asker, Judgement::failed(why), now);
        };
        let (weight, args) = (about.question.weight(), about.question.args().into());
        self.cx.work.charge_bytes(weight);
        let addressee = Addressee::procedure(realm, &procedure.uri);
        let patience_ms = procedure.timeout_ms;
        let question = self.ask_outside(asker, addressee, args, weight, patience_ms, now);
        if let Phase::Judged(applicant) = &mut self.connections[slot].phase {
            applicant.consulting = Some(Consulting { question, about });
        }
    }

    /// The authenticator has spoken, or has failed to.
    pub(super) fn hear_authenticator(
        &mut self,
        id: RequestId,
        question: &Question,
        said: Said,
        now: Millis,
    ) {
        let Phase::Judged(applicant) = &mut self.connections[question.asker.slot].phase else {
            return;
        };
        let consulting = applicant.consulting.take_if(|consulting| consulting.question == id);
        let Some(Consulting { about, .. }) = consulting else { return };
        let judgement = match said {
            Said::Result(args, kwargs) => about
                .read_result(&args, &kwargs)
                .unwrap_or_else(|bad| self.misanswered(question.name(), bad)),
            Said::Error(error, args) => Judgement::of_error(&error, &args),
            Said::Nothing(why) => unanswered(question.name(), &why),
        };
        self.handle_judged(question.asker, judgement, now);
    }

    fn misanswered(&self, procedure: &str, bad: BadAnswer) -> Judgement {
        self.cx.counters.questions_misanswered.increment();
        unanswered(procedure, &bad.to_string())
    }
}

fn unanswered(procedure: &str, why: &str) -> Judgement {
    Judgement::Failed(format!("the authenticator `{procedure}` gave no answer: {why}").into())
}

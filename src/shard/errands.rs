//! What a shard has judged or answered elsewhere, since it takes long, has to be asked over HTTP,
//! or is known to others. What comes of it is mail: [`Mail::Judged`](super::Mail::Judged),
//! [`Mail::Ruled`](super::Mail::Ruled), or [`Mail::Managed`](super::Mail::Managed).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::Shard;
use super::management::ManagementCall;
use crate::authentication::{Endpoint, Interest, Proof, Referred, Secret, Wanted};
use crate::authorization::{Ruling, case_to_json};
use crate::clock::Millis;
use crate::router::{Held, SessionRef};
use crate::wamp::{RequestId, Value};

/// Something to be judged or answered elsewhere, for a session or one that is to be.
#[derive(Debug)]
pub enum Errand {
    /// Whether a client is who it says: a computation.
    Proof(Proof),
    /// The same: a question to an endpoint.
    Client(Referred),
    /// Whether a request is to be allowed: a question to an endpoint (AU-AZ-04).
    Request(RequestCheck),
    /// A call of the management API, which whoever watches the router answers.
    Management(Box<ManagementCall>),
}

/// Who waits for what comes of an errand.
#[derive(Clone, Debug)]
pub struct Waiter {
    pub session: SessionRef,
    wanted: Wanted,
}

/// A request that an endpoint is asked about.
pub struct RequestCheck {
    /// What the answer is to be told for.
    pub question: RequestId,
    pub endpoint: Arc<Endpoint>,
    /// Milliseconds that are left for the answer.
    pub patience_ms: u64,
    pub(super) args: Vec<Value>,
    /// Counts its memory while it lives.
    pub(super) _held: Held,
}

/// What comes of a [`RequestCheck`]: a decision, or why there is none.
pub type Ruled = Result<Ruling, Cow<'static, str>>;

impl Waiter {
    pub fn new(session: SessionRef, interest: &Interest) -> Self {
        Self { session, wanted: interest.watch() }
    }

    /// Whether it has left, and wants to know no more: whoever keeps errands in a bounded queue is
    /// to let those of others have its place.
    pub fn has_left(&self) -> bool {
        self.wanted.is_over()
    }
}

impl RequestCheck {
    /// The body of the request to the endpoint.
    pub fn to_json(&self) -> Secret {
        case_to_json(&self.args)
    }

    /// What a response of the endpoint means.
    ///
    /// # Errors
    /// Why there is no decision, for the log.
    pub fn read(&self, status: u16, body: &[u8]) -> Ruled {
        Ruling::of_response(status, body)
    }
}

/// Not what is asked.
impl fmt::Debug for RequestCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCheck").field("question", &self.question).finish_non_exhaustive()
    }
}

/// What is to be handed out at the end of the turn.
#[derive(Debug, Default)]
pub(super) struct Errands(Vec<(Waiter, Errand)>);

impl Errands {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, waiter: Waiter, errand: Errand) {
        self.0.push((waiter, errand));
    }

    pub(super) fn take(&mut self) -> Vec<(Waiter, Errand)> {
        std::mem::take(&mut self.0)
    }
}

/// What must be known of an errand when nobody takes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Login,
    Question(RequestId),
    Management(RequestId, Millis),
}

impl Errand {
    pub(super) const fn purpose(&self) -> Purpose {
        match self {
            Self::Proof(_) | Self::Client(_) => Purpose::Login,
            Self::Request(check) => Purpose::Question(check.question),
            Self::Management(call) => Purpose::Management(call.request, call.deadline),
        }
    }
}

impl Shard {
    /// Nobody takes an errand: too many wait.
    pub(super) fn fail_errand(&mut self, asker: SessionRef, purpose: Purpose, now: Millis) {
        match purpose {
            Purpose::Login => self.fail_unjudged(asker, now),
            Purpose::Question(question) => self.fail_question(question, TOO_MANY),
            Purpose::Management(request, deadline) => {
                self.fail_management(asker, request, deadline);
            }
        }
    }
}

const TOO_MANY: &str = "too many questions wait for the endpoint";

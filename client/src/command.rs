//! What the handles ask of the driver.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use stentor_protocol::wamp::SubscriptionId;
use stentor_protocol::wamp::{CancelMode, Dict, PublicationId, RegistrationId, RequestId};
use tokio::sync::oneshot;

use crate::call::Reply;
use crate::error::Error;
use crate::event::SubscriptionItem;
use crate::payload::Outgoing;
use crate::queue::Queue;
use crate::register::{Answer, CallError, Invocation};

/// A call, in every session of the client.
pub(crate) type CallId = u64;
/// A subscription or registration of the application, in every session of the client.
pub(crate) type LocalId = u64;

pub(crate) type Respond<T> = oneshot::Sender<Result<T, Error>>;

/// A request, in the order of the application's. The channel is bounded.
pub(crate) enum Command {
    Publish {
        topic: String,
        options: Dict,
        payload: Outgoing,
        is_acknowledged: bool,
        answer: Respond<Option<PublicationId>>,
    },
    Subscribe {
        local: LocalId,
        wish: SubscriptionWish,
        answer: Respond<SubscriptionId>,
    },
    Unsubscribe {
        local: LocalId,
        answer: Respond<()>,
    },
    Call {
        call: CallId,
        procedure: String,
        options: Dict,
        payload: Outgoing,
        progress: Option<Arc<Queue<Reply>>>,
        canceling: Arc<Canceling>,
        answer: Respond<Reply>,
    },
    CallMore {
        call: CallId,
        procedure: String,
        options: Dict,
        payload: Outgoing,
        answer: Respond<()>,
    },
    Register {
        local: LocalId,
        wish: RegistrationWish,
        answer: Respond<RegistrationId>,
    },
    Unregister {
        local: LocalId,
        answer: Respond<()>,
    },
    /// A progressive result of an invocation.
    Yield {
        invocation: InvocationRef,
        payload: Outgoing,
        answer: Respond<()>,
    },
    /// The end of an invocation.
    Finish {
        invocation: InvocationRef,
        result: Result<Answer, CallError>,
    },
    Leave {
        reason: String,
        answer: oneshot::Sender<()>,
    },
}

/// What needs no answer and must always get through: each object of the application sends one or
/// two, so it needs no bound of its own.
pub(crate) enum Control {
    /// The call's [`Canceling`] says how. This may overtake the call itself, which finds it there.
    Cancel {
        call: CallId,
    },
    Unsubscribe {
        local: LocalId,
    },
    Unregister {
        local: LocalId,
    },
    /// A handler has gone without a word.
    Abandon {
        invocation: InvocationRef,
    },
    /// No handle is left.
    Gone,
}

/// Whether a call is to be canceled, and how: known before the driver has heard of either.
#[derive(Debug, Default)]
pub(crate) struct Canceling(AtomicU8);

impl Canceling {
    const MODES: [CancelMode; 3] = [CancelMode::Skip, CancelMode::Kill, CancelMode::KillNoWait];

    pub(crate) fn ask(&self, mode: CancelMode) {
        let place = Self::MODES.iter().position(|one| *one == mode).unwrap_or_default();
        self.0.store(place as u8 + 1, Ordering::Release);
    }

    /// What was asked for and not taken yet.
    pub(crate) fn take(&self) -> Option<CancelMode> {
        let place = usize::from(self.0.swap(0, Ordering::Acquire));
        Self::MODES.get(place.wrapping_sub(1)).copied()
    }
}

/// An invocation of one session: after a reconnect nobody waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvocationRef {
    pub(crate) epoch: u64,
    pub(crate) request: RequestId,
}

/// What an application wants to hear, in every session.
#[derive(Clone)]
pub(crate) struct SubscriptionWish {
    pub(crate) topic: Arc<str>,
    pub(crate) options: Dict,
    pub(crate) sink: Arc<Sink>,
    /// Whether missed events are fetched from the event history.
    pub(crate) catches_up: bool,
}

/// Where events of one subscription go.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) queue: Queue<SubscriptionItem>,
    pub(crate) drops_oldest: bool,
    /// How many were dropped since that was told.
    pub(crate) dropped: AtomicU64,
}

/// What an application wants to answer, in every session.
#[derive(Clone)]
pub(crate) struct RegistrationWish {
    pub(crate) procedure: Arc<str>,
    pub(crate) options: Dict,
    pub(crate) handler: Arc<Handler>,
    /// Whether a handler is left to itself when its call is canceled.
    pub(crate) finishes: bool,
}

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send>>;
pub(crate) type Handler = dyn Fn(Invocation) -> HandlerFuture + Send + Sync;

//! What the router says, done.

use std::sync::Arc;

use stentor_protocol::codec::client::decode;
use stentor_protocol::wamp::{
    Dict, Payload as Bytes, PublicationId, RegistrationId, RequestId, SubscriptionId,
};
use tokio::sync::watch;

use super::Driver;
use super::catchup::deliver;
use super::link::{End, Held, Link, Running, Waiter};
use crate::call::Reply;
use crate::client::Shared;
use crate::command::{Command, Control, Handler, InvocationRef};
use crate::core::Happening;
use crate::error::{Error, Failure};
use crate::event::Event;
use crate::payload::Payload;
use crate::queue::Queue;
use crate::reconnect::is_final;
use crate::register::{CallError, Invocation};

impl Driver {
    pub(super) fn handle_message(&mut self, link: &mut Link, bytes: &[u8]) {
        let message = match decode(link.core.codec(), bytes, link.core.limits().decode()) {
            Ok(message) => message,
            Err(error) => {
                let reason = error.to_string();
                link.core.abort("wamp.error.protocol_violation", &reason);
                link.end = Some(End::Over(format!("the router breaks the protocol: {reason}")));
                return;
            }
        };
        match link.core.handle(message) {
            Ok(happening) => self.handle_happening(link, happening),
            Err(violation) => {
                link.end = Some(End::Over(format!("the router breaks the protocol: {violation}")));
            }
        }
    }

    fn handle_happening(&mut self, link: &mut Link, happening: Happening<'_>) {
        match happening {
            Happening::Event { subscription, publication, details, payload } => {
                let heard = Heard { publication, details, payload: Payload::of(payload) };
                self.handle_event(link, subscription, heard);
            }
            Happening::Invoked { request, registration, more, is_first, details, payload } => {
                let payload = Payload::of(payload);
                let invoked = Invoked { request, more, details, payload };
                if is_first {
                    self.invoke(link, registration, invoked);
                } else {
                    Self::handle_chunk(link, invoked);
                }
            }
            Happening::Interrupted { request } => {
                if let Some(running) = link.invocations.get(&request) {
                    running.canceled.send_replace(true);
                    if let Some(chunks) = &running.chunks {
                        chunks.close();
                    }
                }
            }
            Happening::Progress { request, details, payload } => {
                if let Some(Waiter::Call { progress: Some(progress), .. }) =
                    link.waiters.get(&request)
                {
                    let reply = Reply { details, payload: Payload::of(payload) };
                    link.overflow.give(Held::Progress(Arc::clone(progress), reply));
                }
            }
            Happening::Revoked { subscription, reason } => {
                let reason = reason.unwrap_or_else(|| "the router has taken it away".to_owned());
                for local in self.tables.receivers(subscription).to_vec() {
                    self.lose_subscriber(link, local, reason.clone());
                }
            }
            Happening::RegistrationRevoked { registration, .. } => {
                if let Some(local) = self.tables.registered(registration) {
                    self.tables.remove_callee(local);
                }
            }
            Happening::Aborted { reason, message } => link.end = Some(ended(&reason, &message)),
            Happening::Closed { reason, message } => link.end = Some(ended(&reason, &message)),
            Happening::Left => link.end = Some(End::Over("left".to_owned())),
            answer => self.handle_answer(link, answer),
        }
    }

    fn handle_event(&mut self, link: &mut Link, subscription: SubscriptionId, heard: Heard) {
        let receivers = self.tables.receivers(subscription).to_vec();
        if receivers.is_empty() {
            // It was left while somebody else was about to make the same, who has gone, too.
            if let Ok(request) = link.core.unsubscribe(subscription) {
                link.waiters.insert(request, Waiter::Unsubscribe(None));
            }
        }
        for local in receivers {
            let Some(subscriber) = self.tables.subscriber_mut(local) else { continue };
            let event = Event {
                topic: Arc::clone(&subscriber.wish.topic),
                publication: heard.publication,
                details: heard.details.clone(),
                payload: heard.payload.clone(),
                is_from_history: false,
            };
            deliver(link, subscriber, event);
        }
    }

    fn handle_answer(&mut self, link: &mut Link, answer: Happening<'_>) {
        match answer {
            Happening::Published { request, publication } => {
                let Some(Waiter::Publish { answer, own }) = link.waiters.remove(&request) else {
                    return;
                };
                if let Some(topic) = own {
                    self.note_own(&topic, publication);
                }
                if let Some(answer) = answer {
                    // Whoever has gone wants no answer.
                    let _ = answer.send(Ok(Some(publication)));
                }
            }
            Happening::Subscribed { request, subscription } => {
                self.handle_subscribed(link, request, subscription);
            }
            Happening::Registered { request, registration } => {
                self.handle_registered(link, request, registration);
            }
            Happening::Unsubscribed { request } => {
                if let Some(Waiter::Unsubscribe(Some(answer))) = link.waiters.remove(&request) {
                    let _ = answer.send(Ok(()));
                }
            }
            Happening::Unregistered { request } => {
                let waiter = link.waiters.remove(&request);
                let Some(Waiter::Unregister { registration, answer }) = waiter else { return };
                self.tables.let_go(registration);
                answer.map(|answer| answer.send(Ok(())));
            }
            Happening::Result { request, details, payload } => {
                let reply = Reply { details, payload: Payload::of(payload) };
                match link.waiters.remove(&request) {
                    Some(Waiter::Own(question)) => self.handle_own(link, question, Ok(reply)),
                    Some(waiter) => Self::settle(link, waiter, Ok(reply)),
                    None => {}
                }
            }
            Happening::Failed { request, details, error, payload } => {
                let payload = Payload::of(payload);
                let failure = Failure { uri: error, details: Box::new(details), payload };
                self.handle_failed(link, request, failure);
            }
            _ => {}
        }
    }

    /// The end of a call, behind its progressive results.
    fn settle(link: &mut Link, waiter: Waiter, result: Result<Reply, Error>) {
        let Waiter::Call { call, progress, answer } = waiter else { return };
        link.calls.remove(&call);
        match progress {
            Some(progress) => link.overflow.give(Held::Result(progress, answer, result)),
            None => drop(answer.send(result)),
        }
    }

    fn handle_subscribed(
        &mut self,
        link: &mut Link,
        request: RequestId,
        subscription: SubscriptionId,
    ) {
        let Some(Waiter::Subscribe { local, answer }) = link.waiters.remove(&request) else {
            return;
        };
        if !self.tables.bind_subscriber(local, subscription) {
            // Nobody wants it any more, unless somebody has the same.
            if self.tables.receivers(subscription).is_empty()
                && let Ok(request) = link.core.unsubscribe(subscription)
            {
                link.waiters.insert(request, Waiter::Unsubscribe(None));
            }
            return;
        }
        match answer {
            Some(answer) => {
                if answer.send(Ok(subscription)).is_err() {
                    self.unsubscribe(link, local, None);
                } else {
                    self.catch_up_at_first(link, local);
                }
            }
            None => self.catch_up(link, local),
        }
    }

    fn handle_registered(
        &mut self,
        link: &mut Link,
        request: RequestId,
        registration: RegistrationId,
    ) {
        let Some(Waiter::Register { local, answer }) = link.waiters.remove(&request) else {
            return;
        };
        if !self.tables.bind_callee(local, registration) {
            if let Ok(request) = link.core.unregister(registration) {
                let waiter = Waiter::Unregister { registration, answer: None };
                link.waiters.insert(request, waiter);
            }
        } else if answer.is_some_and(|answer| answer.send(Ok(registration)).is_err()) {
            self.unregister(link, local, None);
        }
    }

    fn handle_failed(&mut self, link: &mut Link, request: RequestId, failure: Failure) {
        match link.waiters.remove(&request) {
            Some(Waiter::Publish { answer: Some(answer), .. }) => {
                drop(answer.send(Err(Error::Wamp(failure))));
            }
            Some(Waiter::Subscribe { local, answer: Some(answer) }) => {
                self.tables.remove_subscriber(local);
                drop(answer.send(Err(Error::Wamp(failure))));
            }
            Some(Waiter::Subscribe { local, answer: None }) => {
                self.lose_subscriber(link, local, failure.to_string());
            }
            Some(Waiter::Register { local, answer: Some(answer) }) => {
                self.tables.remove_callee(local);
                drop(answer.send(Err(Error::Wamp(failure))));
            }
            Some(Waiter::Register { local, answer: None }) => {
                self.retry_register(link, local, &failure.uri);
            }
            Some(Waiter::Unsubscribe(Some(answer))) => {
                drop(answer.send(Err(Error::Wamp(failure))));
            }
            Some(Waiter::Unregister { registration, answer }) => {
                self.tables.let_go(registration);
                answer.map(|answer| answer.send(Err(Error::Wamp(failure))));
            }
            Some(Waiter::Own(question)) => self.handle_own(link, question, Err(failure)),
            Some(waiter) => Self::settle(link, waiter, Err(Error::Wamp(failure))),
            None => {}
        }
    }

    fn invoke(&self, link: &mut Link, registration: RegistrationId, invoked: Invoked) {
        let Invoked { request, more, details, payload } = invoked;
        let local = self.tables.registered(registration);
        let Some(callee) = local.and_then(|local| self.tables.callee(local)) else {
            // It was unregistered in this moment.
            let gone = "wamp.error.no_such_registration";
            let _ = link.core.yield_error(request, gone, Bytes::Empty);
            return;
        };
        let (cancel, canceled) = watch::channel(false);
        let space = Arc::clone(&self.shared.space);
        let chunks = more.then(|| Arc::new(Queue::new(CHUNKS, space)));
        let reference = InvocationRef { epoch: link.epoch, request };
        let invocation = Invocation {
            shared: Arc::clone(&self.shared),
            reference,
            procedure: Arc::clone(&callee.wish.procedure),
            details,
            payload,
            canceled: canceled.clone(),
            chunks: chunks.clone(),
        };
        link.invocations.insert(request, Running { canceled: cancel, chunks });
        let finisher = Finisher { shared: Arc::clone(&self.shared), reference, is_done: false };
        let (handler, finishes) = (Arc::clone(&callee.wish.handler), callee.wish.finishes);
        tokio::spawn(finisher.run(handler, invocation, canceled, finishes));
    }

    fn handle_chunk(link: &mut Link, invoked: Invoked) {
        let Some(Running { chunks: Some(chunks), .. }) = link.invocations.get(&invoked.request)
        else {
            return;
        };
        let chunks = Arc::clone(chunks);
        link.overflow.give(Held::Chunk(Arc::clone(&chunks), invoked.payload));
        if !invoked.more {
            link.overflow.give(Held::LastChunk(chunks));
        }
    }
}

/// What an EVENT says.
struct Heard {
    publication: PublicationId,
    details: Dict,
    payload: Payload,
}

/// An INVOCATION.
struct Invoked {
    request: RequestId,
    more: bool,
    details: Dict,
    payload: Payload,
}

/// Runs a handler, and sees to it that its caller hears of the end, whatever it is.
struct Finisher {
    shared: Arc<Shared>,
    reference: InvocationRef,
    is_done: bool,
}

impl Finisher {
    async fn run(
        mut self,
        handler: Arc<Handler>,
        invocation: Invocation,
        mut canceled: watch::Receiver<bool>,
        finishes: bool,
    ) {
        let handled = handler(invocation);
        let result = if finishes {
            handled.await
        } else {
            tokio::select! {
                result = handled => result,
                _ = canceled.wait_for(|is_canceled| *is_canceled) => Err(CallError::canceled()),
            }
        };
        let finish = Command::Finish { invocation: self.reference, result };
        // Without a client there is no caller, either.
        let _ = self.shared.command(finish).await;
        self.is_done = true;
    }
}

/// A handler that has panicked.
impl Drop for Finisher {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.control(Control::Abandon { invocation: self.reference });
        }
    }
}

fn ended(reason: &str, message: &str) -> End {
    let said = match message {
        "" => reason.to_owned(),
        message => format!("{reason}: {message}"),
    };
    if is_final(reason) { End::Over(said) } else { End::Lost(said) }
}

/// Chunks of a progressive call that wait for its handler.
const CHUNKS: usize = 64;

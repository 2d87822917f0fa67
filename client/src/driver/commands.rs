//! What the handles ask for, done.

use stentor_protocol::wamp::{Dict, Payload as Bytes, RegistrationId, SubscriptionId, Value};

use super::Driver;
use super::link::{Calling, Link, Waiter};
use super::tables::Subscriber;
use crate::call::set;
use crate::command::{
    CallId, Command, Control, InvocationRef, LocalId, RegistrationWish, Respond, SubscriptionWish,
};
use crate::error::{Error, UsageError};
use crate::register::{Answer, CallError};

/// Commands that are done in one go, before the router is looked at again.
const BATCH: usize = 64;

/// What a request that was not sent has for an answer.
fn unsent(error: UsageError) -> Error {
    match error {
        UsageError::Ended => Error::Closed { may_have_happened: false },
        error => error.into(),
    }
}

impl Driver {
    /// Does a command, and those that wait behind it.
    pub(super) fn handle_commands(&mut self, link: &mut Link, first: Option<Command>) {
        let Some(first) = first else { return };
        self.handle_command(link, first);
        for _ in 1..BATCH {
            match self.commands.try_recv() {
                Ok(command) => self.handle_command(link, command),
                Err(_) => break,
            }
        }
    }

    fn handle_command(&mut self, link: &mut Link, command: Command) {
        match command {
            Command::Publish { .. } => self.publish(link, command),
            Command::Subscribe { local, wish, answer } => {
                self.subscribe(link, local, wish, answer);
            }
            Command::Unsubscribe { local, answer } => {
                self.unsubscribe(link, local, Some(answer));
            }
            Command::Register { local, wish, answer } => {
                self.register(link, local, wish, answer);
            }
            Command::Unregister { local, answer } => self.unregister(link, local, Some(answer)),
            command @ (Command::Call { .. } | Command::CallMore { .. }) => {
                Self::handle_call(link, command);
            }
            Command::Yield { invocation, payload, answer } => {
                let options = vec![("progress".into(), true.into())];
                let sent = match Self::is_under_way(link, invocation) {
                    true => {
                        link.core.yield_result(invocation.request, &options, payload.as_payload())
                    }
                    false => Ok(false),
                };
                let sent = sent.and_then(|is_wanted| match is_wanted {
                    true => Ok(()),
                    false => Err(UsageError::Ended),
                });
                let _ = answer.send(sent.map_err(Error::from));
            }
            Command::Finish { invocation, result } => Self::finish(link, invocation, result),
            Command::Leave { reason, answer } => Self::leave(link, &reason, Some(answer)),
        }
    }

    fn publish(&self, link: &mut Link, command: Command) {
        let Command::Publish { topic, mut options, payload, is_acknowledged, answer } = command
        else {
            return;
        };
        let own = self.is_own(&topic, &options).then(|| topic.clone());
        if own.is_some() {
            set(&mut options, "acknowledge", true.into());
        }
        match link.core.publish(&topic, &options, payload.as_payload()) {
            Ok(request) if is_acknowledged => {
                let answer = Some(answer);
                link.waiters.insert(request, Waiter::Publish { answer, own });
            }
            Ok(request) => {
                if own.is_some() {
                    link.waiters.insert(request, Waiter::Publish { answer: None, own });
                }
                // Whoever has gone wants no answer.
                let _ = answer.send(Ok(None));
            }
            Err(error) => drop(answer.send(Err(unsent(error)))),
        }
    }

    fn handle_call(link: &mut Link, command: Command) {
        match command {
            Command::Call { call, procedure, options, payload, progress, canceling, answer } => {
                // Whoever has gone before the call was made wants none.
                if answer.is_closed() {
                    return;
                }
                match link.core.call(&procedure, &options, payload.as_payload()) {
                    Ok(request) => {
                        link.calls.insert(call, Calling { request, canceling });
                        link.waiters.insert(request, Waiter::Call { call, progress, answer });
                        Self::cancel(link, call);
                    }
                    Err(error) => {
                        progress.into_iter().for_each(|progress| progress.close());
                        let _ = answer.send(Err(unsent(error)));
                    }
                }
            }
            Command::CallMore { call, procedure, options, payload, answer } => {
                let calling = link.calls.get(&call).ok_or(UsageError::Ended);
                let request = calling.map(|calling| calling.request);
                let sent = request.and_then(|request| {
                    link.core.call_more(request, &procedure, &options, payload.as_payload())
                });
                let _ = answer.send(sent.map_err(Error::from));
            }
            _ => {}
        }
    }

    /// Sends CANCEL, if that is asked for and the call is under way.
    fn cancel(link: &mut Link, call: CallId) {
        let Some(Calling { request, canceling }) = link.calls.get(&call) else { return };
        if let Some(mode) = canceling.take() {
            link.core.cancel(*request, mode);
        }
    }

    pub(super) fn handle_control(&mut self, link: &mut Link, control: Control) {
        match control {
            Control::Cancel { call } => Self::cancel(link, call),
            Control::Unsubscribe { local } => self.unsubscribe(link, local, None),
            Control::Unregister { local } => self.unregister(link, local, None),
            Control::Abandon { invocation } => {
                let error = CallError::new("wamp.error.unavailable").arg("the handler has failed");
                Self::finish(link, invocation, Err(error));
            }
            Control::Gone => Self::leave(link, "wamp.close.normal", None),
        }
    }

    fn subscribe(
        &mut self,
        link: &mut Link,
        local: LocalId,
        wish: SubscriptionWish,
        answer: Respond<SubscriptionId>,
    ) {
        if answer.is_closed() {
            return;
        }
        self.tables.add_subscriber(local, wish);
        self.begin_subscription(link, local, answer);
    }

    /// Sends SUBSCRIBE.
    pub(super) fn subscribe_now(
        &mut self,
        link: &mut Link,
        local: LocalId,
        answer: Respond<SubscriptionId>,
    ) {
        let Some(subscriber) = self.tables.subscriber_mut(local) else { return };
        match link.core.subscribe(&subscriber.wish.topic, &subscriber.wish.options) {
            Ok(request) => {
                let answer = Some(answer);
                link.waiters.insert(request, Waiter::Subscribe { local, answer });
            }
            Err(error) => {
                self.tables.remove_subscriber(local);
                let _ = answer.send(Err(unsent(error)));
            }
        }
    }

    /// Forgets a subscription, and tells the router if nobody else has or wants the same one: the
    /// router has one for all that are alike.
    pub(super) fn unsubscribe(
        &mut self,
        link: &mut Link,
        local: LocalId,
        answer: Option<Respond<()>>,
    ) {
        let done = |answer: Option<Respond<()>>| {
            if let Some(answer) = answer {
                let _ = answer.send(Ok(()));
            }
        };
        let Some(left) = self.tables.remove_subscriber(local) else { return done(answer) };
        let Some(id) = left.id() else { return done(answer) };
        let wish = left.wish;
        let is_alike = |other: &Subscriber| {
            other.id().is_none()
                && other.wish.topic == wish.topic
                && policy(&other.wish.options) == policy(&wish.options)
        };
        let is_shared = !self.tables.receivers(id).is_empty();
        if is_shared || self.tables.subscribers().any(is_alike) {
            return done(answer);
        }
        match link.core.unsubscribe(id) {
            Ok(request) => {
                link.waiters.insert(request, Waiter::Unsubscribe(answer));
            }
            Err(_) => done(answer),
        }
    }

    fn register(
        &mut self,
        link: &mut Link,
        local: LocalId,
        wish: RegistrationWish,
        answer: Respond<RegistrationId>,
    ) {
        if answer.is_closed() {
            return;
        }
        match link.core.register(&wish.procedure, &wish.options) {
            Ok(request) => {
                let answer = Some(answer);
                link.waiters.insert(request, Waiter::Register { local, answer });
                self.tables.add_callee(local, wish);
            }
            Err(error) => drop(answer.send(Err(unsent(error)))),
        }
    }

    pub(super) fn unregister(
        &mut self,
        link: &mut Link,
        local: LocalId,
        answer: Option<Respond<()>>,
    ) {
        let id = self.tables.leave_callee(local);
        let request = id.and_then(|id| Some((id, link.core.unregister(id).ok()?)));
        match (request, answer) {
            (Some((registration, request)), answer) => {
                link.waiters.insert(request, Waiter::Unregister { registration, answer });
            }
            (None, Some(answer)) => drop(answer.send(Ok(()))),
            (None, None) => {}
        }
    }

    fn is_under_way(link: &Link, invocation: InvocationRef) -> bool {
        link.epoch == invocation.epoch && link.invocations.contains_key(&invocation.request)
    }

    /// Sends what came of an invocation. What cannot be sent becomes an error that says why.
    fn finish(link: &mut Link, invocation: InvocationRef, result: Result<Answer, CallError>) {
        if !Self::is_under_way(link, invocation) {
            return;
        }
        let request = invocation.request;
        let sent = match &result {
            Ok(Answer(outgoing)) => {
                link.core.yield_result(request, &Dict::new(), outgoing.as_payload())
            }
            Err(CallError { uri, args, kwargs }) => {
                link.core.yield_error(request, uri, Bytes::Values { args, kwargs })
            }
        };
        if let Err(error) = sent {
            let args = [Value::Str(error.to_string())];
            let payload = Bytes::Values { args: &args, kwargs: &Dict::new() };
            let too_long = "wamp.error.payload_size_exceeded";
            // A sentence fits, and can be said in every serializer.
            let _ = link.core.yield_error(request, too_long, payload);
        }
        if let Some(running) = link.invocations.remove(&request)
            && let Some(chunks) = running.chunks
        {
            chunks.close();
        }
    }
}

/// How the URI of a subscription matches.
pub(super) fn policy(options: &Dict) -> &str {
    crate::core::find(options, "match").and_then(Value::as_text).unwrap_or("exact")
}

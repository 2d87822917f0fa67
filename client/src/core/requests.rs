//! What a client asks for, and what it answers to invocations.

use stentor_protocol::codec::client::ToRouter;
use stentor_protocol::wamp::{
    CancelMode, Dict, MatchPolicy, Payload, RegistrationId, RequestId, SubscriptionId, UriRule,
    Value, is_valid_pattern, is_valid_uri,
};

use super::{Core, Pending, State, find};
use crate::error::UsageError;

impl Core {
    /// A publication; there is an answer only if `options` have `acknowledge`.
    ///
    /// # Errors
    /// See [`Core::subscribe`].
    pub fn publish(
        &mut self,
        topic: &str,
        options: &Dict,
        payload: Payload<'_>,
    ) -> Result<RequestId, UsageError> {
        check_uri(topic, "published to")?;
        let pending = is_set(options, "acknowledge").then_some(Pending::Publish);
        self.request(pending, |request| ToRouter::Publish { request, options, topic, payload })
    }

    /// # Errors
    /// The URI can never be valid, the message is too long or cannot be expressed, or too many
    /// requests wait. Nothing was sent then, and no request id is used up.
    pub fn subscribe(&mut self, topic: &str, options: &Dict) -> Result<RequestId, UsageError> {
        check_pattern(topic, options, "subscribed to")?;
        let pending = Some(Pending::Subscribe);
        self.request(pending, |request| ToRouter::Subscribe { request, options, topic })
    }

    /// Events of the subscription are ignored from now on.
    ///
    /// # Errors
    /// Too many requests wait.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) -> Result<RequestId, UsageError> {
        self.subscriptions.remove(&subscription);
        let pending = Some(Pending::Unsubscribe);
        self.request(pending, |request| ToRouter::Unsubscribe { request, subscription })
    }

    /// # Errors
    /// See [`Core::subscribe`].
    pub fn call(
        &mut self,
        procedure: &str,
        options: &Dict,
        payload: Payload<'_>,
    ) -> Result<RequestId, UsageError> {
        check_uri(procedure, "called")?;
        let receives_progress = is_set(options, "receive_progress");
        let pending = Some(Pending::Call { receives_progress });
        self.request(pending, |request| ToRouter::Call { request, options, procedure, payload })
    }

    /// Another chunk of a progressive call, under the same request.
    ///
    /// # Errors
    /// The call has ended, or the message is too long or cannot be expressed.
    pub fn call_more(
        &mut self,
        request: RequestId,
        procedure: &str,
        options: &Dict,
        payload: Payload<'_>,
    ) -> Result<(), UsageError> {
        if !matches!(self.requests.get(&request), Some(Pending::Call { .. })) {
            return Err(UsageError::Ended);
        }
        self.send(&ToRouter::Call { request, options, procedure, payload })
    }

    /// Cancels a call that waits; its end comes as for any other.
    pub fn cancel(&mut self, request: RequestId, mode: CancelMode) {
        if self.state != State::Joined || !self.requests.contains_key(&request) {
            return;
        }
        let mode = match mode {
            CancelMode::Skip => "skip",
            CancelMode::Kill => "kill",
            CancelMode::KillNoWait => "killnowait",
        };
        let options = vec![("mode".into(), mode.into())];
        // What is as short as this fits.
        let _ = self.send(&ToRouter::Cancel { request, options: &options });
    }

    /// # Errors
    /// See [`Core::subscribe`].
    pub fn register(&mut self, procedure: &str, options: &Dict) -> Result<RequestId, UsageError> {
        check_pattern(procedure, options, "registered")?;
        let pending = Some(Pending::Register);
        self.request(pending, |request| ToRouter::Register { request, options, procedure })
    }

    /// Invocations that are under way go on, and those that come before the answer are to be dealt
    /// with: the router, or a node of its cluster, has not heard of it yet.
    ///
    /// # Errors
    /// Too many requests wait.
    pub fn unregister(&mut self, registration: RegistrationId) -> Result<RequestId, UsageError> {
        let pending = Some(Pending::Unregister(registration));
        self.request(pending, |request| ToRouter::Unregister { request, registration })
    }

    /// A result of an invocation; `false` if nobody waits for it any more. Of several the last one
    /// has no `progress` in its options.
    ///
    /// # Errors
    /// The message is too long or cannot be expressed; the invocation is still under way.
    pub fn yield_result(
        &mut self,
        request: RequestId,
        options: &Dict,
        payload: Payload<'_>,
    ) -> Result<bool, UsageError> {
        if self.state != State::Joined || !self.invocations.contains(&request) {
            return Ok(false);
        }
        self.send(&ToRouter::Yield { request, options, payload })?;
        if !is_set(options, "progress") {
            self.invocations.remove(&request);
        }
        Ok(true)
    }

    /// The invocation has failed; `false` if nobody waits for it any more.
    ///
    /// # Errors
    /// As [`Core::yield_result`].
    pub fn yield_error(
        &mut self,
        request: RequestId,
        error: &str,
        payload: Payload<'_>,
    ) -> Result<bool, UsageError> {
        if self.state != State::Joined || !self.invocations.contains(&request) {
            return Ok(false);
        }
        check_uri(error, "an error")?;
        self.send(&ToRouter::Error { request, details: &Dict::new(), error, payload })?;
        self.invocations.remove(&request);
        Ok(true)
    }

    /// Sends a request and notes what it waits for; it has used up its id if, and only if, it is
    /// sent.
    fn request<'a>(
        &mut self,
        pending: Option<Pending>,
        message: impl FnOnce(RequestId) -> ToRouter<'a>,
    ) -> Result<RequestId, UsageError> {
        if self.state != State::Joined {
            return Err(UsageError::Ended);
        }
        let most = self.limits.requests;
        if pending.is_some() && self.requests.len() >= most {
            return Err(UsageError::TooManyRequests { most });
        }
        let request = self.next;
        self.send(&message(request))?;
        self.next = request.next();
        if let Some(pending) = pending {
            self.requests.insert(request, pending);
        }
        Ok(request)
    }
}

fn is_set(options: &Dict, key: &str) -> bool {
    matches!(find(options, key), Some(Value::Bool(true)))
}

/// Refuses what every router refuses, mostly by ending the session.
fn check_uri(uri: &str, wanted: &'static str) -> Result<(), UsageError> {
    if is_valid_uri(uri, UriRule::Loose) {
        return Ok(());
    }
    Err(UsageError::Uri { uri: uri.to_owned(), wanted })
}

fn check_pattern(uri: &str, options: &Dict, wanted: &'static str) -> Result<(), UsageError> {
    let policy = match find(options, "match").and_then(Value::as_text) {
        None | Some("exact") => MatchPolicy::Exact,
        Some("prefix") => MatchPolicy::Prefix,
        Some(_) => MatchPolicy::Wildcard,
    };
    if is_valid_pattern(uri, policy, UriRule::Loose) {
        return Ok(());
    }
    Err(UsageError::Uri { uri: uri.to_owned(), wanted })
}

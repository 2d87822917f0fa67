//! From a lost connection to the next one, and what is restored there.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::link::{Link, Overflow, Waiter};
use super::{Driver, login};
use crate::client::Status;
use crate::command::{Command, Control, LocalId};
use crate::error::{Error, LoginError};
use crate::event::{Gap, SubscriptionItem};
use crate::reconnect::is_final;

/// How a try ends.
enum Try {
    Connected(Box<Link>),
    Failed(Error),
    /// Nobody wants a connection any more.
    Left,
}

impl Driver {
    /// Connects again, and restores what the application wants. Meanwhile readers take what is held
    /// for them in `held`, and what is left of it then stands before all that the next link brings.
    ///
    /// # Errors
    /// Why there will be no connection.
    pub(super) async fn connect_again(
        &mut self,
        mut reason: String,
        held: &mut Overflow,
    ) -> Result<Link, String> {
        let Some(reconnect) = self.plan.reconnect else { return Err(reason) };
        self.tables.disconnect();
        let mut tries = 0;
        loop {
            self.status.send_replace(Status::Reconnecting { tries, reason: reason.clone() });
            let Some(wait) = reconnect.wait(tries, random()) else { return Err(reason) };
            tries += 1;
            self.epoch += 1;
            let (target, plan, epoch) = (self.target.clone(), self.plan.clone(), self.epoch);
            let attempt = async move {
                sleep(wait).await;
                login::establish(&target, &plan, epoch).await
            };
            match self.meanwhile(attempt, held).await {
                Try::Connected(mut link) => {
                    link.overflow = std::mem::take(held);
                    self.restore(&mut link);
                    self.status.send_replace(Status::Connected(link.session.clone()));
                    return Ok(*link);
                }
                Try::Left => return Err("left".to_owned()),
                Try::Failed(error) => {
                    let has_settled = match &error {
                        Error::Login(LoginError::Refused { reason, .. }) => is_final(reason),
                        Error::Login(LoginError::Challenge(_)) | Error::Usage(_) => true,
                        _ => false,
                    };
                    reason = error.to_string();
                    if has_settled {
                        return Err(reason);
                    }
                }
            }
        }
    }

    /// Tries, and tells everybody who asks for something that there is no connection.
    async fn meanwhile(
        &mut self,
        attempt: impl Future<Output = Result<Link, Error>>,
        held: &mut Overflow,
    ) -> Try {
        let mut attempt = std::pin::pin!(attempt);
        loop {
            tokio::select! {
                result = &mut attempt => {
                    return match result {
                        Ok(link) => Try::Connected(Box::new(link)),
                        Err(error) => Try::Failed(error),
                    };
                }
                () = self.shared.space.notified(), if !held.is_empty() => held.drain(),
                Some(command) = self.commands.recv() => {
                    if self.refuse(command) {
                        return Try::Left;
                    }
                }
                Some(control) = self.control.recv() => match control {
                    Control::Gone => return Try::Left,
                    Control::Unsubscribe { local } => drop(self.tables.remove_subscriber(local)),
                    Control::Unregister { local } => drop(self.tables.remove_callee(local)),
                    Control::Cancel { .. } | Control::Abandon { .. } => {}
                },
            }
        }
    }

    /// Whether it is an order to leave.
    fn refuse(&mut self, command: Command) -> bool {
        let none = || Error::Closed { may_have_happened: false };
        // Whoever has gone wants no answer.
        match command {
            Command::Publish { answer, .. } => drop(answer.send(Err(none()))),
            Command::Subscribe { answer, .. } => drop(answer.send(Err(none()))),
            Command::Register { answer, .. } => drop(answer.send(Err(none()))),
            Command::Call { answer, progress, .. } => {
                progress.into_iter().for_each(|progress| progress.close());
                drop(answer.send(Err(none())));
            }
            Command::CallMore { answer, .. } | Command::Yield { answer, .. } => {
                drop(answer.send(Err(none())));
            }
            Command::Unsubscribe { local, answer } => {
                self.tables.remove_subscriber(local);
                drop(answer.send(Ok(())));
            }
            Command::Unregister { local, answer } => {
                self.tables.remove_callee(local);
                drop(answer.send(Ok(())));
            }
            Command::Finish { .. } => {}
            Command::Leave { answer, .. } => {
                let _ = answer.send(());
                return true;
            }
        }
        false
    }

    /// Asks the router of a new session for everything that the application has.
    fn restore(&mut self, link: &mut Link) {
        let locals: Vec<_> = self.tables.subscribers_mut().map(|(local, _)| local).collect();
        for local in locals {
            let Some(subscriber) = self.tables.subscriber_mut(local) else { continue };
            let wish = &subscriber.wish;
            match link.core.subscribe(&wish.topic, &wish.options) {
                Ok(request) => {
                    link.waiters.insert(request, Waiter::Subscribe { local, answer: None });
                }
                Err(error) => self.lose_subscriber(link, local, error.to_string()),
            }
        }
        let locals: Vec<_> = self.tables.callees().map(|(local, _)| local).collect();
        locals.into_iter().for_each(|local| self.register_again(link, local));
    }

    /// A subscription that the application had, and has no more.
    pub(super) fn lose_subscriber(&mut self, link: &mut Link, local: LocalId, reason: String) {
        if let Some(subscriber) = self.tables.remove_subscriber(local) {
            link.give(&subscriber.wish.sink, SubscriptionItem::Gap(Gap::Revoked(reason)));
            link.give_end(&subscriber.wish.sink);
        }
    }

    pub(super) fn register_again(&self, link: &mut Link, local: LocalId) {
        let Some(callee) = self.tables.callee(local) else { return };
        if let Ok(request) = link.core.register(&callee.wish.procedure, &callee.wish.options) {
            link.waiters.insert(request, Waiter::Register { local, answer: None });
        }
    }

    /// A router that has not noticed yet that the last session is over has the procedure still.
    pub(super) fn retry_register(&mut self, link: &mut Link, local: LocalId, uri: &str) {
        let tries = link.register_tries.entry(local).or_default();
        if uri != "wamp.error.procedure_already_exists" || *tries >= REGISTER_TRIES {
            self.tables.remove_callee(local);
            return;
        }
        *tries += 1;
        link.retries.push_back((Instant::now() + REGISTER_WAIT, local));
    }

    /// Registers what is due.
    pub(super) fn register_due(&self, link: &mut Link) {
        let now = Instant::now();
        while link.retries.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, local)) = link.retries.pop_front() {
                self.register_again(link, local);
            }
        }
    }
}

fn random() -> u64 {
    // Without random bytes every client waits as long as it may.
    getrandom::u64().unwrap_or(u64::MAX)
}

/// How often a procedure is registered that somebody else has, after a reconnect.
const REGISTER_TRIES: u32 = 120;

const REGISTER_WAIT: Duration = Duration::from_millis(500);

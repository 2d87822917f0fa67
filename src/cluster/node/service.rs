//! Whether this node may serve clients: with `alone = "stop"` it may while the bucket is there for
//! it, whomever it hears.
//!
//! Who else is a member says the bucket alone. A node that does not reach it cannot know whether
//! others have joined there, or go on without it: so all the members that it hears prove nothing.

use super::Node;
use crate::clock::Millis;

/// Whether clients are served.
#[derive(Debug)]
pub(super) struct Service {
    is_on: bool,
    /// Until when they may be, as shards were told.
    told: Option<Millis>,
}

impl Default for Service {
    fn default() -> Self {
        Self { is_on: true, told: None }
    }
}

impl Node {
    /// Whether clients are served, once it is ready.
    pub const fn is_serving(&self) -> bool {
        self.service.is_on
    }

    /// Until when they may be, if that has changed: to be told to all shards, which end it by
    /// themselves.
    pub fn take_service(&mut self) -> Option<Millis> {
        let until = self.members.serves_until()?;
        (self.service.told.replace(until) != Some(until)).then_some(until)
    }

    /// Once it is ready: before there is nobody to be sent away.
    pub(super) fn look_at_service(&mut self, now: Millis) {
        let may_serve = self.members.may_serve(now);
        if let Some(until) = self.members.serves_until().filter(|_| self.is_ready) {
            self.router.set_serves_until(until);
        }
        if self.is_ready && self.service.is_on != may_serve {
            self.service.is_on = may_serve;
            self.counts.stops += u64::from(!may_serve);
        }
    }

    /// When clients may be served no more, if nothing happens.
    pub(super) fn next_end_of_service(&self) -> Option<Millis> {
        self.members.serves_until().filter(|_| self.is_ready && self.is_serving())
    }
}

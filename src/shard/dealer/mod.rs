//! The dealer: REGISTER, CALL and the way of an answer back to its caller.
//!
//! A pending call lives in two halves, each with one owner: the caller's session remembers the
//! callee, the callee's session remembers the caller. What goes between them is mail.

mod answer;
mod call;
mod cancel;
mod chunks;
mod claims;
mod details;
mod elsewhere;
mod register;
mod reroute;

pub use claims::Claims;
pub(super) use details::check_disclosure;

use super::context::Context;
use super::requests::Refusal;
use crate::router::ShardId;
use crate::wamp::{Payload, WampError};

pub(super) const NO_SUCH_PROCEDURE: Refusal =
    (WampError::NoSuchProcedure, "no procedure is registered that matches the called URI");
pub(crate) const CALLEE_LEFT: Refusal =
    (WampError::Canceled, "the callee left before it answered the call");
/// See [`Context::may_carry`].
const TOO_MUCH_HELD: Refusal = (
    WampError::ResourceLimit,
    "too much waits on its way through the router to hold a payload of this size: try again later, \
     or send less at once",
);

impl Context {
    /// Whether the router has room for a payload that goes to a session of that shard.
    #[inline]
    pub(super) fn may_carry(&self, to: ShardId, payload: &Payload<'_>) -> Result<(), Refusal> {
        if to == self.id || self.may_hold(payload.weight()) { Ok(()) } else { Err(TOO_MUCH_HELD) }
    }
}

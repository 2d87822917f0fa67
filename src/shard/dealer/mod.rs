//! The dealer: REGISTER, CALL and the way of an answer back to its caller.
//!
//! A pending call lives in two halves, each with one owner: the caller's session remembers the
//! callee, the callee's session remembers the caller. What goes between them is mail.

mod answer;
mod call;
mod cancel;
mod chunks;
mod details;
mod register;
mod reroute;

pub(super) use details::check_disclosure;

use super::broker::Refusal;
use crate::wamp::WampError;

pub(super) const NO_SUCH_PROCEDURE: Refusal =
    (WampError::NoSuchProcedure, "no procedure is registered that matches the called URI");
pub(super) const CALLEE_LEFT: Refusal =
    (WampError::Canceled, "the callee left before it answered the call");

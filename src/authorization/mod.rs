//! Who may do what: the rules of a role, and what they decide (requirements 2.11).
//!
//! Pure, and knows no session: an action, a URI and a match policy go in, a [`Decision`] comes out.
//! The same code answers clients and `stentor explain`.

mod dynamic;
mod explain;
mod management;
mod memory;
mod pattern;
mod role;
mod settings;
mod table;

#[cfg(test)]
mod tests;

pub use dynamic::{BadRuling, Case, Ruling, case_to_json, is_endpoint, shown_authorizer};
pub use explain::{Explanation, Outcome};
pub use management::{ManagementPace, ManagementProcedure, ManagementTopic, Managers, Standing};
pub use memory::Memory;
pub use pattern::{covers, overlaps, shape_of};
pub use role::{
    AuthorizerId, Decision, Effect, IdleRule, Powers, Role, Rule, RuleId, RuleOrigin, Terms,
};
pub use settings::{Access, Action, Disclosure, OverRate, Permission, Rates, RoleSettings};

/// A rule's wildcard has at most this many components: one bit each in its shape.
pub const MAX_RULE_COMPONENTS: usize = 128;

/// The ways to leave a wildcard of so many components open that the rules of one role may use, for
/// each number of components: a decision looks each of them up.
pub const MAX_RULE_SHAPES: usize = 64;

/// Permissions of one role.
pub const MAX_PERMISSIONS: usize = 10_000;

/// The procedures of the router that end what belongs to others (AP-SMA-07). Only rules that begin
/// with `wamp.` decide about them, so that "may do everything" does not mean them.
pub const ADMINISTRATIVE: [&str; 6] = [
    "wamp.registration.remove_callee",
    "wamp.session.kill",
    "wamp.session.kill_all",
    "wamp.session.kill_by_authid",
    "wamp.session.kill_by_authrole",
    "wamp.subscription.remove_subscriber",
];

/// What the URIs of the protocol begin with.
const PROTOCOL: &str = "wamp.";

/// Whether only rules that begin with `wamp.` decide about this action.
fn is_administrative(action: Action, uri: &str) -> bool {
    action == Action::Call && uri.starts_with(PROTOCOL) && ADMINISTRATIVE.contains(&uri)
}

//! JSON Web Tokens as tickets (RFC 7519, with the advice of RFC 8725): signatures, claims, and whom
//! they make of a client.
//!
//! The key decides the algorithm, never the token. Pure: keys and the time come in; who fetches
//! keys again is `net`. A signature takes some 50 us, so no shard verifies one.

mod claims;
mod issuer;
mod jws;
mod keys;
mod verified;

pub use issuer::{Issuer, Lease, RoleRule, TokenError, TokenSettings};
pub use jws::has_form_of_token;
pub use keys::{Algorithm, BadKeys, KeySet, SECRET_BYTES};

/// Bytes of the longest token; most have one or two thousand.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;

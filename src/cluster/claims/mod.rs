//! Who is registered in the cluster: claims, which stand as keys in the bucket.
//!
//! The callees of a procedure are the claims of members for it, in the order of their revisions;
//! the first sets the policy, and one that it does not admit does not count. That is a function of
//! the keys that stand, so all nodes come to the same, whenever they read of them.

mod book;
mod own;
mod record;

pub(super) use book::Book;
pub(super) use own::{Own, Told};

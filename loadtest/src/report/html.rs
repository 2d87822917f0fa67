//! todo
use crate::compare::Comparison;
use super::Report;
pub fn page(_: &[Report], _: Option<&Comparison>) -> String { String::new() }

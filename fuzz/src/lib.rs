//! The fuzz targets: the oracles of `tests/fuzz` on what libFuzzer makes, in a process that counts
//! what they allocate.

#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;
mod meter;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;
#[allow(dead_code, reason = "the scenarios use more of it")]
#[path = "../../tests/support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Gives `data` to a target.
///
/// # Panics
/// If something does not hold that must hold for any input.
pub fn run(target: &str, data: &[u8]) {
    let found = fuzz::TARGETS.iter().find(|(name, _)| *name == target);
    let (_, judge) = found.expect("a target of that name");
    judge(data);
}

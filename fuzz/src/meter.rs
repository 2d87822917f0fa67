//! What the calling thread has allocated, as jemalloc counts it.

use std::sync::LazyLock;

use tikv_jemalloc_ctl::thread;

static ALLOCATED: LazyLock<thread::allocatedp_mib> =
    LazyLock::new(|| thread::allocatedp::mib().expect("jemalloc counts"));

/// Bytes that `work` allocates, given back or not; `None` where nobody counts.
pub(crate) fn allocated<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    let counter = ALLOCATED.read().expect("jemalloc counts");
    let before = counter.get();
    let result = work();
    (result, Some(counter.get() - before))
}

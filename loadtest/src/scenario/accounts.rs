//! What a run used: marks of the counters and of the processes' CPU time and memory, and the
//! differences between two of them.

use crate::measure::board::Counts;
use crate::procfs::{Reading, ThreadTime};
use crate::report::{GeneratorUse, RouterUse};

/// Everything that differences are taken of.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    pub(super) at_ns: u64,
    pub(super) counts: Counts,
    pub(super) router: Option<Reading>,
    /// Of all generator threads together.
    pub(super) own: Reading,
    /// Of each of them, the time it worked and the time it waited for a core.
    pub(super) threads: Vec<ThreadTime>,
}

pub(super) fn router_use(start: &Mark, end: &Mark, events: u64, calls: u64) -> Option<RouterUse> {
    let (before, after) = start.router.zip(end.router)?;
    let cpu_ns = after.run_ns.saturating_sub(before.run_ns) as f64;
    let waited_ns = after.wait_ns.saturating_sub(before.wait_ns) as f64;
    let system_ns = after.system_ns.saturating_sub(before.system_ns) as f64;
    let per = |count: u64| (count > 0).then(|| cpu_ns / count as f64);
    let joins = end.counts.joined - start.counts.joined;
    Some(RouterUse {
        cpu_s: cpu_ns / 1e9,
        cores: cpu_ns / (end.at_ns - start.at_ns).max(1) as f64,
        starved: waited_ns / (end.at_ns - start.at_ns).max(1) as f64,
        system_share: (system_ns / cpu_ns.max(1.0)).min(1.0),
        cpu_ns_per_event: per(events).filter(|_| calls == 0),
        cpu_ns_per_call: per(calls).filter(|_| events == 0),
        cpu_ns_per_delivery: per(events + calls).or_else(|| per(joins)),
        rss_start: before.rss,
        rss_end: after.rss,
        rss_peak: after.rss_peak,
        threads: after.threads,
        processes: after.processes,
    })
}

/// A generator of which one thread never rests sets the figures itself, unless the router was as
/// busy.
pub(super) fn generator_use(
    start: &Mark,
    end: &Mark,
    closed_loop: bool,
    router: Option<&RouterUse>,
) -> GeneratorUse {
    let wall_ns = (end.at_ns - start.at_ns).max(1) as f64;
    let run_ns = end.own.run_ns.saturating_sub(start.own.run_ns) as f64;
    let busy = run_ns / wall_ns;
    let starved = end.own.wait_ns.saturating_sub(start.own.wait_ns) as f64 / wall_ns;
    let router_busy = router.is_some_and(|router| router.cores + router.starved >= BUSY_SHARE);
    let busiest = end.threads.iter().zip(&start.threads).map(|(after, before)| {
        let busy_ns = after.run_ns.saturating_sub(before.run_ns);
        (busy_ns + after.wait_ns.saturating_sub(before.wait_ns)) as f64 / wall_ns
    });
    // Of one thread the process tells, and all that it does besides.
    let busiest = match end.threads.len() {
        0 | 1 => busy + starved,
        _ => busiest.fold(0.0, f64::max),
    };
    GeneratorUse {
        threads: end.threads.len(),
        cpu_s: run_ns / 1e9,
        busy,
        starved,
        client_bound: busiest >= BUSY_SHARE && !(closed_loop && router_busy),
    }
}

const BUSY_SHARE: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::SECOND_NS;

    fn mark(at_s: u64, own_s: u64, router_s: u64) -> Mark {
        let reading = |run_s: u64| Reading { run_ns: run_s * SECOND_NS, ..Reading::default() };
        Mark {
            at_ns: at_s * SECOND_NS,
            own: reading(own_s),
            router: Some(reading(router_s)),
            threads: Vec::new(),
            counts: Counts::default(),
        }
    }

    #[test]
    fn cpu_per_event() {
        let found = router_use(&mark(0, 0, 1), &mark(10, 0, 3), 1_000_000, 0).unwrap();
        assert_eq!(found.cpu_ns_per_event, Some(2_000.0));
        assert_eq!((found.cpu_ns_per_call, found.cores), (None, 0.2));
        let both = router_use(&mark(0, 0, 1), &mark(10, 0, 3), 500, 500).unwrap();
        assert_eq!((both.cpu_ns_per_event, both.cpu_ns_per_delivery), (None, Some(2_000_000.0)));
    }

    #[test]
    fn client_bound_unless_the_router_is_as_busy() {
        for (own_s, router_s, closed_loop, expected) in [
            (5, 10, true, false),
            (10, 5, true, true),
            (10, 10, true, false),
            (10, 10, false, true),
        ] {
            let (start, end) = (mark(0, 0, 0), mark(10, own_s, router_s));
            let router = router_use(&start, &end, 1, 0);
            let found = generator_use(&start, &end, closed_loop, router.as_ref());
            assert_eq!(found.client_bound, expected, "{own_s} {router_s} {closed_loop}");
        }
    }

    #[test]
    fn one_of_several_threads_may_be_what_bounds() {
        let times = |run_s: [u64; 2]| -> Vec<ThreadTime> {
            let time = |run_s| ThreadTime { run_ns: run_s * SECOND_NS, wait_ns: 0 };
            run_s.into_iter().map(time).collect()
        };
        for (run_s, expected) in [([5, 5], false), ([1, 10], true)] {
            let start = Mark { threads: times([0, 0]), ..mark(0, 0, 0) };
            let end = Mark { threads: times(run_s), ..mark(10, run_s[0] + run_s[1], 0) };
            let found = generator_use(&start, &end, false, None);
            assert_eq!((found.client_bound, found.threads), (expected, 2), "{run_s:?}");
        }
    }
}

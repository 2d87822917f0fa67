//! The seeded simulation of a whole router (DESIGN section 9). `sim/mod.rs` is the map.
//!
//! `STENTOR_SIM_SEED=n` replays one seed with a trace, `STENTOR_SIM_SEEDS` and `STENTOR_SIM_STEPS`
//! widen the sweep.

mod sim;
#[allow(dead_code, reason = "the scenarios use more of it")]
mod support;

use std::env;
use std::thread;

use sim::Tally;

/// Every seed holds, and together they have done and seen everything that there is.
#[test]
fn sweep() {
    let seeds = variable("STENTOR_SIM_SEEDS").unwrap_or(SEEDS);
    let steps = steps();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut tally = Tally::new();
    thread::scope(|scope| {
        let run = |first: u64| move || run_seeds((first..seeds).step_by(threads as usize), steps);
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(run(first))).collect();
        for worker in workers {
            let part = worker.join().expect("a seed failed; see above");
            add(&mut tally, part);
        }
    });
    if seeds >= SEEDS {
        let missing: Vec<_> = EXPECTED.iter().filter(|what| !tally.contains_key(**what)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}; happened: {tally:#?}");
    }
}

/// One seed is one run.
#[test]
fn a_seed_repeats_its_run() {
    for seed in 0..5 {
        let [first, second] = [(); 2].map(|()| sim::run(seed, STEPS, false).digest);
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Replays the seed of `STENTOR_SIM_SEED` with its trace, and says what happened how often.
#[test]
fn replay() {
    let Some(seed) = variable("STENTOR_SIM_SEED") else { return };
    let report = sim::run(seed, steps(), true);
    eprintln!("{:#?}\ndigest {:016x}", report.tally, report.digest);
}

fn run_seeds(seeds: impl Iterator<Item = u64>, steps: usize) -> Tally {
    let mut tally = Tally::new();
    for seed in seeds {
        add(&mut tally, sim::run(seed, steps, false).tally);
    }
    tally
}

fn add(tally: &mut Tally, part: Tally) {
    for (what, count) in part {
        *tally.entry(what).or_default() += count;
    }
}

fn steps() -> usize {
    variable("STENTOR_SIM_STEPS").map_or(STEPS, |steps| steps as usize)
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, got {text:?}")))
}

const SEEDS: u64 = 300;
const STEPS: usize = 1_200;

/// What must happen at least once in a sweep, or it is not exercised any more.
const EXPECTED: &[&str] = &["nothing like this"];

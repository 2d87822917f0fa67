//! A seeded simulation of a whole router: shards, mail, sockets, clients and time in one thread.
//!
//! `plan` draws the settings of a seed, `permissions` who may do what, `world` draws one action a
//! step. `actions` and `hostile` are what clients do, `pubsub` what publications may be, `history`
//! what is kept of them, `calls` and `callees` the two sides of calls, `revocation` what an
//! administrator takes away, `meta` what the router tells of itself, `asking` and `sweeping` what
//! it is asked, `counting` how many are there, `crowding` what makes work, `refusing` what is too
//! much. `hearing` and `answers` judge with the help of `model`,
//! `endings` how calls end, `probing` who gets them at rest, `bounds` what a shard holds and does,
//! `ages` since when, `corks` and `claims` who waits for other nodes, `questions` what they are
//! asked, and ask.
//! `draining`, `restarting` and `closing` end sessions, a process and a run, `log` keeps the
//! trace. `tracing` is what operators look at meanwhile. `logins`, `authorizers`, `managing` and
//! `reloads` (of `editions`) are simulations of their own, and so is `cluster`, of several nodes,
//! and `keeping` what those keep alike.

mod actions;
mod ages;
mod answers;
mod asking;
mod authenticators;
pub(crate) mod authorizers;
mod bounds;
mod callees;
mod calls;
mod claims;
mod client;
mod closing;
pub(crate) mod cluster;
mod corks;
mod counting;
mod crowding;
mod draining;
mod editions;
mod endings;
mod hearing;
mod history;
mod hostile;
mod keeping;
mod log;
pub(crate) mod logins;
pub(crate) mod managing;
mod meta;
mod model;
mod permissions;
mod plan;
mod probing;
mod pubsub;
mod questions;
mod refusing;
pub(crate) mod reloads;
mod restarting;
mod revocation;
mod sweeping;
mod tracing;
mod world;

pub(crate) use log::Tally;

use std::cell::Cell;

use world::World;

/// What one run was like.
pub(crate) struct Report {
    /// Of all lines of the trace.
    pub(crate) digest: u64,
    pub(crate) tally: Tally,
}

/// Runs one seed to its end; panics where the router does something wrong.
pub(crate) fn run(seed: u64, steps: usize, trace: bool) -> Report {
    run_world(seed, steps, World::new(seed, trace))
}

/// Runs a seed whose steps are never cut, and what is seen of it does not depend on what looking
/// costs; with as many traces as may be, or with none.
pub(crate) fn run_uncut(seed: u64, steps: usize, is_traced: bool) -> Report {
    run_world(seed, steps, World::uncut(seed, is_traced))
}

fn run_world(seed: u64, steps: usize, mut world: World) -> Report {
    let step = Cell::new(0);
    let _guard = Replay { seed, steps, step: &step };
    for number in 0..steps {
        step.set(number);
        world.drain_by_plan(number);
        if world.plan.shutdown && world.plan.shutdown_step == Some(number) {
            world.begin_shutdown();
        }
        if world.plan.crash_step == Some(number) && !world.shutting_down {
            world.crash();
        }
        world.step(number);
        world.confirm_somewhere();
        world.serve_claims();
        world.count_claims();
        world.check_corks();
        world.answer_elsewhere();
        world.trace();
    }
    step.set(steps);
    world.end_traces();
    world.finish();
    world.log.report()
}

/// Says how to see a failure again.
struct Replay<'a> {
    seed: u64,
    steps: usize,
    step: &'a Cell<usize>,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, steps, step) = (self.seed, self.steps, self.step.get());
            eprintln!(
                "seed {seed} failed in step {step} of {steps}; to see it again:\n  \
                 STENTOR_SIM_SEED={seed} STENTOR_SIM_STEPS={steps} \
                 cargo test --test simulation replay -- --nocapture"
            );
        }
    }
}

//! The scenario `rpc`: C callers, K callees, depth D, one shared procedure or one per callee.

use super::pubsub::stepped;
use super::run::Plan;
use crate::cli::{Common, Rpc};
use crate::error::Result;
use crate::report::Report;
use crate::report::table::counted;
use crate::role::callee::Callee;
use crate::role::caller::Caller;
use crate::role::{Expected, Role};
use crate::router::Router;

pub fn rpc(args: &Rpc, router: Option<&Router>) -> Result<Report> {
    let Rpc { callers, callees, shared, common, .. } = args;
    let depth = args.depth.or_else(|| args.saturate.then_some(USUAL_DEPTH));
    let pacing = match depth {
        Some(depth) => format!("closed loop, depth {depth} per caller"),
        None => args.steps.in_words().unwrap_or_else(|| format!("open loop, {}/s", args.rate)),
    };
    let rate = args.steps.first_rate().unwrap_or(args.rate);
    let parts = Expected { results: args.progressive_results, chunks: args.progressive_calls };
    let progressive = parts != Expected::default();
    let procedures = if *shared { "one shared procedure" } else { "one procedure per callee" };
    let mut plan = Plan {
        scenario: "rpc",
        common,
        clients: Vec::new(),
        windows: Vec::new(),
        publish_rate: None,
        call_rate: depth.is_none().then_some(rate),
        join_rate: None,
        pacing,
        description: format!(
            "{}, {}, {procedures}{}",
            counted(*callers, "caller"),
            counted(*callees, "callee"),
            parts.in_words()
        ),
        progressive,
    };
    add_callees_and_callers(&mut plan, *callees, *callers, *shared, depth.unwrap_or(0), parts);
    stepped(plan, router, &args.steps, 1)
}

pub fn add_callees_and_callers(
    plan: &mut Plan<'_>,
    callees: u32,
    callers: u32,
    shared: bool,
    depth: u32,
    parts: Expected,
) {
    let Common { serializer, payload_bytes, .. } = plan.common;
    let procedure = |number: u32| {
        if shared { PROCEDURE.to_owned() } else { format!("{PROCEDURE}.{}", number % callees) }
    };
    for number in 0..callees {
        let callee =
            Callee::new(procedure(number), shared, *payload_bytes, callers as usize, parts);
        plan.clients.push((Role::Callee(callee), *serializer));
    }
    for number in 0..callers {
        let caller = Caller::new(number, procedure(number), depth, plan.common.payload(), parts);
        plan.clients.push((Role::Caller(caller), *serializer));
    }
}

const PROCEDURE: &str = "loadtest.procedure";
const USUAL_DEPTH: u32 = 4;

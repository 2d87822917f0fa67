//! Attacks with calls: large ones that nobody answers, refusals in a long row, and a busy callee.

use std::time::{Duration, Instant};

use super::Attack;
use super::events::LARGE_BYTES;
use super::member::Manner;
use crate::error::Result;
use crate::wire::Serializer::Json;

/// Calls of 1 MB that callees keep without an answer, and the router for another try.
pub(super) fn pending(attack: &mut Attack) -> Result<()> {
    let callees = attack.crowd.join(2, Json, Manner::Silent)?;
    callees.clone().for_each(|callee| register(attack, callee, "roundrobin", "hostile.pending"));
    attack.round(callees.clone(), 1)?;
    let callers = attack.crowd.join(4, Json, Manner::Silent)?;
    let payload = "x".repeat(LARGE_BYTES);
    let mut sent = 0;
    let until = Instant::now() + Duration::from_secs(10).max(attack.until() - Instant::now());
    while sent < PENDING && Instant::now() < until {
        for caller in callers.clone() {
            if attack.crowd.queued_bytes(caller) < LARGE_BYTES {
                call(attack, caller, "hostile.pending", &payload);
                sent += 1;
            }
        }
        attack.crowd.run(Instant::now() + Duration::from_millis(2), |_| false)?;
    }
    attack.hold()?;
    let invoked = attack.crowd.sum(callees.clone(), |seen| seen.invocations);
    let answered = attack.crowd.sum(callers.clone(), super::member::Seen::answers);
    let ended = attack.crowd.over(callees) + attack.crowd.over(callers);
    attack.did("calls of 1 MB", sent, 10);
    attack.did("invocations, refusals and ends", invoked + answered + ended, 10);
    Ok(())
}

/// Callees that are all unavailable, so that each call is routed to one after the other.
pub(super) fn reroute(attack: &mut Attack) -> Result<()> {
    let callees = attack.crowd.join(UNAVAILABLE, Json, Manner::Unavailable)?;
    callees.clone().for_each(|callee| register(attack, callee, "first", "hostile.reroute"));
    attack.round(callees.clone(), 1)?;
    let caller = attack.crowd.join_one(Json, Manner::Silent)?;
    let mut answered = 0;
    while attack.goes_on() && !attack.crowd.is_over(caller) {
        let before = attack.crowd.seen(caller).answers();
        for _ in 0..REROUTED {
            call(attack, caller, "hostile.reroute", "x");
        }
        answered += attack.await_answers(caller, before + REROUTED)?.answers() - before;
    }
    let invoked = attack.crowd.sum(callees, |seen| seen.invocations);
    attack.did("invocations that were refused", invoked, 1);
    attack.did("calls without a callee, and ends", answered, 1);
    Ok(())
}

/// 40 calls of 0.9 MB while their callee does not read for half a second. The callee must stay, and
/// then serve others.
pub(super) fn busy(attack: &mut Attack) -> Result<()> {
    let mut rounds = 0;
    let mut settled = 0;
    while attack.goes_on() {
        rounds += 1;
        let callee = attack.crowd.join_one(Json, Manner::Obliging)?;
        register(attack, callee, "single", "hostile.busy");
        attack.await_answers(callee, 1)?;
        let (flooder, bystander) = (
            attack.crowd.join_one(Json, Manner::Silent)?,
            attack.crowd.join_one(Json, Manner::Silent)?,
        );
        attack.crowd.set_reads(callee, false);
        let payload = "x".repeat(CALL_BYTES);
        (0..CALLS).for_each(|_| call(attack, flooder, "hostile.busy", &payload));
        attack.crowd.run(Instant::now() + Duration::from_millis(500), |_| false)?;
        attack.crowd.set_reads(callee, true);
        attack.wait(Duration::from_secs(15), |crowd| {
            let seen = crowd.seen(flooder);
            seen.is_over || seen.answers() >= CALLS || crowd.is_over(callee)
        })?;
        call(attack, bystander, "hostile.busy", "x");
        let seen = attack.await_answers(bystander, 1)?;
        let flooded = attack.crowd.seen(flooder);
        settled += flooded.settled(CALLS);
        if seen.results == 0 {
            // The callee may have to read much before it learns that it was ended.
            attack.wait(Duration::from_secs(2), |crowd| crowd.is_over(callee))?;
        }
        if attack.crowd.is_over(callee) {
            let why = attack.crowd.seen(callee).last_error;
            attack.blame(format!("a callee that was busy for half a second was ended: {why}"));
        }
        if seen.results == 0 {
            attack.blame(format!("a bystander's call failed: {}", seen.last_error));
        }
        attack.crowd.dismiss_all(callee..bystander + 1);
    }
    attack.did("floods", rounds, 1);
    attack.did("results, refusals and ends of the flooder", settled, CALLS / 2);
    Ok(())
}

fn register(attack: &mut Attack, number: usize, invoke: &str, procedure: &str) {
    let request = attack.crowd.take_request(number);
    let message = format!(r#"[64,{request},{{"invoke":"{invoke}"}},"{procedure}"]"#);
    attack.crowd.queue(number, message.as_bytes());
}

fn call(attack: &mut Attack, number: usize, procedure: &str, argument: &str) {
    let request = attack.crowd.take_request(number);
    let message = format!(r#"[48,{request},{{}},"{procedure}",["{argument}"]]"#);
    attack.crowd.queue(number, message.as_bytes());
}

const PENDING: u64 = 400;
const UNAVAILABLE: usize = 2_000;
const REROUTED: u64 = 4;
const CALLS: u64 = 40;
const CALL_BYTES: usize = 900_000;

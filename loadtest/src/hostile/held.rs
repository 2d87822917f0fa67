//! Attacks with connections: what a client makes the router keep before and between messages.

use std::time::{Duration, Instant};

use super::Attack;
use super::member::Manner;
use crate::error::Result;
use crate::wire::Serializer::Json;
use crate::wire::frame;

/// Half of the connections have joined, half have not said HELLO; each sends the larger part of a
/// long message, and in the end the rest, to see whether the router still had the beginning.
pub(super) fn partials(attack: &mut Attack) -> Result<()> {
    let joined = attack.crowd.join(HOLDERS / 2, Json, Manner::Silent)?;
    let mute = attack.crowd.join(HOLDERS / 2, Json, Manner::Mute)?;
    let filling = "x".repeat(MESSAGE_BYTES);
    let publication =
        format!(r#"[16,1,{{"acknowledge":true}},"hostile.partials",["{filling}"]]"#).into_bytes();
    let hello = format!(r#"[1,"hostile.partials",{{"roles":{{"caller":{{}}}},"x":"{filling}"}}]"#);
    let mut rest = Vec::new();
    for (message, numbers) in [(&publication, joined.clone()), (&hello.into_bytes(), mute.clone())]
    {
        for number in numbers {
            attack.crowd.with_link(number, |link| {
                let mut framed = Vec::new();
                frame::put_message(link.transport, true, message, &mut framed);
                let tail = framed.split_off(SENT_BYTES);
                link.send_unframed(&framed);
                rest = tail;
            });
            // Sent one after the other, so that the copies are the router's and not these clients'.
            attack.crowd.run(Instant::now(), |_| true)?;
        }
    }
    let all = joined.start..mute.end;
    let written = all.clone();
    let until = Instant::now() + Duration::from_secs(10);
    attack
        .crowd
        .run(until, |crowd| written.clone().all(|number| crowd.queued_bytes(number) == 0))?;
    attack.hold()?;
    finish(attack, joined, &publication)?;
    let ended = attack.crowd.over(all.clone());
    let answered = attack.crowd.sum(all, super::member::Seen::answers);
    attack.did("messages that were begun", HOLDERS as u64, HOLDERS as u64);
    attack.did("answers to what was completed, and ends", answered + ended, HOLDERS as u64 / 2);
    Ok(())
}

/// Sends what is missing of the message on the connections that are still there.
fn finish(attack: &mut Attack, numbers: std::ops::Range<usize>, message: &[u8]) -> Result<()> {
    for number in numbers.clone() {
        attack.crowd.with_link(number, |link| {
            let mut framed = Vec::new();
            frame::put_message(link.transport, true, message, &mut framed);
            link.send_unframed(&framed[SENT_BYTES..]);
        });
        attack.crowd.run(Instant::now(), |_| true)?;
    }
    attack.wait(ENDING, |crowd| {
        let settled =
            crowd.sum(numbers.clone(), |seen| u64::from(seen.is_over || seen.answers() > 0));
        settled == numbers.len() as u64
    })
}

/// Handshakes that stop halfway; some of them go on in the end.
pub(super) fn handshakes(attack: &mut Attack) -> Result<()> {
    let mut clients = 0..0;
    for _ in 0..HANDSHAKES / 100 {
        let more = attack.crowd.join(100, Json, Manner::Halfway)?;
        clients.end = more.end;
    }
    attack.hold()?;
    let some = clients.start..clients.start + 50;
    some.clone().for_each(|client| attack.crowd.complete(client));
    let until = Instant::now() + Duration::from_secs(10);
    let settled = |seen: &super::member::Seen| u64::from(seen.is_joined || seen.is_over);
    let all = some.clone();
    attack.crowd.run(until, |crowd| crowd.sum(all.clone(), settled) == all.len() as u64)?;
    attack.did("handshakes that were begun", clients.len() as u64, HANDSHAKES as u64);
    attack.did("answers and ends of 50 that went on", attack.crowd.sum(some, settled), 50);
    Ok(())
}

/// Joining and leaving without a word, and connecting without joining, as fast as possible.
pub(super) fn storm(attack: &mut Attack) -> Result<()> {
    let (mut connected, mut joined) = (0, 0);
    while attack.goes_on() && connected < STORM {
        let newcomers = attack.crowd.join(50, Json, Manner::Silent)?;
        for _ in newcomers.clone() {
            let number = attack.crowd.enter(Json, Manner::Halfway)?;
            attack.crowd.dismiss(number);
        }
        connected += 2 * newcomers.len() as u64;
        joined += attack.crowd.sum(newcomers.clone(), |seen| u64::from(seen.is_joined));
        attack.crowd.dismiss_all(newcomers);
    }
    attack.did("connections", connected, 100);
    attack.did("of them joined", joined, 50);
    Ok(())
}

/// For what is left to be sent or answered in the end.
const ENDING: Duration = Duration::from_secs(10);
const HOLDERS: usize = 2_000;
const MESSAGE_BYTES: usize = 700_000;
const SENT_BYTES: usize = 600_000;
const HANDSHAKES: usize = 3_000;
/// Fewer than the ports that a client's address has.
const STORM: u64 = 20_000;

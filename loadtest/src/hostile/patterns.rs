//! Attacks with patterns: very many that match one topic, and very many shapes.

use std::time::{Duration, Instant};

use super::Attack;
use super::events::LARGE_BYTES;
use super::member::Manner;
use crate::error::Result;
use crate::wire::Serializer::{Json, MessagePack};
use crate::wire::message::Body;

/// One session with [`MATCHING`] patterns that match one topic, and publishers of 1 MB. Who is
/// ended as too slow comes back.
pub(super) fn fan_out(attack: &mut Attack) -> Result<()> {
    let publishers = attack.crowd.join(PUBLISHERS, MessagePack, Manner::Silent)?;
    let payload = vec![b'x'; LARGE_BYTES];
    let topic = TOPIC.join(".");
    let (mut answered, mut published, mut reached) = (0, 0, 0);
    loop {
        let subscriber = attack.crowd.join_one(Json, Manner::Silent)?;
        ask_for_patterns(attack, subscriber, 32, 1..=MATCHING);
        answered += attack.await_answers(subscriber, MATCHING)?.settled(MATCHING);
        for publisher in publishers.clone() {
            let request = attack.crowd.take_request(publisher);
            let mut body = Vec::new();
            Body::new(MessagePack, &mut body).publish(request, false, &topic, &payload);
            attack.crowd.queue(publisher, &body);
            published += 1;
        }
        let enough = Instant::now() + Duration::from_secs(2);
        attack.wait(ROUND_AT_MOST, |crowd| {
            let seen = crowd.seen(subscriber);
            seen.is_over || Instant::now() > enough && seen.events > 0
        })?;
        let seen = attack.crowd.seen(subscriber);
        reached += seen.events + u64::from(seen.is_over);
        attack.crowd.dismiss(subscriber);
        if !attack.goes_on() {
            break;
        }
    }
    attack.did("SUBSCRIBE answered", answered, MATCHING / 2);
    attack.did("publications of 1 MB", published, 1);
    attack.did("events and ends", reached, 1);
    Ok(())
}

/// [`SHAPES`] patterns of different shape in one session, subscriptions and then registrations;
/// then the session changes one of them again and again, and then it leaves without a word.
pub(super) fn shapes(attack: &mut Attack) -> Result<()> {
    for (code, remove, asked, again) in [
        (32, 34, "patterns to subscribe answered", "of them changed again"),
        (64, 66, "patterns to register answered", "of those changed again"),
    ] {
        let session = attack.crowd.join_one(Json, Manner::Silent)?;
        ask_for_patterns(attack, session, code, 1..=SHAPES);
        let seen = attack.await_answers(session, SHAPES)?;
        attack.did(asked, seen.settled(SHAPES), SHAPES / 2);
        let mut id = seen.last_id;
        let until = Instant::now() + Duration::from_secs(1);
        let mut changed = 0;
        while Instant::now() < until && !attack.crowd.is_over(session) {
            let request = attack.crowd.take_request(session);
            attack.crowd.queue(session, format!("[{remove},{request},{id}]").as_bytes());
            ask_for_patterns(attack, session, code, SHAPES..=SHAPES);
            let expected = attack.crowd.seen(session).answers() + 2;
            let seen = attack.await_answers(session, expected)?;
            if seen.answers() < expected {
                break;
            }
            id = seen.last_id;
            changed += 1;
        }
        attack.did(again, changed, 0);
        attack.crowd.dismiss(session);
        // The router learns of the end while a newcomer waits.
        let newcomer = attack.crowd.join_one(Json, Manner::Silent)?;
        attack.crowd.dismiss(newcomer);
    }
    Ok(())
}

/// Asks for wildcard patterns, each with other `gaps`, with SUBSCRIBE (32) or REGISTER (64).
fn ask_for_patterns(
    attack: &mut Attack,
    number: usize,
    code: u64,
    gaps: std::ops::RangeInclusive<u64>,
) {
    attack.crowd.with_link(number, |link| {
        for gaps in gaps {
            let request = link.take_request();
            let pattern = pattern(gaps);
            let message = format!(r#"[{code},{request},{{"match":"wildcard"}},"{pattern}"]"#);
            link.send_bytes(message.as_bytes());
        }
    });
}

/// The topic, without the components whose bits are set in `gaps`.
fn pattern(gaps: u64) -> String {
    let component = |(place, text): (usize, &&'static str)| match gaps >> place & 1 {
        0 => *text,
        _ => "",
    };
    TOPIC.iter().enumerate().map(component).collect::<Vec<_>>().join(".")
}

const TOPIC: [&str; 14] =
    ["hostile", "topic", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
/// How many patterns one session may hold by default is 10,000.
const SHAPES: u64 = 9_900;
const MATCHING: u64 = 4_000;
const ROUND_AT_MOST: Duration = Duration::from_secs(60);
const PUBLISHERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_has_its_own_gaps() {
        assert_eq!(pattern(0b11), "..c.d.e.f.g.h.i.j.k.l.m.n");
        let all: std::collections::HashSet<_> = (1..=SHAPES).map(pattern).collect();
        assert_eq!(all.len() as u64, SHAPES);
    }
}

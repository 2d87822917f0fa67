//! Attacks with events: retained ones that grow, lists that grow, bursts, and readers that do not.

use std::time::{Duration, Instant};

use super::Attack;
use super::member::Manner;
use crate::error::Result;
use crate::wire::Serializer::{Json, MessagePack};
use crate::wire::frame;
use crate::wire::writer::Writer;

/// One retained string of 1 MB whose characters JSON writes as six, and readers that ask for it in
/// reads full of SUBSCRIBE.
pub(super) fn retained(attack: &mut Attack) -> Result<()> {
    let publisher = attack.crowd.join_one(MessagePack, Manner::Silent)?;
    let request = attack.crowd.take_request(publisher);
    let mut text = vec![0xdb];
    text.extend_from_slice(&(LARGE_BYTES as u32).to_be_bytes());
    text.resize(text.len() + LARGE_BYTES, 0x01);
    attack.crowd.queue(publisher, &publication(request, "retain", RETAINED_TOPIC, &text));
    let stored = attack.await_answers(publisher, 1)?;
    attack.did("retained events that were acknowledged or refused", stored.answers(), 1);
    let (mut asked, mut answered) = (0, 0);
    while attack.goes_on() {
        let readers = attack.crowd.join(READERS, Json, Manner::Silent)?;
        let mut each = 0;
        for reader in readers.clone() {
            each = attack.crowd.fill(reader, READ_BYTES, |request| {
                format!(r#"[32,{request},{{"get_retained":true}},"{RETAINED_TOPIC}"]"#)
            });
            asked += each;
        }
        answered += attack.round(readers.clone(), each)?;
        attack.crowd.dismiss_all(readers);
    }
    // A router that goes on is not to keep it for the next kind.
    let request = attack.crowd.take_request(publisher);
    attack.crowd.queue(publisher, &publication(request, "retain", RETAINED_TOPIC, b"\xa1x"));
    attack.await_answers(publisher, 2)?;
    attack.did("SUBSCRIBE with get_retained", asked, 1_000);
    attack.did("answers to them, and ends", answered, 1);
    Ok(())
}

/// A million nils, which JSON writes in five bytes each, for one and for three subscriptions.
pub(super) fn transcoding(attack: &mut Attack) -> Result<()> {
    let publisher = attack.crowd.join_one(MessagePack, Manner::Silent)?;
    let mut list = vec![0xdd];
    list.extend_from_slice(&(LARGE_BYTES as u32).to_be_bytes());
    list.resize(list.len() + LARGE_BYTES, 0xc0);
    let (mut published, mut received) = (0, 0);
    while attack.goes_on() {
        let subscribers = attack.crowd.join(READERS, Json, Manner::Silent)?;
        for subscriber in subscribers.clone() {
            subscribe(attack, subscriber, "exact", "hostile.transcoding.nils");
            if subscriber % 2 == 0 {
                subscribe(attack, subscriber, "prefix", "hostile.transcoding");
                subscribe(attack, subscriber, "wildcard", "hostile..nils");
            }
        }
        attack.round(subscribers.clone(), 1)?;
        let request = attack.crowd.take_request(publisher);
        let before = attack.crowd.seen(publisher).answers();
        let message = publication(request, "acknowledge", "hostile.transcoding.nils", &list);
        attack.crowd.queue(publisher, &message);
        attack.await_answers(publisher, before + 1)?;
        published += 1;
        let all = subscribers.clone();
        attack.wait(Duration::from_secs(1), |crowd| {
            crowd.sum(all.clone(), |seen| seen.events + u64::from(seen.is_over)) >= READERS as u64
        })?;
        received +=
            attack.crowd.sum(subscribers.clone(), |seen| seen.events + u64::from(seen.is_over));
        attack.crowd.dismiss_all(subscribers);
        if attack.crowd.is_over(publisher) {
            break;
        }
    }
    let refused = attack.crowd.seen(publisher).errors;
    let ended = u64::from(attack.crowd.is_over(publisher));
    attack.did("publications of nils", published, 1);
    attack.did("events, refusals and ends", received + refused + ended, 1);
    Ok(())
}

/// Ten publishers send 1 MB each at one moment to a subscriber that reads: it must not be ended.
pub(super) fn bursts(attack: &mut Attack) -> Result<()> {
    let publishers = attack.crowd.join(BURST, Json, Manner::Silent)?;
    let reader = attack.crowd.join_one(Json, Manner::Silent)?;
    subscribe(attack, reader, "exact", "hostile.bursts");
    attack.await_answers(reader, 1)?;
    let payload = "x".repeat(LARGE_BYTES);
    let mut sent = 0;
    while attack.goes_on() && !attack.crowd.is_over(reader) {
        let mut tails = Vec::new();
        for publisher in publishers.clone() {
            let request = attack.crowd.take_request(publisher);
            let message = format!(r#"[16,{request},{{}},"hostile.bursts",["{payload}"]]"#);
            attack.crowd.with_link(publisher, |link| {
                let mut framed = Vec::new();
                frame::put_message(link.transport, true, message.as_bytes(), &mut framed);
                tails.push(framed.split_off(LARGE_BYTES));
                link.send_unframed(&framed);
            });
            sent += 1;
        }
        let senders = publishers.clone();
        attack.wait(Duration::from_secs(5), |crowd| {
            senders.clone().all(|number| crowd.queued_bytes(number) == 0)
        })?;
        // Now all the ends at once.
        for (publisher, tail) in publishers.clone().zip(&tails) {
            attack.crowd.with_link(publisher, |link| link.send_unframed(tail));
        }
        attack.wait(Duration::from_secs(30), |crowd| {
            let seen = crowd.seen(reader);
            seen.is_over || seen.events >= sent
        })?;
    }
    let seen = attack.crowd.seen(reader);
    attack.did("events of 1 MB", seen.events, 1);
    if seen.is_over {
        let what = format!("a subscriber that reads was ended after {} events", seen.events);
        attack.blame(format!("{what}: {}", seen.last_error));
    } else if seen.events < sent {
        attack.blame(format!("a subscriber that reads got {} of {sent} events", seen.events));
    }
    Ok(())
}

/// A fast topic and subscribers that do not read one byte of it.
pub(super) fn stalled(attack: &mut Attack) -> Result<()> {
    let publishers = attack.crowd.join(2, Json, Manner::Silent)?;
    let payload = "x".repeat(STALLED_BYTES);
    let (mut sent, mut stalled, mut ended) = (0u64, 0u64, 0);
    while attack.goes_on() {
        let readers = attack.crowd.join(STALLED, Json, Manner::Silent)?;
        for reader in readers.clone() {
            subscribe(attack, reader, "exact", "hostile.stalled");
        }
        attack.round(readers.clone(), 1)?;
        readers.clone().for_each(|reader| attack.crowd.set_reads(reader, false));
        let until = attack.until().min(Instant::now() + Duration::from_secs(2));
        while Instant::now() < until {
            for publisher in publishers.clone() {
                if attack.crowd.queued_bytes(publisher) < 2 * STALLED_BYTES {
                    let request = attack.crowd.take_request(publisher);
                    let text = format!(r#"[16,{request},{{}},"hostile.stalled",["{payload}"]]"#);
                    attack.crowd.queue(publisher, text.as_bytes());
                    sent += 1;
                }
            }
            attack.crowd.run(Instant::now(), |_| true)?;
        }
        // Whoever reads on finds the end behind what the kernel has kept.
        readers.clone().for_each(|reader| attack.crowd.set_reads(reader, true));
        let all = readers.clone();
        attack.wait(Duration::from_secs(5), |crowd| crowd.over(all.clone()) == STALLED as u64)?;
        stalled += STALLED as u64;
        ended += attack.crowd.over(readers.clone());
        attack.crowd.dismiss_all(readers);
    }
    attack.did("publications of 64 KiB", sent, 100);
    attack.did("subscribers that did not read", stalled, 1);
    attack.did("of them ended by the router", ended, 0);
    Ok(())
}

fn subscribe(attack: &mut Attack, number: usize, policy: &str, topic: &str) {
    let request = attack.crowd.take_request(number);
    let message = format!(r#"[32,{request},{{"match":"{policy}"}},"{topic}"]"#);
    attack.crowd.queue(number, message.as_bytes());
}

/// PUBLISH in MessagePack, acknowledged, with one argument that is MessagePack already.
fn publication(request: u64, option: &str, topic: &str, argument: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut writer = Writer::new(MessagePack, &mut message);
    let out = writer.array(5).uint(16).uint(request);
    if option == "acknowledge" {
        out.map(1).key(option).truth().end_map();
    } else {
        out.map(2).key("acknowledge").truth().key(option).truth().end_map();
    }
    out.text(topic.as_bytes()).array(1);
    message.extend_from_slice(argument);
    message
}

const RETAINED_TOPIC: &str = "hostile.retained";
/// A payload that fits into a message of 1 MiB with its head.
pub(super) const LARGE_BYTES: usize = 1_000_000;
/// As much as a router is likely to read at once.
pub(super) const READ_BYTES: usize = 64 << 10;
/// Enough to be on several shards.
const READERS: usize = 4;
const BURST: usize = 10;
const STALLED: usize = 20;
const STALLED_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publications_are_messagepack() {
        let message = publication(7, "retain", "a.b", b"\x92\xc0\xc0");
        let value: serde_json::Value = rmp_serde::from_slice(&message).unwrap();
        let options = serde_json::json!({"acknowledge": true, "retain": true});
        assert_eq!(value, serde_json::json!([16, 7, options, "a.b", [[null, null]]]));
    }
}

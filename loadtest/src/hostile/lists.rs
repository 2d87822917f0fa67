//! Attacks with the meta API: long lists, asked for in reads full of calls.

use super::Attack;
use super::events::READ_BYTES;
use super::member::Manner;
use crate::error::Result;
use crate::wire::Serializer::Json;

/// [`SESSIONS`] sessions, of which some share one procedure, and [`SUBSCRIPTIONS`] subscriptions;
/// then one list after the other.
pub(super) fn lists(attack: &mut Attack) -> Result<()> {
    let sessions = attack.crowd.join(SESSIONS, Json, Manner::Silent)?;
    let callees = sessions.start..sessions.start + CALLEES;
    for callee in callees.clone() {
        let request = attack.crowd.take_request(callee);
        let invoke = r#"{"invoke":"roundrobin"}"#;
        let message = format!(r#"[64,{request},{invoke},"hostile.lists.shared"]"#);
        attack.crowd.queue(callee, message.as_bytes());
    }
    attack.round(callees.clone(), 1)?;
    let registration = attack.crowd.seen(callees.start).last_id;
    let mut held = 0;
    for (place, holder) in (callees.end..callees.end + HOLDERS).enumerate() {
        attack.crowd.with_link(holder, |link| {
            for number in 0..SUBSCRIPTIONS / HOLDERS {
                let request = link.take_request();
                let topic = format!("hostile.lists.{place}.{number}");
                link.send_bytes(format!(r#"[32,{request},{{}},"{topic}"]"#).as_bytes());
            }
        });
        let asked = (SUBSCRIPTIONS / HOLDERS) as u64;
        held += attack.await_answers(holder, asked)?.settled(asked);
    }
    attack.did("sessions that stay", attack.crowd.sum(sessions, |_| 1), SESSIONS as u64);
    attack.did("SUBSCRIBE answered", held, SUBSCRIPTIONS as u64 / 2);
    let questions = [
        "wamp.session.list\"".to_owned(),
        "wamp.subscription.list\"".to_owned(),
        "wamp.subscription.match\",[\"hostile.lists.0.1\"]".to_owned(),
        format!("wamp.registration.list_callees\",[{registration}]"),
    ];
    let (mut asked, mut answered) = (0, 0);
    for (round, question) in questions.iter().cycle().enumerate() {
        if round >= questions.len() && !attack.goes_on() {
            break;
        }
        let callers = attack.crowd.join(2, Json, Manner::Silent)?;
        let mut each = 0;
        for caller in callers.clone() {
            each = attack
                .crowd
                .fill(caller, READ_BYTES, |request| format!(r#"[48,{request},{{}},"{question}]"#));
            asked += each;
        }
        answered += attack.round(callers.clone(), each)?;
        attack.crowd.dismiss_all(callers);
    }
    attack.did("questions", asked, 1_000);
    attack.did("answers and ends", answered, 1);
    Ok(())
}

const SESSIONS: usize = 2_000;
const CALLEES: usize = 500;
/// How many subscriptions one session may hold by default is 10,000.
const HOLDERS: usize = 11;
const SUBSCRIPTIONS: usize = 100_100;

//! Attacks with HTTP requests, on the port where WAMP clients connect.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::Attack;
use super::member::{Manner, Seen};
use crate::error::Result;
use crate::wire::Serializer::Json;

/// Ten thousand requests that stop halfway, 2,500 at a time. Beside them requests that are answered
/// and followed by half of another one, bodies that never end, requests that mean one thing to one
/// reader and another to the next, and reads full of requests whose answers nobody reads.
pub(super) fn mixed(attack: &mut Attack) -> Result<()> {
    let sent = rounds(attack, AT_A_TIME, EACH, DEAF, |sent| sent.halves >= HALVES)?;
    attack.did("half requests", sent.halves, HALVES);
    attack.did("other requests", sent.forms + sent.deaf, 1_000);
    attack.did("answers and ends", sent.answered, 100);
    Ok(())
}

/// The half requests of [`mixed`] alone.
pub(super) fn halves(attack: &mut Attack) -> Result<()> {
    let sent = rounds(attack, AT_A_TIME, 0, 0, |sent| sent.halves > 0)?;
    attack.did("half requests", sent.halves, AT_A_TIME as u64);
    Ok(())
}

/// Its requests without an end or of two meanings.
pub(super) fn forms(attack: &mut Attack) -> Result<()> {
    let sent = rounds(attack, 0, EACH, 0, |sent| sent.forms > 0)?;
    attack.did("requests", sent.forms, (EACH * FORMS.len()) as u64);
    attack.did("answers and ends", sent.answered, 100);
    Ok(())
}

/// Its requests whose answers nobody reads.
pub(super) fn deaf(attack: &mut Attack) -> Result<()> {
    let sent = rounds(attack, 0, 0, DEAF, |sent| sent.deaf > 0)?;
    attack.did("clients that read nothing", sent.deaf, DEAF as u64);
    Ok(())
}

/// Reads full of requests for what there is not, one after the other on connections that stay as
/// long as the router keeps them.
pub(super) fn flood(attack: &mut Attack) -> Result<()> {
    let (mut requests, mut answered) = (0, 0);
    while attack.goes_on() {
        let numbers = enter(attack, FLOODERS, |_| Vec::new())?;
        while attack.goes_on() && attack.crowd.over(numbers.clone()) == 0 {
            let before = attack.crowd.sum(numbers.clone(), |seen| seen.responses);
            for number in numbers.clone() {
                let read = NOWHERE.repeat(PER_READ).into_bytes();
                attack.crowd.with_link(number, |link| link.send_unframed(&read));
            }
            let asked = (FLOODERS * PER_READ) as u64;
            requests += asked;
            attack.wait(ROUND, |crowd| {
                let now = crowd.sum(numbers.clone(), |seen| seen.responses);
                now >= before + asked || crowd.over(numbers.clone()) > 0
            })?;
        }
        answered += attack.crowd.sum(numbers.clone(), |seen| seen.responses);
        attack.crowd.dismiss_all(numbers);
    }
    attack.did("requests", requests, 100);
    attack.did("answers", answered, 100);
    Ok(())
}

/// How many of each kind were sent, and how many of the forms were answered or ended.
#[derive(Default)]
struct Sent {
    halves: u64,
    forms: u64,
    deaf: u64,
    answered: u64,
}

/// So many of each kind at a time, again and again, until the attack ends and there are `enough`.
fn rounds(
    attack: &mut Attack,
    halves: usize,
    each: usize,
    deaf: usize,
    enough: impl Fn(&Sent) -> bool,
) -> Result<Sent> {
    let mut sent = Sent::default();
    while !enough(&sent) || attack.goes_on() {
        let half = enter(attack, halves, |_| HALF.as_bytes().to_vec())?;
        let forms = FORMS.len() * each;
        let other = enter(attack, forms, |number| FORMS[number % FORMS.len()]())?;
        let deaf = enter(attack, deaf, |_| GET.repeat(PIPELINED).into_bytes())?;
        deaf.clone().for_each(|number| attack.crowd.set_reads(number, false));
        sent.halves += half.len() as u64;
        sent.forms += other.len() as u64;
        sent.deaf += deaf.len() as u64;
        let done = |seen: &Seen| u64::from(seen.is_over || seen.responses > 0);
        let all = other.clone();
        // Without any that is answered there is nothing to wait for but the time.
        attack.wait(ROUND, |crowd| {
            !all.is_empty() && crowd.sum(all.clone(), done) == all.len() as u64
        })?;
        sent.answered += attack.crowd.sum(other.clone(), done);
        for numbers in [half, other, deaf] {
            attack.crowd.dismiss_all(numbers);
        }
        if attack.is_overdue() {
            break;
        }
    }
    Ok(sent)
}

/// Connects `count` clients that say what `says` has for each of them.
fn enter(
    attack: &mut Attack,
    count: usize,
    says: impl Fn(usize) -> Vec<u8>,
) -> Result<Range<usize>> {
    let mut numbers = 0..0;
    for number in 0..count {
        let entered = attack.crowd.enter(Json, Manner::Browser)?;
        if number == 0 {
            numbers.start = entered;
        }
        numbers.end = entered + 1;
        attack.crowd.with_link(entered, |link| link.send_unframed(&says(number)));
        if number % BACKLOG == 0 {
            attack.crowd.run(Instant::now(), |_| true)?;
        }
    }
    Ok(numbers)
}

const JSON: &str = "Content-Type: application/json\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: hostile.example\r\n\r\n";
/// Short, and as often as a router allows.
const NOWHERE: &str = "GET /nowhere HTTP/1.1\r\nHost: hostile.example\r\n\r\n";
const HALF: &str = "GET / HTTP/1.1\r\nHost: hostile.example\r\nX-Half: ";

/// What the others say, one of them each.
const FORMS: [fn() -> Vec<u8>; 7] = [
    // Answered, and then half of the next one.
    || format!("{GET}{HALF}").into_bytes(),
    // Two lengths.
    || {
        let head = "POST / HTTP/1.1\r\nHost: hostile.example\r\nContent-Length: 4\r\n";
        format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /ws HTTP/1.1\r\n").into()
    },
    || {
        let head = "POST / HTTP/1.1\r\nHost: hostile.example\r\nContent-Length: 4\r\n";
        format!("{head}Content-Length: 40\r\n\r\nGET /ws HTTP/1.1\r\nHost: x\r\n\r\n").into()
    },
    // A chunk longer than any memory, and a body that is announced and does not come.
    || {
        let head = format!("POST /publish HTTP/1.1\r\nHost: x\r\n{JSON}");
        format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n[").into()
    },
    || {
        let head = format!("POST /publish HTTP/1.1\r\nHost: x\r\n{JSON}");
        format!("{head}Content-Length: 1000000\r\n\r\n{{\"topic\":").into()
    },
    // A target that names another host, and a head that is longer than any may be.
    || b"GET http://elsewhere.example/ws HTTP/1.1\r\nHost: hostile.example\r\n\r\n".to_vec(),
    || {
        let head = "GET / HTTP/1.1\r\nHost: hostile.example\r\nX-Long: ";
        format!("{head}{}", "x".repeat(100_000)).into()
    },
];

const HALVES: u64 = 10_000;
/// Half requests at a time. With the others they are fewer than `MAX_CONNECTIONS`.
const AT_A_TIME: usize = 2_500;
/// Clients for each of [`FORMS`].
const EACH: usize = 60;
/// Clients that ask for much and read nothing.
const DEAF: usize = 20;
/// What each of those asks for: more than fits into the buffers of its socket.
const PIPELINED: usize = 5_000;
/// Clients of a flood, and how many requests each of them writes at once.
const FLOODERS: usize = 20;
const PER_READ: usize = 200;
/// Fewer than any listen queue is long.
const BACKLOG: usize = 50;
const ROUND: Duration = Duration::from_secs(2);

const _: () = assert!(AT_A_TIME + FORMS.len() * EACH + DEAF < super::MAX_CONNECTIONS);

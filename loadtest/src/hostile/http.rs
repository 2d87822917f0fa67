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
pub(super) fn http(attack: &mut Attack) -> Result<()> {
    let (mut halves, mut others, mut answered) = (0, 0, 0);
    while halves < HALVES || attack.goes_on() {
        let half = enter(attack, AT_A_TIME, |_| HALF.as_bytes().to_vec())?;
        let other = enter(attack, FORMS.len() * EACH, |number| FORMS[number % FORMS.len()]())?;
        let deaf = enter(attack, DEAF, |_| GET.repeat(PIPELINED).into_bytes())?;
        deaf.clone().for_each(|number| attack.crowd.set_reads(number, false));
        halves += half.len() as u64;
        others += (other.len() + deaf.len()) as u64;
        let done = |seen: &Seen| u64::from(seen.is_over || seen.responses > 0);
        let all = other.clone();
        attack.wait(ROUND, |crowd| crowd.sum(all.clone(), done) == all.len() as u64)?;
        answered += attack.crowd.sum(other.clone(), done);
        attack.crowd.dismiss_all(half.start..deaf.end);
        if attack.is_overdue() {
            break;
        }
    }
    attack.did("half requests", halves, HALVES);
    attack.did("other requests", others, 1_000);
    attack.did("answers and ends", answered, 100);
    Ok(())
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
/// Fewer than any listen queue is long.
const BACKLOG: usize = 50;
const ROUND: Duration = Duration::from_secs(2);

const _: () = assert!(AT_A_TIME + FORMS.len() * EACH + DEAF < super::MAX_CONNECTIONS);

//! One attack under way: its crowd, its end, and the account of what it did.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::Kind;
use super::crowd::Crowd;
use super::member::Seen;
use crate::engine::Access;
use crate::error::Result;
use crate::procfs::own_thread_ns;

pub struct Attack {
    pub crowd: Crowd,
    /// How long rounds may begin, from the first on: what comes before takes as long as it takes.
    duration: Duration,
    until: Option<Instant>,
    /// When nothing is waited for any more.
    limit: Instant,
    outcome: Outcome,
}

/// What an attack did and found.
#[derive(Debug, Default)]
pub struct Outcome {
    pub deeds: Vec<Deed>,
    /// What the router did to the wrong one, and what stopped the attack.
    pub faults: Vec<String>,
    /// CPU time of the hostile clients themselves, nanoseconds.
    pub cpu_ns: u64,
}

/// Something that an attack has to do to be one.
#[derive(Debug)]
pub struct Deed {
    pub name: &'static str,
    pub count: u64,
    pub at_least: u64,
}

impl Attack {
    /// Runs `kind` for about `duration`, and longer where setting up or ending takes longer.
    pub fn run(kind: Kind, access: Access, duration: Duration) -> Outcome {
        let crowd = match Crowd::new(access) {
            Ok(crowd) => crowd,
            Err(error) => return Outcome { faults: vec![error.to_string()], ..Outcome::default() },
        };
        let limit = Instant::now() + duration + PATIENCE;
        let outcome = Outcome::default();
        let mut attack = Self { crowd, duration, until: None, limit, outcome };
        if let Err(error) = kind.run(&mut attack) {
            attack.blame(format!("the hostile clients could not go on: {error}"));
        }
        attack.outcome.cpu_ns = own_thread_ns();
        attack.outcome
    }

    /// Whether there is time for another round.
    pub fn goes_on(&mut self) -> bool {
        Instant::now() < self.until()
    }

    /// When no new round may begin.
    pub fn until(&mut self) -> Instant {
        *self.until.get_or_insert_with(|| Instant::now() + self.duration)
    }

    /// Whether it has lasted too long.
    pub fn is_overdue(&self) -> bool {
        Instant::now() >= self.limit
    }

    /// Accounts for what was done; below `at_least` the attack was none.
    pub fn did(&mut self, name: &'static str, count: u64, at_least: u64) {
        self.outcome.deeds.push(Deed { name, count, at_least });
    }

    /// The router has treated someone wrongly. Only the first few different faults are kept.
    pub fn blame(&mut self, fault: String) {
        let faults = &self.outcome.faults;
        if faults.len() < MAX_FAULTS && !faults.contains(&fault) {
            self.outcome.faults.push(fault);
        }
    }

    /// Lets traffic flow until a client has `answers`, or is over, or the attack has lasted too
    /// long: what it saw.
    pub fn await_answers(&mut self, number: usize, answers: u64) -> Result<Seen> {
        self.crowd.run(self.limit, |crowd| {
            let seen = crowd.seen(number);
            seen.is_over || seen.answers() >= answers
        })?;
        Ok(self.crowd.seen(number))
    }

    /// One round: lets traffic flow until all of `numbers` have `answers` or are over. After
    /// two seconds one answer or end among them is enough. Returns their answers and ends.
    pub fn round(&mut self, numbers: Range<usize>, answers: u64) -> Result<u64> {
        let enough = Instant::now() + ROUND;
        let done = |seen: &Seen| u64::from(seen.is_over || seen.answers() >= answers);
        let found = |seen: &Seen| u64::from(seen.is_over) + seen.answers();
        let all = numbers.clone();
        self.crowd.run(self.limit, |crowd| {
            crowd.sum(all.clone(), done) == all.len() as u64
                || Instant::now() > enough && crowd.sum(all.clone(), found) > 0
        })?;
        Ok(self.crowd.sum(numbers, found))
    }

    /// Lets traffic flow until `done`, for `patience` at most, or until the attack has lasted too
    /// long.
    pub fn wait(&mut self, patience: Duration, done: impl FnMut(&Crowd) -> bool) -> Result<()> {
        let until = self.limit.min(Instant::now() + patience);
        self.crowd.run(until, done)
    }

    /// Lets traffic flow until the end of the attack.
    pub fn hold(&mut self) -> Result<()> {
        let until = self.until();
        self.crowd.run(until, |_| false)
    }
}

impl Outcome {
    /// Takes in what the next round of the same attack did; as much is expected of each.
    pub fn add(&mut self, round: Self) {
        for deed in round.deeds {
            match self.deeds.iter_mut().find(|one| one.name == deed.name) {
                Some(sum) => {
                    sum.count += deed.count;
                    sum.at_least += deed.at_least;
                }
                None => self.deeds.push(deed),
            }
        }
        let novel = round.faults.into_iter().filter(|fault| !self.faults.contains(fault));
        let novel: Vec<_> = novel.collect();
        self.faults.extend(novel);
        self.cpu_ns += round.cpu_ns;
    }

    /// What was not done, in words.
    pub fn shortcomings(&self) -> impl Iterator<Item = String> {
        self.deeds.iter().filter(|deed| deed.count < deed.at_least).map(|deed| {
            let Deed { name, count, at_least } = deed;
            format!("the attack is not one: {name} {count}, at least {at_least} expected")
        })
    }
}

/// How long setting up and ending may take beside the attack's own time.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUND: Duration = Duration::from_secs(2);
const MAX_FAULTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_that_did_nothing_is_none() {
        let deed = |count, at_least| Deed { name: "pongs", count, at_least };
        let outcome = Outcome { deeds: vec![deed(0, 1), deed(5, 5)], ..Outcome::default() };
        let found: Vec<_> = outcome.shortcomings().collect();
        assert_eq!(found, ["the attack is not one: pongs 0, at least 1 expected"]);
    }

    #[test]
    fn each_round_has_to_do_as_much() {
        let round = |pongs, fault: &str| Outcome {
            deeds: vec![Deed { name: "pongs", count: pongs, at_least: 5 }],
            faults: vec![fault.to_owned()],
            cpu_ns: 7,
        };
        let mut all = Outcome::default();
        all.add(round(8, "the callee was ended"));
        assert_eq!(all.shortcomings().count(), 0);
        all.add(round(1, "the callee was ended"));
        all.add(round(2, "the subscriber was ended"));
        let found: Vec<_> = all.shortcomings().collect();
        assert_eq!(found, ["the attack is not one: pongs 11, at least 15 expected"]);
        assert_eq!((all.faults.len(), all.cpu_ns), (2, 21));
    }
}

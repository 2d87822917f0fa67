//! Hostile clients: connections that write what they are told, count what comes, and react in a few
//! fixed ways. One thread owns a crowd; it is not the one that measures the victims.
//!
//! Nothing here is verified: a hostile client cares only whether it was answered, refused or ended.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::member::{Manner, Member, Seen};
use crate::engine::Access;
use crate::engine::link::{Link, Phase, ReadOutcome};
use crate::error::{Context, Error, Result};
use crate::wire::Serializer;
use crate::wire::floor::Introduction;

/// The connections of one attack, by the number that [`Crowd::enter`] gave each.
pub struct Crowd {
    access: Access,
    /// `None` once dismissed.
    members: Vec<Option<Member>>,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    /// Members whose socket may have more to read.
    readable: VecDeque<usize>,
    /// Members with bytes queued since the last turn.
    dirty: Vec<usize>,
}

impl Crowd {
    pub fn new(access: Access) -> Result<Self> {
        Ok(Self {
            access,
            members: Vec::new(),
            poll: Poll::new().context("making an event loop")?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            scratch: vec![0; SCRATCH_BYTES],
            readable: VecDeque::new(),
            dirty: Vec::new(),
        })
    }

    /// Begins to connect a client; returns its number.
    pub fn enter(&mut self, serializer: Serializer, manner: Manner) -> Result<usize> {
        let number = self.members.len();
        let registry = self.poll.registry();
        let to = (&self.access.target, &self.access);
        let mut link = Link::connect(number, to, serializer, Introduction::Join, 0, registry)?;
        let mut held_back = Vec::new();
        match manner {
            Manner::Halfway => held_back = link.hold_back(),
            Manner::Browser => link.stay_silent(),
            _ => {}
        }
        let seen = Seen::default();
        self.members.push(Some(Member { link, manner, seen, reads: true, held_back }));
        Ok(number)
    }

    /// Lets `count` clients enter and waits until each is ready for traffic, or over.
    pub fn join(
        &mut self,
        count: usize,
        serializer: Serializer,
        manner: Manner,
    ) -> Result<Range<usize>> {
        let first = self.members.len();
        let until = Instant::now() + JOIN_PATIENCE;
        while self.members.len() < first + count {
            for _ in 0..JOINS_AT_A_TIME.min(first + count - self.members.len()) {
                self.enter(serializer, manner)?;
            }
            let entered = first..self.members.len();
            self.run(until, |crowd| entered.clone().all(|number| crowd.is_settled(number)))?;
        }
        let joined = first..self.members.len();
        if joined.clone().any(|number| self.is_ready(number)) {
            return Ok(joined);
        }
        Err(Error::NobodyJoined(count, self.seen(first).last_error))
    }

    /// One client that has joined.
    pub fn join_one(&mut self, serializer: Serializer, manner: Manner) -> Result<usize> {
        Ok(self.join(1, serializer, manner)?.start)
    }

    /// What a client saw; of a dismissed one only that it is over.
    pub fn seen(&self, number: usize) -> Seen {
        let over = || Seen { is_over: true, ..Seen::default() };
        self.members[number].as_ref().map_or_else(over, |member| member.seen.clone())
    }

    /// Adds up `of` over some clients.
    pub fn sum(&self, numbers: Range<usize>, of: impl Fn(&Seen) -> u64) -> u64 {
        self.members[numbers].iter().flatten().map(|member| of(&member.seen)).sum()
    }

    /// How many of these clients are over.
    pub fn over(&self, numbers: Range<usize>) -> u64 {
        self.sum(numbers, |seen| u64::from(seen.is_over))
    }

    pub fn is_over(&self, number: usize) -> bool {
        self.members[number].as_ref().is_none_or(|member| member.seen.is_over)
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self, number: usize) -> usize {
        self.members[number].as_ref().map_or(0, |member| member.link.queued_bytes())
    }

    /// The next request id of a client.
    pub fn take_request(&mut self, number: usize) -> u64 {
        self.members[number].as_mut().map_or(1, |member| member.link.take_request())
    }

    /// Queues one message in a frame.
    pub fn queue(&mut self, number: usize, message: &[u8]) {
        self.with_link(number, |link| link.send_bytes(message));
    }

    /// Queues requests until `bytes` wait, to go out in one write; returns how many. `write` makes
    /// the request with an id.
    pub fn fill(
        &mut self,
        number: usize,
        bytes: usize,
        mut write: impl FnMut(u64) -> String,
    ) -> u64 {
        let mut count = 0;
        self.with_link(number, |link| {
            while link.queued_bytes() < bytes {
                let request = link.take_request();
                link.send_bytes(write(request).as_bytes());
                count += 1;
            }
        });
        count
    }

    /// Queues what `write` puts into the connection, if that still is one.
    pub fn with_link(&mut self, number: usize, write: impl FnOnce(&mut Link)) {
        if let Some(member) = &mut self.members[number]
            && !member.seen.is_over
        {
            write(&mut member.link);
            self.dirty.push(number);
        }
    }

    /// Sends the rest of the handshake that a [`Manner::Halfway`] client kept.
    pub fn complete(&mut self, number: usize) {
        if let Some(member) = &mut self.members[number] {
            member.manner = Manner::Silent;
            let rest = std::mem::take(&mut member.held_back);
            self.with_link(number, |link| link.send_unframed(&rest));
        }
    }

    /// Lets a client stop reading, or go on.
    pub fn set_reads(&mut self, number: usize, reads: bool) {
        if let Some(member) = &mut self.members[number] {
            member.reads = reads;
            self.readable.push_back(number);
        }
    }

    /// Closes a connection without a word.
    pub fn dismiss(&mut self, number: usize) {
        self.members[number] = None;
    }

    pub fn dismiss_all(&mut self, numbers: Range<usize>) {
        numbers.for_each(|number| self.dismiss(number));
    }

    /// Lets all connections go on until `until`, or until `done` says so after a turn.
    pub fn run(&mut self, until: Instant, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        loop {
            self.turn(until)?;
            if done(self) || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    fn turn(&mut self, until: Instant) -> Result<()> {
        for number in std::mem::take(&mut self.dirty) {
            self.flush(number);
        }
        let rest = until.saturating_duration_since(Instant::now()).min(LONGEST_WAIT);
        let wait = if self.readable.is_empty() { rest } else { Duration::ZERO };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(wait));
        for event in &events {
            let number = event.token().0;
            if event.is_writable() {
                self.flush(number);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.readable.push_back(number);
            }
        }
        self.events = events;
        match polled {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(Error::Io("waiting for events", error));
            }
            _ => {}
        }
        for _ in 0..self.readable.len() {
            let Some(number) = self.readable.pop_front() else { break };
            if self.read(number) {
                self.readable.push_back(number);
            }
        }
        Ok(())
    }

    fn is_ready(&self, number: usize) -> bool {
        self.members[number].as_ref().is_some_and(Member::is_ready)
    }

    fn is_settled(&self, number: usize) -> bool {
        self.is_over(number) || self.is_ready(number)
    }

    fn flush(&mut self, number: usize) {
        let Some(member) = &mut self.members[number] else { return };
        if member.link.phase == Phase::Opening {
            if member.link.take_error().is_some() {
                member.end();
                return;
            }
            member.link.set_nodelay();
        }
        if !member.seen.is_over && member.link.flush().is_err() {
            // What the router said before it closed may still be read.
            self.readable.push_back(number);
        }
    }

    /// One read, and what it brought; whether to read again.
    fn read(&mut self, number: usize) -> bool {
        let Some(member) = &mut self.members[number] else { return false };
        if member.seen.is_over || !member.reads {
            return false;
        }
        match member.link.read(&mut self.scratch) {
            ReadOutcome::Empty => false,
            ReadOutcome::Closed => {
                member.end();
                false
            }
            ReadOutcome::Bytes { filled, .. } => {
                match member.walk(&self.scratch[..filled], &self.access.realm) {
                    Some(used) => member.link.keep(&self.scratch[used..filled]),
                    None => member.end(),
                }
                self.dirty.push(number);
                !member.seen.is_over
            }
        }
    }
}

const EVENTS_PER_TURN: usize = 1024;
const SCRATCH_BYTES: usize = 256 << 10;
/// Fewer than any listen queue is long.
const JOINS_AT_A_TIME: usize = 100;
const JOIN_PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_millis(20);

//! The generator: one thread, one mio loop, its part of the connections. It opens them, reads
//! frames by header and hands messages to the roles, and sends what the plan's pace or the windows
//! allow. `exchange` is what several such threads say to each other.

pub mod exchange;
pub mod link;
pub mod open;
mod stream;
pub mod timer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::error::{Context, Error, Result};
use crate::login::Login;
use crate::measure::SECOND_NS;
use crate::measure::board::{Arriving, Board};
use crate::measure::pace::Schedule;
use crate::role::Role;
use crate::tls::Trust;
use crate::url::{Target, Transport};
use crate::wire::Serializer;
use crate::wire::deflate::Inflater;
use crate::wire::floor;
use crate::wire::frame::{self, Kind};
use crate::wire::message;
use crate::wire::reader::{self, Head, printable};
use exchange::Exchange;
use link::{Fragments, Link, Phase, ReadOutcome};
use timer::Timer;

/// Where the clients go, and as whom.
pub struct Access {
    pub target: Target,
    /// Where subscribers and callees go instead, in turn: other nodes of the same router.
    pub receivers: Vec<Target>,
    /// Addresses from which the clients connect in turn; the system chooses if there is none.
    pub sources: Vec<IpAddr>,
    pub realm: String,
    /// Of a target with TLS.
    pub trust: Option<Trust>,
    /// Who all clients are; anonymous if absent.
    pub login: Option<Login>,
    /// Whether they compress messages, for WebSockets.
    pub deflate: bool,
    /// Whether they announce calls and results in parts.
    pub progressive: bool,
}

impl Access {
    /// Where the client with this number goes.
    pub fn target_of(&self, role: &Role, number: usize) -> &Target {
        let place = number.checked_rem(self.receivers.len()).filter(|_| role.is_receiver());
        place.map_or(&self.target, |place| &self.receivers[place])
    }

    /// From where the client with this number connects.
    pub fn source(&self, number: usize) -> Option<IpAddr> {
        self.sources.get(number.checked_rem(self.sources.len())?).copied()
    }
}

pub struct Engine {
    pub board: Board,
    pub links: Vec<Link>,
    pub roles: Vec<Role>,
    /// Open loop: the plan for publications and for calls.
    publications: Option<Schedule>,
    calls: Option<Schedule>,
    access: Access,
    serializers: Vec<Serializer>,
    /// Where the publishers and callers of this thread are in `links`.
    publishers: Vec<usize>,
    callers: Vec<usize>,
    dirty: Vec<usize>,
    scratch: Vec<u8>,
    inflater: Inflater,
    poll: Poll,
    timer: Timer,
    /// Where there are other threads.
    exchange: Option<Arc<Exchange>>,
    /// Asks for readiness again and again instead of sleeping until there is some.
    spins: bool,
    /// Time spent asking in vain, which is rest.
    idle_ns: u64,
    /// Set once the connections are meant to last.
    running: bool,
}

impl Engine {
    /// `clients` are opened later, in their order.
    pub fn new(access: Access, clients: Vec<(Role, Serializer)>, board: Board) -> Result<Self> {
        let poll = Poll::new().context("making an event loop")?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let (roles, serializers): (Vec<Role>, Vec<Serializer>) = clients.into_iter().unzip();
        let find = |wanted: fn(&Role) -> bool| -> Vec<usize> {
            (0..roles.len()).filter(|index| wanted(&roles[*index])).collect()
        };
        Ok(Self {
            publishers: find(|role| matches!(role, Role::Publisher(_))),
            callers: find(|role| matches!(role, Role::Caller(_))),
            board,
            links: Vec::with_capacity(roles.len()),
            roles,
            publications: None,
            calls: None,
            access,
            serializers,
            dirty: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            inflater: Inflater::default(),
            poll,
            timer,
            exchange: None,
            spins: false,
            idle_ns: 0,
            running: false,
        })
    }

    /// What wakes this thread from another.
    pub fn make_waker(&self) -> Result<Waker> {
        Waker::new(self.poll.registry(), WAKER).context("making a waker")
    }

    /// From now on windows are open when all threads say so.
    pub fn join_exchange(&mut self, exchange: Arc<Exchange>) {
        self.exchange = Some(exchange);
    }

    /// From now on the generator never sleeps.
    pub const fn spin(&mut self) {
        self.spins = true;
    }

    /// CPU time so far that a spinning generator had nothing to do with, nanoseconds.
    pub const fn idle_ns(&self) -> u64 {
        self.idle_ns
    }

    /// Compressed messages so far that were inflated, and not the same as one before.
    pub const fn inflated(&self) -> u64 {
        self.inflater.inflated()
    }

    /// Open loop from `start_ns` on: messages per second; closed loop where absent.
    pub fn set_pace(&mut self, start_ns: u64, publish_rate: Option<f64>, call_rate: Option<f64>) {
        let part = self.board.part;
        let schedule = |rate: Option<f64>, own: usize, all: usize| {
            let rate = rate.filter(|_| own > 0)?;
            // The first of its messages is that of its first sender in the plan of all threads.
            let first_ns = start_ns + (part.thread as f64 * SECOND_NS as f64 / rate) as u64;
            Some(Schedule::new(first_ns, rate * own as f64 / all as f64, own))
        };
        self.publications = schedule(publish_rate, self.publishers.len(), part.publishers);
        self.calls = schedule(call_rate, self.callers.len(), part.callers);
    }

    /// Closed loop: fills every window and every caller's depth.
    pub fn prime(&mut self) {
        if self.publications.is_none() {
            let part = self.board.part;
            let own = (0..self.publishers.len()).map(|place| part.number_at(place));
            self.board.opened.extend(own);
        }
        for (role, link) in self.roles.iter_mut().zip(&mut self.links) {
            role.begin(link, &mut self.board);
            if link.has_unsent() {
                mark_dirty(link, &mut self.dirty);
            }
        }
        if self.calls.is_none() {
            for index in self.callers.clone() {
                if let Role::Caller(caller) = &mut self.roles[index] {
                    caller.fill(&mut self.links[index], &mut self.board);
                    mark_dirty(&mut self.links[index], &mut self.dirty);
                }
            }
        }
    }

    /// From now on a closed connection is a finding, not an error.
    pub const fn set_running(&mut self) {
        self.running = true;
    }

    /// Runs turns until `deadline_ns`, or until `done` says so after a turn.
    pub fn run_until(
        &mut self,
        deadline_ns: u64,
        mut done: impl FnMut(&Board) -> bool,
    ) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while self.board.now_ns() < deadline_ns && !done(&self.board) {
            self.turn(deadline_ns, &mut events)?;
        }
        Ok(())
    }

    fn turn(&mut self, deadline_ns: u64, events: &mut Events) -> Result<()> {
        let began_ns = self.board.now_ns();
        if let Some(exchange) = &self.exchange {
            exchange.take(self.board.part.thread, &mut self.board.opened);
        }
        let due_ns = self.send_due();
        self.fill_windows();
        let sends = !self.dirty.is_empty();
        self.flush_dirty();
        let now_ns = self.board.now_ns();
        let mut wait_ns = deadline_ns.saturating_sub(now_ns);
        if self.spins || due_ns <= now_ns {
            wait_ns = 0;
        } else if due_ns < deadline_ns {
            self.timer.arm(due_ns, now_ns)?;
        }
        match self.poll.poll(events, Some(Duration::from_nanos(wait_ns))) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome.context("waiting for events")?,
        }
        if self.spins && events.is_empty() {
            // A turn that moved nothing is rest from its beginning.
            self.idle_ns += self.board.now_ns() - if sends { now_ns } else { began_ns };
        }
        for event in events.iter() {
            if event.token() < WAKER {
                self.handle_event(event)?;
            }
        }
        self.tell_others();
        Ok(())
    }

    /// Sends what the pace says is due: when the next one will be, nanoseconds.
    fn send_due(&mut self) -> u64 {
        if !self.board.sending {
            return u64::MAX;
        }
        let now_ns = self.board.now_ns();
        let mut next_ns = u64::MAX;
        if let Some(mut schedule) = self.publications.take() {
            next_ns = next_ns.min(self.send_paced(&mut schedule, now_ns, true));
            self.publications = Some(schedule);
        }
        if let Some(mut schedule) = self.calls.take() {
            next_ns = next_ns.min(self.send_paced(&mut schedule, now_ns, false));
            self.calls = Some(schedule);
        }
        next_ns
    }

    fn send_paced(&mut self, schedule: &mut Schedule, now_ns: u64, publications: bool) -> u64 {
        let senders = if publications { &self.publishers } else { &self.callers };
        schedule.begin_turn();
        for _ in 0..SENDS_PER_TURN {
            let room = |sender: usize| self.links[senders[sender]].room();
            let Some((sender, due_ns)) = schedule.take(now_ns, room) else {
                return schedule.next_ns(now_ns + RETRY_NS);
            };
            let index = senders[sender];
            let link = &mut self.links[index];
            self.board.record_lag(due_ns, now_ns);
            match &mut self.roles[index] {
                Role::Publisher(publisher) => publisher.publish(link, &mut self.board, due_ns),
                Role::Caller(caller) => caller.call(link, &mut self.board, due_ns),
                _ => unreachable!("senders holds publishers and callers only"),
            }
            mark_dirty(link, &mut self.dirty);
        }
        now_ns
    }

    /// Sends what opened windows allow.
    fn fill_windows(&mut self) {
        if self.publications.is_some() || !self.board.sending {
            self.board.opened.clear();
            return;
        }
        while let Some(number) = self.board.opened.pop() {
            let index = self.publishers[self.board.part.place_of(number)];
            let link = &mut self.links[index];
            let Role::Publisher(publisher) = &mut self.roles[index] else {
                continue;
            };
            while self.board.windows[number as usize].has_room() && link.phase == Phase::Joined {
                let now_ns = self.board.now_ns();
                publisher.publish(link, &mut self.board, now_ns);
            }
            mark_dirty(link, &mut self.dirty);
        }
    }

    /// Tells other threads which of their windows may have room.
    fn tell_others(&mut self) {
        let Some(exchange) = self.exchange.as_ref().filter(|_| !self.board.abroad.is_empty())
        else {
            return;
        };
        let part = self.board.part;
        for thread in (0..part.threads).filter(|thread| *thread != part.thread) {
            let numbers = self.board.abroad.iter().copied();
            exchange.tell(thread, numbers.filter(|number| part.thread_of(*number) == thread));
        }
        self.board.abroad.clear();
    }

    fn flush_dirty(&mut self) {
        while let Some(index) = self.dirty.pop() {
            self.links[index].dirty = false;
            if self.links[index].phase != Phase::Closed && self.links[index].flush().is_err() {
                self.note_closed(index);
            }
        }
    }

    fn handle_event(&mut self, event: &Event) -> Result<()> {
        let index = event.token().0;
        let link = &mut self.links[index];
        if link.phase == Phase::Closed {
            return Ok(());
        }
        if event.is_writable() && link.has_unsent() {
            if link.phase == Phase::Opening {
                if let Some(error) = link.take_error() {
                    return Err(Error::Io("connecting", error));
                }
                link.set_nodelay();
            }
            if link.flush().is_err() {
                return self.handle_closed(index);
            }
        }
        // An end that comes with the last bytes is not reported again.
        let is_end = event.is_read_closed() || event.is_error();
        link.missed_edge |= is_end;
        if event.is_readable() || is_end {
            self.read(index)?;
        }
        Ok(())
    }

    /// Reads all that `index` has. A stalled link is left alone.
    pub fn read(&mut self, index: usize) -> Result<()> {
        loop {
            let link = &mut self.links[index];
            if link.stalled || link.phase == Phase::Closed {
                link.missed_edge |= link.stalled;
                return Ok(());
            }
            let (filled, more) = match link.read(&mut self.scratch) {
                ReadOutcome::Bytes { filled, more } => (filled, more),
                ReadOutcome::Empty => {
                    link.missed_edge = false;
                    return Ok(());
                }
                ReadOutcome::Closed => return self.handle_closed(index),
            };
            let used = self.walk(index, filled)?;
            self.links[index].keep(&self.scratch[used..filled]);
            if self.links[index].has_unsent() && self.links[index].flush().is_err() {
                return self.handle_closed(index);
            }
            if !more && !self.links[index].missed_edge {
                return Ok(());
            }
        }
    }

    /// Handles all whole frames in the first `filled` bytes of the scratch buffer: where they end.
    fn walk(&mut self, index: usize, filled: usize) -> Result<usize> {
        let Self { links, roles, board, scratch, access, inflater, .. } = self;
        let (link, role) = (&mut links[index], &mut roles[index]);
        let buffer = &scratch[..filled];
        let now_ns = board.now_ns();
        let mut at = 0;
        if link.phase == Phase::Opening {
            match link.finish_handshake(buffer)? {
                Some(used) => at = used,
                None => return Ok(0),
            }
            link.phase = Phase::Joining;
            if link.transport.speaks_wamp() {
                link.say_hello(access);
            } else if matches!(role, Role::Idle) {
                link.send_bytes(&floor::hello());
            } else if link.transport != Transport::Bun {
                join(link, role, board, now_ns);
            }
        }
        loop {
            let frame = frame::parse(link.transport, buffer, at)
                .map_err(|reason| Error::Frame { client: index, reason })?;
            let Some(frame) = frame else { return Ok(at) };
            let payload = &buffer[frame.start..frame.end];
            match frame.kind {
                Kind::Whole => {
                    let (message_bytes, wire_bytes) = (payload.len(), frame.next - at);
                    board.arriving = Arriving { message_bytes, wire_bytes };
                    let message = link.inflate(frame.compressed, payload, inflater)?;
                    receive(link, role, board, access, message, now_ns)?;
                }
                Kind::Begin | Kind::Middle => link.add_fragment(&frame, buffer, at),
                Kind::Last => {
                    link.add_fragment(&frame, buffer, at);
                    let Fragments { bytes, compressed, wire_bytes } = link.take_fragments();
                    board.arriving = Arriving { message_bytes: bytes.len(), wire_bytes };
                    let message = link.inflate(compressed, &bytes, inflater)?;
                    receive(link, role, board, access, message, now_ns)?;
                }
                Kind::Ping => link.send_pong(payload),
                Kind::Pong | Kind::Close | Kind::Notice => {}
                Kind::Subscribed => {
                    let head = Head { code: message::SUBSCRIBED, ids: [0, 0] };
                    role.handle(link, board, head, payload, now_ns);
                }
                Kind::Failure => board.note_error(printable(payload)),
            }
            board.counts.received_bytes += (frame.next - at) as u64;
            at = frame.next;
        }
    }

    fn handle_closed(&mut self, index: usize) -> Result<()> {
        if !self.running {
            return Err(Error::ClosedEarly { client: index });
        }
        self.note_closed(index);
        Ok(())
    }

    fn note_closed(&mut self, index: usize) {
        let link = &mut self.links[index];
        match &self.roles[index] {
            _ if matches!(link.phase, Phase::Leaving | Phase::Left) => {}
            Role::Subscriber(subscriber) if subscriber.may_lose() => {
                self.board.counts.evicted += 1;
            }
            _ => self.board.tally.disconnected += 1,
        }
        link.close();
    }
}

/// One whole message.
fn receive(
    link: &mut Link,
    role: &mut Role,
    board: &mut Board,
    access: &Access,
    message: &[u8],
    now_ns: u64,
) -> Result<()> {
    if !link.transport.speaks_wamp() {
        if link.phase == Phase::Joining {
            join(link, role, board, now_ns);
        } else {
            let head = Head { code: role.receives(), ids: [0, 0] };
            role.handle(link, board, head, message, now_ns);
        }
        return Ok(());
    }
    let Some(head) = reader::head(link.serializer, message) else {
        return Err(Error::Frame { client: link.index, reason: "this is no WAMP message" });
    };
    match (head.code, link.phase) {
        (message::WELCOME, Phase::Joining) => join(link, role, board, now_ns),
        (message::CHALLENGE, Phase::Joining) if let Some(login) = &access.login => {
            link.authenticate(login, message)?;
        }
        (message::ABORT | message::CHALLENGE, Phase::Joining) => {
            return Err(Error::Refused { client: link.index, message: printable(message) });
        }
        (message::GOODBYE, Phase::Leaving) => {
            board.counts.left += 1;
            link.phase = Phase::Left;
        }
        (message::ABORT | message::GOODBYE, _) => match role {
            Role::Subscriber(subscriber) if subscriber.may_lose() => dismissed(link, board),
            _ => board.note_error(printable(message)),
        },
        _ => role.handle(link, board, head, message, now_ns),
    }
    Ok(())
}

/// The router has had enough of a stalled subscriber, and says so before it closes.
const fn dismissed(link: &mut Link, board: &mut Board) {
    if !matches!(link.phase, Phase::Left) {
        link.phase = Phase::Left;
        board.counts.evicted += 1;
    }
}

fn join(link: &mut Link, role: &mut Role, board: &mut Board, now_ns: u64) {
    link.phase = Phase::Joined;
    board.counts.joined += 1;
    board.joins.record(now_ns.saturating_sub(link.started_ns));
    role.joined(link, board);
}

fn mark_dirty(link: &mut Link, dirty: &mut Vec<usize>) {
    if !link.dirty {
        link.dirty = true;
        dirty.push(link.index);
    }
}

const TIMER: Token = Token(usize::MAX - 1);
/// Below it are the connections.
const WAKER: Token = Token(usize::MAX - 2);
const SCRATCH_BYTES: usize = 256 << 10;
const EVENTS_PER_TURN: usize = 1024;
const SENDS_PER_TURN: usize = 1024;
const RETRY_NS: u64 = 1_000_000;

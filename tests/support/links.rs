//! What stands between the shards of a simulated router and the world: pipes for sockets, queues
//! for the channels between shards, and a store.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Error, ErrorKind, Result};
use std::result;

use stentor::authentication::{Judgement, Referred, Secret};
use stentor::clock::Millis;
use stentor::router::{
    Batch, Deposit, Destination, Destinations, Receipt, SessionRef, ShardId, Slot, Weighed,
};
use stentor::shard::{Errand, HandOver, Mail, RequestCheck, Ruled, Waiter, Wire};
use stentor::wamp::Timestamp;

use super::Store;
use super::gateway::Gateway;
use super::manager;

/// One client's socket, seen from the router.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) shard: usize,
    pub(crate) slot: Slot,
    /// Bytes that the client sent and the router has not read.
    pub(crate) inbound: Vec<u8>,
    /// How many bytes the router has written.
    pub(crate) written: usize,
    /// Bytes that the router wrote and the client has not read.
    pub(crate) unread: Vec<u8>,
    /// Bytes that may lie unread before the socket is full.
    pub(crate) capacity: usize,
    /// A pipe that takes all and keeps what the socket refuses, as TLS does: what it keeps.
    pub(crate) kept: Option<Vec<u8>>,
    /// The router met a full socket and waits for it to become writable.
    pub(crate) blocked: bool,
    /// The router has shut down its sending side: the client sees the end behind `unread`.
    pub(crate) ended: bool,
    /// The router has closed the socket.
    pub(crate) closed: bool,
    /// It did so before all was written.
    pub(crate) cut: bool,
    /// The client is gone: behind `inbound` is the end, and nobody reads.
    pub(crate) lost: bool,
    /// Reading and writing fail.
    pub(crate) broken: bool,
    /// The router has given the socket away, with these bytes that it had read.
    pub(crate) handed: Option<Vec<u8>>,
    /// The last write was not taken whole, and whether that ever was so.
    pub(crate) refused: bool,
    pub(crate) has_refused: bool,
    /// When bytes of the client last arrived, or lay unread.
    pub(crate) heard_at: Millis,
    /// It is among those of whom somebody was ended as slow, and as silent.
    pub(crate) ended_as: Ended,
}

/// For which faults of its peer the router may have ended a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) slow: bool,
    pub(crate) silent: bool,
}

impl Pipe {
    pub(crate) fn new(shard: usize, slot: Slot, capacity: usize, now: Millis) -> Self {
        Self {
            shard,
            slot,
            inbound: Vec::new(),
            written: 0,
            unread: Vec::new(),
            capacity,
            kept: None,
            blocked: false,
            ended: false,
            closed: false,
            cut: false,
            lost: false,
            broken: false,
            handed: None,
            refused: false,
            has_refused: false,
            heard_at: now,
            ended_as: Ended::default(),
        }
    }
}

/// Bytes that are offered to a socket at once, at most.
const MOST_WRITTEN: usize = 64 * 1024;

impl Pipe {
    fn write_keeping(&mut self, bytes: &[u8]) -> Result<usize> {
        let kept = self.kept.get_or_insert_default();
        let is_first = kept.is_empty();
        if is_first {
            kept.extend_from_slice(bytes);
        }
        let room = self.capacity.saturating_sub(self.unread.len());
        let sent = kept.len().min(room);
        self.unread.extend(kept.drain(..sent));
        self.blocked = !kept.is_empty();
        self.refused = self.blocked;
        self.has_refused |= self.blocked;
        match (is_first, self.blocked) {
            (true, _) => Ok(bytes.len()),
            (false, true) if sent == 0 => Err(ErrorKind::WouldBlock.into()),
            (false, true) => Ok(0),
            (false, false) => self.write_keeping(bytes),
        }
    }
}

/// Answers that wait to be judged.
#[derive(Default)]
pub(crate) struct Verifier {
    pub(crate) queue: VecDeque<(Waiter, Errand)>,
    /// It judges nothing unless told to.
    pub(crate) is_held: bool,
    /// It takes so many; `None`: all.
    pub(crate) room: Option<usize>,
    /// What endpoints say.
    pub(crate) endpoint: EndpointDouble,
}

/// What stands in for endpoints: it says the same to everybody.
#[derive(Default)]
pub(crate) struct EndpointDouble {
    pub(crate) says: Says,
    /// What it was last asked.
    pub(crate) asked: Option<serde_json::Value>,
}

#[derive(Clone, Default)]
pub(crate) enum Says {
    #[default]
    Nothing,
    /// The body of a response that says yes.
    Body(String),
    No,
    /// The ERROR of a procedure, with its first argument.
    Error(String, String),
}

impl EndpointDouble {
    fn note(&mut self, body: &Secret) {
        self.asked = serde_json::from_slice(body.bytes()).ok();
    }

    fn judge(&mut self, referred: &Referred) -> Judgement {
        self.note(&referred.question.to_json());
        match &self.says {
            Says::Nothing => Judgement::failed("it says nothing"),
            Says::No => referred.read(401, b""),
            Says::Error(uri, text) => Judgement::of_error(uri, &[text.as_str().into()]),
            Says::Body(body) => referred.read(200, body.as_bytes()),
        }
    }

    fn rule(&mut self, check: &RequestCheck) -> Ruled {
        self.note(&check.to_json());
        match &self.says {
            Says::Nothing => Err("it says nothing".into()),
            Says::No => check.read(403, b""),
            Says::Error(..) => check.read(500, b""),
            Says::Body(body) => check.read(200, body.as_bytes()),
        }
    }
}

impl Verifier {
    /// What comes of an errand, as mail to the shard of who has sent it.
    pub(crate) fn judge(&mut self, asker: SessionRef, errand: &Errand, now: Timestamp) -> Mail {
        let judgement = match errand {
            Errand::Proof(proof) => proof.run(now),
            Errand::Client(referred) => self.endpoint.judge(referred),
            Errand::Request(check) => {
                let ruled = Box::new(self.endpoint.rule(check));
                return Mail::Ruled { question: check.question, ruled };
            }
            Errand::Management(call) => return manager::answer(call),
        };
        Mail::Judged { applicant: asker, judgement: Box::new(judgement) }
    }
}

pub(crate) struct Links {
    /// The shard whose turn it is.
    pub(crate) shard: usize,
    pub(crate) pipes: Vec<Pipe>,
    /// What stands in for the disk.
    pub(crate) store: Store,
    /// What stands in for those who judge tickets.
    pub(crate) verifier: Verifier,
    /// What stands in for the way to other nodes.
    pub(crate) gateway: Gateway,
    /// So many connections may be handed over; `None`: any number.
    pub(crate) room_for_http: Option<usize>,
    /// How many were, and how many were not.
    pub(crate) handed: usize,
    pub(crate) not_handed: usize,
    /// Bytes that may wait at a shard or the store before those who feed it are not read.
    pub(crate) high_mark_bytes: usize,
    /// The largest weight of what one turn had for one shard.
    pub(crate) largest_batch_bytes: usize,
    /// How often somebody was not read for that.
    pub(crate) pauses: usize,
    /// Shards that waited for room and have not been told that there is some.
    pub(crate) resumed: Vec<bool>,
    /// Batches under way, by sender and receiver.
    mail: BTreeMap<(usize, usize), VecDeque<Batch<Mail>>>,
    by_slot: BTreeMap<(usize, Slot), usize>,
    /// Bytes that wait at each place.
    queued: BTreeMap<Destination, usize>,
    /// Shards that wait for room at a place.
    waiting: BTreeMap<Destination, Vec<usize>>,
}

impl Links {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shard: 0,
            pipes: Vec::new(),
            store: Store::default(),
            verifier: Verifier::default(),
            gateway: Gateway::default(),
            room_for_http: None,
            handed: 0,
            not_handed: 0,
            high_mark_bytes: usize::MAX,
            largest_batch_bytes: 0,
            pauses: 0,
            resumed: vec![false; shards],
            mail: BTreeMap::new(),
            by_slot: BTreeMap::new(),
            queued: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, pipe: Pipe) {
        let previous = self.by_slot.insert((pipe.shard, pipe.slot), self.pipes.len());
        assert!(previous.is_none(), "a slot is free when it is given out");
        self.pipes.push(pipe);
    }

    pub(crate) fn mail_routes(&self) -> Vec<(usize, usize)> {
        self.mail.iter().filter(|(_, queue)| !queue.is_empty()).map(|(route, _)| *route).collect()
    }

    pub(crate) fn take_mail(&mut self, route: (usize, usize)) -> Batch<Mail> {
        let batch = self.mail.get_mut(&route).and_then(VecDeque::pop_front);
        batch.expect("the route has mail")
    }

    /// The store takes deposits. Gives the receipts of those that asked for one.
    pub(crate) fn serve_store(&mut self, count: usize) -> Vec<Receipt> {
        let served = self.store.queue.iter().take(count);
        let weight = served.map(Deposit::weight).sum();
        let receipts = self.store.serve(count);
        self.leave(Destination::Store, weight);
        receipts
    }

    pub(crate) fn check_empty(&self) {
        assert!(self.pipes.iter().all(|pipe| pipe.closed), "every socket is closed");
        assert!(self.by_slot.is_empty(), "every slot is free");
        assert!(self.queued.values().all(|bytes| *bytes == 0), "{:?} wait", self.queued);
    }

    /// So many bytes of mail wait at a shard, or are on their way there.
    pub(crate) fn note_queued(&mut self, shard: usize, weight: usize) {
        let shard = ShardId(u8::try_from(shard).expect("few shards"));
        *self.queued.entry(shard.into()).or_default() += weight;
    }

    /// Bytes of mail that wait at a shard or are on their way there.
    pub(crate) fn queued_bytes(&self, shard: usize) -> usize {
        let shard = ShardId(u8::try_from(shard).expect("few shards"));
        self.queued.get(&shard.into()).copied().unwrap_or_default()
    }

    /// The open sockets of a shard that `wanted` picks out.
    pub(crate) fn open_pipes(&self, shard: usize, wanted: impl Fn(&Pipe) -> bool) -> Vec<usize> {
        let of_shard =
            self.by_slot.range((shard, Slot::new(0))..=(shard, Slot::MAX)).map(|(_, pipe)| *pipe);
        of_shard.filter(|pipe| wanted(&self.pipes[*pipe])).collect()
    }

    /// Time has passed: what lies unread cannot be held against its sender.
    pub(crate) fn note_unread(&mut self, now: Millis) {
        for pipe in self.by_slot.values() {
            let pipe = &mut self.pipes[*pipe];
            if !pipe.inbound.is_empty() {
                pipe.heard_at = now;
            }
        }
    }

    fn pipe(&mut self, slot: Slot) -> &mut Pipe {
        let pipe = self.by_slot[&(self.shard, slot)];
        &mut self.pipes[pipe]
    }

    fn leave(&mut self, place: impl Into<Destination>, weight: usize) {
        let place = place.into();
        let queued = self.queued.entry(place).or_default();
        *queued = queued.checked_sub(weight).expect("only what was queued is released");
        if *queued <= self.high_mark_bytes / 2 {
            for shard in self.waiting.remove(&place).unwrap_or_default() {
                self.resumed[shard] = true;
            }
        }
    }
}

impl Wire for Links {
    fn read(&mut self, slot: Slot, buffer: &mut [u8]) -> Result<usize> {
        let pipe = self.pipe(slot);
        assert_eq!(pipe.handed, None, "what was given away is not read");
        if pipe.broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if pipe.inbound.is_empty() && !pipe.lost {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = pipe.inbound.len().min(buffer.len());
        buffer[..length].copy_from_slice(&pipe.inbound[..length]);
        pipe.inbound.drain(..length);
        Ok(length)
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<usize> {
        let pipe = self.pipe(slot);
        assert!(!pipe.ended, "nothing is written behind the end");
        assert_eq!(pipe.handed, None, "what was given away is not written to");
        assert!(bytes.len() <= MOST_WRITTEN, "TLS would take a part, and seem to be full");
        if pipe.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if pipe.lost {
            pipe.kept.iter_mut().for_each(Vec::clear);
            return Ok(bytes.len());
        }
        if pipe.kept.is_some() {
            let written = pipe.write_keeping(bytes)?;
            pipe.written += written;
            return Ok(written);
        }
        let room = pipe.capacity.saturating_sub(pipe.unread.len());
        let taken = &bytes[..bytes.len().min(room)];
        pipe.unread.extend_from_slice(taken);
        pipe.written += taken.len();
        pipe.blocked = taken.len() < bytes.len();
        pipe.refused = pipe.blocked;
        pipe.has_refused |= pipe.blocked;
        if taken.is_empty() { Err(Error::from(ErrorKind::WouldBlock)) } else { Ok(taken.len()) }
    }

    fn kept(&self, slot: Slot) -> usize {
        let pipe = &self.pipes[self.by_slot[&(self.shard, slot)]];
        pipe.kept.as_ref().map_or(0, Vec::len)
    }

    fn hand_over(&mut self, slot: Slot, handover: HandOver) -> result::Result<(), HandOver> {
        let is_head = handover.input.windows(4).any(|window| window == b"\r\n\r\n");
        assert!(is_head, "a whole head is for others");
        if self.room_for_http == Some(0) {
            self.not_handed += 1;
            return Err(handover);
        }
        self.handed += 1;
        self.room_for_http.iter_mut().for_each(|room| *room -= 1);
        let HandOver { mut input, .. } = handover;
        let pipe = self.pipe(slot);
        assert_eq!((pipe.handed.take(), pipe.has_refused), (None, false));
        input.append(&mut pipe.inbound);
        pipe.handed = Some(input);
        Ok(())
    }

    fn shut_down_writing(&mut self, slot: Slot) {
        assert_eq!(self.kept(slot), 0, "the end comes behind what is kept");
        self.pipe(slot).ended = true;
    }

    fn close(&mut self, slot: Slot) {
        let pipe = self.by_slot.remove(&(self.shard, slot)).expect("the slot has a socket");
        let pipe = &mut self.pipes[pipe];
        pipe.closed = true;
        if pipe.handed.is_some() {
            // Whoever has it answers and closes it.
            pipe.ended = true;
            return;
        }
        pipe.cut = !std::mem::replace(&mut pipe.ended, true);
    }

    fn congested(&mut self, places: Destinations) -> Destinations {
        let mut congested = Destinations::default();
        for place in places.iter() {
            if self.queued.get(&place).is_some_and(|bytes| *bytes > self.high_mark_bytes) {
                congested.insert(place);
                self.waiting.entry(place).or_default().push(self.shard);
            }
        }
        self.pauses += usize::from(!congested.is_empty());
        congested
    }

    fn send(&mut self, to: ShardId, batch: Batch<Mail>) {
        if to == ShardId::CLUSTER {
            return self.gateway.accept(batch.items);
        }
        self.largest_batch_bytes = self.largest_batch_bytes.max(batch.weight);
        *self.queued.entry(to.into()).or_default() += batch.weight;
        let route = (self.shard, usize::from(to.0));
        self.mail.entry(route).or_default().push_back(batch);
    }

    fn store(&mut self, deposits: Batch<Deposit>) {
        *self.queued.entry(Destination::Store).or_default() += deposits.weight;
        self.store.queue.extend(deposits.items);
    }

    fn judge(&mut self, waiter: Waiter, errand: Errand) -> bool {
        let Verifier { queue, room, .. } = &mut self.verifier;
        let room = room.unwrap_or(usize::MAX);
        if queue.len() >= room {
            queue.retain(|(waiter, _)| !waiter.has_left());
        }
        let has_room = queue.len() < room;
        if has_room {
            queue.push_back((waiter, errand));
        }
        has_room
    }

    fn release(&mut self, weight: usize) {
        if weight > 0 {
            self.leave(ShardId(u8::try_from(self.shard).expect("few shards")), weight);
        }
    }
}

//! A node that serves: turns, as a shard has them.
//!
//! A turn takes in a bounded number of parcels and of messages, hands the shards what is theirs,
//! and then sends: so what is acknowledged was handed over. While a shard has too much waiting
//! nothing is acknowledged, and so the others send no more than their windows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use crossbeam_channel::Sender;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;

use super::super::event_loop::wall_clock;
use super::super::mesh::{Inbox, Parcel};
use super::showing::Showing;
use super::{ClusterError, LEAVE_MS, MOST_WRITES, Service, moment, now};
use crate::bus::{Bus, Happening, Told};
use crate::clock::Millis;
use crate::cluster::Node;
use crate::cluster::members::{Departure, Way};
use crate::cluster::wire::Incarnation;
use crate::router::{Batch, Deposit, Destination, ShardId};

type DepositSender = Sender<Batch<Deposit>>;

pub(super) struct Serving {
    bus: Bus,
    node: Node,
    inbox: Inbox,
    /// The way to the store, if there is one.
    store: Option<DepositSender>,
    /// Told when clients may come.
    ready: Option<Sender<()>>,
    alarm: Arc<Notify>,
    orders: UnboundedReceiver<Service>,
    started: Instant,
    /// The bucket is read from the start when it was out of reach for so long.
    away_ms: u64,
    /// Of what must be alike on all nodes.
    digest: u64,
    disconnected_at: Option<Millis>,
    leaving: Leaving,
    /// The members with which it is linked, by their names, as the log says it.
    linked: BTreeMap<Incarnation, String>,
    /// How often this node was removed, as the log says it, and whether it is a member since.
    removals: u64,
    is_member: bool,
    /// Clients are served, as the log says it.
    serves: bool,
    showing: Showing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// The last mail is acknowledged first, until then.
    Draining(Millis),
    /// Its key is to go, until then.
    Going(Millis),
    Over,
}

impl Serving {
    pub(super) fn new(
        (bus, node): (Bus, Node),
        showing: Showing,
        (inbox, store): (Inbox, Option<DepositSender>),
        ready: Sender<()>,
        alarm: Arc<Notify>,
        orders: UnboundedReceiver<Service>,
        started: Instant,
        (away_ms, digest): (u64, u64),
    ) -> Self {
        let (disconnected_at, leaving, linked) = (None, Leaving::No, BTreeMap::new());
        let ready = Some(ready);
        Self {
            bus,
            node,
            inbox,
            store,
            ready,
            alarm,
            orders,
            started,
            away_ms,
            digest,
            disconnected_at,
            leaving,
            linked,
            removals: 0,
            is_member: true,
            serves: true,
            showing,
        }
    }

    /// Turns until it has left.
    pub(super) async fn run(mut self) -> Result<(), ClusterError> {
        loop {
            let is_busy = self.turn().await?;
            if self.leaving == Leaving::Over {
                self.bus.flush().await;
                return Ok(());
            }
            if is_busy || !self.inbox.fall_asleep() {
                // The library's tasks are on this thread, too.
                tokio::task::yield_now().await;
            } else {
                self.sleep().await;
            }
            self.inbox.wake_up();
        }
    }

    async fn sleep(&mut self) {
        let deadline = self.next_deadline();
        let is_staying = self.leaving == Leaving::No;
        tokio::select! {
            () = self.alarm.notified() => {}
            happening = self.bus.next() => {
                self.node.begin_turn(wall_clock());
                self.take_in(happening, now(self.started));
            }
            () = sleep_until(moment(self.started, deadline)) => {}
            order = self.orders.recv(), if is_staying => {
                debug_assert!(order.is_none(), "there is one router");
                self.begin_to_leave();
            }
        }
    }

    fn begin_to_leave(&mut self) {
        self.leaving = Leaving::Draining(now(self.started) + LEAVE_MS / 2);
    }

    fn next_deadline(&self) -> Millis {
        let may_write = self.bus.writes() < MOST_WRITES;
        let write_at = self.node.next_write_at().filter(|_| may_write);
        let others = write_at.into_iter().chain(self.showing.next_at());
        let deadline = others.fold(self.node.next_deadline(), Millis::min);
        match self.leaving {
            Leaving::No | Leaving::Over => deadline,
            Leaving::Draining(until) | Leaving::Going(until) => deadline.min(until),
        }
    }

    /// Returns whether there is more to do at once.
    async fn turn(&mut self) -> Result<bool, ClusterError> {
        let now = now(self.started);
        self.node.begin_turn(wall_clock());
        // Whoever is busy does not sleep, and hears it all the same.
        if self.leaving == Leaving::No && self.orders.is_closed() {
            self.begin_to_leave();
        }
        let mut is_busy = self.take_mail(now);
        is_busy |= self.take_happenings(now);
        if self.node.next_deadline() <= now {
            self.node.handle_timeout(now);
        }
        if self.node.wants_watch(now) {
            self.bus.watch_again(false);
        }
        let is_congested = self.is_congested();
        self.node.end_turn(is_congested, now);
        self.tell_service(now);
        self.hand_over();
        self.bus.listen_as(self.node.members().incarnation()).await?;
        is_busy |= self.send(now).await;
        // One more is what clients are served by.
        let owes = |node: &Node| usize::from(node.members().owes_proof(now));
        while self.bus.writes() < MOST_WRITES + owes(&self.node)
            && let Some(write) = self.node.take_write(now)
        {
            self.bus.write(write);
        }
        if let Some(ended) = self.node.ended() {
            return Err(ended.clone().into());
        }
        let ready = self.ready.take_if(|_| self.node.is_ready());
        if ready.is_some() {
            self.showing.hurry(now);
        }
        self.showing.show((&self.bus, &self.node, self.inbox.mesh()), now);
        if let Some(ready) = ready {
            // Nobody waits any more if the start was given up.
            let _ = ready.send(());
            tracing::info!(linked = self.node.linked().count(), "the node serves");
        }
        self.tell_members(now);
        self.tell_links(now);
        is_busy |= self.node.has_work();
        self.leave_if_told(is_busy, now);
        Ok(is_busy)
    }

    fn take_mail(&mut self, now: Millis) -> bool {
        for _ in 0..PARCELS_PER_TURN {
            match self.inbox.take() {
                Some(Parcel::Mail(batch)) => {
                    self.node.handle_mail(batch.items, now);
                    self.inbox.release(batch.weight);
                }
                // There is room again: this turn sees it.
                Some(Parcel::Resume) => {}
                Some(other) => debug_assert!(false, "for shards alone: {other:?}"),
                None => return false,
            }
        }
        true
    }

    fn take_happenings(&mut self, now: Millis) -> bool {
        let mut bytes = 0;
        for _ in 0..HAPPENINGS_PER_TURN {
            let Some(happening) = self.bus.take_next() else { return false };
            if let Happening::Message(message) = &happening {
                bytes += message.len();
            }
            self.take_in(happening, now);
            if bytes >= BYTES_PER_TURN {
                break;
            }
        }
        true
    }

    fn take_in(&mut self, happening: Happening, now: Millis) {
        self.showing.note(&happening, now);
        match happening {
            Happening::Message(message) => self.node.receive(&message, now),
            Happening::Beat(message) => self.node.receive_beat(&message, now),
            Happening::NoResponder(peer) => self.node.handle_no_responder(peer),
            Happening::Told(Told::Entry { revision, key, value }) => {
                self.node.handle_entry(revision, &key, value.as_deref(), now);
            }
            Happening::Told(Told::Current) => self.node.handle_current(now),
            Happening::Told(Told::Reset) => self.node.handle_reset(),
            Happening::Written(ticket, outcome) => self.node.handle_written(ticket, outcome, now),
            Happening::Disconnected => {
                self.disconnected_at = self.disconnected_at.or(Some(now));
                tracing::warn!("the connection to NATS is lost");
            }
            Happening::Connected => {
                let away_ms = self.disconnected_at.take().map(|since| now.since(since));
                if let Some(away_ms) = away_ms {
                    tracing::info!(away_ms, "connected to NATS again");
                    self.bus.watch_again(away_ms >= self.away_ms);
                    self.node.handle_bus_changed(now);
                }
            }
        }
    }

    /// Whether a shard, or the store, has too much waiting.
    fn is_congested(&self) -> bool {
        let is_other = |at: Destination| at != Destination::Shard(ShardId::CLUSTER);
        let congested = self.inbox.mesh().congested();
        // Asked for once more behind the request to be woken.
        congested.iter().any(is_other) && self.inbox.await_room(congested).iter().any(is_other)
    }

    /// Tells the shards until when clients may be served, and the log whether they are, if that has
    /// changed.
    fn tell_service(&mut self, now: Millis) {
        if let Some(until) = self.node.take_service() {
            let mesh = self.inbox.mesh();
            for shard in mesh.shards() {
                mesh.send(shard, Parcel::ServeUntil(until));
            }
        }
        let is_serving = self.node.is_serving();
        if is_serving == std::mem::replace(&mut self.serves, is_serving) {
            return;
        }
        self.showing.hurry(now);
        let contact_ms = self.node.members().contact_ms(now);
        if is_serving {
            tracing::info!("the bucket is there for this node again: clients are served");
        } else {
            tracing::warn!(
                contact_ms,
                "the bucket is not there for this node, and alone = \"stop\": clients are sent \
                 away, and none is served until it is"
            );
        }
    }

    fn hand_over(&mut self) {
        let mesh = self.inbox.mesh();
        for shard in mesh.shards() {
            if let Some(batch) = self.node.take_outbox(shard) {
                mesh.send(shard, Parcel::Mail(batch));
            }
        }
        if let Some(deposits) = self.node.take_deposits() {
            let store = self.store.as_ref().expect("what is durable has a store (config::check)");
            mesh.queues(Destination::Store, deposits.weight);
            // A store that has ended brings the router down.
            let _ = store.send(deposits);
        }
    }

    async fn send(&mut self, now: Millis) -> bool {
        let mut message = Vec::new();
        if self.node.take_beat(&mut message) {
            self.bus.send_to_all(Bytes::from(std::mem::take(&mut message))).await;
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some(to) = self.node.take_transmit(now, &mut message) else { return false };
            if !self.bus.send(to, Bytes::from(std::mem::take(&mut message))).await {
                // The connection takes nothing more just now: it was waited for long enough.
                return false;
            }
        }
        true
    }

    /// Says in the log who is a member no more, this node among them, and since when it is again.
    fn tell_members(&mut self, now: Millis) {
        while let Some(Departure { node, way }) = self.node.take_departure() {
            let node = node.as_str();
            match way {
                Way::Removed => tracing::warn!(node, "removed a node that was not heard"),
                Way::Gone => {
                    tracing::info!(node, "a node has left, or another one has removed it");
                }
                Way::Replaced => tracing::info!(node, "a node was started again"),
            }
            self.showing.hurry(now);
        }
        let members = self.node.members();
        if self.removals != members.removals().own {
            (self.removals, self.is_member) = (members.removals().own, false);
            self.showing.hurry(now);
            tracing::warn!(
                "this node was removed, as it was not heard or the bucket was made anew: it joins \
                 again"
            );
        }
        if !self.is_member && members.is_member() {
            self.is_member = true;
            self.showing.hurry(now);
            tracing::info!("member of the cluster again");
        }
    }

    /// Says in the log with whom links have begun and ended.
    fn tell_links(&mut self, now: Millis) {
        let linked: Vec<_> = self.node.linked().collect();
        let is_same = linked.len() == self.linked.len()
            && linked.iter().all(|node| self.linked.contains_key(node));
        if is_same {
            return;
        }
        self.showing.hurry(now);
        let members = self.node.members();
        for (incarnation, _, record) in members.others() {
            if linked.contains(&incarnation) && !self.linked.contains_key(&incarnation) {
                let node = record.name.as_str().to_owned();
                tracing::info!(node, "linked with a node");
                if record.digest != self.digest {
                    tracing::warn!(node, "that node has other realms, roles or interest_bits");
                }
                if (record.stops_ms > 0) != members.identity().stops_ms.is_some() {
                    tracing::warn!(node, "that node has another `alone`: give all the same");
                }
                self.linked.insert(incarnation, node);
            }
        }
        self.linked.retain(|incarnation, node| {
            let is_linked = linked.contains(incarnation);
            if !is_linked {
                tracing::info!(node, "the link with a node has ended");
            }
            is_linked
        });
    }

    /// Leaves behind the last mail, as far as that goes in time.
    fn leave_if_told(&mut self, is_busy: bool, now: Millis) {
        if let Leaving::Draining(until) = self.leaving {
            let is_drained = !is_busy && self.node.is_drained() || !self.bus.is_connected();
            if is_drained || now >= until {
                self.node.leave();
                self.leaving = Leaving::Going(now + LEAVE_MS / 2);
                // What it wants to write follows at once.
                self.alarm.notify_one();
            }
        }
        if let Leaving::Going(until) = self.leaving {
            let has_left = self.node.members().has_left();
            if has_left || !self.bus.is_connected() || now >= until {
                self.leaving = Leaving::Over;
            }
        }
    }
}

/// Batches of shards that are taken in one turn.
const PARCELS_PER_TURN: usize = 256;

/// Messages and writes of the bucket that are.
const HAPPENINGS_PER_TURN: usize = 256;

/// Bytes of messages after which a turn takes no more.
const BYTES_PER_TURN: usize = 4 * 1024 * 1024;

/// Messages that go out in one turn.
const MESSAGES_PER_TURN: usize = 256;

//! A node that is not one yet: it connects to NATS, reads the bucket, and writes its key there.
//!
//! As long as it takes. What it waits for stands in the log every few seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, sleep_until};

use super::super::cluster::ClusterShown;
use super::serving::Serving;
use super::showing::Showing;
use super::{ClusterError, LEAVE_MS, MOST_WRITES, Plan, SAID_MS, Service, moment, now};
use crate::bus::{Bus, Happening, Told};
use crate::clock::Millis;
use crate::cluster::members::Members;
use crate::cluster::{Node, NodeSettings};
use crate::config::Cluster;
use crate::router::NodeIds;

pub(super) struct Joining {
    cluster: Cluster,
    name: String,
    members: Members,
    digest: u64,
    started: Instant,
    alarm: Arc<Notify>,
    orders: UnboundedReceiver<Service>,
    shown: Option<Arc<ClusterShown>>,
    /// Who waits for the membership.
    joined: Option<Sender<Result<NodeIds, ClusterError>>>,
}

/// A member that knows its router.
pub(super) struct Joined {
    pub(super) serving: Serving,
}

impl Joining {
    pub(super) fn new(plan: Plan) -> Self {
        let Plan { cluster, name, members, digest, started, alarm, orders, shown, joined } = plan;
        let joined = Some(joined);
        Self { cluster, name, members, digest, started, alarm, orders, shown, joined }
    }

    /// `None` if it does not become one, which whoever waits has been told; or is not to be one any
    /// more.
    pub(super) async fn run(mut self) -> Option<Joined> {
        let mut bus = match self.connect().await? {
            Ok(bus) => bus,
            Err(error) => return self.fail(error),
        };
        match self.become_member(&mut bus).await {
            Ok(Some(service)) => Some(self.begin(bus, service)),
            Ok(None) => {
                self.leave(&mut bus).await;
                None
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail<T>(&mut self, error: ClusterError) -> Option<T> {
        match self.joined.take() {
            // Nobody waits any more if the start was given up.
            Some(joined) => drop(joined.send(Err(error))),
            None => tracing::error!(%error, "the node is none of the cluster any more"),
        }
        None
    }

    /// `None` if the start is given up.
    async fn connect(&mut self) -> Option<Result<Bus, ClusterError>> {
        let node = self.cluster.node_name()?;
        let mut said_at = None;
        loop {
            let connects = Bus::connect(&self.cluster, &self.name, node.as_str());
            let error = tokio::select! {
                connected = connects => match connected {
                    Ok(bus) => return Some(Ok(bus)),
                    Err(error) if error.is_final() => return Some(Err(error.into())),
                    Err(error) => error,
                },
                _ = self.orders.recv() => return None,
            };
            let now = now(self.started);
            if said_at.is_none_or(|at| now.since(at) >= SAID_MS) {
                said_at = Some(now);
                let cluster = self.name.as_str();
                tracing::warn!(%error, cluster, "waiting for NATS, no client is served yet");
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = self.orders.recv() => return None,
            }
        }
    }

    /// Until the router is there; `None` if there will be none.
    async fn become_member(&mut self, bus: &mut Bus) -> Result<Option<Service>, ClusterError> {
        let mut say_at = now(self.started) + SAID_MS;
        loop {
            let now = now(self.started);
            self.write(bus, now).await?;
            if let Some(ended) = self.members.ended() {
                return Err(ended.clone().into());
            }
            if let Some(ids) = self.members.ids()
                && let Some(joined) = self.joined.take()
            {
                let (cluster, number) = (self.name.as_str(), ids.node().get());
                tracing::info!(cluster, number, "member of the cluster");
                // Nobody waits any more if the start was given up.
                let _ = joined.send(Ok(ids));
            }
            if now >= say_at && !self.members.is_member() {
                say_at = now + SAID_MS;
                self.say_what_it_waits_for(now);
            }
            let look_at = self.members.next_deadline().unwrap_or(say_at).min(now + SAID_MS);
            tokio::select! {
                happening = bus.next() => self.take_in(bus, happening),
                () = sleep_until(moment(self.started, look_at)) => {}
                service = self.orders.recv() => return Ok(service),
            }
        }
    }

    fn say_what_it_waits_for(&self, now: Millis) {
        let cluster = self.name.as_str();
        if let Some(wait_ms) = self.members.waits_for_namesake(now) {
            let node = self.members.identity().name.as_str();
            tracing::warn!(
                cluster,
                node,
                wait_ms,
                "a node of this name may still serve clients, elsewhere or not: waiting until it \
                 has left, or has been silent for long enough"
            );
        } else {
            tracing::warn!(cluster, "waiting for the bucket, no client is served yet");
        }
    }

    /// Writes what is to be written, once what is addressed to this life is listened to.
    async fn write(&mut self, bus: &mut Bus, now: Millis) -> Result<(), ClusterError> {
        bus.listen_as(self.members.incarnation()).await?;
        while bus.writes() < MOST_WRITES
            && let Some(write) = self.members.take_write(now)
        {
            bus.write(write);
        }
        Ok(())
    }

    fn take_in(&mut self, bus: &Bus, happening: Happening) {
        let now = now(self.started);
        match happening {
            Happening::Told(Told::Entry { revision, key, value }) => {
                self.members.handle_entry(revision, &key, value.as_deref(), now);
            }
            Happening::Told(Told::Current) => self.members.handle_current(),
            Happening::Told(Told::Reset) => self.members.handle_reset(),
            Happening::Written(ticket, outcome) => {
                self.members.handle_written(ticket, outcome, now)
            }
            Happening::Connected => bus.watch_again(false),
            // It is linked with nobody yet; whoever sends to it does so again.
            Happening::Message(_)
            | Happening::Beat(_)
            | Happening::NoResponder(_)
            | Happening::Disconnected => {}
        }
    }

    /// Takes its key along, as far as that goes in time.
    async fn leave(&mut self, bus: &mut Bus) {
        self.members.leave();
        let until = now(self.started) + LEAVE_MS / 2;
        while !self.members.has_left() && bus.is_connected() && now(self.started) < until {
            if self.write(bus, now(self.started)).await.is_err() {
                return;
            }
            let look_at = self.members.next_deadline().unwrap_or(until).min(until);
            tokio::select! {
                happening = bus.next() => self.take_in(bus, happening),
                () = sleep_until(moment(self.started, look_at)) => {}
            }
        }
        bus.flush().await;
    }

    fn begin(self, bus: Bus, service: Service) -> Joined {
        let now = now(self.started);
        let settings = NodeSettings {
            max_payload: bus.max_payload(),
            silence_ms: self.cluster.silence_ms(),
            queue_bytes: self.cluster.queue_bytes,
        };
        let Service { router, inbox, store, ready } = service;
        let node = Node::new(self.members, settings, router, now)
            .expect("the router's ids are those of a node");
        let Self { cluster, name, digest, started, alarm, orders, shown, .. } = self;
        let away_ms = cluster.silence_ms();
        let serving = Serving::new(
            (bus, node),
            Showing::new(&name, shown, now),
            (inbox, store),
            ready,
            alarm,
            orders,
            started,
            (away_ms, digest),
        );
        Joined { serving }
    }
}

const RETRY: Duration = Duration::from_millis(300);

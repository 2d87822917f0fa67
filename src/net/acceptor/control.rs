//! How other threads tell the acceptor what to do: to stop, and what to accept on.
//!
//! Sockets are bound and registered by whoever asks for them, who learns at once if that fails; the
//! acceptor only takes them over.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::Sender;
use mio::{Registry, Token, Waker};

use super::super::listening::Listening;
use super::super::tls::TlsContext;
use super::{Acceptor, pace_of, rules};
use crate::config::{Config, ListenAddress, Listener};
use crate::limits::Limits;
use crate::rate::{Bucket, Rate};
use crate::transport::TransportRules;

/// The way to an acceptor.
#[derive(Debug)]
pub(in crate::net) struct Control {
    pub(super) waker: Waker,
    pub(super) orders: Sender<Order>,
    pub(super) registry: Registry,
    /// The number of the next listener.
    pub(super) next: AtomicUsize,
}

#[derive(Debug)]
pub(super) enum Order {
    /// Health checks are told that nobody should come.
    Withdraw,
    /// Whoever comes is told that the router is about to stop.
    Refuse,
    Stop,
    Follow(Box<Plan>),
}

/// On what is accepted from now on, and how much.
#[derive(Debug)]
pub(in crate::net) struct Plan {
    /// In the order of the configuration. Those that are missing are closed.
    listeners: Vec<Planned>,
    limits: Limits,
}

/// A listener, and its socket if it is a new one.
#[derive(Debug)]
struct Planned {
    number: ListenerId,
    socket: Option<Listening>,
    way: Way,
}

/// Names a listener of the acceptor, for as long as it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::net) struct ListenerId(usize);

/// How connections of a listener are taken in.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) rules: Arc<TransportRules>,
    pub(super) tls: Option<Arc<TlsContext>>,
    /// Whether listed proxies say first for whom they speak.
    pub(super) has_prefaces: bool,
}

/// A listener that is bound.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) number: ListenerId,
    pub(super) listening: Listening,
    pub(super) way: Way,
    /// Whether connections may wait there: no event tells of it again.
    pub(super) is_ready: bool,
}

impl Way {
    fn new(
        number: ListenerId,
        listener: &Listener,
        tls: Option<Arc<TlsContext>>,
        config: &Config,
    ) -> Self {
        let rules = Arc::new(rules(number, listener, config));
        Self { rules, tls, has_prefaces: listener.proxy_protocol }
    }
}

impl ListenerId {
    pub(super) const fn token(self) -> Token {
        Token(self.0)
    }

    /// As [`TransportRules::listener`]; there are fewer listeners in the life of a router.
    pub(in crate::net) fn number(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Plan {
    pub(in crate::net) const fn new(config: &Config) -> Self {
        Self { listeners: Vec::new(), limits: config.limits }
    }

    /// Goes on with a listener, of which new connections are taken in otherwise.
    pub(in crate::net) fn keep(
        &mut self,
        number: ListenerId,
        listener: &Listener,
        tls: Option<Arc<TlsContext>>,
        config: &Config,
    ) {
        let way = Way::new(number, listener, tls, config);
        self.listeners.push(Planned { number, socket: None, way });
    }
}

impl Control {
    /// Binds one more listener, on which is accepted when the acceptor follows the plan. Returns
    /// its address, with the port that it got.
    ///
    /// # Errors
    /// Those of the system: the plan is as before.
    pub(in crate::net) fn bind(
        &self,
        plan: &mut Plan,
        listener: &Listener,
        tls: Option<Arc<TlsContext>>,
        config: &Config,
    ) -> io::Result<(ListenerId, ListenAddress)> {
        self.take(plan, Listening::bind(listener, config)?, listener, tls, config)
    }

    /// The same with a socket that is bound.
    pub(in crate::net) fn take(
        &self,
        plan: &mut Plan,
        mut socket: Listening,
        listener: &Listener,
        tls: Option<Arc<TlsContext>>,
        config: &Config,
    ) -> io::Result<(ListenerId, ListenAddress)> {
        let address = socket.address()?;
        let number = ListenerId(self.next.fetch_add(1, Ordering::Relaxed));
        socket.register(&self.registry, number.token())?;
        let way = Way::new(number, listener, tls, config);
        plan.listeners.push(Planned { number, socket: Some(socket), way });
        Ok((number, address))
    }

    pub(in crate::net) fn follow(&self, plan: Plan) {
        self.order(Order::Follow(Box::new(plan)));
    }

    /// From here on health checks are told that nobody should come.
    pub(in crate::net) fn withdraw(&self) {
        self.order(Order::Withdraw);
    }

    /// From here on whoever comes is answered that the router is about to stop.
    pub(in crate::net) fn refuse(&self) {
        self.order(Order::Refuse);
    }

    pub(in crate::net) fn stop(&self) {
        self.order(Order::Stop);
    }

    fn order(&self, order: Order) {
        // An acceptor that has ended takes no orders.
        let _ = self.orders.send(order);
        let _ = self.waker.wake();
    }
}

impl Acceptor {
    /// Who comes by a socket that the service manager keeps waits for the next process.
    pub(super) fn refuse(&mut self) {
        self.is_stopping = true;
        self.listeners.retain(|bound| !bound.listening.is_passed());
    }

    pub(super) fn withdraw(&mut self) {
        self.is_withdrawn = true;
        for bound in &mut self.listeners {
            Arc::make_mut(&mut bound.way.rules).is_ready = false;
        }
    }

    pub(super) fn apply(&mut self, plan: Plan) {
        let Plan { listeners, limits } = plan;
        let old = std::mem::take(&mut self.listeners).into_iter();
        let mut old: BTreeMap<_, _> = old.map(|bound| (bound.number, bound)).collect();
        let bound = listeners.into_iter().filter_map(|Planned { number, socket, way }| {
            match (socket, old.remove(&number)) {
                // What came before this thread knew the socket is told by no event.
                (Some(listening), _) => Some(Bound { number, listening, way, is_ready: true }),
                (None, Some(bound)) => Some(Bound { way, ..bound }),
                (None, None) => None,
            }
        });
        self.listeners = bound.collect();
        if self.is_withdrawn {
            self.withdraw();
        }
        self.max_connections = limits.connections;
        self.pace = match (pace_of(&limits), self.pace) {
            (Some((rate, _)), Some((_, bucket))) => Some((rate, bucket)),
            (pace, _) => pace,
        };
        // Those that are left in `old` close here.
    }
}

/// How fast it accepts, if that is limited.
pub(super) type Pace = Option<(Rate, Bucket)>;

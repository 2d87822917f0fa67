//! Another configuration for a router that runs: all that can fail is done first, then it is
//! applied as a whole.
//!
//! Called by one thread at a time. It waits for no shard: each takes the new edition in when its
//! parcel comes, and goes through its sessions then.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::acceptor::{ListenerId, Plan};
use super::client::ClientError;
use super::http::{self, HttpThread};
use super::judges::Judges;
use super::mesh::{Aside, Parcel};
use super::server::{Server, high_mark_bytes, hint, settings};
use super::threads::Term;
use super::tls::{self, CertificateError, Fresh, TlsContext, Watch};
use super::view::Shown;
use super::webhooks::{self, Posts};
use crate::authentication::{Endpoint, Issuer};
use crate::config::{Changes, Config, ListenAddress, Listener};
use crate::http::Sites;
use crate::router::Edition;

/// Why a router goes on with the configuration that it has. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Listen { address: ListenAddress, source: io::Error },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot start threads: {0}")]
    Threads(#[from] io::Error),
}

/// What a router runs that a reload may replace.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) config: Config,
    /// As `config.listeners`.
    pub(super) listeners: Vec<Listens>,
    /// What keeps the thread alive that watches certificates, if there are some.
    pub(super) watch: Option<(Watch, Term)>,
    pub(super) judges: Option<Bench>,
    /// The thread that serves what is none of WAMP's: since something is, and until the stop.
    pub(super) http: Option<(HttpThread, JoinHandle<io::Result<()>>)>,
    pub(super) posts: Posts,
}

/// A listener of the router.
#[derive(Clone, Debug)]
pub(super) struct Listens {
    pub(super) number: ListenerId,
    /// With the port that it got.
    pub(super) address: ListenAddress,
    pub(super) tls: Option<Arc<TlsContext>>,
}

impl Listens {
    /// Which listener it is, and where it listens.
    const fn bound(&self) -> (ListenerId, &ListenAddress) {
        (self.number, &self.address)
    }
}

/// Those who judge, with their threads.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) judges: Judges,
    pub(super) term: Term,
    pub(super) computing: Vec<JoinHandle<io::Result<()>>>,
}

/// What the handshakes of a listener begin with, and what it will be when all is applied.
type Handshakes = Option<(Arc<TlsContext>, Option<Fresh>)>;

impl Server {
    /// Has the router run another configuration, as far as it can while it runs: [`Changes`] says
    /// what it has taken over, and what has to wait for a restart. Sessions end only if their right
    /// to be here is gone (AU-AZ-06). Files that the configuration names are read again: those of
    /// certificates here, all others by the [`Loader`](crate::config::Loader).
    ///
    /// The change has begun when this returns; shards bring it to its end in their next turns.
    /// `log.level` is left to the caller.
    ///
    /// # Errors
    /// What cannot be had of the new configuration: an address, a certificate, a thread. Then
    /// nothing has changed.
    pub fn reload(&self, asked: &Config) -> Result<Changes, ReloadError> {
        let mut running = self.running.lock();
        let (config, changes) = running.config.adopt(asked);
        let before = self.router.edition();
        let edition = self.router.prepare(settings(&config), config.realms.clone());
        let handshakes = running.handshakes(&config)?;
        let mut plan = Plan::new(&config);
        let listeners = self.plan_listeners(&running, &config, &handshakes, &mut plan)?;
        let sites = http::sites(&config, listeners.iter().map(Listens::bound));
        let webhooks = self.plan_webhooks(&running.posts, &config)?;
        if (!sites.is_empty() || !webhooks.is_empty()) && running.http.is_none() {
            running.http = Some(self.start_http(&config, Sites::new())?);
        }
        let judges = if needs_judges_anew(&before, &edition, &running.config, &config) {
            Some(self.seat_judges(&config, &edition)?)
        } else {
            None
        };
        let contexts: Vec<_> = listeners.iter().filter_map(|one| one.tls.clone()).collect();
        let watch = if running.is_watched(&contexts) { None } else { Some(self.watch(contexts)) };
        let watch = watch.transpose().inspect_err(|_| {
            judges.iter().flatten().for_each(|bench| bench.term.end());
        })?;
        // Nothing fails from here on.
        self.router.adopt(&edition);
        self.mesh.set_high_mark(high_mark_bytes(&config));
        if let Some(bench) = judges {
            running.replace_judges(bench);
        }
        if let Some((http, _)) = &running.http {
            http.follow(&config, sites);
        }
        for shard in self.mesh.shards() {
            self.mesh.send(shard, Parcel::Reload(Arc::clone(&edition), running.aside()));
        }
        // Behind that, as their sessions come by what the shards have then.
        running.follow_webhooks(webhooks, &config, &self.shown);
        for (context, fresh) in handshakes.into_iter().flatten() {
            if let Some(fresh) = fresh {
                context.install(fresh);
            }
        }
        if let Some(watch) = watch {
            running.replace_watch(watch);
        }
        self.acceptor.follow(plan);
        self.shown.update(&config, &listeners);
        (running.config, running.listeners) = (config, listeners);
        Ok(changes)
    }

    /// Keeps the listeners that there are, and binds the others.
    fn plan_listeners(
        &self,
        running: &Running,
        config: &Config,
        handshakes: &[Handshakes],
        plan: &mut Plan,
    ) -> Result<Vec<Listens>, ReloadError> {
        let mut old: Vec<_> = running.config.listeners.iter().zip(&running.listeners).collect();
        let mut listeners = Vec::new();
        for (listener, handshakes) in config.listeners.iter().zip(handshakes) {
            let tls = handshakes.as_ref().map(|(context, _)| Arc::clone(context));
            let found = old.iter().position(|(old, _)| old.address == listener.address);
            let (number, address) =
                match found {
                    Some(place) => {
                        let (_, Listens { number, address, .. }) = old.remove(place);
                        plan.keep(*number, listener, tls.clone(), config);
                        (*number, address.clone())
                    }
                    None => self.acceptor.bind(plan, listener, tls.clone(), config).map_err(
                        |source| ReloadError::Listen { address: listener.address.clone(), source },
                    )?,
                };
            listeners.push(Listens { number, address, tls });
        }
        Ok(listeners)
    }

    /// Starts those who judge for an edition; `None` if nobody has to.
    pub(super) fn seat_judges(
        &self,
        config: &Config,
        edition: &Edition,
    ) -> Result<Option<Bench>, ReloadError> {
        let Some((judges, threads)) = Judges::new(config, edition, &self.mesh)? else {
            return Ok(None);
        };
        let mut bench = Bench { judges, term: Term::default(), computing: Vec::new() };
        let started = self.start_judging(&mut bench, threads);
        if let Err(error) = started {
            // Those that have started end, as nobody can give them work.
            bench.term.end();
            return Err(error.into());
        }
        Ok(Some(bench))
    }

    /// Starts the thread that serves what is none of WAMP's, and those that post for webhooks, if
    /// something is to be served or posted. Returns the ways of shards to them and to all others.
    pub(super) fn open_http(
        &self,
        running: &mut Running,
        config: &Config,
    ) -> Result<Aside, ReloadError> {
        let sites = http::sites(config, running.listeners.iter().map(Listens::bound));
        let webhooks = self.plan_webhooks(&running.posts, config)?;
        if !sites.is_empty() || !webhooks.is_empty() {
            running.http = Some(self.start_http(config, sites)?);
        }
        running.follow_webhooks(webhooks, config, &self.shown);
        Ok(running.aside())
    }

    fn start_http(
        &self,
        config: &Config,
        sites: Sites,
    ) -> io::Result<(HttpThread, JoinHandle<io::Result<()>>)> {
        let (http, run) = HttpThread::new(
            config,
            sites,
            (&self.occupancy, &self.mesh),
            (&self.router, self.started),
        )?;
        let handle = self.threads.spawn("http".to_owned(), &Term::default(), run)?;
        // There is one in the life of a router.
        let _ = self.shown.http.set(http.beats());
        Ok((http, handle))
    }

    /// Starts the thread that reads certificates again, if there are some.
    pub(super) fn watch(
        &self,
        contexts: Vec<Arc<TlsContext>>,
    ) -> io::Result<Option<(Watch, Term)>> {
        if contexts.is_empty() {
            return Ok(None);
        }
        let (watch, run) = tls::watch(contexts);
        let term = Term::default();
        // Its end is not waited for: it ends with `watch`.
        drop(self.threads.spawn("certificates".to_owned(), &term, run)?);
        Ok(Some((watch, term)))
    }
}

impl Running {
    pub(super) fn new(config: &Config, listeners: Vec<Listens>) -> Self {
        let config = config.clone();
        Self { config, listeners, watch: None, judges: None, http: None, posts: Posts::default() }
    }

    fn follow_webhooks(&mut self, plan: webhooks::Plan, config: &Config, shown: &Shown) {
        let webhooks = self.posts.follow(plan);
        shown.show_webhooks(webhooks.clone());
        if let Some((http, _)) = &self.http {
            http.attend(config, webhooks);
        }
    }

    fn aside(&self) -> Aside {
        let judges = self.judges.as_ref().map(|bench| bench.judges.clone());
        Aside { judges, http: self.http.as_ref().map(|(http, _)| http.door.clone()) }
    }

    /// Of each listener of a configuration, what its handshakes begin with. The files of those that
    /// stay as they are are read again, too.
    fn handshakes(&self, config: &Config) -> Result<Vec<Handshakes>, CertificateError> {
        let handshakes = |listener: &Listener| -> Result<Handshakes, CertificateError> {
            if listener.tls.is_empty() {
                return Ok(None);
            }
            let mut known = self.config.listeners.iter().zip(&self.listeners);
            let found = known.find(|(old, _)| *old == listener);
            if let Some(context) = found.and_then(|(_, listens)| listens.tls.as_ref()) {
                return Ok(Some((Arc::clone(context), Some(context.read_again()?))));
            }
            Ok(Some((Arc::new(TlsContext::new(listener)?), None)))
        };
        config.listeners.iter().map(handshakes).collect()
    }

    fn is_watched(&self, contexts: &[Arc<TlsContext>]) -> bool {
        let watched = self.listeners.iter().filter_map(|listens| listens.tls.as_ref());
        let watched: Vec<_> = watched.collect();
        watched.len() == contexts.len()
            && watched.iter().zip(contexts).all(|(old, new)| Arc::ptr_eq(old, new))
    }

    fn replace_judges(&mut self, bench: Option<Bench>) {
        if let Some(old) = std::mem::replace(&mut self.judges, bench) {
            // What waits is judged; then nobody can reach its threads, and they end.
            old.term.end();
        }
    }

    fn replace_watch(&mut self, watch: Option<(Watch, Term)>) {
        if let Some((_, term)) = std::mem::replace(&mut self.watch, watch) {
            term.end();
        }
    }
}

/// Where clients connect to, by listener.
pub(super) fn urls_of(config: &Config, listeners: &[Listens]) -> Vec<Vec<String>> {
    let bound = config.listeners.iter().zip(listeners);
    bound.map(|(listener, listens)| listener.bound_to(listens.address.clone()).urls()).collect()
}

/// Whether others have to judge than do now.
fn needs_judges_anew(before: &Edition, after: &Edition, old: &Config, new: &Config) -> bool {
    let issuers = |edition: &Edition| -> Vec<Arc<Issuer>> {
        edition.domains().flat_map(|domain| domain.rules.gate.issuers()).cloned().collect()
    };
    let endpoints = |edition: &Edition| -> Vec<Arc<Endpoint>> {
        let rules = edition.domains().map(|domain| &domain.rules);
        rules.flat_map(|rules| rules.gate.endpoints().chain(rules.authorizers())).cloned().collect()
    };
    let room = |config: &Config| config.limits.questions_per_procedure;
    old.has_costly_logins() != new.has_costly_logins()
        || room(old) != room(new)
        || !are_same(&issuers(before), &issuers(after))
        || !are_same(&endpoints(before), &endpoints(after))
}

/// In any order: maps have none.
fn are_same<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
    old.len() == new.len() && old.iter().all(|one| new.iter().any(|other| Arc::ptr_eq(one, other)))
}

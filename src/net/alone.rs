//! What stands in the place of the thread `cluster` in a build without clusters: nobody.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::Notify;

use super::cluster::ClusterShown;
use super::mesh::Inbox;
use super::server::StartError;
use super::threads::Threads;
use crate::config::Config;
use crate::router::{Batch, Deposit, NodeIds, Router};

#[derive(Debug)]
pub(super) enum Gateway {}

impl Gateway {
    /// # Errors
    /// [`StartError::NoClusters`] if there is a cluster to be of.
    pub(super) fn join(
        config: &Config,
        _started: Instant,
        _threads: &Threads,
        _stop: &Receiver<()>,
    ) -> Result<Option<Self>, StartError> {
        if config.cluster.name.is_some() { Err(StartError::NoClusters) } else { Ok(None) }
    }

    pub(super) const fn ids(&self) -> NodeIds {
        match *self {}
    }

    pub(super) const fn shown(&self) -> Option<Arc<ClusterShown>> {
        match *self {}
    }

    pub(super) const fn alarm(&self) -> Arc<Notify> {
        match *self {}
    }

    pub(super) fn serve(
        &self,
        _router: &Arc<Router>,
        _inbox: Inbox,
        _store: Option<Sender<Batch<Deposit>>>,
        _stop: &Receiver<()>,
    ) -> Result<(), StartError> {
        match *self {}
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "as the one that is somebody")]
    pub(super) const fn leave(&mut self) -> Option<JoinHandle<io::Result<()>>> {
        match *self {}
    }
}

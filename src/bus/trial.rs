//! A trial of everything that a node does at NATS, before one is started: whether it is let in, and
//! what it may say, hear and write.
//!
//! It leaves nothing behind but the bucket, if there was none, and the marker of a key, which goes
//! by itself. Nodes that are there notice nothing.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Event};
use tokio::time::timeout;

use super::bucket::Bucket;
use super::error::BusError;
use super::watch::{Told, Watch};
use super::{check_version, login, patient};
use crate::cluster::bucket::{Action, Outcome, Write, member_of};
use crate::cluster::nothing_new;
use crate::config::Cluster;

/// What a node would find.
#[derive(Debug)]
pub struct Found {
    /// Of the server.
    pub version: String,
    /// Bytes of a message at most.
    pub max_payload: usize,
    /// As NATS' tools call it.
    pub bucket: String,
    /// How many servers keep it.
    pub replicas: usize,
    /// The nodes that are there.
    pub members: Vec<Box<str>>,
}

/// Why there would be no node.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(
        "NATS refuses some of what a node does: {}. Let the user of [cluster] publish to {}; and \
         subscribe to {}",
        .refusals.join("; "), .publish.join(", "), .subscribe.join(", ")
    )]
    Refused { refusals: Vec<String>, publish: Vec<String>, subscribe: Vec<String> },
    #[error(
        "NATS has not answered when the bucket `{bucket}` was {action}: look at its leader and its \
         disk, with `nats stream info KV_{bucket}`"
    )]
    Silent { bucket: String, action: &'static str },
}

/// Does once what the node `node` of the cluster `name` will do. `random` tells this trial from
/// others.
///
/// # Errors
/// The first thing that does not work; of permissions, all that was refused.
pub async fn try_out(
    cluster: &Cluster,
    (name, node): (&str, &str),
    random: u64,
) -> Result<Found, TrialError> {
    let refusals = Refusals::default();
    let told = refusals.clone();
    let options = patient(login::login(cluster)?, format!("stentor {name}/{node}, a trial"));
    let options = options.event_callback(move |event| {
        if let Event::ServerError(error) = event {
            told.add(error.to_string());
        }
        std::future::ready(())
    });
    let client = options.connect(&*cluster.nats).await.map_err(BusError::of_connect)?;
    check_version(&client)?;
    let tried = Trial { client: &client, name, random }.run(cluster.replicas).await;
    // Refusals come before the answer to a ping.
    let _ = timeout(PATIENCE, client.flush()).await;
    let refusals = refusals.take();
    if !refusals.is_empty() {
        return Err(refused(name, refusals));
    }
    tried
}

/// What the server has refused, each once.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<Vec<String>>>);

impl Refusals {
    fn add(&self, refusal: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST_REFUSALS && !all.contains(&refusal) {
            all.push(refusal);
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn refused(name: &str, refusals: Vec<String>) -> TrialError {
    let bucket = format!("stentor-{name}");
    let own = format!("stentor.{name}.>");
    let mut publish = vec![own.clone(), format!("$KV.{bucket}.>")];
    publish.extend(API.map(|subject| format!("$JS.API.{subject}.KV_{bucket}")));
    publish.extend(BELOW.map(|subject| format!("$JS.{subject}.KV_{bucket}.>")));
    TrialError::Refused { refusals, publish, subscribe: vec![own, "_INBOX.>".to_owned()] }
}

struct Trial<'t> {
    client: &'t Client,
    name: &'t str,
    random: u64,
}

impl Trial<'_> {
    async fn run(&self, replicas: usize) -> Result<Found, TrialError> {
        let server = self.client.server_info();
        self.talk().await.map_err(BusError::of_client)?;
        let bucket = Bucket::open(self.client, self.name, replicas).await?;
        self.write(&bucket).await?;
        let members = self.read(&bucket).await?;
        let info = bucket.find().await?;
        Ok(Found {
            version: server.version,
            max_payload: server.max_payload,
            bucket: format!("stentor-{}", self.name),
            replicas: info.config.num_replicas,
            members,
        })
    }

    /// Says something to a node that is not there, and to all nothing that they do not know.
    async fn talk(&self) -> Result<(), async_nats::Error> {
        let Self { client, name, random } = self;
        let prefix = format!("stentor.{name}.");
        let (me, nobody) = (format!("{random:016x}"), format!("{:016x}", !random));
        let gone = format!("{prefix}gone.{me}");
        let _heard = [
            client.subscribe(format!("{prefix}to.{me}")).await?,
            client.subscribe(format!("{gone}.*")).await?,
            client.subscribe(format!("{prefix}all")).await?,
        ];
        let (to, back) = (format!("{prefix}to.{nobody}"), format!("{gone}.{nobody}"));
        client.publish_with_reply(to, back, Vec::new().into()).await?;
        client.publish(format!("{prefix}all"), nothing_new().into()).await?;
        timeout(PATIENCE, client.flush()).await??;
        Ok(())
    }

    /// A key that no node knows is made, goes, is made once more, and goes, as keys of nodes do.
    async fn write(&self, bucket: &Bucket) -> Result<(), TrialError> {
        let key = format!("check.{:016x}", self.random);
        for _ in 0..2 {
            let made = self.ask(bucket, &key, Action::Create(Vec::new())).await;
            let Outcome::Written(revision) = made else { return Err(self.silent("written")) };
            let removed = self.ask(bucket, &key, Action::Remove { revision }).await;
            if !matches!(removed, Outcome::Written(_)) {
                return Err(self.silent("written"));
            }
        }
        match self.ask(bucket, &format!("{key}."), Action::Purge).await {
            Outcome::Written(_) => Ok(()),
            _ => Err(self.silent("purged")),
        }
    }

    async fn ask(&self, bucket: &Bucket, key: &str, action: Action) -> Outcome {
        bucket.write(Write { ticket: 0, key: key.into(), action }).await
    }

    /// Reads all that stands there, and says once what readers of a long bucket say, to nobody.
    async fn read(&self, bucket: &Bucket) -> Result<Vec<Box<str>>, TrialError> {
        let pace = format!("$JS.FC.{}.check.{:016x}", bucket.stream(), self.random);
        let paced = self.client.publish(pace, Vec::new().into()).await;
        paced.map_err(BusError::of_client)?;
        let mut watch = Watch::start(bucket.clone());
        // Keys may be written again, and go, meanwhile.
        let mut members = BTreeMap::new();
        loop {
            let told = timeout(PATIENCE, poll_fn(|context| watch.poll_told(context))).await;
            match told.map_err(|_| self.silent("read"))? {
                Told::Current => return Ok(members.into_values().collect()),
                Told::Reset => members.clear(),
                Told::Entry { key, value, .. } => {
                    match value.and_then(|value| member_of(&key, &value)) {
                        Some(name) => drop(members.insert(key, name)),
                        None => drop(members.remove(&key)),
                    }
                }
            }
        }
    }

    fn silent(&self, action: &'static str) -> TrialError {
        TrialError::Silent { bucket: format!("stentor-{}", self.name), action }
    }
}

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server tells no more than a few, as the trial does no more.
const MOST_REFUSALS: usize = 32;

/// What a node asks JetStream for, of its bucket, and what else it says to it.
const API: [&str; 4] = ["STREAM.INFO", "STREAM.CREATE", "STREAM.PURGE", "CONSUMER.CREATE"];
const BELOW: [&str; 2] = ["API.DIRECT.GET", "FC"];

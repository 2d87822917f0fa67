//! `stentor check --connect`: what a node of the cluster would find at NATS, told before one is
//! started.

use std::hash::{BuildHasher, RandomState};

use stentor::bus::{Found, TrialError, try_out};
use stentor::config::Config;
use tokio::runtime::Builder;

/// Why there would be no node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the file has no [cluster], so there is nothing to connect to: leave --connect out")]
    NoCluster,
    #[error("this node has no name that can be one; set `node` of [cluster]")]
    NoNodeName,
    #[error("cannot run what would try the connection: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("cluster `{cluster}`: {reason}")]
    Trial { cluster: String, reason: TrialError },
}

/// Tries all that a node does, and says what there is.
///
/// # Errors
/// What does not work, and what to do about it.
pub(crate) fn connect(config: &Config) -> Result<String, ConnectError> {
    let cluster = &config.cluster;
    let name = cluster.name.as_ref().ok_or(ConnectError::NoCluster)?.as_str();
    let node = cluster.node_name().ok_or(ConnectError::NoNodeName)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // Its keys are those of chance.
    let random = RandomState::new().hash_one(node.as_str());
    let found = runtime.block_on(try_out(cluster, (name, node.as_str()), random));
    let found = found.map_err(|reason| {
        let cluster = name.to_owned();
        ConnectError::Trial { cluster, reason }
    })?;
    Ok(said(name, node.as_str(), cluster.replicas, &found))
}

fn said(name: &str, node: &str, wanted: usize, found: &Found) -> String {
    let Found { version, max_payload, bucket, replicas, members } = found;
    let copies = if *replicas == 1 { "copy" } else { "copies" };
    let names: Vec<&str> = members.iter().map(|member| &**member).collect();
    let there = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let mut text = format!(
        "cluster `{name}`: NATS {version} lets the node in and refuses nothing; its messages have \
         {max_payload} bytes at most\n\
         cluster `{name}`: the bucket {bucket} is written and read, {replicas} {copies}; there \
         now: {there}\n"
    );
    if *replicas != wanted {
        text.push_str(&format!(
            "warning: `replicas` of [cluster] is {wanted}, and the bucket keeps its {replicas}: \
             change it with `nats stream edit KV_{bucket} --replicas {wanted}`\n"
        ));
    }
    if names.contains(&node) {
        text.push_str(&format!(
            "warning: a node `{node}` is there: one that starts with this file takes its place, \
             and the other one ends\n"
        ));
    }
    text
}

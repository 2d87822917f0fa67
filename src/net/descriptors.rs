//! File descriptors: how many a router needs, and how many the system lets it have.
//!
//! Called once, before the start. The limit belongs to the process, so a program that embeds the
//! router decides itself whether to raise it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::acceptor::refusals_at_once;
use crate::authentication::EndpointSettings;
use crate::config::{ADMIN_CONNECTIONS, Config};

/// The system lets the process have fewer descriptors than the configured connections need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "limits.connections is {wanted}, but the system lets this process have only {limit} open \
     files, so no more than {served} connections are served; allow {needed} open files \
     (LimitNOFILE={needed} in systemd's unit, `ulimit -n {needed}` in a shell), or lower \
     limits.connections"
)]
pub struct TooFewDescriptors {
    /// `limits.connections` as it was configured.
    pub wanted: usize,
    /// Descriptors that the process may have.
    pub limit: u64,
    /// `limits.connections` as it is now.
    pub served: usize,
    /// Descriptors that `wanted` connections need.
    pub needed: u64,
}

/// Raises the process's soft limit of open files as far as `config` needs it and the hard limit
/// permits. If that is too little, lowers `limits.connections` so far that no connection is
/// accepted for which there is no descriptor.
pub fn fit_to_descriptors(config: &mut Config) -> Option<TooFewDescriptors> {
    let needed = needed(config);
    let found = getrlimit(Resource::Nofile);
    let is_low = found.current.is_some_and(|current| current < needed);
    let current = match found.maximum {
        _ if !is_low => found.current,
        Some(maximum) => Some(needed.min(maximum)),
        None => Some(needed),
    };
    let raised = is_low && setrlimit(Resource::Nofile, Rlimit { current, ..found }).is_ok();
    let granted = if raised { current } else { found.current };
    fit(config, granted.unwrap_or(u64::MAX))
}

fn fit(config: &mut Config, limit: u64) -> Option<TooFewDescriptors> {
    let (wanted, needed) = (config.limits.connections, needed(config));
    if limit >= needed {
        return None;
    }
    let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(own(config));
    let served = left.saturating_sub(refusals_at_once(left)).clamp(1, wanted);
    config.limits.connections = served;
    Some(TooFewDescriptors { wanted, limit, served, needed })
}

fn needed(config: &Config) -> u64 {
    let connections = config.limits.connections;
    (own(config) + connections + refusals_at_once(connections)) as u64
}

/// What the router needs besides connections.
fn own(config: &Config) -> usize {
    let admin = if config.admin.listen.is_some() { ADMIN } else { 0 };
    PER_SHARD * config.shard_count()
        + config.listeners.len()
        + SHARED
        + admin
        + asking(config)
        + files(config)
}

/// Files that are being sent: one connection has one at most, and few are large.
fn files(config: &Config) -> usize {
    let serves = config.listeners.iter().any(|listener| listener.http_paths().next().is_some());
    let limits = &config.limits;
    if serves { limits.http_connections.min(limits.connections / 4) } else { 0 }
}

/// Connections to endpoints and webhooks: one for each thread.
fn asking(config: &Config) -> usize {
    let realms = config.realms.iter();
    let threads = realms.flat_map(|realm| {
        let asked = realm.authenticators.iter().filter_map(EndpointSettings::of);
        let posted = realm.webhooks.iter().map(|webhook| webhook.concurrency);
        let asked = asked.chain(realm.authorizer_endpoints()).map(|settings| settings.concurrency);
        asked.chain(posted)
    });
    threads.sum()
}

/// Poller, waker and alarm.
const PER_SHARD: usize = 3;

/// Standard streams, the acceptor's poller and waker, signals, the store, a connection that is
/// accepted only to be dropped, and what was inherited.
const SHARED: usize = 32;

/// The admin listener with its poller and waker, its connections, and one that takes the place of
/// another.
const ADMIN: usize = 4 + ADMIN_CONNECTIONS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Authenticator;

    fn config(connections: usize) -> Config {
        let mut config = Config { shards: 2, ..Config::default() };
        config.limits.connections = connections;
        config
    }

    #[test]
    fn connections_are_lowered_to_what_the_system_grants() {
        for limit in [0, 40, 100, 300, 1024, 4096, 65_536] {
            let mut lowered = config(65_536);
            let few = fit(&mut lowered, limit).expect("too few");
            assert_eq!((few.wanted, few.limit), (65_536, limit));
            assert_eq!(few.served, lowered.limits.connections);
            let fits = needed(&lowered) <= limit;
            assert!(fits || few.served == 1, "{} of {limit}", needed(&lowered));
            let text = few.to_string();
            let needed = needed(&config(65_536));
            for part in ["is 65536,", &format!("only {limit} "), &format!("LimitNOFILE={needed} ")]
            {
                assert!(text.contains(part), "{part} in: {text}");
            }
        }
        let mut lowered = config(65_536);
        fit(&mut lowered, 1024);
        assert!(lowered.limits.connections > 900, "most of a small limit is for clients");
    }

    /// What operators and endpoints are told takes no descriptor from clients.
    #[test]
    fn observers_and_endpoints_are_counted() {
        let plain = needed(&config(1000));
        let mut observed = config(1000);
        observed.admin.listen = Some("127.0.0.1:9080".parse().unwrap());
        assert_eq!(needed(&observed) - plain, ADMIN as u64);
        let mut asking = config(1000);
        let url = "https://auth.example.org/login".to_owned();
        let way = Authenticator { url: Some(url), concurrency: 40, ..Authenticator::default() };
        asking.realms[0].authenticators = vec![way];
        assert_eq!(needed(&asking) - plain, 40);
    }

    #[test]
    fn enough_is_left_alone() {
        let mut same = config(1000);
        let limit = needed(&same);
        assert_eq!(fit(&mut same, limit), None);
        assert_eq!(same.limits.connections, 1000);
        assert_eq!(fit(&mut same, limit - 1).map(|few| few.needed), Some(limit));
    }
}

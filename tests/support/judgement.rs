//! Who may be ended: slow is who has refused bytes that its socket was offered, dead is who has
//! been silent although all that it sent was read. Asked around every half of every turn.

use super::network::Network;

/// What was so before half a turn of a shard.
pub(crate) struct Bench {
    shard: usize,
    slow: u64,
    silent: u64,
    /// Open sockets, and whether they had refused bytes.
    open: Vec<(usize, bool)>,
    /// Sockets whose peers have been silent for as long as the router waits, all of it in its view.
    silent_pipes: Vec<usize>,
}

impl Bench {
    pub(crate) fn convene(network: &Network, shard: usize) -> Self {
        let timeouts = &network.router.edition().settings.timeouts;
        let patience_ms = timeouts.ping_interval_ms + timeouts.ping_timeout_ms;
        let now = network.now;
        let links = &network.links;
        let is_silent = |since| timeouts.ping_interval_ms > 0 && now.since(since) >= patience_ms;
        let silent_pipes = links.open_pipes(shard, |pipe| {
            network.sees_all && pipe.inbound.is_empty() && is_silent(pipe.heard_at)
        });
        let open = links.open_pipes(shard, |_| true);
        let open = open.into_iter().map(|pipe| (pipe, links.pipes[pipe].refused)).collect();
        let (slow, silent) = ended(network, shard);
        Self { shard, slow, silent, open, silent_pipes }
    }

    /// Each connection that was ended since had deserved it.
    pub(crate) fn judge(self, network: &mut Network) {
        let (slow, silent) = ended(network, self.shard);
        let (slow, silent) = (slow - self.slow, silent - self.silent);
        if slow > 0 {
            let pipes = &network.links.pipes;
            let refused = |(pipe, before): &(usize, bool)| *before || pipes[*pipe].refused;
            let suspects: Vec<usize> =
                self.open.into_iter().filter(refused).map(|(pipe, _)| pipe).collect();
            assert!(suspects.len() as u64 >= slow, "{slow} ended as slow, {suspects:?} refused");
            suspects.iter().for_each(|pipe| network.links.pipes[*pipe].ended_as.slow = true);
        }
        if silent > 0 {
            let suspects = self.silent_pipes;
            assert!(suspects.len() as u64 >= silent, "{silent} ended, {suspects:?} were silent");
            suspects.iter().for_each(|pipe| network.links.pipes[*pipe].ended_as.silent = true);
        }
    }
}

/// How many connections of a shard were ended as slow so far, and how many as silent.
fn ended(network: &Network, shard: usize) -> (u64, u64) {
    let counters = &network.router.counters()[shard];
    (counters.slow_consumers_disconnected.get(), counters.keepalive_timeouts.get())
}

//! Attacks with control frames.

use std::time::Instant;

use super::Attack;
use super::events::READ_BYTES;
use super::member::Manner;
use crate::error::Result;
use crate::wire::Serializer::Json;

/// Reads full of pings without a payload, from clients that read the pongs and from others that do
/// not.
pub(super) fn pings(attack: &mut Attack) -> Result<()> {
    let (mut sent, mut answered) = (0, 0);
    while attack.goes_on() {
        let clients = attack.crowd.join(4, Json, Manner::Silent)?;
        attack.crowd.set_reads(clients.start, false);
        let until = attack.until();
        let all = clients.clone();
        while Instant::now() < until && attack.crowd.over(clients.clone()) == 0 {
            for client in clients.clone() {
                attack.crowd.with_link(client, |link| {
                    while link.queued_bytes() < READ_BYTES {
                        link.send_ping();
                        sent += 1;
                    }
                });
            }
            attack.crowd.run(Instant::now(), |_| true)?;
        }
        answered += attack.crowd.sum(all, |seen| seen.pongs + u64::from(seen.is_over));
        attack.crowd.dismiss_all(clients);
    }
    attack.did("pings", sent, 10_000);
    attack.did("pongs and ends", answered, 1);
    Ok(())
}

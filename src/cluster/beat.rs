//! Heartbeats: one message for all nodes, with a head for each.

use minicbor::Encoder;

use super::wire::{Garbled, Head, Incarnation};

/// Appends a heartbeat: for whom each head is, and the head.
pub(super) fn encode(heads: impl Iterator<Item = (Incarnation, Head)>, into: &mut Vec<u8>) {
    for (to, head) in heads {
        Encoder::new(&mut *into).u64(to.0).expect("a vector takes all");
        head.encode(into);
    }
}

/// The head for `me`, if there is one.
pub(super) fn decode(mut message: &[u8], me: Incarnation) -> Result<Option<Head>, Garbled> {
    while !message.is_empty() {
        let mut decoder = minicbor::Decoder::new(message);
        let to = decoder.u64().map_err(|_| Garbled::Head)?;
        let (head, rest) = Head::decode(&message[decoder.position()..])?;
        if to == me.0 {
            return Ok(Some(head));
        }
        message = rest;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::Wishes;

    fn head(own: u64) -> Head {
        let (from, wishes) = (Incarnation(1), Wishes::default());
        Head { from, own, peers: 0, received: 7, handled: 5, number: 0, wishes }
    }

    #[test]
    fn each_node_finds_its_head() {
        let mut message = Vec::new();
        let heads = [(Incarnation(4), head(1)), (Incarnation(u64::MAX), head(2))];
        encode(heads.into_iter(), &mut message);
        for (to, head) in heads {
            assert_eq!(decode(&message, to), Ok(Some(head)));
        }
        assert_eq!(decode(&message, Incarnation(5)), Ok(None));
        assert_eq!(decode(&[], Incarnation(5)), Ok(None));
        for end in 1..message.len() {
            let found = decode(&message[..end], Incarnation(u64::MAX));
            assert!(found.is_err() || found == Ok(None), "{end} bytes");
        }
    }
}

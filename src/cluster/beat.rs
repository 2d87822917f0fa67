//! Heartbeats: one message for all nodes. It says how far the sender has read the bucket, and has a
//! head for each of them.

use minicbor::Encoder;

use super::wire::{Garbled, Head, Incarnation};

/// Appends a heartbeat: the revision, and for whom each head is, and the head.
pub(super) fn encode(
    revision: u64,
    heads: impl Iterator<Item = (Incarnation, Head)>,
    into: &mut Vec<u8>,
) {
    let mut encoder = Encoder::new(&mut *into);
    encoder.array(FIELDS).and_then(|encoder| encoder.u64(revision)).expect("a vector takes all");
    for (to, head) in heads {
        Encoder::new(&mut *into).u64(to.0).expect("a vector takes all");
        head.encode(into);
    }
}

/// One for nobody.
pub fn nothing_new() -> Vec<u8> {
    let mut beat = Vec::new();
    encode(0, std::iter::empty(), &mut beat);
    beat
}

/// The revision and the head for `me`, if there is one.
pub(super) fn decode(message: &[u8], me: Incarnation) -> Result<Option<(u64, Head)>, Garbled> {
    let mut decoder = minicbor::Decoder::new(message);
    let revision = read_revision(&mut decoder).map_err(|_| Garbled::Head)?;
    let head = head_of(&message[decoder.position()..], me)?;
    Ok(head.map(|head| (revision, head)))
}

/// A later version may append fields.
fn read_revision(decoder: &mut minicbor::Decoder<'_>) -> Result<u64, minicbor::decode::Error> {
    let fields = decoder.array()?.unwrap_or_default();
    let revision = decoder.u64()?;
    (FIELDS..fields).try_for_each(|_| decoder.skip())?;
    Ok(revision)
}

fn head_of(mut message: &[u8], me: Incarnation) -> Result<Option<Head>, Garbled> {
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

const FIELDS: u64 = 1;

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
        encode(9, heads.into_iter(), &mut message);
        for (to, head) in heads {
            assert_eq!(decode(&message, to), Ok(Some((9, head))));
        }
        assert_eq!(decode(&message, Incarnation(5)), Ok(None));
        assert_eq!(decode(&[], Incarnation(5)), Err(Garbled::Head));
        assert_eq!(decode(&[0x82, 3, 0x61, b'x'], Incarnation(5)), Ok(None), "a later version");
        for end in 1..message.len() {
            let found = decode(&message[..end], Incarnation(u64::MAX));
            assert!(found.is_err() || found == Ok(None), "{end} bytes");
        }
    }
}

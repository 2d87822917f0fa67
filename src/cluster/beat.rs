//! Heartbeats: one message for all nodes. It says how far the sender has read the bucket, and has a
//! head for each of them.

use minicbor::Encoder;

use super::wire::{Garbled, Head, Incarnation};

/// Appends a heartbeat: the revision and its sender, and for whom each head is, and the head.
pub(super) fn encode(
    (revision, from): (u64, Incarnation),
    heads: impl Iterator<Item = (Incarnation, Head)>,
    into: &mut Vec<u8>,
) {
    let mut encoder = Encoder::new(&mut *into);
    let written = encoder.array(FIELDS).and_then(|encoder| encoder.u64(revision)?.u64(from.0));
    written.expect("a vector takes all");
    for (to, head) in heads {
        Encoder::new(&mut *into).u64(to.0).expect("a vector takes all");
        head.encode(into);
    }
}

/// One for nobody, of no node.
pub fn nothing_new() -> Vec<u8> {
    let mut beat = Vec::new();
    encode((0, Incarnation(0)), std::iter::empty(), &mut beat);
    beat
}

/// What stands before the heads: the revision, and whose heartbeat it is; `None` for one of the
/// first version, which did not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Title {
    pub(super) revision: u64,
    pub(super) from: Option<Incarnation>,
}

/// Reads a heartbeat; `take` gets each head, with the node that it is for.
pub(super) fn decode(
    message: &[u8],
    mut take: impl FnMut(Incarnation, Head),
) -> Result<Title, Garbled> {
    let mut decoder = minicbor::Decoder::new(message);
    let title = read_title(&mut decoder).map_err(|_| Garbled::Head)?;
    let mut message = &message[decoder.position()..];
    while !message.is_empty() {
        let mut decoder = minicbor::Decoder::new(message);
        let to = decoder.u64().map_err(|_| Garbled::Head)?;
        let (head, rest) = Head::decode(&message[decoder.position()..])?;
        take(Incarnation(to), head);
        message = rest;
    }
    Ok(title)
}

/// A later version may append fields.
fn read_title(decoder: &mut minicbor::Decoder<'_>) -> Result<Title, minicbor::decode::Error> {
    let fields = decoder.array()?.unwrap_or_default();
    let revision = decoder.u64()?;
    let from = (fields >= FIELDS).then(|| decoder.u64().map(Incarnation)).transpose()?;
    (FIELDS..fields).try_for_each(|_| decoder.skip())?;
    Ok(Title { revision, from })
}

const FIELDS: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::Wishes;

    fn head(own: u64) -> Head {
        let (from, wishes) = (Incarnation(1), Wishes::default());
        Head { from, own, peers: 0, received: 7, handled: 5, number: 0, wishes }
    }

    fn read(message: &[u8]) -> Result<(Title, Vec<(Incarnation, Head)>), Garbled> {
        let mut heads = Vec::new();
        let title = decode(message, |to, head| heads.push((to, head)))?;
        Ok((title, heads))
    }

    #[test]
    fn each_head_is_for_a_node() {
        let mut message = Vec::new();
        let heads = [(Incarnation(4), head(1)), (Incarnation(u64::MAX), head(2))];
        encode((9, Incarnation(1)), heads.into_iter(), &mut message);
        let title = Title { revision: 9, from: Some(Incarnation(1)) };
        assert_eq!(read(&message), Ok((title, heads.to_vec())));
        assert_eq!(read(&[]), Err(Garbled::Head));
        let later = Title { revision: 3, from: Some(Incarnation(7)) };
        assert_eq!(read(&[0x83, 3, 7, 0x61, b'x']), Ok((later, vec![])), "a later version");
        assert_eq!(read(&[0x81, 3]), Ok((Title { revision: 3, from: None }, vec![])), "the first");
        for end in 1..message.len() {
            let found = read(&message[..end]);
            let is_shorter = |(_, found): (Title, Vec<_>)| found.len() < heads.len();
            assert!(found.is_err() || found.is_ok_and(is_shorter), "{end} bytes");
        }
    }
}

//! The check of a client's request ids: one counter for its six kinds of requests (BP-ID-06).

use crate::router::RequestIdCheck;
use crate::wamp::{MAX_ID, RequestId};

/// The requests that a session has made so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestIds {
    last: Option<RequestId>,
}

/// A request id that is out of sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "request id {found} is out of sequence, expected {expected}; a client that cannot count by \
     one needs `request_ids = \"off\"` in the router's [protocol] settings"
)]
pub struct SequenceError {
    pub found: RequestId,
    pub expected: RequestId,
}

impl RequestIds {
    /// Whether the id lies behind those of new requests, so that it can only be an old one.
    pub fn is_past(&self, id: RequestId) -> bool {
        self.last.is_some_and(|last| id <= last && last.get() != MAX_ID)
    }

    /// The request with the id that was just taken has had no effect, and comes again.
    pub fn give_back(&mut self, id: RequestId) {
        debug_assert_eq!(self.last, Some(id), "it was taken last");
        self.last = RequestId::new(id.get() - 1);
    }

    /// Takes the id of a new request.
    pub fn accept(&mut self, id: RequestId, check: RequestIdCheck) -> Result<(), SequenceError> {
        let expected = self.last.map_or(RequestId::FIRST, RequestId::next);
        let wrapped = self.last.is_some_and(|last| last.get() == MAX_ID);
        let in_sequence = match check {
            RequestIdCheck::Strict => id == expected,
            RequestIdCheck::Monotonic => wrapped || id >= expected,
            RequestIdCheck::Off => true,
        };
        if !in_sequence {
            return Err(SequenceError { found: id, expected });
        }
        self.last = Some(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(check: RequestIdCheck, ids: &[u64]) -> bool {
        let mut requests = RequestIds::default();
        let mut ids = ids.iter().map(|id| RequestId::new(*id).expect("the test uses valid ids"));
        ids.all(|id| requests.accept(id, check).is_ok())
    }

    #[test]
    fn strict_counts_from_one_by_one() {
        assert!(accepts(RequestIdCheck::Strict, &[1, 2, 3]));
        for bad in [&[2][..], &[1, 1], &[1, 3], &[1, 2, 1]] {
            assert!(!accepts(RequestIdCheck::Strict, bad), "{bad:?}");
        }
    }

    #[test]
    fn monotonic_only_grows() {
        assert!(accepts(RequestIdCheck::Monotonic, &[5, 6, 100, MAX_ID, 1]));
        assert!(!accepts(RequestIdCheck::Monotonic, &[5, 5]));
        assert!(!accepts(RequestIdCheck::Monotonic, &[5, 4]));
        assert!(accepts(RequestIdCheck::Off, &[5, 4, 4, MAX_ID, 7]));
    }

    #[test]
    fn what_is_given_back_is_taken_again() {
        for check in [RequestIdCheck::Strict, RequestIdCheck::Monotonic, RequestIdCheck::Off] {
            let mut requests = RequestIds::default();
            for id in [1, 2] {
                let id = RequestId::new(id).expect("a small number is an id");
                assert!(requests.accept(id, check).is_ok() && requests.is_past(id));
                requests.give_back(id);
                assert!(!requests.is_past(id) && requests.accept(id, check).is_ok(), "{check:?}");
            }
        }
    }

    #[test]
    fn the_counter_wraps_at_two_to_the_53() {
        let mut requests = RequestIds { last: RequestId::new(MAX_ID) };
        assert!(requests.accept(RequestId::FIRST, RequestIdCheck::Strict).is_ok());
    }
}

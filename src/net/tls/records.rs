//! Where TLS records begin and end, as far as it can be seen from outside (RFC 8446, 5.1).

/// How many bytes of `input` are its first record; `None` if it has not come whole. What is too
/// long for a record ends with its header, since that is enough to refuse it.
pub(super) fn first_record(input: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low] = input.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let end = if length > MAX_CONTENT_BYTES { HEADER_BYTES } else { HEADER_BYTES + length };
    (input.len() >= end).then_some(end)
}

const HEADER_BYTES: usize = 5;

/// What a record of TLS 1.2 may hold at most, its protection included (RFC 5246, 6.2.3).
const MAX_CONTENT_BYTES: usize = (1 << 14) + 2048;

/// The most bytes of one record.
pub(super) const MAX_RECORD_BYTES: usize = HEADER_BYTES + MAX_CONTENT_BYTES;

/// The content type of a handshake record, which is how every TLS connection begins.
pub(super) const HANDSHAKE: u8 = 22;

/// The alert with which a peer is refused that has come to no harm by itself: fatal,
/// `internal_error` (RFC 8446, 6.2), in a record of its own.
pub(super) const BUSY_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_or_not() {
        let record = [23, 3, 3, 0, 2, 7, 7, 23];
        for length in 0..7 {
            assert_eq!(first_record(&record[..length]), None);
        }
        assert_eq!(first_record(&record), Some(7));
        assert_eq!(first_record(&[23, 3, 3, 0, 0]), Some(5));
    }

    #[test]
    fn what_is_too_long_is_not_waited_for() {
        let [high, low] = (MAX_CONTENT_BYTES as u16).to_be_bytes();
        assert_eq!(first_record(&[23, 3, 3, high, low]), None);
        let [high, low] = (MAX_CONTENT_BYTES as u16 + 1).to_be_bytes();
        assert_eq!(first_record(&[23, 3, 3, high, low]), Some(HEADER_BYTES));
    }
}

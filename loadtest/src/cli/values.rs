//! The forms of values on the command line, and their bounds.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::wire::stamp::STAMP_BYTES;

/// Reads `500ms`, `5`, `5s`, `10m` or `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a number with ms, s, m or h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "expected a number".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected a rate between 0.001 and 10000000 per second".to_owned()),
    }
}

pub(super) fn payload_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (STAMP_BYTES..=MAX_PAYLOAD_BYTES).contains(&bytes) => Ok(bytes),
        _ => Err(format!("expected {STAMP_BYTES} to {MAX_PAYLOAD_BYTES}")),
    }
}

/// Of the generator.
pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(threads) if threads <= MAX_THREADS => Ok(threads),
        _ => Err(format!("expected 1 to {MAX_THREADS}")),
    }
}

const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
const MAX_PAYLOAD_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_some_and_not_too_many() {
        assert_eq!(threads("256").map(NonZeroUsize::get), Ok(256));
        for text in ["0", "257", "-1", "two", ""] {
            assert_eq!(threads(text), Err("expected 1 to 256".to_owned()), "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("5d").is_err() && duration("s").is_err() && duration("-1s").is_err());
    }
}

//! Points in time as clients see them: RFC 3339 text. No clock; the event loop hands the time in.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};

/// A point in time of the calendar, in microseconds since 1970-01-01T00:00:00Z. Not monotonic:
/// an operator may set the clock back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RFC 3339 timestamp such as 2024-05-01T12:00:00.000Z")]
pub struct BadTimestamp;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the epoch; what the calendar does not reach counts as its end.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self::from_unix_us(ms.saturating_mul(MICROS_PER_MS))
    }

    /// From microseconds since the epoch; what the calendar does not reach counts as its end.
    pub fn from_unix_us(us: i64) -> Self {
        Self(us.clamp(-END, END))
    }

    /// Microseconds since the epoch.
    pub const fn unix_us(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn unix_ms(self) -> i64 {
        self.0.div_euclid(MICROS_PER_MS)
    }
}

/// In UTC with milliseconds: `2024-05-01T12:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::from_timestamp_micros(self.0).expect("it is within the calendar");
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// Any offset is understood; what is finer than a microsecond is cut off.
impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| BadTimestamp)?;
        Ok(Self(time.timestamp_micros()))
    }
}

const MICROS_PER_MS: i64 = 1_000;

/// The year 9999 ends before it, and RFC 3339 with it.
const END: i64 = 253_402_300_799_999_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap_or_else(|_| panic!("{text} is a timestamp")).0
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_714_564_800_123, "2024-05-01T12:00:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let timestamp = Timestamp::from_unix_ms(ms);
            assert_eq!(timestamp.to_string(), text);
            assert_eq!(text.parse(), Ok(timestamp));
        }
        assert_eq!(Timestamp::from_unix_ms(-1).unix_ms(), -1);
        let _ = Timestamp::from_unix_ms(i64::MIN).to_string();
    }

    /// AP-HIS-03: RFC 3339 section 5.6, with the examples of its section 5.8.
    #[test]
    fn every_form_of_the_rfc_is_understood() {
        assert_eq!(parse("1985-04-12T23:20:50.52Z"), 482_196_050_520_000);
        assert_eq!(parse("1996-12-19T16:39:57-08:00"), parse("1996-12-20T00:39:57Z"));
        assert_eq!(parse("1937-01-01T12:00:27.87+00:20"), parse("1937-01-01T11:40:27.87Z"));
        assert_eq!(parse("1990-12-31T15:59:60-08:00"), parse("1990-12-31T23:59:60Z"));
        assert_eq!(parse("1985-04-12t23:20:50.520001z"), 482_196_050_520_001);
        for bad in ["", "now", "2024-05-01", "2024-05-01T12:00:00", "2024-13-01T00:00:00Z"] {
            assert_eq!(bad.parse::<Timestamp>(), Err(BadTimestamp), "{bad}");
        }
    }
}

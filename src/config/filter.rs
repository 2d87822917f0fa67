//! The log's filter: whether it is one, and what a bare word in it may be.

use tracing_subscriber::EnvFilter;

use super::Log;
use super::fault::{Fault, LOG_LEVELS};

impl Log {
    /// The filter that `level` describes.
    ///
    /// # Errors
    /// A sentence if `level` is no filter.
    pub fn filter(&self) -> Result<EnvFilter, Fault> {
        // A bare word that is no level would be taken for a module's name and hide all others.
        for word in self.level.split(',').map(str::trim) {
            let is_level = LOG_LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
            if !is_level && !word.contains(['=', '[', ']', '}']) {
                return Err(Fault::BadLogLevel(word.into()));
            }
        }
        let is_named = self.level.contains(CHATTY);
        let level =
            if is_named { self.level.clone() } else { format!("{CHATTY}=off,{}", self.level) };
        EnvFilter::builder().parse(level).map_err(|error| Fault::Value {
            key: "log.level".into(),
            reason: format!("`{}` is no log filter: {error}", self.level),
        })
    }
}

/// A library that logs each of its tries to connect; what comes of them is logged here.
const CHATTY: &str = "async_nats";

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(level: &str) -> Result<EnvFilter, Fault> {
        Log { level: level.into(), ..Log::default() }.filter()
    }

    #[test]
    fn levels_and_filters_pass() {
        for level in ["info", "WARN", "off", "info,stentor::net=debug", "stentor=trace, error"] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn a_misspelt_level_is_no_module() {
        let fault = filter("debgu").unwrap_err();
        assert_eq!(fault, Fault::BadLogLevel("debgu".into()));
        assert_eq!(fault.help().unwrap(), "did you mean `debug`?");
        assert!(filter("").is_err());
        assert!(filter("stentor=loud").is_err());
    }
}

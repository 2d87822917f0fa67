//! The configuration read again while the router runs: file, environment and flags as at the start.
//!
//! Runs on the main thread, when SIGHUP asks for it. What cannot be used changes nothing.

use stentor::config::{Change, Config, Warning};
use stentor::net::{self, Server};
use tracing::{error, info, warn};

use crate::announce;
use crate::cli::RunFlags;
use crate::logging::Log;

pub(crate) struct Reload<'a> {
    flags: &'a RunFlags,
    log: &'a Log,
    /// Those that were said of the configuration that runs.
    warned: Vec<Warning>,
}

impl<'a> Reload<'a> {
    pub(crate) const fn new(flags: &'a RunFlags, log: &'a Log, warned: Vec<Warning>) -> Self {
        Self { flags, log, warned }
    }

    /// Has the router run what stands in the file by now, and says what that changes.
    pub(crate) fn run(&mut self, server: &Server) {
        let mut config = match self.flags.load() {
            Ok(config) => config,
            Err(reason) => return refuse(&reason),
        };
        let few = net::fit_to_descriptors(&mut config);
        let changes = match server.reload(&config) {
            Ok(changes) => changes,
            Err(reason) => return refuse(&reason),
        };
        // Said by the level of before, which may be the lower one.
        let (applied, after_restart) = (changes.applied.len(), changes.after_restart.len());
        for Change { place, what } in &changes.applied {
            info!(place, what, "reload");
        }
        for Change { place, what } in &changes.after_restart {
            warn!(place, what, "reload: this holds only after a restart of the router");
        }
        info!(applied, after_restart, "the configuration was read again");
        if let Some(few) = few {
            warn!("{few}");
        }
        self.warn(&config);
        if changes.applied.iter().any(|change| change.place.starts_with("listener ")) {
            announce(&config, server);
        }
        self.log.set_level(&config.log);
    }

    /// Says the warnings that were not said before.
    fn warn(&mut self, config: &Config) {
        let warnings = config.warnings();
        for warning in warnings.iter().filter(|warning| !self.warned.contains(warning)) {
            warn!("{warning}");
        }
        self.warned = warnings;
    }
}

fn refuse(reason: &dyn std::error::Error) {
    error!("the configuration was read again and cannot be used, nothing has changed: {reason}");
}

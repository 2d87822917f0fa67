//! The configuration read again while the router runs: file, environment and flags as at the start.
//!
//! Runs on the main thread, when SIGHUP or an operator asks for it. What cannot be used changes
//! nothing.

use std::error::Error;

use stentor::config::{self, Change, Changes, Config, Warning};
use stentor::control::{Control, QUOTING};
use stentor::net::{self, Server};
use tracing::{error, info, warn};

use crate::announce;
use crate::command::cli::RunFlags;
use crate::command::logging::Log;

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

    /// Has the router log by another level or filter until the configuration is read again, or
    /// says why it is none.
    pub(crate) fn set_level(&self, level: String) -> Result<(), String> {
        let log = config::Log { level, ..config::Log::default() };
        log.filter().map(drop).map_err(|fault| fault.to_string())?;
        self.log.set_level(&log);
        Ok(())
    }

    /// Has the router run what stands in the file by now, and says what that changes, or why that
    /// cannot be used.
    pub(crate) fn run(
        &mut self,
        server: &Server,
        control: Option<&Control>,
    ) -> Result<Changes, String> {
        let outcome = self.reload(server).map_err(|reason| {
            error!(
                target: QUOTING,
                "the configuration was read again and cannot be used, nothing has changed: {reason}"
            );
            reason.to_string()
        });
        if let Some(control) = control {
            control.note_reload(outcome.clone());
        }
        outcome
    }

    fn reload(&mut self, server: &Server) -> Result<Changes, Box<dyn Error>> {
        let mut config = self.flags.load()?;
        let few = net::fit_to_descriptors(&mut config);
        let changes = server.reload(&config)?;
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
        Ok(changes)
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

//! The `stentor` command: arguments, configuration, log, start.
//!
//! Runs on the main thread, and decides nothing about clients: `stentor::config` says what is
//! valid, and the router does the rest.

mod cli;
mod logging;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use stentor::config::{Config, DEFAULT_FILE, Loader};
use tracing::{info, warn};

use cli::{Cli, Command, ConfigCommand};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => start(&cli.run),
        Some(Command::Run(flags)) => start(&flags),
        Some(Command::Check { file }) => check(&file),
        Some(Command::Config {
            command: ConfigCommand::Default,
        }) => print(DEFAULT_FILE),
    }
}

fn start(flags: &cli::RunFlags) -> ExitCode {
    let config = match flags.load() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    if let Err(fault) = logging::init(&config.log) {
        return fail(&fault);
    }
    info!(
        version = env!("CARGO_PKG_VERSION"),
        shards = config.shard_count(),
        "starting"
    );
    for warning in config.warnings() {
        warn!("{warning}");
    }
    run(config)
}

/// Serves until told to stop.
fn run(config: Config) -> ExitCode {
    for listener in &config.listeners {
        info!(
            listener = listener.label(),
            urls = listener.urls().join(" "),
            "would listen"
        );
    }
    tracing::error!("there is no event loop yet");
    ExitCode::FAILURE
}

/// Says what a router with this file would run, or what is wrong with it.
fn check(file: &Path) -> ExitCode {
    let config = match Loader::from_file(file).and_then(Loader::finish) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let mut text = format!("{}: ok\n{}", file.display(), config.summary());
    for warning in config.warnings() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    print(&text)
}

fn print(text: &str) -> ExitCode {
    // The reader may have gone, as in `stentor config default | head`.
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(error: &impl std::fmt::Display) -> ExitCode {
    let text = error.to_string();
    // Without standard error the exit code alone has to tell.
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
    ExitCode::FAILURE
}

//! The `stentor` command: arguments, configuration, log, start.
//!
//! Runs on the main thread, and decides nothing about clients: `stentor::config` says what is
//! valid, and the router does the rest.

mod cli;
mod logging;
mod signals;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use stentor::config::{Config, DEFAULT_FILE, Loader};
use stentor::net::{self, Server};
use tracing::{error, info, warn};

use cli::{Cli, Command, ConfigCommand};
use logging::Log;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => start(&cli.run),
        Some(Command::Run(flags)) => start(&flags),
        Some(Command::Check { file }) => check(&file),
        Some(Command::Config { command: ConfigCommand::Default }) => print(DEFAULT_FILE),
    }
}

fn start(flags: &cli::RunFlags) -> ExitCode {
    let mut config = match flags.load() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let log = match Log::start(&config.log) {
        Ok(log) => log,
        Err(fault) => return fail(&fault),
    };
    info!(version = env!("CARGO_PKG_VERSION"), shards = config.shard_count(), "starting");
    for warning in config.warnings() {
        warn!("{warning}");
    }
    if let Some(few) = net::fit_to_descriptors(&mut config) {
        warn!("{few}");
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.print(&last_words(&*error));
            ExitCode::FAILURE
        }
    }
}

/// A thread of the router ended by itself, without an error of its own.
#[derive(Debug, thiserror::Error)]
#[error("the thread {0} has ended although nobody had told the router to stop; this is a bug")]
struct LostThread(String);

/// Serves until told to stop.
fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let stop = signals::watch()?;
    let server = Server::start(config)?;
    if stop.is_empty() {
        announce(config, &server);
    }
    let mut lost = None;
    crossbeam_channel::select! {
        recv(stop) -> _ => {}
        recv(server.ended_threads()) -> name => {
            let thread = name.unwrap_or_default();
            error!(thread, "a thread of the router has ended, stopping");
            lost = Some(LostThread(thread));
        }
    }
    server.stop()?;
    lost.map_or(Ok(()), |lost| Err(lost.into()))
}

/// One line for each listener, with the addresses that clients connect to.
fn announce(config: &Config, server: &Server) {
    for (listener, address) in config.listeners.iter().zip(server.addresses()) {
        let bound = listener.bound_to(address.clone());
        // Only said where it is no matter of course.
        let networks = config.networks(&listener.address);
        info!(listener = bound.label(), urls = bound.urls().join(" "), networks, "listening");
    }
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

/// Ends a command that has no log.
fn fail(error: &dyn Display) -> ExitCode {
    // Without standard error the exit code alone has to tell.
    let _ = io::stderr().lock().write_all(last_words(error).as_bytes());
    ExitCode::FAILURE
}

fn last_words(error: &(impl Display + ?Sized)) -> String {
    format!("{}\n", error.to_string().trim_end())
}

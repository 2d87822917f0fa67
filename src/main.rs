//! The `stentor` command: arguments, configuration, log, start.
//!
//! Runs on the main thread, and decides nothing about clients: `stentor::config` says what is
//! valid, and the router does the rest.

mod cli;
mod logging;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::{self, ExitCode};
use std::thread;

use clap::Parser;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stentor::config::{Config, DEFAULT_FILE, Listener, Loader};
use stentor::net::Server;
use tracing::{error, info, warn};

use cli::{Cli, Command, ConfigCommand};
use logging::Log;

/// Gives memory back after a burst, on a thread of its own; see PERFORMANCE.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    let config = match flags.load() {
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
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.print(&last_words(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Serves until told to stop: the first SIGINT or SIGTERM stops in order, the second at once.
fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let server = Server::start(config)?;
    for (listener, address) in config.listeners.iter().zip(server.addresses()) {
        let bound = Listener { address: address.clone(), ..listener.clone() };
        info!(listener = bound.label(), urls = bound.urls().join(" "), "listening");
    }
    let stop_signal = forward(signals);
    crossbeam_channel::select! {
        recv(stop_signal) -> _ => info!("stopping"),
        recv(server.ended_threads()) -> name => {
            let thread = name.unwrap_or_default();
            error!(thread, "a thread of the router has ended, stopping");
        }
    }
    Ok(server.stop()?)
}

/// Passes the first signal on; the second ends the process at once.
fn forward(mut signals: Signals) -> Receiver<()> {
    let (sender, receiver) = bounded(1);
    thread::spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        // The router may be stopping already, for a reason of its own.
        let _ = sender.send(());
        signals.next();
        // At once: what the log still holds is what standard error has not taken.
        process::exit(1);
    });
    receiver
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

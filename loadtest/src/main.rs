//! The program: reads the command line, runs it, and turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use stentor_loadtest::report::Outcome;
use stentor_loadtest::{app, cli};

fn main() -> ExitCode {
    match app::run(&cli::Cli::parse().command) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Unclean) => ExitCode::from(1),
        Ok(Outcome::OverThreshold) => ExitCode::from(6),
        Err(error) => {
            eprintln!("stentor-loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

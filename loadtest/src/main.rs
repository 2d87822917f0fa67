//! The load-test harness for WAMP routers.

use clap::Parser;
use stentor_loadtest::{cli, scenario, report};

fn main() {
    let cli = cli::Cli::parse();
    if let cli::Command::Scenario(scenario) = cli.command {
        match scenario::run(&scenario) {
            Ok(report) => print!("{}", report::table::run(&report)),
            Err(error) => eprintln!("{error}"),
        }
    }
}

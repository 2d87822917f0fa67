//! Runs what the command line asks for and shows it. All printing of results is done here.

use std::path::Path;

use crate::cli::{Cli, Command, Output, Scenario, Smoke};
use crate::compare::{self, Comparison};
use crate::error::{Context, Result};
use crate::floor::{self, server};
use crate::report::{Report, html, json, table};
use crate::scenario;

/// Runs the command: true if every run was clean.
pub fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Scenario(scenario) => run_scenario(scenario),
        Command::Compare(args) => {
            let (reports, comparison) = compare::run(args)?;
            show(&args.output, &reports, Some(&comparison))
        }
        Command::Floor(args) => {
            let reports = floor::run_alone(args)?;
            let comparison = Comparison::of(&reports, args.rounds);
            show(&args.output, &reports, Some(&comparison))
        }
        Command::Smoke(args) => smoke(args),
        Command::FloorServer(args) => server::serve(args.port, args.coalesce).map(|()| true),
    }
}

fn run_scenario(scenario: &Scenario) -> Result<bool> {
    let output = &scenario.common().output;
    match scenario.floor() {
        Some(floor) if floor.with_floor => {
            let (reports, comparison) = compare::run_with_floor(scenario, floor.rounds)?;
            show(output, &reports, Some(&comparison))
        }
        _ => show(output, &[scenario::run(scenario)?], None),
    }
}

/// Fan-out to subscribers of all serializers, and calls, against every URL.
fn smoke(args: &Smoke) -> Result<bool> {
    let mut reports = Vec::new();
    for url in &args.url {
        for options in [
            "fanout -p 2 -n 30 --in-flight 8 --acknowledge \
             --subscriber-serializer json,msgpack,cbor",
            "rpc -c 4 -k 2 --depth 4",
            "rpc -c 4 -k 2 --depth 4 --shared --serializer json",
        ] {
            let line = format!("stentor-loadtest {options} --warmup 200ms --quiet");
            let cli = <Cli as clap::Parser>::try_parse_from(line.split(' '));
            let Ok(Cli { command: Command::Scenario(mut scenario) }) = cli else {
                unreachable!("the options are constant")
            };
            let common = scenario.common_mut();
            common.url = url.clone();
            common.realm = args.realm.clone();
            common.duration = args.duration;
            reports.push(scenario::run(&scenario)?);
        }
    }
    show(&args.output, &reports, None)
}

fn show(output: &Output, reports: &[Report], comparison: Option<&Comparison>) -> Result<bool> {
    let only_json = output.json.as_deref() == Some(Path::new("-"));
    for (index, report) in reports.iter().enumerate() {
        match &output.json {
            Some(_) if only_json => print(&format!("{}\n", json::line(report)?)),
            Some(path) => json::append(path, report)?,
            None => {}
        }
        if !only_json {
            print(&table::run(report));
            // Rounds of one command have one line that repeats them.
            if reports.get(index + 1).is_none_or(|next| next.command != report.command) {
                print(&table::command(report));
            }
        }
    }
    if let Some(comparison) = comparison
        && !only_json
    {
        print(&comparison.table());
    }
    if let Some(path) = &output.html {
        std::fs::write(path, html::page(reports, comparison)).context("writing the HTML report")?;
    }
    Ok(reports.iter().all(|report| report.clean))
}

#[expect(clippy::print_stdout, reason = "results are the program's output")]
fn print(text: &str) {
    print!("{text}");
}

//! Runs what the command line asks for and shows it. All printing of results is done here.

use std::fs;
use std::path::Path;

use crate::cli::{Cli, Command, Hostile, Output, Scenario, Smoke};
use crate::compare::{self, Comparison};
use crate::error::{Context, Result};
use crate::floor::{self, server};
use crate::hostile::Kind;
use crate::report::{self, Outcome, Report, csv, hdr, html, json, table};
use crate::scenario;

/// Runs the command: how the worst of its runs ended.
pub fn run(command: &Command) -> Result<Outcome> {
    if let Some(output) = command.output() {
        output.check()?;
    }
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
        Command::Hostile(args) => hostile(args),
        Command::Man(args) => man(args.dir.as_deref()).map(|()| Outcome::Clean),
        Command::FloorServer(args) => {
            server::serve(args.port, args.coalesce).map(|()| Outcome::Clean)
        }
    }
}

/// The manual, made from the definitions of the commands: the page of the program, or all of them.
fn man(directory: Option<&Path>) -> Result<()> {
    let command = <Cli as clap::CommandFactory>::command();
    if let Some(directory) = directory {
        return clap_mangen::generate_to(command, directory).context("writing the manual pages");
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("making the manual page")?;
    print(&String::from_utf8_lossy(&page));
    Ok(())
}

fn run_scenario(scenario: &Scenario) -> Result<Outcome> {
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
fn smoke(args: &Smoke) -> Result<Outcome> {
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
            common.ca = args.ca.clone();
            common.realm = args.realm.clone();
            common.duration = args.duration;
            common.output = Output { quiet: true, ..args.output.clone() };
            reports.push(scenario::run(&scenario)?);
        }
    }
    show(&args.output, &reports, None)
}

/// One line per kind as soon as it is over, then what was broken.
fn hostile(args: &Hostile) -> Result<Outcome> {
    let output = &args.common.output;
    let only_json = output.json.as_deref() == Some(Path::new("-"));
    let say = |text: &str| {
        if !only_json {
            print(text);
        }
    };
    say(&report::hostile::head());
    let mut reports = Vec::new();
    let usual: Vec<_> = Kind::ALL.into_iter().filter(|kind| !kind.is_on_request()).collect();
    let kinds = if args.kinds.is_empty() { &usual } else { &args.kinds };
    for kind in kinds {
        let trial = scenario::hostile::run(args, *kind)?;
        say(&report::hostile::row(&trial));
        match &output.json {
            Some(_) if only_json => print(&format!("{}\n", json::line(&trial.report)?)),
            Some(path) => json::append(path, &trial.report)?,
            None => {}
        }
        reports.push(trial.report);
    }
    save(output, &reports, None)?;
    reports.first().map(table::command).iter().for_each(|line| say(line));
    warn(only_json, &reports);
    Ok(Outcome::of(&reports))
}

fn show(output: &Output, reports: &[Report], comparison: Option<&Comparison>) -> Result<Outcome> {
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
    save(output, reports, comparison)?;
    warn(only_json, reports);
    Ok(Outcome::of(reports))
}

/// Writes the files that are made of all runs.
fn save(output: &Output, reports: &[Report], comparison: Option<&Comparison>) -> Result<()> {
    if let Some(path) = &output.html {
        fs::write(path, html::page(reports, comparison)).context("writing the HTML report")?;
    }
    if let Some(path) = &output.csv {
        fs::write(path, csv::table(reports)).context("writing the CSV file")?;
    }
    if let Some(path) = &output.hdr {
        let mut log = Vec::new();
        hdr::write(&mut log, reports).context("making the histogram log")?;
        fs::write(path, log).context("writing the histogram log")?;
    }
    Ok(())
}

/// Says on standard error which thresholds were broken, where no table does.
fn warn(only_json: bool, reports: &[Report]) {
    let broken = reports.iter().flat_map(|report| &report.thresholds);
    for verdict in broken.filter(|verdict| only_json && verdict.failed) {
        eprintln!("stentor-loadtest: {verdict}");
    }
}

#[expect(clippy::print_stdout, reason = "results are the program's output")]
fn print(text: &str) {
    print!("{text}");
}

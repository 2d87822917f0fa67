//! Instructions per operation, counted by valgrind: the same on a busy machine as on a quiet one.
//!
//! `cargo bench --bench instructions` prints a table beside the counts in `instructions.tsv`;
//! with `-- --save` it writes that file anew, with `-- --check` it fails if an operation needs 3 %
//! more than is saved. The file has two counts for each: of the release profile, and, for
//! `--without-lto`, of a build where `CARGO_PROFILE_RELEASE_LTO=off` and
//! `CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16`, which takes a fraction of the time. Needs valgrind.
//! With `--test` each case runs once, without it.

mod cases;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

use stentor::codec::{self, Codec, DecodeLimits};

use cases::{Calls, FanOut, Matching, Sessions};

/// A case: its name, how many operations one iteration is, and the iterations.
type Case = (&'static str, u64, fn(usize));

const CASES: [Case; 11] = [
    ("decode PUBLISH, JSON, 128 B", 1, |count| decode(Codec::Json, count)),
    ("decode PUBLISH, MessagePack, 128 B", 1, |count| decode(Codec::MsgPack, count)),
    ("deliver an event, 8 in a turn, 100 receivers", 800, |count| {
        let mut fan_out = FanOut::new(100, 1);
        (0..count).for_each(|_| fan_out.publish(8));
    }),
    ("deliver an event, 1 in a turn, 100 receivers", 100, |count| {
        let mut fan_out = FanOut::new(100, 1);
        (0..count).for_each(|_| fan_out.publish(1));
    }),
    ("deliver 1 KiB by WebSocket, 1 in a turn, 1,000 receivers", 1_000, |count| {
        let mut fan_out = FanOut::by_websocket(false);
        (0..count).for_each(|_| fan_out.publish(1));
    }),
    ("the same, compressed", 1_000, |count| {
        let mut fan_out = FanOut::by_websocket(true);
        (0..count).for_each(|_| fan_out.publish(1));
    }),
    ("publish, one receiver, 1,000 topics", 1, |count| {
        let mut matching = Matching::new(1_000, 0, 1);
        (0..count).for_each(|_| matching.publish());
    }),
    ("publish with rules, one receiver, 1,000 topics", 1, |count| {
        let mut matching = Matching::with_rules(1_000, 0, 1);
        (0..count).for_each(|_| matching.publish());
    }),
    ("call and answer", 1, |count| {
        let mut calls = Calls::default();
        (0..count).for_each(|_| calls.call());
    }),
    ("call and answer with rules", 1, |count| {
        let mut calls = Calls::with_rules();
        (0..count).for_each(|_| calls.call());
    }),
    ("join, subscribe and leave", 1, |count| {
        let mut sessions = Sessions::default();
        (0..count).for_each(|_| sessions.come_and_go());
    }),
];

const ITERATIONS: usize = 200;
/// By how much a count may exceed the saved one, percent.
const TOLERATED_PERCENT: u64 = 3;

/// Without these the C library copies and compares in the same way on every x86-64 machine.
const SAME_EVERYWHERE: &str =
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2";
const COUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.tsv");

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, number, count] = &arguments[..]
        && flag == "--case"
    {
        let (number, count) = (number.parse::<usize>(), count.parse());
        let (_, _, run) = CASES[number.expect("the number of a case")];
        run(count.expect("a number of iterations"));
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--test") {
        CASES.iter().for_each(|(_, _, run)| run(1));
        return ExitCode::SUCCESS;
    }
    let asks = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let column = usize::from(asks("--without-lto"));
    match count_all(column, asks("--save")) {
        Ok(exceeded) if asks("--check") && exceeded > 0 => {
            let _ = writeln!(
                io::stderr(),
                "{exceeded} operations need {TOLERATED_PERCENT} % more instructions than {COUNTS} \
                 says, or are not in it: find out why, or save it with `-- --save`"
            );
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error the exit code alone has to tell.
            let _ = writeln!(io::stderr(), "cannot count instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table beside one column of the file: how many cases need more than is tolerated.
fn count_all(column: usize, save: bool) -> io::Result<usize> {
    let file = fs::read_to_string(COUNTS).unwrap_or_default();
    let mut counts = String::new();
    let mut exceeded = 0;
    let mut out = io::stdout().lock();
    writeln!(out, "{:>12} {:>12} {:>8}  operation", "instructions", "saved", "change")?;
    for (number, (name, operations, _)) in CASES.iter().enumerate() {
        // The difference of two runs leaves out what setting up costs.
        let (once, twice) = (count(number, ITERATIONS)?, count(number, 2 * ITERATIONS)?);
        let each = (twice - once) / (ITERATIONS as u64 * operations);
        let mut saved = file.lines().find_map(|line| saved(line, name)).unwrap_or_default();
        let before = saved[column];
        let tolerated = |before| before * (100 + TOLERATED_PERCENT);
        exceeded += usize::from(before.is_none_or(|before| each * 100 > tolerated(before)));
        let (before_text, change) = match before {
            Some(before) => {
                let change = each as f64 / before as f64 * 100.0 - 100.0;
                (before.to_string(), format!("{change:+.1} %"))
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        writeln!(out, "{each:>12} {before_text:>12} {change:>8}  {name}")?;
        saved[column] = Some(each);
        let [released, without_lto] = saved.map(Option::unwrap_or_default);
        let _ = writeln!(counts, "{name}\t{released}\t{without_lto}"); // It is a string.
    }
    if save {
        fs::write(COUNTS, counts)?;
    }
    Ok(exceeded)
}

/// Both counts of a case, if the line is about it.
fn saved(line: &str, name: &str) -> Option<[Option<u64>; 2]> {
    let mut fields = line.split('\t');
    let is_it = fields.next() == Some(name);
    let mut count =
        || fields.next().and_then(|field| field.parse().ok()).filter(|count| *count > 0);
    is_it.then(|| [count(), count()])
}

/// The instructions of one run of a case in a process of its own.
fn count(number: usize, iterations: usize) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .env("GLIBC_TUNABLES", SAME_EVERYWHERE)
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["--case", &number.to_string(), &iterations.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let mut total = text.lines().filter_map(|line| line.split_once("refs:")).map(|(_, total)| {
        total.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>()
    });
    match total.next_back() {
        Some(Ok(total)) if output.status.success() => Ok(total),
        _ => Err(io::Error::other(format!("valgrind says: {text}"))),
    }
}

fn decode(codec: Codec, count: usize) {
    let payload = "x".repeat(128);
    let message = serde_json::json!([16, 239_714, {}, "com.example.topic", [payload]]);
    let bytes = match codec {
        Codec::MsgPack => rmp_serde::to_vec(&message).expect("it is plain"),
        _ => message.to_string().into_bytes(),
    };
    for _ in 0..count {
        let decoded = codec::decode(codec, black_box(&bytes), DecodeLimits { nesting: 64 });
        assert!(black_box(decoded).is_ok());
    }
}

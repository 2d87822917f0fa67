//! The house style, as far as a program can check it: lengths, headers, words, and the border
//! between the pure core and what does IO.
//!
//! Reads the repository's files and nothing else. Every exception stands in [`EXCEPTIONS`].

use std::fs;
use std::path::{Path, PathBuf};

/// Where code lives. A file with no rule to follow does not exist.
const CODE: [&str; 12] = [
    "src",
    "protocol/src",
    "client/src",
    "client/tests",
    "client/examples",
    "examples",
    "tests",
    "benches",
    "loadtest/src",
    "loadtest/tests",
    "fuzz/src",
    "fuzz/fuzz_targets",
];

/// What is searched for words that must not be published, besides the code.
const OTHER: [&str; 5] = [
    "Cargo.toml",
    "client/Cargo.toml",
    "protocol/Cargo.toml",
    "loadtest/Cargo.toml",
    "fuzz/Cargo.toml",
];

const MAX_COLUMNS: usize = 100;
const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;

/// File, rule and reason. An exception that is not needed any more fails the test.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("tests/tidy.rs", "unfinished", "it names the words that it looks for"),
    ("tests/tidy.rs", "published", "it names the words that it looks for"),
];

/// For each module, which others of the crate it may name. The order is that of the dependencies.
const EDGES: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("clock", &[]),
    ("hash", &[]),
    ("rate", &["clock"]),
    ("limits", &["rate"]),
    ("wamp", &[]),
    ("codec", &["wamp"]),
    ("transport", &["address", "clock", "codec", "limits"]),
    ("authentication", &["address", "clock", "hash", "limits", "wamp"]),
    // Of authentication only how endpoints are asked, and their JSON.
    ("authorization", &["authentication", "rate", "wamp"]),
    (
        "router",
        &["address", "authentication", "authorization", "clock", "hash", "limits", "rate", "wamp"],
    ),
    // Of authentication only whose token a session lives by.
    ("session", &["authentication", "authorization", "clock", "hash", "router", "wamp"]),
    (
        "shard",
        &[
            "address",
            "authentication",
            "authorization",
            "clock",
            "codec",
            "hash",
            "limits",
            "rate",
            "router",
            "session",
            "transport",
            "wamp",
        ],
    ),
    ("cluster", &["clock", "codec", "hash", "router", "session", "shard", "wamp"]),
    // Types that the configuration names, and the text forms of credentials; of the rules it asks
    // how they lie to each other.
    (
        "config",
        &[
            "address",
            "authentication",
            "authorization",
            "codec",
            "limits",
            "router",
            "transport",
            "wamp",
        ],
    ),
    ("bus", &["cluster", "config"]),
    // The hasher only for its tests, which have a router.
    ("storage", &["codec", "hash", "router", "wamp"]),
    // Of the router only what it counts, of authentication what comes of tokens.
    (
        "http",
        &[
            "address",
            "authentication",
            "clock",
            "codec",
            "config",
            "rate",
            "router",
            "transport",
            "wamp",
        ],
    ),
    // Of authorization only what the management API is.
    (
        "net",
        &[
            "address",
            "authentication",
            "authorization",
            "bus",
            "clock",
            "cluster",
            "config",
            "hash",
            "http",
            "limits",
            "rate",
            "router",
            "shard",
            "storage",
            "transport",
            "wamp",
        ],
    ),
    // Text forms of credentials, and how rules lie to each other.
    ("crossbar", &["address", "authentication", "authorization", "wamp"]),
    // Of authorization only what a rule is, to explain it, and what the management API is.
    (
        "control",
        &[
            "address",
            "authorization",
            "clock",
            "cluster",
            "config",
            "net",
            "rate",
            "router",
            "wamp",
        ],
    ),
];

/// The modules of the pure core: time, bytes and randomness are arguments there.
const PURE: [&str; 15] = [
    "address",
    "authentication",
    "authorization",
    "clock",
    "cluster",
    "codec",
    "crossbar",
    "hash",
    "limits",
    "rate",
    "router",
    "session",
    "shard",
    "transport",
    "wamp",
];

const IMPURE: [&str; 10] = [
    "mio::",
    "use mio",
    "std::net",
    "std::thread",
    "std::fs",
    "std::process",
    "Instant::now",
    "SystemTime",
    "thread_rng",
    "rand::rng(",
];

const UNFINISHED: [&str; 5] = ["FIXME", "TODO", "XXX", "todo!", "unimplemented!"];

const PUBLISHED: [&str; 6] =
    ["/home/", "/root/", "/Users/", "crates.io", "registry.npmjs", "pypi.org"];

/// A broken rule: its name, the line (from 1), and what is wrong.
type Fault = (&'static str, usize, String);

#[test]
fn the_code_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    CODE.iter().for_each(|folder| collect(&root.join(folder), &mut files));
    assert!(files.len() > 50, "only {} files were found", files.len());
    files.extend(OTHER.iter().map(|file| root.join(file)));
    let mut unused: Vec<_> = EXCEPTIONS.iter().collect();
    let mut complaints = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap();
        for (rule, line, text) in check(name, &fs::read_to_string(&file).unwrap()) {
            let excepted = |entry: &(&str, &str, &str)| entry.0 == name && entry.1 == rule;
            if EXCEPTIONS.iter().any(excepted) {
                unused.retain(|entry| !excepted(entry));
            } else {
                complaints.push(format!("{name}:{line}: {rule}: {text}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    assert!(unused.is_empty(), "exceptions that are not needed: {unused:?}");
}

/// All Rust files below a folder; none if there is no such folder.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn check(name: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if name.ends_with(".rs") {
        check_lengths(text, &mut faults);
        check_words("unfinished", &UNFINISHED, text, &mut faults);
    }
    check_words("published", &PUBLISHED, text, &mut faults);
    if let Some(module) = module_of(name) {
        if PURE.contains(&module) {
            check_words("border", &IMPURE, text, &mut faults);
        }
        check_edges(module, text, &mut faults);
    }
    faults
}

fn check_lengths(text: &str, faults: &mut Vec<Fault>) {
    if !text.starts_with("//! ") {
        faults.push(("header", 1, "the file does not open with `//!`".into()));
    }
    let lines: Vec<_> = text.lines().collect();
    if lines.len() > MAX_FILE_LINES {
        faults.push(("file length", MAX_FILE_LINES, format!("{} lines", lines.len())));
    }
    for (index, line) in lines.iter().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            faults.push(("columns", index + 1, format!("{columns} columns")));
        }
        let length = function_lines(&lines[index..]);
        if length > MAX_FUNCTION_LINES {
            faults.push(("function length", index + 1, format!("{length} lines")));
        }
    }
}

/// How many lines a function takes that starts on the first line; 0 if none does. In formatted
/// code it ends on the next line with the same indentation that closes a block or a declaration.
fn function_lines(lines: &[&str]) -> usize {
    let indentation = lines[0].len() - lines[0].trim_start().len();
    let words = lines[0].split_whitespace();
    let is_modifier = |word: &&str| {
        word.starts_with("pub") || matches!(*word, "const" | "async" | "extern") || *word == "in"
    };
    let starts = words.clone().find(|word| !is_modifier(word)) == Some("fn");
    if !starts || lines[0].ends_with('}') || lines[0].ends_with(';') {
        return 0;
    }
    let ends = |line: &&str| {
        let own = line.get(indentation..).unwrap_or_default();
        line.len() - line.trim_start().len() == indentation
            && (own == "}" || own.ends_with(';') || own.ends_with(" {}"))
    };
    lines[1..].iter().position(ends).map_or(0, |position| position + 2)
}

fn check_words(rule: &'static str, words: &[&str], text: &str, faults: &mut Vec<Fault>) {
    for (index, line) in text.lines().enumerate() {
        let found = words.iter().filter(|word| contains_word(line, word));
        faults.extend(found.map(|word| (rule, index + 1, format!("`{word}`"))));
    }
}

/// Whether `word` stands in the line, and not as the end of a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
}

/// The module of the router or of `protocol/` that a file belongs to; others, and the program's own
/// files, have none.
fn module_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix("protocol/").unwrap_or(name);
    let first = name.strip_prefix("src/")?.split('/').next()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    let own = ["main", "lib", "command", "shell"];
    (!own.contains(&module)).then_some(module)
}

fn check_edges(module: &str, text: &str, faults: &mut Vec<Fault>) {
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == module) else {
        faults.push(("edges", 1, format!("`{module}` does not stand in the table of edges")));
        return;
    };
    for (index, line) in text.lines().enumerate() {
        for rest in line.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let named = &rest[..end];
            if named != module && !allowed.contains(&named) {
                let text = format!("`{module}` must not name `crate::{named}`");
                faults.push(("edges", index + 1, text));
            }
        }
    }
}

/// The rules that a file with this text breaks.
fn broken(name: &str, text: &str) -> Vec<&'static str> {
    let mut rules: Vec<_> = check(name, text).into_iter().map(|(rule, ..)| rule).collect();
    rules.dedup();
    rules
}

#[test]
fn every_rule_fires() {
    let fine =
        "//! Fine.\n\nuse crate::wamp::Uri;\n\npub(super) const fn one() -> u8 {\n    1\n}\n";
    assert_eq!(broken("src/shard/x.rs", fine), [""; 0]);
    let name = "src/shard/x.rs";
    let with = |rest: &str| format!("//! Fine.\n{rest}\n");
    assert_eq!(broken(name, "fn x() {}\n"), ["header"]);
    assert_eq!(broken(name, &with(&"ü".repeat(101))), ["columns"]);
    assert_eq!(broken(name, &with(&"ü".repeat(100))), [""; 0]);
    assert_eq!(broken(name, &with(&"\n".repeat(600))), ["file length"]);
    for word in UNFINISHED {
        assert!(broken(name, &with(word)).contains(&"unfinished"), "{word}");
    }
    for word in PUBLISHED {
        assert_eq!(broken("Cargo.toml", word), ["published"]);
    }
    for word in IMPURE {
        assert!(broken(name, &with(word)).contains(&"border"), "{word}");
        assert!(!broken("src/net/x.rs", &with(word)).contains(&"border"), "{word}");
    }
    assert_eq!(broken(name, &with("use crate::net::Server;")), ["edges"]);
    assert_eq!(broken(name, &with("use crate::{net, wamp};")), ["edges"]);
    assert_eq!(broken("protocol/src/wamp/x.rs", &with("use crate::shard::Mail;")), ["edges"]);
    assert_eq!(broken("src/novel.rs", &with("")), ["edges"]);
}

#[test]
fn a_function_is_measured_from_its_name_to_its_end() {
    let body = "        one();\n".repeat(68);
    let method = format!("//! X.\nimpl X {{\n    pub(super) fn long() {{\n{body}    }}\n}}\n");
    assert_eq!(broken("src/net/x.rs", &method), [""; 0]);
    let longer = method.replace("{\n        one", "{\n        one();\n        one");
    assert_eq!(broken("src/net/x.rs", &longer), ["function length"]);
    for short in ["fn x() {}", "    fn declared();", "fn x(\n    a: u8,\n) -> u8 {\n    a\n}"] {
        let text = format!("//! X.\n{short}\n{}", "// far below\n".repeat(80));
        assert_eq!(broken("src/net/x.rs", &text), [""; 0], "{short}");
    }
}

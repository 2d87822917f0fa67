//! Configurations of crossbar nodes, in the shape of public ones: each becomes one that loads and
//! decides as crossbar does, or says what it lacks. What crossbar decides stands in
//! `crossbar/decisions.json`, as its own code says it; `crossbar/decisions.py` asks it.

#[path = "crossbar/cases.rs"]
mod cases;
#[path = "crossbar/command.rs"]
mod command;
#[path = "crossbar/processes.rs"]
mod processes;
#[path = "crossbar/ways.rs"]
mod ways;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stentor::authentication::CraKey;
use stentor::authorization::{Action, Decision, Powers, Role};
use stentor::config::{Config, Loader};
use stentor::crossbar::{Environment, Format, Imported, Options, Severity, Start, import};
use stentor::wamp::MatchPolicy;

fn configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crossbar/configs");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("they are there").map(|one| one.expect("one").path()).collect();
    files.sort();
    assert!(files.len() >= 30, "only {} are there", files.len());
    files
}

fn imported(text: &str, format: Format) -> Imported {
    imported_with(text, format, Environment::default(), None)
}

fn imported_with(
    text: &str,
    format: Format,
    environment: Environment,
    python: Option<&str>,
) -> Imported {
    let mut options = Options {
        file: "config.json",
        node_directory: "",
        directory: "/etc/stentor",
        start: Start::Systemd,
        python,
        environment,
        random: &mut || [7; 16],
    };
    import(text, format, &mut options).expect("it is a configuration")
}

fn imported_file(file: &Path) -> Imported {
    let is_yaml = file.extension().is_some_and(|end| end == "yaml");
    let format = if is_yaml { Format::Yaml } else { Format::Json };
    imported(&fs::read_to_string(file).expect("it is text"), format)
}

fn name_of(file: &Path) -> String {
    file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
}

/// Loads what was made, with the files that it names.
fn load(imported: &Imported) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("node");
    fs::create_dir(&own).expect("it is made");
    let toml = imported.toml.replace("${PORT}", "8080");
    for line in toml.lines() {
        if let Some(directory) = line.strip_prefix("files = ") {
            fs::create_dir_all(own.join(directory.trim_matches('"'))).expect("it is made");
        }
    }
    for file in &imported.files {
        let path = own.join(&file.name);
        let key = CraKey::derived(b"pencil", [0; 16], 1).to_text().expect("it is derived");
        let mut text = String::new();
        for line in file.text.lines() {
            let is_variable = line.starts_with("wampcra = \"${");
            let line = if is_variable { format!("wampcra = \"{key}\"") } else { line.to_owned() };
            let _ = writeln!(text, "{line}");
        }
        fs::write(&path, text).expect("it is written");
        let mode = if file.is_private { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("they are set");
    }
    fs::write(own.join("stentor.toml"), toml).expect("it is written");
    let loader = Loader::from_file(&own.join("stentor.toml")).expect("it is read");
    loader.finish().map_err(|error| error.to_string())
}

/// What a role may do with a URI, as the first letters of the actions.
fn allowed(role: &Role, uri: &str) -> String {
    let is_allowed = |action: &Action| {
        matches!(role.authorize(*action, uri, MatchPolicy::Exact), Decision::Allow(_))
    };
    let allowed = Action::ALL.into_iter().filter(is_allowed);
    allowed.map(|action| &action.as_str()[..1]).collect()
}

fn decisions() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crossbar/decisions.json");
    let text = fs::read_to_string(file).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Compares a role with what crossbar decides. It may do nothing that crossbar denies; what it may
/// not do, although crossbar allows it, has a note.
fn compare(role: &Role, decided: &Value, notes: usize, what: &str) -> (usize, usize) {
    let (mut same, mut denied) = (0, 0);
    for (uri, theirs) in decided.as_object().expect("decisions by URI") {
        let theirs = theirs.as_str().expect("letters");
        let ours = allowed(role, uri);
        let wider: String = ours.chars().filter(|letter| !theirs.contains(*letter)).collect();
        assert_eq!(wider, "", "{what}: `{uri}` is wider than in crossbar, which allows `{theirs}`");
        if ours == theirs {
            same += 1;
        } else {
            denied += 1;
            assert!(notes > 0, "{what}: `{uri}` has `{ours}` instead of `{theirs}`, and no note");
        }
    }
    (same, denied)
}

/// Notes on rights that are lost, at the rules of a role.
fn losses(imported: &Imported, place: &str) -> usize {
    let is_loss = |severity| severity == Severity::BecomesDenied;
    let within = |at: &str| at.starts_with(place) && at.contains("permissions");
    imported.notes.iter().filter(|note| is_loss(note.severity) && within(&note.place)).count()
}

#[test]
fn each_configuration_loads() {
    for file in configs() {
        let imported = imported_file(&file);
        if let Err(error) = load(&imported) {
            panic!("{}: {error}\n{}", name_of(&file), imported.toml);
        }
    }
}

#[test]
fn each_role_may_do_what_crossbar_lets_it_do() {
    let decisions = decisions();
    let mut probes = 0;
    for file in configs() {
        let name = name_of(&file);
        let imported = imported_file(&file);
        let config = load(&imported).expect("it loads");
        let realms = decisions["files"][&name].as_object().expect("crossbar was asked");
        for realm in &config.realms {
            for settings in realm.access.roles() {
                let decided = &realms[&realm.name][&settings.name];
                if decided.is_null() {
                    // Of roles with an authorizer, and of components, crossbar has no table.
                    continue;
                }
                let role = Role::new(settings, Powers::default());
                let what = format!("{name}, {}, {}", realm.name, settings.name);
                let (same, denied) = compare(&role, decided, 0, &what);
                assert_eq!(denied, 0);
                probes += same;
            }
        }
    }
    assert!(probes > 500, "only {probes} were compared");
}

/// Rules whose URIs lie close to each other, wildcards among them, drawn by `decisions.py`.
#[test]
fn drawn_rules_grant_nothing_that_crossbar_denies() {
    let decisions = decisions();
    let (mut same, mut denied) = (0, 0);
    for (number, case) in decisions["random"].as_array().expect("cases").iter().enumerate() {
        let node = json!({"workers": [{
            "type": "router",
            "realms": [{"name": "realm1", "roles": [{"name": "a", "permissions": case["rules"]}]}],
            "transports": [{"type": "websocket", "endpoint": {"type": "tcp", "port": 8080},
                "auth": {"anonymous": {"type": "static", "role": "a"}}}],
        }]});
        let imported = imported(&node.to_string(), Format::Json);
        let config = load(&imported).unwrap_or_else(|error| panic!("{number}: {error}"));
        let roles = config.realms[0].access.roles();
        let role = Role::new(&roles[0], Powers::default());
        let losses = losses(&imported, "workers[0].realms[0].roles[0]");
        let what = format!("case {number}, {}\n{}", case["rules"], imported.toml);
        let (more_same, more_denied) = compare(&role, &case["decisions"], losses, &what);
        same += more_same;
        denied += more_denied;
    }
    assert!(same > 9 * denied, "{same} are the same, {denied} are not");
}

/// What is said of each configuration, as `crossbar/notes.txt` has it; with STENTOR_WRITE_DOCS set
/// it is written.
#[test]
fn what_is_missing_is_named() {
    let mut text = String::from(
        "# What the import says of each configuration, by severity and place. Made by the test.\n",
    );
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in configs() {
        let _ = writeln!(text, "\n{}", name_of(&file));
        for note in imported_file(&file).notes {
            *counts.entry(note.severity.as_str()).or_default() += 1;
            if note.severity != Severity::Hint {
                let _ = writeln!(text, "  {}: {}", note.severity.as_str(), note.place);
            }
        }
    }
    assert!(!counts.contains_key("becomes allowed"), "{counts:?}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crossbar/notes.txt");
    if std::env::var_os("STENTOR_WRITE_DOCS").is_some() {
        fs::write(&file, &text).expect("it is written");
    }
    let known = fs::read_to_string(&file).expect("it is there");
    assert_eq!(text, known, "run it with STENTOR_WRITE_DOCS=1 if that is meant");
}

//! `stentor config import-crossbar` as it is called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const NODE: &str = r#"{"workers": [{"type": "router",
    "realms": [{"name": "realm1", "roles": [{"name": "a", "permissions": []}]}],
    "transports": [{"type": "rawsocket", "endpoint": {"type": "tcp", "port": 8080},
        "auth": {"ticket": {"type": "static",
            "principals": {"joe": {"ticket": "pencil", "role": "a"}}}}
        MORE}]}]}"#;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.current_dir(folder).args(["config", "import-crossbar"]).args(arguments);
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

#[test]
fn files_are_written_once_and_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("config.json"), NODE.replace("MORE", "")).expect("it is written");
    let output = run(folder.path(), &["config.json", "--out", "new/etc"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "new/etc/stentor.toml\n");
    let mode = |name: &str| fs::metadata(at(name)).expect("it is there").permissions().mode();
    assert_eq!(mode("new/etc/users-ticket.toml") & 0o777, 0o600);
    let mut check = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let check = check.arg("check").arg(at("new/etc/stentor.toml")).output().expect("it runs");
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let before = fs::read(at("new/etc/stentor.toml")).expect("it is there");
    let again = run(folder.path(), &["config.json", "--out", "new/etc"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    assert_eq!(fs::read(at("new/etc/stentor.toml")).expect("it is there"), before);
    // A link that leads nowhere is not followed either.
    std::os::unix::fs::symlink("/nowhere", at("link.toml")).expect("it is made");
    fs::create_dir(at("other")).expect("it is made");
    fs::rename(at("link.toml"), at("other/users-ticket.toml")).expect("it is moved");
    assert_eq!(run(folder.path(), &["config.json", "--out", "other"]).status.code(), Some(2));
    assert!(!at("other/stentor.toml").exists(), "all files, or none");
}

#[test]
fn what_is_missing_has_to_be_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.json");
    fs::write(file, NODE.replace("MORE", r#", "novel": 1"#)).expect("it is written");
    let refused = run(folder.path(), &["config.json", "--out", "new"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stdout), "");
    let said = text(&refused.stderr);
    let note = "missing: `novel` is nothing that can be carried over\n  \
                --> workers[0].transports[0].novel\n";
    assert!(said.starts_with(note), "{said}");
    assert!(!folder.path().join("new").exists());
    let partial = run(folder.path(), &["config.json", "--partial"]);
    assert_eq!(partial.status.code(), Some(0));
    assert!(text(&partial.stdout).contains("[[listener]]"));
    assert!(!text(&partial.stdout).contains("pencil") && !text(&partial.stderr).contains("pencil"));
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("it is written");
    };
    write("config.yaml", "workers:\n- type: router\n  a: [\n");
    write("config.json", "{\"workers\": [}");
    write("config.toml", "workers = []");
    for (name, said) in [
        ("config.yaml", "line "),
        ("config.json", "line 1, column 14"),
        ("config.toml", "no configuration of a crossbar node"),
        ("nothing.json", "cannot read `nothing.json`"),
        (".", "cannot read `.`"),
    ] {
        let output = run(folder.path(), &[name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
}

/// What crossbar takes from its environment the import does, or the router when it starts.
#[test]
fn secrets_come_from_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let principals = r#"{"joe": {"ticket": "${JOE_TICKET}", "role": "a"}}"#;
    let users = r#", "wampcra": {"type": "static",
        "users": {"ann": {"secret": "${ANN_SECRET}", "role": "a"}}}"#;
    let node = NODE
        .replace(r#"{"joe": {"ticket": "pencil", "role": "a"}}"#, principals)
        .replace("}}\n        MORE", &format!("}}{users}}}\n"));
    fs::write(folder.path().join("config.json"), node).expect("it is written");
    let stentor = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        let command = command.current_dir(folder.path()).args(arguments);
        command.envs(variables.iter().copied()).output().expect("it runs")
    };
    let import = ["config", "import-crossbar", "config.json", "--out", "new"];
    let refused = stentor(&import, &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("`$JOE_TICKET`, which is not set here"));
    let done = stentor(&import, &[("JOE_TICKET", "pencil")]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let check = ["check", "new/stentor.toml"];
    for (value, status, said) in [
        (None, 1, "`ANN_SECRET` is not set"),
        (Some("$lead"), 1, "the value of the environment variable `ANN_SECRET` is empty or begins"),
        (Some("lead"), 0, ""),
    ] {
        let variables: Vec<_> = value.map(|value| ("ANN_SECRET", value)).into_iter().collect();
        let checked = stentor(&check, &variables);
        let (code, stderr) = (checked.status.code(), text(&checked.stderr));
        assert!(code == Some(status) && stderr.contains(said), "{value:?}: {code:?} {stderr}");
        assert!(!stderr.contains("lead"), "{stderr}");
    }
    let path = "/srv/venv/bin/python";
    let both = stentor(&["config", "import-crossbar", "x", "--python", path, "--compose"], &[]);
    assert_eq!(both.status.code(), Some(2));
    assert!(text(&both.stderr).contains("cannot be used with"), "{}", text(&both.stderr));
}

//! The `stentor` command as a user types it: output, errors and exit codes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// What one call of the command did.
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn stentor(arguments: &[&str]) -> Done {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_stentor")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// `stentor check` on a file with this text.
fn check(text: &str) -> Done {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.toml");
    fs::write(&file, text).unwrap();
    stentor(&["check", file.to_str().unwrap()])
}

#[test]
fn version_and_help() {
    let done = stentor(&["--version"]);
    assert_eq!(done.stdout, format!("stentor {}\n", env!("CARGO_PKG_VERSION")));
    let done = stentor(&["--help"]);
    assert_eq!(done.code, Some(0));
    for word in ["run", "check", "config", "--listen", "--shards", "--slow-consumer"] {
        assert!(done.stdout.contains(word), "{word}");
    }
}

#[test]
fn the_printed_default_file_passes_the_check() {
    let printed = stentor(&["config", "default"]);
    assert_eq!(printed.code, Some(0));
    let done = check(&printed.stdout);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    for word in [": ok", "ws://127.0.0.1:8080/ws", "rs://127.0.0.1:8080", "realm1"] {
        assert!(done.stdout.contains(word), "{word} in:\n{}", done.stdout);
    }
    assert!(!done.stdout.contains("warning"), "{}", done.stdout);
}

#[test]
fn an_open_listener_is_allowed_with_a_warning() {
    let done = check("[[listener]]\nlisten = \"[::]:8080\"\n");
    assert_eq!(done.code, Some(0));
    assert!(done.stdout.contains("warning: listener [::]:8080 can be reached"), "{}", done.stdout);
}

#[test]
fn a_bad_file_is_refused_with_its_errors() {
    let done = check("shards = 64\n[limits]\nnestign = 9\n");
    assert_eq!((done.code, &*done.stdout), (Some(1), ""));
    for word in ["stentor.toml:1:10", "stentor.toml:3:1", "did you mean `nesting`?"] {
        assert!(done.stderr.contains(word), "{word} in:\n{}", done.stderr);
    }
}

#[test]
fn a_missing_file_is_refused() {
    for arguments in [&["check", "no/such.toml"][..], &["run", "--config", "no/such.toml"]] {
        let done = stentor(arguments);
        assert_eq!(done.code, Some(1));
        assert!(done.stderr.contains("no/such.toml"), "{}", done.stderr);
    }
}

#[test]
fn a_bad_flag_is_named() {
    for arguments in [&["--shards", "64"][..], &["run", "--shards", "64"]] {
        let done = stentor(arguments);
        assert_eq!(done.code, Some(1));
        assert!(done.stderr.contains("must be from 0 to 62, not 64"), "{}", done.stderr);
        assert!(done.stderr.contains("--> --shards on the command line"), "{}", done.stderr);
    }
    let done = stentor(&["--listen", "8080"]);
    assert_eq!(done.code, Some(2), "the command line itself is wrong");
    assert!(done.stderr.contains("127.0.0.1:8080"), "{}", done.stderr);
}

#[test]
fn a_certificate_to_develop_with_is_made_once_and_passes_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join("certificates").join(name);
    let place = path("");
    let arguments = ["cert", "dev", "--dir", place.to_str().unwrap(), "--name", "dev.example.org"];
    let done = stentor(&arguments);
    assert_eq!((done.code, &*done.stderr), (Some(0), ""));
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        assert!(path(name).is_file(), "{name}");
    }
    assert_eq!(fs::metadata(path("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(done.stdout.contains("localhost, 127.0.0.1, ::1, dev.example.org"), "{}", done.stdout);
    // The lines that it prints are a configuration.
    let lines = done.stdout.lines().skip_while(|line| !line.starts_with("[[listener]]"));
    let text: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let checked = check(&text.join("\n"));
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""));
    assert!(checked.stdout.contains("wss://127.0.0.1:8443/ws"), "{}", checked.stdout);

    let again = stentor(&arguments);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("ca.pem` is there already"), "{}", again.stderr);

    fs::set_permissions(path("key.pem"), fs::Permissions::from_mode(0o604)).unwrap();
    let refused = check(&text.join("\n"));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("(mode 0604)"), "{}", refused.stderr);
}

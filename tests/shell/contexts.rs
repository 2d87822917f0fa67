//! `stentor context`, and what settings hold.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::shell::{Done, Router, command, run};

/// A command of a user with this home.
fn at(home: &Path, arguments: &[&str]) -> Done {
    run(command(arguments).env("XDG_CONFIG_HOME", home))
}

#[test]
fn contexts_are_added_selected_listed_shown_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    at(home, &["context", "list"]).check(0, "");
    at(home, &["context", "show"]).check(2, "").says(&["context select"]);
    let add = ["context", "add", "prod", "--url", "wss://example.org/ws", "--realm", "shop"];
    at(home, &[&add[..], &["--authid", "joe", "--ticket-file", "/run/t"]].concat()).check(0, "");
    at(home, &add).check(2, "").says(&["already", "--force"]);
    at(home, &["context", "add", "dev", "--url", "ws://localhost/", "--select"]).check(0, "");
    let list = "* dev ws://localhost/\n  prod wss://example.org/ws shop\n";
    at(home, &["context", "list"]).check(0, list);
    at(home, &["context", "select", "prod"]).check(0, "");
    at(home, &["context", "select", "none"]).check(2, "").says(&["there are dev, prod"]);
    let done = at(home, &["context", "list", "--json"]);
    let objects = done.objects();
    assert_eq!((objects.len(), &objects[1]["selected"]), (2, &true.into()), "{objects:?}");
    let shown = "url = \"wss://example.org/ws\"\nrealm = \"shop\"\nauthid = \"joe\"\n\
                 ticket_file = \"/run/t\"\n";
    at(home, &["context", "show"]).check(0, shown);
    assert_eq!(at(home, &["context", "show", "dev", "--json"]).objects()[0]["name"], "dev");
    at(home, &["context", "remove", "prod"]).check(0, "");
    at(home, &["context", "select", "--none"]).check(0, "");
    at(home, &["context", "list"]).check(0, "  dev ws://localhost/\n");
    let file = home.join("stentor/contexts.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // A secret itself cannot be given.
    at(home, &["context", "add", "x", "--ticket", "y"]).check(2, "");
    at(home, &["context", "add", "../x"]).check(2, "").says(&["letters, digits"]);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_context() {
    let router = Router::open();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let add = ["context", "add", "here", "--url", &router.url, "--realm", "realm2", "--select"];
    at(home, &add).check(0, "");
    let mut callee = router.callee(&["com.where", "--result", "second", "--realm", "realm2"]);
    let _other = router.callee(&["com.where", "--result", "first", "--realm", "realm1"]);
    let call = ["call", "com.where", "--raw"];
    at(home, &call).check(0, "second\n");
    let in_first = |command: &mut std::process::Command| {
        run(command.env("XDG_CONFIG_HOME", home).env("STENTOR_REALM", "realm1"))
    };
    in_first(&mut command(&call)).check(0, "first\n");
    let flags = [&call[..], &["--realm", "realm2"]].concat();
    in_first(&mut command(&flags)).check(0, "second\n");
    // Nobody listens on the discard port of this machine.
    let nowhere = ["context", "add", "nowhere", "--url", "ws://127.0.0.1:9/"];
    at(home, &nowhere).check(0, "");
    let named = [&call[..], &["--context", "nowhere"]].concat();
    at(home, &named).check(3, "");
    run(command(&call).env("XDG_CONFIG_HOME", home).env("STENTOR_CONTEXT", "nowhere")).check(3, "");
    let unknown = [&call[..], &["--context", "unknown"]].concat();
    at(home, &unknown).check(2, "").says(&["no context `unknown`", "here, nowhere"]);
    assert_eq!(callee.interrupt(), Some(0));
}

#[test]
fn a_file_that_is_damaged_or_open_to_others_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    at(home, &["context", "add", "a", "--url", "ws://localhost/", "--select"]).check(0, "");
    let file = home.join("stentor/contexts.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    at(home, &["ping"]).check(2, "").says(&["others may write", "chmod 600"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "[context.a]\nurk = 1\n").unwrap();
    at(home, &["ping"]).check(2, "").says(&["contexts.toml", "urk"]);
}

#[test]
fn pages_and_completions_are_printed() {
    let page = run(&mut command(&["man"]));
    assert!(page.code == Some(0) && page.stdout.contains(".TH stentor"), "{page:?}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    run(&mut command(&["man", "--dir", path])).check(0, "");
    assert!(directory.path().join("stentor-context-add.1").is_file());
    for shell in ["bash", "zsh", "fish"] {
        let done = run(&mut command(&["completions", shell]));
        assert!(done.code == Some(0) && done.stdout.contains("stentor"), "{shell}");
    }
    run(&mut command(&["completions", "sh"])).check(2, "");
}

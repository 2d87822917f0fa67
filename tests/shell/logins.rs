//! Who logs in, by what, and where secrets come from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::running::Stentor;
use crate::shell::{Done, command, run, run_with};

/// A router whose users the command itself has made, with their secrets in files.
struct Guarded {
    directory: TempDir,
    _router: Stentor,
    url: String,
}

impl Guarded {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut text =
            "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[realm]]\nname = \"realm1\"\n".to_owned();
        for method in ["ticket", "wampcra", "wamp-scram", "cryptosign"] {
            let users = match method {
                "cryptosign" => {
                    let made = run(&mut command(&["keygen", "cryptosign", "joe"]));
                    let key = made.stderr.trim().strip_prefix("private key: ").unwrap();
                    write(&at("key"), &format!("{key}\n"));
                    made.stdout
                }
                _ => {
                    let arguments = [
                        "passwd",
                        "joe",
                        "--method",
                        method,
                        "--kdf",
                        "pbkdf2",
                        "--iterations",
                        "10",
                    ];
                    let arguments = if method == "ticket" { &arguments[..4] } else { &arguments };
                    run_with(&mut command(arguments), b"pencil\n").stdout
                }
            };
            write(&at(&format!("{method}.toml")), &users);
            text.push_str(&format!(
                "[[realm.authenticator]]\nmethod = \"{method}\"\nrole = \"{method}\"\n\
                 users = \"{method}.toml\"\n"
            ));
        }
        text.push_str("[[realm.authenticator]]\nmethod = \"anonymous\"\nrole = \"guest\"\n");
        for role in ["ticket", "wampcra", "wamp-scram", "cryptosign", "guest"] {
            text.push_str(&format!(
                "[[realm.role]]\nname = \"{role}\"\n[[realm.role.permission]]\nuri = \"\"\n\
                 match = \"prefix\"\nallow = [\"call\"]\n"
            ));
        }
        write(&at("stentor.toml"), &text);
        write(&at("secret"), "pencil\n");
        let config = at("stentor.toml");
        let router = Stentor::start(&["--config", config.to_str().unwrap()]);
        let url = format!("ws://{}/ws", router.address);
        Self { directory, _router: router, url }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&["ping", "--count", "1", "--interval", "0.01"]);
        command.args(arguments).args(["--url", &self.url]);
        command.current_dir(self.directory.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments))
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[track_caller]
fn check(done: Done, role: &str) -> Done {
    assert_eq!(done.code, Some(0), "{done:?}");
    let words = format!("(role {role})");
    assert!(done.stdout.contains(&words), "{words} in {done:?}");
    done
}

#[test]
fn every_method_by_flags_files_and_the_environment() {
    let router = Guarded::start();
    check(router.run(&[]), "guest");
    let joe = ["--authid", "joe"];
    let with = |arguments: &[&str]| router.run(&[&joe, arguments].concat());
    // Of a secret both methods are offered, and the better one first.
    for (arguments, role) in [
        (&["--secret-file", "secret"][..], "wamp-scram"),
        (&["--secret-file", "secret", "--authmethod", "wampcra"], "wampcra"),
        (&["--ticket-file", "secret"], "ticket"),
        (&["--private-key-file", "key"], "cryptosign"),
        (&["--secret-file", "secret", "--authmethod", "anonymous"], "guest"),
    ] {
        let done = check(with(arguments), role);
        assert_eq!(done.stderr, "", "{arguments:?}");
    }
    let key = fs::read_to_string(router.path("key")).unwrap();
    for (name, value, role) in [
        ("STENTOR_SECRET", "pencil", "wamp-scram"),
        ("STENTOR_TICKET", "pencil", "ticket"),
        ("STENTOR_PRIVATE_KEY", key.trim(), "cryptosign"),
    ] {
        check(run(router.command(&joe).env(name, value)), role);
    }
    let both =
        run(router.command(&joe).env("STENTOR_SECRET", "x").args(["--ticket-file", "secret"]));
    check(both, "ticket");
}

#[test]
fn an_argument_works_and_warns() {
    let router = Guarded::start();
    let done = check(router.run(&["--authid", "joe", "--ticket", "pencil"]), "ticket");
    done.says(&["warning: other users of this machine can see the ticket", "--ticket-file"]);
    fs::set_permissions(router.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let done = check(router.run(&["--authid", "joe", "--ticket-file", "secret"]), "ticket");
    done.says(&["warning: others may read the ticket"]);
}

#[test]
fn a_refused_login_is_an_exit_code_and_no_secret_is_said() {
    let router = Guarded::start();
    let wrong = |variable: &str| {
        let mut command = router.command(&["--authid", "joe"]);
        let done = run(command.env(variable, "hunter2"));
        assert!(!format!("{done:?}").contains("hunter2"), "{done:?}");
        done
    };
    wrong("STENTOR_SECRET").check(5, "").says(&["error: "]);
    wrong("STENTOR_TICKET").check(5, "").says(&["wamp.error.authentication_denied"]);
    wrong("STENTOR_PRIVATE_KEY").check(2, "").says(&["private key cannot be used"]);
    let done = router.run(&["--authid", "joe", "--authmethod", "ticket"]);
    done.check(2, "").says(&["--ticket-file", "STENTOR_TICKET"]);
    let done = router.run(&["--authid", "joe", "--ticket-file", "no/such"]);
    done.check(2, "").says(&["cannot read the ticket", "no/such"]);
    router.run(&["--ticket", "x", "--ticket-file", "secret"]).check(2, "");
    router.run(&["--authmethod", "guess"]).check(2, "").says(&["cryptosign"]);
    router.run(&["--cert", "x"]).check(2, "").says(&["--cert and --key"]);
}

#[test]
fn tls_believes_the_authority_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let made = run(&mut command(&["cert", "dev", "--dir", directory.path().to_str().unwrap()]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let text = format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[listener.tls]]\ncertificate = \"{}\"\n\
         key = \"{}\"\n{}",
        at("cert.pem"),
        at("key.pem"),
        crate::running::OPEN_REALM
    );
    let config = directory.path().join("stentor.toml");
    write(&config, &text);
    let mut child = command(&["--config", config.to_str().unwrap()]);
    let mut process =
        crate::running::Running(child.stderr(std::process::Stdio::piped()).spawn().unwrap());
    let log = crate::sockets::Lines::of(process.0.stderr.take().unwrap());
    let line = log.next_with("wss://");
    let (_, rest) = line.split_once("wss://127.0.0.1:").unwrap();
    let port: u16 = rest.split('/').next().unwrap().parse().unwrap();
    let url = format!("wss://localhost:{port}/ws");
    let ping = ["ping", "--count", "1", "--url", &url];
    run(&mut command(&ping)).check(3, "").says(&["TLS", "localhost"]);
    let ca = at("ca.pem");
    let done = run(&mut command(&[&ping[..], &["--ca", &ca]].concat()));
    assert_eq!(done.code, Some(0), "{done:?}");
    run(&mut command(&[&ping[..], &["--ca", "no/such"]].concat())).check(2, "").says(&["no/such"]);
    drop(process);
}

//! The `stentor` command as a user types it: output, errors and exit codes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

/// What one call of the command did.
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn stentor(arguments: &[&str]) -> Done {
    run(Command::new(env!("CARGO_BIN_EXE_stentor")).args(arguments))
}

fn run(command: &mut Command) -> Done {
    let Output { status, stdout, stderr } = command.output().unwrap();
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
    let warnings: Vec<_> = done.stdout.matches("warning: ").collect();
    assert_eq!(warnings.len(), 1, "{}", done.stdout);
    assert!(done.stdout.contains("realm realm1 has no role"), "{}", done.stdout);
}

#[test]
fn an_open_listener_is_allowed_with_a_warning() {
    let realm = "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n";
    let listener = "[[listener]]\nlisten = \"[::]:8080\"\n";
    let done = check(&format!("{listener}{realm}"));
    assert_eq!(done.code, Some(0));
    assert!(done.stdout.contains("warning: listener [::]:8080 can be reached"), "{}", done.stdout);
}

#[test]
fn a_realm_that_nobody_can_join_is_said_to_be_closed() {
    let done = check("[[realm]]\nname = \"a\"\n");
    assert_eq!(done.code, Some(0));
    assert!(done.stdout.contains("a (loose URIs, closed)"), "{}", done.stdout);
    let closed = "warning: realm a is closed: it has no `[[realm.authenticator]]`";
    assert!(done.stdout.contains(closed), "{}", done.stdout);
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

    let named = stentor(&["cert", "fingerprint", path("cert.pem").to_str().unwrap()]);
    let lines: Vec<_> = named.stdout.lines().collect();
    let [fingerprint, subject, common, local, dev] = &*lines else { panic!("{}", named.stdout) };
    assert_eq!(*subject, "tls = \"subject:CN=Stentor development certificate\"");
    assert_eq!(*common, "tls = \"cn:Stentor development certificate\"");
    assert!(fingerprint.starts_with("tls = \"sha256:") && fingerprint.len() == 79, "{fingerprint}");
    assert_eq!((*local, *dev), ("tls = \"dns:localhost\"", "tls = \"dns:dev.example.org\""));
    let none = stentor(&["cert", "fingerprint", path("key.pem").to_str().unwrap()]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("holds no certificate"), "{}", none.stderr);

    let again = stentor(&arguments);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("ca.pem` is there already"), "{}", again.stderr);

    fs::set_permissions(path("key.pem"), fs::Permissions::from_mode(0o604)).unwrap();
    let refused = check(&text.join("\n"));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("(mode 0604)"), "{}", refused.stderr);
}

/// A call of the command that reads this from standard input.
fn stentor_with_input(arguments: &[&str], input: &str) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(arguments)
        .env("CLI_TEST_SECRET", "correct horse")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Whether `check` accepts a users file that holds this entry.
fn check_users(method: &str, entry: &str) -> Done {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users.toml");
    fs::write(&users, entry).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    let file = directory.path().join("stentor.toml");
    let text = format!(
        "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"{method}\"\n\
         users = \"users.toml\"\nrole = \"user\"\n"
    );
    fs::write(&file, text).unwrap();
    stentor(&["check", file.to_str().unwrap()])
}

#[test]
fn passwd_makes_an_entry_for_every_method() {
    for (flags, method) in [
        (&[][..], "ticket"),
        (&["--method=wampcra"], "wampcra"),
        (&["--method=wamp-scram"], "wamp-scram"),
        (&["--method=wamp-scram", "--kdf=pbkdf2", "--iterations=1000"], "wamp-scram"),
        (&["--secret-env=CLI_TEST_SECRET", "--role=ad\"min"], "ticket"),
    ] {
        let arguments = [&["passwd", "jo\"e"], flags].concat();
        let done = stentor_with_input(&arguments, "correct horse\r\n");
        assert_eq!((done.code, &*done.stderr), (Some(0), ""), "{flags:?}");
        assert!(done.stdout.starts_with("[[user]]\nauthid = 'jo\"e'\n"), "{}", done.stdout);
        assert!(!done.stdout.contains("correct"), "{}", done.stdout);
        let checked = check_users(method, &done.stdout);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        let summary = format!("{method} for 1 user)");
        assert!(checked.stdout.contains(&summary), "{}", checked.stdout);
        let again = stentor_with_input(&arguments, "correct horse");
        assert_ne!(done.stdout, again.stdout, "each salt is another one");
    }
}

#[test]
fn passwd_refuses_what_is_no_secret() {
    for (flags, input, word) in [
        (&["joe"][..], "", "the secret is empty"),
        (&["joe", "--secret-env=NO_SUCH_VARIABLE"], "x", "`NO_SUCH_VARIABLE` is not set"),
        (&["joe", "--method=wamp-scram"], "\u{7}", "SASLprep"),
        (&["joe"], &"x".repeat(40_000), "more than 32768 bytes"),
        (&[&"x".repeat(257)], "x", "1 to 256 bytes"),
    ] {
        let done = stentor_with_input(&[&["passwd"], flags].concat(), input);
        assert_eq!((done.code, &*done.stdout), (Some(1), ""), "{}", done.stderr);
        assert!(done.stderr.contains(word), "{word} in {}", done.stderr);
    }
    let done = stentor_with_input(&["passwd", "joe", "secret"], "");
    assert_eq!(done.code, Some(2), "no argument is a secret");
}

/// A file for `router_key`, and what clients may know.
#[test]
fn keygen_makes_keys_of_the_router() {
    let done = stentor(&["keygen", "router"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let key = stentor::authentication::RouterKey::parse(&done.stdout).unwrap();
    assert_eq!(done.stderr.trim(), format!("public key: {}", key.public()));
    let wrong = stentor(&["keygen", "router", "joe"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.stdout);
    assert!(wrong.stderr.contains("no user's"), "{}", wrong.stderr);
    assert_eq!(stentor(&["keygen", "ticket"]).code, Some(2));
}

#[test]
fn keygen_tells_the_secret_apart_from_the_entry() {
    for (method, name) in [("cryptosign", "private key: "), ("ticket", "ticket: ")] {
        let done = stentor(&["keygen", method, "joe", "--role", "admin"]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let secret = done.stderr.trim_end().strip_prefix(name).unwrap();
        assert!(secret.len() >= 43 && !done.stdout.contains(secret), "{}", done.stdout);
        let checked = check_users(method, &done.stdout);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        let again = stentor(&["keygen", method, "joe"]);
        assert!(!again.stderr.contains(secret), "each one is another");
    }
}

/// Asks `explain` about a file with this text.
fn explain(text: &str, arguments: &[&str]) -> Done {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    // By its name alone, so that the answer is the same everywhere.
    command.current_dir(&directory).arg("explain").args(arguments);
    run(command.args(["--config", "stentor.toml"]))
}

#[test]
fn explain_names_the_line_that_decides() {
    let file = r#"[[realm]]
name = "realm1"
admin_roles = ["ops"]
[[realm.role]]
name = "backend"
[[realm.role.permission]]
uri = "com."
match = "prefix"
allow = ["publish", "subscribe"]
[[realm.role.permission]]
uri = "com.secret"
deny = ["subscribe"]
[[realm.role.permission]]
uri = "org."
match = "prefix"
allow = ["call"]
[[realm.role]]
name = "asked"
[[realm.role.permission]]
uri = "net."
match = "prefix"
allow = ["publish"]
deny = ["call"]
authorizer = "com.authorize"
[[realm.role.permission]]
uri = "ed."
match = "prefix"
allow = ["publish"]
authorizer = "https://auth.example.org/allow?key=secret"
"#;
    let ask = |question: &str, code: i32, expected: &str| {
        let done = explain(file, &question.split(' ').collect::<Vec<_>>());
        assert_eq!(done.stdout, expected, "{question}: {}", done.stderr);
        assert_eq!(done.code, Some(code), "{question}");
    };
    ask(
        "publish com.x --role backend",
        0,
        "allowed: role `backend` may publish to `com.x` on realm `realm1`\n  \
         stentor.toml:6: prefix `com.`, allow publish subscribe: decides\n  \
         2 other permissions: no match\n",
    );
    ask(
        "subscribe com. --match prefix --role backend",
        1,
        "denied: role `backend` may not subscribe to prefix `com.` on realm `realm1`\n  \
         stentor.toml:10: exact `com.secret`, deny subscribe: decides\n  \
         stentor.toml:6: prefix `com.`, allow publish subscribe: matches, but a more specific one \
         decides\n  1 other permission: no match\n",
    );
    ask(
        "call com.secret --role backend --realm realm1",
        1,
        "denied: role `backend` may not call `com.secret` on realm `realm1`\n  \
         no permission of the role grants it\n  \
         stentor.toml:6: prefix `com.`, allow publish subscribe: matches, but says nothing of this \
         action\n  \
         stentor.toml:10: exact `com.secret`, deny subscribe: matches, but says nothing of this \
         action\n  1 other permission: no match\n",
    );
    ask(
        "call wamp.session.kill --role ops",
        0,
        "allowed: role `ops` may call `wamp.session.kill` on realm `realm1`\n  \
         admin_roles: exact `wamp.session.kill`, allow call: decides\n  \
         5 other permissions: no match\n",
    );
    ask(
        "call com.x --role backed",
        1,
        "denied: role `backed` may not call `com.x` on realm `realm1`\n  \
         the realm has no such role; its roles: `backend`, `asked`\n  \
         no permission of the role grants it\n",
    );
    ask(
        "publish net.x --role asked",
        2,
        "asks `com.authorize` (stentor.toml:19): whether role `asked` may publish to `net.x` on \
         realm `realm1`\n  \
         stentor.toml:19: prefix `net.`, ask about publish, deny call: decides\n  \
         1 other permission: no match\n",
    );
    ask(
        "publish ed.x --role asked",
        2,
        "asks the endpoint `https://auth.example.org/allow` (stentor.toml:25): whether role \
         `asked` may publish to `ed.x` on realm `realm1`\n  \
         stentor.toml:25: prefix `ed.`, ask about publish: decides\n  \
         1 other permission: no match\n",
    );
    ask(
        "call net.x --role asked",
        1,
        "denied: role `asked` may not call `net.x` on realm `realm1`\n  \
         stentor.toml:19: prefix `net.`, ask about publish, deny call: decides\n  \
         1 other permission: no match\n",
    );
    ask(
        "register wamp.x --role backend",
        1,
        "denied: role `backend` may not register `wamp.x` on realm `realm1`\n  \
         such URIs belong to the protocol: no client may do that\n",
    );
}

/// Whoever the users files name has the role that they say, by whichever method it joins.
/// In the management realm the file's permissions say nothing of the router's own URIs.
#[test]
fn explain_names_the_place_in_management() {
    let file = r#"[[realm]]
name = "ops"
[[realm.role]]
name = "viewer"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["subscribe", "call"]
[management]
realm = "ops"
watch = ["viewer"]
"#;
    for (question, code, expected) in [
        (
            "call stentor.session.list --role viewer",
            0,
            "allowed: role `viewer` may call `stentor.session.list` on realm `ops`\n  \
             management.watch: prefix `stentor.`, allow subscribe call: decides\n  \
             stentor.toml:5: prefix ``, allow subscribe call: matches, but [management] alone \
             decides about that\n",
        ),
        (
            "call stentor.session.kick --role viewer",
            1,
            "denied: role `viewer` may not call `stentor.session.kick` on realm `ops`\n  \
             management.act: prefix `stentor.`, deny call: decides\n  \
             stentor.toml:5: prefix ``, allow subscribe call: matches, but [management] alone \
             decides about that\n",
        ),
    ] {
        let done = explain(file, &question.split(' ').collect::<Vec<_>>());
        assert_eq!(done.stdout, expected, "{question}: {}", done.stderr);
        assert_eq!(done.code, Some(code), "{question}");
    }
}

#[test]
fn explain_finds_the_role_of_a_user() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let key = |method, authid, role: &[&str]| {
        let flags = [&["keygen", method, authid], role].concat();
        stentor(&flags).stdout
    };
    let users = [
        key("ticket", "joe", &["--role=backend"]),
        key("ticket", "ann", &[]),
        key("ticket", "two", &["--role=backend"]),
    ];
    fs::write(path("users.toml"), users.concat()).unwrap();
    fs::write(path("keys.toml"), key("cryptosign", "two", &["--role=guest"])).unwrap();
    for name in ["users.toml", "keys.toml"] {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = r#"[[realm]]
name = "a"
[[realm.authenticator]]
method = "ticket"
users = "users.toml"
role = "guest"
[[realm.authenticator]]
method = "cryptosign"
users = "keys.toml"
[[realm.role]]
name = "backend"
[[realm.role.permission]]
uri = "com.x"
allow = ["call"]
"#;
    fs::write(path("stentor.toml"), file).unwrap();
    for (authid, code, words) in [
        ("joe", 0, "allowed: role `backend` may call `com.x`"),
        ("ann", 1, "denied: role `guest` may not call `com.x`"),
        ("two", 2, "`two` has several roles on realm `a`: `backend`, `guest`"),
        ("nobody", 2, "no users file of realm `a` has an authid `nobody`"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.current_dir(&directory).args(["explain", "call", "com.x", "--as", authid]);
        let done = run(command.args(["--config", "stentor.toml"]));
        let said = done.stdout + &done.stderr;
        assert!(done.code == Some(code) && said.contains(words), "{authid}: {said}");
    }
}

#[test]
fn explain_says_what_is_wrong_with_a_question() {
    let two = "[[realm]]\nname = \"a\"\n[[realm]]\nname = \"b\"\n";
    for (question, words) in [
        ("call com.x --role r", "name one of them with --realm: `a`, `b`"),
        ("call com.x --role r --realm c", "there is no realm `c`"),
        ("call com..x --role r --realm a", "`com..x` is not valid for the policy exact"),
        ("publish com. --role r --realm a --match prefix", "leave out --match"),
        ("read com.x --role r", "publish"),
        ("call com.x", "--role"),
        ("call com.x --role r --as joe", "cannot be used with"),
    ] {
        let done = explain(two, &question.split(' ').collect::<Vec<_>>());
        assert_eq!(done.code, Some(2), "{question}: {}", done.stdout);
        assert!(done.stderr.contains(words), "{question}: {}", done.stderr);
    }
    assert_eq!(explain("shards = 64", &["call", "com.x", "--role", "r"]).code, Some(2));
    let open = stentor(&["explain", "call", "com.x", "--role", "r"]);
    assert_eq!(open.code, Some(0));
    assert!(open.stdout.contains("the realm has no roles, as there is no file"), "{}", open.stdout);
}

/// Each file of the page is right, and each table behind one says what is so.
#[test]
fn the_examples_of_the_page_on_authorization_hold() {
    let page = include_str!("../docs/authorization.md");
    let (mut file, mut answers, mut role) = (String::new(), 0, String::new());
    let mut is_inside = false;
    for line in page.lines() {
        match line {
            "```toml" => (is_inside, file) = (true, String::new()),
            "```" if is_inside => {
                is_inside = false;
                let done = check(&file);
                assert!(
                    done.code == Some(0) && !done.stdout.contains("warning"),
                    "{}",
                    done.stdout
                );
                let (_, named) = file.split_once("[[realm.role]]\nname = \"").unwrap();
                role = named.split('"').next().unwrap().to_owned();
            }
            _ if is_inside => file.extend([line, "\n"]),
            _ => {
                let Some((question, rest)) =
                    line.strip_prefix("| `").and_then(|l| l.split_once("` | "))
                else {
                    continue;
                };
                let Some(answer) =
                    rest.split(" |").next().filter(|a| ["allowed", "denied", "asks"].contains(a))
                else {
                    continue;
                };
                let words = question.split(' ').chain(["--role", &role]).collect::<Vec<_>>();
                let done = explain(&file, &words);
                assert!(
                    done.stdout.starts_with(answer),
                    "{question}: {}{}",
                    done.stdout,
                    done.stderr
                );
                answers += 1;
            }
        }
    }
    assert_eq!(answers, 15, "the tables have as many rows");
}

/// Flags over variables over the file over the defaults, each said with its value.
#[test]
fn a_configuration_is_shown_with_where_it_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.toml");
    let file = file.to_str().unwrap();
    let text = "[[realm]]\nname = \"a\"\n[limits]\nnesting = 9\nuri_bytes = 99\n";
    fs::write(file, text).unwrap();
    let show = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["config", "show", file, "--shards=3"]).args(more);
        run(command.env("STENTOR_LIMITS__NESTING", "32"))
    };
    let done = show(&[]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lines: Vec<_> = done.stdout.lines().collect();
    let line = |start: &str| *lines.iter().find(|line| line.starts_with(start)).unwrap();
    assert!(line("shards = 3 ").ends_with("  # --shards"), "{}", done.stdout);
    assert!(line("nesting = 32 ").ends_with("  # STENTOR_LIMITS__NESTING"));
    assert!(line("uri_bytes = 99 ").ends_with("stentor.toml:5"));
    assert!(line("name = \"a\" ").ends_with("stentor.toml:2"));
    assert!(!done.stdout.contains("# default"), "{}", done.stdout);
    let all = show(&["--effective"]).stdout;
    assert!(
        all.lines().any(|line| line.starts_with("backlog = 1024 ") && line.ends_with("# default"))
    );
    let done = show(&["--max-connections=0"]);
    assert!(done.stderr.contains("--max-connections on the command line"), "{}", done.stderr);
}

/// What the router runs and what `check` says is the same, variables included.
#[test]
fn check_reads_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.toml");
    fs::write(&file, "[[realm]]\nname = \"${REALM}\"\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let command = command.arg("check").arg(&file);
    let done = run(command);
    assert!(done.stderr.contains("the environment variable `REALM` is not set"), "{}", done.stderr);
    let done = run(command.env("REALM", "com.live"));
    assert!(done.stdout.contains("com.live"), "{}", done.stdout);
    let done = run(command.env("STENTOR_LIMITS__NESTIGN", "9"));
    assert!(done.stderr.contains("did you mean `STENTOR_LIMITS__NESTING`?"), "{}", done.stderr);
}

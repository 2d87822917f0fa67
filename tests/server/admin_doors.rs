//! Where the admin listener listens, and whom it lets in: with TLS, and on a Unix socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use stentor::net::tls_of_clients;
use tempfile::TempDir;
use ureq::Agent;

use crate::running::{OPEN_REALM, Running};
use crate::sockets::{Lines, Pki, eventually};
#[cfg(target_os = "linux")]
use crate::terminal::Terminal;

/// The command with an admin listener as `admin` says.
struct Stentor {
    process: Running,
    url: String,
    folder: TempDir,
}

impl Stentor {
    fn start(folder: TempDir, admin: &str) -> Self {
        let file = folder.path().join("stentor.toml");
        let listener = "[[listener]]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(&file, format!("{listener}{OPEN_REALM}[admin]\n{admin}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["--config", file.to_str().unwrap(), "--shards=1", "--log-format=human"]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(process.stderr.take().unwrap());
        let line = log.next_with("listening for operators");
        let url = line.split("url=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Self { process: Running(process), url, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_stentor")).args(arguments).output();
    let Output { status, stdout, stderr } = output.unwrap();
    (status.success(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Others can connect, so whoever only wants to see something shows the token, too.
#[test]
fn over_tls_the_token_lets_others_read_and_change() {
    let pki = Pki::new();
    let files = pki.issue("admin", &["127.0.0.1"]).files;
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let stentor = Stentor::start(
        tempfile::tempdir().unwrap(),
        &format!(
            "listen = \"0.0.0.0:0\"\ntoken_file = \"token\"\n[[admin.tls]]\n\
             certificate = \"{certificate}\"\nkey = \"{key}\"\n"
        ),
    );
    let port = stentor.url.strip_prefix("https://0.0.0.0:").expect("it says TLS").to_owned();
    let (url, ca) = (format!("https://127.0.0.1:{port}"), text(&pki.authority_file()));
    let token = text(&stentor.path("token"));
    let at = ["--admin", &url, "--ca", &ca];
    let with_token = [&at[..], &["--token-file", &token]].concat();
    let (is_done, said) = run(&[&["sessions"], &with_token[..]].concat());
    assert!(is_done && said.contains("0 of 0 sessions"), "{said}");
    assert_eq!(
        run(&[&["reload"], &with_token[..]].concat()),
        (true, "nothing has changed\n".into())
    );
    for command in ["sessions", "changes", "reload"] {
        let (is_done, said) = run(&[&[command], &at[..]].concat());
        assert!(!is_done && said.contains("Authorization"), "{command}: {said}");
    }
    #[cfg(target_os = "linux")]
    {
        let mut top = Terminal::run(&[&["top"], &at[..]].concat(), (24, 80));
        top.shows(&[
            "this needs the header `Authorization",
            "--token-file names the file",
            "q quit",
        ]);
        top.press("q");
        top.check_restored();
        let mut top = Terminal::run(&[&["top"], &with_token[..]].concat(), (24, 80));
        top.shows(&["0 sessions, 0 connections"]);
        top.press("q");
        top.check_restored();
    }
    let (is_done, said) = run(&["sessions", "--admin", &url, "--token-file", &token]);
    assert!(!is_done && said.contains("certificate"), "another authority: {said}");
    let (is_done, said) = run(&["sessions", "--admin", &format!("http://127.0.0.1:{port}")]);
    assert!(!is_done, "{said}");
    // Whether it is well is for all.
    let config = Agent::config_builder().http_status_as_error(false);
    let tls = tls_of_clients(Some(Path::new(&ca))).unwrap();
    let agent: Agent = config.tls_config(tls).build().into();
    let status = |path: &str| agent.get(format!("{url}{path}")).call().unwrap().status().as_u16();
    assert_eq!((status("/healthz"), status("/readyz"), status("/")), (200, 200, 200));
    assert_eq!(["/metrics", "/api/router", "/api/x", "/clusterz"].map(status), [401; 4]);
    // The certificate is read again when its file changes, and its end is a metric.
    let token = fs::read_to_string(stentor.path("token")).unwrap();
    let expiry = || {
        let bearer = format!("Bearer {}", token.trim_end());
        let request = agent.get(format!("{url}/metrics")).header("authorization", bearer);
        let page = request.call().unwrap().body_mut().read_to_string().unwrap();
        let name = "stentor_tls_certificate_expiry_seconds{listener=\"[admin]\",number=\"0\"} ";
        page.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
    };
    // The first of January 4000, and of 3000.
    assert_eq!(expiry().as_deref(), Some("64060588800"));
    pki.issue_until("admin", &["127.0.0.1"], (2000, 3000));
    eventually("it was read again", || expiry().as_deref() == Some("32503680000"));
}

#[test]
fn on_a_unix_socket_its_permissions_say_who_reads() {
    for (mode, line) in [(0o600, ""), (0o660, "unix_mode = \"0660\"\n")] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let admin =
            format!("listen = \"unix:{}\"\n{line}token_file = \"token\"\n", socket.display());
        let mut stentor = Stentor::start(folder, &admin);
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, mode);
        let (is_done, said) = run(&["sessions", "--admin", &stentor.url]);
        assert!(is_done && said.contains("0 of 0 sessions"), "{said}");
        let (is_done, said) = run(&["reload", "--admin", &stentor.url]);
        assert!(!is_done && said.contains("Authorization"), "{said}");
        let token = text(&stentor.path("token"));
        let done = run(&["reload", "--admin", &stentor.url, "--token-file", &token]);
        assert_eq!(done, (true, "nothing has changed\n".into()));
        stentor.process.signal("TERM");
        assert_eq!(stentor.process.exit_code(), Some(0));
        assert!(!socket.exists(), "it is removed at the end");
    }
    let (is_done, said) = run(&["sessions", "--admin", "unix:/nowhere/admin.sock"]);
    assert!(!is_done && said.contains("no answer"), "{said}");
}

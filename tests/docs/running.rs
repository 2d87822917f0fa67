//! References that a running program makes: of its commands, and of what it counts.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::is_made_of_the_program;
use crate::metrics::{Metric, metrics_of, rows};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_reference_of_commands_is_that_of_the_program() {
    let mut page = "# The command line\n\nWhat `--help` says of each command; this page is made \
                    from the program. Flags of `run` go before\nenvironment variables, and those \
                    before [the file](configuration.md).\n"
        .to_owned();
    add_command(&mut page, &[]);
    is_made_of_the_program("docs/reference/cli.md", &page);
}

fn add_command(page: &mut String, path: &[String]) {
    let mut command = Command::new(PROGRAM);
    let done = command.args(path).arg("--help").env("COLUMNS", "96").output().expect("it runs");
    assert!(done.status.success(), "{path:?}");
    let help = String::from_utf8(done.stdout).expect("it is text");
    let name = path.iter().fold("stentor".to_owned(), |name, word| name + " " + word);
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
    let commands = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    for line in commands.lines().take_while(|line| !line.is_empty()) {
        // Further lines of a description stand further right.
        let word = line.strip_prefix("  ").filter(|line| !line.starts_with(' '));
        let word = word.and_then(|line| line.split(' ').next()).unwrap_or("help");
        if word != "help" {
            add_command(page, &[path, &[word.to_owned()]].concat());
        }
    }
}

#[test]
fn the_reference_of_metrics_is_that_of_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = read_metrics(folder.path());
    let metrics = metrics_of(&text);
    assert!(metrics.len() > 90, "only {} metrics", metrics.len());
    let is_open = |metric: &Metric<'_>, label: &str| {
        OPEN_LABELS.contains(&label) || SEEN_ONLY.contains(&metric.name)
    };
    let page = METRICS.to_owned() + &rows(&metrics, is_open);
    is_made_of_the_program("docs/reference/metrics.md", &page);
}

const METRICS: &str = "\
# Metrics

What `/metrics` of [the admin listener](../operations.md#the-admin-listener) says, in its order;
this page is made from a running router. Of a histogram it has `_bucket`, `_sum` and `_count`. No
label holds what a client chooses. [The bad day](../operations.md#by-symptom) asks by symptom.
A node of a cluster has [more](metrics-of-clusters.md).

| metric | kind | |
|---|---|---|
";

/// Labels whose values depend on the router, its configuration or its clients' libraries.
const OPEN_LABELS: [&str; 10] =
    ["client", "group", "le", "listener", "number", "realm", "role", "shard", "version", "webhook"];

/// Metrics that have no more than what has happened, so their labels' values are not listed.
const SEEN_ONLY: [&str; 2] = ["stentor_authentication", "stentor_handshake_failures"];

/// A router with everything that has metrics of its own.
const CONFIGURATION: &str = r#"shards = 1
[[listener]]
listen = "unix:wamp.sock"
[[listener]]
name = "tls"
listen = "127.0.0.1:0"
[[listener.tls]]
certificate = "cert.pem"
key = "key.pem"
[admin]
listen = "unix:admin.sock"
[storage]
path = "store"
[metrics]
clients = ["wampy.js"]
[[metrics.group]]
name = "shop"
prefix = "com.shop."
[[realm]]
name = "realm1"
[[realm.history]]
topic = "com.shop."
match = "prefix"
store = "durable"
[[realm.webhook]]
name = "orders"
url = "http://127.0.0.1:9/"
topics = ["com.shop.order"]
role = "anonymous"
[[realm.role]]
name = "anonymous"
"#;

fn read_metrics(folder: &Path) -> String {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(run(&["cert", "dev"]).status().expect("it runs").success());
    fs::write(folder.join("stentor.toml"), CONFIGURATION).expect("it is written");
    let router = run(&["--config", "stentor.toml"]).spawn().expect("it starts");
    let mut router = Ended(router);
    let page = settled(folder, &mut router.0);
    assert!(page.ends_with("# EOF\n"), "the page is whole: {page}");
    page
}

/// The page when something has come of a handshake that fails, and of the webhook's login.
#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
fn settled(folder: &Path, router: &mut Child) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut stranger = connect(&folder.join("wamp.sock"), router);
    stranger.write_all(b"no handshake\r\n\r\n").expect("it is sent");
    loop {
        let page = get(&folder.join("admin.sock"), router);
        if SEEN_ONLY.iter().all(|name| page.contains(&format!("\n{name}_total{{"))) {
            return page;
        }
        assert!(Instant::now() < deadline, "{SEEN_ONLY:?} have nothing: {page}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
fn connect(socket: &Path, router: &mut Child) -> UnixStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            return stream;
        }
        assert!(router.try_wait().expect("it is asked").is_none(), "the router has ended");
        assert!(Instant::now() < deadline, "the router does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}

fn get(socket: &Path, router: &mut Child) -> String {
    let mut stream = connect(socket, router);
    stream.set_read_timeout(Some(PATIENCE)).expect("it is set");
    let request = b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is read");
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{head}");
    page.to_owned()
}

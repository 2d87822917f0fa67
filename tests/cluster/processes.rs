//! NATS servers and routers as processes of their own, on free ports of this machine, ended with
//! what holds them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use stentor_client::{Client, Error};
use tempfile::TempDir;

/// How long anything may take; what takes longer does not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A port that stays free while whoever has it is restarted: none of those that the system gives to
/// whoever connects.
pub(super) fn free_port() -> u16 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    loop {
        let count = first.wrapping_add(LAST.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + count % 20_000).expect("it is below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something holds.
#[track_caller]
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "it does not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The nats-server that is used.
pub(super) fn server_program() -> String {
    std::env::var("STENTOR_NATS_SERVER")
        .expect("STENTOR_NATS_SERVER names a nats-server; tests/cluster/run.sh sets it")
}

/// A NATS server, with its files.
pub(super) struct Nats {
    folder: TempDir,
    port: u16,
    flags: Vec<String>,
    process: Option<Child>,
}

impl Nats {
    pub(super) fn start() -> Self {
        Self::start_with(&["-js"])
    }

    pub(super) fn start_with(flags: &[&str]) -> Self {
        let mut nats = Self::absent(flags);
        nats.run();
        nats
    }

    /// One that is not started yet.
    pub(super) fn absent(flags: &[&str]) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().expect("there is room");
        Self { folder, port: free_port(), flags, process: None }
    }

    pub(super) fn run(&mut self) {
        let port = self.port.to_string();
        let process = Command::new(server_program())
            .args(["-a", "127.0.0.1", "-p", &port, "-sd"])
            .arg(self.folder.path())
            .args(&self.flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is a program");
        self.process = Some(process);
        let port = self.port;
        wait_until("a NATS server", || listens(port));
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        let is_secret = self.flags.iter().any(|flag| flag.starts_with("--tls"));
        format!("{}://127.0.0.1:{}", if is_secret { "tls" } else { "nats" }, self.port)
    }

    /// Kills it, and starts it with no files.
    pub(super) fn forget(&mut self) {
        self.kill();
        self.folder = tempfile::tempdir().expect("there is room");
        self.run();
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it has ended");
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `stentor check --connect` has said.
pub(super) struct Checked {
    pub(super) succeeds: bool,
    pub(super) said: String,
}

/// A router that is a node of the cluster `test`.
pub(super) struct Router {
    folder: TempDir,
    port: u16,
    process: Child,
    /// By which it was started.
    command: Command,
}

impl Router {
    /// Starts one, and waits until it serves.
    pub(super) fn start(nats: &Nats, node: &str) -> Self {
        let mut router = Self::begin(nats, node, &[]);
        router.wait_until_served();
        router
    }

    /// Starts one.
    pub(super) fn begin(nats: &Nats, node: &str, flags: &[&str]) -> Self {
        Self::begin_at(&[nats.url()], node, flags)
    }

    /// Starts one with these variables in its environment, and waits until it serves.
    pub(super) fn start_as(nats: &Nats, node: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_at(&[nats.url()], node, variables)
    }

    /// The same of one that knows these NATS servers.
    pub(super) fn start_at(servers: &[String], node: &str, variables: &[(&str, &str)]) -> Self {
        let mut router = Self::spawn(&Self::flags(servers, node), variables);
        router.wait_until_served();
        router
    }

    /// The same of one with this configuration file.
    pub(super) fn start_from(file: &Path, servers: &[String], node: &str) -> Self {
        let mut flags = Self::flags(servers, node);
        flags.extend(["-c".to_owned(), file.display().to_string()]);
        let mut router = Self::spawn(&flags, &[]);
        router.wait_until_served();
        router
    }

    /// Asks whether the node `a` could be started so.
    pub(super) fn check(nats: &Nats, variables: &[(&str, &str)]) -> Checked {
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join("stentor.toml");
        let cluster = format!(
            "[cluster]\nname = \"test\"\nnode = \"a\"\nnats = [\"{}\"]\n\
             [[realm]]\nname = \"realm1\"\n",
            nats.url()
        );
        fs::write(&file, cluster).expect("there is room");
        let done = Command::new(env!("CARGO_BIN_EXE_stentor"))
            .args(["check", "--connect"])
            .arg(file)
            .envs(variables.iter().copied())
            .output()
            .expect("it is built");
        let said = [done.stdout, done.stderr].concat();
        Checked { succeeds: done.status.success(), said: String::from_utf8_lossy(&said).into() }
    }

    /// Starts one that is no node, and waits until it serves.
    pub(super) fn alone() -> Self {
        let mut router = Self::spawn(&[], &[]);
        router.wait_until_served();
        router
    }

    /// Starts one whose clients may watch it by WAMP, and waits until it serves.
    pub(super) fn start_watched(nats: &Nats, node: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join("stentor.toml");
        let realm = "[[realm]]\nname = \"realm1\"\n\
                     [[realm.authenticator]]\nmethod = \"anonymous\"\nrole = \"viewer\"\n\
                     [[realm.role]]\nname = \"viewer\"\n\
                     [management]\nrealm = \"realm1\"\nwatch = [\"viewer\"]\n";
        fs::write(&file, realm).expect("there is room");
        let config = ["--config".to_owned(), file.display().to_string()];
        let flags: Vec<_> = Self::flags(&[nats.url()], node).into_iter().chain(config).collect();
        let mut router = Self::spawn_in(folder, &flags, &[]);
        router.wait_until_served();
        router
    }

    /// Starts one that knows several NATS servers.
    pub(super) fn begin_at(servers: &[String], node: &str, flags: &[&str]) -> Self {
        let more = flags.iter().map(ToString::to_string);
        let flags: Vec<_> = Self::flags(servers, node).into_iter().chain(more).collect();
        Self::spawn(&flags, &[])
    }

    fn flags(servers: &[String], node: &str) -> Vec<String> {
        let own = ["--cluster", "test", "--node", node].map(str::to_owned);
        let servers = servers.iter().flat_map(|url| ["--nats".to_owned(), url.clone()]);
        own.into_iter().chain(servers).collect()
    }

    fn spawn(flags: &[String], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        Self::spawn_in(folder, flags, variables)
    }

    fn spawn_in(folder: TempDir, flags: &[String], variables: &[(&str, &str)]) -> Self {
        let port = free_port();
        let log = folder.path().join("log");
        let log = File::options().create(true).append(true).open(log).expect("there is room");
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command
            .args(["--listen", &listen, "--shards", "2"])
            .args(flags)
            .env("STENTOR_ADMIN__LISTEN", format!("unix:{}", admin_socket(&folder)))
            .envs(variables.iter().copied())
            .stderr(log);
        let process = command.spawn().expect("it is built");
        Self { folder, port, process, command }
    }

    /// Ends it in order, and starts it at its place, as operators do.
    pub(super) fn restart(&mut self) {
        self.terminate();
        assert!(self.ended().success(), "{}", self.log());
        self.process = self.command.spawn().expect("it is built");
        self.wait_until_served();
    }

    pub(super) fn wait_until_served(&mut self) {
        let since = Instant::now();
        while !listens(self.port) {
            let ended = self.process.try_wait().expect("it is ours");
            let is_late = since.elapsed() > PATIENCE;
            assert!(ended.is_none() && !is_late, "it does not serve: {ended:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where operators ask.
    pub(super) fn admin(&self) -> String {
        format!("unix:{}", admin_socket(&self.folder))
    }

    /// What the admin listener says, with its status.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(admin_socket(&self.folder)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is set");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is read");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    /// How often clients were told SUBSCRIBED or REGISTERED before all nodes had confirmed.
    pub(super) fn expired_waits(&self) -> usize {
        let metrics = self.get("/metrics").1;
        let line = metrics.lines().find(|line| line.starts_with(EXPIRED_WAITS));
        let count = line.and_then(|line| line.rsplit_once(' ')).expect("it is counted").1;
        count.parse().expect("a number")
    }

    pub(super) fn serves(&self) -> bool {
        listens(self.port)
    }

    pub(super) async fn client(&self) -> Client {
        let url = format!("ws://127.0.0.1:{}/ws", self.port);
        Client::builder(url, "realm1").connect().await.expect("everybody may come")
    }

    /// One that does not come back when it is sent away, if it is let in.
    pub(super) async fn guest(&self) -> Result<Client, Error> {
        let url = format!("ws://127.0.0.1:{}/ws", self.port);
        Client::builder(url, "realm1").no_reconnect().connect().await
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).expect("it was written")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// How many lines of the log have this.
    pub(super) fn lines_with(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    #[track_caller]
    pub(super) fn wait_for_log(&self, text: &str) {
        let since = Instant::now();
        while !self.log().contains(text) {
            assert!(since.elapsed() < PATIENCE, "no `{text}` in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has ended by itself.
    pub(super) fn ended(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it is ours") {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM.
    pub(super) fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is ours");
    }

    /// Stops it, as a machine that hangs, or lets it go on.
    pub(super) fn hang(&self, hangs: bool) {
        hang(&self.process, hangs);
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it has ended");
    }
}

/// Stops a process, or lets it go on. It does nothing more once this returns: a signal alone
/// reaches its threads one after the other, and on a busy machine the rest of them still answer.
pub(super) fn hang(process: &Child, hangs: bool) {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
    let id = Pid::from_child(process);
    if !hangs {
        return kill_process(id, Signal::CONT).expect("it is ours");
    }
    kill_process(id, Signal::STOP).expect("it is ours");
    let status = waitpid(Some(id), WaitOptions::UNTRACED).expect("it is ours");
    assert!(status.is_some_and(|(_, status)| status.stopped()), "it has ended: {status:?}");
}

fn admin_socket(folder: &TempDir) -> String {
    folder.path().join("admin.sock").display().to_string()
}

impl Drop for Router {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of the metrics.
const EXPIRED_WAITS: &str = "stentor_cluster_corks_ended_total{outcome=\"expired\"}";

//! Several NATS servers that are one cluster of their own.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::processes::{free_port, hang, listens, server_program, wait_until};
use super::routes::Route;

pub(super) struct Servers {
    folder: TempDir,
    /// For clients, and for each other.
    ports: Vec<(u16, u16)>,
    processes: Vec<Option<Child>>,
    /// They do not tell clients of each other.
    are_discreet: bool,
    /// How the server of each row reaches that of each column.
    routes: Vec<Vec<Route>>,
}

impl Servers {
    /// So many, which run.
    pub(super) fn start(count: usize) -> Self {
        Self::start_as(count, false)
    }

    /// So many, of each of which clients know by themselves alone.
    pub(super) fn start_discreet(count: usize) -> Self {
        Self::start_as(count, true)
    }

    fn start_as(count: usize, are_discreet: bool) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let ports: Vec<_> = (0..count).map(|_| (free_port(), free_port())).collect();
        let routes = (0..count).map(|_| ports.iter().map(|(_, route)| Route::to(*route)).collect());
        let routes = routes.collect();
        let processes = (0..count).map(|_| None).collect();
        let mut servers = Self { folder, ports, processes, are_discreet, routes };
        (0..count).for_each(|index| servers.run(index));
        (0..count).for_each(|index| servers.wait(index));
        servers
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|(port, _)| format!("nats://127.0.0.1:{port}")).collect()
    }

    /// Starts one, with the files that it had.
    pub(super) fn run(&mut self, index: usize) {
        let folder = self.folder.path().join(index.to_string());
        fs::create_dir_all(&folder).expect("there is room");
        let others = (0..self.ports.len()).filter(|other| *other != index);
        let routes: Vec<_> = others
            .map(|other| format!("\"nats://127.0.0.1:{}\"", self.routes[index][other].port()))
            .collect();
        let (port, route) = self.ports[index];
        let config = format!(
            "server_name: n{index}\nlisten: \"127.0.0.1:{port}\"\n\
             lame_duck_duration: 30s\nlame_duck_grace_period: 1s\n\
             jetstream {{ store_dir: \"{}\" }}\n\
             cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{}], \
             advertise: \"127.0.0.1:{NOWHERE}\", no_advertise: {} }}\n",
            folder.display(),
            routes.join(", "),
            self.are_discreet
        );
        let file = folder.join("nats.conf");
        fs::write(&file, config).expect("there is room");
        let log = File::options().create(true).append(true).open(folder.join("log"));
        let process = Command::new(server_program())
            .arg("--config")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(log.expect("there is room"))
            .spawn()
            .expect("it is a program");
        self.processes[index] = Some(process);
    }

    pub(super) fn wait(&self, index: usize) {
        let log = self.folder.path().join(index.to_string()).join("log");
        let log = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("a NATS server", || {
            let ended = log().lines().rev().take(3).any(|line| line.contains("[FTL]"));
            assert!(!ended, "a NATS server has ended: {}", log());
            listens(self.ports[index].0)
        });
    }

    pub(super) fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.processes[index].take() {
            process.kill().expect("it is ours");
            process.wait().expect("it has ended");
        }
    }

    /// Sends its clients away one after the other, as before an upgrade, until it has ended.
    pub(super) fn retire(&mut self, index: usize) {
        let process = self.processes[index].as_mut().expect("it runs");
        kill_process(Pid::from_child(process), Signal::USR2).expect("it is ours");
        wait_until("its end", || process.try_wait().expect("it is ours").is_some());
        self.processes[index] = None;
    }

    /// Cuts what two of them reach each other by, or mends it.
    pub(super) fn cut(&self, one: usize, other: usize, is_cut: bool) {
        for route in [&self.routes[one][other], &self.routes[other][one]] {
            if is_cut { route.cut() } else { route.mend() }
        }
    }

    /// Stops it, as a machine that hangs, or lets it go on.
    pub(super) fn hang(&self, index: usize, hangs: bool) {
        hang(self.processes[index].as_ref().expect("it runs"), hangs);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        (0..self.ports.len()).for_each(|index| self.kill(index));
    }
}

/// Where servers tell each other that they listen, so that they use the routes that they are given
/// and no others.
const NOWHERE: u16 = 9;

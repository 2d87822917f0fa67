//! Several NATS servers that are one cluster of their own.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::processes::{free_port, hang, listens, server_program, wait_until};

pub(super) struct Servers {
    folder: TempDir,
    /// For clients, and for each other.
    ports: Vec<(u16, u16)>,
    processes: Vec<Option<Child>>,
    /// They do not tell clients of each other.
    are_discreet: bool,
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
        let mut servers =
            Self { folder, ports, processes: (0..count).map(|_| None).collect(), are_discreet };
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
        let routes: Vec<_> =
            self.ports.iter().map(|(_, route)| format!("\"nats://127.0.0.1:{route}\"")).collect();
        let (port, route) = self.ports[index];
        let config = format!(
            "server_name: n{index}\nlisten: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: \"{}\" }}\n\
             cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{}], \
             no_advertise: {} }}\n",
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
        wait_until("a NATS server", || listens(self.ports[index].0));
    }

    pub(super) fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.processes[index].take() {
            process.kill().expect("it is ours");
            process.wait().expect("it has ended");
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

//! How the tests run the command, and a router for it.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use stentor::config::Config;
use stentor::net::Server;

use crate::running::Running;
use crate::sockets::{Lines, address, config, start};

/// What one run of the command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stderr: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn check(self, code: i32, stdout: &str) -> Self {
        assert_eq!((self.code, &*self.stdout), (Some(code), stdout), "{}", self.stderr);
        self
    }

    /// What standard error says, all of which must be there.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in:\n{}", self.stderr);
        }
        self
    }

    /// The lines of standard output, each an object.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// The command in an environment without settings, but for those that are given.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STENTOR_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").args(arguments).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(command: &mut Command) -> Done {
    finish(start_process(command), None)
}

/// The same, with this on standard input.
pub(crate) fn run_with(command: &mut Command, input: &[u8]) -> Done {
    finish(start_process(command.stdin(Stdio::piped())), Some(input))
}

fn start_process(command: &mut Command) -> Running {
    Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn finish(mut process: Running, input: Option<&[u8]>) -> Done {
    let (stdout, stderr) = (reader(process.0.stdout.take()), reader(process.0.stderr.take()));
    if let Some(mut stdin) = process.0.stdin.take() {
        // It may end before it has read all of it.
        let _ = stdin.write_all(input.unwrap_or_default());
    }
    let code = process.exit_code();
    let (bytes, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Done { code, stdout: text(&bytes), bytes, stderr: text(&stderr) }
}

fn reader(source: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut source = source.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// A command that goes on in the background.
pub(crate) struct Background {
    pub(crate) process: Running,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Background {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = start_process(command);
        let Child { stdout, stderr, .. } = &mut process.0;
        let (stdout, stderr) = (stdout.take().unwrap(), stderr.take().unwrap());
        Self { stdout: Lines::of(stdout), stderr: Lines::of(stderr), process }
    }

    /// Interrupts it, as Ctrl-C does, and gives its exit code.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        self.process.signal("INT");
        self.process.exit_code()
    }
}

/// A router, and where it is.
pub(crate) struct Router {
    pub(crate) server: Server,
    pub(crate) url: String,
}

impl Router {
    /// In whose realms everybody may do everything.
    pub(crate) fn open() -> Self {
        Self::with(&config(2))
    }

    pub(crate) fn with(config: &Config) -> Self {
        let server = start(config);
        let url = format!("ws://{}/ws", address(&server));
        Self { server, url }
    }

    /// A command at this router.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("STENTOR_URL", &self.url);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments))
    }

    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Done {
        run_with(&mut self.command(arguments), input)
    }

    pub(crate) fn background(&self, arguments: &[&str]) -> Background {
        Background::start(&mut self.command(arguments))
    }

    /// A callee in the background, which is registered when this comes back.
    pub(crate) fn callee(&self, arguments: &[&str]) -> Background {
        let before = self.registrations();
        let callee = self.background(&[&["register"], arguments].concat());
        crate::sockets::eventually("the procedure is registered", || self.registrations() > before);
        callee
    }

    /// A subscriber in the background, which is subscribed when this comes back.
    pub(crate) fn subscriber(&self, arguments: &[&str]) -> Background {
        let before = self.subscriptions();
        let subscriber = self.background(&[&["sub"], arguments].concat());
        crate::sockets::eventually("the topic is subscribed to", || self.subscriptions() > before);
        subscriber
    }

    fn registrations(&self) -> u64 {
        self.gauge("registrations")
    }

    fn subscriptions(&self) -> u64 {
        self.gauge("subscriptions")
    }

    fn gauge(&self, name: &str) -> u64 {
        let gauges = self.server.snapshot().gauges();
        gauges.iter().find(|(gauge, _)| *gauge == name).unwrap().1
    }
}

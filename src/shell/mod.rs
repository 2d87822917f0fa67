//! WAMP from the command line: `stentor sub`, `pub`, `call`, `register` and what measures, against
//! any router, and contexts, completions and manual pages.
//!
//! The session lives on a thread of its own (the runtime's), so that a slow standard output holds
//! up no answer to a router that asks for a sign of life. The main thread reads flags and prints.

mod bench;
mod call;
mod connect;
mod context;
mod exec;
pub(crate) mod fault;
mod history;
mod latency;
mod measured;
mod output;
mod pages;
mod ping;
mod publish;
mod register;
mod settings;
mod stats;
mod sub;
mod text;
mod value;

use std::env;
use std::process::{self, ExitCode};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use clap_complete::Shell;
use stentor_client::Dict;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::fault::{EXIT_CODES, Fault, INTERRUPTED};

/// What a WAMP client does from the command line.
#[derive(Debug, Subcommand)]
pub(crate) enum ShellCommand {
    /// Subscribe to topics, and print their events
    #[command(after_help = EXIT_CODES)]
    Sub(Box<sub::SubFlags>),
    /// Publish an event
    ///
    /// An argument is an integer, another number, true, false, null, or a string, list or dict of
    /// JSON if it is one of those, and else a string: 5 is a number, and '"5"' a string. @FILE
    /// stands for what is in a file, and - for standard input.
    #[command(after_help = EXIT_CODES)]
    Pub(Box<publish::PubFlags>),
    /// Call a procedure, and print its result
    ///
    /// Arguments are typed as those of `stentor pub`. Ctrl-C cancels the call.
    #[command(after_help = EXIT_CODES)]
    Call(Box<call::CallFlags>),
    /// Register a procedure that a command or a constant answers, and print its invocations
    #[command(after_help = EXIT_CODES)]
    Register(Box<register::RegisterFlags>),
    /// Measure how long a router takes to answer
    ///
    /// Says how long it took to connect, with TLS and login, and then how long each CALL of
    /// `wamp.session.count` takes. Whatever the router answers, a result or an error, it is a round
    /// trip, so it works on any router.
    #[command(after_help = EXIT_CODES)]
    Ping(Box<ping::PingFlags>),
    /// Measure how long events take, by publishing to oneself
    #[command(after_help = EXIT_CODES)]
    Latency(Box<latency::LatencyFlags>),
    /// Measure shortly how many events or calls go through a router
    ///
    /// It is a closed loop from one process: what it cannot take it does not ask for.
    /// stentor-loadtest has open loops, stages, many processes and much more.
    #[command(after_help = EXIT_CODES)]
    Bench {
        #[command(subcommand)]
        command: bench::BenchCommand,
    },
    /// Keep connections under names, and choose among them
    Context {
        #[command(subcommand)]
        command: context::ContextCommand,
    },
    /// Print what completes command lines in a shell
    ///
    /// For bash: stentor completions bash > ~/.local/share/bash-completion/completions/stentor
    Completions {
        /// Which shell
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(["bash", "zsh", "fish"]))]
        shell: String,
    },
    /// Print the manual page, or write all pages into a directory
    Man {
        /// Where to write stentor.1, stentor-sub.1 and the others
        #[arg(long, value_name = "DIRECTORY")]
        dir: Option<std::path::PathBuf>,
    },
}

/// Carries a command out.
pub(crate) fn run(command: &ShellCommand) -> ExitCode {
    let done = match command {
        ShellCommand::Context { command } => context::run(command, &environment),
        ShellCommand::Completions { shell } => {
            let shell = match shell.as_str() {
                "zsh" => Shell::Zsh,
                "fish" => Shell::Fish,
                _ => Shell::Bash,
            };
            pages::completions(shell)
        }
        ShellCommand::Man { dir } => pages::man(dir.as_deref()),
        _ => connected(command),
    };
    let Err(fault) = done else { return ExitCode::SUCCESS };
    if let Some(words) = fault.words() {
        output::tell(&words);
    }
    fault.code().into()
}

/// Carries out a command that has sessions.
fn connected(command: &ShellCommand) -> Result<(), Fault> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(Fault::System)?;
    let done = runtime.block_on(async {
        let stop = Stop::listen()?;
        match command {
            ShellCommand::Sub(flags) => sub::run(flags, &stop).await,
            ShellCommand::Pub(flags) => publish::run(flags, &stop).await,
            ShellCommand::Call(flags) => call::run(flags, &stop).await,
            ShellCommand::Register(flags) => register::run(flags, &stop).await,
            ShellCommand::Ping(flags) => ping::run(flags, &stop).await,
            ShellCommand::Latency(flags) => latency::run(flags, &stop).await,
            ShellCommand::Bench { command } => bench::run(command, &stop).await,
            ShellCommand::Context { .. }
            | ShellCommand::Completions { .. }
            | ShellCommand::Man { .. } => Ok(()),
        }
    });
    // A thread may wait for standard input for ever.
    runtime.shutdown_background();
    done
}

/// That the user wants to stop: SIGINT or SIGTERM. A second one ends the process at once.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    fn listen() -> Result<Self, Fault> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::System)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Fault::System)?;
        let (requested, stop) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if requested.send_replace(true) {
                    process::exit(INTERRUPTED.into());
                }
            }
        });
        Ok(Self(stop))
    }

    fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it.
    async fn requested(&self) {
        if self.0.clone().wait_for(|requested| *requested).await.is_err() {
            // Nobody can stop it any more.
            std::future::pending().await
        }
    }

    /// What comes first; what is dropped for it is canceled.
    async fn or<T>(&self, future: impl IntoFuture<Output = T>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            done = future.into_future() => Ok(done),
            () = self.requested() => Err(Fault::Interrupted),
        }
    }
}

/// Any option of a message.
#[derive(Args, Debug)]
pub(crate) struct OptionFlags {
    /// Any option of the message, typed as arguments are; repeatable
    #[arg(short, long = "option", value_name = "KEY=VALUE")]
    option: Vec<String>,
}

impl OptionFlags {
    fn read(&self) -> Result<Dict, Fault> {
        let options = value::Reader::default().dict(&self.option)?;
        let options = options.iter().map(|(key, one)| (key.clone().into(), value::to_wamp(one)));
        Ok(options.collect())
    }
}

/// A variable of the environment, if it is text and not empty.
fn environment(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Seconds, as 5 or 0.5.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| NO_SECONDS)?;
    let is_fit = (0.001..=1e7).contains(&seconds);
    if is_fit { Ok(Duration::from_secs_f64(seconds)) } else { Err(NO_SECONDS) }
}

const NO_SECONDS: &str = "seconds are a number from 0.001 to 10000000, as in 5 or 0.5";

fn now() -> Instant {
    Instant::now()
}

/// Waits until then; for ever if there is no such time.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the clock of what is printed")]
fn system_time() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_within_reason() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("5"), Ok(Duration::from_secs(5)));
        for text in ["", "x", "-1", "0", "NaN", "inf", "1e300", "5s"] {
            assert_eq!(seconds(text), Err(NO_SECONDS), "{text}");
        }
    }

    #[test]
    fn options_are_typed() {
        let option = vec!["a=5".to_owned(), "b=x".to_owned(), "c={\"d\":[true]}".to_owned()];
        let options = OptionFlags { option }.read().unwrap();
        use stentor_client::Value;
        let inner = Value::Dict(vec![("d".into(), Value::List(vec![true.into()]))]);
        let expected: Dict =
            vec![("a".into(), Value::UInt(5)), ("b".into(), "x".into()), ("c".into(), inner)];
        assert_eq!(options, expected);
    }
}

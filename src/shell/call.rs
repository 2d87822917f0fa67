//! `stentor call`: results of a procedure, progressive ones as they come.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use stentor_client::{CancelMode, Client, Dict, Reply};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::connect::Connector;
use super::output::{About, OutputFlags, Printer, tell};
use super::settings::ConnectFlags;
use super::value::{Arguments, Reader};
use super::{Fault, OptionFlags, Stop};

/// What is called, and how often.
#[derive(Args, Debug)]
pub(crate) struct CallFlags {
    /// The procedure
    procedure: String,
    /// The arguments
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,
    /// A keyword argument; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    kwarg: Vec<String>,
    /// Seconds that the call may take; the router is told [default: no bound]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    timeout: Option<Duration>,
    /// Ask for progressive results, and print them as they come
    #[arg(long)]
    progress: bool,
    /// How the call is canceled by Ctrl-C or when its time is over
    #[arg(long, value_name = "MODE", default_value = "kill")]
    #[arg(value_parser = ["skip", "kill", "killnowait"])]
    cancel: String,
    /// How often to call, in each session
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Sessions that call at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    parallel: u32,
    /// Calls that are under way at the same time, in each session
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,
    /// Print when each result came
    #[arg(long)]
    timestamps: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    options: OptionFlags,
    #[command(flatten)]
    connect: ConnectFlags,
}

/// Calls, and prints the results.
pub(crate) async fn run(flags: &CallFlags, stop: &Stop) -> Result<(), Fault> {
    let arguments = Reader::default().arguments(&flags.args, &flags.kwarg)?;
    let connector = Connector::new(&flags.connect)?;
    let job = Arc::new(Job {
        procedure: flags.procedure.clone(),
        arguments,
        options: flags.options.read()?,
        timeout: flags.timeout,
        progress: flags.progress,
        cancel: match flags.cancel.as_str() {
            "skip" => CancelMode::Skip,
            "killnowait" => CancelMode::KillNoWait,
            _ => CancelMode::Kill,
        },
    });
    let mut clients = Vec::new();
    for _ in 0..flags.parallel {
        clients.push(connector.connect(stop).await?);
    }
    let (to, replies) = mpsc::channel(64);
    let mut sessions = JoinSet::new();
    for client in clients.iter().cloned() {
        let (job, to) = (Arc::clone(&job), to.clone());
        let (repeat, concurrency) = (flags.repeat, flags.concurrency as usize);
        let stop = stop.clone();
        sessions.spawn(async move { job.call_often(client, repeat, concurrency, to, stop).await });
    }
    drop(to);
    let printer = Printer::to_stdout(flags.output.format(), flags.timestamps);
    // Calls whose results cannot be printed are canceled.
    let printed = print(printer, replies).await;
    let done = printed.and(end_of(&mut sessions).await);
    for client in clients {
        client.leave().await;
    }
    done
}

async fn print(
    mut printer: Printer,
    mut replies: mpsc::Receiver<(bool, Reply)>,
) -> Result<(), Fault> {
    while let Some((is_progress, reply)) = replies.recv().await {
        let mark = is_progress.then(|| ("progress", "true".to_owned()));
        let about = About { head: "", members: mark.into_iter().collect(), time: None };
        printer.payload(&about, reply.payload())?;
    }
    Ok(())
}

async fn end_of(sessions: &mut JoinSet<Result<(), Fault>>) -> Result<(), Fault> {
    let mut worst = Ok(());
    while let Some(done) = sessions.join_next().await {
        worst = worst.and_then(|()| joined(done));
    }
    worst
}

fn joined(done: Result<Result<(), Fault>, JoinError>) -> Result<(), Fault> {
    done.unwrap_or_else(|error| Err(error.into()))
}

/// What each session calls.
struct Job {
    procedure: String,
    arguments: Arguments,
    options: Dict,
    timeout: Option<Duration>,
    progress: bool,
    cancel: CancelMode,
}

impl Job {
    /// Goes on when a call fails, as the next may not; says so in the end.
    async fn call_often(
        self: Arc<Self>,
        client: Client,
        repeat: u64,
        concurrency: usize,
        to: mpsc::Sender<(bool, Reply)>,
        stop: Stop,
    ) -> Result<(), Fault> {
        let mut calls = JoinSet::new();
        let (mut first, mut others) = (None, 0_u64);
        let mut note = |done| match joined(done) {
            Err(fault) if first.is_none() => first = Some(fault),
            Err(_) => others += 1,
            Ok(()) => {}
        };
        for _ in 0..repeat {
            if calls.len() >= concurrency
                && let Some(done) = calls.join_next().await
            {
                note(done);
            }
            if stop.is_requested() || to.is_closed() {
                break;
            }
            let (job, client, to) = (Arc::clone(&self), client.clone(), to.clone());
            let stop = stop.clone();
            // A call that is dropped is canceled.
            calls.spawn(async move { stop.or(job.call(&client, &to)).await? });
        }
        while let Some(done) = calls.join_next().await {
            note(done);
        }
        if others > 0 {
            tell(&format!("{others} more calls have failed"));
        }
        first.map_or(Ok(()), Err)
    }

    async fn call(&self, client: &Client, to: &mpsc::Sender<(bool, Reply)>) -> Result<(), Fault> {
        let mut call = client
            .call(&self.procedure, self.arguments.args())
            .kwargs(self.arguments.kwargs())
            .cancel_mode(self.cancel);
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        if self.progress {
            call = call.receive_progress();
        }
        for (key, value) in &self.options {
            call = call.option(key, value.clone());
        }
        let results = async {
            let mut running = call.start().await?;
            while let Some(reply) = running.next().await {
                if to.send((true, reply)).await.is_err() {
                    return Ok(());
                }
            }
            let reply = running.finish().await?;
            // Whoever prints has ended, with a fault of its own.
            let _ = to.send((false, reply)).await;
            Ok(())
        };
        tokio::select! {
            biased;
            done = results => done,
            // Nobody wants the results any more.
            () = to.closed() => Ok(()),
        }
    }
}

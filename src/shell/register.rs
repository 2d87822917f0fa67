//! `stentor register`: a procedure that a command or a constant answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use stentor::wamp::{InvokePolicy, MatchPolicy};
use stentor_client::{Answer, CallError, Client, Invocation};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::connect::{Connector, watch};
use super::exec::Exec;
use super::output::{About, OutputFlags, Printer, tell_terminal};
use super::settings::ConnectFlags;
use super::text::{Said, json_string};
use super::value::{Arguments, Reader};
use super::{Fault, OptionFlags, Stop, now, until};
use crate::command::cli::{MATCH_POLICIES, one_of};

/// What is registered, and what answers.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct RegisterFlags {
    /// The procedure, or a pattern of procedures
    procedure: String,
    /// Run this command by `sh` for each call. Its standard input is an object of JSON with
    /// `procedure`, `args` and `kwargs`. Its standard output is the result: JSON, else a text; an
    /// object of `args` and `kwargs` is a whole result. If it fails, what it says on standard error
    /// is the error's argument. STENTOR_PROCEDURE, STENTOR_CALLER and STENTOR_CALLER_AUTHID say
    /// who calls what, as far as it is disclosed
    #[arg(long, value_name = "COMMAND", group = "what")]
    exec: Option<String>,
    /// Answer each call with this value, typed as arguments are
    #[arg(long, value_name = "VALUE", group = "what", allow_negative_numbers = true)]
    result: Option<String>,
    /// How the procedure is matched
    #[arg(long = "match", value_name = "POLICY", default_value = "exact")]
    #[arg(value_parser = one_of::<MatchPolicy>(&MATCH_POLICIES))]
    policy: MatchPolicy,
    /// How the router chooses among several callees of the procedure
    #[arg(long, value_name = "POLICY", default_value = "single")]
    #[arg(value_parser = ["single", "roundrobin", "random", "first", "last"])]
    invoke: String,
    /// Commands that run at the same time; more calls wait [default: 1, and the router is not told]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: Option<u32>,
    /// Seconds that a command may run
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "60")]
    exec_timeout: Duration,
    /// Bytes that a command may write
    #[arg(long, value_name = "BYTES", default_value_t = 1_048_576)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=268_435_456))]
    exec_output: u32,
    /// The error of a command that fails
    #[arg(long, value_name = "URI", default_value = "wamp.error.runtime_error")]
    error_uri: String,
    /// End after so many calls
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds; if --count is not reached by then, that is exit code 4
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    timeout: Option<Duration>,
    /// Print when each call came
    #[arg(long)]
    timestamps: bool,
    /// End when the connection is lost, instead of coming again
    #[arg(long)]
    no_reconnect: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    options: OptionFlags,
    #[command(flatten)]
    connect: ConnectFlags,
}

/// Answers calls until there were enough of them.
pub(crate) async fn run(flags: &RegisterFlags, stop: &Stop) -> Result<(), Fault> {
    let answerer = Arc::new(Answerer::new(flags)?);
    let options = flags.options.read()?;
    let connector = Connector::new(&flags.connect)?;
    let client = match flags.no_reconnect {
        true => connector.connect(stop).await?,
        false => connector.connect_for_long(stop).await?,
    };
    let (to, mut calls) = mpsc::channel(64);
    let handler = {
        let answerer = Arc::clone(&answerer);
        move |invocation| answer(Arc::clone(&answerer), invocation, to.clone())
    };
    let mut register = client.register(&flags.procedure, handler);
    if flags.policy != MatchPolicy::Exact {
        register = register.matching(flags.policy);
    }
    if flags.invoke != InvokePolicy::Single.as_str() {
        register = register.option("invoke", &*flags.invoke);
    }
    if let Some(concurrency) = flags.concurrency {
        register = register.concurrency(concurrency);
    }
    for (key, value) in options {
        register = register.option(&key, value);
    }
    let registration = match stop.or(register).await {
        Ok(Ok(registration)) => registration,
        Ok(Err(error)) => return end(&client, Err(error.into())).await,
        Err(fault) => return end(&client, Err(fault)).await,
    };
    tell_terminal(&format!("registered {}", flags.procedure));
    let mut printer = Printer::to_stdout(flags.output.format(), flags.timestamps);
    let deadline = flags.timeout.map(|timeout| now() + timeout);
    let ended = tokio::select! {
        biased;
        printed = print(&mut printer, &mut calls) => printed,
        () = answerer.answered(flags.count) => Ok(()),
        reason = watch(&client) => Err(Fault::Lost(reason)),
        () = stop.requested() => flags.count.map_or(Ok(()), |_| Err(Fault::Interrupted)),
        () = until(deadline) => flags.count.map_or(Ok(()), |count| {
            let done = answerer.done.load(Ordering::Relaxed);
            Err(Fault::Late(format!("only {done} of {count} calls came in time")))
        }),
    };
    // No call follows, and what is answered by now is sent before the answer to this comes.
    let _ = registration.unregister().await;
    while let Ok(call) = calls.try_recv() {
        if ended.is_ok() {
            call.print(&mut printer)?;
        }
    }
    let ended = end(&client, ended).await;
    answerer.rest().await;
    ended
}

async fn end(client: &Client, ended: Result<(), Fault>) -> Result<(), Fault> {
    client.leave().await;
    ended
}

/// What answers, and how often it has.
struct Answerer {
    how: How,
    done: AtomicU64,
    news: Notify,
}

enum How {
    Constant(Arguments),
    Exec(Arc<Exec>),
}

impl Answerer {
    fn new(flags: &RegisterFlags) -> Result<Self, Fault> {
        let how = match (&flags.exec, &flags.result) {
            (Some(command), _) => How::Exec(Arc::new(Exec {
                command: command.clone(),
                time_limit: flags.exec_timeout,
                output_bytes: flags.exec_output as usize,
                error_uri: flags.error_uri.clone(),
                runs: Semaphore::new(flags.concurrency.unwrap_or(1) as usize),
                waiting: AtomicUsize::new(0),
            })),
            (None, Some(value)) => {
                How::Constant(Arguments::of(vec![Reader::default().argument(value)?]))
            }
            (None, None) => return Err(Fault::Usage("--exec or --result says what answers")),
        };
        Ok(Self { how, done: AtomicU64::new(0), news: Notify::new() })
    }

    /// Waits until no command runs: without a session their calls are given up, and they are
    /// killed.
    async fn rest(&self) {
        if let How::Exec(exec) = &self.how {
            let is_idle = async {
                while exec.waiting.load(Ordering::Relaxed) > 0 {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            // Those that are left are the system's matter.
            let _ = timeout(Duration::from_secs(5), is_idle).await;
        }
    }

    /// Waits until so many calls are answered.
    async fn answered(&self, count: Option<u64>) {
        while count.is_none_or(|count| self.done.load(Ordering::Relaxed) < count) {
            self.news.notified().await;
        }
    }
}

/// Counts an answer when it is there, or given up.
struct Counted(Arc<Answerer>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
        self.0.news.notify_one();
    }
}

async fn answer(
    answerer: Arc<Answerer>,
    invocation: Invocation,
    to: mpsc::Sender<Seen>,
) -> Result<Answer, CallError> {
    let seen = Seen::of(&invocation);
    let input =
        format!("{{\"procedure\":{}{}}}\n", json_string(&seen.procedure), seen.said.members());
    let variables = seen.variables();
    let counted = Counted(Arc::clone(&answerer));
    // Whoever prints may have ended; the calls that are here are answered all the same.
    let _ = to.send(seen).await;
    let result = match &answerer.how {
        How::Constant(result) => result.clone(),
        How::Exec(exec) => exec.answer(input.into_bytes(), &variables).await?,
    };
    let answer = Answer::of(&invocation, result.args(), result.kwargs())?;
    drop(counted);
    Ok(answer)
}

/// What is printed of an invocation.
struct Seen {
    procedure: String,
    caller: Option<u64>,
    authid: Option<String>,
    said: Said,
}

impl Seen {
    fn of(invocation: &Invocation) -> Self {
        Self {
            procedure: invocation.procedure().to_owned(),
            caller: invocation.caller().map(|caller| caller.get()),
            authid: invocation.caller_authid().map(str::to_owned),
            said: Said::of(invocation.payload()),
        }
    }

    /// Of the command's environment, which holds no U+0000.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("STENTOR_PROCEDURE", self.procedure.clone())];
        variables.extend(self.caller.map(|caller| ("STENTOR_CALLER", caller.to_string())));
        variables.extend(self.authid.clone().map(|authid| ("STENTOR_CALLER_AUTHID", authid)));
        variables.iter_mut().for_each(|(_, value)| value.retain(|letter| letter != '\0'));
        variables
    }

    fn print(&self, printer: &mut Printer) -> Result<(), Fault> {
        let mut members = vec![("procedure", json_string(&self.procedure))];
        members.extend(self.caller.map(|caller| ("caller", caller.to_string())));
        members.extend(self.authid.as_deref().map(|authid| ("caller_authid", json_string(authid))));
        printer.said(&About { head: &self.procedure, members, time: None }, &self.said)
    }
}

async fn print(printer: &mut Printer, calls: &mut mpsc::Receiver<Seen>) -> Result<(), Fault> {
    while let Some(call) = calls.recv().await {
        call.print(printer)?;
    }
    // The registration holds a sender as long as it is there.
    std::future::pending().await
}

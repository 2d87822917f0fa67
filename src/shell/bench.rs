//! `stentor bench`: how many events or calls go through a router, in a closed loop.
//!
//! Publishers wait for the slowest subscriber when it is a window behind, so nothing piles up in
//! the router, and nothing is dropped there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, Subcommand};
use rustix::time::{ClockId, clock_gettime};
use stentor_client::{CallError, Client, Invocation, Subscription};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connect::Connector;
use super::measured::Measured;
use super::output::{Format, Printer, tell, tell_terminal};
use super::settings::ConnectFlags;
use super::{Fault, Stop, now};

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Events: publishers send as fast as all subscribers take
    Pub(Box<EventsFlags>),
    /// Calls: each caller makes the next one when an answer comes
    Call(Box<CallsFlags>),
}

/// How many of what.
#[derive(Args, Debug)]
pub(crate) struct EventsFlags {
    /// Sessions that publish
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    publishers: u32,
    /// Sessions that subscribe; each gets every event
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    subscribers: u32,
    /// Events that may be on their way to the slowest subscriber
    #[arg(long, value_name = "N", default_value_t = 512)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    window: u32,
    #[command(flatten)]
    common: CommonFlags,
}

/// How many of what.
#[derive(Args, Debug)]
pub(crate) struct CallsFlags {
    /// Sessions that call
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    callers: u32,
    /// Sessions that answer
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    callees: u32,
    /// Calls that are under way at the same time, in each session
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args, Debug)]
struct CommonFlags {
    /// Where to publish or what to call; a session's id follows, so that nobody else is in the way
    #[arg(long, value_name = "PREFIX", default_value = "shell.bench.")]
    uri: String,
    /// Bytes of the payload's text
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=16_000_000))]
    size: u32,
    /// Seconds to measure
    #[arg(long = "for", value_name = "SECONDS", value_parser = super::seconds, default_value = "5")]
    duration: Duration,
    /// Print one object of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectFlags,
}

/// Measures, and says what came of it.
pub(crate) async fn run(command: &BenchCommand, stop: &Stop) -> Result<(), Fault> {
    let (common, sessions) = match command {
        BenchCommand::Pub(flags) => (&flags.common, flags.publishers + flags.subscribers),
        BenchCommand::Call(flags) => (&flags.common, flags.callers + flags.callees),
    };
    let connector = Connector::new(&common.connect)?;
    let mut clients = Vec::new();
    for _ in 0..sessions {
        clients.push(connector.connect(stop).await?);
    }
    tell_terminal(&format!("measuring for {:?}", common.duration));
    let session = clients.first().and_then(Client::session).map_or(0, |session| session.id().get());
    let uri = format!("{}{session}", common.uri);
    let text = "x".repeat(common.size as usize);
    let before = (now(), processor_time());
    let measured = match command {
        BenchCommand::Pub(flags) => stop.or(events(flags, &clients, &uri, &text)).await.flatten(),
        BenchCommand::Call(flags) => stop.or(calls(flags, &clients, &uri, &text)).await.flatten(),
    };
    let used = (processor_time() - before.1).as_secs_f64() / before.0.elapsed().as_secs_f64();
    for client in clients {
        client.leave().await;
    }
    let (words, members) = measured?;
    let format = if common.json { Format::Json } else { Format::Words };
    let mut printer = Printer::to_stdout(format, false);
    let serializer = connector.serializer.as_str();
    if common.json {
        return printer.line(&format!(
            "{{{members},\"serializer\":\"{serializer}\",\"size\":{},\"client_cpus\":{used:.2}}}",
            common.size
        ));
    }
    printer.line(&words)?;
    tell(&format!(
        "closed loop, {serializer}, {} bytes; this process has used {used:.2} processors, and the \
         more it used, the less this says of the router: stentor-loadtest measures routers",
        common.size
    ));
    Ok(())
}

/// For people, and members of an object of JSON.
type Outcome = Result<(String, String), Fault>;

async fn events(flags: &EventsFlags, clients: &[Client], uri: &str, text: &str) -> Outcome {
    let (subscribers, publishers) = clients.split_at(flags.subscribers as usize);
    let received: Arc<Vec<AtomicU64>> =
        Arc::new(subscribers.iter().map(|_| AtomicU64::new(0)).collect());
    let progress = Arc::new(Notify::new());
    let mut listening = JoinSet::new();
    for (at, client) in subscribers.iter().enumerate() {
        let subscription = client.subscribe(uri).await?;
        listening.spawn(listen(subscription, at, Arc::clone(&received), Arc::clone(&progress)));
    }
    let sent = Arc::new(AtomicU64::new(0));
    let begun = now();
    let end = begun + flags.common.duration;
    let mut publishing = JoinSet::new();
    for client in publishers {
        // The first one says whether it is allowed at all.
        client.publish(uri, (text,)).acknowledge().timeout(PATIENCE).await?;
        sent.fetch_add(1, Ordering::Relaxed);
        let publisher = Publisher {
            client: client.clone(),
            uri: uri.to_owned(),
            text: text.to_owned(),
            window: u64::from(flags.window),
            sent: Arc::clone(&sent),
            received: Arc::clone(&received),
            progress: Arc::clone(&progress),
        };
        publishing.spawn(publisher.publish(end));
    }
    while let Some(done) = publishing.join_next().await {
        done??;
    }
    let sent = sent.load(Ordering::Relaxed);
    let all = async {
        while slowest(&received) < sent {
            // A notification may be another's.
            let _ = timeout(Duration::from_millis(50), progress.notified()).await;
        }
    };
    let is_late = timeout(PATIENCE, all).await.is_err();
    let seconds = begun.elapsed().as_secs_f64();
    listening.shutdown().await;
    let delivered: u64 = received.iter().map(|one| one.load(Ordering::Relaxed)).sum();
    let due = sent * received.len() as u64;
    if is_late {
        return Err(Fault::Late(format!("only {delivered} of {due} events came")));
    }
    let (rate, fanned) = (sent as f64 / seconds, delivered as f64 / seconds);
    Ok((
        format!("{rate:.0} publications per s, {fanned:.0} events delivered per s, none lost"),
        format!(
            "\"publications\":{sent},\"delivered\":{delivered},\"seconds\":{seconds:.3},\
             \"publications_per_second\":{rate:.1},\"delivered_per_second\":{fanned:.1}"
        ),
    ))
}

async fn listen(
    mut subscription: Subscription,
    at: usize,
    received: Arc<Vec<AtomicU64>>,
    progress: Arc<Notify>,
) {
    while subscription.next().await.is_some() {
        received[at].fetch_add(1, Ordering::Relaxed);
        progress.notify_waiters();
    }
}

fn slowest(received: &[AtomicU64]) -> u64 {
    received.iter().map(|one| one.load(Ordering::Relaxed)).min().unwrap_or_default()
}

struct Publisher {
    client: Client,
    uri: String,
    text: String,
    window: u64,
    /// By all publishers.
    sent: Arc<AtomicU64>,
    received: Arc<Vec<AtomicU64>>,
    progress: Arc<Notify>,
}

impl Publisher {
    async fn publish(self, end: Instant) -> Result<(), Fault> {
        let mut waited_since = now();
        while now() < end {
            let heard = self.progress.notified();
            let sent = self.sent.load(Ordering::Relaxed);
            if sent.saturating_sub(slowest(&self.received)) >= self.window {
                // What is heard between the look and the wait is seen a little later.
                let _ = timeout(Duration::from_millis(5), heard).await;
                if waited_since.elapsed() > PATIENCE {
                    return Err(Fault::Late("no event has come for a while".to_owned()));
                }
                continue;
            }
            waited_since = now();
            self.sent.fetch_add(1, Ordering::Relaxed);
            self.client.publish(&self.uri, (&self.text,)).await?;
        }
        Ok(())
    }
}

async fn calls(flags: &CallsFlags, clients: &[Client], uri: &str, text: &str) -> Outcome {
    let (callees, callers) = clients.split_at(flags.callees as usize);
    let mut registrations = Vec::new();
    for client in callees {
        let echo = |invocation: Invocation| async move {
            let text: (String,) = invocation.args()?;
            Ok::<_, CallError>(text)
        };
        let mut register = client.register(uri, echo);
        if flags.callees > 1 {
            register = register.option("invoke", "roundrobin");
        }
        registrations.push(register.await?);
    }
    let (to, mut times) = mpsc::channel(1_024);
    let begun = now();
    let end = begun + flags.common.duration;
    let mut calling = JoinSet::new();
    for client in callers {
        for _ in 0..flags.concurrency {
            let (uri, text) = (uri.to_owned(), text.to_owned());
            calling.spawn(call_on(client.clone(), uri, text, end, to.clone()));
        }
    }
    drop(to);
    let mut measured = Measured::new();
    while let Some(time) = times.recv().await {
        measured.note(time);
    }
    while let Some(done) = calling.join_next().await {
        done??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(registrations);
    let rate = measured.count() as f64 / seconds;
    Ok((
        format!("{rate:.0} calls per s; {}", measured.words()),
        format!("\"seconds\":{seconds:.3},\"calls_per_second\":{rate:.1},{}", measured.members()),
    ))
}

/// One call after the other.
async fn call_on(
    client: Client,
    uri: String,
    text: String,
    end: Instant,
    times: mpsc::Sender<Duration>,
) -> Result<(), Fault> {
    while now() < end {
        let begun = now();
        client.call(&uri, (&text,)).timeout(PATIENCE).await?;
        // Whoever takes them is there until the last caller has ended.
        let _ = times.send(begun.elapsed()).await;
    }
    Ok(())
}

/// Of all threads of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// For an answer or an event.
const PATIENCE: Duration = Duration::from_secs(10);

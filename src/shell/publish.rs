//! `stentor pub`: one event, the same again, or one for each line of standard input.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture, poll_fn};
use std::io::{self, BufRead, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use stentor_client::{Client, Dict, Error, PublicationId, Publish};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, unconstrained};

use super::connect::Connector;
use super::output::{Format, Printer, tell};
use super::settings::ConnectFlags;
use super::text::json_string;
use super::value::{Arguments, Reader, binary, typed};
use super::{Fault, OptionFlags, Stop};

/// What is published, and how.
#[derive(Args, Debug)]
pub(crate) struct PubFlags {
    /// The topic
    topic: String,
    /// The arguments
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,
    /// A keyword argument; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    kwarg: Vec<String>,
    /// Publish one event for each line of standard input, with the line as its last argument, typed
    /// as arguments are, but for @FILE and -
    #[arg(long, conflicts_with = "repeat")]
    lines: bool,
    /// Have the router say that it has the event, so that a refusal is known; `--acknowledge=false`
    /// does without
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    acknowledge: bool,
    /// Have the router keep the event for those who subscribe later
    #[arg(long)]
    retain: bool,
    /// Whether the publisher itself does without the event [default: true]
    #[arg(long, value_name = "BOOL")]
    exclude_me: Option<bool>,
    /// How often to publish the event, in each session
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Sessions that publish at the same time
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "lines")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    parallel: u32,
    /// Events that wait for their acknowledgement at the same time, in each session; their order
    /// stays
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MOST_UNDER_WAY))]
    concurrency: u32,
    /// Seconds that an acknowledgement may take
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "30")]
    timeout: Duration,
    /// Print an object of JSON for each event that is acknowledged
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: OptionFlags,
    #[command(flatten)]
    connect: ConnectFlags,
}

/// Publishes, and says what was acknowledged.
pub(crate) async fn run(flags: &PubFlags, stop: &Stop) -> Result<(), Fault> {
    if flags.lines && [&flags.args, &flags.kwarg].iter().any(|texts| reads_input(texts)) {
        return Err(Fault::Usage(
            "standard input is read by line, and cannot be an argument as well",
        ));
    }
    let arguments = Reader::default().arguments(&flags.args, &flags.kwarg)?;
    let connector = Connector::new(&flags.connect)?;
    let options = flags.options.read()?;
    let job = Arc::new(Job {
        topic: flags.topic.clone(),
        arguments,
        options,
        acknowledge: flags.acknowledge,
        retain: flags.retain,
        exclude_me: flags.exclude_me,
        timeout: flags.timeout,
        concurrency: flags.concurrency as usize,
    });
    let mut clients = Vec::new();
    for _ in 0..flags.parallel {
        clients.push(connector.connect(stop).await?);
    }
    let (to, mut told) = mpsc::channel(64);
    let mut sessions = JoinSet::new();
    for client in &clients {
        let (job, to, client) = (Arc::clone(&job), to.clone(), client.clone());
        let source = if flags.lines { Source::Lines(lines()) } else { Source::Again(flags.repeat) };
        sessions.spawn(async move { job.publish_all(&client, source, to).await });
    }
    drop(to);
    let mut printer = Printer::to_stdout(Format::Json, false);
    let published = async {
        while let Some(id) = told.recv().await {
            if flags.json {
                let topic = json_string(&flags.topic);
                printer.line(&format!("{{\"topic\":{topic},\"publication\":{id}}}"))?;
            }
        }
        let mut worst = Ok(());
        while let Some(done) = sessions.join_next().await {
            worst = worst.and_then(|()| done.unwrap_or_else(|error| Err(error.into())));
        }
        worst
    };
    let done = stop.or(published).await.flatten();
    for client in clients {
        client.leave().await;
    }
    done
}

fn reads_input(texts: &[String]) -> bool {
    texts.iter().any(|text| text == "-" || text.ends_with("=-"))
}

/// What each session publishes.
struct Job {
    topic: String,
    arguments: Arguments,
    options: Dict,
    acknowledge: bool,
    retain: bool,
    exclude_me: Option<bool>,
    timeout: Duration,
    concurrency: usize,
}

enum Source {
    Again(u64),
    Lines(mpsc::Receiver<Result<Value, Fault>>),
}

impl Source {
    /// What comes behind the arguments next; `None` at the end.
    async fn next(&mut self) -> Result<Option<Option<Value>>, Fault> {
        match self {
            Self::Again(0) => Ok(None),
            Self::Again(left) => {
                *left -= 1;
                Ok(Some(None))
            }
            Self::Lines(lines) => match lines.recv().await {
                Some(line) => Ok(Some(Some(line?))),
                None => Ok(None),
            },
        }
    }
}

type Pending = Pin<Box<dyn Future<Output = Result<Option<PublicationId>, Error>> + Send>>;

impl Job {
    /// In the order of the source. Goes on when the router refuses an event, and fails in the end.
    async fn publish_all(
        &self,
        client: &Client,
        mut source: Source,
        told: mpsc::Sender<u64>,
    ) -> Result<(), Fault> {
        let mut pending: VecDeque<Pending> = VecDeque::new();
        let mut refused = Refused::default();
        while let Some(line) = source.next().await? {
            let publication = unconstrained(self.publication(client, line).into_future());
            let mut publication: Pending = Box::pin(publication);
            // The client takes it at once, so that the order is that of the source.
            let done = poll_fn(|context| {
                Poll::Ready(match publication.as_mut().poll(context) {
                    Poll::Ready(done) => Some(done),
                    Poll::Pending => None,
                })
            });
            match done.await {
                Some(done) => refused.note(done, &told).await?,
                None => pending.push_back(publication),
            }
            if pending.len() >= self.concurrency
                && let Some(oldest) = pending.pop_front()
            {
                refused.note(oldest.await, &told).await?;
            }
        }
        for publication in pending {
            refused.note(publication.await, &told).await?;
        }
        refused.end()
    }

    fn publication(&self, client: &Client, line: Option<Value>) -> Publish {
        let publish = match line {
            None => client.publish(&self.topic, self.arguments.args()),
            Some(line) => {
                let mut arguments = self.arguments.clone();
                arguments.args.push(line);
                client.publish(&self.topic, arguments.args())
            }
        };
        let mut publish = publish.kwargs(self.arguments.kwargs()).timeout(self.timeout);
        if self.acknowledge {
            publish = publish.acknowledge();
        }
        if self.retain {
            publish = publish.option("retain", true);
        }
        if let Some(exclude_me) = self.exclude_me {
            publish = publish.option("exclude_me", exclude_me);
        }
        let options = self.options.iter();
        options.fold(publish, |publish, (key, value)| publish.option(key, value.clone()))
    }
}

/// What the router did not take.
#[derive(Default)]
struct Refused {
    first: Option<Fault>,
    others: u64,
}

impl Refused {
    /// Of one publication. Only where nothing can follow it is a fault.
    async fn note(
        &mut self,
        done: Result<Option<PublicationId>, Error>,
        told: &mpsc::Sender<u64>,
    ) -> Result<(), Fault> {
        match done {
            Ok(Some(id)) => {
                // Whoever prints may have ended with a fault of its own.
                let _ = told.send(id.get()).await;
            }
            Ok(None) => {}
            Err(error @ (Error::Wamp(_) | Error::Timeout)) if self.first.is_none() => {
                self.first = Some(error.into());
            }
            Err(Error::Wamp(_) | Error::Timeout) => self.others += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn end(self) -> Result<(), Fault> {
        if self.others > 0 {
            tell(&format!("{} more events were not taken", self.others));
        }
        self.first.map_or(Ok(()), Err)
    }
}

/// The lines of standard input, which a thread of its own reads.
fn lines() -> mpsc::Receiver<Result<Value, Fault>> {
    let (to, lines) = mpsc::channel(64);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next_line(&mut input).transpose() {
            let is_end = line.is_err();
            if to.blocking_send(line).is_err() || is_end {
                return;
            }
        }
    });
    lines
}

/// A line as a typed value: a text where it is almost JSON, binary data where it is no text.
fn next_line(input: &mut impl BufRead) -> Result<Option<Value>, Fault> {
    let mut line = Vec::new();
    input.take(MOST_BYTES + 1).read_until(b'\n', &mut line).map_err(Fault::Input)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 > MOST_BYTES {
        return Err(Fault::Usage("a line of standard input has more than 16 MiB"));
    }
    Ok(Some(match String::from_utf8(line) {
        Ok(text) => typed(&text).unwrap_or_else(|_| text.into()),
        Err(error) => binary(error.as_bytes()),
    }))
}

/// Fewer than wait in a client's queue at most: else one might overtake another there.
const MOST_UNDER_WAY: i64 = 200;

/// Of a line; more does not fit into a message of most routers.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_is_a_value() {
        let mut input: &[u8] = b"5\n\"5\"\n\n{no json}\n@file\n-\n\xff\n{\"a\": 1}";
        let mut values = Vec::new();
        while let Some(value) = next_line(&mut input).unwrap() {
            values.push(value);
        }
        let expected = json!([5, "5", "", "{no json}", "@file", "-", "\0/w==", {"a": 1}]);
        assert_eq!(Value::Array(values), expected);
        let mut endless = io::repeat(b'x');
        let mut endless = io::BufReader::new(&mut endless);
        assert!(matches!(next_line(&mut endless), Err(Fault::Usage(_))));
    }
}

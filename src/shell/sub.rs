//! `stentor sub`: events of topics, live and from the event history.

use std::time::Duration;

use clap::Args;
use stentor::wamp::MatchPolicy;
use stentor_client::{Client, Event, Gap, Status, Subscription, SubscriptionItem};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::connect::{Connector, watch};
use super::history::{self, Kept, Past, Since};
use super::output::{About, OutputFlags, Printer, tell};
use super::settings::ConnectFlags;
use super::stats::Stats;
use super::text::{Said, json_string};
use super::{Fault, OptionFlags, Stop, now, until};
use crate::command::cli::{MATCH_POLICIES, one_of};

/// Which topics, for how long, and what is printed of them.
#[derive(Args, Debug)]
pub(crate) struct SubFlags {
    /// The topics, or patterns of them
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// How the topics are matched
    #[arg(long = "match", value_name = "POLICY", default_value = "exact")]
    #[arg(value_parser = one_of::<MatchPolicy>(&MATCH_POLICIES))]
    policy: MatchPolicy,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds; if --count is not reached by then, that is exit code 4
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    timeout: Option<Duration>,
    /// First what was published since then, from the event history: 2026-11-27T17:00:00Z, or so
    /// long ago: 90s, 10m, 2h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    since: Option<Since>,
    /// First the last so many events of each topic, from the event history
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    last: Option<u32>,
    /// First the event that the router retains of each topic, if there is one
    #[arg(long)]
    get_retained: bool,
    /// Print how many events came by topic instead: a live table on a terminal, else lines
    #[arg(long, conflicts_with_all = ["raw", "since", "last", "timestamps"])]
    stats: bool,
    /// Print when each event was published, as far as that is known, or came
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

/// Prints events until there were enough of them.
pub(crate) async fn run(flags: &SubFlags, stop: &Stop) -> Result<(), Fault> {
    let connector = Connector::new(&flags.connect)?;
    let options = flags.options.read()?;
    let client = match flags.no_reconnect {
        true => connector.connect(stop).await?,
        false => connector.connect_for_long(stop).await?,
    };
    let printer = Printer::to_stdout(flags.output.format(), flags.timestamps);
    let mut listener = Listener { flags, client: &client, printer, taken: 0 };
    let deadline = flags.timeout.map(|timeout| now() + timeout);
    let mut ended = tokio::select! {
        biased;
        ended = listener.listen(options) => ended,
        () = told(&client) => Ok(()),
        () = stop.requested() => flags.count.map_or(Ok(()), |_| Err(Fault::Interrupted)),
        () = until(deadline) => Err(Fault::Late(String::new())),
    };
    if let Err(Fault::Late(_)) = ended {
        let taken = listener.taken;
        ended = flags.count.map_or(Ok(()), |count| {
            Err(Fault::Late(format!("only {taken} of {count} events came in time")))
        });
    }
    client.leave().await;
    ended
}

struct Listener<'a> {
    flags: &'a SubFlags,
    client: &'a Client,
    printer: Printer,
    /// Events so far.
    taken: u64,
}

impl Listener<'_> {
    async fn listen(&mut self, options: stentor_client::Dict) -> Result<(), Fault> {
        let (to, mut events) = mpsc::channel(EVENTS_BETWEEN);
        let mut pasts = Vec::new();
        for (at, topic) in self.flags.topics.iter().enumerate() {
            let mut subscribe = self.client.subscribe(topic);
            if self.flags.policy != MatchPolicy::Exact {
                subscribe = subscribe.matching(self.flags.policy);
            }
            if self.flags.get_retained {
                subscribe = subscribe.get_retained();
            }
            for (key, value) in &options {
                subscribe = subscribe.option(key, value.clone());
            }
            let subscription = subscribe.await?;
            pasts.push(self.past(topic, &subscription).await?);
            if self.is_enough() {
                return Ok(());
            }
            tokio::spawn(feed(subscription, at, to.clone()));
        }
        drop(to);
        match self.flags.stats {
            true => self.count(&mut events).await,
            false => self.print(&mut events, &pasts).await,
        }
    }

    /// What was published before.
    async fn past(&mut self, topic: &str, subscription: &Subscription) -> Result<Past, Fault> {
        let Some(ask) = history::Ask::of(self.flags.since, self.flags.last) else {
            return Ok(Past::default());
        };
        let Some(id) = subscription.id() else { return Ok(Past::default()) };
        let count = self.flags.count.unwrap_or(u64::MAX);
        let (printer, taken) = (&mut self.printer, &mut self.taken);
        history::read(self.client, id, ask, |kept: Kept| {
            if *taken >= count {
                return Ok(false);
            }
            let topic = kept.topic.as_deref().unwrap_or(topic);
            let members = vec![
                ("topic", json_string(topic)),
                ("publication", kept.publication.to_string()),
                ("history", "true".to_owned()),
            ];
            printer.said(&About { head: topic, members, time: kept.time }, &kept.said)?;
            *taken += 1;
            Ok(*taken < count)
        })
        .await
        .inspect(|past| {
            past.warnings.iter().for_each(|words| tell(&format!("warning: {topic}: {words}")));
        })
    }

    async fn print(&mut self, events: &mut Events, pasts: &[Past]) -> Result<(), Fault> {
        while let Some((at, item)) = events.recv().await {
            match item {
                SubscriptionItem::Event(event) if pasts[at].has(event.publication().get()) => {}
                SubscriptionItem::Event(event) => {
                    self.print_event(&event)?;
                    if self.is_enough() {
                        return Ok(());
                    }
                }
                SubscriptionItem::Gap(gap) => self.tell_gap(at, &gap),
                _ => {}
            }
        }
        Err(self.lost())
    }

    fn print_event(&mut self, event: &Event) -> Result<(), Fault> {
        let topic = event.topic();
        let mut members = vec![
            ("topic", json_string(topic)),
            ("publication", event.publication().get().to_string()),
        ];
        if let Some(publisher) = event.publisher() {
            members.push(("publisher", publisher.get().to_string()));
        }
        if let Some(authid) = event.publisher_authid() {
            members.push(("publisher_authid", json_string(authid)));
        }
        let marks = [("retained", event.is_retained()), ("history", event.is_from_history())];
        members.extend(marks.iter().filter(|mark| mark.1).map(|mark| (mark.0, "true".to_owned())));
        self.taken += 1;
        let about = About { head: topic, members, time: None };
        self.printer.said(&about, &Said::of(event.payload()))
    }

    async fn count(&mut self, events: &mut Events) -> Result<(), Fault> {
        let mut stats = Stats::new(now());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => stats.show(&mut self.printer, now())?,
                item = events.recv() => match item {
                    Some((_, SubscriptionItem::Event(event))) => {
                        stats.note(event.topic(), bytes(&event));
                        self.taken += 1;
                        if self.is_enough() {
                            return stats.show(&mut self.printer, now());
                        }
                    }
                    Some((at, SubscriptionItem::Gap(gap))) => {
                        stats.note_gap();
                        self.tell_gap(at, &gap);
                    }
                    Some(_) => {}
                    None => return Err(self.lost()),
                },
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.flags.count.is_some_and(|count| self.taken >= count)
    }

    fn tell_gap(&self, at: usize, gap: &Gap) {
        let why = match gap {
            Gap::Incomplete => {
                "events may be missing: the history does not reach back to the last one".to_owned()
            }
            Gap::NoHistory(why) => format!(
                "events may be missing from while the connection was lost: no history ({why})"
            ),
            Gap::Dropped(number) => format!("{number} events were dropped here"),
            Gap::TooManyLive => {
                "events may be missing: too many came while the history was read".to_owned()
            }
            Gap::Revoked(why) => format!("the subscription is gone: {why}"),
            _ => "events may be missing".to_owned(),
        };
        tell(&format!("warning: {}: {why}", self.flags.topics[at]));
    }

    fn lost(&self) -> Fault {
        Fault::Lost(match self.client.status() {
            Status::Closed { reason } => reason,
            _ => "the router has taken the subscriptions away".to_owned(),
        })
    }
}

/// Says how the connection stands, for ever: at its end there may be events left to print.
async fn told(client: &Client) {
    watch(client).await;
    std::future::pending().await
}

type Events = mpsc::Receiver<(usize, SubscriptionItem)>;

/// Hands on what a subscription yields, as fast as it is taken.
async fn feed(
    mut subscription: Subscription,
    at: usize,
    to: mpsc::Sender<(usize, SubscriptionItem)>,
) {
    while let Some(item) = subscription.next_item().await {
        if to.send((at, item)).await.is_err() {
            return;
        }
    }
}

/// Bytes of the payload, as it came.
fn bytes(event: &Event) -> u64 {
    let raw = event.payload().raw();
    raw.map_or(0, |raw| (raw.args.len() + raw.kwargs.map_or(0, <[u8]>::len)) as u64)
}

/// Events between the subscriptions' own queues and the printer.
const EVENTS_BETWEEN: usize = 64;

const TICK: Duration = Duration::from_secs(1);

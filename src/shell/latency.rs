//! `stentor latency`: how long events take from a publisher through the router and back to itself.

use std::time::Duration;

use clap::Args;
use stentor_client::{Client, Subscription};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connect::Connector;
use super::measured::Measured;
use super::output::{Format, Printer, tell_terminal};
use super::settings::ConnectFlags;
use super::{Fault, Stop, now, until};

/// How many events, how often and how large.
#[derive(Args, Debug)]
pub(crate) struct LatencyFlags {
    /// Where to publish; the session's id follows, so that nobody else is in the way
    #[arg(long, value_name = "PREFIX", default_value = "shell.latency.")]
    topic: String,
    /// How many events; 0: until Ctrl-C
    #[arg(long, value_name = "N", default_value_t = 0)]
    count: u64,
    /// Seconds to measure [default: until Ctrl-C]
    #[arg(long = "for", value_name = "SECONDS", value_parser = super::seconds)]
    duration: Option<Duration>,
    /// Seconds between events
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "0.01")]
    interval: Duration,
    /// Bytes of the payload's text
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=16_000_000))]
    size: u32,
    /// Seconds that an event may take
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "10")]
    timeout: Duration,
    /// Print an object of JSON each second, and one at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectFlags,
}

/// Measures until there was enough, and prints the histogram.
pub(crate) async fn run(flags: &LatencyFlags, stop: &Stop) -> Result<(), Fault> {
    let connector = Connector::new(&flags.connect)?;
    let client = connector.connect(stop).await?;
    let format = if flags.json { Format::Json } else { Format::Words };
    let mut printer = Printer::to_stdout(format, false);
    let mut measured = Measured::new();
    let deadline = flags.duration.map(|duration| now() + duration);
    let ended = tokio::select! {
        biased;
        ended = measure(flags, &client, &mut printer, &mut measured) => ended,
        () = stop.requested() => Ok(()),
        () = until(deadline) => Ok(()),
    };
    client.leave().await;
    if measured.count() > 0 {
        if flags.json {
            printer.line(&format!("{{\"total\":true,{}}}", measured.members()))?;
        } else {
            measured.histogram().iter().try_for_each(|line| printer.line(line))?;
            printer.line(&measured.words())?;
        }
    }
    ended
}

async fn measure(
    flags: &LatencyFlags,
    client: &Client,
    printer: &mut Printer,
    measured: &mut Measured,
) -> Result<(), Fault> {
    let session = client.session().map_or(0, |session| session.id().get());
    let topic = format!("{}{session}", flags.topic);
    let mut events = client.subscribe(&topic).await?;
    let text = "x".repeat(flags.size as usize);
    // The first one says whether it is allowed at all, and warms up what is cold.
    client.publish(&topic, (0, &text)).include_me().acknowledge().timeout(flags.timeout).await?;
    arrival(&mut events, 0, flags.timeout).await?;
    let mut pace = interval(flags.interval);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = now();
    for number in 1_u64.. {
        pace.tick().await;
        let sent = now();
        client.publish(&topic, (number, &text)).include_me().await?;
        arrival(&mut events, number, flags.timeout).await?;
        measured.note(sent.elapsed());
        if told.elapsed() >= Duration::from_secs(1) {
            told = now();
            match flags.json {
                true => printer.line(&format!("{{{}}}", measured.members()))?,
                false => tell_terminal(&measured.words()),
            }
        }
        if number == flags.count {
            break;
        }
    }
    Ok(())
}

/// Waits for the event with this number.
async fn arrival(events: &mut Subscription, number: u64, patience: Duration) -> Result<(), Fault> {
    let arrived = async {
        while let Some(event) = events.next().await {
            if event.payload().first::<u64>().is_ok_and(|came| came == number) {
                return Ok(());
            }
        }
        Err(Fault::Lost("the router has ended it".to_owned()))
    };
    let late = |_| Fault::Late(format!("an event has not come back within {patience:?}"));
    timeout(patience, arrived).await.map_err(late)?
}

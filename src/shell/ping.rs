//! `stentor ping`: the time of a connect, and of calls that any router answers.

use std::time::Duration;

use clap::Args;
use stentor_client::{Client, Error};
use tokio::time::sleep;

use super::connect::Connector;
use super::measured::{Measured, shown};
use super::output::{Format, Printer};
use super::settings::ConnectFlags;
use super::text::{json_string, safe};
use super::{Fault, Stop, now};

/// How often.
#[derive(Args, Debug)]
pub(crate) struct PingFlags {
    /// How many calls; 0: until Ctrl-C
    #[arg(long, value_name = "N", default_value_t = 4)]
    count: u64,
    /// Seconds between them
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "1")]
    interval: Duration,
    /// Seconds that an answer may take
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "10")]
    timeout: Duration,
    /// Print an object of JSON for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectFlags,
}

/// Measures, and says so line by line.
pub(crate) async fn run(flags: &PingFlags, stop: &Stop) -> Result<(), Fault> {
    let connector = Connector::new(&flags.connect)?;
    let format = if flags.json { Format::Json } else { Format::Words };
    let mut printer = Printer::to_stdout(format, false);
    let begun = now();
    let client = connector.connect(stop).await?;
    let connected = begun.elapsed();
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    printer.line(&joined(&client, nanos(connected), flags.json))?;
    let mut measured = Measured::new();
    let pinging = async {
        for number in 1_u64.. {
            let begun = now();
            // An error is an answer, too.
            match client.call("wamp.session.count", ()).timeout(flags.timeout).await {
                Ok(_) | Err(Error::Wamp(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let took = begun.elapsed();
            measured.note(took);
            printer.line(&match flags.json {
                true => format!("{{\"number\":{number},\"answer_ns\":{}}}", nanos(took)),
                false => format!("answer {number} after {}", shown(nanos(took))),
            })?;
            if number == flags.count {
                break;
            }
            sleep(flags.interval).await;
        }
        Ok(())
    };
    // Ctrl-C is how a ping without a count ends.
    let ended = match stop.or(pinging).await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    };
    if ended.is_ok() || measured.count() > 0 {
        printer.line(&match flags.json {
            true => format!("{{{}}}", measured.members()),
            false => measured.words(),
        })?;
    }
    client.leave().await;
    ended
}

/// How long it took, and as whom.
fn joined(client: &Client, nanos: u64, is_json: bool) -> String {
    let session = client.session();
    let id = session.as_ref().map_or(0, |session| session.id().get());
    let authid = session.as_ref().and_then(|session| session.authid()).unwrap_or_default();
    let authrole = session.as_ref().and_then(|session| session.authrole()).unwrap_or_default();
    if is_json {
        let (authid, authrole) = (json_string(&authid), json_string(&authrole));
        return format!(
            "{{\"connect_ns\":{nanos},\"session\":{id},\"authid\":{authid},\
             \"authrole\":{authrole}}}"
        );
    }
    let (authid, authrole) = (safe(&authid), safe(&authrole));
    format!("joined as {authid} (role {authrole}), session {id}, in {}", shown(nanos))
}

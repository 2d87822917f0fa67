//! Clients that do nothing but receive, or call each other, for `tests/load/client.py`, which
//! measures what that costs:
//!
//! - `overhead events URL TOPIC CLIENTS COUNT`: so many clients receive so many events in all,
//! - `overhead calls URL PROCEDURE CLIENTS COUNT`: so many clients make so many calls in all, one
//!   after the other each, which one more client answers.
//!
//! The one argument is a string, which is read. Prints `ready` before, and ends after the last.

use std::env;
use std::io::{self, Write as _};

use stentor_client::{CallError, Client, Invocation};
use tokio::task::JoinSet;

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, url, uri, clients, count] = &arguments[..] else {
        return Err("overhead events|calls URL URI CLIENTS COUNT".into());
    };
    let (clients, count) = (clients.parse::<usize>()?, count.parse::<usize>()?);
    match &**what {
        "events" => receive(url, uri, clients, count / clients.max(1)).await,
        "calls" => call(url, uri, clients, count / clients.max(1)).await,
        other => Err(format!("`{other}` is neither `events` nor `calls`").into()),
    }
}

async fn connect(url: &str) -> Fallible<Client> {
    Ok(Client::builder(url, "realm1").connect().await?)
}

fn say_ready() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "ready")?;
    out.flush()
}

async fn receive(url: &str, topic: &str, clients: usize, each: usize) -> Fallible {
    let mut receivers = JoinSet::new();
    let mut kept = Vec::new();
    for _ in 0..clients {
        let client = connect(url).await?;
        let mut events = client.subscribe(topic).await?;
        kept.push(client);
        receivers.spawn(async move {
            for _ in 0..each {
                let event = events.next().await.ok_or("the connection has ended")?;
                let (_text,): (String,) = event.args()?;
            }
            Fallible::Ok(())
        });
    }
    say_ready()?;
    while let Some(received) = receivers.join_next().await {
        received??;
    }
    Ok(())
}

async fn echo(invocation: Invocation) -> Result<(String,), CallError> {
    Ok(invocation.args()?)
}

async fn call(url: &str, procedure: &str, clients: usize, each: usize) -> Fallible {
    let callee = connect(url).await?;
    let _registration = callee.register(procedure, echo).await?;
    let mut callers = JoinSet::new();
    let text = ".".repeat(128);
    for _ in 0..clients {
        let (client, procedure, text) = (connect(url).await?, procedure.to_owned(), text.clone());
        callers.spawn(async move {
            for _ in 0..each {
                let answer: String = client.call(&procedure, (&text,)).await?.first()?;
                assert_eq!(answer.len(), text.len());
            }
            Fallible::Ok(())
        });
    }
    say_ready()?;
    while let Some(called) = callers.join_next().await {
        called??;
    }
    Ok(())
}

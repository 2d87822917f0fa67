//! Follows a topic across lost connections, and says where events may be missing:
//! `cargo run --example reconnecting -- ws://127.0.0.1:8080/ws com.x`. Give the topic a history in
//! the router, stop and start the connection, and nothing is missed.

use std::time::Duration;

use stentor_client::{Client, Reconnect, SubscriptionItem};

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the URL of a router is missing")?;
    let topic = arguments.next().unwrap_or_else(|| "com.example.topic".to_owned());
    let reconnect = Reconnect::default().max(Duration::from_secs(5));
    let client = Client::builder(url, "realm1").reconnect(reconnect).connect().await?;
    let mut events = client.subscribe(topic).await?;
    let mut status = client.status();
    loop {
        tokio::select! {
            item = events.next_item() => match item {
                Some(SubscriptionItem::Event(event)) => {
                    let from = if event.is_from_history() { "missed: " } else { "" };
                    println!("{from}{}", event.payload().to_json()?.0);
                }
                Some(SubscriptionItem::Gap(gap)) => println!("events may be missing: {gap:?}"),
                Some(_) => {}
                None => return Ok(()),
            },
            now = client.status_after(&status) => {
                eprintln!("{now:?}");
                status = now;
            }
        }
    }
}

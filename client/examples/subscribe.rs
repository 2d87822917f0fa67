//! Prints the events of a topic: `cargo run --example subscribe -- ws://127.0.0.1:8080/ws com.x`.
//! Ends after as many as a third argument says.

use stentor_client::blocking::Client;

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the URL of a router is missing")?;
    let topic = arguments.next().unwrap_or_else(|| "com.example.topic".to_owned());
    let count = arguments.next().map_or(Ok(usize::MAX), |count| count.parse())?;
    let client = Client::builder(url, "realm1").connect_blocking()?;
    let events = client.subscribe(topic).get_retained().send()?;
    for event in events.take(count) {
        let (args, kwargs) = event.payload().to_json()?;
        println!("{} {args} {}", event.topic(), kwargs.unwrap_or_default());
    }
    Ok(())
}

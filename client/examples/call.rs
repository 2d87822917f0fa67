//! Calls a procedure with the sum of two numbers as its result, as the example `register` has one:
//! `cargo run --example call -- ws://127.0.0.1:8080/ws 2 3`.

use std::time::Duration;

use stentor_client::blocking::Client;

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the URL of a router is missing")?;
    let numbers: Vec<i64> = arguments.map(|number| number.parse()).collect::<Result<_, _>>()?;
    let client = Client::builder(url, "realm1").connect_blocking()?;
    let call = client.call("com.example.sum", (numbers,)).timeout(Duration::from_secs(5));
    let sum: i64 = call.send()?.first()?;
    println!("{sum}");
    Ok(())
}

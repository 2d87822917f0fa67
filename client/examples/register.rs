//! Registers procedures: `com.example.sum`, and `com.example.count` with progressive results.
//! `cargo run --example register -- ws://127.0.0.1:8080/ws`; ends with the connection.

use std::time::Duration;

use stentor_client::{CallError, Client, Invocation};

async fn sum(invocation: Invocation) -> Result<(i64,), CallError> {
    let (numbers,): (Vec<i64>,) = invocation.args()?;
    let sum = numbers.iter().try_fold(0_i64, |sum, number| sum.checked_add(*number));
    sum.map(|sum| (sum,)).ok_or_else(|| CallError::invalid_argument("the sum is too large"))
}

async fn count(invocation: Invocation) -> Result<(&'static str,), CallError> {
    let (to,): (u32,) = invocation.args()?;
    for number in 1..=to {
        invocation.progress((number,)).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(("that is all",))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("the URL of a router is missing")?;
    let client = Client::builder(url, "realm1").connect().await?;
    let _sum = client.register("com.example.sum", sum).await?;
    let _count = client.register("com.example.count", count).await?;
    eprintln!("{}", client.closed().await);
    Ok(())
}

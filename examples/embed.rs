//! A router inside another program: start it, use it, stop it.
//!
//! Run with `cargo run --example embed`. Here the "other program" is a client that says HELLO over
//! RawSocket; a real one would run until told to stop.

use std::io::{Read, Write};
use std::net::TcpStream;

use stentor::config::{Config, ListenAddress, Listener};
use stentor::net::Server;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = Listener::on("127.0.0.1:0".parse()?);
    let config = Config { shards: 2, listeners: vec![listener], ..Config::default() };
    let server = Server::start(&config)?;
    let ListenAddress::Tcp(address) = &server.addresses()[0] else { unreachable!("it is TCP") };

    let mut client = TcpStream::connect(address)?;
    client.write_all(&[0x7F, 0xF1, 0, 0])?; // RawSocket, JSON, messages of up to 16 MiB.
    let hello = br#"[1,"realm1",{"roles":{"subscriber":{}}}]"#;
    client.write_all(&u32::try_from(hello.len())?.to_be_bytes())?;
    client.write_all(hello)?;
    let mut header = [0; 8]; // The answer to the handshake, then the header of WELCOME.
    client.read_exact(&mut header)?;
    let length = u32::from_be_bytes([0, header[5], header[6], header[7]]);
    let mut welcome = vec![0; length as usize];
    client.read_exact(&mut welcome)?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "router on {address}: {}", String::from_utf8_lossy(&welcome))?;
    writeln!(out, "sessions: {}", server.snapshot().sessions)?;
    drop(client);
    server.stop()?;
    Ok(())
}

//! The memory of the real process after a burst: what was freed goes back to the system.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::ListenAddress;

use crate::running::{OPEN_REALM, Running, address_in};
use crate::sockets::{Client, Kind, Lines, Pki, Stream, eventually};

const MIB: usize = 1024 * 1024;

/// Events of one publisher in a round.
const EVENTS: usize = 50;

/// Resident memory of a process, in bytes.
fn resident(process: &Running) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Events of many lengths, for subscribers of two serializers that read late: large ones, which are
/// kept once, and such that each subscriber keeps a copy of. Gives the most memory meanwhile, and
/// sessions that began then and stay: what is theirs lies behind what is freed.
fn burst(process: &Running, address: &ListenAddress) -> (usize, Vec<Client>) {
    let kind = |number: usize| Kind::Raw([Codec::Json, Codec::MsgPack][number % 2]);
    let subscribe = |number| {
        let mut client = Client::open_on(Stream::connect_small(address), kind(number)).unwrap();
        client.hello("realm1");
        client.subscribe("com.x");
        client
    };
    let mut subscribers: Vec<_> = (0..24).map(subscribe).collect();
    let mut publishers: Vec<_> = (0..6).map(|number| Client::join(address, kind(number))).collect();
    let (mut peak, mut stay) = (0, Vec::new());
    for round in 0..4 {
        let event = |length: usize| Value::from("x".repeat(length));
        for (place, publisher) in publishers.iter_mut().enumerate() {
            let number = round * 6 + place;
            let large = event(350_000 + number * 29_989 % 350_000);
            publisher.publish_acknowledged("com.x", &large);
            for copied in 1..EVENTS {
                let length = 8_000 + (number * EVENTS + copied) * 1_009 % 8_000;
                publisher.publish_acknowledged("com.x", &event(length));
            }
        }
        peak = peak.max(resident(process));
        stay.extend((0..20).map(|number| Client::join(address, kind(number))));
        for subscriber in &mut subscribers {
            (0..publishers.len() * EVENTS).for_each(|_| drop(subscriber.expect(36)));
        }
    }
    (peak, stay)
}

#[test]
fn memory_of_a_burst_is_given_back() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["--listen", "127.0.0.1:0", "--shards", "2", "--send-buffer", "65536"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Lines::of(process.stderr.take().unwrap());
    let process = Running(process);
    let address = address_in(&log.next_with("listening"));
    let mut client = Client::join(&address, Kind::Raw(Codec::Json));
    client.publish_acknowledged("com.x", &json!("warm"));
    let before = resident(&process);
    let (peak, _stay) = burst(&process, &address);
    assert!(peak > before + 48 * MIB, "no burst: {} MiB", peak / MIB);
    eventually("memory is given back", || resident(&process) < before + 32 * MIB);
}

/// What one idle session takes at most, TLS, transport and session together. The buffers that the
/// sessions of a shard share, and what the allocator keeps at hand, are allowed for once.
#[test]
fn an_idle_tls_session_is_small() {
    const SESSIONS: usize = 1_000;
    // 5,200 were measured.
    const SESSION_BYTES: usize = 5_800;
    let pki = Pki::new();
    let issued = pki.issue("a", &["localhost"]);
    let file = pki.path("stentor.toml");
    let (certificate, key) = (&issued.files.certificate, &issued.files.key);
    let text = format!(
        "shards = 1\n[[listener]]\nlisten = \"127.0.0.1:0\"\n[[listener.tls]]\n\
         certificate = {certificate:?}\nkey = {key:?}\n{OPEN_REALM}\
         [timeouts]\nping_interval_ms = 0\n"
    );
    fs::write(&file, text).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["--log-level", "info", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Lines::of(process.stderr.take().unwrap());
    let process = Running(process);
    let line = log.next_with("rss://");
    let (_, at) = line.split_once(" rss://").unwrap();
    let at = at.split(['"', ' ']).next().unwrap().parse().unwrap();
    let client = pki.plain_client();
    let join = |_| {
        let stream = Stream::connect(&at).unwrap().secured(&client, "localhost");
        let mut client = Client::open_on(stream, Kind::Raw(Codec::Cbor)).unwrap();
        client.hello("realm1");
        // A record of the largest size: what it took must have been given back.
        client.publish_acknowledged("com.x", &Value::from("x".repeat(40_000)));
        client
    };
    let mut sessions: Vec<_> = (0..SESSIONS).map(join).collect();
    let before = resident(&process);
    sessions.extend((0..SESSIONS).map(join));
    let grown = || resident(&process).saturating_sub(before);
    eventually(&format!("{} bytes each", grown() / SESSIONS), || {
        grown() <= SESSIONS * SESSION_BYTES
    });
}

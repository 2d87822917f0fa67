//! A hundred thousand short sessions leave nothing behind: no gauge, no table entry, no memory.
//!
//! The router runs in a process of its own (this program, started again as its `host` test), so
//! that its memory can be told from that of the clients. `STENTOR_SHORT_SESSIONS` sets the number.

mod sockets;

use std::env;
use std::fs;
use std::io::{Write, stdin};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::{ListenAddress, Listener};

use sockets::{Client, Frame, Kind, Lines, Stream, config, hello, settles, start};

/// How a client leaves.
const WAYS: u64 = 8;

#[test]
#[expect(clippy::print_stdout, reason = "the figures are worth a look")]
fn short_sessions_leave_nothing_behind() {
    let sessions = env::var("STENTOR_SHORT_SESSIONS").map_or(100_000, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::start(&directory.path().join("stentor.sock"));
    // By then as many have ended as the router remembers for its operators.
    let warm_up = sessions / 4;
    run(&host.addresses, 0..warm_up);
    host.wait_until_idle();
    let before = host.resident_bytes();
    run(&host.addresses, warm_up..sessions);
    host.wait_until_idle();
    let after = host.resident_bytes();
    println!("{sessions} sessions: {} KiB resident, then {} KiB", before / 1024, after / 1024);
    assert!(after <= before + SLACK_BYTES, "resident memory grew from {before} to {after} bytes");
}

/// Memory that the allocator may need for a worse order of the same allocations.
const SLACK_BYTES: usize = 2 * 1024 * 1024;

/// The router of the test above. It tells its addresses, and answers each line of its input when
/// nothing is left of any client; it ends with its input.
#[test]
#[ignore = "started by the other test"]
#[expect(clippy::print_stdout, reason = "it is how this process talks to the other")]
fn host() {
    let Ok(file) = env::var("STENTOR_SHORT_SESSIONS_SOCKET") else { return };
    let mut config = config(2);
    config.listeners.push(Listener::on(format!("unix:{file}").parse().unwrap()));
    config.timeouts.handshake_ms = 1000;
    config.timeouts.close_ms = 1000;
    config.tuning.backlog = 4096;
    let server = start(&config);
    for address in server.addresses() {
        println!("{PREFIX}{address}");
    }
    for line in stdin().lines() {
        line.unwrap();
        settles(&server);
        println!("{PREFIX}idle");
    }
    server.stop().unwrap();
}

/// Marks the lines that are not the test harness's.
const PREFIX: &str = "host: ";

struct Host {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines,
    addresses: [ListenAddress; 2],
}

impl Host {
    fn start(socket: &std::path::Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["host", "--exact", "--ignored", "--nocapture"])
            .env("STENTOR_SHORT_SESSIONS_SOCKET", socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let output = Lines::of(process.stdout.take().unwrap());
        let address = || next_line(&output).parse().unwrap();
        let addresses = [address(), address()];
        Self { process, input, output, addresses }
    }

    fn wait_until_idle(&mut self) {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(next_line(&self.output), "idle");
    }

    fn resident_bytes(&self) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.input.take());
        let status = self.process.wait().unwrap();
        assert!(status.success() || thread::panicking(), "the host stops in order");
    }
}

/// The next line of the host itself.
fn next_line(output: &Lines) -> String {
    output.next_with(PREFIX).split_once(PREFIX).unwrap().1.to_owned()
}

/// Runs sessions of these numbers, a few at a time.
fn run(addresses: &[ListenAddress; 2], numbers: std::ops::Range<u64>) {
    let next = AtomicU64::new(numbers.start);
    thread::scope(|scope| {
        for _ in 0..CLIENT_THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    short_session(addresses, number);
                }
            });
        }
    });
}

const CLIENT_THREADS: usize = 8;

/// One session: what it does and how it leaves follow from its number.
fn short_session(addresses: &[ListenAddress; 2], number: u64) {
    let codec = Codec::ALL[(number % 3) as usize];
    let kind = if (number / 7).is_multiple_of(10) { Kind::Ws(codec) } else { Kind::Raw(codec) };
    let mut stream = connect(addresses, number);
    let way = number / 10 % WAYS;
    if way == 0 && number.is_multiple_of(3) {
        // Half a handshake, which only the timeout or the end of the stream ends.
        let opening = kind.opening();
        return stream.write_all(&opening[..opening.len() - 1]).unwrap();
    }
    if way == 1 && number % 3 == 1 {
        // The answer may be a refusal, or nothing before the end.
        let _ = stream.write_all(&[number as u8; 64]);
        return;
    }
    let mut client = Client::open_on(stream, kind).unwrap();
    client.send(&hello("realm1"));
    if way == 2 && number % 3 == 2 {
        return; // Gone before WELCOME.
    }
    client.welcomed();
    act(&mut client, number);
    leave(client, way);
}

fn connect(addresses: &[ListenAddress; 2], number: u64) -> Stream {
    let [ListenAddress::Tcp(tcp), unix] = addresses else { panic!("TCP, then Unix") };
    if !number.is_multiple_of(4) {
        return Stream::connect(unix).unwrap();
    }
    // Closed TCP connections keep their port for a while; each source address has its own.
    let host = Ipv4Addr::new(127, 0, 0, (number / 4 % 200) as u8 + 1);
    Stream::connect_from(SocketAddr::from((host, 0)), *tcp).unwrap()
}

fn act(client: &mut Client, number: u64) {
    // Some topics are shared with others that come and go, so that ends meet.
    let shared = format!("com.shared.{}", number % 5);
    let own = format!("com.own.{number}");
    match number % 5 {
        0 => {
            client.subscribe(&own);
            client.register(&own);
            client.call(&own, &json!(number));
            client.echo();
            client.expect(50);
        }
        1 => {
            client.publish_acknowledged(&shared, &json!([number, "text"]));
        }
        2 => {
            for (request, policy) in [(1, "prefix"), (2, "wildcard")] {
                client.send(&json!([32, request, {"match": policy}, "com.shared..x"]));
            }
        }
        3 => {
            // The call stays pending: it ends with its session.
            client.register(&own);
            client.call(&own, &json!(number));
        }
        _ => {
            for request in 1..=4 {
                client.send(&json!([32, request, {}, format!("com.shared.{request}")]));
            }
        }
    }
}

fn leave(mut client: Client, way: u64) {
    match way {
        0 | 1 => {
            client.send(&json!([6, {}, "wamp.close.close_realm"]));
            while let Frame::Message(bytes) = client.next_answering() {
                if client.kind.decode(&bytes)[0] == 6 {
                    break;
                }
            }
        }
        2 => client.send(&json!([3, {}, "wamp.close.normal"])),
        3 => client.stream.shut_down_writing(),
        4 => {
            // In the middle of a frame.
            let frame = client.kind.message(&json!([16, 99, {}, "com.x", ["cut off"]]));
            client.write(&frame[..frame.len() / 2]).unwrap();
        }
        5 => {
            // Garbage: the router answers with ABORT or a close frame, or just closes.
            client.write(&[0xFF; 40]).unwrap();
            client.stream.shut_down_writing();
            drop(client);
        }
        6 => client.stream.reset(),
        _ => {}
    }
}

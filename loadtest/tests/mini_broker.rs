//! The brokers without WAMP: small ones that speak NATS and RESP as the real ones do, to see that
//! the harness speaks it too, and still notices what they lose.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Nats,
    Redis,
}

struct Broker {
    language: Language,
    /// Every so many events one is forgotten.
    forgets: Option<u64>,
    events: u64,
    topics: HashMap<String, Vec<TcpStream>>,
}

/// Starts a broker on a port of its own; it serves until the test process ends.
fn start(language: Language, forgets: Option<u64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let broker = Broker { language, forgets, events: 0, topics: HashMap::new() };
    let broker = Arc::new(Mutex::new(broker));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let broker = broker.clone();
            thread::spawn(move || serve(stream.unwrap(), &broker));
        }
    });
    address
}

/// A client may leave at any time: that ends its thread quietly.
fn serve(mut stream: TcpStream, broker: &Mutex<Broker>) -> Option<()> {
    let language = broker.lock().unwrap().language;
    stream.set_nodelay(true).ok()?;
    if language == Language::Nats {
        stream.write_all(b"INFO {\"max_payload\":1048576}\r\n").ok()?;
    }
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let words = match language {
            Language::Nats => read_nats(&mut reader)?,
            Language::Redis => read_redis(&mut reader)?,
        };
        broker.lock().unwrap().handle(&mut stream, &words)?;
    }
}

fn read_line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    assert!(line.ends_with("\r\n"), "{line:?}");
    Some(line.trim_end().to_owned())
}

fn read_bytes(reader: &mut BufReader<TcpStream>, count: usize) -> Option<String> {
    let mut bytes = vec![0; count + 2];
    reader.read_exact(&mut bytes).ok()?;
    assert!(bytes.ends_with(b"\r\n"));
    bytes.truncate(count);
    Some(String::from_utf8(bytes).unwrap())
}

fn read_nats(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let line = read_line(reader)?;
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if words[0] == "PUB" {
        words[2] = read_bytes(reader, words[2].parse().unwrap())?;
    }
    Some(words)
}

fn read_redis(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let line = read_line(reader)?;
    let Some(count) = line.strip_prefix('*') else { return Some(vec![line]) };
    let word = |_| {
        let length = read_line(reader)?.strip_prefix('$')?.parse().unwrap();
        read_bytes(reader, length)
    };
    (0..count.parse::<u32>().unwrap()).map(word).collect()
}

impl Broker {
    fn handle(&mut self, from: &mut TcpStream, words: &[String]) -> Option<()> {
        let nats = self.language == Language::Nats;
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["CONNECT", _] => {}
            ["PING"] => from.write_all(if nats { b"PONG\r\n" } else { b"+PONG\r\n" }).ok()?,
            ["SUB", topic, "1"] => self.subscribe(topic, from),
            ["SUBSCRIBE", topic] => {
                self.subscribe(topic, from);
                let length = topic.len();
                write!(from, "*3\r\n$9\r\nsubscribe\r\n${length}\r\n{topic}\r\n:1\r\n").ok()?;
            }
            ["PUB", topic, payload] => {
                let length = payload.len();
                self.publish(topic, &format!("MSG {topic} 1 {length}\r\n{payload}\r\n"));
            }
            ["PUBLISH", topic, payload] => {
                let (long, length) = (topic.len(), payload.len());
                let push = format!(
                    "*3\r\n$7\r\nmessage\r\n${long}\r\n{topic}\r\n${length}\r\n{payload}\r\n"
                );
                self.publish(topic, &push);
                from.write_all(b":1\r\n").ok()?;
            }
            _ => panic!("not expected from the harness: {words:?}"),
        }
        Some(())
    }

    fn subscribe(&mut self, topic: &str, stream: &TcpStream) {
        let receivers = self.topics.entry(topic.to_owned()).or_default();
        receivers.push(stream.try_clone().unwrap());
    }

    fn publish(&mut self, topic: &str, message: &str) {
        for receiver in self.topics.get_mut(topic).into_iter().flatten() {
            self.events += 1;
            if self.forgets.is_none_or(|every| !self.events.is_multiple_of(every)) {
                // A receiver that has left misses nothing.
                let _ = receiver.write_all(message.as_bytes());
            }
        }
    }
}

fn run(options: &str) -> Output {
    let line = format!("{options} --duration 300ms --warmup 50ms --quiet --json -");
    Command::new(env!("CARGO_BIN_EXE_stentor-loadtest"))
        .args(line.split_ascii_whitespace())
        .output()
        .unwrap()
}

/// Runs `options` against a broker of each language: the exit codes and reports.
fn check(options: &str, forgets: Option<u64>, code: i32, judge: fn(&Value)) {
    for (scheme, language) in [("nats", Language::Nats), ("redis", Language::Redis)] {
        let output = run(&format!("{options} --url {scheme}://{}", start(language, forgets)));
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{language:?} {options}: {text}{errors}");
        judge(&serde_json::from_str(&text).unwrap());
    }
}

#[test]
fn fanout_and_topics_are_verified() {
    let moved = |report: &Value| {
        assert!(report["events"].as_u64().unwrap() > 20, "{report}");
        assert_eq!(report["delivery_bytes"], report["payload_bytes"]);
        assert!(report["event_latency"]["p99"].as_u64().unwrap() > 0);
    };
    check("fanout -p 2 -n 5 --in-flight 4", None, 0, moved);
    check("fanout -n 3 --rate 500 --payload-bytes 300000", None, 0, moved);
    check("topics --topics 10 --saturate", None, 0, moved);
}

#[test]
fn what_a_broker_forgets_is_found() {
    check("fanout -n 3 --rate 1000", Some(97), 1, |report| {
        assert!(report["verified"]["lost"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["verified"]["errors"], 0);
    });
}

#[test]
fn scenarios_that_need_wamp_are_refused() {
    for options in ["rpc", "churn", "connect", "soak", "fanout --acknowledge"] {
        let output = run(&format!("{options} --url nats://127.0.0.1:1"));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{options}");
        assert!(errors.contains("nats://127.0.0.1:1 does not speak WAMP"), "{errors}");
    }
}

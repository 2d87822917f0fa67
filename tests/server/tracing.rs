//! `stentor trace` against a running router: what it shows, who may, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{AdminToken, Config, ListenAddress, Secret};
use stentor::control::Control;
use stentor::net::Server;
use stentor::shard::MOST_TRACES;

use crate::running::Running;
use crate::sockets::{Client, Kind, address, config, eventually, start};

const RAW: Kind = Kind::Raw(Codec::Json);
const TOKEN: &str = "HuuBgMNe6NTBKs4rJrgTx5zLKmh4qWsSUvyUTGHr5Gw";

fn start_guarded() -> (Server, Control) {
    let mut config: Config = config(2);
    config.admin.listen = Some(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))));
    config.admin.token = Some(AdminToken::of(&Secret::new(TOKEN)));
    let server = start(&config);
    let control = Control::start(&config, server.view()).unwrap().unwrap();
    (server, control)
}

fn command(control: &Control, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.arg("trace").args(arguments).args(["--admin", &control.url().unwrap()]);
    command.env("STENTOR_ADMIN_TOKEN", TOKEN).stdin(Stdio::null());
    command
}

/// What a command that ends says, and whether it succeeded.
fn said(mut command: Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// A trace that runs.
struct Trace {
    process: Running,
    lines: BufReader<Box<dyn Read>>,
}

impl Trace {
    /// Each shard traces when this returns.
    fn begin(control: &Control, arguments: &[&str]) -> Self {
        let mut command = command(control, arguments);
        let mut process: Child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output: Box<dyn Read> = Box::new(process.stdout.take().unwrap());
        let (process, lines) = (Running(process), BufReader::new(output));
        let mut trace = Self { process, lines };
        let first = trace.line();
        assert!(first.contains("for"), "{first}");
        trace
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

/// Messages of both shards in their order, with all receivers of a publication.
#[test]
fn the_command_shows_messages_while_they_pass() {
    let (server, control) = start_guarded();
    let mut clients: Vec<_> = (0..4).map(|_| Client::join(address(&server), RAW)).collect();
    for client in &mut clients[1..] {
        client.subscribe("com.x");
    }
    clients[1].register("com.add");
    let arguments = ["--uri", "com.", "--for", "600", "--json", "--payload", "9"];
    let mut trace = Trace::begin(&control, &arguments);
    clients[0].publish("com.x", &json!("long payload"));
    for client in &mut clients[1..] {
        client.expect(36);
    }
    let first = trace.json();
    assert_eq!(first["message"], "publish", "{first}");
    assert_eq!((&first["receivers"], &first["session"]), (&json!(3), &json!(clients[0].session)));
    assert_eq!(
        (&first["payload"], &first["is_payload_cut"]),
        (&json!(r#"["long pa"#), &json!(true))
    );
    let events = [(); 3].map(|()| trace.json());
    assert!(events.iter().all(|event| event["message"] == "event" && event["uri"] == "com.x"));
    let mut sessions: Vec<_> = events.iter().map(|event| event["session"].as_u64()).collect();
    let mut expected: Vec<_> = clients[1..].iter().map(|client| Some(client.session)).collect();
    sessions.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sessions, expected);
    clients[0].call("com.add", &json!(1));
    clients[1].expect(68);
    let call = trace.json();
    assert_eq!((&call["message"], &call["callee"]), (&json!("call"), &json!(clients[1].session)));
    assert_eq!(trace.json()["message"], "invocation");
}

/// It ends by itself, and says how much there was and was not shown.
#[test]
fn the_command_ends_with_what_was_left_out() {
    let (server, control) = start_guarded();
    let mut client = Client::join(address(&server), RAW);
    let session = client.session.to_string();
    let arguments = ["--session", &session, "--for", "1", "--rate", "2"];
    let mut trace = Trace::begin(&control, &arguments);
    for number in 0..50 {
        client.publish("com.x", &json!(number));
    }
    client.subscribe("com.y");
    let line = trace.line();
    assert!(line.contains(&format!("{session} -> PUBLISH 1 com.x, ")), "{line}");
    assert!(line.ends_with(" B, granted, 0 receivers"), "{line}");
    let last = loop {
        let line = trace.line();
        if line.starts_with('#') {
            break line;
        }
    };
    let counts: Vec<u64> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [shown, left_out] = counts[..] else { panic!("{last}") };
    assert!((2..=4).contains(&shown), "{last}");
    assert_eq!(shown + left_out, 50 + 2, "{last}");
    assert_eq!(trace.process.exit_code(), Some(0));
}

#[test]
fn what_cannot_be_traced_is_refused() {
    let (_server, control) = start_guarded();
    for (arguments, expected) in [
        (&["--session", "7"][..], "there is no session 7"),
        (&["--uri", "com.", "--realm", "realm9"], "there is no realm `realm9`"),
        (&["--address", "10.0.0"], "address"),
        (&["--uri", &"x".repeat(600)], "`uri` must have 512 bytes at most"),
        (&["--realm", "realm1"], "--session"),
        (&["--uri", "com.", "--for", "601"], "601"),
    ] {
        let (is_done, text) = said(command(&control, arguments));
        assert!(!is_done && text.contains(expected), "{text}");
    }
    let mut stranger = command(&control, &["--uri", "com."]);
    stranger.env_remove("STENTOR_ADMIN_TOKEN");
    let (is_done, text) = said(stranger);
    assert!(!is_done && text.contains("--token-file"), "{text}");
}

/// Nobody who goes away, or does not read, keeps a trace from others.
#[test]
fn a_trace_ends_with_its_reader() {
    let (_server, control) = start_guarded();
    let arguments = ["--address", "127.0.0.0/8", "--for", "600"];
    let mut traces: Vec<_> = (0..MOST_TRACES).map(|_| Trace::begin(&control, &arguments)).collect();
    let (is_done, text) = said(command(&control, &arguments));
    assert!(!is_done && text.contains("4 traces run, which is as many as may"), "{text}");
    drop(traces.pop());
    // That the connection is gone is noticed with the next look at it.
    eventually("there is room for another", || {
        let mut next = command(&control, &["--address", "unix", "--for", "1"]);
        next.stdout(Stdio::null()).stderr(Stdio::null());
        next.status().unwrap().success()
    });
}

/// The stop of the admin listener, and of the router, waits for no trace.
#[test]
fn a_stop_cuts_traces_off() {
    let (server, control) = start_guarded();
    let mut trace = Trace::begin(&control, &["--uri", "com.", "--for", "600"]);
    drop(control);
    assert_eq!(trace.line(), "", "nothing more comes");
    assert_eq!(trace.process.exit_code(), Some(3));
    server.stop().unwrap();
}

/// The body is one line of JSON after the other, for other programs as well.
#[test]
fn the_answer_is_lines_of_json() {
    let (_server, control) = start_guarded();
    let host = control.address().unwrap().tcp().unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    let body = r#"{"uri":"com.","for_seconds":1}"#;
    let length = body.len();
    let request = format!(
        "POST /api/trace HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Length: {length}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: application/jsonl"), "{answer}");
    let lines = answer.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<_> = lines.filter(Value::is_object).collect();
    assert_eq!(lines.len(), 2, "{answer}");
    assert_eq!((&lines[0]["for_seconds"], &lines[0]["rate"]), (&json!(1), &json!(100)));
    assert_eq!((&lines[1]["shown"], &lines[1]["unanswered_shards"]), (&json!(0), &json!([])));
}

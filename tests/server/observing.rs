//! What operators see of sessions, over the admin listener of a running router.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{Config, ListenAddress};
use stentor::control::Control;
use stentor::net::Server;
use stentor::router::EndReason;

use crate::sockets::{Client, Kind, address, config, eventually, start};

const RAW: Kind = Kind::Raw(Codec::Json);

pub(crate) fn start_observed(shards: usize) -> (Server, Control) {
    start_observed_with(shards, |_| {})
}

pub(crate) fn start_observed_with(
    shards: usize,
    change: impl Fn(&mut Config),
) -> (Server, Control) {
    let mut config: Config = config(shards);
    change(&mut config);
    config.admin.listen = Some(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))));
    let server = start(&config);
    let control = Control::start(&config, server.view()).unwrap().unwrap();
    (server, control)
}

/// The status and the body.
pub(crate) fn get(control: &Control, path: &str) -> (u16, String) {
    let host = control.address().and_then(ListenAddress::tcp).unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn sessions(control: &Control, path: &str) -> Vec<Value> {
    let (status, body) = get(control, path);
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    answer["sessions"].as_array().unwrap().clone()
}

#[test]
fn open_sessions_of_all_shards_are_shown_in_the_order_asked_for() {
    let (server, control) = start_observed(2);
    let mut clients: Vec<_> = (0..5).map(|_| Client::join(address(&server), RAW)).collect();
    for (client, events) in clients.iter_mut().zip(0u64..) {
        client.subscribe("com.x");
        (0..events).for_each(|_| client.publish("com.y", &json!(1)));
    }
    // A message each besides HELLO, and as many as published.
    let messages = |path: &str| -> Vec<u64> {
        let rows = sessions(&control, path);
        rows.iter().map(|row| row["messages_received"].as_u64().unwrap()).collect()
    };
    eventually("all have been read", || messages("/api/sessions?sort=messages") == [6, 5, 4, 3, 2]);
    assert_eq!(messages("/api/sessions?sort=messages&limit=2"), [6, 5]);
    assert!(messages("/api/sessions?realm=none").is_empty());
    let rows = sessions(&control, "/api/sessions?authrole=anonymous");
    let shards: Vec<_> = rows.iter().map(|row| row["shard"].as_u64().unwrap()).collect();
    assert!(shards.contains(&0) && shards.contains(&1), "{shards:?}");
    assert!(rows.iter().all(|row| row["subscriptions"] == 1 && row["realm"] == "realm1"));
    let (status, body) = get(&control, "/api/sessions?sort=name");
    assert_eq!(status, 400);
    assert!(body.contains("unknown variant `name`"), "{body}");
}

#[test]
fn closed_sessions_say_why_and_who() {
    let (server, control) = start_observed(2);
    let client = Client::join(address(&server), RAW);
    drop(client);
    let mut violator = Client::join(address(&server), RAW);
    violator.send(&json!([2, 1, {}]));
    violator.expect(3);
    eventually("both have ended", || sessions(&control, "/api/sessions/closed").len() == 2);
    let lost = sessions(&control, "/api/sessions/closed?reason=transport_lost");
    assert_eq!((&lost[0]["closed_by"], lost.len()), (&json!("network"), 1));
    let violated = &sessions(&control, "/api/sessions/closed?reason=protocol_violation")[0];
    assert_eq!(violated["closed_by"], "router");
    assert_eq!(violated["messages_received"], 2);
    assert!(violated["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{violated}");
    assert!(sessions(&control, "/api/sessions").is_empty());
    let page = get(&control, "/metrics").1;
    let line = "stentor_sessions_closed_total{reason=\"protocol_violation\"} 1";
    assert!(page.lines().any(|other| other == line), "{page}");
}

/// `STENTOR_WRITE_DOCS=1` writes the page anew.
#[test]
fn the_page_of_reasons_is_that_of_the_program() {
    let mut page = "# Why a session ended\n\nThe reason stands in the log (`session left`), in \
                    `stentor sessions --closed`, and as `reason` of\n\
                    `stentor_sessions_closed_total`. This page is made from the program.\n\n\
                    | reason | ended by | when |\n|---|---|---|\n"
        .to_owned();
    for (reason, by, lines) in EndReason::TABLE {
        let when: String = lines.concat();
        page += &format!("| `{reason}` | {} | {} |\n", by.as_str(), when.trim_start());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md");
    if env::var_os("STENTOR_WRITE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), page);
}

//! `stentor top` in a terminal, before a router that works, goes and comes back.

use std::net::SocketAddr;

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::ListenAddress;
use stentor::control::Control;
use stentor::net::Server;

use crate::observing::start_observed;
use crate::sockets::{Client, Kind, address, config};
use crate::terminal::Terminal;

const RAW: Kind = Kind::Raw(Codec::Cbor);

/// As terminals send them.
const END: &str = "\x1b[F";
const HOME: &str = "\x1b[H";
const DOWN: &str = "\x1b[B";
const CTRL_C: &str = "\x03";

fn url(control: &Control) -> String {
    format!("http://{}", control.address().and_then(ListenAddress::tcp).unwrap())
}

/// It would turn the direction of reading, and is wider than it has letters.
const TOPIC: &str = "com.\u{754c}\u{754c}.x\u{202e}";
const SHOWN: &str = "com.\u{754c}\u{754c}.x";

/// A subscriber and a publisher.
fn clients(server: &Server) -> [Client; 2] {
    let mut clients = [(); 2].map(|()| Client::join(address(server), RAW));
    clients[0].subscribe(TOPIC);
    clients
}

#[test]
fn the_screen_follows_keys_and_sizes() {
    let (server, control) = start_observed(20);
    let [mut subscriber, mut publisher] = clients(&server);
    let mut top = Terminal::run(&["top", "--admin", &url(&control)], (24, 80));
    top.shows(&["2 sessions, 2 connections", "SHARD LOAD", "shards 1 to 13 of 20", "q quit"]);
    let mut publish = || {
        publisher.publish_acknowledged(TOPIC, &json!("hello"));
        subscriber.expect(36);
    };
    (0..100).for_each(|_| publish());
    top.waits_for("rates", |screen| {
        let rates = screen.lines().find(|line| line.contains("events out"));
        rates.is_some_and(|line| !line.contains('\u{2013}'))
    });
    top.press(END);
    top.shows(&["shards 8 to 20 of 20"]);
    top.press(HOME);
    top.press(DOWN);
    top.shows(&["shards 2 to 14 of 20"]);
    top.press("2");
    top.shows(&["SESSION          AUTHID", "2 shown, by pending", "anon-"]);
    top.press("s");
    top.shows(&["2 shown, by messages"]);
    top.press("3s");
    top.shows(&["0 shown, by oldest", "OLDEST"]);
    top.press("5");
    top.shows(&["TOPIC", SHOWN, " realm1 ", "1 shown, by rate"]);
    assert!(top.has_written("\u{fffd}") && !top.has_written("\u{202e}"));
    top.press("/com.y\r");
    top.shows(&["0 shown, by rate, with com.y"]);
    top.press("?");
    top.shows(&["Any key closes this."]);
    top.resize(10, 40);
    top.press(" 1");
    top.shows(&[" 1 Overview   2   3 ", "2 sessions, 2 connections", "shards 1 to 3 of 20"]);
    top.resize(30, 100);
    top.shows(&["6 Procedures", "shards 1 to 19 of 20"]);
    top.press("q");
    top.check_restored();
}

#[test]
fn the_terminal_is_as_it_was_whatever_ends_it() {
    for ending in ["TERM", "HUP", "INT", CTRL_C, "q"] {
        let (_server, control) = start_observed(1);
        let mut top = Terminal::run(&["top", "--admin", &url(&control)], (24, 80));
        top.shows(&["0 sessions, 0 connections"]);
        match ending {
            CTRL_C | "q" => top.press(ending),
            signal => top.signal(signal),
        }
        top.check_restored();
    }
}

#[test]
fn a_router_that_goes_and_comes_back_is_told_apart() {
    let (server, control) = start_observed(1);
    let [_one, _other] = clients(&server);
    let mut top = Terminal::run(&["top", "--admin", &url(&control)], (24, 80));
    top.shows(&["2 sessions, 2 connections"]);
    let listen = control.address().cloned();
    drop(control);
    top.shows(&["silent for 0:00:", "no answer from", "2 sessions, 2 connections"]);
    let mut config = config(1);
    config.admin.listen = listen;
    let _control = Control::start(&config, server.view()).unwrap().unwrap();
    // Whoever presses a key need not wait until it is asked again.
    top.press("1");
    top.waits_for("an answer", |screen| !screen.contains("silent"));
    top.press("q");
    top.check_restored();
}

/// Where nobody listens, it says so, and can be ended.
#[test]
fn a_router_that_never_was_is_silent() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut top = Terminal::run(&["top", "--admin", &format!("http://{nobody}")], (24, 80));
    top.shows(&["asking the router", "silent for 0:00:", "no answer from http://127.0.0.1:1/"]);
    top.press("q");
    top.check_restored();
}

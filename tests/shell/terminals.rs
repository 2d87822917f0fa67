//! The commands at a terminal.

use serde_json::json;
use stentor::codec::Codec;

use crate::shell::Router;
use crate::sockets::{Client, Kind, address, eventually};
use crate::terminal::Terminal;

const RAW: Kind = Kind::Raw(Codec::Json);
const SIZE: (u16, u16) = (12, 100);

fn subscribed(router: &Router) {
    eventually("it has subscribed", || router.server.snapshot().subscriptions == 1);
}

#[test]
fn nothing_of_a_payload_is_obeyed_by_the_terminal() {
    let router = Router::open();
    for format in ["--raw", "--json", "--timestamps"] {
        let arguments = ["sub", "com.x", "--url", &router.url, "--count", "2", format];
        let mut terminal = Terminal::run(&arguments, SIZE);
        subscribed(&router);
        let mut publisher = Client::join(address(&router.server), RAW);
        publisher.publish_acknowledged("com.x", &json!("first \u{1b}[2J\u{9b}5A\u{7} last"));
        publisher.publish_acknowledged("com.x", &json!("\u{0}/wA="));
        terminal.shows(&["first", "last", "/wA="]);
        for control in ["\u{1b}", "\u{9b}", "\u{7}", "\u{0}"] {
            assert!(!terminal.has_written(control), "{control:?} with {format}");
        }
        eventually("it has left", || router.server.snapshot().subscriptions == 0);
    }
}

#[test]
fn statistics_are_a_live_table() {
    let router = Router::open();
    let arguments = ["sub", "com.", "--match", "prefix", "--stats", "--url", &router.url];
    let mut terminal = Terminal::run(&arguments, SIZE);
    subscribed(&router);
    let mut publisher = Client::join(address(&router.server), RAW);
    for number in 0..50 {
        publisher.publish_acknowledged(&format!("com.{number}"), &json!(1));
        publisher.publish_acknowledged("com.busy\u{202e}", &json!(1));
    }
    terminal.shows(&["EVENTS", "PER S", "com.busy\\u{202e}", "more"]);
    assert!(!terminal.has_written("\u{202e}"));
    terminal.signal("INT");
    eventually("it has left", || router.server.snapshot().sessions == 1);
}

#[test]
fn a_secret_is_asked_for_and_not_shown() {
    let router = Router::open();
    let arguments = ["ping", "--url", &router.url, "--authid", "joe", "--authmethod", "ticket"];
    let mut terminal = Terminal::run(&arguments, SIZE);
    terminal.shows(&["Ticket: "]);
    terminal.press("hunter2\n");
    // The realm has no tickets.
    terminal.shows(&["error: the router refuses the session"]);
    assert!(!terminal.has_written("hunter2"));
}

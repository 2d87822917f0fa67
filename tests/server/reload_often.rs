//! Reloads without end: under a flood, with files that are broken and roles that come and go while
//! their authorizers are asked. Nobody whose right stands notices, and nothing is left behind.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::{Access, Config, ListenAddress, Listener, Permission, Realm, Role};

use super::reload::{Stentor, USER, file, log_in};
use crate::running::Running;
use crate::sockets::{
    Client, HttpServer, Kind, Reply, address, config, eventually, settles, start,
};

const RAW: Kind = Kind::Raw(Codec::Json);
const WS: Kind = Kind::Ws(Codec::Cbor);

/// A publisher who waits for each acknowledgement, and a subscriber who counts along.
struct Flood {
    is_over: Arc<AtomicBool>,
    publisher: JoinHandle<u64>,
    subscriber: JoinHandle<(u64, Client)>,
}

impl Flood {
    fn begin(address: &ListenAddress) -> Self {
        let mut subscriber = Client::join(address, RAW);
        let subscription = subscriber.subscribe("com.flood");
        let is_over = Arc::new(AtomicBool::new(false));
        let publisher = {
            let (mut client, is_over) = (Client::join(address, WS), Arc::clone(&is_over));
            thread::spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    count += 1;
                    client.publish_acknowledged("com.flood", &json!(count));
                }
                client.publish_acknowledged("com.flood", &json!(0));
                count
            })
        };
        let subscriber = thread::spawn(move || {
            let mut last = 0;
            loop {
                let event = subscriber.expect(36);
                assert_eq!(event[1], json!(subscription));
                let number = event[4][0].as_u64().unwrap();
                if number == 0 {
                    return (last, subscriber);
                }
                assert_eq!(number, last + 1, "an event is lost or comes twice");
                last = number;
            }
        });
        Self { is_over, publisher, subscriber }
    }

    /// Nobody was disconnected, and all that was acknowledged has arrived.
    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let published = self.publisher.join().unwrap();
        let (last, _subscriber) = self.subscriber.join().unwrap();
        assert_eq!(last, published);
        assert!(published > 0);
    }
}

/// Each reload brings other roles, limits, listeners and realms.
#[test]
fn hundreds_of_reloads_under_a_flood_lose_and_leave_nothing() {
    let base = config(2);
    let server = start(&base);
    let flood = Flood::begin(address(&server));
    let mut guests = Vec::new();
    for round in 0..RELOADS {
        let changed = varied(&base, round);
        server.reload(&changed).unwrap();
        if round % 10 == 0 {
            let mut guest = Client::open(&server.current_addresses()[0], RAW);
            guest.hello("realm2");
            guests.push(guest);
        }
    }
    server.reload(&base).unwrap();
    flood.end();
    // Their realm was removed once, and came back.
    assert!(guests.iter_mut().all(|guest| guest.receive()[2] == "wamp.close.close_realm"));
    drop(guests);
    settles(&server);
    assert_eq!(server.router().removed_realms().len(), 0, "removed realms are gone");
    assert_eq!(server.ended_threads().try_iter().count(), 0);
    server.stop().unwrap();
}

const RELOADS: usize = 200;

/// Another configuration in which everybody who is on `realm1` may stay.
fn varied(base: &Config, round: usize) -> Config {
    let mut config = base.clone();
    config.limits.subscriptions_per_session = 100 + round;
    config.limits.held_total_bytes -= round;
    config.output.soft_ms += round as u64;
    if round % 2 == 1 {
        let everything = Permission::everything_below("");
        let role = Role::new("anonymous", vec![everything]);
        config.realms[0].access = Access::Roles(vec![role]);
        config.listeners.push(Listener::on("127.0.0.1:0".parse().unwrap()));
    }
    if round % 3 == 1 {
        config.realms.push(Realm::named(format!("extra{}", round % 2)));
    }
    if round % 4 == 3 {
        config.realms[1].name = "renamed".into();
    }
    config
}

/// The same for the process, by SIGHUP: every fifth file is broken, and in every fifth the role of
/// a session is gone that waits for its authorizer. Threads, descriptors and memory are given back.
#[test]
fn a_thousand_signals_under_a_flood_lose_and_leave_nothing() {
    let endpoint = HttpServer::start(|_| Reply::Say(200, r#"{"role":"user"}"#.into()));
    let url = endpoint.url("/");
    let text = |round: usize, roles: &str| {
        let timeout_ms = 10_000 + round;
        let way = format!("url = \"{url}\"\ntimeout_ms = {timeout_ms}\nconcurrency = 2\n");
        file(&format!("{way}{roles}"))
    };
    // So large that a few which are not forgotten would be seen.
    let rules: String = (0..RULES)
        .map(|n| format!("[[realm.role.permission]]\nuri = \"com.u{n}\"\nallow = [\"call\"]\n"))
        .collect();
    let asking = "[[realm.role.permission]]\nuri = \"com.asked\"\nallow = [\"publish\"]\n\
        authorizer = \"com.auth\"\n";
    let user = format!("{USER}{asking}{rules}");
    let stentor = Stentor::start(&text(0, &user));
    let mut authorizer = Client::join(&stentor.address, RAW);
    authorizer.register("com.auth");
    let flood = Flood::begin(&stentor.address);
    drop(log_in(&stentor.address, "joe", "x"));
    let mut settled = None;
    for round in 1..=SIGNALS {
        match round % 5 {
            2 => {
                stentor.reload(&format!("{}[limits]\nnestign = 3\n", text(round, &user)));
                stentor.log.next_with("cannot be used, nothing has changed");
            }
            4 => {
                let mut waits = log_in(&stentor.address, "joe", "x");
                waits.send(&json!([16, 1, {"acknowledge": true}, "com.asked", [1]]));
                let asked = authorizer.expect(68)[1].clone();
                stentor.reload(&text(round, ""));
                assert_eq!(waits.expect(6)[2], "wamp.close.killed", "round {round}");
                authorizer.send(&json!([70, asked, {}, [true]]));
                stentor.reloaded();
            }
            _ => {
                stentor.reload(&text(round, &user));
                stentor.reloaded();
            }
        }
        if round == SIGNALS / 5 {
            settled = Some(Kept::of(&stentor.process));
        }
    }
    flood.end();
    authorizer.publish_acknowledged("com.asked", &json!(1));
    let settled = settled.unwrap();
    eventually("threads that were relieved end", || {
        Kept::of(&stentor.process).threads <= settled.threads
    });
    eventually("sockets are closed", || {
        Kept::of(&stentor.process).descriptors <= settled.descriptors
    });
    let grown = Kept::of(&stentor.process).kib.saturating_sub(settled.kib);
    assert!(grown < GROWTH_KIB, "{grown} KiB more than after the first {}", SIGNALS / 5);
    stentor.stop();
}

const SIGNALS: usize = 1_000;

/// Each takes more than 100 bytes of an edition.
const RULES: usize = 300;

/// Editions that stay at each of the last four fifths would be 48 MiB.
const GROWTH_KIB: usize = 24 * 1024;

/// What a process has at some moment.
struct Kept {
    threads: usize,
    descriptors: usize,
    kib: usize,
}

impl Kept {
    fn of(process: &Running) -> Self {
        let place = Path::new("/proc").join(process.0.id().to_string());
        let count = |of: &str| fs::read_dir(place.join(of)).unwrap().count();
        let status = fs::read_to_string(place.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Self { threads: count("task"), descriptors: count("fd"), kib }
    }
}

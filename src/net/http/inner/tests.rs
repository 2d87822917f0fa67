//! Connections into a router that runs: who gets in, as whom, and what is left when they go.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::*;
use crate::config::{Access, Authenticator, Config, Listener, Realm, Role};
use crate::http::{InnerReader, InnerWriter};
use crate::net::Server;
use crate::transport::{Appointment, Entrance};
use crate::wamp::Codec;

fn config() -> Config {
    let access = Access::Roles(["web", "guest"].map(role).to_vec());
    let authenticators = vec![Authenticator::anonymous("guest")];
    let realm = Realm { access, authenticators, ..Realm::named("realm1") };
    let address = "127.0.0.1:0".parse().unwrap();
    Config {
        shards: 2,
        listeners: vec![Listener::on(address)],
        realms: vec![realm],
        ..Config::default()
    }
}

fn role(name: &str) -> Role {
    Role { name: name.into(), ..Role::default() }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn inside(server: &Server) -> WayInside {
    let (mesh, occupancy) = (Arc::clone(&server.mesh), Arc::clone(&server.occupancy));
    WayInside::new(mesh, occupancy, Arc::clone(&server.router), server.started)
}

fn rules(appointed: Option<Appointment>) -> Arc<TransportRules> {
    let rules = TransportRules { message_bytes: 1_000_000, ..TransportRules::default() };
    Arc::new(rules.inner(Entrance::default(), appointed, false))
}

fn appointed(role: &str) -> Option<Appointment> {
    Some(Appointment {
        realm: "realm1".into(),
        role: role.into(),
        authid: "shop".into(),
        leaves_last: false,
    })
}

fn peer() -> Address {
    Address::new("192.0.2.7".parse().unwrap(), Some(5_000))
}

async fn enter(
    inside: &WayInside,
    rules: &Arc<TransportRules>,
    hello: Value,
) -> (InnerReader, InnerWriter, Value) {
    let inner = inside.open(rules, peer(), false).unwrap();
    let (mut reader, mut writer) = inner.shake_hands(Codec::Json, 1 << 16).await.unwrap();
    assert_eq!(writer.most_bytes(), 1 << 20, "not below what a message may have");
    writer.send(hello.to_string().as_bytes()).await.unwrap();
    let said = next(&mut reader).await.expect("an answer to HELLO");
    (reader, writer, said)
}

async fn next(reader: &mut InnerReader) -> Option<Value> {
    let message = reader.next().await.unwrap()?;
    Some(serde_json::from_slice(&message).unwrap())
}

async fn settles(server: &Server) {
    let is_idle = || {
        let gauges = server.snapshot().gauges();
        gauges.iter().all(|(_, value)| *value == 0) && server.occupancy.total() == 0
    };
    while !is_idle() {
        sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn who_is_appointed_proves_nothing() {
    let server = Server::start(&config()).unwrap();
    let inside = inside(&server);
    runtime().block_on(async {
        let hello = json!([1, "elsewhere", {"roles": {"publisher": {}}, "authid": "root"}]);
        let (reader, writer, welcome) = enter(&inside, &rules(appointed("web")), hello).await;
        let [code, _, details] = welcome.as_array().unwrap().as_slice() else { panic!() };
        assert_eq!(*code, 2, "{welcome}");
        for (name, value) in [
            ("realm", "realm1"),
            ("authid", "shop"),
            ("authrole", "web"),
            ("authmethod", "http"),
            ("authprovider", "static"),
        ] {
            assert_eq!(details[name], value, "{name}");
        }
        assert_eq!(server.occupancy.total(), 2, "both ends are counted");
        drop((reader, writer));
        settles(&server).await;
        for (role, realm, error) in [
            ("none", "realm1", "wamp.error.no_such_role"),
            ("web", "none", "wamp.error.no_such_realm"),
        ] {
            let appointed = appointed(role).map(|one| Appointment { realm: realm.into(), ..one });
            let hello = json!([1, "realm1", {"roles": {"publisher": {}}}]);
            let (mut reader, _writer, abort) = enter(&inside, &rules(appointed), hello).await;
            assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!(error)));
            assert_eq!(next(&mut reader).await, None);
        }
        settles(&server).await;
    });
    server.stop().unwrap();
}

/// A reload of another authenticator concerns it as little as its role being there.
#[test]
fn an_appointment_lasts_as_long_as_its_role() {
    let mut config = config();
    let server = Server::start(&config).unwrap();
    let inside = inside(&server);
    runtime().block_on(async {
        let hello = json!([1, "realm1", {"roles": {"publisher": {}}}]);
        let (mut reader, mut writer, _) = enter(&inside, &rules(appointed("web")), hello).await;
        config.realms[0].authenticators = vec![Authenticator::anonymous("web")];
        server.reload(&config).unwrap();
        for request in 1..=2 {
            let publish = json!([16, request, {"acknowledge": true}, "com.x"]);
            writer.send(publish.to_string().as_bytes()).await.unwrap();
            // The role may do nothing, but it is there.
            assert_eq!(next(&mut reader).await.unwrap()[4], "wamp.error.not_authorized");
            sleep(Duration::from_millis(20)).await;
        }
        config.realms[0].access = Access::Roles(vec![role("guest")]);
        server.reload(&config).unwrap();
        let goodbye = next(&mut reader).await.unwrap();
        assert_eq!(goodbye[0], 6, "{goodbye}");
        drop((reader, writer));
        settles(&server).await;
    });
    server.stop().unwrap();
}

#[test]
fn without_an_appointment_the_client_comes_as_any_other() {
    let server = Server::start(&config()).unwrap();
    let inside = inside(&server);
    runtime().block_on(async {
        let hello = json!([1, "realm1", {"roles": {"caller": {}}}]);
        let (_reader, _writer, welcome) = enter(&inside, &rules(None), hello).await;
        assert_eq!((&welcome[0], &welcome[2]["authmethod"]), (&json!(2), &json!("anonymous")));
    });
    server.stop().unwrap();
}

/// Also where RawSocket is pinged: whoever is here may read when it likes.
#[test]
fn nobody_is_pinged_inside() {
    let mut config = config();
    config.timeouts.rawsocket_pings = true;
    (config.timeouts.ping_interval_ms, config.timeouts.ping_timeout_ms) = (20, 20);
    let server = Server::start(&config).unwrap();
    let inside = inside(&server);
    runtime().block_on(async {
        let hello = json!([1, "realm1", {"roles": {"caller": {}}}]);
        let (mut reader, mut writer, _) = enter(&inside, &rules(appointed("web")), hello).await;
        sleep(Duration::from_millis(200)).await;
        writer.send(&b"[48,1,{},\"com.none\"]"[..]).await.unwrap();
        assert_eq!(next(&mut reader).await.expect("it is still there")[0], 8);
    });
    server.stop().unwrap();
}

#[test]
fn what_is_full_stays_full_until_somebody_leaves() {
    let mut config = config();
    config.limits.http_connections = 3;
    config.limits.connections = 7;
    let server = Server::start(&config).unwrap();
    let inside = inside(&server);
    runtime().block_on(async {
        let rules = rules(appointed("web"));
        let mut opened: Vec<_> =
            (0..3).map(|_| inside.open(&rules, peer(), false).unwrap()).collect();
        assert!(matches!(inside.open(&rules, peer(), false), Err(NotOpened::Full)));
        opened.clear();
        settles(&server).await;
        config.limits.connections = 5;
        server.reload(&config).unwrap();
        opened.extend((0..2).map(|_| inside.open(&rules, peer(), false).unwrap()));
        assert!(
            matches!(inside.open(&rules, peer(), false), Err(NotOpened::Full)),
            "each has two ends"
        );
        drop(opened);
        settles(&server).await;
    });
    server.stop().unwrap();
}

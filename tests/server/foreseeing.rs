//! What operators are told would come of a request, over the admin listener of a running router.

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{Access, Config, ListenAddress, Permission, Role};
use stentor::control::Control;

use super::observing::{get, start_observed};
use crate::sockets::{Client, Kind, address, config, start};

const RAW: Kind = Kind::Raw(Codec::Json);

fn ask(control: &Control, query: &str) -> Value {
    let (status, body) = get(control, &format!("/api/explain?realm=realm1&{query}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn request(client: &mut Client, code: u64, options: Value, uri: &str) {
    let number = client.next_request();
    client.send(&json!([code, number, options, uri]));
    client.expect(code + 1);
}

#[test]
fn receivers_of_all_shards_are_counted_and_the_first_are_named() {
    let (server, control) = start_observed(2);
    let mut clients: Vec<_> = (0..5).map(|_| Client::join(address(&server), RAW)).collect();
    for client in &mut clients {
        client.subscribe("com.x");
    }
    request(&mut clients[0], 32, json!({"match": "prefix"}), "com.");
    let page = ask(&control, "action=publish&uri=com.x");
    assert_eq!(page["receivers"]["count"], 6);
    let mut receivers: Vec<_> = page["receivers"]["subscriptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["uri"].as_str().unwrap(), row["receivers"].as_u64().unwrap()))
        .collect();
    receivers.sort_unstable();
    assert_eq!(receivers, [("com.", 1), ("com.x", 5)]);
    assert_eq!(page["receivers"]["sessions"].as_array().unwrap().len(), 6);
    assert_eq!(page["decision"], Value::Null, "nobody in particular publishes");
    // The publisher gets none of its own, so it is not named.
    let own = clients[0].session;
    let page = ask(&control, &format!("action=publish&uri=com.x&session={own}&limit=3"));
    let named = page["receivers"]["sessions"].as_array().unwrap();
    assert_eq!(named.len(), 3);
    assert!(named.iter().all(|row| row["session"] != own), "{named:?}");
    assert_eq!(page["decision"]["outcome"], "allowed");
}

#[test]
fn the_callee_whose_turn_it_is_is_named_and_keeps_its_turn() {
    let (server, control) = start_observed(2);
    let mut callees: Vec<_> = (0..2).map(|_| Client::join(address(&server), RAW)).collect();
    for callee in &mut callees {
        request(callee, 64, json!({"invoke": "roundrobin"}), "com.x");
    }
    let next = || ask(&control, "action=call&uri=com.x")["callee"]["next"]["session"].clone();
    assert_eq!((next(), next()), (callees[0].session.into(), callees[0].session.into()));
    let mut caller = Client::join(address(&server), RAW);
    caller.call("com.x", &json!(1));
    callees[0].expect(68);
    assert_eq!(next(), callees[1].session);
    let page = ask(&control, "action=call&uri=com.x");
    assert_eq!(
        (&page["callee"]["count"], &page["callee"]["invoke"]),
        (&json!(2), &json!("roundrobin"))
    );
    assert_eq!(ask(&control, "action=call&uri=com.none")["callee"], Value::Null);
    request(&mut callees[0], 64, json!({"concurrency": 1, "invoke": "last"}), "com.one");
    caller.call("com.one", &json!(1));
    callees[0].expect(68);
    assert_eq!(ask(&control, "action=call&uri=com.one")["callee"]["is_busy"], true);
}

#[test]
fn rules_of_the_running_router_decide() {
    let mut config: Config = config(1);
    let listen = ListenAddress::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config.admin.listen = Some(listen);
    let role = Role::new("anonymous", vec![Permission::everything_below("com.")]);
    config.realms[0].access = Access::Roles(vec![role]);
    let server = start(&config);
    let control = Control::start(&config, server.view()).unwrap().unwrap();
    let outcome = |query: &str| ask(&control, query)["decision"]["outcome"].clone();
    assert_eq!(outcome("action=publish&uri=com.x&role=anonymous"), "allowed");
    assert_eq!(outcome("action=publish&uri=org.x&role=anonymous"), "denied");
    assert_eq!(outcome("action=subscribe&uri=com.&match=prefix&role=anonymous"), "allowed");
    assert_eq!(outcome("action=publish&uri=wamp.x&role=anonymous"), "denied");
    let page = ask(&control, "action=call&uri=com.x&role=anonymous");
    assert_eq!(page["decision"]["rules"][0]["outcome"], "decides");
    for (query, word) in [
        ("action=publish&uri=com.x&realm=none", "no realm `none`"),
        ("action=publish&uri=com.x", "`realm1`, `realm2`"),
        ("realm=realm1&action=publish&uri=com.x&session=7", "no session 7"),
        ("realm=realm1&action=publish&uri=com.&match=prefix", "leave out `match`"),
        ("realm=realm1&action=publish&uri=com..x", "not valid"),
        ("realm=realm1&action=shout&uri=com.x", "unknown variant `shout`"),
    ] {
        let (status, body) = get(&control, &format!("/api/explain?{query}"));
        assert!(status == 400 && body.contains(word), "{query}: {status} {body}");
    }
}

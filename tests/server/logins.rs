//! Logins over real sockets, judged by real threads.

use std::sync::Arc;
use std::thread;

use serde_json::json;
use stentor::authentication::{
    Argon2Cost, AuthenticatorSettings, Credential, Method, Principal, TicketHash,
};
use stentor::codec::Codec;
use stentor::config::Config;

use crate::sockets::{Client, Kind, address, config, settles, start};

const RAW: Kind = Kind::Raw(Codec::Json);

/// `joe` has a ticket that takes long to compare; anybody else is a guest.
fn guarded(shards: usize) -> Config {
    let hash = TicketHash::of_chosen(b"pencil", [9; 16], Argon2Cost::default());
    let credential = Credential::Ticket(hash.expect("the cost is in range"));
    let joe = Principal { authid: "joe".into(), role: "user".into(), credential };
    let tickets = AuthenticatorSettings::of(Method::Ticket, vec![Arc::new(joe)]);
    let mut config = config(shards);
    config.realms[0].authenticators = vec![tickets, AuthenticatorSettings::anonymous("guest")];
    config
}

/// A client that has its challenge.
fn challenged(config: &stentor::net::Server) -> Client {
    let mut client = Client::open(address(config), RAW);
    let details = json!({"roles": {"caller": {}}, "authmethods": ["ticket"], "authid": "joe"});
    client.send(&json!([1, "realm1", details]));
    client.expect(4);
    client
}

/// Each gets its own verdict, whatever the others say, and a guest is served meanwhile.
#[test]
fn tickets_are_judged_beside_the_shards() {
    for shards in [1, 2] {
        let server = start(&guarded(shards));
        let mut guest = Client::join(address(&server), RAW);
        let mut clients: Vec<_> = (0..8).map(|_| challenged(&server)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let ticket = if number % 2 == 0 { "pencil" } else { "pen" };
            client.send(&json!([5, ticket, {}]));
        }
        guest.call("wamp.session.count", &json!(["guest"]));
        assert_eq!(guest.expect(50)[3], json!([1]));
        for (number, client) in clients.iter_mut().enumerate() {
            if number % 2 == 0 {
                assert_eq!(client.expect(2)[2]["authid"], json!("joe"));
            } else {
                assert_eq!(client.expect(3)[2], json!("wamp.error.authentication_denied"));
            }
        }
        let now = server.snapshot();
        assert_eq!((now.logins_challenged, now.logins_denied), (8, 4));
        drop((guest, clients));
        settles(&server);
        server.stop().unwrap();
    }
}

/// Over the bound of the queue a login fails at once, and a stop does not wait for what is queued.
#[test]
fn a_full_queue_refuses_and_a_stop_does_not_wait_for_it() {
    let mut config = guarded(1);
    config.limits.login_queue = 1;
    config.tuning.login_threads = 1;
    let server = start(&config);
    let clients: Vec<_> = (0..12).map(|_| challenged(&server)).collect();
    let answers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                client.send(&json!([5, "pencil", {}]));
                client.receive()
            })
        })
        .collect();
    let answers: Vec<_> = answers.into_iter().map(|thread| thread.join().unwrap()).collect();
    let refused = answers.iter().filter(|answer| answer[0] == json!(3));
    let is_named = |answer: &serde_json::Value| answer[2] == "wamp.error.authentication_failed";
    assert!(refused.clone().all(is_named), "{answers:?}");
    let welcomed = answers.iter().filter(|answer| answer[0] == json!(2)).count();
    assert_eq!(welcomed + refused.count(), 12);
    assert_eq!(server.snapshot().logins_failed, 12 - welcomed as u64);
    let mut last = challenged(&server);
    last.send(&json!([5, "pencil", {}]));
    server.stop().unwrap();
}

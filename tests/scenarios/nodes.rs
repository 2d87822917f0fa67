//! What concerns other nodes of a cluster, as far as one node can tell.

use serde_json::json;
use stentor::router::{SessionRef, ShardId, Slot};
use stentor::wamp::SessionId;

use super::dialogue::check;
use super::peer::{Peer, network_with};
use crate::support::{Serializer, published_by};

/// A publication needs no session here to reach whoever has subscribed.
#[test]
fn what_is_published_elsewhere_is_delivered() {
    check(
        r#"
        join a b c
        a -> SUBSCRIBE {} com.x
        a <- SUBSCRIBED 1 $exact
        b -> SUBSCRIBE {} com.x
        b <- SUBSCRIBED 1 $exact
        b -> SUBSCRIBE {"match":"prefix"} com
        b <- SUBSCRIBED 2 $prefix
        c -> SUBSCRIBE {} com.y
        c <- SUBSCRIBED 1 $other
        another node publishes com.x {"n":1}
        a <- EVENT $exact $publication {} [{"n":1}]
        b <- EVENT $exact $publication {} [{"n":1}]
        b <- EVENT $prefix $publication {"topic":"com.x"} [{"n":1}]
        another node publishes org.x {"n":2}
        "#,
    );
}

/// Who publishes at another node is told there to wait for those who are behind.
#[test]
fn a_publisher_elsewhere_is_told_to_wait() {
    let change = |settings: &mut stentor::router::Settings| {
        (settings.turn.step_units, settings.turn.turn_units) = (20, 20);
    };
    let mut network = network_with(change, 1);
    let mut peers: Vec<_> =
        (0..40).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    for peer in &mut peers {
        peer.say(&mut network, &json!([32, 1, {}, "com.x"]));
        assert_eq!(peer.hear(&mut network).len(), 1);
    }
    let session = SessionId::new(7).expect("in range");
    let publisher = SessionRef { session, slot: Slot::new(0), shard: ShardId::CLUSTER };
    let (router, said) = (&network.router, json!({"n": 1}));
    let mail = published_by(Some(publisher), router, "realm1", "com.x", &said);
    for (shard, mail) in mail {
        network.deliver_counted(usize::from(shard.0), mail);
    }
    assert_eq!(network.links.gateway.paces, [(publisher, true)]);
    assert!(peers.iter_mut().all(|peer| peer.hear(&mut network).len() == 1));
    assert_eq!(network.links.gateway.paces, [(publisher, true), (publisher, false)]);
    peers.iter().for_each(|peer| network.lose(peer.pipe));
    network.settle();
    network.check_empty();
}

//! What concerns other nodes of a cluster, as far as one node can tell.

use serde_json::json;
use stentor::router::{SessionRef, ShardId, Slot};
use stentor::wamp::SessionId;

use super::calls_between_nodes::{check_end, cluster, join};
use super::cluster::{hear, say};
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

/// In a cluster the ids of subscriptions and registrations are as large as those of sessions, and
/// wampy.js writes what is above 2^32 - 1 as a float.
#[test]
fn what_has_a_large_id_is_given_back() {
    for like in [Serializer::MsgPack, Serializer::Cbor, Serializer::Json] {
        let mut cluster = cluster(2, |_, _| {});
        let mut peer = join(&mut cluster, 1, 0, like);
        for (request, (begin, end)) in [(1, (32, 34)), (3, (64, 66))] {
            say(&mut cluster, 1, &peer, &json!([begin, request, {}, "com.x"]));
            let id = hear(&mut cluster, 1, &mut peer)[0][2].as_u64().expect("an id");
            assert!(id > u64::from(u32::MAX), "{id} is large");
            #[expect(clippy::cast_precision_loss, reason = "an id has 53 bits")]
            say(&mut cluster, 1, &peer, &json!([end, request + 1, id as f64]));
            cluster.settle();
            let heard = peer.read_all(&mut cluster.members[1].network);
            if like == Serializer::Json {
                assert_eq!(heard[0][2], "wamp.error.protocol_violation", "JSON has no excuse");
                break;
            }
            assert_eq!(heard, [json!([end + 1, request + 1])], "{like:?}");
        }
        check_end(cluster, &[(1, &peer)]);
    }
}

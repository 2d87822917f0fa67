//! What a node can read from an id, what nobody else can, and what all nodes must agree on.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::wamp::{RegistrationId, SubscriptionId};

const KEY: u128 = 0x0706_0504_0302_0100_0f0e_0d0c_0b0a_0908;

fn node(number: u8, key: u128) -> NodeIds {
    NodeIds::new(NodeNumber::new(number).expect("7 bits"), key)
}

/// The hash is the one that its authors describe: their test vector for 15 bytes.
#[test]
#[expect(deprecated, reason = "see its import")]
fn the_hash_is_what_other_nodes_take_it_for() {
    let NodeIds { key, .. } = node(0, KEY);
    let mut hasher = SipHasher::new_with_keys(key.0, key.1);
    hasher.write(&[0, 1, 2, 3, 4, 5, 6, 7]);
    hasher.write(&[8, 9, 10, 11, 12, 13, 14]);
    assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
}

/// Nodes of other releases have to come to the same ids: these must never change.
#[test]
fn ids_of_a_cluster_are_fixed_by_its_key() {
    let node = node(5, KEY);
    let sessions = [0, 1, (1 << 46) - 1].map(|random| node.session(random).get());
    assert_eq!(sessions, [3_502_699_884_113_383, 24_477_439_418_847, 2_351_894_038_278_656]);
    let pattern = |policy, attempt| node.pattern("realm1", policy, "com.x", attempt);
    let policies = [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];
    assert_eq!(
        policies.map(|policy| pattern(policy, 0)),
        [3_530_938_594_835_295, 5_085_922_976_610_245, 6_452_421_913_940_653]
    );
    assert_eq!(pattern(MatchPolicy::Exact, 1), 2_067_245_673_357_366);
}

proptest! {
    /// BP-ID-01: every id is within its range, and says whose it is, and no two are one.
    #[test]
    fn a_node_can_be_read_from_the_ids_of_its_sessions(
        number in 0..=NodeNumber::MAX.get(),
        key: u128,
        random in prop::collection::btree_set(0..1_u64 << RANDOM_BITS, 2..20),
        above: u64,
    ) {
        let node = node(number, key);
        let ids: BTreeSet<_> = random.iter().map(|random| node.session(*random)).collect();
        prop_assert_eq!(ids.len(), random.len(), "each has another id");
        for id in ids {
            prop_assert_eq!(SessionId::new(id.get()), Some(id));
            prop_assert_eq!(node.owner(id), node.node());
        }
        let first = *random.first().expect("there are some");
        let more = first | above << RANDOM_BITS;
        prop_assert_eq!(node.session(more), node.session(first), "higher bits do not count");
    }

    /// It is a bijection: what is undone comes back, in both directions, over the whole range.
    #[test]
    fn each_id_is_one_of_exactly_one_node(key: u128, bits in 0..MAX_ID) {
        let node = node(0, key);
        let back = |bits| node.permute(bits, (0..ROUNDS).rev());
        let forth = |bits| node.permute(bits, 0..ROUNDS);
        prop_assert!(forth(bits) < MAX_ID && back(bits) < MAX_ID);
        prop_assert_eq!(back(forth(bits)), bits);
        prop_assert_eq!(forth(back(bits)), bits);
    }

    /// Whose keys differ, or whose patterns do, has other bits; which node asks does not matter.
    #[test]
    fn a_pattern_has_one_id_on_all_nodes(key: u128, numbers in (0..127_u8, 0..127_u8)) {
        let pattern = |number, key, uri| {
            node(number, key).pattern("realm1", MatchPolicy::Prefix, uri, 0)
        };
        let bits = pattern(numbers.0, key, "com.x");
        prop_assert!(bits < MAX_ID);
        prop_assert_eq!(pattern(numbers.1, key, "com.x"), bits);
        prop_assert_ne!(pattern(numbers.0, key ^ 1, "com.x"), bits);
        prop_assert_ne!(pattern(numbers.0, key, "com.y"), bits);
    }
}

/// Without the key an id tells nothing of its node: a guess is right as often as by chance.
#[test]
fn the_node_is_hidden_in_all_bits_of_an_id() {
    let (node, other) = (node(3, KEY), node(3, KEY + 1));
    let ids: Vec<_> = (0..12_800).map(|random| node.session(random)).collect();
    for bit in 0..MAX_ID.ilog2() {
        let set = ids.iter().filter(|id| (id.get() - 1) >> bit & 1 == 1).count();
        assert!((6_000..6_800).contains(&set), "bit {bit} is set in {set} of 12,800");
    }
    let right = ids.iter().filter(|id| other.owner(**id) == node.node()).count();
    assert!((50..200).contains(&right), "{right} of 12,800 with another key");
}

#[test]
fn what_is_hashed_cannot_be_cut_in_two_ways() {
    let node = node(1, KEY);
    let exact = |realm, uri| node.pattern(realm, MatchPolicy::Exact, uri, 0);
    let all = [exact("a", "bc"), exact("ab", "c"), exact("abc", ""), exact("", "abc")];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn alone_a_router_counts() {
    let ids = PatternIds::default();
    let draw = |uri| SubscriptionId::from_random(ids.draw(MatchPolicy::Exact, uri, 0)).get();
    assert_eq!([draw("com.x"), draw("com.y"), draw("com.x")], [1, 2, 3]);
    assert_eq!(ids.ids.session(6), SessionId::from_random(6));
    assert_eq!(ids.ids.node(), None);
}

#[test]
fn in_a_cluster_a_router_asks_nobody() {
    let node = node(9, KEY);
    let [here, there] = ["realm1", "realm2"].map(|realm| {
        let ids = PatternIds::new(Arc::new(Ids::from(Some(node))), realm.into());
        let draw = || RegistrationId::from_random(ids.draw(MatchPolicy::Exact, "com.x", 0));
        assert_eq!(draw(), draw());
        assert_eq!(ids.ids.session(6), node.session(6));
        assert_eq!(ids.ids.node(), NodeNumber::new(9));
        draw()
    });
    assert_ne!(here, there, "a realm is another one");
}

#[test]
fn the_key_is_not_shown() {
    let shown = format!("{:?}", node(9, 0xdead_beef_dead_beef_dead_beef_dead_beef));
    assert_eq!(shown, "NodeIds { node: NodeNumber(9), .. }");
}

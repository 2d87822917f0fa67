//! What is counted by names of the operator's choice.

use stentor::router::{RealmSettings, Settings, UriGroup};

use super::dialogue::{check_all, check_with};

fn groups(of: &[(&str, &str)]) -> Vec<UriGroup> {
    let group = |(name, prefix): &(&str, &str)| UriGroup {
        name: (*name).to_owned(),
        prefix: (*prefix).to_owned(),
    };
    of.iter().map(group).collect()
}

/// Which library a session comes from is what its `agent` says before the version.
#[test]
fn sessions_are_counted_by_client() {
    check_with(
        |settings| settings.clients = vec!["autobahn-python".into(), "wampy.js".into()],
        r#"counted client wampy.js 0 0
           a -> HELLO realm1 {"roles":{"caller":{}},"agent":"Wampy.js v7"}
           a <- WELCOME ...
           b -> HELLO realm1 {"roles":{"caller":{}},"agent":"AutobahnPython/24.4.2"}
           b <- WELCOME ...
           c -> HELLO realm1 {"roles":{"caller":{}},"agent":"wampy.js"}
           c <- WELCOME ...
           d -> HELLO realm1 {"roles":{"caller":{}},"agent":"wampy.jsx"}
           d <- WELCOME ...
           join e
           f -> HELLO com.elsewhere {"roles":{"caller":{}},"agent":"wampy.js"}
           f <- ABORT ...
           f <- CLOSED
           counted client wampy.js 2 2
           counted client autobahn-python 1 1
           counted client other 2 2
           c is lost
           a -> GOODBYE {} wamp.close.close_realm
           a <- GOODBYE ...
           counted client wampy.js 0 2
           a -> HELLO realm1 {"roles":{"caller":{}},"agent":"AutobahnPython"}
           a <- WELCOME ...
           counted client wampy.js 0 2
           counted client autobahn-python 2 2
           counted client other 2 2"#,
    );
}

/// Whoever was counted as something leaves as that.
#[test]
fn a_reload_changes_no_names_of_clients() {
    let other = |settings: &mut Settings, _: &mut Vec<RealmSettings>| {
        settings.clients = vec!["autobahn-python".into(), "wampy.js".into()];
    };
    check_all(
        |_| {},
        |settings| settings.clients = vec!["wampy.js".into()],
        &[&other],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"agent":"wampy.js 7"}
           a <- WELCOME ...
           reload 1
           b -> HELLO realm1 {"roles":{"caller":{}},"agent":"autobahn-python"}
           b <- WELCOME ...
           counted client wampy.js 1 1
           counted client other 1 1
           a is lost
           counted client wampy.js 0 1"#,
    );
}

/// The longest prefix counts, whichever way a receiver subscribed and whichever shard it is on.
#[test]
fn publications_events_and_calls_are_counted_by_group() {
    check_with(
        |settings| {
            settings.groups = groups(&[("all", "com."), ("shop", "com.shop."), ("b", "b.")]);
        },
        r#"join fully a b c
           a -> SUBSCRIBE {} com.shop.order
           a <- SUBSCRIBED 1 $exact
           b -> SUBSCRIBE {"match":"prefix"} com
           b <- SUBSCRIBED 1 $prefix
           b -> SUBSCRIBE {"match":"wildcard"} com..order
           b <- SUBSCRIBED 2 $wildcard
           c -> PUBLISH {} com.shop.order [1]
           a <- EVENT $exact * {} [1]
           b <- EVENT $prefix * {"topic":"com.shop.order"} [1]
           b <- EVENT $wildcard * {"topic":"com.shop.order"} [1]
           counted group shop 1 3 0
           c -> PUBLISH {} com.shop [2]
           b <- EVENT $prefix * {"topic":"com.shop"} [2]
           c -> PUBLISH {} com.shop.nobody [3]
           b <- EVENT $prefix * {"topic":"com.shop.nobody"} [3]
           c -> PUBLISH {"exclude_me":false,"exclude":[$id_a]} com.shop.order [4]
           b <- EVENT $prefix * {"topic":"com.shop.order"} [4]
           b <- EVENT $wildcard * {"topic":"com.shop.order"} [4]
           c -> PUBLISH {} org.x [5]
           counted group shop 3 6 0
           counted group all 1 1 0
           a -> REGISTER {"match":"prefix"} com.shop
           a <- REGISTERED 2 $r
           b -> CALL {} com.shop.add
           a <- INVOCATION $i $r {"procedure":"com.shop.add"}
           a -> YIELD $i {}
           b <- RESULT 3 {}
           b -> CALL {} com.shop
           a <- INVOCATION $j $r {"procedure":"com.shop"}
           a -> YIELD $j {}
           b <- RESULT 4 {}
           b -> CALL {} b.nothing
           b <- ERROR 48 5 {} wamp.error.no_such_procedure ...
           counted group shop 3 6 1
           counted group all 1 1 1
           counted group b 0 0 0"#,
    );
}

/// A retained event counts when it is delivered, and as no publication.
#[test]
fn retained_events_are_counted_by_group() {
    check_with(
        |settings| settings.groups = groups(&[("shop", "com.shop.")]),
        r#"join fully a b
           a -> PUBLISH {"retain":true} com.shop.order [1]
           b -> SUBSCRIBE {"get_retained":true} com.shop.order
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s * {"retained":true} [1]
           b -> SUBSCRIBE {"match":"prefix","get_retained":true} com
           b <- SUBSCRIBED 2 $p
           b <- EVENT $p * {"retained":true,"topic":"com.shop.order"} [1]
           counted group shop 1 2 0"#,
    );
}

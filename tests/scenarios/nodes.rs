//! What concerns other nodes of a cluster, as far as one node can tell.

use super::dialogue::check;

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

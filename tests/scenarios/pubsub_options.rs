//! Advanced publish and subscribe: receiver lists, publisher exclusion and identification, trust
//! levels, patterns, payload passthru (requirements 2.3, 2.5).

use stentor::router::PublisherDisclosure;

use super::authorization::trusted;
use super::dialogue::{check, check_realm};

/// AP-GEN-01: what the broker announces, and some of what it does not.
#[test]
fn features_are_announced_when_they_work() {
    check(
        "join a
         a sees broker event_retention
         a sees broker pattern_based_subscription
         a sees broker payload_passthru_mode
         a sees broker publisher_exclusion
         a sees broker publisher_identification
         a sees broker subscriber_blackwhite_listing
         a sees broker subscription_revocation
         a sees no broker event_history
         a sees no broker sharded_subscription
         a sees no broker shareded_subscriptions",
    );
}

/// AP-SHS-01: sharding keys are ignored.
#[test]
fn ap_shs_01_sharding_keys_have_no_effect() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"nkey":"x"} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"rkey":"y"} com.x
           a <- EVENT $s * {}"#,
    );
}

/// AP-ACK-01: EVENT-RECEIVED is not announced, so it is an unknown message.
#[test]
fn ap_ack_01_event_received_is_no_message_here() {
    check(
        "join a
         a -> [337, 1]
         a <- ABORT * wamp.error.protocol_violation
         a <- CLOSED 1008",
    );
}

/// AP-BWL-01, AP-BWL-02: the examples of the specification.
#[test]
fn ap_bwl_01_session_ids_restrict_the_receivers() {
    check(
        r#"join a b c d
           a -> SUBSCRIBE {} com.myapp.mytopic1
           a <- SUBSCRIBED 1 $s
           b -> SUBSCRIBE {} com.myapp.mytopic1
           b <- SUBSCRIBED 1 $s
           c -> SUBSCRIBE {} com.myapp.mytopic1
           c <- SUBSCRIBED 1 $s
           d -> PUBLISH {"exclude":[$id_a,$id_b]} com.myapp.mytopic1 ["Hello, world!"]
           c <- EVENT $s * {} ["Hello, world!"]
           d -> PUBLISH {"eligible":[$id_a,$id_b]} com.myapp.mytopic1 ["Hello, world!"]
           a <- EVENT $s * {} ["Hello, world!"]
           b <- EVENT $s * {} ["Hello, world!"]
           d -> PUBLISH {"eligible":[$id_a,$id_b,$id_d],"exclude":[$id_a]} com.myapp.mytopic1 \
                ["Hello, world!"]
           b <- EVENT $s * {} ["Hello, world!"]"#,
    );
}

/// AP-BWL-02: one statement that does not hold is enough.
#[test]
fn ap_bwl_02_all_lists_must_agree() {
    check(
        r#"join a b c
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> SUBSCRIBE {"match":"prefix"} com
           b <- SUBSCRIBED 1 $p
           c -> PUBLISH {"eligible_authid":[$authid_a,"nobody"]} com.x [1]
           a <- EVENT $s * {} [1]
           c -> PUBLISH {"exclude_authid":["nobody",$authid_a]} com.x [2]
           b <- EVENT $p * {"topic":"com.x"} [2]
           c -> PUBLISH {"eligible_authrole":["manager","anonymous"]} com.x [3]
           a <- EVENT $s * {} [3]
           b <- EVENT $p * {"topic":"com.x"} [3]
           c -> PUBLISH {"eligible_authrole":["manager"]} com.x [4]
           c -> PUBLISH {"exclude_authrole":["anonymous"]} com.x [5]
           c -> PUBLISH {"exclude_authrole":["manager"]} com.x [6]
           a <- EVENT $s * {} [6]
           b <- EVENT $p * {"topic":"com.x"} [6]
           c -> PUBLISH {"eligible":[$id_a],"eligible_authid":[$authid_b]} com.x [7]
           c -> PUBLISH {"eligible":[$id_a],"exclude_authrole":["anonymous"]} com.x [8]
           c -> PUBLISH {"eligible":[$id_a,$id_b],"exclude_authid":[$authid_a]} com.x [9]
           b <- EVENT $p * {"topic":"com.x"} [9]"#,
    );
}

/// AP-BWL-03: presence decides, not truthiness.
#[test]
fn ap_bwl_03_an_empty_list_is_a_list() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"eligible":[],"acknowledge":true} com.x [1]
           b <- PUBLISHED 1 *
           b -> PUBLISH {"eligible_authid":[]} com.x [2]
           b -> PUBLISH {"eligible_authrole":[]} com.x [3]
           b -> PUBLISH {"exclude":[],"exclude_authid":[],"exclude_authrole":[]} com.x [4]
           a <- EVENT $s * {} [4]
           b -> PUBLISH {"eligible":null} com.x [5]
           a <- EVENT $s * {} [5]"#,
    );
}

/// AP-BWL-04
#[test]
fn ap_bwl_04_publisher_exclusion_applies_in_addition() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           a -> PUBLISH {"eligible":[$id_a]} com.x [1]
           a -> PUBLISH {"eligible":[$id_a],"exclude_me":false} com.x [2]
           a <- EVENT $s * {} [2]
           a -> PUBLISH {"exclude":[$id_a],"exclude_me":false} com.x [3]"#,
    );
}

/// AP-BWL-05: unknown ids and names are harmless, unknown lists are none.
#[test]
fn ap_bwl_05_only_the_six_lists_of_the_right_types_count() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"exclude":[1,9007199254740992],"exclude_authid":["", "x"]} com.x [1]
           a <- EVENT $s * {} [1]
           b -> PUBLISH {"exclude_authmethod":["anonymous"],"eligible_authprovider":[]} com.x [2]
           a <- EVENT $s * {} [2]"#,
    );
    for wrong in [
        r#"{"exclude":["x"]}"#,
        r#"{"eligible":[0]}"#,
        r#"{"eligible":7}"#,
        r#"{"exclude_authid":[7]}"#,
        r#"{"eligible_authrole":"anonymous"}"#,
    ] {
        check(&format!(
            "join a
             a -> PUBLISH {wrong} com.x
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// AP-BWL-06: who else may have got it stays between publisher and router.
#[test]
fn ap_bwl_06_the_lists_are_not_disclosed() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"eligible":[$id_a],"exclude":[1],"disclose_me":true} com.x
           a <- EVENT $s * {"publisher":$id_b,"publisher_authid":$authid_b,\
                "publisher_authrole":"anonymous"}"#,
    );
}

/// AP-EXC-01: the example of the specification; once per matching subscription.
#[test]
fn ap_exc_01_the_publisher_gets_its_own_event_on_request() {
    check(
        r#"join a
           a -> SUBSCRIBE {} com.myapp.mytopic1
           a <- SUBSCRIBED 1 $exact
           a -> SUBSCRIBE {"match":"prefix"} com.myapp
           a <- SUBSCRIBED 2 $prefix
           a -> PUBLISH {} com.myapp.mytopic1 ["Hello, world!"]
           a -> PUBLISH {"exclude_me":true} com.myapp.mytopic1 ["Hello, world!"]
           a -> PUBLISH {"exclude_me":false} com.myapp.mytopic1 ["Hello, world!"]
           a <- EVENT $exact $p {} ["Hello, world!"]
           a <- EVENT $prefix $p {"topic":"com.myapp.mytopic1"} ["Hello, world!"]"#,
    );
}

/// AP-PID-01, AP-PID-03
#[test]
fn ap_pid_01_a_publisher_is_disclosed_if_it_asks() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.myapp.mytopic1
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"disclose_me":true} com.myapp.mytopic1 ["Hello, world!"]
           a <- EVENT $s * {"publisher":$id_b,"publisher_authid":$authid_b,\
                "publisher_authrole":"anonymous"} ["Hello, world!"]
           b -> PUBLISH {"disclose_me":false} com.myapp.mytopic1 ["Hello, world!"]
           a <- EVENT $s * {} ["Hello, world!"]
           b -> PUBLISH {} com.myapp.mytopic1 ["Hello, world!"]
           a <- EVENT $s * {} ["Hello, world!"]"#,
    );
}

/// AP-PID-02: refused, and not published, acknowledged or not.
#[test]
fn ap_pid_02_a_realm_may_forbid_disclosure() {
    check_realm(
        |realm| realm.publisher_disclosure = PublisherDisclosure::Forbid,
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"disclose_me":true,"acknowledge":true} com.x [1]
           b <- ERROR 16 1 {} wamp.error.option_disallowed.disclose_me *
           b -> PUBLISH {"disclose_me":true,"retain":true} com.x [2]
           b -> PUBLISH {} com.x [3]
           a <- EVENT $s * {} [3]
           a -> SUBSCRIBE {"get_retained":true} com.x
           a <- SUBSCRIBED 2 $s"#,
    );
}

/// AP-PID-02
#[test]
fn ap_pid_02_a_realm_may_always_disclose() {
    check_realm(
        |realm| realm.publisher_disclosure = PublisherDisclosure::Always,
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {} com.x
           a <- EVENT $s * {"publisher":$id_b,"publisher_authid":$authid_b,\
                "publisher_authrole":"anonymous"}
           b -> PUBLISH {"disclose_me":false} com.x
           a <- EVENT $s * {"publisher":$id_b,"publisher_authid":$authid_b,\
                "publisher_authrole":"anonymous"}"#,
    );
}

/// AP-PTL-01: the example of the specification, and announced only where it is.
#[test]
fn ap_ptl_01_events_carry_the_configured_trust_level() {
    check_realm(
        |realm| realm.access = trusted(2),
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           a sees broker publication_trustlevels
           b -> PUBLISH {} com.x ["Hello, world!"]
           a <- EVENT $s * {"trustlevel":2} ["Hello, world!"]"#,
    );
    check("join a\n a sees no broker publication_trustlevels");
}

/// AP-PBS-01: the example of the specification for prefixes.
#[test]
fn ap_pbs_01_prefix_subscriptions_match_by_characters() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"match":"prefix"} com.myapp.topic.emergency
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {} com.myapp.topic.emergency.11
           a <- EVENT $s * {"topic":"com.myapp.topic.emergency.11"}
           b -> PUBLISH {} com.myapp.topic.emergency-low
           a <- EVENT $s * {"topic":"com.myapp.topic.emergency-low"}
           b -> PUBLISH {} com.myapp.topic.emergency.category.severe ["Hello, world!"]
           a <- EVENT $s * {"topic":"com.myapp.topic.emergency.category.severe"} ["Hello, world!"]
           b -> PUBLISH {} com.myapp.topic.emergency
           a <- EVENT $s * {"topic":"com.myapp.topic.emergency"}
           b -> PUBLISH {} com.myapp.topic.emerge"#,
    );
}

/// AP-PBS-01: the example of the specification for wildcards.
#[test]
fn ap_pbs_01_wildcard_subscriptions_match_by_components() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"match":"wildcard"} com.myapp..userevent
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {} com.myapp.foo.userevent
           a <- EVENT $s * {"topic":"com.myapp.foo.userevent"}
           b -> PUBLISH {} com.myapp.bar.userevent
           a <- EVENT $s * {"topic":"com.myapp.bar.userevent"}
           b -> PUBLISH {} com.myapp.a12.userevent
           a <- EVENT $s * {"topic":"com.myapp.a12.userevent"}
           b -> PUBLISH {} com.myapp.foo.userevent.bar
           b -> PUBLISH {} com.myapp.foo.user
           b -> PUBLISH {} com.myapp2.foo.userevent"#,
    );
}

/// AP-PBS-02, AP-PBS-03: one session on several; `topic` for patterns only.
#[test]
fn ap_pbs_02_every_matching_subscription_of_a_session_counts() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x.y
           a <- SUBSCRIBED 1 $exact
           b -> PUBLISH {} com.x.y
           a <- EVENT $exact $p1 {}
           a -> SUBSCRIBE {"match":"prefix"} com.x
           a <- SUBSCRIBED 2 $prefix
           b -> PUBLISH {} com.x.y
           a <- EVENT $exact $p2 {}
           a <- EVENT $prefix $p2 {"topic":"com.x.y"}
           a -> UNSUBSCRIBE $exact
           a <- UNSUBSCRIBED 3
           a -> SUBSCRIBE {"match":"prefix"} com.x.y
           a <- SUBSCRIBED 4 $longer
           b -> PUBLISH {} com.x.y
           a <- EVENT $longer $p3 {"topic":"com.x.y"}
           a <- EVENT $prefix $p3 {"topic":"com.x.y"}
           a -> UNSUBSCRIBE $prefix
           a <- UNSUBSCRIBED 5
           b -> PUBLISH {} com.x.z"#,
    );
}

/// AP-PBS-04
#[test]
fn ap_pbs_04_a_publication_needs_a_concrete_topic() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"match":"wildcard"} com..x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"acknowledge":true} com..x
           b <- ERROR 16 1 {} wamp.error.invalid_uri *"#,
    );
}

/// AP-REVS-01: no request is answered, no event follows, and the others keep theirs.
#[test]
fn ap_revs_01_a_subscription_may_be_revoked() {
    check(
        r#"join b c
           a -> HELLO realm1 {"roles":{"subscriber":{"features":{"subscription_revocation":true}}}}
           a <- WELCOME $id_a *
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $s
           a loses $s because "no longer authorized"
           a <- UNSUBSCRIBED 0 {"subscription":$s,"reason":"no longer authorized"}
           c -> PUBLISH {} com.x [1]
           b <- EVENT $s * {} [1]
           a loses $s
           a -> UNSUBSCRIBE $s
           a <- ERROR 34 2 {} wamp.error.no_such_subscription *
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 3 $s
           c -> PUBLISH {} com.x [2]
           a <- EVENT $s * {} [2]
           b <- EVENT $s * {} [2]
           a loses $s
           a <- UNSUBSCRIBED 0 {"subscription":$s}"#,
    );
}

/// AP-REVS-01: who did not announce it is not told.
#[test]
fn ap_revs_01_it_is_silent_for_others() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $s
         a loses $s because tired
         b -> PUBLISH {} com.x [1]
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 2 *",
    );
}

/// AP-REVS-01: a reason that the peer's transport does not take is left out.
#[test]
fn ap_revs_01_a_long_reason_is_left_out() {
    let reason = "long ".repeat(120);
    check(&format!(
        r#"a via rawsocket 1024
           a -> HELLO realm1 {{"roles":{{"subscriber":{{"features":{{\
                "subscription_revocation":true}}}}}}}}
           a <- WELCOME $id_a *
           a -> SUBSCRIBE {{}} com.x
           a <- SUBSCRIBED 1 $s
           a loses $s because "{reason}{reason}"
           a <- UNSUBSCRIBED 0 {{"subscription":$s}}"#
    ));
}

/// AP-PPT-01, AP-PPT-04: the keys are mirrored, whoever the subscriber is (AP-PPT-03).
#[test]
fn ap_ppt_01_passthru_keys_are_mirrored() {
    check(
        r#"join a
           b -> HELLO realm1 {"roles":{"publisher":{"features":{"payload_passthru_mode":true}}}}
           b <- WELCOME * *
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"ppt_scheme":"wamp","ppt_serializer":"cbor",\
                "ppt_cipher":"xsalsa20poly1305",\
                "ppt_keyid":"GTtQ37XGJO2O4R8Dvx4AUo8pe61D9evIWpKGQAPdOh0="} com.x ["\u0000q83v"]
           a <- EVENT $s * {"ppt_scheme":"wamp","ppt_serializer":"cbor",\
                "ppt_cipher":"xsalsa20poly1305",\
                "ppt_keyid":"GTtQ37XGJO2O4R8Dvx4AUo8pe61D9evIWpKGQAPdOh0="} ["\u0000q83v"]
           b -> PUBLISH {"ppt_scheme":"mqtt"} com.x ["\u0000q83v"]
           a <- EVENT $s * {"ppt_scheme":"mqtt"} ["\u0000q83v"]
           b -> PUBLISH {"ppt_scheme":"x_custom","ppt_serializer":"x_mine"} com.x [1] {"k":2}
           a <- EVENT $s * {"ppt_scheme":"x_custom","ppt_serializer":"x_mine"} [1] {"k":2}
           b -> PUBLISH {} com.x
           a <- EVENT $s * {}"#,
    );
}

/// AP-PPT-03: announced for another role is not announced.
#[test]
fn ap_ppt_03_a_publisher_must_announce_passthru() {
    for features in ["{}", r#"{"features":{"payload_passthru_mode":false}}"#] {
        check(&format!(
            r#"join b
               b -> SUBSCRIBE {{}} com.x
               b <- SUBSCRIBED 1 *
               a -> HELLO realm1 {{"roles":{{"publisher":{features},\
                    "caller":{{"features":{{"payload_passthru_mode":true}}}}}}}}
               a <- WELCOME * *
               a -> PUBLISH {{"ppt_scheme":"","acknowledge":true}} com.y
               a <- PUBLISHED 1 *
               a -> PUBLISH {{"ppt_scheme":"mqtt"}} com.x
               a <- ABORT * wamp.error.protocol_violation
               a <- CLOSED 1008"#
        ));
    }
}

/// AP-PPT-05: a bare binary in place of the arguments, as deployed clients send it.
#[test]
fn ap_ppt_05_the_older_transparent_form_is_forwarded() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"enc_algo":"cryptobox","enc_serializer":"msgpack","enc_key":"k"} com.x \
                "\u0000q83v"
           a <- EVENT $s * {"enc_algo":"cryptobox","enc_serializer":"msgpack","enc_key":"k"} \
                "\u0000q83v""#,
    );
}

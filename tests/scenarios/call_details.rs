//! What a callee learns of a call besides its payload (requirements 2.2.6, 2.2.7, 2.2.8, 2.5).

use stentor::router::CallerDisclosure;

use super::authorization::trusted;
use super::dialogue::{check, check_realm};

/// AP-GEN-01, BP-SES-07: what works is announced.
#[test]
fn the_dealer_announces_its_features() {
    for feature in [
        "call_canceling",
        "call_reroute",
        "call_timeout",
        "caller_identification",
        "pattern_based_registration",
        "payload_passthru_mode",
        "progressive_call_invocations",
        "progressive_call_results",
        "registration_revocation",
        "shared_registration",
    ] {
        check(&format!("join a\n a sees dealer {feature}"));
    }
    check("join a\n a sees no dealer call_trustlevels\n a sees no dealer sharded_registration");
}

/// AP-GEN-01: options are honoured, whatever the client announced; the two exceptions are tested
/// where they belong (AP-PCI-03, AP-PPT-03).
#[test]
fn ap_gen_01_options_need_no_announcement() {
    check(
        r#"join a b c
           a -> SUBSCRIBE {"match":"prefix"} com
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"exclude":[1],"eligible_authid":[$authid_a],"retain":true} com.x [1]
           a <- EVENT $s * {"topic":"com.x"} [1]
           c -> SUBSCRIBE {"get_retained":true} com.x
           c <- SUBSCRIBED 1 *
           a -> REGISTER {"match":"wildcard","invoke":"last","disclose_caller":true} com.
           a <- REGISTERED 2 $r
           b -> CALL {"timeout":1000} com.p
           a <- INVOCATION 1 $r {"procedure":"com.p","caller":$id_b,"caller_authid":$authid_b,\
                "caller_authrole":"anonymous"}
           wait 1000
           b <- ERROR 48 2 {} wamp.error.timeout *
           b -> CALL {} com.q
           a <- INVOCATION 2 $r {"procedure":"com.q","caller":$id_b,"caller_authid":$authid_b,\
                "caller_authrole":"anonymous"}
           b -> CANCEL #3 {"mode":"skip"}
           b <- ERROR 48 3 {} wamp.error.canceled *"#,
    );
}

/// AP-GEN-02: what only informs is sent to peers that announced nothing; what changes the protocol
/// is not.
#[test]
fn ap_gen_02_the_receivers_announcement_decides_what_changes_the_protocol() {
    check(
        r#"join a
           join fully b
           a -> REGISTER {"match":"prefix","forward_timeout":true} com
           a <- REGISTERED 1 *
           b -> CALL {"disclose_me":true,"receive_progress":true,"timeout":1000} com.p
           a <- INVOCATION 1 * {"procedure":"com.p","caller":$id_b,\
                "caller_authid":$authid_b,"caller_authrole":"anonymous"}
           a -> SUBSCRIBE {"match":"prefix"} com
           a <- SUBSCRIBED 2 $s
           b -> PUBLISH {"disclose_me":true,"ppt_scheme":"x_s"} com.x
           a <- EVENT $s * {"ppt_scheme":"x_s","topic":"com.x","publisher":$id_b,\
                "publisher_authid":$authid_b,"publisher_authrole":"anonymous"}
           b -> CANCEL #1 {"mode":"kill"}
           b <- ERROR 48 1 {} wamp.error.canceled *"#,
    );
}

/// AP-SHD-01: sharding keys are ignored, whatever they say.
#[test]
fn ap_shd_01_sharding_keys_have_no_effect() {
    check(
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"runmode":"partition","rkey":"x"} com.p [1]
           a <- INVOCATION 1 * {} [1]
           b -> CALL {"runmode":"partition"} com.p [2]
           a <- INVOCATION 2 * {} [2]
           b -> CALL {"runmode":7,"rkey":[]} com.p [3]
           a <- INVOCATION 3 * {} [3]"#,
    );
}

/// AP-CID-01, AP-CID-05: only if the caller asks, and then all of its names.
#[test]
fn ap_cid_01_a_caller_may_disclose_itself() {
    check(
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}
           b -> CALL {"disclose_me":false} com.p
           a <- INVOCATION 2 * {}
           b -> CALL {"disclose_me":true} com.p
           a <- INVOCATION 3 * {"caller":$id_b,"caller_authid":$authid_b,\
               "caller_authrole":"anonymous"}"#,
    );
}

/// AP-CID-02
#[test]
fn ap_cid_02_a_callee_may_ask_for_its_callers() {
    check(
        r#"join a b
           a -> REGISTER {"disclose_caller":true} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {"caller":$id_b,"caller_authid":$authid_b,\
               "caller_authrole":"anonymous"}"#,
    );
}

/// AP-CID-02: the realm may disclose everybody.
#[test]
fn ap_cid_02_a_realm_may_disclose_every_caller() {
    check_realm(
        |realm| realm.caller_disclosure = CallerDisclosure::Always,
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {"caller":$id_b,"caller_authid":$authid_b,\
               "caller_authrole":"anonymous"}"#,
    );
}

/// AP-CID-03, AP-CID-04
#[test]
fn ap_cid_03_a_realm_may_forbid_disclosure() {
    check_realm(
        |realm| realm.caller_disclosure = CallerDisclosure::Forbid,
        r#"join a b
           a -> REGISTER {"disclose_caller":true} com.p
           a <- ERROR 64 1 {} wamp.error.option_disallowed.disclose_me *
           a -> REGISTER {} com.p
           a <- REGISTERED 2 *
           b -> CALL {"disclose_me":true} com.p
           b <- ERROR 48 1 {} wamp.error.option_disallowed.disclose_me *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}"#,
    );
}

/// AP-CTL-01: only when configured.
#[test]
fn ap_ctl_01_calls_have_a_trust_level_if_configured() {
    check_realm(
        |realm| realm.access = trusted(3),
        r#"join a b c
           a sees dealer call_trustlevels
           b -> REGISTER {} com.p
           b <- REGISTERED 1 *
           c -> CALL {} com.p
           b <- INVOCATION 1 * {"trustlevel":3}"#,
    );
}

/// AP-PBR-01 to AP-PBR-06: the specification's table of registrations and calls; the fifth row as
/// prefixes go by characters.
#[test]
fn ap_pbr_04_the_best_match_gets_the_call() {
    let registered = [
        ("exact", "a1.b2.c3.d4.e55"),
        ("prefix", "a1.b2.c3"),
        ("prefix", "a1.b2.c3.d4"),
        ("wildcard", "a1.b2..d4.e5"),
        ("wildcard", "a1.b2.c33..e5"),
        ("wildcard", "a1.b2..d4.e5..g7"),
        ("wildcard", "a1.b2..d4..f6.g7"),
    ];
    let mut dialogue = "join a b\n".to_owned();
    for (number, (policy, uri)) in registered.iter().enumerate() {
        let number = number + 1;
        dialogue += &format!(
            "a -> REGISTER {{\"match\":\"{policy}\"}} {uri}\n a <- REGISTERED {number} $r{number}\n"
        );
    }
    let calls = [
        ("a1.b2.c3.d4.e55", 1),
        ("a1.b2.c3.d98.e74", 2),
        ("a1.b2.c3.d4.e325", 3),
        ("a1.b2.c55.d4.e5", 4),
        ("a1.b2.c33.d4.e5", 2),
        ("a1.b2.c88.d4.e5.f6.g7", 6),
    ];
    for (number, (uri, registration)) in calls.iter().enumerate() {
        let number = number + 1;
        let details = match registration {
            1 => "{}".to_owned(),
            _ => format!("{{\"procedure\":\"{uri}\"}}"),
        };
        dialogue += &format!(
            "b -> CALL {{}} {uri}\n a <- INVOCATION {number} $r{registration} {details}\n"
        );
    }
    dialogue += "b -> CALL {} a2.b2.c2.d2.e2\n b <- ERROR 48 7 {} wamp.error.no_such_procedure *";
    check(&dialogue);
}

/// AP-PBR-05, AP-PBR-08: a call that the best match cannot take goes nowhere else.
#[test]
fn ap_pbr_08_there_is_no_second_best() {
    check(
        r#"join fully a b
           join c
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> REGISTER {"match":"prefix"} com.p
           b <- REGISTERED 1 $prefix
           c -> CALL {} com.p
           a <- INVOCATION 1 * {}
           a -> ERROR 68 1 {} wamp.error.unavailable
           c <- ERROR 48 1 {} wamp.error.no_available_callee *
           c -> CALL {} com.p.q
           b <- INVOCATION 1 $prefix {"procedure":"com.p.q"}"#,
    );
}

/// AP-SHR-02, AP-SHR-03, AP-SHR-05
#[test]
fn ap_shr_02_callees_share_one_registration_under_one_policy() {
    check(
        r#"join a b
           a -> REGISTER {"invoke":"first"} com.p
           a <- REGISTERED 1 $r
           b -> REGISTER {"invoke":"last"} com.p
           b <- ERROR 64 1 {} wamp.error.procedure_already_exists *
           b -> REGISTER {} com.p
           b <- ERROR 64 2 {} wamp.error.procedure_already_exists *
           b -> REGISTER {"invoke":"first"} com.p
           b <- REGISTERED 3 $r
           b -> REGISTER {"invoke":"first"} com.p
           b <- ERROR 64 4 {} wamp.error.procedure_already_exists *
           a -> UNREGISTER $r
           a <- UNREGISTERED 2
           b -> UNREGISTER $r
           b <- UNREGISTERED 5
           b -> REGISTER {"invoke":"last"} com.p
           b <- REGISTERED 6 *"#,
    );
}

/// AP-PPT-01, AP-PPT-03: the keys go with the payload, in both directions.
#[test]
fn ap_ppt_01_passthru_keys_are_forwarded() {
    let keys = r#"{"ppt_scheme":"x_s","ppt_serializer":"cbor","ppt_cipher":"c","ppt_keyid":"k"}"#;
    check(&format!(
        r#"join fully a b
           a -> REGISTER {{}} com.p
           a <- REGISTERED 1 *
           b -> CALL {keys} com.p ["\u0000AQID"]
           a <- INVOCATION 1 * {keys} ["\u0000AQID"]
           a -> YIELD 1 {keys} ["\u0000BAUG"]
           b <- RESULT 1 {keys} ["\u0000BAUG"]
           b -> CALL {keys} com.p ["\u0000AQID"]
           a <- INVOCATION 2 * {keys} ["\u0000AQID"]
           a -> ERROR 68 2 {keys} com.error ["\u0000BAUG"]
           b <- ERROR 48 2 {keys} com.error ["\u0000BAUG"]"#
    ));
}

/// AP-PPT-02: the router looks at no payload, whatever shape it has.
#[test]
fn ap_ppt_02_the_shape_of_the_payload_is_free() {
    for payload in ["", "[1,2]", r#"[] {"k":1}"#, r#"["\u0000AQID"] {"k":1}"#] {
        check(&format!(
            r#"join fully a b
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"ppt_scheme":"mqtt"}} com.p {payload}
               a <- INVOCATION 1 * {{"ppt_scheme":"mqtt"}} {payload}
               a -> YIELD 1 {{"ppt_scheme":"mqtt"}} {payload}
               b <- RESULT 1 {{"ppt_scheme":"mqtt"}} {payload}"#
        ));
    }
}

/// AP-PPT-05: the older form needs no announcement, in either direction.
#[test]
fn ap_ppt_05_the_older_transparent_form_of_calls_is_forwarded() {
    let keys = r#"{"enc_algo":"cryptobox","enc_serializer":"msgpack","enc_key":"k"}"#;
    check(&format!(
        r#"join a b
           a -> REGISTER {{}} com.p
           a <- REGISTERED 1 *
           b -> CALL {keys} com.p "\u0000q83v"
           a <- INVOCATION 1 * {keys} "\u0000q83v"
           a -> YIELD 1 {keys} "\u0000AQID"
           b <- RESULT 1 {keys} "\u0000AQID"
           b -> CALL {keys} com.p "\u0000q83v"
           a <- INVOCATION 2 * {keys} "\u0000q83v"
           a -> ERROR 68 2 {keys} com.error "\u0000AQID"
           b <- ERROR 48 2 {keys} com.error "\u0000AQID""#
    ));
}

/// AP-PPT-03: a callee that cannot read it.
#[test]
fn ap_ppt_03_a_callee_without_passthru_gets_no_call_with_it() {
    check(
        r#"join a
           join fully b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"ppt_scheme":"x_s"} com.p
           b <- ERROR 48 1 {} wamp.error.feature_not_supported *"#,
    );
}

/// AP-PPT-03: a caller that cannot read it; both sides learn why the call failed.
#[test]
fn ap_ppt_03_a_caller_without_passthru_gets_no_result_with_it() {
    for progress in ["", r#","progress":true"#] {
        check(&format!(
            r#"join fully a
               join b
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"receive_progress":true}} com.p
               a <- INVOCATION 1 * *
               a -> YIELD 1 {{"ppt_scheme":"x_s"{progress}}} [1]
               a <- ERROR 68 1 {{}} wamp.error.feature_not_supported *
               b <- ERROR 48 1 {{}} wamp.error.feature_not_supported *
               a -> YIELD 1 {{}}"#
        ));
    }
}

/// AP-PPT-03: whoever uses it has to announce it.
#[test]
fn ap_ppt_03_unannounced_passthru_is_a_violation() {
    check(
        r#"join a
           a -> CALL {"ppt_scheme":"x_s"} com.p
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008"#,
    );
    check(
        r#"join a
           join fully b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}
           a -> YIELD 1 {"ppt_scheme":"x_s"}
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008
           b <- ERROR 48 1 {} wamp.error.canceled *"#,
    );
}

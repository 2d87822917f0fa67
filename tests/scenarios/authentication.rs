//! AU-GEN, AU-ANON, AU-TRN: which method a client gets, what follows from its answer, and what
//! nobody learns. The methods are in `methods.rs`.

use std::sync::Arc;

use stentor::authentication::{AuthenticatorSettings, Method, Principal};

use super::dialogue::{check_realm, check_realm_with};
use crate::support::{public_key_of, user, user_with_chosen_ticket};

/// `joe` and `jim`, by this method.
pub(super) fn by(method: Method) -> AuthenticatorSettings {
    AuthenticatorSettings::of(method, vec![user("joe", method), user("jim", method)])
}

/// Runs a dialogue on realms with these ways in.
pub(super) fn check_ways(ways: &[AuthenticatorSettings], dialogue: &str) {
    check_realm(|realm| realm.authenticators = ways.to_vec(), dialogue);
}

fn costly() -> AuthenticatorSettings {
    AuthenticatorSettings::of(Method::Ticket, vec![user_with_chosen_ticket("joe")])
}

/// AU-GEN-01, AU-GEN-03
#[test]
fn a_login_is_hello_challenge_authenticate_welcome() {
    check_ways(
        &[by(Method::Ticket)],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- WELCOME $a {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"ticket","authprovider":"static","agent":"Stentor","roles":*}
           a -> CALL {} wamp.session.get [$a]
           a <- RESULT 1 {} [{"session":$a,"authid":"joe","authrole":"user",\
                "authmethod":"ticket","authprovider":"static","transport":*}]"#,
    );
}

/// AU-GEN-02: the client's order counts, and what cannot work for its authid is left out.
#[test]
fn the_first_method_that_works_is_taken() {
    let only_cra = AuthenticatorSettings::of(Method::Wampcra, vec![user("cra", Method::Wampcra)]);
    let ways = [by(Method::Ticket), only_cra, by(Method::Scram), by(Method::Cryptosign)];
    check_ways(
        &ways,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},\
               "authmethods":["x","wampcra","ticket","wamp-scram"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket","wampcra"],\
               "authid":"cra"}
           b <- CHALLENGE wampcra *
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["cryptosign","wamp-scram"],\
               "authid":"joe","authextra":{"pubkey":"zz","nonce":"a,b"}}
           c <- ABORT * wamp.error.no_matching_auth_method
           c <- CLOSED 1008
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket","anonymous"]}
           d <- ABORT * wamp.error.no_matching_auth_method
           d <- CLOSED 1008
           e -> HELLO realm1 {"roles":{"caller":{}},"authid":"joe"}
           e <- ABORT * wamp.error.authentication_required
           e <- CLOSED 1008"#,
    );
}

/// AU-GEN-02: several of one method are looked through in their order.
#[test]
fn of_one_method_the_first_that_knows_the_authid_decides() {
    let role = |authid: &str, role: &str| {
        let user = (*user(authid, Method::Ticket)).clone();
        Arc::new(Principal { role: role.into(), ..user })
    };
    let first = AuthenticatorSettings::of(Method::Ticket, vec![role("joe", "first")]);
    let both = vec![role("joe", "second"), role("jim", "second")];
    let second = AuthenticatorSettings::of(Method::Ticket, both);
    check_ways(
        &[first, second],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- WELCOME * {"realm":"realm1","authid":"joe","authrole":"first",\
                "authmethod":"ticket","authprovider":"static","agent":"Stentor","roles":*}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"jim"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pencil {}
           b <- WELCOME * {"realm":"realm1","authid":"jim","authrole":"second",\
                "authmethod":"ticket","authprovider":"static","agent":"Stentor","roles":*}"#,
    );
}

/// AU-GEN-04: an authid that nobody has, a wrong secret, and the right secret of somebody else.
#[test]
fn an_unknown_authid_is_denied_as_a_wrong_secret_is() {
    let denied = r#"{"message":"there is no such authid, or its secret or key is another one"}"#;
    for ways in [[by(Method::Ticket)], [costly()]] {
        check_ways(
            &ways,
            &format!(
                r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["ticket"],\
                       "authid":"nobody"}}
                   a <- CHALLENGE ticket {{}}
                   a -> AUTHENTICATE pencil {{}}
                   a <- ABORT {denied} wamp.error.authentication_denied
                   a <- CLOSED 1008
                   b -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["ticket"],\
                       "authid":"joe"}}
                   b <- CHALLENGE ticket {{}}
                   b -> AUTHENTICATE pen {{}}
                   b <- ABORT {denied} wamp.error.authentication_denied
                   b <- CLOSED 1008"#
            ),
        );
    }
}

/// AU-GEN-04: nor does a user differ from nobody who has none of the methods that it offers.
#[test]
fn a_user_without_the_method_is_denied_as_nobody_is() {
    let only_cra = AuthenticatorSettings::of(Method::Wampcra, vec![user("cra", Method::Wampcra)]);
    let ways = [by(Method::Ticket), only_cra];
    for authid in ["cra", "nobody", "no one", "x", "y", "z"] {
        check_ways(
            &ways,
            &format!(
                r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["ticket"],\
                       "authid":"{authid}"}}
                   a <- CHALLENGE ticket {{}}
                   a -> AUTHENTICATE pencil {{}}
                   a <- ABORT * wamp.error.authentication_denied
                   a <- CLOSED 1008"#
            ),
        );
    }
}

/// AU-GEN-05
#[test]
fn a_challenge_is_to_be_answered_in_time() {
    check_realm_with(
        |realm| realm.authenticators = vec![by(Method::Ticket)],
        |settings| settings.timeouts.login_ms = 3_000,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           wait 2999
           wait 1
           a <- ABORT {"message":"no AUTHENTICATE in time"} wamp.error.authentication_failed
           a <- CLOSED 1008"#,
    );
}

/// AU-GEN-06
#[test]
fn authenticate_has_its_place_and_is_the_only_answer() {
    check_ways(
        &[by(Method::Ticket), AuthenticatorSettings::anonymous("guest")],
        r#"a -> AUTHENTICATE pencil {}
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008
           join b
           b -> AUTHENTICATE pencil {}
           b <- ABORT * wamp.error.protocol_violation
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           c <- CHALLENGE ticket {}
           c -> CALL {} com.x
           c <- ABORT * wamp.error.protocol_violation
           c <- CLOSED 1008
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           d <- CHALLENGE ticket {}
           d -> HELLO realm1 {"roles":{"caller":{}}}
           d <- ABORT * wamp.error.protocol_violation
           d <- CLOSED 1008
           e -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           e <- CHALLENGE ticket {}
           e -> AUTHENTICATE pen {}
           e <- ABORT * wamp.error.authentication_denied
           e -> AUTHENTICATE pencil {}
           e <- CLOSED 1008
           f -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           f <- CHALLENGE ticket {}
           f -> ABORT {} wamp.error.authentication_failed"#,
    );
}

/// AU-GEN-06: after GOODBYE another login may follow on the same transport.
#[test]
fn a_transport_serves_one_login_after_another() {
    check_ways(
        &[by(Method::Ticket)],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- WELCOME * *
           a -> GOODBYE {} wamp.close.normal
           a <- GOODBYE {} wamp.close.goodbye_and_out
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"jim"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- WELCOME * *"#,
    );
}

/// AU-GEN-07: each challenge is another one, and the answer to one does not serve for the next.
#[test]
fn an_answer_cannot_be_played_again() {
    for (method, name) in [(Method::Wampcra, "wampcra"), (Method::Cryptosign, "cryptosign")] {
        let (hello, key) = (
            r#"{"roles":{"caller":{}},"authmethods":["METHOD"],"authid":"joe",\
                "authextra":{"pubkey":"KEY"}}"#,
            public_key_of("joe"),
        );
        let hello = hello.replace("METHOD", name).replace("KEY", &key);
        let secret = if method == Method::Wampcra { "pencil" } else { "joe" };
        check_ways(
            &[by(method)],
            &format!(
                r#"a -> HELLO realm1 {hello}
                   a <- CHALLENGE {name} $x
                   prove $p by {name} joe {secret} from $x
                   a -> AUTHENTICATE $p {{}}
                   a <- WELCOME * *
                   b -> HELLO realm1 {hello}
                   b <- CHALLENGE {name} *
                   b -> AUTHENTICATE $p {{}}
                   b <- ABORT * wamp.error.authentication_denied
                   b <- CLOSED 1008"#
            ),
        );
    }
}

/// AU-GEN-08
#[test]
fn the_session_has_the_id_of_its_challenge() {
    check_ways(
        &[by(Method::Wampcra)],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           a <- CHALLENGE wampcra $x
           prove $p by wampcra joe pencil from $x
           a -> AUTHENTICATE $p {}
           a <- WELCOME $session *"#,
    );
}

/// AU-GEN-09
#[test]
fn unknown_methods_are_skipped_and_wrong_types_are_not() {
    check_ways(
        &[by(Method::Ticket)],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["scram","cookie","ticket"],\
               "authid":"joe"}
           a <- CHALLENGE ticket {}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":7}
           b <- ABORT * wamp.error.protocol_violation
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authextra":[]}
           c <- ABORT * wamp.error.protocol_violation
           c <- CLOSED 1008"#,
    );
    let long = "x".repeat(257);
    check_ways(
        &[by(Method::Ticket)],
        &format!(
            r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["ticket"],\
                   "authid":"{long}"}}
               a <- ABORT * wamp.error.authentication_failed
               a <- CLOSED 1008"#
        ),
    );
}

/// AU-GEN-10: what a client sends to prove itself is nobody's business.
#[test]
fn what_a_client_sends_with_hello_is_not_passed_on() {
    check_ways(
        &[by(Method::Cryptosign), AuthenticatorSettings::anonymous("guest")],
        &format!(
            r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"],\
                   "authextra":{{"pubkey":"{}","password":"x","unknown":[1]}}}}
               a <- CHALLENGE cryptosign $x
               prove $p by cryptosign joe joe from $x
               a -> AUTHENTICATE $p {{"more":1}}
               a <- WELCOME $a {{"realm":"realm1","authid":"joe","authrole":"user",\
                   "authmethod":"cryptosign","authprovider":"static","agent":"Stentor","roles":*}}
               join b
               b -> CALL {{}} wamp.session.get [$a]
               b <- RESULT 1 {{}} [{{"session":$a,"authid":"joe","authrole":"user",\
                   "authmethod":"cryptosign","authprovider":"static","transport":*}}]"#,
            public_key_of("joe")
        ),
    );
}

/// AU-ANON-01
#[test]
fn an_anonymous_client_does_not_choose_who_it_is() {
    check_ways(
        &[AuthenticatorSettings::anonymous("guest")],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authid":"joe","authrole":"admin"}
           a <- WELCOME * {"realm":"realm1","authid":$one,"authrole":"guest",\
                "authmethod":"anonymous","authprovider":"static","agent":"Stentor","roles":*}
           a -> CALL {} wamp.session.kill_by_authid ["joe"]
           a <- ERROR 48 1 {} wamp.error.not_authorized ..."#,
    );
    let named = AuthenticatorSettings {
        authid: Some("somebody".into()),
        ..AuthenticatorSettings::anonymous("guest")
    };
    check_ways(
        &[named],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["anonymous"],"authid":"joe"}
           a <- WELCOME * {"realm":"realm1","authid":"somebody","authrole":"guest",\
                "authmethod":"anonymous","authprovider":"static","agent":"Stentor","roles":*}"#,
    );
}

/// AU-TRN-02
#[test]
fn what_a_client_says_of_its_transport_proves_nothing() {
    check_ways(
        &[by(Method::Ticket)],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["cookie","tls"],"authid":"joe",\
               "transport":{"auth":{"tls":{"authid":"joe"},"cookie":"x"}}}
           a <- ABORT * wamp.error.no_matching_auth_method
           a <- CLOSED 1008"#,
    );
}

#[test]
fn a_realm_without_a_way_in_is_closed() {
    check_ways(
        &[],
        r#"a -> HELLO realm1 {"roles":{"caller":{}}}
           a <- ABORT * wamp.error.authentication_required
           a <- CLOSED 1008
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["anonymous","ticket"],\
               "authid":"joe"}
           b <- ABORT * wamp.error.no_matching_auth_method
           b <- CLOSED 1008"#,
    );
}

/// While one answer is judged nobody else waits, and what came behind it comes after it.
#[test]
fn a_costly_answer_keeps_nobody_waiting() {
    check_ways(
        &[costly(), AuthenticatorSettings::anonymous("guest")],
        r#"verifier waits
           join b
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $s
           a -> HELLO realm1 {"roles":{"publisher":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a -> PUBLISH {} com.x [1]
           a -> PUBLISH {} com.x [2]
           b -> PUBLISH {"exclude_me":false} com.x [0]
           b <- EVENT $s * {} [0]
           verifier judges
           a <- WELCOME * *
           b <- EVENT $s * {} [1]
           b <- EVENT $s * {} [2]"#,
    );
}

/// AU-GEN-05, for those who judge: late, full, gone, and after the client has left.
#[test]
fn an_answer_that_nobody_judges_fails_the_login() {
    let check = |dialogue| {
        check_realm_with(
            |realm| realm.authenticators = vec![costly(), AuthenticatorSettings::anonymous("x")],
            |settings| settings.timeouts.login_ms = 3_000,
            dialogue,
        );
    };
    check(
        r#"verifier waits
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           wait 1000
           a -> AUTHENTICATE pencil {}
           wait 1999
           wait 1
           a <- ABORT * wamp.error.authentication_failed
           a <- CLOSED 1008
           verifier judges"#,
    );
    check(
        r#"verifier takes 0
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- ABORT {"message":"too many logins are under way, try again later"} \
               wamp.error.authentication_failed
           a <- CLOSED 1008"#,
    );
    check(
        r#"verifier waits
           verifier takes 1
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           wait 3000
           a <- ABORT * wamp.error.authentication_failed
           a <- CLOSED 1008
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pencil {}
           verifier judges
           b <- WELCOME * *"#,
    );
    check(
        r#"verifier waits
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a is lost
           wait 3000
           join b
           verifier judges"#,
    );
    check(
        r#"verifier waits
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           shutdown
           a <- CLOSED 1001
           b <- CLOSED 1001
           verifier judges"#,
    );
}

/// Over the limit nothing is challenged, and nothing compared.
#[test]
fn failed_logins_are_limited_by_address_and_by_authid() {
    let fails = |who: &str, peer: &str, authid: &str| {
        format!(
            "{who} comes from {peer}\n\
             {who} -> HELLO realm1 {{\"roles\":{{\"caller\":{{}}}},\"authmethods\":[\"ticket\"],\
             \"authid\":\"{authid}\"}}\n\
             {who} <- CHALLENGE ticket {{}}\n\
             {who} -> AUTHENTICATE pen {{}}\n\
             {who} <- ABORT * wamp.error.authentication_denied\n\
             {who} <- CLOSED 1008\n"
        )
    };
    let is_limited = |who: &str, peer: &str, authid: &str, by: &str| {
        format!(
            "{who} comes from {peer}\n\
             {who} -> HELLO realm1 {{\"roles\":{{\"caller\":{{}}}},\"authmethods\":[\"ticket\"],\
             \"authid\":\"{authid}\"}}\n\
             {who} <- ABORT {{\"message\":\"too many logins {by} have failed, try again later\"}} \
             wamp.error.authentication_failed\n\
             {who} <- CLOSED 1008\n"
        )
    };
    let (one, other) = ("10.0.0.1:7", "[2001:db8::1]:7");
    let by_authid = "with this authid";
    let dialogue = [
        "at one node: each counts failures\n".into(),
        fails("a", one, "joe"),
        fails("b", other, "joe"),
        is_limited("c", "10.0.0.9:1", "joe", by_authid),
        fails("d", one, "x"),
        is_limited("e", one, "jim", "from this address"),
        fails("f", "[2001:db8::2]:7", "y"),
        is_limited("g", "[2001:db8::3]:7", "jim", "from this address"),
        "wait 5000\n".into(),
        fails("h", one, "joe"),
    ]
    .concat();
    check_realm_with(
        |realm| realm.authenticators = vec![by(Method::Ticket)],
        |settings| {
            settings.limits.login_failures_per_address = 2;
            settings.limits.login_failures_per_authid = 2;
            settings.limits.login_failure_window_ms = 2_000;
        },
        &dialogue,
    );
}

/// A challenge that was given out before the limit was reached is not judged after it.
#[test]
fn challenges_given_out_before_do_not_pass_the_limit() {
    let hello = r#"HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}"#;
    check_realm_with(
        |realm| realm.authenticators = vec![by(Method::Ticket)],
        |settings| settings.limits.login_failures_per_authid = 1,
        &format!(
            "at one node: each counts failures\n\
             a -> {hello}\na <- CHALLENGE ticket {{}}\nb -> {hello}\nb <- CHALLENGE ticket {{}}\n\
             a -> AUTHENTICATE pen {{}}\na <- ABORT * wamp.error.authentication_denied\n\
             a <- CLOSED 1008\n\
             b -> AUTHENTICATE pencil {{}}\nb <- ABORT * wamp.error.authentication_failed\n\
             b <- CLOSED 1008"
        ),
    );
}

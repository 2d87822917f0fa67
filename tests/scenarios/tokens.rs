//! JSON Web Tokens as tickets: who gets in, the end of a session with its token, and what puts it
//! off.

use stentor::authentication::{AuthenticatorSettings, Method, TokenSettings};
use stentor::router::Settings;

use super::authentication::{by, check_ways};
use super::dialogue::check_realm_with;
use crate::support::by_token;

/// Time passes without pings.
fn check_in_time(ways: &[AuthenticatorSettings], dialogue: &str) {
    let quiet = |settings: &mut Settings| settings.timeouts.ping_interval_ms = 0;
    check_realm_with(|realm| realm.authenticators = ways.to_vec(), quiet, dialogue);
}

const JOIN: &str = r#"token $t for 100000 {"sub":"joe"}
    a -> HELLO realm1 {"roles":{"caller":{},"subscriber":{}},"authmethods":["ticket"]}
    a <- CHALLENGE ticket {}
    a -> AUTHENTICATE $t {}
    a <- WELCOME $a *
"#;

#[test]
fn a_token_says_who_its_bearer_is() {
    check_ways(
        &[by_token()],
        r#"token $t for 60000 {"sub":"joe","email":"joe@example.org"}
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE $t {}
           a <- WELCOME $a {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"ticket","authprovider":"jwt","agent":"Stentor","roles":*,\
                "authextra":{"email":"joe@example.org"}}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE $t {}
           b <- WELCOME * *
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"jim"}
           c <- CHALLENGE ticket {}
           c -> AUTHENTICATE $t {}
           c <- ABORT * wamp.error.authentication_denied
           c <- CLOSED 1008"#,
    );
}

#[test]
fn what_is_no_good_token_is_denied() {
    check_ways(
        &[by_token()],
        r#"token $late for 0 {"sub":"joe"}
           token $nobody for 60000 {}
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE $late {}
           a <- ABORT * wamp.error.authentication_denied
           a <- CLOSED 1008
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE $nobody {}
           b <- ABORT * wamp.error.authentication_denied
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           c <- CHALLENGE ticket {}
           c -> AUTHENTICATE eyJhbGciOiJub25lIn0.e30. {}
           c <- ABORT * wamp.error.authentication_denied
           c <- CLOSED 1008
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           d <- CHALLENGE ticket {}
           d -> AUTHENTICATE pencil {}
           d <- ABORT * wamp.error.authentication_denied
           d <- CLOSED 1008"#,
    );
}

/// A ticket that looks like a token is one; any other is the users file's.
#[test]
fn tokens_and_other_tickets_live_side_by_side() {
    check_ways(
        &[by(Method::Ticket), by_token()],
        r#"token $t for 60000 {"sub":"joan"}
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- WELCOME * {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"ticket","authprovider":"static","agent":"Stentor","roles":*}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joan"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE $t {}
           b <- WELCOME * {"realm":"realm1","authid":"joan","authrole":"user",\
                "authmethod":"ticket","authprovider":"jwt","agent":"Stentor","roles":*}
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joan"}
           c <- CHALLENGE ticket {}
           c -> AUTHENTICATE pencil {}
           c <- ABORT * wamp.error.authentication_denied
           c <- CLOSED 1008"#,
    );
}

/// Nobody can say whether a token is good before the keys are there: that is not the client's
/// fault.
#[test]
fn without_keys_a_login_fails_and_is_not_denied() {
    let issuer = AuthenticatorSettings::of_tokens(TokenSettings::default(), Some("user"));
    check_ways(
        &[issuer],
        r#"token $t for 60000 {"sub":"joe"}
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE $t {}
           a <- ABORT {"message":"the login could not be judged, try again later"} \
                wamp.error.authentication_failed
           a <- CLOSED 1008"#,
    );
}

#[test]
fn a_session_is_warned_and_ends_with_its_token() {
    check_in_time(
        &[by_token(), AuthenticatorSettings::anonymous("guest")],
        &format!(
            r#"{JOIN} join b
               a -> SUBSCRIBE {{}} stentor.session.on_token_expiring
               a <- SUBSCRIBED 1 $s
               a -> SUBSCRIBE {{"match":"prefix"}} stentor.
               a <- SUBSCRIBED 2 $p
               b -> SUBSCRIBE {{}} stentor.session.on_token_expiring
               b <- SUBSCRIBED 1 $s
               wait 39000
               wait 1000
               a <- EVENT * $e * [*,60000]
               a <- EVENT * $e * [*,60000]
               wait 59000
               wait 1000
               a <- GOODBYE * stentor.close.token_expired
               a -> GOODBYE {{}} wamp.close.goodbye_and_out
               a <- CLOSED 1008
               b -> CALL {{}} wamp.session.count
               b <- RESULT 2 {{}} [1]"#
        ),
    );
}

/// Who joins with less than the time of the warning left is warned at once.
#[test]
fn a_short_session_is_warned_too_and_clients_cannot_warn() {
    check_in_time(
        &[by_token()],
        r#"token $t for 5000 {"sub":"joe"}
           a -> HELLO realm1 {"roles":{"publisher":{},"subscriber":{},"callee":{}},\
               "authmethods":["ticket"]}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE $t {}
           a <- WELCOME $a *
           a -> PUBLISH {"acknowledge":true} stentor.session.on_token_expiring [1]
           a <- ERROR 16 1 {} wamp.error.invalid_uri ...
           a -> REGISTER {} stentor.session.refresh
           a <- ERROR 64 2 {} wamp.error.invalid_uri ...
           wait 5000
           a <- GOODBYE * stentor.close.token_expired
           wait 3000
           a <- CLOSED 1008"#,
    );
}

#[test]
fn a_new_token_puts_the_end_off() {
    check_in_time(
        &[by_token()],
        &format!(
            r#"{JOIN} wait 90000
               token $u for 100000 {{"sub":"joe"}}
               a -> CALL {{}} stentor.session.refresh [$u]
               a <- RESULT 1 {{}} ["2024-05-01T12:03:11.000Z"]
               token $v for 50000 {{"sub":"joe"}}
               a -> CALL {{}} stentor.session.refresh [$v]
               a <- RESULT 2 {{}} ["2024-05-01T12:03:11.000Z"]
               wait 99000
               a -> CALL {{}} wamp.session.count
               a <- RESULT 3 {{}} [1]
               wait 1000
               a <- GOODBYE * stentor.close.token_expired
               wait 3000
               a <- CLOSED 1008"#
        ),
    );
}

/// What does not renew changes nothing: the session stays until its end.
#[test]
fn only_a_token_of_the_same_client_renews() {
    check_in_time(
        &[by_token(), AuthenticatorSettings::anonymous("guest")],
        &format!(
            r#"{JOIN} token $jim for 200000 {{"sub":"jim"}}
               a -> CALL {{}} stentor.session.refresh [$jim]
               a <- ERROR 48 1 {{}} wamp.error.authentication_denied ...
               a -> CALL {{}} stentor.session.refresh ["eyJ.x.y"]
               a <- ERROR 48 2 {{}} wamp.error.authentication_denied ...
               a -> CALL {{}} stentor.session.refresh [7]
               a <- ERROR 48 3 {{}} wamp.error.invalid_argument ...
               a -> CALL {{}} stentor.session.refresh
               a <- ERROR 48 4 {{}} wamp.error.invalid_argument ...
               a -> CALL {{}} stentor.session.nothing
               a <- ERROR 48 5 {{}} wamp.error.no_such_procedure ...
               join b
               b -> CALL {{}} stentor.session.refresh [$t]
               b <- ERROR 48 1 {{}} wamp.error.invalid_argument ...
               wait 100000
               a <- GOODBYE * stentor.close.token_expired
               wait 3000
               a <- CLOSED 1008"#
        ),
    );
}

/// The role must stay the same, too.
#[test]
fn a_token_with_another_role_does_not_renew() {
    let mut way = by_token();
    let jwt = way.jwt.as_mut().expect("it takes tokens");
    jwt.role_claim = Some("role".into());
    let rule =
        |name: &str| stentor::authentication::RoleRule { claim: name.into(), role: name.into() };
    jwt.roles = vec![rule("user"), rule("backend")];
    check_in_time(
        &[way],
        r#"token $t for 100000 {"sub":"joe","role":"user"}
           token $u for 200000 {"sub":"joe","role":"backend"}
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE $t {}
           a <- WELCOME $a *
           a -> CALL {} stentor.session.refresh [$u]
           a <- ERROR 48 1 {} wamp.error.authentication_denied ..."#,
    );
}

/// What comes behind a renewal waits for it; others do not.
#[test]
fn a_renewal_holds_up_nobody_but_the_session_itself() {
    check_in_time(
        &[by_token(), AuthenticatorSettings::anonymous("guest")],
        &format!(
            r#"{JOIN} join b
               token $u for 300000 {{"sub":"joe"}}
               verifier waits
               a -> CALL {{}} stentor.session.refresh [$u]
               a -> CALL {{}} wamp.session.count
               b -> CALL {{}} wamp.session.count
               b <- RESULT 1 {{}} [2]
               wait 1000
               verifier judges
               a <- RESULT 1 {{}} *
               a <- RESULT 2 {{}} [2]
               a -> CALL {{}} stentor.session.refresh [$u]
               a is lost
               verifier judges
               b -> CALL {{}} wamp.session.count
               b <- RESULT 2 {{}} [1]"#
        ),
    );
}

/// A renewal that is not judged in time does not keep the session alive, and one that nobody takes
/// is answered.
#[test]
fn the_end_does_not_wait_for_a_renewal() {
    check_in_time(
        &[by_token()],
        &format!(
            r#"{JOIN} token $u for 300000 {{"sub":"joe"}}
               verifier takes 0
               a -> CALL {{}} stentor.session.refresh [$u]
               a <- ERROR 48 1 {{}} wamp.error.authentication_failed ..."#
        ),
    );
    check_in_time(
        &[by_token()],
        &format!(
            r#"{JOIN} token $u for 300000 {{"sub":"joe"}}
               verifier waits
               a -> CALL {{}} stentor.session.refresh [$u]
               a -> CALL {{}} wamp.session.count
               wait 100000
               a <- GOODBYE * stentor.close.token_expired
               verifier judges
               wait 3000
               a <- CLOSED 1008"#
        ),
    );
}

/// Wrong tokens in a renewal count as failed logins do.
#[test]
fn wrong_renewals_are_limited() {
    let limit = |settings: &mut Settings| {
        settings.timeouts.ping_interval_ms = 0;
        settings.limits.login_failures_per_authid = 2;
    };
    check_realm_with(
        |realm| realm.authenticators = vec![by_token()],
        limit,
        &format!(
            r#"{JOIN} a -> CALL {{}} stentor.session.refresh ["eyJ.x.y"]
               a <- ERROR 48 1 {{}} wamp.error.authentication_denied ...
               a -> CALL {{}} stentor.session.refresh ["eyJ.x.y"]
               a <- ERROR 48 2 {{}} wamp.error.authentication_denied ...
               a -> CALL {{}} stentor.session.refresh [$t]
               a <- ERROR 48 3 {{}} wamp.error.authentication_failed ..."#
        ),
    );
}

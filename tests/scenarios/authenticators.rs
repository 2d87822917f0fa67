//! AU-DYN-01: authenticators that are WAMP procedures. `asking.rs` has what their answers mean, as
//! they are those of endpoints; here is how they are asked.

use stentor::authentication::{AuthenticatorSettings, Method};
use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::router::{RealmSettings, Settings};

use super::dialogue::{check_realm, check_realm_with};
use crate::support::public_key_of;

/// In realm1 this procedure decides, and whoever else comes is anonymous. realm2 is for anybody.
fn calling(method: Method) -> impl Fn(&mut RealmSettings) {
    move |realm| {
        let asked = AuthenticatorSettings::calling(method, "com.example.authenticate");
        let anonymous = AuthenticatorSettings::anonymous("guest");
        realm.authenticators = match &*realm.name {
            "realm1" => vec![asked, anonymous],
            _ => vec![anonymous],
        };
    }
}

/// The authenticator `x` is there in realm1.
fn check(method: Method, dialogue: &str) {
    check_with(method, |_| {}, dialogue);
}

fn check_with(method: Method, change: impl Fn(&mut Settings), dialogue: &str) {
    let dialogue = format!("{THERE}\n{dialogue}");
    check_realm_with(calling(method), change, &dialogue);
}

const THERE: &str = "join fully x\nx -> REGISTER {} com.example.authenticate\n\
                     x <- REGISTERED 1 $r";

/// The three arguments, with the id that WELCOME will carry.
#[test]
fn au_dyn_01_a_procedure_is_asked_about_a_ticket() {
    check(
        Method::Ticket,
        r#"a comes from 10.1.2.3:456
           a via websocket
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe",\
               "authrole":"x","authextra":{"k":[1]}}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           x <- INVOCATION 1 $r {} ["realm1","joe",{"session":$s,"authmethod":"ticket",\
                "authextra":{"k":[1]},"authid":"joe","authrole":"x","ticket":"pencil",\
                "transport":{"type":"websocket","protocol":*,"peer":"tcp4:10.1.2.3:456",\
                "http_headers_received":null,"http_headers_sent":null,"cbtid":null,\
                "client_cert":null,"channel_type":"tcp","channel_framing":"websocket",\
                "channel_serializer":*,"channel_id":null,"peer_cert":null,"is_secure":false,\
                "websocket_protocol":*,"http_cbtid":null}}]
           x -> [70, 1, {}, ["user"]]
           a <- WELCOME $s {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"ticket","authprovider":"dynamic","agent":"Stentor","roles":*}
           a -> CALL {} wamp.session.count
           a <- RESULT 1 {} [2]"#,
    );
}

/// A dict chooses; a ticket that it names must be the client's.
#[test]
fn au_dyn_01_a_dict_says_who_it_is_and_where() {
    check(
        Method::Ticket,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           x <- INVOCATION 1 $r {} ["realm1","joe",*]
           x -> [70, 1, {}, [{"role":"user","authid":"jim","realm":"realm2","extra":{"x":1},\
                "ticket":"pencil"}]]
           a <- WELCOME * {"realm":"realm2","authid":"jim","authrole":"user",\
                "authmethod":"ticket","authprovider":"dynamic","agent":"Stentor","roles":*,\
                "authextra":{"x":1}}
           a -> CALL {} wamp.session.count
           a <- RESULT 1 {} [1]
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pen {}
           x <- INVOCATION 2 $r {} ["realm1",null,*]
           x -> [70, 2, {}, [{"role":"user","authid":"jim","ticket":"pencil"}]]
           b <- ABORT * wamp.error.authentication_denied
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           c <- CHALLENGE ticket {}
           c -> AUTHENTICATE pencil {}
           x <- INVOCATION 3 $r {} *
           x -> [70, 3, {}, [{"role":"user","realm":"realm9"}]]
           c <- ABORT * wamp.error.authentication_failed
           c <- CLOSED 1008"#,
    );
}

/// At HELLO, as the answer is what to challenge with.
#[test]
fn au_dyn_01_wampcra_is_asked_about_before_the_challenge() {
    check(
        Method::Wampcra,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           x <- INVOCATION 1 $r {} ["realm1","joe",{"session":$s,"authmethod":"wampcra",\
                "authextra":*,"authid":"joe","authrole":null,"transport":*}]
           x -> [70, 1, {}, [{"role":"user","secret":"pencil","extra":{"x":1}}]]
           a <- CHALLENGE wampcra $x
           prove $p by wampcra joe pencil from $x
           a -> AUTHENTICATE $p {}
           a <- WELCOME $s {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"wampcra","authprovider":"dynamic","agent":"Stentor","roles":*,\
                "authextra":{"x":1}}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, [{"role":"user","secret":"pencil"}]]
           b <- CHALLENGE wampcra $y
           prove $q by wampcra joe pen from $y
           b -> AUTHENTICATE $q {}
           b <- ABORT * wamp.error.authentication_denied
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           x <- INVOCATION 3 $r {} *
           x -> [70, 3, {}, ["user"]]
           c <- ABORT * wamp.error.authentication_failed
           c <- CLOSED 1008"#,
    );
}

#[test]
fn au_dyn_01_cryptosign_is_asked_about_before_the_challenge() {
    let key = public_key_of("joe");
    check(
        Method::Cryptosign,
        &format!(
            r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"],\
                   "authextra":{{"pubkey":"{key}"}}}}
               x <- INVOCATION 1 $r {{}} ["realm1",null,{{"session":$s,"authid":null,\
                    "authmethod":"cryptosign","authextra":{{"pubkey":"{key}"}},\
                    "authrole":null,"transport":*}}]
               x -> [70, 1, {{}}, [{{"role":"user","authid":"joe","pubkey":"{key}"}}]]
               a <- CHALLENGE cryptosign $x
               prove $p by cryptosign joe joe from $x
               a -> AUTHENTICATE $p {{}}
               a <- WELCOME $s {{"realm":"realm1","authid":"joe","authrole":"user",\
                    "authmethod":"cryptosign","authprovider":"dynamic","agent":"Stentor",\
                    "roles":*}}
               b -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"],\
                   "authid":"jim","authextra":{{"pubkey":"{key}"}}}}
               x <- INVOCATION 2 $r {{}} ["realm1","jim",*]
               x -> [70, 2, {{}}, [{{"role":"user","pubkey":"11"}}]]
               b <- ABORT * wamp.error.authentication_failed
               b <- CLOSED 1008"#
        ),
    );
}

/// With the salt, the iterations and the keys of the example in RFC 7677, 3.
#[test]
fn au_dyn_01_scram_is_asked_about_before_the_challenge() {
    check(
        Method::Scram,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wamp-scram"],\
               "authid":"joe","authextra":{"nonce":"egVDf3DMJh0="}}
           x <- INVOCATION 1 $r {} ["realm1","joe",*]
           x -> [70, 1, {}, [{"role":"user","kdf":"pbkdf2","iterations":4096,\
                "salt":"5b6d99689d12358eeca04b141236fa81",\
                "stored-key":"586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6",\
                "server-key":"c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"}]]
           a <- CHALLENGE wamp-scram $x
           prove $p by wamp-scram joe pencil from $x
           a -> AUTHENTICATE $p {"nonce":$nonce}
           a <- WELCOME * {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"wamp-scram","authprovider":"dynamic","agent":"Stentor",\
                "roles":*,"authextra":{"verifier":*}}"#,
    );
}

/// The authenticator of anonymous clients comes by another realm.
#[test]
fn au_dyn_01_anonymous_clients_are_asked_about_in_another_realm() {
    let adapt = |realm: &mut RealmSettings| {
        let mut asked = AuthenticatorSettings::calling(Method::Anonymous, "com.gate");
        asked.procedure_realm = Some("realm2".into());
        realm.authenticators = match &*realm.name {
            "realm1" => vec![asked],
            _ => vec![AuthenticatorSettings::anonymous("guest")],
        };
    };
    check_realm(
        adapt,
        r#"x -> HELLO realm2 {"roles":{"callee":{}}}
           x <- WELCOME * *
           x -> REGISTER {} com.gate
           x <- REGISTERED 1 $r
           a -> HELLO realm1 {"roles":{"caller":{}}}
           x <- INVOCATION 1 $r {} ["realm1",null,{"session":$s,"authmethod":"anonymous",\
                "authextra":*,"authid":null,"authrole":null,"transport":*}]
           x -> [70, 1, {}, ["guest"]]
           a <- WELCOME $s {"realm":"realm1","authid":*,"authrole":"guest",\
                "authmethod":"anonymous","authprovider":"dynamic","agent":"Stentor","roles":*}
           a -> CALL {} com.gate
           a <- ERROR 48 1 {} wamp.error.no_such_procedure *
           b -> HELLO realm1 {"roles":{"caller":{}}}
           x <- INVOCATION 2 $r {} *
           x -> [8, 68, 2, {}, "com.full", ["come later"]]
           b <- ABORT {"message":"come later"} com.full
           b <- CLOSED 1008"#,
    );
}

/// Its own errors are its words to the client; those of the protocol are none.
#[test]
fn au_dyn_01_errors_of_the_authenticator_are_passed_on() {
    let answers = [
        (r#""com.locked", ["paid?"]"#, r#"{"message":"paid?"} com.locked"#),
        (r#""com.locked""#, "{} com.locked"),
        (r#""com.locked", [7], {"ticket":"x"}"#, "{} com.locked"),
        (r#""wamp.error.not_authorized", ["x"]"#, "* wamp.error.authentication_denied"),
        (r#""wamp.error.canceled", ["x"]"#, "* wamp.error.authentication_failed"),
    ];
    for (error, heard) in answers {
        check(
            Method::Ticket,
            &format!(
                r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["ticket"],\
                       "authid":"joe"}}
                   a <- CHALLENGE ticket {{}}
                   a -> AUTHENTICATE pencil {{}}
                   x <- INVOCATION 1 $r {{}} *
                   x -> [8, 68, 1, {{}}, {error}]
                   a <- ABORT {heard}
                   a <- CLOSED 1008"#
            ),
        );
    }
}

/// Whatever is no answer lets nobody in, and denies nobody.
#[test]
fn au_dyn_01_whatever_is_no_answer_fails() {
    let large = format!("[70, 1, {{}}, [{{\"role\":\"user\",\"x\":\"{}\"}}]]", "x".repeat(66_000));
    let answers = [
        "[70, 1, {}]",
        "[70, 1, {}, [1]]",
        "[70, 1, {}, [null]]",
        "[70, 1, {}, [\"\"]]",
        "[70, 1, {}, [true]]",
        "[70, 1, {}, [\"user\", \"user\"]]",
        "[70, 1, {}, [\"user\"], {\"role\":\"user\"}]",
        "[70, 1, {}, [], {\"role\":\"user\"}]",
        "[70, 1, {}, [{}]]",
        "[70, 1, {}, [{\"role\":1}]]",
        "[70, 1, {}, [{\"role\":\"user\",\"extra\":1}]]",
        &large,
    ];
    for answer in answers {
        check(
            Method::Ticket,
            &format!(
                r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["ticket"],\
                       "authid":"joe"}}
                   a <- CHALLENGE ticket {{}}
                   a -> AUTHENTICATE pencil {{}}
                   x <- INVOCATION 1 $r {{}} *
                   x -> {answer}
                   a <- ABORT * wamp.error.authentication_failed
                   a <- CLOSED 1008"#
            ),
        );
    }
}

/// Without a callee nobody waits, and none that leaves is waited for.
#[test]
fn au_dyn_01_without_an_authenticator_a_login_fails_at_once() {
    check(
        Method::Wampcra,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           x <- INVOCATION 1 $r {} *
           x is lost
           a <- ABORT * wamp.error.authentication_failed
           a <- CLOSED 1008
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           b <- ABORT * wamp.error.authentication_failed
           b <- CLOSED 1008
           join y
           y -> REGISTER {} com.example.authenticate
           y <- REGISTERED 1 $q
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           y <- INVOCATION 1 $q {} *
           y -> UNREGISTER $q
           y <- UNREGISTERED 2
           y -> [70, 1, {}, [{"role":"user","secret":"pencil"}]]
           c <- CHALLENGE wampcra *"#,
    );
}

/// Each question has its time, and a login one as a whole (AU-GEN-05).
#[test]
fn au_dyn_01_a_late_answer_is_none() {
    let settings = |settings: &mut Settings| {
        settings.timeouts.ping_interval_ms = 0;
        settings.timeouts.login_ms = 9_000;
    };
    check_with(
        Method::Ticket,
        settings,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           x <- INVOCATION 1 $r {} *
           wait 4999
           wait 1
           x <- INTERRUPT 1 {"mode":"killnowait"}
           a <- ABORT * wamp.error.authentication_failed
           a <- CLOSED 1008
           x -> [70, 1, {}, ["user"]]
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           wait 6000
           b -> AUTHENTICATE pencil {}
           x <- INVOCATION 2 $r {} *
           wait 3000
           x <- INTERRUPT 2 {"mode":"killnowait"}
           b <- ABORT * wamp.error.authentication_failed
           b <- CLOSED 1008"#,
    );
}

/// A client that is parked is not read, so that it has gone is seen when its login ends.
#[test]
fn au_dyn_01_a_client_that_has_gone_leaves_nothing_behind() {
    check(
        Method::Ticket,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           x <- INVOCATION 1 $r {} *
           a is lost
           x -> [70, 1, {}, ["user"]]
           x -> CALL {} wamp.session.count
           x <- RESULT 2 {} [1]
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pencil {}
           x <- INVOCATION 2 $r {} *
           b is lost
           wait 5000
           x <- INTERRUPT 2 {"mode":"killnowait"}
           x -> [70, 2, {}, ["user"]]
           x -> CALL {} wamp.session.count
           x <- RESULT 3 {} [1]"#,
    );
}

/// Nobody else waits, and answers find whom they are about in any order.
#[test]
fn au_dyn_01_a_slow_authenticator_holds_up_nobody_else() {
    check(
        Method::Wampcra,
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           x <- INVOCATION 1 $r {} ["realm1","joe",*]
           join b
           b -> CALL {} wamp.session.count
           b <- RESULT 1 {} [2]
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"jim"}
           x <- INVOCATION 2 $r {} ["realm1","jim",*]
           x -> [70, 2, {}, [{"role":"user","secret":"pen"}]]
           c <- CHALLENGE wampcra $y
           prove $q by wampcra jim pen from $y
           c -> AUTHENTICATE $q {}
           c <- WELCOME * *
           x -> [70, 1, {}, [{"role":"user","secret":"pencil"}]]
           a <- CHALLENGE wampcra $x
           prove $p by wampcra joe pencil from $x
           a -> AUTHENTICATE $p {}
           a <- WELCOME * *"#,
    );
}

/// As many as may be are pending at one procedure, for each shard: `a` and `b` are on the same.
#[test]
fn au_dyn_01_questions_wait_for_their_turn() {
    check_with(
        Method::Ticket,
        |settings| settings.limits.questions_per_procedure = 1,
        r#"at one node: each has its line
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           x <- INVOCATION 1 $r {} *
           a2 connects
           a3 connects
           a4 connects
           a5 connects
           a6 connects
           a7 connects
           a8 connects
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"jim"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pen {}
           x -> CALL {} wamp.session.count
           x <- RESULT 2 {} [1]
           x -> [70, 1, {}, ["user"]]
           a <- WELCOME * *
           x <- INVOCATION 2 $r {} ["realm1","jim",*]
           x -> [70, 2, {}, ["user"]]
           b <- WELCOME * *"#,
    );
}

/// An authenticator's word opens no realm to a role that it does not have, and failures
/// count as those of a users file do.
#[test]
fn au_dyn_01_roles_and_limits_hold() {
    let adapt = |realm: &mut RealmSettings| {
        calling(Method::Ticket)(realm);
        let everything = |name| RoleSettings::new(name, vec![Permission::everything_below("")]);
        let only =
            Permission { uri: "com.x".into(), allow: vec![Action::Call], ..Permission::default() };
        let user = RoleSettings::new("user", vec![only]);
        realm.access = Access::Roles(vec![everything("guest"), user]);
        if let [asked, _] = &mut *realm.authenticators {
            asked.role = Some("user".into());
        }
    };
    let settings = |settings: &mut Settings| settings.limits.login_failures_per_authid = 2;
    let dialogue = r#"
           at one node: each counts failures
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [{}]]
           a <- WELCOME * {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"ticket","authprovider":"dynamic","agent":"Stentor","roles":*}
           a -> CALL {} com.example.authenticate
           a <- ERROR 48 1 {} wamp.error.not_authorized *
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pencil {}
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, ["king"]]
           b <- ABORT * wamp.error.no_such_role
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           c <- CHALLENGE ticket {}
           c -> AUTHENTICATE pen {}
           x <- INVOCATION 3 $r {} *
           x -> [8, 68, 3, {}, "com.no"]
           c <- ABORT * com.no
           c <- CLOSED 1008
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           d <- CHALLENGE ticket {}
           d -> AUTHENTICATE pen {}
           x <- INVOCATION 4 $r {} *
           x -> [8, 68, 4, {}, "wamp.error.no_such_principal"]
           d <- ABORT * wamp.error.authentication_denied
           d <- CLOSED 1008
           e -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           e <- ABORT * wamp.error.authentication_failed
           e <- CLOSED 1008"#;
    check_realm_with(adapt, settings, &format!("{THERE}{dialogue}"));
}

#[test]
fn au_dyn_01_a_shutdown_ends_logins_that_wait() {
    check_realm(
        calling(Method::Ticket),
        r#"a connects
           join x
           x -> REGISTER {} com.example.authenticate
           x <- REGISTERED 1 $r
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           x <- INVOCATION 1 $r {} *
           shutdown
           a <- CLOSED 1001
           x <- GOODBYE {} wamp.close.system_shutdown"#,
    );
}

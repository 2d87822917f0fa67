//! Event history (requirements 2.3.8). The clock stands at 12:00:01 on 2024-05-01 at the start.

use stentor::router::{HistoryAnswer, HistorySettings, HistoryStore, RealmSettings};
use stentor::wamp::MatchPolicy;

use super::dialogue::{check, check_realm, check_realm_with};

/// Keeps the events of `com.x`, of everything below `log.`, and of `a..c`. Their ids are 1 to 3.
fn histories(realm: &mut RealmSettings) {
    let history = |topic: &str, policy| HistorySettings {
        topic: topic.into(),
        policy,
        ..HistorySettings::default()
    };
    realm.histories = match &*realm.name {
        "realm1" => vec![
            history("com.x", MatchPolicy::Exact),
            history("log.", MatchPolicy::Prefix),
            history("a..c", MatchPolicy::Wildcard),
        ],
        _ => Vec::new(),
    };
}

fn durable(realm: &mut RealmSettings) {
    histories(realm);
    realm.histories.iter_mut().for_each(|history| history.store = HistoryStore::Durable);
}

/// AP-HIS-01: the subscription is there before its first subscriber and after its last.
#[test]
fn ap_his_01_a_pattern_with_history_is_a_subscription_that_stays() {
    check_realm(
        histories,
        r#"join a b
           a -> PUBLISH {} com.x [1]
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 1
           b -> SUBSCRIBE {"match":"prefix"} log.
           b <- SUBSCRIBED 2 2
           b -> UNSUBSCRIBE 1
           b <- UNSUBSCRIBED 3
           a -> PUBLISH {} com.x [2]
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 4 1
           a -> PUBLISH {} com.x [3]
           b <- EVENT 1 * {} [3]
           b asks 1 {} and gets [1] [2] [3] complete
           b asks 2 {} and gets complete"#,
    );
}

/// AP-HIS-01: the example of the specification, and the one event of three subscriptions.
#[test]
fn ap_his_01_every_matching_history_has_the_event() {
    check_realm(
        |realm| {
            let history = |topic: &str, policy| HistorySettings {
                topic: topic.into(),
                policy,
                ..HistorySettings::default()
            };
            realm.histories = vec![
                history("com.mycompany.log.auth", MatchPolicy::Exact),
                history("com.mycompany.log.basket", MatchPolicy::Exact),
                history("com.mycompany.log", MatchPolicy::Prefix),
            ];
        },
        r#"join a b
           a -> PUBLISH {} com.mycompany.log.auth [1]
           a -> PUBLISH {} com.mycompany.log.basket [2]
           b -> PUBLISH {} com.mycompany.log.basket [3]
           a -> PUBLISH {} com.mycompany.log.basket [4]
           a -> PUBLISH {} com.mycompany.log.checkout [5]
           b asks 1 {} and gets [1] complete
           b asks 2 {} and gets [2] [3] [4] complete
           b asks 3 {} and gets [1] [2] [3] [4] [5] complete"#,
    );
}

/// AP-HIS-01: a history holds so many events, and its answers say that some went.
#[test]
fn ap_his_01_a_history_is_bounded() {
    check_realm(
        |realm| {
            histories(realm);
            for history in &mut realm.histories {
                history.events = Some(2);
                history.age_ms = Some(5_000);
            }
        },
        r#"join a
           a -> PUBLISH {} com.x [1]
           a -> PUBLISH {} com.x [2]
           wait 2000
           a -> PUBLISH {} com.x [3]
           a asks 1 {} and gets [2] [3]
           a asks 1 {"from_time":"2024-05-01T12:00:03Z"} and gets [3] complete
           wait 3500
           a asks 1 {} and gets [3]
           wait 6000
           a asks 1 {} and gets"#,
    );
}

/// AP-HIS-02
#[test]
fn ap_his_02_what_is_announced_can_be_called() {
    check_realm(
        histories,
        r#"join a
           a sees broker event_history
           a asks 1 {} and gets complete
           a -> GOODBYE {} wamp.close.normal
           a <- GOODBYE * *
           a -> HELLO realm2 {"roles":{"caller":{}}}
           a <- WELCOME * *
           a -> CALL {} wamp.subscription.get_events [1]
           a <- ERROR 48 1 {} wamp.error.no_such_procedure ..."#,
    );
    check("join a\na sees no broker event_history");
}

/// AP-HIS-03: each filter, and all of them together.
#[test]
fn ap_his_03_filters_are_conditions() {
    check_realm(
        histories,
        r#"join a b
           a -> PUBLISH {"acknowledge":true} log.a [1]
           a <- PUBLISHED 1 $p1
           wait 1000
           a -> PUBLISH {"acknowledge":true} log.b [2]
           a <- PUBLISHED 2 $p2
           wait 1000
           a -> PUBLISH {"acknowledge":true} log.a [3]
           a <- PUBLISHED 3 $p3
           wait 1000
           a -> PUBLISH {"acknowledge":true} log.b [4]
           a <- PUBLISHED 4 $p4
           b asks 2 {"reverse":true} and gets [4] [3] [2] [1] complete
           b asks 2 {"limit":2} and gets [1] [2] complete, more
           b asks 2 {"limit":2,"reverse":true} and gets [4] [3] complete, more
           b asks 2 {"limit":4} and gets [1] [2] [3] [4] complete
           b asks 2 {"topic":"log.b"} and gets [2] [4] complete
           b asks 2 {"topic":"log.c"} and gets complete
           b asks 2 {"from_time":"2024-05-01T12:00:03.000Z"} and gets [3] [4] complete
           b asks 2 {"after_time":"2024-05-01T14:00:03.000+02:00"} and gets [4] complete
           b asks 2 {"before_time":"2024-05-01T12:00:03Z"} and gets [1] [2] complete
           b asks 2 {"until_time":"2024-05-01T12:00:03Z"} and gets [1] [2] [3] complete
           b asks 2 {"from_publication":$p2} and gets [2] [3] [4] complete
           b asks 2 {"after_publication":$p2} and gets [3] [4] complete
           b asks 2 {"before_publication":$p2} and gets [1] complete
           b asks 2 {"until_publication":$p2} and gets [1] [2] complete
           b asks 2 {"from_publication":7} and gets
           b asks 2 {"until_publication":7,"limit":null} and gets [1] [2] [3] [4] complete
           b asks 2 {"after_publication":$p1,"until_publication":$p4,"topic":"log.b",\
                     "before_time":"2024-05-01T12:00:04Z","reverse":true} and gets [2] complete"#,
    );
}

/// AP-HIS-04
#[test]
fn ap_his_04_an_event_is_shown_whole() {
    check_realm(
        histories,
        r#"join a
           join fully b
           b -> PUBLISH {"acknowledge":true,"disclose_me":true} log.x [1,{"a":[null]}] {"k":2.5}
           b <- PUBLISHED 1 $p
           wait 500
           b -> PUBLISH {"acknowledge":true,"ppt_scheme":"mqtt"} log.y
           b <- PUBLISHED 2 $q
           a -> CALL {} wamp.subscription.get_events [2]
           a <- RESULT 1 {} [\
             {"timestamp":"2024-05-01T12:00:01.000Z","subscription":2,"publication":$p,\
              "details":{"publisher":$id_b,"publisher_authid":$authid_b,\
                         "publisher_authrole":"anonymous","topic":"log.x"},\
              "args":[1,{"a":[null]}],"kwargs":{"k":2.5}},\
             {"timestamp":"2024-05-01T12:00:01.500Z","subscription":2,"publication":$q,\
              "details":{"ppt_scheme":"mqtt","topic":"log.y"}}] \
             {"complete":true,"is_limit_reached":false}
           a -> CALL {} wamp.subscription.get_events [1]
           a <- RESULT 2 {} [] {"complete":true,"is_limit_reached":false}"#,
    );
}

/// AP-HIS-04: the other reading, for clients that unpack a single argument.
#[test]
fn ap_his_04_the_events_may_be_one_argument() {
    check_realm(
        |realm| {
            histories(realm);
            realm.history_answer = HistoryAnswer::List;
        },
        r#"join a
           a -> PUBLISH {"acknowledge":true} com.x [1]
           a <- PUBLISHED 1 $p
           a -> CALL {} wamp.subscription.get_events [1]
           a <- RESULT 2 {} [[{"timestamp":"2024-05-01T12:00:01.000Z","subscription":1,\
             "publication":$p,"details":{},"args":[1]}]] \
             {"complete":true,"is_limit_reached":false}"#,
    );
}

/// Clients of crossbar ask for the newest, by position, and unpack a list.
#[test]
fn ap_his_04_clients_of_crossbar_get_what_it_gives() {
    check_realm(
        |realm| {
            histories(realm);
            realm.history_answer = HistoryAnswer::Crossbar;
        },
        r#"join a
           a -> PUBLISH {"acknowledge":true} com.x [1]
           a <- PUBLISHED 1 $p
           a -> PUBLISH {"acknowledge":true} com.x [2]
           a <- PUBLISHED 2 $q
           a -> CALL {} wamp.subscription.get_events [1]
           a <- RESULT 3 {} [[{"timestamp":"2024-05-01T12:00:01.000Z","subscription":1,\
             "publication":$q,"details":{},"topic":"com.x","args":[2]},\
             {"timestamp":"2024-05-01T12:00:01.000Z","subscription":1,\
             "publication":$p,"details":{},"topic":"com.x","args":[1]}]]
           a -> CALL {} wamp.subscription.get_events [1,1]
           a <- RESULT 4 {} [[{"timestamp":"2024-05-01T12:00:01.000Z","subscription":1,\
             "publication":$q,"details":{},"topic":"com.x","args":[2]}]]
           a -> CALL {} wamp.subscription.get_events [1,0]
           a <- ERROR 48 5 {} wamp.error.invalid_argument ...
           a -> CALL {} wamp.subscription.get_events [1] {"limit":1}
           a <- RESULT 6 {} [[{"timestamp":"2024-05-01T12:00:01.000Z","subscription":1,\
             "publication":$p,"details":{},"args":[1]}]] \
             {"complete":true,"is_limit_reached":true}"#,
    );
}

/// AP-HIS-05: what is no history, and what is no request.
#[test]
fn ap_his_05_errors() {
    let mut dialogue = r#"join a b
        b -> SUBSCRIBE {} com.other
        b <- SUBSCRIBED 1 $s
        a asks $s {} and gets
        a -> CALL {} wamp.subscription.get_events [999]
        a <- ERROR 48 2 {} wamp.error.no_such_subscription ...
        "#
    .to_owned();
    let bad = [
        "",
        "[]",
        r#"["1"]"#,
        "[0]",
        r#"[1] {"limit":0}"#,
        r#"[1] {"limit":"2"}"#,
        r#"[1] {"reverse":1}"#,
        r#"[1] {"from_time":"yesterday"}"#,
        r#"[1] {"until_time":1714564800}"#,
        r#"[1] {"topic":5}"#,
        r#"[1] {"after_publication":-1}"#,
        r#"[1] {"from_publication":"1"}"#,
    ];
    for (request, arguments) in (3..).zip(bad) {
        dialogue += &format!(
            "a -> CALL {{}} wamp.subscription.get_events {arguments}\n\
             a <- ERROR 48 {request} {{}} wamp.error.invalid_argument ...\n"
        );
    }
    check_realm(histories, &dialogue);
}

/// AP-HIS-06: lists of sessions keep an event out, lists of names decide who reads it, and the
/// publisher reads its own.
#[test]
fn ap_his_06_who_may_read_what() {
    check_realm(
        histories,
        r#"join a b c
           a -> PUBLISH {"exclude":[]} com.x [1]
           a -> PUBLISH {"eligible":[$id_b,$id_c]} com.x [2]
           a -> PUBLISH {"eligible_authid":[$authid_b]} com.x [3]
           a -> PUBLISH {"exclude_authid":[$authid_b]} com.x [4]
           a -> PUBLISH {"exclude_authrole":["anonymous"]} com.x [5]
           a -> PUBLISH {"exclude_me":true} com.x [6]
           a asks 1 {} and gets [4] [6] complete
           b asks 1 {} and gets [3] [6] complete
           c asks 1 {"limit":1} and gets [4] complete, more
           c asks 1 {"reverse":true,"limit":2} and gets [6] [4] complete"#,
    );
}

/// AP-HIS-06: a refused publication leaves nothing behind.
#[test]
fn ap_his_06_what_is_refused_is_not_kept() {
    check_realm(
        histories,
        r#"join a
           a -> PUBLISH {} log..x [1]
           a -> PUBLISH {} wamp.x [2]
           a asks 2 {} and gets complete"#,
    );
}

/// AP-HIS-07: a large history is read page by page, in either direction.
#[test]
fn ap_his_07_pages() {
    check_realm_with(
        histories,
        |settings| settings.limits.history_answer_events = 2,
        r#"join a
           a -> PUBLISH {"acknowledge":true} com.x [1]
           a <- PUBLISHED 1 *
           a -> PUBLISH {"acknowledge":true} com.x [2]
           a <- PUBLISHED 2 $p2
           a -> PUBLISH {"acknowledge":true} com.x [3]
           a <- PUBLISHED 3 *
           a -> PUBLISH {"acknowledge":true} com.x [4]
           a <- PUBLISHED 4 $p4
           a -> PUBLISH {} com.x [5]
           a asks 1 {"limit":100} and gets [1] [2] complete, more
           a asks 1 {"after_publication":$p2} and gets [3] [4] complete, more
           a asks 1 {"after_publication":$p4} and gets [5] complete
           a asks 1 {"reverse":true} and gets [5] [4] complete, more
           a asks 1 {"reverse":true,"before_publication":$p4} and gets [3] [2] complete, more
           a asks 1 {"reverse":true,"before_publication":$p2} and gets [1] complete"#,
    );
}

/// AP-HIS-07: an answer fits what the requester's transport takes; at least one event comes. What
/// is too large for it is left out, and then the answer is not complete.
#[test]
fn ap_his_07_an_answer_fits_its_requester() {
    let text = "x".repeat(700);
    let dialogue = r#"a via rawsocket 2048
           join a b
           b -> PUBLISH {} com.x ["TEXT"]
           b -> PUBLISH {} com.x ["TEXT"]
           b -> PUBLISH {} com.x ["TEXTTEXTTEXTTEXTTEXT"]
           b -> PUBLISH {"acknowledge":true} com.x ["TEXT"]
           b <- PUBLISHED 4 $p4
           b -> PUBLISH {} com.x [5]
           a asks 1 {} and gets ["TEXT"] ["TEXT"] more
           a asks 1 {"reverse":true} and gets [5] ["TEXT"] ["TEXT"] more
           a asks 1 {"after_publication":$p4} and gets [5] complete
           b asks 1 {"limit":4} and gets ["TEXT"] ["TEXT"] ["TEXTTEXTTEXTTEXTTEXT"] \
             ["TEXT"] complete, more"#;
    check_realm(histories, &dialogue.replace("TEXT", &text));
    check_realm_with(
        histories,
        |settings| settings.limits.history_answer_bytes = 1,
        r#"join a
           a -> PUBLISH {} com.x [1]
           a -> PUBLISH {} com.x [2]
           a asks 1 {} and gets [1] complete, more"#,
    );
}

/// An acknowledged publication of a durable history is answered once it is stored; nobody waits
/// for anybody else.
#[test]
fn a_durable_history_acknowledges_what_is_stored() {
    check_realm(
        durable,
        r#"join a b
           store waits
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 1
           a -> PUBLISH {"acknowledge":true} com.x [1]
           a -> PUBLISH {"acknowledge":true} com.y [2]
           a <- PUBLISHED 2 *
           a -> PUBLISH {} com.x [3]
           b <- EVENT 1 $p {} [1]
           b <- EVENT 1 * {} [3]
           b asks 1 {} and gets [1] [3] complete
           store saves
           a <- PUBLISHED 1 $p
           a -> PUBLISH {"acknowledge":true} com.x [4]
           b <- EVENT 1 $q {} [4]
           store fails
           a <- ERROR 16 4 {} wamp.error.canceled ...
           a -> PUBLISH {"acknowledge":true} com.x [5]
           b <- EVENT 1 * {} [5]
           a -> GOODBYE {} wamp.close.normal
           a <- GOODBYE * *
           join a
           store saves"#,
    );
}

/// AP-RET-03 promises nothing; `storage.retained` does.
#[test]
fn a_durable_retained_event_is_acknowledged_when_it_is_stored() {
    check_realm_with(
        |_| {},
        |settings| settings.durable_retained = true,
        r#"join a b
           store waits
           a -> PUBLISH {"acknowledge":true,"retain":true} com.x [1]
           a -> PUBLISH {"acknowledge":true} com.x [2]
           a <- PUBLISHED 2 *
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s $p {"retained":true} [1]
           store saves
           a <- PUBLISHED 1 $p"#,
    );
}

/// Who asks for more than it reads is not disconnected for it: the answers get shorter, and further
/// requests wait.
#[test]
fn answers_leave_room_in_the_queue() {
    let text = "x".repeat(4_000);
    let dialogue = r#"join a b
        b -> PUBLISH {} com.x ["TEXT"]
        b -> PUBLISH {} com.x ["TEXT"]
        b -> PUBLISH {} com.x ["TEXT"]
        a stalls
        a -> CALL {} wamp.subscription.get_events [1]
        a -> CALL {} wamp.subscription.get_events [1]
        a -> CALL {} wamp.subscription.get_events [1]
        a -> CALL {} wamp.subscription.get_events [1]
        a reads
        a <- RESULT 1 {} [EVENT] {"complete":true,"is_limit_reached":true}
        a <- RESULT 2 {} [EVENT] {"complete":true,"is_limit_reached":true}
        a <- RESULT 3 {} [EVENT] {"complete":true,"is_limit_reached":true}
        a <- RESULT 4 {} [EVENT] {"complete":true,"is_limit_reached":true}
        a asks 1 {"limit":1} and gets ["TEXT"] complete, more"#;
    let event = r#"{"timestamp":"2024-05-01T12:00:01.000Z","subscription":1,"publication":$p,\
        "details":{},"args":["TEXT"]}"#;
    let acknowledged = "b -> PUBLISH {\"acknowledge\":true} com.x [\"TEXT\"]\nb <- PUBLISHED 1 $p";
    let dialogue = dialogue.replacen("b -> PUBLISH {} com.x [\"TEXT\"]", acknowledged, 1);
    check_realm_with(
        histories,
        |settings| {
            settings.output.hard_bytes = 16_384;
            settings.output.soft_bytes = 16_384;
        },
        &dialogue.replace("EVENT", event).replace("TEXT", &text),
    );
}

/// AP-HIS-01, AP-SUA: a history is a subscription of the meta API, created with the router. It
/// hears, but does not listen: no meta event is made for it or by it.
#[test]
fn ap_his_01_a_history_is_seen_by_the_meta_api() {
    check_realm(
        histories,
        r#"join a b
           a -> CALL {} wamp.subscription.lookup ["log.",{"match":"prefix"}]
           a <- RESULT 1 {} [2]
           a -> CALL {} wamp.subscription.get [2]
           a <- RESULT 2 {} [{"id":2,"created":*,"uri":"log.","match":"prefix"}]
           a -> CALL {} wamp.subscription.count_subscribers [2]
           a <- RESULT 3 {} [0]
           a -> CALL {} wamp.subscription.list_subscribers [2]
           a <- RESULT 4 {} [[]]
           a -> SUBSCRIBE {"match":"prefix"} wamp.subscription.
           a <- SUBSCRIBED 5 $m
           a <- EVENT $m * {"topic":"wamp.subscription.on_create"} *
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} [$id_a,$m]
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 1
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} [$id_b,1]
           a -> CALL {} wamp.subscription.list_subscribers [1]
           a <- RESULT 6 {} [[$id_b]]
           b is lost
           a <- EVENT $m * {"topic":"wamp.subscription.on_unsubscribe"} [$id_b,1]"#,
    );
}

/// AP-META-01: meta events are in no history, also if its pattern is wide enough.
#[test]
fn ap_meta_01_meta_events_are_in_no_history() {
    check_realm(
        |realm| {
            realm.histories = vec![HistorySettings {
                topic: String::new(),
                policy: MatchPolicy::Prefix,
                ..HistorySettings::default()
            }];
        },
        r#"join a
           a -> SUBSCRIBE {} wamp.session.on_join
           a <- SUBSCRIBED 1 $j
           join b
           a <- EVENT $j * {} *
           b -> PUBLISH {} com.x [1]
           a asks 1 {} and gets [1] complete"#,
    );
}

/// AP-TES-01: a testament is in the history like any other event, also in a durable one.
#[test]
fn ap_tes_01_a_testament_enters_histories() {
    for histories in [histories, durable] {
        check_realm(
            histories,
            r#"join a b
               b -> CALL {} wamp.session.add_testament ["com.x",[1],{}]
               b <- RESULT 1 {}
               b is lost
               a asks 1 {} and gets [1] complete"#,
        );
    }
}

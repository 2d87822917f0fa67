//! Small dialogues with the core: what it says, what it makes of answers, and what a hostile router
//! gets.

use super::*;
use stentor_protocol::codec::client::decode;
use stentor_protocol::wamp::CancelMode;

/// A core whose session has begun.
fn joined() -> Core {
    let mut core = Core::new(Codec::Json, Limits::default());
    core.hello("realm1", Dict::new()).unwrap();
    sent(&mut core);
    hear(&mut core, r#"[2,7,{"authid":"joe"}]"#, |happening| {
        assert!(matches!(happening, Ok(Happening::Joined { .. })));
    });
    core
}

/// What the core has to send next.
fn sent(core: &mut Core) -> String {
    String::from_utf8(core.take_message().expect("there is a message")).unwrap()
}

/// What the core makes of a message of the router.
#[track_caller]
fn hear(core: &mut Core, text: &str, check: impl FnOnce(Result<Happening<'_>, Violation>)) {
    let message = decode(Codec::Json, text.as_bytes(), core.limits().decode()).unwrap();
    check(core.handle(message));
}

/// The same, if it is nothing.
#[track_caller]
fn ignores(core: &mut Core, text: &str) {
    hear(core, text, |happening| {
        assert!(matches!(happening, Ok(Happening::Nothing)), "{happening:?}");
    });
}

/// A message that ends the session; the router is told why.
#[track_caller]
fn refuses(core: &mut Core, text: &str, why: &str) {
    hear(core, text, |happening| {
        let violation = happening.expect_err("it breaks the protocol").to_string();
        assert!(violation.contains(why), "{violation}");
    });
    let abort = sent(core);
    assert!(abort.starts_with("[3,{\"message\":\"the router has "), "{abort}");
    assert!(abort.ends_with("\"wamp.error.protocol_violation\"]"), "{abort}");
    ignores(core, "[36,1,1,{}]");
}

fn subscribe(core: &mut Core, id: u64) {
    core.subscribe("com.x", &Dict::new()).unwrap();
    let text = sent(core);
    let request: u64 = text.split(',').nth(1).unwrap().parse().unwrap();
    hear(core, &format!("[33,{request},{id}]"), |happening| {
        assert!(matches!(happening, Ok(Happening::Subscribed { .. })));
    });
}

#[test]
fn hello_names_all_roles() {
    let mut core = Core::new(Codec::Json, Limits::default());
    core.hello("realm1", vec![("authid".into(), "joe".into())]).unwrap();
    let hello = sent(&mut core);
    assert!(hello.starts_with(r#"[1,"realm1",{"authid":"joe","roles":{"caller""#), "{hello}");
    for role in ["caller", "callee", "publisher", "subscriber"] {
        assert!(hello.contains(&format!("\"{role}\":{{\"features\"")), "{role}");
    }
}

#[test]
fn requests_are_numbered_without_holes() {
    let mut core = joined();
    let none = Dict::new();
    core.publish("com.x", &none, Payload::Empty).unwrap();
    assert_eq!(sent(&mut core), r#"[16,1,{},"com.x"]"#);
    assert!(core.subscribe("com..x", &none).is_err(), "no URI");
    assert!(core.call("", &none, Payload::Empty).is_err(), "no URI");
    core.call("com.y", &none, Payload::Empty).unwrap();
    assert_eq!(sent(&mut core), r#"[48,2,{},"com.y"]"#, "what was refused has used up no id");
    let wildcard = vec![("match".into(), "wildcard".into())];
    core.register("com..x", &wildcard).unwrap();
    assert_eq!(sent(&mut core), r#"[64,3,{"match":"wildcard"},"com..x"]"#);
    assert_eq!(core.waiting(), 2, "a publication without acknowledgement has no answer");
}

#[test]
fn a_message_that_is_too_long_is_not_sent() {
    let mut core = joined();
    core.limit_messages(100);
    let args = format!("[\"{}\"]", "x".repeat(100));
    let payload = Payload::Raw { codec: Codec::Json, args: args.as_bytes(), kwargs: None };
    let error = core.call("com.x", &Dict::new(), payload).unwrap_err();
    assert!(matches!(error, UsageError::Unsendable(_)), "{error}");
    assert!(core.take_message().is_none());
    assert_eq!(core.call("com.x", &Dict::new(), Payload::Empty), Ok(RequestId::FIRST));
}

#[test]
fn answers_belong_to_their_requests() {
    let mut core = joined();
    subscribe(&mut core, 5);
    core.call("com.y", &Dict::new(), Payload::Empty).unwrap();
    sent(&mut core);
    ignores(&mut core, "[50,1,{}]");
    ignores(&mut core, "[17,9,9]");
    ignores(&mut core, r#"[8,48,77,{},"com.e"]"#);
    hear(&mut core, r#"[8,48,2,{},"com.e",[1]]"#, |happening| {
        let Ok(Happening::Failed { error, .. }) = happening else { panic!("{happening:?}") };
        assert_eq!(error, "com.e");
    });
    ignores(&mut core, r#"[8,48,2,{},"com.e",[1]]"#);
    assert_eq!(core.waiting(), 0);
}

#[test]
fn an_answer_of_another_kind_ends_the_session() {
    let mut core = joined();
    core.call("com.y", &Dict::new(), Payload::Empty).unwrap();
    sent(&mut core);
    refuses(&mut core, "[33,1,5]", "answered request 1 with SUBSCRIBED");
    let mut core = joined();
    core.call("com.y", &Dict::new(), Payload::Empty).unwrap();
    sent(&mut core);
    refuses(&mut core, r#"[8,32,1,{},"com.e"]"#, "answered request 1 with ERROR");
}

#[test]
fn a_session_begins_once() {
    refuses(&mut joined(), "[2,8,{}]", "sent WELCOME in a session that has begun");
    refuses(&mut joined(), r#"[4,"ticket",{}]"#, "sent CHALLENGE in a session");
    let mut core = Core::new(Codec::Json, Limits::default());
    core.hello("realm1", Dict::new()).unwrap();
    sent(&mut core);
    refuses(&mut core, "[36,1,1,{}]", "sent EVENT before WELCOME");
}

#[test]
fn events_come_for_what_is_subscribed() {
    let mut core = joined();
    ignores(&mut core, "[36,5,1,{}]");
    subscribe(&mut core, 5);
    hear(&mut core, r#"[36,5,1,{"publisher":3},[1]]"#, |happening| {
        assert!(matches!(happening, Ok(Happening::Event { .. })));
    });
    core.unsubscribe(SubscriptionId::new(5).unwrap()).unwrap();
    assert_eq!(sent(&mut core), "[34,2,5]");
    ignores(&mut core, "[36,5,2,{}]");
    subscribe(&mut core, 6);
    hear(&mut core, r#"[35,0,{"subscription":6,"reason":"x"}]"#, |happening| {
        assert!(matches!(happening, Ok(Happening::Revoked { .. })));
    });
    ignores(&mut core, "[36,6,2,{}]");
    ignores(&mut core, r#"[35,0,{"subscription":6}]"#);
    ignores(&mut core, "[35,0,{}]");
}

#[test]
fn progress_comes_only_where_it_was_asked_for() {
    let mut core = joined();
    let wants = vec![("receive_progress".into(), true.into())];
    core.call("com.y", &wants, Payload::Empty).unwrap();
    core.call("com.y", &Dict::new(), Payload::Empty).unwrap();
    for _ in 0..10_000 {
        hear(&mut core, r#"[50,1,{"progress":true},[1]]"#, |happening| {
            assert!(matches!(happening, Ok(Happening::Progress { .. })));
        });
        ignores(&mut core, r#"[50,2,{"progress":true},[1]]"#);
    }
    assert_eq!(core.waiting(), 2, "a flood of progress keeps nothing");
    hear(&mut core, "[50,1,{},[1]]", |happening| {
        assert!(matches!(happening, Ok(Happening::Result { .. })));
    });
    ignores(&mut core, r#"[50,1,{"progress":true},[1]]"#);
}

#[test]
fn a_call_is_canceled_while_it_waits() {
    let mut core = joined();
    let call = core.call("com.y", &Dict::new(), Payload::Empty).unwrap();
    sent(&mut core);
    core.cancel(call, CancelMode::KillNoWait);
    assert_eq!(sent(&mut core), r#"[49,1,{"mode":"killnowait"}]"#);
    hear(&mut core, r#"[8,48,1,{},"wamp.error.canceled"]"#, |happening| {
        assert!(matches!(happening, Ok(Happening::Failed { .. })));
    });
    core.cancel(call, CancelMode::Kill);
    assert!(core.take_message().is_none(), "it is over");
}

#[test]
fn invocations_are_answered_once() {
    let mut core = joined();
    core.register("com.y", &Dict::new()).unwrap();
    sent(&mut core);
    hear(&mut core, "[65,1,9]", |_| {});
    hear(&mut core, "[68,4,9,{},[1]]", |happening| {
        assert!(matches!(happening, Ok(Happening::Invoked { is_first: true, more: false, .. })));
    });
    let request = RequestId::new(4).unwrap();
    let progress = vec![("progress".into(), true.into())];
    assert_eq!(core.yield_result(request, &progress, Payload::Empty), Ok(true));
    assert_eq!(sent(&mut core), r#"[70,4,{"progress":true}]"#);
    assert_eq!(core.yield_result(request, &Dict::new(), Payload::Empty), Ok(true));
    assert_eq!(sent(&mut core), "[70,4,{}]");
    assert_eq!(core.yield_error(request, "com.e", Payload::Empty), Ok(false));
    ignores(&mut core, "[69,4,{}]");
    assert!(core.take_message().is_none());
}

/// The router has not heard of it before it says so.
#[test]
fn invocations_come_until_the_router_says_that_it_is_over() {
    let mut core = joined();
    core.register("com.y", &Dict::new()).unwrap();
    hear(&mut core, "[65,1,9]", |_| {});
    core.unregister(RegistrationId::new(9).unwrap()).unwrap();
    while core.take_message().is_some() {}
    hear(&mut core, "[68,4,9,{}]", |happening| {
        assert!(matches!(happening, Ok(Happening::Invoked { is_first: true, .. })));
    });
    hear(&mut core, "[67,2]", |happening| {
        assert!(matches!(happening, Ok(Happening::Unregistered { .. })));
    });
    ignores(&mut core, "[68,5,9,{}]");
    assert_eq!(sent(&mut core), r#"[8,68,5,{},"wamp.error.no_such_registration"]"#);
}

/// Their callers wait, so they hear of it.
#[test]
fn invocations_of_nobody_and_too_many_are_refused() {
    let limits = Limits { invocations: 1, ..Limits::default() };
    let mut core = Core { limits, ..joined() };
    ignores(&mut core, "[68,1,9,{}]");
    assert_eq!(sent(&mut core), r#"[8,68,1,{},"wamp.error.no_such_registration"]"#);
    core.register("com.y", &Dict::new()).unwrap();
    sent(&mut core);
    hear(&mut core, "[65,1,9]", |_| {});
    hear(&mut core, r#"[68,2,9,{"progress":true}]"#, |_| {});
    ignores(&mut core, "[68,3,9,{}]");
    assert_eq!(sent(&mut core), r#"[8,68,3,{},"wamp.error.resource_limit"]"#);
    hear(&mut core, "[68,2,9,{}]", |happening| {
        assert!(matches!(happening, Ok(Happening::Invoked { is_first: false, more: false, .. })));
    });
    hear(&mut core, "[69,2,{}]", |happening| {
        assert!(matches!(happening, Ok(Happening::Interrupted { .. })));
    });
}

#[test]
fn requests_that_are_never_answered_have_a_bound() {
    let limits = Limits { requests: 2, ..Limits::default() };
    let mut core = Core { limits, ..joined() };
    for _ in 0..2 {
        core.call("com.y", &Dict::new(), Payload::Empty).unwrap();
    }
    let error = core.call("com.y", &Dict::new(), Payload::Empty).unwrap_err();
    assert_eq!(error, UsageError::TooManyRequests { most: 2 });
    core.publish("com.x", &Dict::new(), Payload::Empty).unwrap();
}

#[test]
fn goodbye_is_answered_or_is_the_answer() {
    let mut core = joined();
    hear(&mut core, r#"[6,{"message":"m"},"wamp.close.system_shutdown"]"#, |happening| {
        let Ok(Happening::Closed { reason, message }) = happening else { panic!("{happening:?}") };
        assert_eq!((&*reason, &*message), ("wamp.close.system_shutdown", "m"));
    });
    assert_eq!(sent(&mut core), r#"[6,{},"wamp.close.goodbye_and_out"]"#);
    assert_eq!(core.call("com.y", &Dict::new(), Payload::Empty), Err(UsageError::Ended));
    let mut core = joined();
    core.goodbye("wamp.close.normal").unwrap();
    sent(&mut core);
    hear(&mut core, r#"[6,{},"wamp.close.goodbye_and_out"]"#, |happening| {
        assert!(matches!(happening, Ok(Happening::Left)));
    });
    assert!(core.take_message().is_none(), "an answer has no answer");
}

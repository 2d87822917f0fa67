//! How fast a session may send: who sends more waits, in order, or is ended.

use stentor::authorization::{Access, Action, OverRate, Permission, RoleSettings};
use stentor::router::RealmSettings;
use stentor::wamp::MatchPolicy::Prefix;

use super::authorizers::ask;
use super::dialogue::{check_realm, check_realm_with};

/// The role of everybody, which may do everything, at a rate.
fn role(limit: impl Fn(&mut RoleSettings)) -> impl Fn(&mut RealmSettings) {
    move |realm| {
        let mut role = RoleSettings::new("anonymous", vec![Permission::everything_below("")]);
        limit(&mut role);
        realm.access = Access::Roles(vec![role]);
    }
}

#[test]
fn who_sends_too_many_messages_is_read_later() {
    check_realm(
        role(|role| (role.messages_per_second, role.messages_burst) = (1, 2)),
        "join a b
         b -> SUBSCRIBE {} com.x
         b <- SUBSCRIBED 1 $s
         a -> PUBLISH {} com.x [1]
         b <- EVENT $s * {} [1]
         a -> PUBLISH {} com.x [2]
         b <- EVENT $s * {} [2]
         a -> PUBLISH {} com.x [3]
         a -> PUBLISH {} com.x [4]
         wait 999
         wait 1
         b <- EVENT $s * {} [3]
         wait 999
         wait 1
         b <- EVENT $s * {} [4]
         wait 5000
         a -> PUBLISH {} com.x [5]
         b <- EVENT $s * {} [5]
         a -> PUBLISH {} com.x [6]
         b <- EVENT $s * {} [6]
         wait 5000",
    );
}

/// The one that an authorizer has decided about was sent in time; those behind it were not.
#[test]
fn what_waits_for_an_authorizer_does_not_wait_for_the_rate_as_well() {
    check_realm(
        role(|role| {
            (role.messages_per_second, role.messages_burst) = (1, 2);
            role.permissions.push(ask("com.asked.", Prefix, &[Action::Publish]));
        }),
        "join x a b
         x -> REGISTER {} com.auth
         x <- REGISTERED 1 $r
         b -> SUBSCRIBE {} com.asked.t
         b <- SUBSCRIBED 1 $s
         a -> PUBLISH {} com.free
         a -> PUBLISH {} com.asked.t [1]
         a -> PUBLISH {} com.asked.t [2]
         x <- INVOCATION 1 $r {} *
         x -> [70, 1, {}, [true]]
         b <- EVENT $s * {} [1]
         wait 999
         wait 1
         x <- INVOCATION 2 $r {} *
         wait 1000
         x -> [70, 2, {}, [true]]
         b <- EVENT $s * {} [2]
         wait 5000",
    );
}

/// Those beside it do not wait, and what it gets does not either.
#[test]
fn only_the_sender_waits() {
    check_realm(
        role(|role| role.messages_per_second = 2),
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $s
         a -> PUBLISH {} com.y
         a -> PUBLISH {} com.y
         b -> PUBLISH {} com.x [1]
         a <- EVENT $s * {} [1]
         b -> PUBLISH {} com.x [2]
         a <- EVENT $s * {} [2]
         wait 1000
         wait 1000",
    );
}

/// Otherwise GOODBYE and HELLO would be a way around.
#[test]
fn a_new_session_on_the_same_transport_inherits_what_was_sent() {
    check_realm(
        role(|role| role.messages_per_second = 1),
        "join a
         a -> PUBLISH {} com.x
         a -> GOODBYE {} wamp.close.normal
         wait 999
         wait 1
         a <- GOODBYE {} wamp.close.goodbye_and_out
         a -> HELLO realm1 {\"roles\":{\"publisher\":{}}}
         wait 999
         wait 1
         a <- WELCOME $id *
         wait 1000",
    );
}

/// BP-LT-02: nobody is silent who is not read, and who is silent when it is read again is.
#[test]
fn who_waits_is_not_taken_for_silent() {
    check_realm_with(
        role(|role| role.messages_per_second = 1),
        |settings| {
            settings.timeouts.ping_interval_ms = 100;
            settings.timeouts.ping_timeout_ms = 100;
        },
        "a via websocket
         join a
         a -> PUBLISH {} com.x
         wait 100
         a <- PING
         a pings
         wait 899
         wait 1
         a <- PONG
         wait 100
         a <- PING
         wait 899
         wait 1
         a <- CLOSED 1008",
    );
}

#[test]
fn a_role_may_end_who_sends_too_much() {
    check_realm(
        role(|role| (role.messages_per_second, role.over_rate) = (2, OverRate::End)),
        "join a b
         a -> PUBLISH {} com.x
         a -> PUBLISH {} com.x
         wait 500
         a -> PUBLISH {} com.x
         b -> SUBSCRIBE {} com.x
         b <- SUBSCRIBED 1 $s
         a -> PUBLISH {} com.x
         a <- ABORT {\"message\":\"this session sends more than its role may\"} \
              wamp.error.resource_limit
         a <- CLOSED 1008",
    );
}

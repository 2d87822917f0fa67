//! What is counted by names of the operator's choice.

use stentor::router::{RealmSettings, Settings};

use super::dialogue::{check_all, check_with};

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

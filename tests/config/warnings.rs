//! What is allowed, and deserves a sentence.

use stentor::config::Warning;

use crate::read;

#[test]
fn permissions_that_do_nothing_are_warned_of() {
    let config = read(
        r#"
        [[realm]]
        name = "a"
        [[realm.authenticator]]
        method = "anonymous"
        [[realm.role]]
        name = "r"
        [[realm.role.permission]]
        uri = ""
        match = "prefix"
        allow = ["call", "publish"]
        [[realm.role.permission]]
        uri = "com..secret"
        match = "wildcard"
        deny = ["publish", "subscribe"]
        [[realm.role.permission]]
        uri = "wamp.x"
        allow = ["register", "subscribe"]
        [[realm.role.permission]]
        uri = "com.app.*"
        allow = ["call"]
        "#,
    );
    let said: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    let [unknown, asterisk, wildcard, reserved] = &*said else { panic!("{said:#?}") };
    assert!(unknown.contains("would join as role `anonymous`"), "{unknown}");
    assert!(asterisk.contains("`com.app.*` (line 19) ends in an asterisk"), "{asterisk}");
    for word in ["`com..secret` (line 12)", "who may publish", "prefix `` (line 8)"] {
        assert!(wildcard.contains(word), "{wildcard}");
    }
    for word in ["`wamp.x` (line 16)", "who may register", "belong to the protocol"] {
        assert!(reserved.contains(word), "{reserved}");
    }
}

/// Whoever lets everybody end the sessions of others should know it, however it is written.
#[test]
fn anonymous_administrators_are_warned_of() {
    let warnings = |uri: &str| {
        let text = format!(
            "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
             [[realm.role]]\nname = \"anonymous\"\n[[realm.role.permission]]\nuri = \"{uri}\"\n\
             match = \"prefix\"\nallow = [\"call\"]\n"
        );
        read(&text).warnings()
    };
    let admin = Warning::AnonymousAdmin { realm: "a".into(), role: "anonymous".into() };
    assert_eq!(warnings("wamp.session."), [admin]);
    assert_eq!(warnings(""), []);
}

/// So should whoever lets everybody manage the router.
#[test]
fn anonymous_managers_are_warned_of() {
    let config = |management: &str| {
        read(&format!(
            "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
             [[realm.role]]\nname = \"anonymous\"\n[management]\nrealm = \"a\"\n{management}\n"
        ))
    };
    for (management, key, said) in [
        ("watch = [\"anonymous\"]", "management.watch", "sees all of the router"),
        ("act = [\"anonymous\"]", "management.act", "may see and change the router"),
    ] {
        let warnings = config(management).warnings();
        let (realm, role) = ("a".into(), "anonymous".into());
        assert_eq!(warnings, [Warning::AnonymousManager { realm, key, role }]);
        assert!(warnings[0].to_string().contains(said), "{}", warnings[0]);
        let summary = config(management).summary().to_string();
        assert!(summary.contains("from a: `anonymous` "), "{summary}");
    }
    assert_eq!(config("").warnings(), []);
}

/// Nobody decides where nobody may register the authorizer, and everybody where strangers may.
#[test]
fn authorizers_that_nobody_or_anybody_may_be_are_warned_of() {
    let warnings = |more: &str| {
        let text = format!(
            "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
             [[realm.role]]\nname = \"anonymous\"\n[[realm.role.permission]]\nuri = \"com.\"\n\
             match = \"prefix\"\nallow = [\"call\", \"register\"]\nauthorizer = \"com.ask\"\n{more}"
        );
        read(&text).warnings()
    };
    let permission = "[[realm.role.permission]]\nuri = \"com.ask\"\nallow = [\"register\"]\n";
    let (realm, procedure) = ("a".to_owned(), "com.ask".to_owned());
    let role = "anonymous".to_owned();
    let nobody = Warning::NoAuthorizer { realm: realm.clone(), procedure: procedure.clone() };
    assert_eq!(warnings(""), [nobody]);
    let anybody = Warning::AnonymousAuthorizer { realm, procedure, role };
    assert_eq!(warnings(permission), [anybody]);
    let authorizer = format!("[[realm.role]]\nname = \"authorizer\"\n{permission}");
    assert_eq!(warnings(&authorizer), []);
}

/// The same of authenticators, in the realm where they are registered.
#[test]
fn authenticators_that_nobody_or_anybody_may_be_are_warned_of() {
    let warnings = |way: &str, permission: &str| {
        let permission = format!("[[realm.role.permission]]\nuri = \"com.ask\"\n{permission}\n");
        let text = format!(
            "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
             [[realm.authenticator]]\nmethod = \"wampcra\"\nprocedure = \"com.ask\"\n{way}\n\
             [[realm.role]]\nname = \"anonymous\"\n{permission}\
             [[realm]]\nname = \"b\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
             role = \"x\"\n[[realm.role]]\nname = \"x\"\n\
             [[realm.role.permission]]\nuri = \"com.x\"\nallow = [\"call\"]\n\
             [[realm.role]]\nname = \"y\"\n{permission}"
        );
        read(&text).warnings()
    };
    let procedure = || "com.ask".to_owned();
    let role = "anonymous".to_owned();
    let anybody =
        Warning::AnonymousAuthenticator { realm: "a".into(), procedure: procedure(), role };
    assert_eq!(warnings("", "allow = [\"register\"]"), [anybody]);
    let nobody =
        |realm: &str| Warning::NoAuthenticator { realm: realm.into(), procedure: procedure() };
    assert_eq!(warnings("", "allow = [\"call\"]"), [nobody("a")]);
    assert_eq!(warnings("procedure_realm = \"b\"", "allow = [\"call\"]"), [nobody("b")]);
    assert_eq!(warnings("procedure_realm = \"b\"", "allow = [\"register\"]"), []);
}

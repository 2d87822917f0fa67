//! A configuration shown key by key.

use stentor::config::{Config, DEFAULT_FILE, Environment, Loader};

use crate::read;

fn shown(text: &str, with_defaults: bool) -> String {
    Loader::from_text("stentor.toml", text).show(with_defaults).unwrap()
}

/// What is shown can be read again, and is the same.
#[test]
fn what_is_shown_is_a_configuration() {
    let text = r#"
        shards = 4
        [[listener]]
        name = "public"
        listen = "[::1]:8080"
        serializers = ["json", "msgpack"]
        trusted_proxies = ["10.0.0.0/8", "unix"]
        forwarded = "x-forwarded-for"
        [[listener.path]]
        path = "/private"
        authmethods = ["ticket"]
        [[listener]]
        listen = "unix:/run/stentor.sock"
        unix_mode = "0660"
        [[realm]]
        name = "com.example"
        admin_roles = ["ops"]
        [[realm.authenticator]]
        method = "anonymous"
        role = "guest"
        [[realm.history]]
        topic = "com.x"
        match = "prefix"
        events = 7
        [[realm.role]]
        name = "guest"
        trustlevel = 3
        [[realm.role.permission]]
        uri = "com.\"x\"."
        match = "prefix"
        allow = ["publish", "call"]
        [[realm]]
        name = "second"
        [limits]
        nesting = 32
        [log]
        level = "warn"
        [admin]
        listen = "127.0.0.1:9080"
        hosts = ["stentor.internal"]
    "#;
    let without_lines = |mut config: Config| {
        for realm in &mut config.realms {
            let roles = realm.access.roles().to_vec();
            realm.access = roles
                .into_iter()
                .map(|mut role| {
                    role.permissions.iter_mut().for_each(|permission| permission.line = None);
                    role
                })
                .collect::<Vec<_>>()
                .into();
        }
        config
    };
    for with_defaults in [false, true] {
        let shown = shown(text, with_defaults);
        assert_eq!(without_lines(read(&shown)), without_lines(read(text)), "{shown}");
    }
    assert_eq!(without_lines(read(&shown("", true))), without_lines(read("")));
    assert_eq!(without_lines(read(&shown(DEFAULT_FILE, true))), without_lines(read(DEFAULT_FILE)));
    assert_eq!(shown("", false), "");
}

#[test]
fn a_token_is_not_shown_and_neither_is_what_stands_behind_an_address() {
    let hash = "$sha256$jV2KXXd0sQWqXcXhBDPkqQ5FYsxYzX1PuqlG4EFyfUg";
    let text = format!(
        "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"ticket\"\n\
         url = \"https://auth.example.org/x?key=secret\"\nrole = \"user\"\n[admin]\n\
         listen = \"127.0.0.1:9080\"\ntoken = \"{hash}\"\n"
    );
    let shown = shown(&text, true);
    assert!(shown.contains("# token is set, and not shown"), "{shown}");
    assert!(!shown.contains("sha256") && !shown.contains("secret"), "{shown}");
}

#[test]
fn without_a_file_the_environment_is_shown() {
    let environment = Environment::of([("STENTOR_LIMITS__NESTING", "32")]);
    let shown = Loader::in_environment(None, &environment).unwrap().show(false).unwrap();
    assert!(shown.starts_with("[limits]\nnesting = 32 "), "{shown}");
    assert!(shown.contains("  # STENTOR_LIMITS__NESTING\n"), "{shown}");
}

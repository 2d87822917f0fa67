//! Authenticators that take tokens or ask an endpoint: what the file may say of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use stentor::config::{Config, ConfigError, Loader};

/// A set with one secret of 32 bytes.
const SECRET_KEYS: &str =
    r#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"}]}"#;

/// Loads a file whose realm has this authenticator, from a folder with these keys.
fn load_with(way: &str, keys: &str, mode: u32) -> Result<Config, String> {
    load_files(way, &[("keys.json", keys)], mode)
}

fn load_files(way: &str, files: &[(&str, &str)], mode: u32) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path: &Path = &folder.path().join(name);
        fs::write(path, text).expect("it is written");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("they are set");
    };
    files.iter().for_each(|(name, text)| write(name, text));
    let text = format!("[[realm]]\nname = \"a\"\n[[realm.authenticator]]\n{way}\n");
    write("stentor.toml", &text);
    let loader = Loader::from_file(&folder.path().join("stentor.toml")).expect("it is read");
    match loader.finish() {
        Ok(config) => Ok(config),
        Err(ConfigError::Invalid(report)) => Err(report.to_string()),
        Err(other) => panic!("{other}"),
    }
}

/// The same with a users file.
fn load_beside(way: &str, keys: &str, users: &str) -> Result<Config, String> {
    load_files(way, &[("keys.json", keys), ("users.toml", users)], 0o600)
}

fn load(way: &str) -> Result<Config, String> {
    load_with(way, SECRET_KEYS, 0o600)
}

fn tokens(role: &str, lines: &str) -> String {
    format!("method = \"ticket\"\n{role}\n[realm.authenticator.jwt]\n{lines}")
}

#[test]
fn the_keys_of_tokens_are_read() {
    let way = tokens("role = \"user\"", "keys = \"keys.json\"\nissuer = \"https://a.example\"");
    let config = load(&way).expect("right");
    let jwt = config.realms[0].authenticators[0].jwt.as_ref().expect("tokens");
    assert_eq!(jwt.loaded.as_ref().map(|keys| keys.len()), Some(1));
    let summary = config.summary().to_string();
    assert!(summary.contains("ticket for JSON Web Tokens of https://a.example"), "{summary}");
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|one| one.contains("without an `issuer` or an `audience`")));
    let url = tokens("role = \"user\"", "keys_url = \"https://a.example/keys\"");
    assert!(load(&url).is_ok(), "it is fetched later");
    let table =
        "keys = \"keys.json\"\nrole_claim = \"roles\"\nroles = [{claim = \"a\", role = \"b\"}]";
    assert!(load(&tokens("", table)).is_ok());
}

/// Whatever is wrong, no secret is shown.
#[test]
fn what_is_wrong_with_tokens_is_said() {
    let role = "role = \"user\"";
    for (role, lines, words) in [
        (role, "", "where the keys of the tokens are"),
        (role, "keys = \"nothing.json\"", "cannot read the keys"),
        (role, "keys = \"keys.json\"\nkeys_url = \"https://a/\"", "exclude each other"),
        (role, "secret = \"correct-horse\"", "must be the name of an environment variable"),
        (role, "secret = \"${NO_SUCH_VARIABLE}\"", "`NO_SUCH_VARIABLE` is not set"),
        (role, "keys_url = \"http://a.example/keys\"", "plain HTTP to another machine"),
        (role, "keys_url = \"ftp://a.example/keys\"", "is no URL that can be asked"),
        (role, "keys_url = \"https://joe:pen@a.example/\"", "is no URL that can be asked"),
        ("", "keys = \"keys.json\"", "the role of those who bear a token"),
        (role, "keys = \"keys.json\"\nroles = [{claim = \"a\", role = \"b\"}]", "no `role_claim`"),
        (role, "keys = \"keys.json\"\nleeway_ms = 600001", "must be from 0 to 600000"),
        (role, "keys = \"keys.json\"\nkid = \"a\"", "unknown field `kid`"),
        (role, "keys = \"keys.json\"\nauthid_claim = \"\"", "`authid_claim` is empty"),
    ] {
        let report = load(&tokens(role, lines)).expect_err(lines);
        assert!(report.contains(words), "{words} in:\n{report}");
    }
    let wrong = "method = \"wampcra\"\nrole = \"a\"\njwt = {keys = \"keys.json\"}";
    let report = load(wrong).expect_err("it is no ticket");
    assert!(report.contains("only `ticket` takes tokens"), "{report}");
    let report = load("method = \"jwt\"").expect_err("it is no method");
    assert!(report.contains("to clients JSON Web Tokens are tickets"), "{report}");
    let keys = tokens(role, "keys = \"keys.json\"");
    for (text, words) in [
        ("{}", "is no JSON Web Key Set"),
        (r#"{"keys":[]}"#, "holds no key that can be used"),
        ("-----BEGIN PUBLIC KEY-----", "begins neither like JSON"),
    ] {
        let report = load_with(&keys, text, 0o600).expect_err(text);
        assert!(report.contains(words), "{words} in:\n{report}");
    }
}

#[test]
fn a_set_with_a_secret_must_not_be_readable_by_everybody() {
    let way = tokens("role = \"user\"", "keys = \"keys.json\"");
    let report = load_with(&way, SECRET_KEYS, 0o644).expect_err("it is readable");
    for word in ["everybody on this machine can read", "chmod o-r", "readable_by_others"] {
        assert!(report.contains(word), "{report}");
    }
    let allowed = way.clone() + "\nreadable_by_others = true";
    assert!(load_with(&allowed, SECRET_KEYS, 0o644).is_ok());
    let public = r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    assert!(load_with(&way, public, 0o644).is_ok(), "there is no secret in it");
}

#[test]
fn an_endpoint_is_a_url_that_nobody_can_listen_to() {
    for url in
        ["https://a.example/x?y=1", "http://127.0.0.1:8000", "http://localhost/", "http://[::1]:1/"]
    {
        let config = load(&format!("method = \"wampcra\"\nurl = \"{url}\"")).expect(url);
        assert!(config.summary().to_string().contains("wampcra as http"));
    }
    let plain = "method = \"ticket\"\nurl = \"http://a.example/\"";
    assert!(load(plain).expect_err("plain").contains("plain HTTP to another machine"));
    assert!(load(&format!("{plain}\nplain_http = true")).is_ok());
    for (lines, words) in [
        ("url = \"\"", "is no URL that can be asked"),
        ("url = \"https://\"", "is no URL that can be asked"),
        ("url = \"https://a.example/ x\"", "is no URL that can be asked"),
        ("url = \"https://a.example\"\nusers = \"users.toml\"", "cannot read the users file"),
        (
            "url = \"https://a.example\"\njwt = {keys = \"keys.json\"}\nrole = \"a\"",
            "exclude each other",
        ),
        ("url = \"https://a.example\"\ntimeout_ms = 5", "must be from 10 to 600000"),
        ("url = \"https://a.example\"\nconcurrency = 65", "must be from 1 to 64"),
        ("url = \"https://a.example\"\nauthorization = \"Bearer x\"", "environment variable"),
        ("users = \"keys.json\"\ntimeout_ms = 1", "is no TOML"),
    ] {
        let report = load(&format!("method = \"ticket\"\n{lines}")).expect_err(lines);
        assert!(report.contains(words), "{words} in:\n{report}");
        assert!(!report.contains("Bearer x") || report.contains("authorization = "), "{report}");
    }
    let way = "method = \"ticket\"\nurl = \"https://a.example\"\n";
    let twice = format!("{way}[[realm.authenticator]]\n{way}");
    let report = load(&twice).expect_err("the second is never asked");
    assert!(report.contains("an earlier authenticator asks about everybody"), "{report}");
    let other = format!("{way}[[realm.authenticator]]\nmethod = \"wampcra\"\nurl = \"https://a\"");
    assert!(load(&other).is_ok());
    let tls = load("method = \"tls\"\nurl = \"https://a\"").expect_err("nobody is asked for it");
    assert!(tls.contains("the method `tls` takes no `url`"), "{tls}");
}

#[test]
fn a_procedure_is_one_that_can_be_registered_in_a_realm_that_is_there() {
    let way = "method = \"wampcra\"\nprocedure = \"com.a.authenticate\"\n";
    let said = |config: Config| config.summary().to_string();
    let own = said(load(&format!("{way}timeout_ms = 50")).expect("it is good"));
    assert!(own.contains("wampcra as the procedure com.a.authenticate says"), "{own}");
    let named = said(load(&format!("{way}procedure_realm = \"a\"")).expect("it is good"));
    assert!(named.contains("com.a.authenticate of realm a says"), "{named}");
    for (lines, words) in [
        ("procedure = \"\"", "can be no procedure of an authenticator"),
        ("procedure = \"com..a\"", "can be no procedure of an authenticator"),
        ("procedure = \"wamp.a\"", "can be no procedure of an authenticator"),
        ("procedure = \"com.a\"\nprocedure_realm = \"realm9\"", "there is no realm `realm9`"),
        ("procedure = \"com.a\"\nurl = \"https://a.example\"", "exclude each other"),
        ("procedure = \"com.a\"\njwt = {keys = \"keys.json\"}\nrole = \"a\"", "exclude each"),
        ("procedure = \"com.a\"\ntimeout_ms = 5", "must be from 10 to 600000"),
        ("procedure = \"com.a\"\nconcurrency = 9", "is for authenticators with a `url`"),
        ("procedure = \"com.a\"\nplain_http = true", "is for authenticators with a `url`"),
        ("url = \"https://a\"\nprocedure_realm = \"a\"", "for authenticators with a `procedure`"),
        ("timeout_ms = 50", "with a `url` or a `procedure`"),
    ] {
        let report = load(&format!("method = \"ticket\"\n{lines}")).expect_err(lines);
        assert!(report.contains(words), "{words} in:\n{report}");
    }
    let twice = format!("{way}[[realm.authenticator]]\n{way}");
    let report = load(&twice).expect_err("the second is never asked");
    assert!(report.contains("an earlier authenticator asks about everybody"), "{report}");
    let tls = load("method = \"tls\"\nprocedure = \"com.a\"").expect_err("nobody is asked for it");
    assert!(tls.contains("the method `tls` takes no `procedure`"), "{tls}");
}

/// A permission whose authorizer is an endpoint, and perhaps how it is asked.
fn load_authorizer(url: &str, lines: &str) -> Result<Config, String> {
    load(&format!(
        "method = \"anonymous\"\n[[realm.role]]\nname = \"anonymous\"\n\
         [[realm.role.permission]]\nuri = \"\"\nmatch = \"prefix\"\nallow = [\"call\"]\n\
         authorizer = \"{url}\"\n{lines}"
    ))
}

#[test]
fn an_authorizer_may_be_an_endpoint() {
    let url = "https://a.example/allow?key=correct-horse";
    let plain = load_authorizer(url, "").expect("it is asked as by default");
    let asked = plain.realms[0].authorizer_endpoints();
    assert_eq!((&*asked[0].url, asked[0].timeout_ms, asked[0].concurrency), (url, 5_000, 8));
    let summary = plain.summary().to_string();
    assert!(summary.contains("authorizer https://a.example/allow"), "{summary}");
    assert!(!summary.contains("correct-horse"), "{summary}");
    assert_eq!(plain.warnings().iter().filter(|w| w.to_string().contains("authorizer")).count(), 0);
    let said = |lines: &str| {
        load_authorizer(url, &format!("[[realm.authorizer]]\nurl = \"{url}\"\n{lines}"))
    };
    let config = said("timeout_ms = 50\nconcurrency = 2\nca = \"keys.json\"").expect("right");
    let asked = &config.realms[0].authorizer_endpoints()[0];
    assert_eq!((asked.timeout_ms, asked.concurrency), (50, 2));
    assert!(asked.ca.as_ref().is_some_and(|ca| ca.is_absolute()), "beside the file: {asked:?}");
    for (lines, words) in [
        ("timeout_ms = 5", "must be from 10 to 600000"),
        ("concurrency = 65", "must be from 1 to 64"),
        ("authorization = \"Bearer x\"", "environment variable"),
        ("timeout = 5", "did you mean `timeout_ms`"),
        ("method = \"ticket\"", "unknown"),
    ] {
        let report = said(lines).expect_err(lines);
        assert!(report.contains(words), "{words} in:\n{report}");
    }
    let twice = said(&format!("[[realm.authorizer]]\nurl = \"{url}\"")).expect_err("twice");
    assert!(twice.contains("an earlier `[[realm.authorizer]]`"), "{twice}");
    let nameless = load_authorizer(url, "[[realm.authorizer]]\ntimeout_ms = 50");
    assert!(nameless.expect_err("no url").contains("`url`"));
    let other = "[[realm.authorizer]]\nurl = \"https://b.example/\"";
    let unused = load_authorizer(url, other).expect_err("nobody asks it");
    assert!(unused.contains("no permission of this realm has this `url`"), "{unused}");
    let http = "http://a.example/";
    let plain = format!("[[realm.authorizer]]\nurl = \"{http}\"\n");
    let report = load_authorizer(http, &plain).expect_err("plain");
    assert!(report.contains("plain HTTP to another machine"), "{report}");
    assert!(load_authorizer(http, &(plain + "plain_http = true")).is_ok());
    assert!(load_authorizer("http://127.0.0.1:8000/x", "").is_ok());
}

/// It signs what strangers send: it is private, and nobody's.
#[test]
fn the_key_of_the_router_is_its_own() {
    let digits = "07".repeat(32);
    let way = "method = \"cryptosign\"\nurl = \"https://a.example/\"\nrouter_key = \"keys.json\"";
    let config = load_with(way, &format!("{digits}\n"), 0o600).expect("right");
    assert!(config.realms[0].authenticators[0].router_key_value.is_some());
    let readable = load_with(way, &digits, 0o644).expect_err("it is readable");
    assert!(readable.contains("chmod o-r"), "{readable}");
    assert!(load_with(&format!("{way}\nreadable_by_others = true"), &digits, 0o644).is_ok());
    for wrong in ["", "07", "{\"a\":1}", &"0".repeat(2_000)] {
        let report = load_with(way, wrong, 0o600).expect_err(wrong);
        assert!(report.contains("64 hexadecimal") || report.contains("more than"), "{report}");
    }
    let ticket = way.replace("cryptosign", "ticket");
    let report = load_with(&ticket, &digits, 0o600).expect_err("another method");
    assert!(report.contains("the method `ticket` takes no `router_key`"), "{report}");
    let other = way.replace("url", "# url") + "\nusers = \"users.toml\"";
    let twice = format!("{way}\n[[realm.authenticator]]\n{other}");
    let users = format!(
        "[[user]]\nauthid = \"joe\"\nrole = \"a\"\ncryptosign = \"{}\"\n",
        stentor::authentication::generate_key(&[7; 32])
    );
    let report = load_beside(&twice, &digits, &users).expect_err("twice");
    assert!(report.contains("an earlier authenticator of this realm has"), "{report}");
    let report = load_beside(&other, &digits, &users).expect_err("joe's");
    assert!(report.contains("that of user `joe`"), "{report}");
}

/// Checks a file with two listeners, one of which has a path with rules of its own.
fn load_entrances(ways: &str) -> Result<Config, String> {
    let listeners = "[[listener]]\nname = \"local\"\nlisten = \"127.0.0.1:8081\"\n\
        [[listener]]\nname = \"public\"\nlisten = \"0.0.0.0:8080\"\n\
        [[listener.path]]\npath = \"/ws\"\n";
    let text = format!("{listeners}[[realm]]\nname = \"a\"\n{ways}");
    match Loader::from_text("stentor.toml", text).finish() {
        Ok(config) => Ok(config),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn an_authenticator_names_listeners_and_paths_that_there_are() {
    let way = |listeners: &str| {
        format!("[[realm.authenticator]]\nmethod = \"anonymous\"\nlisteners = [{listeners}]\n")
    };
    let config = load_entrances(&way(r#""local", "public/ws""#)).expect("both are there");
    let summary = config.summary().to_string();
    assert!(summary.contains("anonymous clients as role `anonymous` at local public/ws"));
    for wrong in ["public/", "public/other", "ws", "/ws", ""] {
        let report = load_entrances(&way(&format!("\"{wrong}\""))).expect_err("there is no such");
        assert!(report.contains(&format!("no listener is named `{wrong}`")), "{report}");
        assert!(report.contains("stentor.toml:13"), "{report}");
    }
    let warns = |ways: &str| {
        let warnings = load_entrances(ways).expect("right").warnings();
        warnings.iter().any(|one| one.to_string().contains("public"))
    };
    assert!(warns(&way(r#""public/ws""#)), "everybody may join from the network");
    assert!(!warns(&way(r#""local""#)), "only who is on this machine may");
}

#[test]
fn two_procedures_may_stand_at_entrances_of_their_own() {
    let way = |procedure: &str, listeners: &str| {
        format!(
            "[[realm.authenticator]]\nmethod = \"ticket\"\nprocedure = \"{procedure}\"\n\
             listeners = [{listeners}]\n"
        )
    };
    let apart = way("a.one", "\"local\"") + &way("a.two", "\"public/ws\"");
    assert!(load_entrances(&apart).is_ok());
    for behind in ["\"local\"", "\"local\", \"public\""] {
        let ways = way("a.one", "") + &way("a.two", behind);
        let report = load_entrances(&ways).expect_err("the first is asked about everybody");
        assert!(report.contains("an earlier authenticator asks about everybody"), "{report}");
    }
    assert!(load_entrances(&(way("a.one", "\"local\"") + &way("a.two", ""))).is_ok());
}

/// Whoever may open a Unix socket is no stranger: that is how an authenticator comes in.
#[test]
fn an_authenticator_may_come_in_by_a_socket_of_its_own() {
    let file = |listener: &str| {
        format!(
            "[[listener]]\nname = \"own\"\nlisten = \"{listener}\"\n\
             [[listener]]\nlisten = \"127.0.0.1:8080\"\n\
             [[realm]]\nname = \"a\"\n\
             [[realm.authenticator]]\nmethod = \"anonymous\"\nrole = \"judge\"\n\
             listeners = [\"own\"]\n\
             [[realm.authenticator]]\nmethod = \"ticket\"\nprocedure = \"com.judge\"\n\
             [[realm.role]]\nname = \"judge\"\n\
             [[realm.role.permission]]\nuri = \"com.judge\"\nallow = [\"register\"]\n"
        )
    };
    let warns = |listener: &str| {
        let config = Loader::from_text("stentor.toml", file(listener)).finish().expect("right");
        let warnings = config.warnings();
        warnings.iter().any(|one| one.to_string().contains("may register the authenticator"))
    };
    assert!(!warns("unix:/run/stentor/judge.sock"));
    assert!(warns("127.0.0.1:8081"), "everybody on this machine may");
}

//! Files of users: who is read from them, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use stentor::authentication::{AuthenticatorSettings, Credential};
use stentor::config::{Config, ConfigError, Loader};

const TICKET: &str = "$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";

/// Loads a file whose realm has this authenticator, and these users.
fn load(way: &str, users: &str, mode: u32) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stentor.toml");
    let text = format!(
        "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nusers = \"users.toml\"\n{way}\n"
    );
    fs::write(&file, text).expect("it is written");
    let users_file = folder.path().join("users.toml");
    fs::write(&users_file, users).expect("it is written");
    fs::set_permissions(&users_file, fs::Permissions::from_mode(mode)).expect("they are set");
    match Loader::from_file(&file).expect("it is read").finish() {
        Ok(config) => Ok(config),
        Err(ConfigError::Invalid(report)) => Err(report.to_string()),
        Err(other) => panic!("{other}"),
    }
}

fn way(config: &Config) -> &AuthenticatorSettings {
    &config.realms[0].authenticators[0]
}

/// A certificate is named as `stentor cert fingerprint` prints it.
#[test]
fn certificates_are_named() {
    let digest = "ab".repeat(32);
    let users = format!(
        "[[user]]\nauthid = \"joe\"\ntls = \"sha256:{digest}\"\n\
         [[user]]\nauthid = \"jim\"\ntls = [\"dns:A.example\", \"uri:spiffe://x/y\"]\n"
    );
    let method = "method = \"tls\"\nrole = \"device\"";
    let config = load(method, &users, 0o600).expect("right");
    let names = |at: usize| match &way(&config).principals[at].credential {
        Credential::Tls(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(names(0), [format!("sha256:{digest}")]);
    assert_eq!(names(1), ["dns:a.example", "uri:spiffe://x/y"]);
    let warned =
        config.warnings().iter().any(|warning| warning.to_string().contains("asks clients"));
    assert!(warned, "no listener asks for certificates");
    let bad = load(method, "[[user]]\nauthid = \"joe\"\ntls = \"cm:joe\"\n", 0o600).unwrap_err();
    assert!(bad.contains("stentor cert fingerprint"), "{bad}");
    let none = load(method, "[[user]]\nauthid = \"joe\"\n", 0o600).unwrap_err();
    assert!(
        none.contains("nobody in the users file") && none.contains("cert fingerprint"),
        "{none}"
    );
}

#[test]
fn those_are_read_who_have_the_method() {
    let key = "ab".repeat(32);
    let users = format!(
        "[[user]]\nauthid = \"joe\"\nrole = \"admin\"\nticket = \"{TICKET}\"\n\
         [[user]]\nauthid = \"jim\"\nticket = \"{TICKET}\"\n\
         [[user]]\nauthid = \"key\"\nwampcra = \"${{PATH}}\"\ncryptosign = \"{key}\"\n"
    );
    let config = load("method = \"ticket\"\nrole = \"user\"", &users, 0o600).expect("right");
    let found: Vec<_> =
        way(&config).principals.iter().map(|one| (&*one.authid, &*one.role)).collect();
    assert_eq!(found, [("joe", "admin"), ("jim", "user")]);
    assert!(!config.has_costly_logins());
    let summary = config.summary().to_string();
    assert!(summary.contains("ticket for 2 users"), "{summary}");
    // A secret that stands in the environment.
    let config = load("method = \"wampcra\"\nrole = \"user\"", &users, 0o600).expect("right");
    assert!(matches!(way(&config).principals[0].credential, Credential::Wampcra(_)));
}

/// Whatever is wrong, no value of the file is shown.
#[test]
fn what_is_wrong_is_said_without_the_secret() {
    let secret = "correct-horse";
    let user = |lines: &str| format!("[[user]]\nauthid = \"joe\"\nrole = \"r\"\n{lines}\n");
    for (users, words) in [
        (user(&format!("ticket = \"{secret}\"")), "`ticket` must be a hash as `stentor passwd`"),
        (user(&format!("ticket = [\"{secret}\"]")), "`ticket` must be a text"),
        (user(&format!("tickett = \"{secret}\"")), "did you mean `ticket`?"),
        (user(&format!("ticket = \"{secret}")), "is no TOML from line 4 on"),
        (user(&format!("ticket = {secret}")), "is no TOML from line 4 on"),
        (user("ticket = \"${NO_SUCH_VARIABLE}\""), "`NO_SUCH_VARIABLE` is not set"),
        (user(&format!("wampcra = \"{secret}\"")), "has a `ticket`"),
        (format!("[[user]]\nticket = \"{secret}\""), "there is no `authid`"),
        (format!("[[user]]\nauthid = \"joe\"\nticket = \"{secret}\""), "there is no `role`"),
        (format!("ticket = \"{secret}\""), "unknown key `ticket`"),
        (format!("user = \"{secret}\""), "below `[[user]]`"),
        (user(&format!("ticket = \"{TICKET}\"")).repeat(2), "was there before"),
    ] {
        let report = load("method = \"ticket\"", &users, 0o600).expect_err(&users);
        assert!(report.contains(words), "{words} in:\n{report}");
        assert!(report.contains("users.toml") && !report.contains(secret), "{report}");
    }
    let users = user(&format!("wampcra = \"{secret}\"\nwamp-scram = \"{secret}\""));
    for method in ["wampcra", "wamp-scram", "cryptosign"] {
        let users = users.clone() + &format!("cryptosign = \"{secret}\"");
        let way = format!("method = \"{method}\"");
        let report = load(&way, &users, 0o600).expect_err(method);
        assert!(report.contains(&format!("`{method}` must be")), "{report}");
        assert!(!report.contains(secret), "{report}");
    }
}

#[test]
fn a_file_that_everybody_can_read_is_refused_unless_it_is_allowed() {
    let users = format!("[[user]]\nauthid = \"joe\"\nrole = \"r\"\nticket = \"{TICKET}\"\n");
    let report = load("method = \"ticket\"", &users, 0o644).expect_err("it is readable");
    for word in ["everybody on this machine can read", "chmod o-r", "readable_by_others"] {
        assert!(report.contains(word), "{report}");
    }
    let way = "method = \"ticket\"\nreadable_by_others = true";
    assert!(load(way, &users, 0o644).is_ok());
    assert!(load("method = \"ticket\"", &users, 0o640).is_ok());
}

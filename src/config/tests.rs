//! The default file holds every key, at its default, and each of them can be uncommented.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::keys::keys_of;
use super::*;
use crate::authentication::TokenSettings;

#[test]
fn the_default_file_is_the_default_configuration() {
    let config = Loader::from_text("default.toml", DEFAULT_FILE).finish().unwrap();
    let mut default = closed();
    // The role is the default one, also where it is not named.
    default.realms[0].authenticators =
        vec![Authenticator { role: None, ..Authenticator::anonymous("anonymous") }];
    assert_eq!(config, default);
}

/// What a file stands for that says nothing: nobody may join, or do anything.
fn closed() -> Config {
    let access = Access::Roles(Vec::new());
    let realm = Realm { authenticators: Vec::new(), access, ..Realm::default() };
    Config { development: false, realms: vec![realm], ..Config::default() }
}

#[test]
fn an_empty_file_is_the_default_configuration_but_nobody_may_join() {
    let config = Loader::from_text("empty.toml", "").finish().unwrap();
    assert_eq!(config, closed());
}

#[test]
fn the_default_file_names_every_key() {
    for (header, keys) in [
        ("[[listener]]", keys_of::<Listener>()),
        ("[[listener.tls]]", keys_of::<Tls>()),
        ("[[listener.path]]", keys_of::<ListenerPath>()),
        ("[[listener.path.key]]", keys_of::<PathKey>()),
        ("[[realm]]", keys_of::<Realm>()),
        ("[[realm.authenticator]]", keys_of::<Authenticator>()),
        ("[realm.authenticator.jwt]", keys_of::<TokenSettings>()),
        ("[[realm.authorizer]]", keys_of::<Authorizer>()),
        ("[[realm.history]]", keys_of::<History>()),
        ("[[realm.role]]", keys_of::<Role>()),
        ("[[realm.role.permission]]", keys_of::<Permission>()),
        ("[limits]", keys_of::<Limits>()),
        ("[output]", keys_of::<OutputLimits>()),
        ("[timeouts]", keys_of::<Timeouts>()),
        ("[protocol]", keys_of::<Protocol>()),
        ("[storage]", keys_of::<Storage>()),
        ("[tuning]", keys_of::<Tuning>()),
        ("[log]", keys_of::<Log>()),
        ("[admin]", keys_of::<Admin>()),
        ("[[admin.tls]]", keys_of::<Tls>()),
        ("[metrics]", keys_of::<Metrics>()),
        ("[[metrics.group]]", keys_of::<Group>()),
        ("[management]", keys_of::<Management>()),
    ] {
        let lines = section(header);
        for key in keys {
            let shown = lines.iter().any(|line| {
                // What excludes another key has a second `#`.
                let line = line.trim_start_matches('#').trim_start();
                line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "))
            });
            let nested = header.trim_matches(['[', ']']).to_owned() + "." + key;
            let is_section = DEFAULT_FILE.contains(&format!("[{nested}]"));
            assert!(shown || is_section, "{key} in {header}");
        }
    }
    for key in keys_of::<Config>() {
        let forms = [format!("{key} = "), format!("[{key}]"), format!("[[{key}]]")];
        let shown = |line: &str| forms.iter().any(|form| line.starts_with(form));
        assert!(DEFAULT_FILE.lines().any(shown), "{key}");
    }
}

#[test]
fn what_the_default_file_leaves_out_can_be_uncommented() {
    let is_key = |line: &str| {
        let (key, value) = line.split_once(" = ").unwrap_or_default();
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_key && !value.is_empty() || line.starts_with('[')
    };
    let mut changed = 0;
    let mut text = String::new();
    for line in DEFAULT_FILE.lines() {
        let bare = line.strip_prefix("# ").filter(|bare| is_key(bare));
        changed += usize::from(bare.is_some());
        text.push_str(bare.unwrap_or(line));
        text.push('\n');
    }
    // One way to log in at NATS excludes the others.
    let other_ways = ["credentials = ", "token_file = \"/etc/stentor/nats", "nkey_file = "];
    let is_kept = |line: &&str| other_ways.iter().all(|way| !line.starts_with(way));
    let text = text.lines().filter(is_kept).collect::<Vec<_>>().join("\n");
    let text = text.replace("nats = []", "nats = [\"tls://127.0.0.1:4222\"]");
    // A variable that is set everywhere.
    let text = text.replace("${AUTH_HEADER}", "${PATH}");
    let folder = tempfile::tempdir().unwrap();
    let text = text.replace("/srv/app", folder.path().to_str().unwrap());
    let hash = "$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";
    let users = format!("[[user]]\nauthid = \"joe\"\nrole = \"a\"\nticket = \"{hash}\"\n");
    fs::write(folder.path().join("users.toml"), users).unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(folder.path().join("users.toml"), mode).unwrap();
    let file = folder.path().join("default.toml").display().to_string();
    let config = Loader::from_text(file, text).finish().unwrap();
    assert_eq!(changed, 150, "keys without a default, and a listener to show one of them");
    assert_eq!(config.listeners[1].unix_mode, Some(0o660));
    assert_eq!(config.tuning.send_buffer_bytes, Some(262_144));
}

#[test]
fn zero_shards_are_as_many_as_cores_within_bounds() {
    assert!((1..=MAX_SHARDS).contains(&Config::default().shard_count()));
    assert_eq!(Config { shards: 5, ..Config::default() }.shard_count(), 5);
}

/// The lines of all sections under `header`, commented ones too.
fn section(header: &str) -> Vec<&'static str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in DEFAULT_FILE.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if bare.starts_with('[') {
            inside = bare == header;
        } else if inside {
            lines.push(line);
        }
    }
    lines
}

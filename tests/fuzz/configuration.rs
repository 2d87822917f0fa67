//! Configuration files: every fault has a place in the file and words to say it, and what is
//! accepted means the same whatever comment stands behind it.

use stentor::config::{Config, ConfigError, Loader, MAX_SHARDS, Place, Report};
use stentor::wamp::{UriRule, is_valid_uri};

pub(super) fn judge(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // Users, keys and authorities are read where they are; what is named with its folder may be a
    // file of this machine.
    let reads_files = ["users", "keys", "url"].iter().any(|key| text.contains(key));
    if reads_files && text.contains(['/', '\\']) {
        return;
    }
    let read = |text: &str| Loader::from_text("stentor.toml", text).finish();
    match (read(text), read(&format!("{text}\n# The end."))) {
        (Ok(config), again) => {
            assert_eq!(again.expect("a comment changes nothing"), config);
            check(&config);
        }
        (Err(ConfigError::Invalid(report)), again) => {
            assert_eq!(report.to_string(), read(text).expect_err("as before").to_string());
            check_report(&report);
            // What the file ends within, such as a string, may go on with the comment.
            if let Err(ConfigError::Invalid(again)) = again {
                check_report(&again);
            }
        }
        (Err(other), _) => panic!("a file that was read already: {other}"),
    }
}

/// What a router relies on.
fn check(config: &Config) {
    assert!(config.shards <= MAX_SHARDS && (1..=MAX_SHARDS).contains(&config.shard_count()));
    assert!(!config.listeners.is_empty() && !config.realms.is_empty());
    for realm in &config.realms {
        assert!(is_valid_uri(&realm.name, UriRule::Loose), "realm {:?}", realm.name);
        let same = config.realms.iter().filter(|other| other.name == realm.name);
        assert_eq!(same.count(), 1, "two realms are called {}", realm.name);
    }
    let limits = &config.limits;
    assert!((512..=16 << 20).contains(&limits.message_bytes));
    assert!((8..=512).contains(&limits.nesting));
    assert!(limits.connections > 0 && limits.uri_bytes > 0 && limits.held_total_bytes > 0);
    let shown = config.summary().to_string();
    assert!(!shown.is_empty());
    config.warnings().iter().for_each(|warning| assert!(!warning.to_string().is_empty()));
}

fn check_report(report: &Report) {
    assert!(!report.problems.is_empty(), "refused without a reason");
    let shown = report.to_string();
    for problem in &report.problems {
        assert!(shown.contains(&problem.fault.to_string()));
        let Place::File(bytes) = &problem.place else { continue };
        assert!(report.text.get(bytes.clone()).is_some(), "{bytes:?} is no part of the file");
        let (line, column) = report.position(bytes.start);
        assert!(shown.contains(&format!("stentor.toml:{line}:{column}\n")), "{shown}");
        let text = report.text.split('\n').nth(line - 1).expect("a line of the file");
        assert!(column <= text.chars().count() + 1, "{line}:{column} is no place in {text:?}");
    }
}

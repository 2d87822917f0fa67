//! Environment variables over the file, and references to them in its strings.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use stentor::config::{Config, ConfigError, Environment, Loader, Place, Report};

/// The configuration of a file with this text, or of none, where these variables are set.
fn load(text: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, Report> {
    let environment = Environment::of(variables.iter().copied());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    if let Some(text) = text {
        fs::write(&file, text).unwrap();
    }
    let loader = Loader::in_environment(text.map(|_| &*file), &environment);
    loader.and_then(Loader::finish).map_err(|error| match error {
        ConfigError::Invalid(report) => report,
        ConfigError::Read { .. } => panic!("{error}"),
    })
}

/// Expects one problem, with this variable, whose report says each of `words`.
#[track_caller]
fn refuse(text: Option<&str>, name: &str, value: &str, words: &[&str]) {
    let report = load(text, &[(name, value)]).unwrap_err();
    let [problem] = &*report.problems else { panic!("{report}") };
    assert_eq!(problem.place, Place::Variable(name.into()), "{report}");
    let shown = report.to_string();
    assert!(shown.contains(&format!("--> {name} in the environment")), "{shown}");
    for word in words {
        assert!(shown.contains(word), "{word} in:\n{shown}");
    }
}

const FILE: &str = "[[realm]]\nname = \"a\"\n[limits]\nnesting = 9\nuri_bytes = 99\n";

#[test]
fn variables_win_over_the_file() {
    let variables = [
        ("STENTOR_SHARDS", "3"),
        ("STENTOR_LIMITS__NESTING", "32"),
        ("STENTOR_PROTOCOL__STRICT_ROLES", "true"),
        ("STENTOR_OUTPUT__POLICY", "drop_oldest"),
        ("STENTOR_STORAGE__PATH", "/var/lib/stentor"),
        ("STENTOR_LOG__LEVEL", "info,stentor::net=debug"),
        ("STENTOR_ADMIN__LISTEN", "127.0.0.1:9080"),
        ("STENTOR_ADMIN__HOSTS", "[\"a\", \"b\"]"),
        // Not named after keys.
        ("STENTOR_ADMIN_TOKEN", "x"),
        ("STENTOR_PORT", "tcp://10.0.0.1:8080"),
        ("OTHER__THING", "x"),
        // Kubernetes' for a service of this name, and one that the file refers to.
        ("STENTOR_PR7__WEB_SERVICE_HOST", "10.0.0.1"),
        ("STENTOR_PR7__WEB_PORT", "tcp://10.0.0.1:80"),
    ];
    let config = load(Some(FILE), &variables).unwrap();
    assert_eq!((config.shards, config.limits.nesting, config.limits.uri_bytes), (3, 32, 99));
    assert!(config.protocol.strict_roles && !config.development);
    assert_eq!(config.log.level, "info,stentor::net=debug");
    assert_eq!(config.storage.path.unwrap().to_str(), Some("/var/lib/stentor"));
    assert_eq!(config.admin.hosts, ["a", "b"]);
    let without_file = load(None, &variables).unwrap();
    assert_eq!((without_file.shards, without_file.limits.nesting), (3, 32));
    assert!(without_file.development, "no file, no realm that it closes");
    assert_eq!(without_file.realms, Config::default().realms);
}

#[test]
fn a_wrong_value_is_said_with_its_variable() {
    let words = ["`limits.nesting`", "expected a whole number"];
    refuse(Some(FILE), "STENTOR_LIMITS__NESTING", "abc", &words);
    refuse(None, "STENTOR_LIMITS__NESTING", "[1]", &["`limits.nesting`"]);
    refuse(Some(FILE), "STENTOR_LIMITS__NESTING", "9999", &["must be from 8 to 512"]);
    let words = ["`output.policy`", "did you mean `drop_newest`?"];
    refuse(None, "STENTOR_OUTPUT__POLICY", "drop_newst", &words);
    refuse(None, "STENTOR_LOG__LEVEL", "debgu", &["did you mean `debug`?"]);
    refuse(None, "STENTOR_ADMIN__HOSTS", "a\"]\n[limits]\nnesting = [\"1", &["`admin.hosts`"]);
    refuse(None, "STENTOR_ADMIN__LISTEN", "9080", &["`9080` has no address"]);
}

#[test]
fn a_variable_of_no_key_is_refused() {
    let meant = ["did you mean `STENTOR_LIMITS__NESTING`?"];
    refuse(None, "STENTOR_LIMITS__NESTIGN", "9", &meant);
    refuse(None, "STENTOR_LIMIT__NESTING", "9", &meant);
    for name in ["STENTOR_LISTENER__LISTEN", "STENTOR_REALM__NAME", "STENTOR_ADMIN__TLS"] {
        refuse(None, name, "x", &["named after a key that there is not"]);
    }
    let no_text = OsString::from_vec(vec![0xFF]);
    let environment = Environment::of([("STENTOR_LOG__LEVEL", no_text)]);
    let error = Loader::in_environment(None, &environment).and_then(Loader::finish).unwrap_err();
    assert!(error.to_string().contains("is no text"), "{error}");
}

/// The flag is what holds, and so what is named.
#[test]
fn flags_win_over_variables() {
    let environment = Environment::of([("STENTOR_LIMITS__NESTING", "32")]);
    let mut loader = Loader::in_environment(None, &environment).unwrap();
    loader.set("limits.nesting", "--nesting", |config| config.limits.nesting = 9_999);
    let Err(ConfigError::Invalid(report)) = loader.finish() else { panic!("it is too much") };
    assert_eq!(report.problems[0].place, Place::Flag("--nesting"));
}

#[test]
fn strings_refer_to_variables() {
    let text = "[[realm]]\nname = \"${REALM:-com.default}\"\nadmin_roles = [\"${ROLE}\", \"$x\"]\n";
    let config = load(Some(text), &[("ROLE", "ops")]).unwrap();
    assert_eq!(config.realms[0].name, "com.default");
    assert_eq!(config.realms[0].admin_roles, ["ops", "$x"]);
    let config = load(Some(text), &[("ROLE", "ops"), ("REALM", "com.live")]).unwrap();
    assert_eq!(config.realms[0].name, "com.live");
    let report = load(Some(text), &[]).unwrap_err();
    let Place::File(span) = &report.problems[0].place else { panic!("{report}") };
    assert_eq!(report.position(span.start), (3, 16));
    let shown = report.to_string();
    assert!(shown.contains("`ROLE` is not set") && shown.contains("${ROLE:-VALUE}"), "{shown}");
    for text in ["name = \"${A\"", "name = \"${a b}\""] {
        let report = load(Some(&format!("[[realm]]\n{text}\n")), &[]).unwrap_err();
        assert!(report.to_string().contains("write `${NAME}` or"), "{report}");
    }
}

//! Every block of code on a page is checked here, run by `tests/book/run.sh` or another test, or
//! counted among those that cannot be run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::pages::{Block, Marker, pages, root};

/// How many blocks of a page say that they are not run; their reasons stand before them.
const NOT_RUN: &[(&str, usize)] = &[
    ("README.md", 1),
    ("docs/debian.md", 1),
    ("docs/http.md", 1),
    ("docs/moving-from-crossbar.md", 5),
    ("docs/production.md", 2),
    ("docs/stopping.md", 2),
    ("docs/tls.md", 1),
    ("docs/tuning.md", 1),
];

#[test]
fn every_block_says_how_it_is_tested() {
    let mut not_run = BTreeMap::new();
    let mut wrong = Vec::new();
    for page in pages() {
        for block in page.blocks() {
            if let Some(Marker::NotRun(reason)) = &block.marker {
                *not_run.entry(page.name.clone()).or_insert(0) += 1;
                assert!(reason.len() > 10, "{}:{}: a reason is missing", page.name, block.line);
            }
            if let Some(what) = fault(&block) {
                wrong.push(format!("{}:{}: {what}", page.name, block.line));
            }
        }
        for (line, text) in page.prose() {
            let is_item = text.trim_start().starts_with(['-', '*', '|', '<']);
            if text.starts_with("    ") && !is_item {
                wrong.push(format!("{}:{line}: is it code? Then it needs a fence", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: BTreeMap<_, _> =
        NOT_RUN.iter().map(|(page, count)| ((*page).to_owned(), *count)).collect();
    assert_eq!(not_run, listed);
}

/// What is wrong with what a block says of its test.
fn fault(block: &Block) -> Option<String> {
    match (&block.marker, block.language.as_str()) {
        (Some(Marker::TestedBy(test)), _) if !root().join(test).is_file() => {
            Some(format!("there is no {test}"))
        }
        (Some(Marker::SameAs(file)), _) => difference(&block.text, file),
        (Some(Marker::Run | Marker::Start), language) if language != "sh" => {
            Some(format!("{language} is no command: `file` is for programs"))
        }
        (Some(Marker::Output), language) if language != "text" => {
            Some(format!("output is text, not {language}"))
        }
        (Some(_), _) | (None, "text" | "toml") => None,
        (None, "json") => {
            let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
            parsed.err().map(|error| error.to_string())
        }
        (None, "") => Some("the language is missing".to_owned()),
        (None, language) => Some(format!("how is this {language} tested?")),
    }
}

/// The first line of an excerpt that a file does not have behind those before; `// ...` stands for
/// what is left out.
fn difference(excerpt: &str, file: &str) -> Option<String> {
    let whole = fs::read_to_string(root().join(file)).unwrap_or_default();
    let mut lines = whole.lines().map(str::trim);
    excerpt
        .lines()
        .map(str::trim)
        .filter(|line| *line != "// ..." && !line.is_empty())
        .find(|line| !lines.any(|other| other == *line))
        .map(|line| format!("{file} has no `{line}` here"))
}

#[test]
fn an_excerpt_that_differs_is_found() {
    let file = "examples/embed.rs";
    let right = "let server = Server::start(&config)?;
// ...
server.stop()?;
";
    assert_eq!(difference(right, file), None);
    let turned = "server.stop()?;
let server = Server::start(&config)?;
";
    assert!(difference(turned, file).is_some());
    assert!(
        difference(
            "let x = 1;
",
            file
        )
        .is_some()
    );
}

/// Configurations, or pieces of one, as `stentor check` takes them.
#[test]
fn every_configuration_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages() {
        for block in page.blocks() {
            if block.language == "toml" {
                count += 1;
                if let Err(error) = check(folder.path(), &block.text) {
                    wrong.push(format!("{}:{}: {error}", page.name, block.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "only {count} configurations");
}

#[test]
fn a_wrong_configuration_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let error = check(folder.path(), "[limits]\nnestign = 3\n").expect_err("it is wrong");
    assert!(error.contains("nesting"), "{error}");
}

/// The files that configurations name.
fn prepare(folder: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let done = command.args(["cert", "dev"]).current_dir(folder).output().expect("it runs");
    assert!(done.status.success());
    for name in ["app", "well-known", "srv", "www"] {
        fs::create_dir_all(folder.join(name)).expect("it is made");
    }
    fs::write(folder.join("app/index.html"), "").expect("it is written");
    fs::copy(folder.join("cert.pem"), folder.join("fullchain.pem")).expect("it is copied");
    fs::copy(folder.join("ca.pem"), folder.join("clients.pem")).expect("it is copied");
    for name in ["users", "operators", "authenticators", "machines", "people", "own"] {
        let name = format!("{name}.toml");
        write_private(&folder.join(name), USERS);
    }
    write_private(&folder.join("router.key"), &"07".repeat(32));
}

fn write_private(file: &Path, text: &str) {
    fs::write(file, text).expect("it is written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("they are set");
}

/// # Errors
/// What the command says against it.
fn check(folder: &Path, text: &str) -> Result<(), String> {
    let own = folder.display().to_string();
    let mut text = text.replace("$sha256$...", HASH);
    text = text.replace("certificates/", "");
    for place in ["/etc/stentor", "/var/lib/stentor", "/run/stentor", "/srv"] {
        text = text.replace(&format!("{place}/"), &format!("{own}/"));
    }
    if text.contains("[[user]]") {
        let text = text.replace("sha256:1adfc8bf...", &format!("sha256:{}", "1a".repeat(32)));
        write_private(&folder.join("shown.toml"), &text);
        text_of_users(&text, folder)
    } else {
        let said = run_check(folder, &whole(&text));
        // A build without clusters says so once it has found nothing else.
        let is_whole = cfg!(feature = "cluster") || !text.contains("[cluster]");
        said.or_else(|error| match error.contains("--features cluster") && !is_whole {
            true => Ok(()),
            false => Err(error),
        })
    }
}

/// A users file is taken by an authenticator of each method that it has something for.
fn text_of_users(users: &str, folder: &Path) -> Result<(), String> {
    let mut text = "[[realm]]\nname = \"realm1\"\n".to_owned();
    for method in ["ticket", "wampcra", "wamp-scram", "cryptosign", "tls"] {
        if users.lines().any(|line| line.starts_with(&format!("{method} = "))) {
            text += "[[realm.authenticator]]\n";
            text += &format!("method = \"{method}\"\nusers = \"shown.toml\"\n");
        }
    }
    run_check(folder, &text)
}

fn run_check(folder: &Path, text: &str) -> Result<(), String> {
    fs::write(folder.join("stentor.toml"), text).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.args(["check", "stentor.toml"]).current_dir(folder);
    for name in ["AUTH_HEADER", "JWT_SECRET", "ORDERS_SECRET", "NEW", "OLD", "ALICE_SECRET"] {
        command.env(name, "whsec_bG9uZy1lbm91Z2gtc2VjcmV0LW9mLTMyLWJ5dGVzLW9yLW1vcmU=");
    }
    let done = command.env("KEY_HASH", HASH).output().expect("it runs");
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{}\n{text}", String::from_utf8_lossy(&done.stderr)))
}

/// A piece of a configuration with the heads that it belongs to.
fn whole(piece: &str) -> String {
    let headers: Vec<_> = piece.lines().filter(|line| line.starts_with('[')).collect();
    let has = |header: &str| headers.iter().any(|line| line.starts_with(header));
    let mut parts = vec![piece.to_owned()];
    if has("[[realm.") && !has("[[realm]]") {
        let place = piece.find("[[realm.").expect("it is there");
        let (before, after) = piece.split_at(place);
        let mut head = "[[realm]]\nname = \"realm1\"\n".to_owned();
        if after.starts_with("[[realm.role.") {
            head += "[[realm.role]]\nname = \"user\"\n";
        }
        parts = vec![before.to_owned(), head, after.to_owned()];
    } else if (has("[[listener.path]]") || has("[[listener.tls]]")) && !has("[[listener]]") {
        parts.insert(0, "[[listener]]\nlisten = \"127.0.0.1:8080\"\n".to_owned());
    }
    let whole = parts.concat();
    // What paths and webhooks name.
    if whole.contains("realm = \"realm1\"") && !whole.contains("[[realm]]") {
        let roles =
            ["shop", "web", "anonymous"].map(|name| format!("[[realm.role]]\nname = \"{name}\"\n"));
        return whole + "[[realm]]\nname = \"realm1\"\n" + &roles.concat();
    }
    whole
}

const HASH: &str = "$sha256$jV2KXXd0sQWqXcXhBDPkqQ5FYsxYzX1PuqlG4EFyfUg";
const USERS: &str = "[[user]]\nauthid = \"joe\"\nrole = \"user\"\n\
    ticket = \"$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0\"\n\
    wampcra = \"$pbkdf2-sha256$i=10000,l=32$ZmpDTGlnMHIwcU9BUTFiTS9iUDdKUT09$\
    FL64nVE3p21ZnXo1ILj2t67BYY4sRIIpi1oEmMJjn4s\"\n\
    cryptosign = \"1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d\"\n\
    wamp-scram = \"$scram-sha-256$kdf=pbkdf2,i=4096$cguaJqWeyBtM\
    IP7cT1aYVA$yk9csSNnpRB9E5gQnr3xorkavBOBty7Ee+Sdo/JcKjI$\
    Z2hJCDQNFauwgLNCZSeRvHX7J72T5fq4C3mCr1h0dl8\"\n\
    tls = \"dns:billing.example.org\"\n";

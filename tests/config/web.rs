//! What a file may say about paths that serve files.

use crate::{check, read};

fn listener(keys: &str) -> String {
    format!("[[listener]]\nlisten = \"127.0.0.1:1\"\n{keys}\n")
}

fn path(keys: &str) -> String {
    listener(&format!("[[listener.path]]\npath = \"/\"\n{keys}"))
}

#[test]
fn files_are_served_beside_the_default_paths() {
    let folder = tempfile::tempdir().unwrap();
    let files = format!("files = {:?}", folder.path());
    let config =
        read(&path(&format!("{files}\nfallback = \"app/index.html\"\ncache = \"no-store\"")));
    let read_back = &config.listeners[0];
    assert_eq!(read_back.paths, ["/ws"], "what files take is no path of WebSockets");
    assert_eq!(read_back.paths_apart[0].files.as_deref(), Some(folder.path()));
    assert_eq!(read_back.urls(), ["ws://127.0.0.1:1/ws", "rs://127.0.0.1:1"]);
    assert_eq!(read_back.web_urls(), ["http://127.0.0.1:1/"]);
    let summary = config.summary().to_string();
    assert!(summary.contains(&format!("files of {} at /", folder.path().display())), "{summary}");
    let below = listener(&format!("[[listener.path]]\npath = \"/app\"\n{files}"));
    assert_eq!(read(&below).listeners[0].paths, ["/ws", "/"]);
    // Who narrows a path for WebSockets opens no other.
    let both =
        format!("{below}[[listener.path]]\npath = \"/private\"\nauthmethods = [\"ticket\"]\n");
    assert!(read(&both).listeners[0].paths.is_empty());
    let named = listener(&format!("paths = [\"/\"]\n[[listener.path]]\npath = \"/\"\n{files}"));
    check(&named, (5, 8), &["is served already"]);
}

#[test]
fn files_that_cannot_be_meant_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = format!("files = {:?}\n", folder.path());
    check(&path("files = \"/nonexistent/app\""), (5, 9), &["/nonexistent/app", "No such file"]);
    check(&path("files = \"/dev/null\""), (5, 9), &["Not a directory", "name a directory"]);
    check(&path("fallback = \"index.html\""), (5, 12), &["for paths with `files`"]);
    check(&path("cache = \"no-store\""), (5, 9), &["for paths with `files`"]);
    check(&path(&format!("{files}fallback = \"../x\"")), (6, 12), &["no file below"]);
    check(&path(&format!("{files}cache = \"a\\nb\"")), (6, 9), &["max-age=3600"]);
    check(&path(&format!("{files}realm = \"realm1\"")), (6, 9), &["`realm` is for WebSockets"]);
    check(&path(&format!("{files}origins = [\"*\"]")), (6, 11), &["`origins` is for WebSockets"]);
    let methods = format!("{files}authmethods = [\"ticket\"]");
    check(&path(&methods), (6, 15), &["`authmethods` is for WebSockets"]);
    let raw = listener(&format!("websocket = false\n[[listener.path]]\npath = \"/\"\n{files}"));
    check(&raw, (6, 9), &["speaks no HTTP"]);
}

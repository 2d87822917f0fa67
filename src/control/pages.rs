//! The dashboard: its files, which are part of the program, and what browsers may do with them.
//!
//! The files are served as they are written; what changes is asked for by the pages themselves.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, HeaderName,
    IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Whether who asks is a browser that opens a page.
pub(super) fn are_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

/// The page that loads all others. Its policy lets it connect to the WebSockets at `urls`.
pub(super) fn front(headers: &HeaderMap, urls: &[Vec<String>]) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let policy = policy(host, urls);
    let page = answer(&INDEX, headers);
    ([(CONTENT_SECURITY_POLICY, policy), (VARY, "accept, host".to_owned())], page).into_response()
}

/// What the front page loads; `None`: there is no such file.
pub(super) fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    FILES.iter().find(|file| file.name == name).map(|file| answer(file, headers))
}

/// The file, or that the browser has it.
fn answer(file: &File, headers: &HeaderMap) -> Response {
    let kept: [(HeaderName, &str); 2] = [(ETAG, &file.tag), (CACHE_CONTROL, "no-cache")];
    let asked = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = asked.flat_map(|tags| tags.split(','));
    if tags.any(|tag| tag.trim().trim_start_matches("W/") == file.tag) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(CONTENT_TYPE, file.kind)], file.text).into_response()
}

/// What the pages may load and do: nothing that is not from here.
fn policy(host: &str, urls: &[Vec<String>]) -> String {
    let mut connect = vec!["'self'".to_owned()];
    for source in urls.iter().flatten().filter_map(|url| source(url, host)) {
        if !connect.contains(&source) {
            connect.push(source);
        }
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; trusted-types 'none'; \
         require-trusted-types-for 'script'",
        connect.join(" ")
    )
}

/// The URL of a WebSocket as a source of a policy. A listener on all addresses is reached by the
/// host that the page came from; an address of IPv6 cannot stand in a policy, except by a name.
fn source(url: &str, host: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| scheme.starts_with("ws"))?;
    let address: SocketAddr = rest.split('/').next()?.parse().ok()?;
    let name = match address.ip() {
        ip if ip.is_unspecified() => name_in_policy(host)?,
        ip => of_address(ip)?,
    };
    Some(format!("{scheme}://{name}:{}", address.port()))
}

fn name_in_policy(host: &str) -> Option<String> {
    let whole: Result<SocketAddr, _> = host.parse();
    let bare = host.trim_start_matches('[').trim_end_matches(']').parse();
    if let Ok(ip) = whole.map(|address| address.ip()).or(bare) {
        return of_address(ip);
    }
    let name = host.split(':').next()?;
    let may_stand_in_it = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (!name.is_empty() && name.bytes().all(may_stand_in_it)).then(|| name.to_owned())
}

fn of_address(ip: IpAddr) -> Option<String> {
    match ip {
        IpAddr::V4(ip) => Some(ip.to_string()),
        IpAddr::V6(ip) => ip.is_loopback().then(|| "localhost".to_owned()),
    }
}

struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    /// Another text has another one.
    tag: String,
}

impl File {
    fn new(name: &'static str, kind: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self { name, kind, text, tag: format!("\"{}\"", HEXLOWER.encode(&digest[..16])) }
    }
}

macro_rules! files {
    ($($name:literal as $kind:ident,)*) => {
        vec![$(File::new($name, $kind, include_str!(concat!("pages/", $name))),)*]
    };
}

static INDEX: LazyLock<File> =
    LazyLock::new(|| File::new("index.html", HTML, include_str!("pages/index.html")));

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    files![
        "actions.js" as SCRIPT,
        "api.js" as SCRIPT,
        "chart.js" as SCRIPT,
        "dialog.js" as SCRIPT,
        "dom.js" as SCRIPT,
        "ended.js" as SCRIPT,
        "feed.js" as SCRIPT,
        "format.js" as SCRIPT,
        "histories.js" as SCRIPT,
        "icon.svg" as IMAGE,
        "log.js" as SCRIPT,
        "main.js" as SCRIPT,
        "messages.js" as SCRIPT,
        "nodes.js" as SCRIPT,
        "operate.js" as SCRIPT,
        "overview.js" as SCRIPT,
        "poll.js" as SCRIPT,
        "roles.js" as SCRIPT,
        "sessions.js" as SCRIPT,
        "shards.js" as SCRIPT,
        "slow.js" as SCRIPT,
        "style.css" as STYLE,
        "table.js" as SCRIPT,
        "token.js" as SCRIPT,
        "try.js" as SCRIPT,
        "uris.js" as SCRIPT,
        "wamp.js" as SCRIPT,
        "widgets.js" as SCRIPT,
    ]
});

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_served_and_short() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/pages");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let file = FILES.iter().find(|file| file.name == name);
            let file = file.or_else(|| (name == "index.html").then_some(&*INDEX)).expect(&name);
            count += 1;
            assert!(file.text.lines().count() <= 300 || name.ends_with(".css"), "{name} is long");
            let wide = file.text.lines().find(|line| line.chars().count() > 100);
            assert_eq!(wide, None, "{name}");
            let is_script = file.kind == SCRIPT;
            assert!(!is_script || file.text.starts_with("// "), "{name} says what it is");
        }
        assert_eq!(count, FILES.len() + 1);
    }

    /// Text that clients choose becomes markup by these alone.
    #[test]
    fn no_module_makes_markup_of_text() {
        for file in FILES.iter().filter(|file| file.kind == SCRIPT) {
            for word in
                ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("]
            {
                assert!(!file.text.contains(word), "{}: {word}", file.name);
            }
        }
    }

    #[test]
    fn pages_connect_to_the_websockets_of_this_router() {
        for (url, host, expected) in [
            ("ws://127.0.0.1:8080/ws", "localhost:9080", Some("ws://127.0.0.1:8080")),
            ("wss://10.0.0.7:443/", "localhost:9080", Some("wss://10.0.0.7:443")),
            ("ws://0.0.0.0:8080/ws", "localhost:9080", Some("ws://localhost:8080")),
            ("ws://0.0.0.0:8080/ws", "127.0.0.1:9080", Some("ws://127.0.0.1:8080")),
            ("ws://[::]:8080/ws", "stentor.internal", Some("ws://stentor.internal:8080")),
            ("ws://[::]:8080/ws", "[::1]:9080", Some("ws://localhost:8080")),
            ("ws://[::1]:8080/ws", "localhost", Some("ws://localhost:8080")),
            ("ws://[2001:db8::1]:8080/ws", "localhost", None),
            ("ws://[::]:8080/ws", "a; script-src *", None),
            ("rs://127.0.0.1:8080", "localhost", None),
            ("ws+unix:///run/stentor.sock:/ws", "localhost", None),
        ] {
            assert_eq!(source(url, host).as_deref(), expected, "{url} from {host}");
        }
        let urls = [vec!["ws://127.0.0.1:1/ws".to_owned(), "ws://127.0.0.1:1/".to_owned()]];
        let policy = policy("localhost", &urls);
        assert!(policy.contains("connect-src 'self' ws://127.0.0.1:1; "), "{policy}");
    }
}

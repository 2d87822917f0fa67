//! What crossbar serves at the paths of a web transport.

use super::doors::{At, Door, Page, What};
use super::listeners::Entrances;
use super::logins::ways;
use super::notes::Notes;
use super::section::Section;
use crate::address::Network;

/// Whose paths are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    pub(super) worker: usize,
    pub(super) listener: usize,
    /// What stands before them, with a slash at its end.
    pub(super) prefix: &'p str,
}

pub(super) fn read_paths(
    entrances: &mut Entrances,
    place: Place<'_>,
    paths: &Section<'_>,
    notes: &mut Notes,
) {
    for (name, item) in paths.entries() {
        let Some(service) = item.section(notes) else { continue };
        let path = match name.trim_matches('/') {
            "" => place.prefix.to_owned(),
            name => format!("{}{name}", place.prefix),
        };
        let path = match path.trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        service.ignore(&["id"]);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#%\\\"".contains(&byte);
        if !path.bytes().all(is_plain) {
            service.entries().for_each(drop);
            notes.missing(&*service.place, "a path holds no such letters");
            continue;
        }
        read_service(entrances, place, path, &service, notes);
        service.finish(notes);
    }
}

fn read_service(
    entrances: &mut Entrances,
    place: Place<'_>,
    path: String,
    service: &Section<'_>,
    notes: &mut Notes,
) {
    let Place { worker, listener, .. } = place;
    match service.text("type", notes).unwrap_or_default() {
        "websocket" => entrances.websocket(worker, listener, service, At::Path(path), notes),
        "longpoll" => {
            if service.item("options").is_some() {
                let text = "the bounds of long polling are the router's own";
                notes.changed(service.at("options"), text);
            }
            let (at, ways) = (At::LongPoll(path), ways(service, &entrances.environment, notes));
            let (place, origins) = (service.place.clone(), Some(vec!["*".to_owned()]));
            let (realms, comments) = (Vec::new(), Vec::new());
            entrances.listeners[listener].websocket = true;
            entrances
                .door(Door { place, listener, worker, realms, at, origins, ways, comments }, notes);
        }
        "path" => {
            if let Some(paths) = service.section("paths", notes) {
                let prefix = format!("{}/", path.trim_end_matches('/'));
                read_paths(entrances, Place { prefix: &prefix, ..place }, &paths, notes);
            }
        }
        "static" => {
            let page = files(entrances, path, service, notes);
            entrances.listeners[listener].pages.extend(page);
        }
        kind @ ("publisher" | "caller") => {
            let http = if kind == "publisher" { "publish" } else { "call" };
            let is_tls = entrances.listeners[listener].tls.is_some();
            let page = bridge(http, path, is_tls, service, notes);
            entrances.listeners[listener].pages.extend(page);
        }
        other => {
            service.entries().for_each(drop);
            match not_served(other) {
                (text, true) => notes.changed(&*service.place, text),
                (text, false) => notes.missing(&*service.place, text),
            }
        }
    }
}

/// What to do instead, and whether nobody will miss it.
fn not_served(kind: &str) -> (String, bool) {
    let text = match kind {
        "nodeinfo" => {
            return ("no page about the node: the admin listener has a dashboard".into(), true);
        }
        "webhook" => {
            "a request of somebody else's service becomes no event: let it post to a path with \
             `http = \"publish\"`, or put a small program between the two"
        }
        "json" => "put the value into a file, and serve that by a path with `files`",
        "redirect" => "let the proxy in front redirect, or a page below `files`",
        "wsgi" | "cgi" | "reverseproxy" | "resource" | "websocket-reverseproxy" => {
            "let a server of its own do that, and Caddy or nginx in front divide the paths"
        }
        "archive" => "unpack it, and name the directory in a path with `files`",
        "upload" => "uploads need a server of their own",
        other => return (format!("`{other}` is nothing that is served here"), false),
    };
    (format!("`{kind}` is not served: {text}"), false)
}

fn files(
    entrances: &Entrances,
    path: String,
    service: &Section<'_>,
    notes: &mut Notes,
) -> Option<Page> {
    let place = service.place.clone();
    let directory = service.text("directory", notes);
    let (mut fallback, mut cache) = (None, Some(format!("max-age={CACHE_S}, public")));
    if let Some(options) = service.section("options", notes) {
        if options.bool("enable_directory_listing", notes) == Some(true) {
            let text = "there are no lists of files: a directory without `index.html` is not found";
            notes.changed(options.at("enable_directory_listing"), text);
        }
        if options.item("mime_types").is_some() {
            let text = "types of files are in a fixed table; what is not in it is \
                        `application/octet-stream`";
            notes.changed(options.at("mime_types"), text);
        }
        if options.has("cache_timeout") {
            let seconds = options.number("cache_timeout", notes);
            cache = seconds.map(|seconds| format!("max-age={seconds}, public"));
        }
        options.ignore(&["allow_cross_origin"]);
        fallback = options.text("default_file", notes).map(str::to_owned);
        options.finish(notes);
    }
    if let Some(name) = fallback.take_if(|name| !is_file_name(name)) {
        let text = format!("`{name}` is no file below the directory that may be served");
        notes.missing(service.at("options.default_file"), text);
    }
    let Some(directory) = directory else {
        service.ignore(&["package", "resource"]);
        let text = "files of a Python package: copy them to a directory, and name that in `files`";
        notes.missing(place, text);
        return None;
    };
    let directory = entrances.absolute(directory);
    let what = What::Files { directory, fallback, cache };
    Some(Page { place, path, what, comments: Vec::new() })
}

/// As the check of the configuration sees it.
fn is_file_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
    name.split('/').all(is_part) && !name.contains(char::is_control)
}

/// A path where requests become publications or calls. Where crossbar asks for a proof that cannot
/// be asked for here, there is no path.
fn bridge(
    http: &'static str,
    path: String,
    is_tls: bool,
    service: &Section<'_>,
    notes: &mut Notes,
) -> Option<Page> {
    let place = service.place.clone();
    let (realm, role) = (service.text("realm", notes), service.text("role", notes));
    let (mut require_ip, mut body_bytes, mut is_refused) = (Vec::new(), None, false);
    if let Some(options) = service.section("options", notes) {
        options.ignore(&["debug", "timestamp_delta_limit"]);
        let proofs = [options.item("key"), options.item("secret")];
        if proofs.iter().any(Option::is_some) {
            let text = "signed requests (`key`, `secret`) are not understood, and without a \
                        signature nobody may ask, so there is no such path. Write it with a \
                        `[[listener.path.key]]` for each caller: `stentor keygen token` makes \
                        one, and clients send `Authorization: Bearer` instead of a signature";
            notes.missing(options.at("secret"), text);
            is_refused = true;
        }
        if options.bool("require_tls", notes) == Some(true) && !is_tls {
            let text = "TLS is demanded on a port without it, so crossbar answers nobody, and \
                        there is no such path";
            notes.missing(options.at("require_tls"), text);
            is_refused = true;
        }
        let has_networks = options.has("require_ip");
        for text in options.texts("require_ip", notes) {
            let text = without_mask(text);
            if let Err(error) = text.parse::<Network>() {
                notes.missing(options.at("require_ip"), error.to_string());
            } else {
                require_ip.push(text);
            }
        }
        if has_networks && require_ip.is_empty() {
            notes.missing(options.at("require_ip"), "nobody may ask, so there is no such path");
            is_refused = true;
        }
        body_bytes = options.number("post_body_limit", notes).filter(|bytes| *bytes > 0);
        options.finish(notes);
    }
    let (Some(realm), Some(role)) = (realm, role) else {
        notes.missing(place, "without `realm` and `role` nobody could ask");
        return None;
    };
    if is_refused {
        return None;
    }
    let (realm, role) = (realm.to_owned(), role.to_owned());
    let what = What::Bridge { http, realm, role, require_ip, body_bytes };
    Some(Page { place, path, what, comments: Vec::new() })
}

/// A network as it is written here: crossbar takes `10.0.0.0/255.0.0.0` as well, and
/// `10.0.0.0/0.255.255.255`.
fn without_mask(text: &str) -> String {
    let made = text.split_once('/').and_then(|(address, mask)| {
        let mask = u32::from(mask.parse::<core::net::Ipv4Addr>().ok()?);
        let is_mask = |mask: &u32| mask.leading_ones() + mask.trailing_zeros() == u32::BITS;
        let mask = [mask, !mask].into_iter().find(is_mask)?;
        Some(format!("{address}/{}", mask.leading_ones()))
    });
    made.unwrap_or_else(|| text.to_owned())
}

/// Seconds that browsers may keep files of crossbar's, where it does not say another number.
const CACHE_S: u64 = 43_200;

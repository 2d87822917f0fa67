//! The transports of a router worker.

use super::components::RUNTIME;
use super::doors::{At, Common, Door, Listener, Tls};
use super::logins::ways;
use super::notes::{Notes, Severity};
use super::paths::{Place, read_paths};
use super::section::Section;
use super::text::{file_name, unlike};
use super::variables::{Environment, is_variable, with_references};

/// What all transports of a node become.
#[derive(Debug, Default)]
pub(super) struct Entrances {
    pub(super) listeners: Vec<Listener>,
    pub(super) doors: Vec<Door>,
    pub(super) common: Common,
    /// Where relative paths begin.
    pub(super) node_directory: String,
    /// What crossbar would have.
    pub(super) environment: Environment,
}

impl Entrances {
    pub(super) fn read(&mut self, worker: usize, transport: &Section<'_>, notes: &mut Notes) {
        let kind = transport.text("type", notes).unwrap_or_default();
        transport.ignore(&["debug", "debug_wamp"]);
        if !matches!(kind, "websocket" | "rawsocket" | "web" | "universal") {
            transport.entries().for_each(drop);
            notes.missing(&*transport.place, unknown_transport(kind));
            return;
        }
        let Some(endpoint) = transport.section("endpoint", notes) else {
            transport.entries().for_each(drop);
            notes.missing(&*transport.place, "a transport without `endpoint`");
            return;
        };
        let Some(mut listener) = self.endpoint(&endpoint, notes) else {
            transport.entries().for_each(drop);
            return;
        };
        if let Some(other) = self.listeners.iter().find(|one| one.address == listener.address) {
            let text = format!(
                "{} is taken by {}: several workers share a port in crossbar, here the threads of \
                 one router do",
                listener.address, other.place
            );
            transport.entries().for_each(drop);
            notes.missing(&*transport.place, text);
            return;
        }
        let names: Vec<_> = self.listeners.iter().map(|other| other.name.clone()).collect();
        let id = transport.text("id", notes).map_or_else(|| file_name(kind), file_name);
        listener.name = unlike(id, &names);
        listener.place.clone_from(&transport.place);
        let number = self.listeners.len();
        self.listeners.push(listener);
        let doors = self.doors.len();
        match kind {
            "websocket" => self.websocket(worker, number, transport, At::Itself, notes),
            "rawsocket" => self.rawsocket(worker, number, transport, notes),
            "web" => self.web(worker, number, transport, notes),
            _ => self.universal(worker, number, transport, notes),
        }
        transport.finish(notes);
        let listener = &self.listeners[number];
        if self.doors.len() == doors && listener.pages.is_empty() {
            let place = listener.place.clone();
            self.listeners.pop();
            notes.missing(place, "nothing is left of this transport that could be served");
        }
    }

    /// Where it listens.
    fn endpoint(&mut self, endpoint: &Section<'_>, notes: &mut Notes) -> Option<Listener> {
        self.common.backlog.extend(endpoint.number("backlog", notes));
        let (address, unix_mode) = match endpoint.text("type", notes) {
            Some("tcp") => (tcp(endpoint, notes)?, None),
            Some("unix") => (self.unix(endpoint, notes)?, Some("0660")),
            other => {
                let kind = other.unwrap_or_default();
                endpoint.entries().for_each(drop);
                notes
                    .missing(&*endpoint.place, format!("endpoints of type `{kind}` are not there"));
                return None;
            }
        };
        let tls = match endpoint.section("tls", notes) {
            // Never plainly what crossbar serves by TLS.
            Some(section) => Some(self.tls(&section, notes)?),
            None if endpoint.item("tls").is_some() => return None,
            None => None,
        };
        endpoint.finish(notes);
        Some(Listener { address, tls, unix_mode, ..Listener::default() })
    }

    /// A Unix socket, whose path may hold variables.
    fn unix(&self, endpoint: &Section<'_>, notes: &mut Notes) -> Option<String> {
        let (place, path) = (endpoint.at("path"), endpoint.text("path", notes)?);
        let text = "every user of the machine may open this socket in crossbar, and here the user \
                    and the group of the router: put others into its group, or write `unix_mode = \
                    \"0666\"`";
        notes.denied(&*place, text);
        let made = with_references(path);
        // What it holds is known when the router starts.
        let path = if path.starts_with('$') { made } else { self.absolute(&made) };
        if path.starts_with('$') {
            notes.hint(&*place, "what the variable holds has to be an absolute path");
        } else if !path.starts_with(&format!("{RUNTIME}/")) {
            let text = format!(
                "the unit of the router lets it make sockets below {RUNTIME} and nowhere else: \
                 move it there, with its clients, or add its directory by `ReadWritePaths=`"
            );
            notes.hint(place, text);
        }
        Some(format!("unix:{path}"))
    }

    fn tls(&self, section: &Section<'_>, notes: &mut Notes) -> Option<Tls> {
        let (certificate, key) = (section.text("certificate", notes), section.text("key", notes));
        let mut comments = Vec::new();
        let chain = section.texts("chain_certificates", notes);
        if !chain.is_empty() {
            let files: Vec<_> = chain.iter().map(|file| self.absolute(file)).collect();
            let text = format!(
                "The certificates that it was signed by belong behind it in the same file: append \
                 {}.",
                files.join(", ")
            );
            notes.changed(section.at("chain_certificates"), &*text);
            comments.push(text);
        }
        if section.item("dhparam").is_some() {
            let text = "not needed: keys are exchanged over elliptic curves only";
            notes.hint(section.at("dhparam"), text);
        }
        if section.item("ciphers").is_some() {
            let text = "not carried over: TLS 1.3 and 1.2 with the ciphers that are good today, \
                        and no choice among them";
            notes.changed(section.at("ciphers"), text);
        }
        let authorities = section.texts("ca_certificates", notes);
        if authorities.len() > 1 {
            let files: Vec<_> = authorities.iter().map(|file| self.absolute(file)).collect();
            let text = format!(
                "The authorities of clients are one file here: put {} into it, too.",
                files[1..].join(", ")
            );
            notes.changed(section.at("ca_certificates"), &*text);
            comments.push(text);
        }
        if section.has("ca_certificates") && authorities.is_empty() {
            notes
                .missing(section.at("ca_certificates"), "no authority of clients can be read here");
            return None;
        }
        section.finish(notes);
        let (Some(certificate), Some(key)) = (certificate, key) else {
            notes.missing(&*section.place, "`tls` needs `certificate` and `key`");
            return None;
        };
        Some(Tls {
            certificate: self.absolute(certificate),
            key: self.absolute(key),
            client_ca: authorities.first().map(|file| self.absolute(file)),
            comments,
        })
    }

    /// A WebSocket: a transport of its own, or a path of another one.
    pub(super) fn websocket(
        &mut self,
        worker: usize,
        listener: usize,
        section: &Section<'_>,
        at: At,
        notes: &mut Notes,
    ) {
        section.ignore(&["id", "type", "debug", "url"]);
        self.serializers(listener, section, notes);
        self.listeners[listener].websocket = true;
        let mut origins = Some(vec!["*".to_owned()]);
        match section.section("options", notes) {
            Some(options) => origins = self.websocket_options(listener, &options, notes),
            None => self.common.message(None),
        }
        if section.item("cookie").is_some() {
            let text = "no cookies are set: an anonymous client has another authid each time";
            notes.changed(section.at("cookie"), text);
        }
        let comments = if at == At::Itself {
            let text = "crossbar opens a WebSocket at any path of this port, here at `/` and \
                        `/ws`; add others that clients use to `paths`";
            notes.hint(&*section.place, text);
            vec!["At any path in crossbar; add those that clients use to `paths`.".to_owned()]
        } else {
            Vec::new()
        };
        let ways = ways(section, &self.environment, notes);
        let (place, realms) = (section.place.clone(), Vec::new());
        self.door(Door { place, listener, worker, realms, at, origins, ways, comments }, notes);
        section.finish(notes);
    }

    fn rawsocket(
        &mut self,
        worker: usize,
        listener: usize,
        section: &Section<'_>,
        notes: &mut Notes,
    ) {
        section.ignore(&["id", "type", "debug"]);
        self.serializers(listener, section, notes);
        self.listeners[listener].rawsocket = true;
        let mut message_bytes = None;
        if let Some(options) = section.section("options", notes) {
            message_bytes = options.number("max_message_size", notes);
            options.finish(notes);
        }
        self.common.message(message_bytes);
        let ways = ways(section, &self.environment, notes);
        let (place, realms) = (section.place.clone(), Vec::new());
        let (at, origins, comments) = (At::Itself, None, Vec::new());
        self.door(Door { place, listener, worker, realms, at, origins, ways, comments }, notes);
        section.finish(notes);
    }

    /// A door without any way in would be one for all.
    pub(super) fn door(&mut self, door: Door, notes: &mut Notes) {
        if door.ways.is_empty() {
            let text = "nobody could log in here, so clients are not let in";
            notes.missing(door.place, text);
        } else {
            self.doors.push(door);
        }
    }

    fn web(&mut self, worker: usize, listener: usize, transport: &Section<'_>, notes: &mut Notes) {
        if let Some(options) = transport.section("options", notes) {
            options.ignore(&["access_log", "display_tracebacks", "client_timeout"]);
            if options.bool("hsts", notes) == Some(true) {
                let text = "the header `Strict-Transport-Security` is not sent: let a proxy add it";
                notes.missing(options.at("hsts"), text);
            }
            options.ignore(&["hsts_max_age"]);
            options.finish(notes);
        }
        if let Some(paths) = transport.section("paths", notes) {
            read_paths(self, Place { worker, listener, prefix: "/" }, &paths, notes);
        }
    }

    fn universal(
        &mut self,
        worker: usize,
        listener: usize,
        transport: &Section<'_>,
        notes: &mut Notes,
    ) {
        if let Some(section) = transport.section("rawsocket", notes) {
            self.rawsocket(worker, listener, &section, notes);
        }
        if let Some(paths) = transport.section("websocket", notes) {
            for (path, item) in paths.entries() {
                let Some(section) = item.section(notes) else { continue };
                let at = At::Path(format!("/{}", path.trim_matches('/')));
                self.websocket(worker, listener, &section, at, notes);
            }
        }
        if let Some(web) = transport.section("web", notes) {
            self.web(worker, listener, &web, notes);
            web.ignore(&["type", "id"]);
            web.finish(notes);
        }
        if transport.item("mqtt").is_some() {
            notes.missing(transport.at("mqtt"), MQTT);
        }
    }

    /// One listener has them for all of its paths: those that any of them has.
    fn serializers(&mut self, listener: usize, section: &Section<'_>, notes: &mut Notes) {
        if !section.has("serializers") {
            self.listeners[listener].takes_any_serializer = true;
            return;
        }
        let mut known = Vec::new();
        for name in section.texts("serializers", notes) {
            match name {
                "json" | "json.batched" => known.push("json"),
                "msgpack" | "msgpack.batched" => known.push("msgpack"),
                "cbor" | "cbor.batched" => known.push("cbor"),
                other => {
                    let text =
                        format!("there is no serializer `{other}`; clients take another one");
                    notes.changed(section.at("serializers"), text);
                }
            }
        }
        if known.is_empty() {
            notes.missing(section.at("serializers"), "none of these serializers is there: JSON is");
            known.push("json");
        }
        let all = &mut self.listeners[listener].serializers;
        all.extend(known);
        all.sort_unstable();
        all.dedup();
    }

    /// Takes what it can, and says whose pages may connect.
    fn websocket_options(
        &mut self,
        listener: usize,
        options: &Section<'_>,
        notes: &mut Notes,
    ) -> Option<Vec<String>> {
        options.ignore(&HARMLESS);
        let common = &mut self.common;
        common.message(options.number("max_message_size", notes));
        common.ping_interval_ms.extend(options.number("auto_ping_interval", notes));
        common.ping_timeout_ms.extend(options.number("auto_ping_timeout", notes));
        common.handshake_ms.extend(options.number("open_handshake_timeout", notes));
        common.close_ms.extend(options.number("close_handshake_timeout", notes));
        common.delays_small_segments |= options.bool("tcp_nodelay", notes) == Some(false);
        if options.number("max_frame_size", notes).is_some_and(|bytes| bytes > 0) {
            let text =
                "frames have no bound of their own: `limits.message_bytes` bounds the message";
            notes.changed(options.at("max_frame_size"), text);
        }
        if options.item("compression").is_some() {
            self.listeners[listener].deflate = true;
        }
        if options.bool("require_websocket_subprotocol", notes) == Some(false) {
            self.listeners[listener].takes_any_subprotocol = true;
        }
        let takes_null = options.bool("allow_null_origin", notes).unwrap_or(true);
        let mut origins = Vec::new();
        match options.has("allowed_origins") {
            false => origins.push("*".to_owned()),
            true => {
                for pattern in options.texts("allowed_origins", notes) {
                    origins.extend(origin(pattern, &options.at("allowed_origins"), notes));
                }
                if takes_null {
                    origins.push("null".into());
                }
            }
        }
        let place = options.at("allowed_origins");
        if origins.is_empty() {
            let text = "an empty list stands for the pages of the host itself, which may connect";
            notes.add(Severity::BecomesAllowed, place, text);
        } else if !takes_null && origins.iter().any(|origin| origin == "*") {
            let text = "`*` stands for all origins, and `null` is one of them";
            notes.add(Severity::BecomesAllowed, place, text);
        }
        options.finish(notes);
        Some(origins)
    }

    /// A path of crossbar's as one that does not depend on where a file lies.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') || self.node_directory.is_empty() {
            return path.to_owned();
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in self.node_directory.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }
}

/// A pattern of origins, if there is such a one here.
fn origin(pattern: &str, place: &str, notes: &mut Notes) -> Option<String> {
    if pattern == "*" {
        return Some("*".into());
    }
    let is_origin = pattern.split_once("://").is_some_and(|(scheme, host)| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(fits)
    });
    if is_origin || pattern == "null" {
        return Some(pattern.to_owned());
    }
    let text = format!(
        "`{pattern}` cannot be said so: write each origin, as in `https://app.example.org`, or \
         `*.example.org` for all hosts below one, with any scheme and port"
    );
    notes.missing(place, text);
    None
}

/// An address, which holds a variable of the environment if the port does.
fn tcp(endpoint: &Section<'_>, notes: &mut Notes) -> Option<String> {
    endpoint.ignore(&["shared"]);
    if endpoint.item("user_timeout").is_some() {
        notes.changed(endpoint.at("user_timeout"), "TCP's own timeout is the system's");
    }
    let item = endpoint.item("port");
    let port = match item.as_ref().and_then(|item| item.value.as_text()) {
        Some(text) => {
            let name = text.strip_prefix('$').filter(|name| is_variable(name));
            let Some(name) = name else {
                notes.missing(endpoint.at("port"), format!("`{text}` is no port"));
                return None;
            };
            format!("${{{name}}}")
        }
        None if item.is_none() && endpoint.has("portrange") => {
            endpoint.ignore(&["portrange"]);
            notes.missing(endpoint.at("portrange"), "write a port, or one listener for each");
            return None;
        }
        None => endpoint.number("port", notes)?.to_string(),
    };
    let is_six = endpoint.number("version", notes) == Some(6);
    let host = match endpoint.text("interface", notes) {
        None | Some("") => if is_six { "[::]" } else { "0.0.0.0" }.to_owned(),
        Some("localhost") => if is_six { "[::1]" } else { "127.0.0.1" }.to_owned(),
        Some(text) => match text.parse::<core::net::IpAddr>() {
            Ok(core::net::IpAddr::V4(address)) => address.to_string(),
            Ok(core::net::IpAddr::V6(address)) => format!("[{address}]"),
            Err(_) => {
                let text = format!(
                    "`{text}` is no address, and names are not looked up: write the address of the \
                     interface. Until then it is that of this machine alone"
                );
                notes.missing(endpoint.at("interface"), text);
                "127.0.0.1".into()
            }
        },
    };
    Some(format!("{host}:{port}"))
}

fn unknown_transport(kind: &str) -> String {
    match kind {
        "mqtt" => MQTT.into(),
        "flashpolicy" => "Flash is gone, and so is its policy".into(),
        other => format!("transports of type `{other}` are not there"),
    }
}

const MQTT: &str = "MQTT is not spoken: a bridge is a client of both, in a process of its own";

/// What changes nothing that a client could see, or is always so here.
const HARMLESS: [&str; 16] = [
    "apply_mask",
    "auto_fragment_size",
    "auto_ping_restart_on_any_traffic",
    "auto_ping_size",
    "echo_close_codereason",
    "enable_flash_policy",
    "enable_hybi10",
    "enable_rfc6455",
    "enable_webstatus",
    "external_port",
    "fail_by_drop",
    "flash_policy",
    "mask_server_frames",
    "require_masked_client_frames",
    "show_server_version",
    "validate_utf8",
];

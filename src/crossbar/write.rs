//! The configuration file, in the order of `stentor config default`.

use super::authenticators::Authenticator;
use super::doors::{At, Door, Listener, MAX_MESSAGE_BYTES, MESSAGE_BYTES, Page, What};
use super::listeners::Entrances;
use super::logins::Way;
use super::notes::Notes;
use super::precedence::Written;
use super::realms::Realm;
use super::rules::Actions;
use super::text::Toml;
use crate::authentication::Method;
use crate::authorization::{Action, Disclosure};
use crate::wamp::{MatchPolicy, UriRule};

/// What is to be written.
pub(super) struct Node<'n> {
    pub(super) file: &'n str,
    pub(super) realms: &'n [Realm],
    pub(super) entrances: &'n Entrances,
    /// Of each realm.
    pub(super) ways: &'n [Vec<Authenticator>],
}

/// The text of the configuration. `users` are the files of the ways.
pub(super) fn write(node: &Node<'_>, users: &[Vec<Option<String>>], notes: &mut Notes) -> String {
    let mut toml = Toml::default();
    toml.comment(&format!(
        "Made from {} of a crossbar node. Comments name places there.",
        node.file
    ));
    let mut all: Vec<Method> = node.ways.iter().flatten().map(|one| one.method).collect();
    all.sort_unstable();
    all.dedup();
    for (number, listener) in node.entrances.listeners.iter().enumerate() {
        let doors = node.entrances.doors.iter().filter(|door| door.listener == number);
        let doors: Vec<_> = doors.collect();
        write_listener(listener, &doors, &all, &mut toml);
    }
    for ((realm, ways), files) in node.realms.iter().zip(node.ways).zip(users) {
        write_realm(realm, ways, files, &mut toml);
    }
    write_common(node.entrances, &mut toml, notes);
    toml.finish()
}

fn write_listener(listener: &Listener, doors: &[&Door], all: &[Method], toml: &mut Toml) {
    toml.gap();
    toml.comment(&listener.place);
    toml.comments(&listener.comments);
    let itself: Vec<_> = doors.iter().filter(|door| door.at == At::Itself).collect();
    itself.iter().for_each(|door| toml.comments(&door.comments));
    toml.raw_header("[[listener]]");
    if listener.is_named {
        toml.text("name", &listener.name);
    }
    toml.reference("listen", &listener.address);
    toml.maybe("unix_mode", listener.unix_mode);
    for (key, is_on) in [("websocket", listener.websocket), ("rawsocket", listener.rawsocket)] {
        if !is_on {
            toml.raw(key, false);
        }
    }
    let apart: Vec<_> = doors.iter().filter(|door| door.at != At::Itself).collect();
    if !listener.paths.is_empty() {
        toml.list("paths", listener.paths.iter().map(String::as_str));
    } else if listener.websocket && !itself.iter().any(|door| door.origins.is_some()) {
        // Else the default paths would be open to everybody.
        toml.raw("paths", "[]");
    } else if !listener.pages.is_empty() || !apart.is_empty() {
        toml.list("paths", ["/ws", "/"]);
    }
    if !listener.takes_any_serializer && !listener.serializers.is_empty() {
        toml.list("serializers", listener.serializers.iter().copied());
    }
    if listener.takes_any_subprotocol {
        let takes_json = listener.takes_any_serializer || listener.serializers.contains(&"json");
        toml.text("default_serializer", if takes_json { "json" } else { listener.serializers[0] });
    }
    if listener.deflate {
        toml.raw("deflate", true);
    }
    if let Some(origins) = itself.iter().find_map(|door| door.origins.as_ref()) {
        toml.list("origins", origins.iter().map(String::as_str));
    }
    if let [door, ..] = itself.as_slice() {
        write_methods(door, all, all, toml);
    }
    if let Some(tls) = &listener.tls {
        if let Some(authorities) = &tls.client_ca {
            toml.text("client_certificates", "require");
            toml.text("client_ca", authorities);
        }
        toml.gap();
        toml.comments(&tls.comments);
        toml.raw_header("[[listener.tls]]");
        toml.text("certificate", &tls.certificate);
        toml.text("key", &tls.key);
    }
    // A path without a list has that of the listener.
    let usual = itself.first().map_or_else(|| all.to_vec(), |door| methods(door));
    apart.iter().for_each(|door| write_path(door, all, &usual, toml));
    listener.pages.iter().for_each(|page| write_page(page, toml));
}

/// In one order, each once.
fn methods(door: &Door) -> Vec<Method> {
    let mut methods: Vec<_> = door.ways.iter().map(|(method, _)| *method).collect();
    methods.sort_unstable();
    methods.dedup();
    methods
}

/// The methods of a door, if they are not those that it has without a word. `all` are those that
/// anybody can log in by.
fn write_methods(door: &Door, all: &[Method], usual: &[Method], toml: &mut Toml) {
    let methods = methods(door);
    let differs = |method: &Method| methods.contains(method) != usual.contains(method);
    if all.iter().any(differs) {
        toml.list("authmethods", methods.iter().map(|method| method.as_str()));
    }
}

fn write_path(door: &Door, all: &[Method], usual: &[Method], toml: &mut Toml) {
    toml.gap();
    toml.comment(&door.place);
    toml.comments(&door.comments);
    toml.raw_header("[[listener.path]]");
    toml.maybe("path", door.at.path());
    if matches!(door.at, At::LongPoll(_)) {
        toml.text("http", "longpoll");
        toml.raw("sent_status", 204);
    }
    write_methods(door, all, usual, toml);
    if let Some(origins) = &door.origins {
        toml.list("origins", origins.iter().map(String::as_str));
    }
}

fn write_page(page: &Page, toml: &mut Toml) {
    toml.gap();
    toml.comment(&page.place);
    toml.comments(&page.comments);
    toml.raw_header("[[listener.path]]");
    toml.text("path", &page.path);
    match &page.what {
        What::Files { directory, fallback, cache } => {
            toml.text("files", directory);
            toml.maybe("fallback", fallback.as_deref());
            toml.maybe("cache", cache.as_deref());
        }
        What::Bridge { http, realm, role, require_ip, body_bytes } => {
            toml.text("http", http);
            toml.text("realm", realm);
            toml.text("role", role);
            if !require_ip.is_empty() {
                toml.list("require_ip", require_ip.iter().map(String::as_str));
            }
            if let Some(bytes) = body_bytes {
                toml.raw("body_bytes", bytes);
            }
            toml.list("origins", ["*"]);
        }
    }
}

fn write_realm(realm: &Realm, ways: &[Authenticator], files: &[Option<String>], toml: &mut Toml) {
    toml.gap();
    toml.comment(&realm.place);
    toml.raw_header("[[realm]]");
    toml.text("name", &realm.name);
    if realm.uri_rule == UriRule::Strict {
        toml.text("uri_rule", "strict");
    }
    if !realm.histories.is_empty() {
        toml.text("history_answer", "crossbar");
    }
    // What clients of crossbar compare and unpack.
    toml.raw("disclose_leavers", false);
    toml.text("goodbye_reply", "normal");
    for (one, file) in ways.iter().zip(files) {
        write_authenticator(one, file.as_deref(), toml);
    }
    for history in &realm.histories {
        toml.gap();
        toml.comment(&history.place);
        toml.raw_header("[[realm.history]]");
        toml.text("topic", &history.topic);
        write_policy(history.policy, toml);
        if let Some(events) = history.events {
            toml.raw("events", events);
        }
    }
    for role in &realm.roles {
        toml.gap();
        toml.comment(&role.place);
        toml.raw_header("[[realm.role]]");
        toml.text("name", &role.name);
        role.permissions.iter().for_each(|permission| write_permission(permission, toml));
    }
}

fn write_authenticator(one: &Authenticator, file: Option<&str>, toml: &mut Toml) {
    toml.gap();
    match &one.way {
        Way::Users { place, .. } | Way::Procedure { place, .. } => toml.comment(place),
        Way::Anonymous { .. } => {}
    }
    toml.raw_header("[[realm.authenticator]]");
    toml.text("method", one.method.as_str());
    match &one.way {
        Way::Anonymous { role, authid } => {
            toml.text("role", role);
            toml.maybe("authid", authid.as_deref().filter(|authid| !authid.is_empty()));
        }
        Way::Users { .. } => toml.maybe("users", file),
        Way::Procedure { uri, realm, role, .. } => {
            toml.text("procedure", uri);
            toml.maybe("procedure_realm", realm.as_deref());
            toml.maybe("role", role.as_deref());
        }
    }
    if !one.listeners.is_empty() {
        toml.list("listeners", one.listeners.iter().map(String::as_str));
    }
}

fn write_permission(permission: &Written, toml: &mut Toml) {
    toml.gap();
    toml.comments(&permission.comments);
    toml.raw_header("[[realm.role.permission]]");
    toml.text("uri", &permission.uri);
    write_policy(permission.policy, toml);
    let names = |actions: Actions| actions.iter().map(Action::as_str).collect::<Vec<_>>();
    for (key, actions) in [("allow", permission.allow), ("deny", permission.deny)] {
        if !actions.is_empty() {
            toml.list(key, names(actions));
        }
    }
    toml.maybe("authorizer", permission.authorizer.as_deref());
    if !permission.disclose.is_empty() {
        toml.list("disclose", permission.disclose.iter().copied().map(Disclosure::as_str));
    }
}

fn write_policy(policy: MatchPolicy, toml: &mut Toml) {
    if policy != MatchPolicy::Exact {
        toml.text("match", policy.as_str());
    }
}

/// What crossbar has for each transport and the router for all: the most generous value, where a
/// lesser one would cut off clients.
fn write_common(entrances: &Entrances, toml: &mut Toml, notes: &mut Notes) {
    let common = &entrances.common;
    let mut most = |values: &[u64], name: &str, range: std::ops::RangeInclusive<u64>| {
        let most = *values.iter().max()?;
        if values.iter().any(|value| *value != most) {
            let text = format!("transports have different values: {name} is {most} for all");
            notes.changed("workers", text);
        }
        let within = most.clamp(*range.start(), *range.end());
        if within != most {
            let text = format!("{name} is {within}, as {most} is out of its range");
            notes.changed("workers", text);
        }
        Some(within)
    };
    // Crossbar takes any length where it says 0.
    let any = |bytes: &u64| if *bytes == 0 { MAX_MESSAGE_BYTES } else { *bytes };
    let sizes: Vec<_> = common.message_bytes.iter().map(any).collect();
    let message = most(&sizes, "`limits.message_bytes`", 512..=MAX_MESSAGE_BYTES);
    let intervals: Vec<_> = common.ping_interval_ms.iter().copied().filter(|ms| *ms > 0).collect();
    let interval = most(&intervals, "`timeouts.ping_interval_ms`", 100..=24 * HOUR_MS);
    let is_off = interval.is_none() && !common.ping_interval_ms.is_empty();
    let interval = interval.or_else(|| is_off.then_some(0));
    let positive = |values: &[u64]| values.iter().copied().filter(|ms| *ms > 0).collect::<Vec<_>>();
    let pong =
        most(&positive(&common.ping_timeout_ms), "`timeouts.ping_timeout_ms`", 100..=HOUR_MS);
    let handshake = most(&positive(&common.handshake_ms), "`timeouts.handshake_ms`", 10..=HOUR_MS);
    let close = most(&positive(&common.close_ms), "`timeouts.close_ms`", 10..=HOUR_MS);
    let backlog = most(&common.backlog, "`tuning.backlog`", 1..=65_535);
    if let Some(bytes) = message {
        toml.header("[limits]");
        toml.raw("message_bytes", bytes);
    }
    let limit = message.unwrap_or(MESSAGE_BYTES);
    if common.leaves_messages && limit < MAX_MESSAGE_BYTES {
        let text = format!(
            "where a transport says nothing of it, crossbar takes messages of 16 MiB, and here \
             `limits.message_bytes` is {limit}: raise it if clients send longer ones"
        );
        notes.hint("workers", text);
    }
    if let Some(bytes) = message.filter(|bytes| *bytes > OUTPUT_BYTES) {
        toml.header("[output]");
        toml.raw("hard_bytes", 2 * bytes);
    }
    let times = [
        ("handshake_ms", handshake),
        ("ping_interval_ms", interval),
        ("ping_timeout_ms", pong),
        ("close_ms", close),
    ];
    if times.iter().any(|(_, value)| value.is_some()) {
        toml.header("[timeouts]");
    }
    for (key, value) in times {
        if let Some(value) = value {
            toml.raw(key, value);
        }
    }
    write_protocol(toml);
    if backlog.is_some() || common.delays_small_segments {
        toml.header("[tuning]");
    }
    if let Some(backlog) = backlog {
        toml.raw("backlog", backlog);
    }
    if common.delays_small_segments {
        toml.raw("tcp_nodelay", false);
    }
}

fn write_protocol(toml: &mut Toml) {
    toml.gap();
    toml.comment(
        "Crossbar takes request ids in any order, and AutobahnJS up to 18.3 draws them. Remove \
         this where all clients count.",
    );
    toml.raw_header("[protocol]");
    toml.text("request_ids", "off");
}

const HOUR_MS: u64 = 3_600_000;

/// What may wait for a client, where nothing is said of it.
const OUTPUT_BYTES: u64 = 8 << 20;

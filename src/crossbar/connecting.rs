//! How components connect: the transports of crossbar's containers as autobahn takes them, and
//! those to doors of the router itself.

use serde_json::{Value as Json, json};

use super::doors::{At, Door, Listener, MAX_MESSAGE_BYTES};
use super::listeners::Entrances;
use super::notes::Notes;
use super::section::Section;

/// The transport of a client on this machine, if a door can be reached so.
pub(super) fn transport_to(door: &Door, entrances: &Entrances) -> Option<Json> {
    let listener = &entrances.listeners[door.listener];
    if listener.tls.is_some() || listener.address.contains('$') {
        return None;
    }
    let (endpoint, authority) = match listener.address.strip_prefix("unix:") {
        Some(path) => (json!({ "type": "unix", "path": path }), format!("unix:{path}")),
        None => {
            let (host, port) = listener.address.rsplit_once(':')?;
            let port: u16 = port.parse().ok()?;
            let host = if host == "0.0.0.0" { "127.0.0.1" } else { host };
            if host.contains('[') {
                return None;
            }
            (json!({ "type": "tcp", "host": host, "port": port }), format!("{host}:{port}"))
        }
    };
    let path = match &door.at {
        At::Path(path) => path.as_str(),
        At::Itself if listener.rawsocket && door.origins.is_none() => {
            return Some(rawsocket(listener, &authority, &endpoint));
        }
        At::Itself => "/ws",
        At::LongPoll(_) => return None,
    };
    // A WebSocket over a Unix socket has a host all the same.
    let host = if endpoint["type"] == "unix" { "localhost" } else { &authority };
    let mut transport = json!({
        "type": "websocket",
        "url": format!("ws://{host}{path}"),
        "endpoint": endpoint,
    });
    if !listener.takes_any_serializer {
        transport["serializers"] = json!(listener.serializers);
    }
    Some(transport)
}

fn rawsocket(listener: &Listener, authority: &str, endpoint: &Json) -> Json {
    let takes_json = listener.takes_any_serializer || listener.serializers.contains(&"json");
    let serializer = if takes_json { "json" } else { listener.serializers[0] };
    json!({
        "type": "rawsocket",
        "serializer": serializer,
        "url": format!("rs://{authority}"),
        "endpoint": endpoint,
    })
}

/// The transport by which a component of a container connects.
pub(super) fn connecting(
    section: &Section<'_>,
    entrances: &Entrances,
    notes: &mut Notes,
) -> Option<Json> {
    section.ignore(&["id", "debug"]);
    let kind = section.text("type", notes)?;
    let mut transport = json!({ "type": kind });
    for key in ["url", "serializer", "serializers"] {
        if let Some(item) = section.item(key) {
            transport[key] = item.value.to_json();
        }
    }
    if let Some(options) = section.section("options", notes) {
        let known = if kind == "rawsocket" { &RAWSOCKET[..] } else { &WEBSOCKET[..] };
        transport["options"] = options_of(&options, known, notes);
    }
    let endpoint = section.section("endpoint", notes)?;
    transport["endpoint"] = target(&endpoint, entrances, notes)?;
    if kind == "rawsocket" && transport.get("url").is_none() {
        transport["url"] = "rs://localhost".into();
    }
    section.finish(notes);
    Some(transport)
}

/// Where it connects to.
fn target(endpoint: &Section<'_>, entrances: &Entrances, notes: &mut Notes) -> Option<Json> {
    let mut target = json!({});
    for (key, item) in endpoint.entries() {
        target[key] = item.value.to_json();
    }
    match endpoint.text("type", notes) {
        Some("tcp") => {}
        Some("unix") => {
            target["path"] = entrances.absolute(endpoint.text("path", notes)?).into();
        }
        other => {
            let kind = other.unwrap_or_default();
            let text = format!("components do not connect to endpoints of type `{kind}`");
            notes.missing(&*endpoint.place, text);
            return None;
        }
    }
    if let Some(tls) = endpoint.section("tls", notes) {
        let mut trust = json!({});
        if let Some(name) = tls.text("hostname", notes) {
            trust["hostname"] = name.into();
        }
        let authorities = tls.texts("ca_certificates", notes);
        if let [first, others @ ..] = authorities.as_slice() {
            trust["trust_root"] = entrances.absolute(first).into();
            if !others.is_empty() {
                let text = "a component trusts one authority: the first of them";
                notes.changed(tls.at("ca_certificates"), text);
            }
        }
        if tls.item("certificate").is_some() | tls.item("key").is_some() {
            notes.missing(tls.at("certificate"), "a component shows no certificate");
        }
        tls.finish(notes);
        target["tls"] = trust;
    }
    Some(target)
}

/// Crossbar's options of a client as autobahn calls them, which ends with an error if it does not
/// know one.
fn options_of(options: &Section<'_>, known: &[(&str, &str, Unit)], notes: &mut Notes) -> Json {
    let mut made = json!({});
    for (key, item) in options.entries() {
        let Some((_, name, unit)) = known.iter().find(|(name, ..)| *name == key) else {
            let text = format!("`{key}` is no option of a component that connects: left out");
            notes.changed(item.place, text);
            continue;
        };
        let value = item.value.to_json();
        let mut number = || options.number(key, notes);
        made[*name] = match unit {
            Unit::Same => value,
            Unit::Milliseconds => json!(number().unwrap_or_default() as f64 / 1000.0),
            Unit::Size => json!(number().unwrap_or_default().clamp(512, MAX_MESSAGE_BYTES)),
        };
    }
    made
}

/// What has to be done to a value.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Same,
    /// Seconds there.
    Milliseconds,
    /// Within the bounds of a RawSocket.
    Size,
}

const RAWSOCKET: [(&str, &str, Unit); 1] =
    [("max_message_size", "maxMessagePayloadSize", Unit::Size)];

const WEBSOCKET: [(&str, &str, Unit); 14] = [
    ("apply_mask", "applyMask", Unit::Same),
    ("auto_fragment_size", "autoFragmentSize", Unit::Same),
    ("auto_ping_interval", "autoPingInterval", Unit::Milliseconds),
    ("auto_ping_restart_on_any_traffic", "autoPingRestartOnAnyTraffic", Unit::Same),
    ("auto_ping_size", "autoPingSize", Unit::Same),
    ("auto_ping_timeout", "autoPingTimeout", Unit::Milliseconds),
    ("close_handshake_timeout", "closeHandshakeTimeout", Unit::Milliseconds),
    ("echo_close_codereason", "echoCloseCodeReason", Unit::Same),
    ("fail_by_drop", "failByDrop", Unit::Same),
    ("max_frame_size", "maxFramePayloadSize", Unit::Same),
    ("max_message_size", "maxMessagePayloadSize", Unit::Same),
    ("open_handshake_timeout", "openHandshakeTimeout", Unit::Milliseconds),
    ("tcp_nodelay", "tcpNoDelay", Unit::Same),
    ("validate_utf8", "utf8validateIncoming", Unit::Same),
];

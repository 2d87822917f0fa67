//! A configuration in a few lines for people, and the sentences of warning it deserves.

use std::fmt;

use super::{
    Authenticator, ClientCertificates, Config, History, HistoryStore, Listener, Method, Realm,
    Webhook, place_of_webhook,
};
use crate::authorization::shown_authorizer;
use crate::codec::Codec;
use crate::limits::SlowConsumerPolicy;
use crate::transport::ForwardedBy;
use crate::wamp::UriRule;

/// What a router with this configuration would run.
pub struct Summary<'c>(pub(super) &'c Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let cores = if config.shards == 0 { " (one per available core)" } else { "" };
        row(f, "shards", &format!("{}{cores}", config.shard_count()))?;
        for listener in &config.listeners {
            row(f, "listener", &describe_listener(listener, config))?;
        }
        for realm in &config.realms {
            row(f, "realm", &describe_realm(realm))?;
        }
        if let Some(text) = config.cluster.summary() {
            row(f, "cluster", &text)?;
        }
        if let Some(text) = config.management.summary() {
            row(f, "management", &text)?;
        }
        if let Some(path) = config.store() {
            let retained = if config.storage.retained { ", retained events too" } else { "" };
            row(f, "store", &format!("{}{retained}", path.display()))?;
        }
        let limits = &config.limits;
        let message = Bytes(limits.message_bytes);
        let connections = limits.connections;
        row(f, "limits", &format!("messages up to {message}, {connections} connections"))?;
        let output = &config.output;
        let (hard, soft) = (Bytes(output.hard_bytes), Bytes(output.soft_bytes));
        let policy = match output.policy {
            SlowConsumerPolicy::Disconnect => "disconnect it",
            SlowConsumerPolicy::DropNewest => "drop its newest events",
            SlowConsumerPolicy::DropOldest => "drop its oldest events",
        };
        let soft_ms = output.soft_ms;
        row(f, "slow client", &format!("over {hard}, or {soft} for {soft_ms} ms: {policy}"))
    }
}

/// What is allowed but deserves a sentence at start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error(
        "development mode: no configuration file, everybody who can connect may do everything; \
         `stentor config default` prints a file to start from"
    )]
    Development,
    #[error("storage.path names a file, and nothing is durable, so it is not used")]
    UnusedStore,
    #[error(
        "listener {0} can be reached from other machines, and every client may join without \
         authentication; listen on 127.0.0.1, or keep strangers out with a firewall or proxy"
    )]
    OpenToNetwork(String),
    #[error(
        "listener {0} believes everybody about the addresses of others: every client can choose \
         which address stands in the log and in limits; list the proxies alone in `trusted_proxies`"
    )]
    EverybodyIsProxy(String),
    #[error(
        "realm {0} has users with certificates, and no listener asks clients for one: set \
         `client_certificates` and `client_ca` of a listener with TLS"
    )]
    NoCertificates(String),
    #[error(
        "listener {listener} speaks plainly and can be reached from other machines, and takes keys \
         or tokens at {path}, which anybody on the way can read: add `[[listener.tls]]`, unless a \
         proxy in front of it speaks TLS and does not say so"
    )]
    PlainKeys { listener: String, path: String },
    #[error(
        "listener {listener} speaks plainly and can be reached from other machines, and realm \
         {realm} takes tickets there, which anybody on the way can read: set `only_over_tls = \
         true` in the authenticator, unless a proxy in front of it speaks TLS and does not say so"
    )]
    PlainTickets { listener: String, realm: String },
    #[error(
        "realm {0} is closed: it has no `[[realm.authenticator]]` that says who may join; to let \
         everybody in, add one with `method = \"anonymous\"`"
    )]
    ClosedRealm(String),
    #[error(
        "realm {realm}: everybody who can connect may end the sessions of others, because \
         `admin_roles` or a permission lets \"{role}\", the role of clients without authentication"
    )]
    AnonymousAdmin { realm: String, role: String },
    #[error(
        "realm {realm}: everybody who can connect {} the router, because `{key}` names \"{role}\", \
         the role of clients without authentication",
        if *.key == "management.act" { "may see and change" } else { "sees all of" }
    )]
    AnonymousManager { realm: String, key: &'static str, role: String },
    #[error(
        "realm {realm}: everybody who can connect may register the authorizer `{procedure}`, and \
         so decide for others, because \"{role}\" is the role of clients without authentication"
    )]
    AnonymousAuthorizer { realm: String, procedure: String, role: String },
    #[error(
        "realm {realm}: no role may register `{procedure}` without asking it, so what it decides \
         about is denied: add a permission with this URI and `allow = [\"register\"]`"
    )]
    NoAuthorizer { realm: String, procedure: String },
    #[error(
        "realm {realm}: everybody who can connect may register the authenticator `{procedure}`, \
         and so say who others are, because \"{role}\" is the role of clients without \
         authentication"
    )]
    AnonymousAuthenticator { realm: String, procedure: String, role: String },
    #[error(
        "realm {realm}: no role may register the authenticator `{procedure}`, so everybody whom it \
         is asked about is refused: add a permission with this URI and `allow = [\"register\"]`"
    )]
    NoAuthenticator { realm: String, procedure: String },
    #[error(
        "realm {0} has no role, so nobody may join it: add a [[realm.role]] with its \
         [[realm.role.permission]], as `stentor config default` shows them"
    )]
    NoRole(String),
    #[error(
        "realm {realm}: {who} would join as role `{role}`, which the realm does not have, and so \
         cannot: add a [[realm.role]] with `name = \"{role}\"`"
    )]
    UnknownRole { realm: String, who: String, role: String },
    #[error(
        "realm {0} takes tokens without an `issuer` or an `audience`: whatever its keys have \
         signed lets in, also what is meant for other services"
    )]
    TokensForAnybody(String),
    #[error(
        "`{uri}`{place} ends in an asterisk, which stands for itself; for all URIs that begin so \
         leave it out and write match = \"prefix\""
    )]
    Asterisk { uri: String, place: String },
    #[error(
        "realm {realm}, role {role}: the permission for `{uri}`{place} never decides who may \
         {action}: {reason}"
    )]
    IdlePermission {
        realm: String,
        role: String,
        uri: String,
        /// As in ` (line 7)`; empty if it is in no file.
        place: String,
        action: &'static str,
        reason: String,
    },
}

pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let is_open = |listener: &Listener| {
        let mut ways = config.realms.iter().flat_map(|realm| &realm.authenticators);
        ways.any(|way| way.method == Method::Anonymous && !way.asks() && listener.has_way(way))
    };
    let open = config.listeners.iter().filter(|listener| {
        is_open(listener) && listener.permits_anonymous() && !listener.address.is_local()
    });
    let development = config.development.then_some(Warning::Development);
    let unused = config.storage.path.is_some() && config.store().is_none();
    let development = development.into_iter().chain(unused.then_some(Warning::UnusedStore));
    let admins = config.realms.iter().flat_map(|realm| {
        let ways = realm
            .authenticators
            .iter()
            .filter(|way| way.method == Method::Anonymous && !way.asks());
        let roles = ways.map(Authenticator::anonymous_role);
        let admins = roles.filter(|role| super::roles::may_administer(realm, role));
        admins.map(|role| Warning::AnonymousAdmin {
            realm: realm.name.clone(),
            role: role.to_owned(),
        })
    });
    let open = open.map(|listener| Warning::OpenToNetwork(listener.label()));
    let believing = config.listeners.iter().filter(|listener| {
        let mut networks = listener.trusted_proxies.iter();
        networks.any(|network| network.is_everybody()) && !listener.address.is_local()
    });
    let open = open.chain(believing.map(|listener| Warning::EverybodyIsProxy(listener.label())));
    let closed = config.realms.iter().filter(|realm| realm.authenticators.is_empty());
    let closed = closed.map(|realm| Warning::ClosedRealm(realm.name.clone()));
    let closed = closed.chain(idle_certificates(config)).chain(plain_tickets(config));
    let closed = closed.chain(plain_keys(config));
    let roles =
        config.realms.iter().flat_map(|realm| super::roles::warnings(realm, &config.listeners));
    let for_anybody = |realm: &&Realm| {
        let mut tokens = realm.authenticators.iter().filter_map(|way| way.jwt.as_ref());
        tokens.any(|jwt| jwt.issuer.is_none() || jwt.audience.is_none())
    };
    let tokens = config.realms.iter().filter(for_anybody);
    let tokens = tokens.map(|realm| Warning::TokensForAnybody(realm.name.clone()));
    let asked = super::roles::authenticator_warnings(&config.realms, &config.listeners);
    let logins = closed.chain(tokens).chain(asked);
    let managers = config.realms.iter().flat_map(super::management::warnings);
    let administrators = admins.chain(managers);
    development.chain(open).chain(logins).chain(administrators).chain(roles).collect()
}

/// Realms of whose users no certificate can ever come.
fn idle_certificates(config: &Config) -> impl Iterator<Item = Warning> {
    let mut listeners = config.listeners.iter();
    let asks = listeners.any(|other| other.client_certificates != ClientCertificates::Off);
    let has_users =
        |realm: &&Realm| realm.authenticators.iter().any(|way| way.method == Method::Tls);
    let idle = config.realms.iter().filter(move |realm| !asks && has_users(realm));
    idle.map(|realm| Warning::NoCertificates(realm.name.clone()))
}

/// Where a ticket may cross a network as it is.
fn plain_tickets(config: &Config) -> impl Iterator<Item = Warning> {
    let takes = |realm: &&Realm| {
        let mut ways = realm.authenticators.iter();
        ways.any(|way| way.method == Method::Ticket && !way.only_over_tls)
    };
    plain_listeners(config).flat_map(move |listener| {
        let realms = config.realms.iter().filter(takes);
        realms.map(|realm| Warning::PlainTickets {
            listener: listener.label(),
            realm: realm.name.clone(),
        })
    })
}

/// The same of a key.
fn plain_keys(config: &Config) -> impl Iterator<Item = Warning> {
    plain_listeners(config).flat_map(|listener| {
        let keyed = listener.http_paths().filter(|apart| !apart.keys.is_empty() || apart.jwt);
        keyed.map(|apart| Warning::PlainKeys {
            listener: listener.label(),
            path: apart.path.clone(),
        })
    })
}

/// Those where anybody on the way may read along, as far as it is known.
fn plain_listeners(config: &Config) -> impl Iterator<Item = &Listener> {
    config.listeners.iter().filter(|listener| {
        let says_so = listener.proxy_protocol || listener.forwarded != ForwardedBy::Off;
        listener.tls.is_empty() && !listener.address.is_local() && !says_so
    })
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:<12} {text}")
}

fn describe_listener(listener: &Listener, config: &Config) -> String {
    let codecs: Vec<_> = listener.serializers.iter().copied().map(Codec::as_str).collect();
    let mut text = format!("{} ({})", listener.urls().join(" "), codecs.join(", "));
    if let Some(name) = &listener.name {
        text = format!("`{name}` {text}");
    }
    if let Some(networks) = config.networks(&listener.address) {
        text.push_str(&format!(", {networks}"));
    }
    for apart in listener.http_paths() {
        if let Some(files) = &apart.files {
            text.push_str(&format!(", files of {} at {}", files.display(), apart.path));
        }
        if let Some(http) = apart.http {
            text.push_str(&format!(", {} at {}", http.as_str(), apart.path));
        }
    }
    if let Some(mode) = listener.unix_mode {
        text.push_str(&format!(", mode {mode:04o}"));
    }
    if !listener.tls.is_empty() {
        let clients = match listener.client_certificates {
            ClientCertificates::Off => "",
            ClientCertificates::Request => ", client certificates on request",
            ClientCertificates::Require => ", client certificates required",
        };
        text.push_str(&format!(", {} certificate(s){clients}", listener.tls.len()));
    }
    let proxies: Vec<_> = listener.trusted_proxies.iter().map(ToString::to_string).collect();
    let proxies = proxies.join(" ");
    if listener.proxy_protocol {
        text.push_str(&format!(", PROXY protocol from {proxies}"));
    }
    match listener.forwarded {
        ForwardedBy::Off => {}
        ForwardedBy::Forwarded => text.push_str(&format!(", Forwarded from {proxies}")),
        ForwardedBy::XForwardedFor => text.push_str(&format!(", X-Forwarded-For from {proxies}")),
    }
    if !listener.origins.is_empty() {
        text.push_str(&format!(", origins {}", listener.origins.join(" ")));
    }
    if !listener.authmethods.is_empty() {
        let names: Vec<_> = listener.authmethods.iter().map(|method| method.as_str()).collect();
        text.push_str(&format!(", only {}", names.join(" ")));
    }
    text
}

fn describe_realm(realm: &Realm) -> String {
    let rule = match realm.uri_rule {
        UriRule::Loose => "loose",
        UriRule::Strict => "strict",
    };
    let mut ways: Vec<_> = realm.authenticators.iter().map(describe_way).collect();
    if ways.is_empty() {
        ways.push("closed".into());
    }
    let mut text = format!("{} ({rule} URIs, {})", realm.name, ways.join(", "));
    for role in realm.access.roles() {
        let (name, count) = (&role.name, role.permissions.len());
        let ending = if count == 1 { "" } else { "s" };
        text.push_str(&format!(", role `{name}` with {count} permission{ending}"));
    }
    for settings in realm.authorizer_endpoints() {
        text.push_str(&format!(", authorizer {}", shown_authorizer(&settings.url)));
    }
    for History { topic, policy, store, .. } in &realm.histories {
        let store = match store {
            HistoryStore::Memory => "in memory",
            HistoryStore::Durable => "durable",
        };
        text.push_str(&format!(", history of {} `{topic}` {store}", policy.as_str()));
    }
    for Webhook { name, url, .. } in &realm.webhooks {
        let place = place_of_webhook(url);
        text.push_str(&format!(", webhook `{name}` to {place}"));
    }
    text
}

fn describe_way(way: &Authenticator) -> String {
    let mut text = describe_users(way);
    if !way.listeners.is_empty() {
        text.push_str(&format!(" at {}", way.listeners.join(" ")));
    }
    text
}

fn describe_users(way: &Authenticator) -> String {
    let method = way.method.as_str();
    if let Some(jwt) = &way.jwt {
        let of = jwt.issuer.as_ref().map(|issuer| format!(" of {issuer}")).unwrap_or_default();
        return format!("{method} for JSON Web Tokens{of}");
    }
    if let Some(url) = &way.url {
        let url = url.split('?').next().unwrap_or_default();
        return format!("{method} as {url} says");
    }
    if let Some(procedure) = &way.procedure {
        let of = way.procedure_realm.as_ref().map(|realm| format!(" of realm {realm}"));
        return format!("{method} as the procedure {procedure}{} says", of.unwrap_or_default());
    }
    match (way.method, way.principals.len()) {
        (Method::Anonymous, _) => {
            format!("anonymous clients as role `{}`", way.anonymous_role())
        }
        (method, 1) => format!("{} for 1 user", method.as_str()),
        (method, users) => format!("{} for {users} users", method.as_str()),
    }
}

/// A size in the largest unit that divides it.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
        let (size, unit) =
            units.into_iter().find(|(size, _)| self.0.is_multiple_of(*size)).unwrap_or((1, "B"));
        write!(f, "{} {unit}", self.0 / size)
    }
}

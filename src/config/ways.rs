//! What the authenticators of a realm must fulfil: each knows its users in one way, and none stands
//! where nobody asks it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check::{Findings, MILLISECONDS};
use super::fault::Fault;
use super::{Authenticator, Listener, Method, Realm};
use crate::authentication::{Credential, Principal, RouterKey, TokenSettings};
use crate::wamp::{is_reserved, is_valid_uri};

/// What is wrong with an authenticator that asks, or that takes tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WayFault {
    #[error("`{0}` and `{1}` exclude each other: an authenticator knows its users in one way")]
    TwoWays(&'static str, &'static str),
    #[error("`{0}` can be no procedure of an authenticator")]
    BadProcedure(String),
    #[error("`procedure_realm` is for authenticators with a `procedure`")]
    NeedsProcedure,
    #[error("`timeout_ms` is for authenticators with a `url` or a `procedure`")]
    NobodyAsked,
    #[error("only `ticket` takes tokens: the method here is `{}`", .0.as_str())]
    TokenMethod(Method),
    #[error("`{0}` is for authenticators with a `url`")]
    NeedsUrl(&'static str),
    #[error("`{0}` is no URL that can be asked")]
    BadUrl(String),
    #[error("`{0}` is plain HTTP to another machine")]
    PlainHttp(String),
    #[error("an earlier authenticator of this realm has a `router_key`")]
    SecondRouterKey,
    #[error("the key of the router is that of user `{0}`, as whom anybody could log in with it")]
    RouterKeyOfUser(String),
    #[error("an earlier `[[realm.authorizer]]` of this realm has this `url`")]
    SameAuthorizer,
    #[error("no permission of this realm has this `url` as its `authorizer`")]
    UnusedAuthorizer,
    #[error("an earlier authenticator asks about everybody with the method `{}`", .0.as_str())]
    Unasked(Method),
    #[error("no listener is named `{0}`, and none of them has a path of that name")]
    UnknownListener(String),
    #[error("nothing says where the keys of the tokens are")]
    NoKeys,
    #[error("nothing says the role of those who bear a token")]
    NoRole,
    #[error("`roles` is a table of what `role_claim` says, and there is no `role_claim`")]
    NoRoleClaim,
}

impl WayFault {
    pub(super) fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::TwoWays(..) => "make two authenticators of it",
            Self::BadProcedure(_) => {
                "name a URI without empty words, within `limits.uri_bytes`, that does not start \
                 with `wamp.`"
            }
            Self::TokenMethod(_) => "tokens are tickets to clients: `method = \"ticket\"`",
            Self::NeedsUrl(_) | Self::NeedsProcedure | Self::NobodyAsked | Self::Unasked(_) => {
                "remove it"
            }
            Self::BadUrl(_) => {
                "write scheme, host and path, as in `https://auth.example.org/wamp`, without user, \
                 password or `#`"
            }
            Self::PlainHttp(_) => {
                "use `https`, or set `plain_http = true` where nobody can listen or interfere"
            }
            Self::SecondRouterKey => "a realm has one: remove one of them",
            Self::RouterKeyOfUser(_) => "make another one with `stentor keygen router`",
            Self::SameAuthorizer => "an address is asked in one way: remove one of them",
            Self::UnusedAuthorizer => {
                "write the same address as the `authorizer` of a permission, or remove this"
            }
            Self::UnknownListener(_) => {
                "write the `name` of a listener, or that and the path of one of its \
                 `[[listener.path]]`, as in `public/ws`"
            }
            Self::NoKeys => {
                "set one of `keys` (a file), `keys_url` (an address) and `secret` (an environment \
                 variable)"
            }
            Self::NoRole => "set `role` for all, or `role_claim` and `roles` below `jwt`",
            Self::NoRoleClaim => "set it, as in `role_claim = \"realm_access.roles\"`",
        })
    }
}

/// Those of one of the realms.
pub(super) fn check_authenticators(
    index: usize,
    realms: &[Realm],
    uri_bytes: usize,
    findings: &mut Findings,
) {
    let realm = &realms[index];
    let ways = &realm.authenticators;
    for (number, way) in ways.iter().enumerate() {
        let path = format!("realm.{index}.authenticator.{number}");
        check_authenticator(way, &path, findings);
        check_router_key(number, ways, realms, &path, findings);
        check_procedure(way, (realm, realms), uri_bytes, &path, findings);
        let is_for_all = |other: &Authenticator| {
            let mut listeners = way.listeners.iter();
            let covers = |name| other.listeners.contains(name);
            other.listeners.is_empty() || !way.listeners.is_empty() && listeners.all(covers)
        };
        let asks_all =
            |other: &Authenticator| other.method == way.method && other.asks() && is_for_all(other);
        let is_unasked = ways[..number].iter().any(asks_all) && way.jwt.is_none();
        findings.add_if(is_unasked, &*path, || WayFault::Unasked(way.method));
    }
}

fn check_authenticator(way: &Authenticator, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    for (name, text) in [("role", &way.role), ("authid", &way.authid)] {
        let is_empty = text.as_ref().is_some_and(String::is_empty);
        findings.add_if(is_empty, key(name), || Fault::Empty(name.into()));
    }
    check_users(way, path, findings);
    check_endpoint(way, path, findings);
    if let Some(jwt) = &way.jwt {
        check_tokens(way, jwt, path, findings);
    }
}

fn check_users(way: &Authenticator, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    let (method, is_anonymous) = (way.method, way.method == Method::Anonymous);
    let has_users = way.users.is_some();
    let takes_no = |key| Fault::AuthenticatorTakesNo { method, key };
    findings.add_if(is_anonymous && has_users, key("users"), || takes_no("users"));
    let has_authid = way.authid.is_some();
    findings.add_if(!is_anonymous && has_authid, key("authid"), || takes_no("authid"));
    let is_tls = method == Method::Tls;
    findings.add_if(is_tls && way.url.is_some(), key("url"), || takes_no("url"));
    findings.add_if(is_tls && way.procedure.is_some(), key("procedure"), || takes_no("procedure"));
    // An embedding program may bring its users itself.
    let has_other_way = way.jwt.is_some() || way.asks();
    let has_nobody = !is_anonymous && !has_users && way.principals.is_empty() && !has_other_way;
    findings.add_if(has_nobody, path, || Fault::AuthenticatorNeeds { method, key: "users" });
    let said = [
        ("users", has_users),
        ("jwt", way.jwt.is_some()),
        ("url", way.url.is_some()),
        ("procedure", way.procedure.is_some()),
    ];
    let mut said = said.into_iter().filter(|(_, is_said)| *is_said).map(|(name, _)| name);
    if let (Some(first), Some(second)) = (said.next(), said.next()) {
        findings.add(key(second), WayFault::TwoWays(first, second));
    }
}

/// The router signs what strangers send, so its key must not be that of anybody.
fn check_router_key(
    number: usize,
    ways: &[Authenticator],
    realms: &[Realm],
    path: &str,
    findings: &mut Findings,
) {
    let (key, method) = (format!("{path}.router_key"), ways[number].method);
    if ways[number].router_key.is_none() {
        return;
    }
    findings.add_if(method != Method::Cryptosign, &*key, || Fault::AuthenticatorTakesNo {
        method,
        key: "router_key",
    });
    let is_second = ways[..number].iter().any(|way| way.router_key.is_some());
    findings.add_if(is_second, &*key, || WayFault::SecondRouterKey);
    let Some(public) = ways[number].router_key_value.as_ref().map(RouterKey::public) else {
        return;
    };
    let ways = realms.iter().flat_map(|realm| &realm.authenticators);
    let has_it = |user: &&Arc<Principal>| match &user.credential {
        Credential::Cryptosign(keys) => keys.contains(&public),
        _ => false,
    };
    if let Some(user) = ways.flat_map(|way| &way.principals).find(has_it) {
        findings.add(key, WayFault::RouterKeyOfUser(user.authid.to_string()));
    }
}

fn check_endpoint(way: &Authenticator, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    if way.asks() {
        findings.range(&key("timeout_ms"), way.timeout_ms, 10..=600_000, MILLISECONDS);
    }
    if let Some(url) = &way.url {
        check_url(url, way.plain_http, &key("url"), findings);
        findings.range(&key("concurrency"), way.concurrency, 1..=64, "");
        return;
    }
    let defaults = Authenticator::default();
    for (name, is_said) in [
        ("authorization", way.authorization.is_some()),
        ("ca", way.ca.is_some()),
        ("plain_http", way.plain_http),
        ("concurrency", way.concurrency != defaults.concurrency),
    ] {
        findings.add_if(is_said, key(name), || WayFault::NeedsUrl(name));
    }
    let is_idle = !way.asks() && way.timeout_ms != defaults.timeout_ms;
    findings.add_if(is_idle, key("timeout_ms"), || WayFault::NobodyAsked);
}

/// The entrances that authenticators are for must be there.
pub(super) fn check_entrances(realms: &[Realm], listeners: &[Listener], findings: &mut Findings) {
    let apart = |listener: &Listener| -> Vec<String> {
        let paths = listener.named_paths();
        paths.filter_map(|path| path.entrance_name(listener)).collect()
    };
    let names: BTreeSet<_> = listeners
        .iter()
        .flat_map(|listener| listener.name.iter().cloned().chain(apart(listener)))
        .collect();
    for (index, realm) in realms.iter().enumerate() {
        for (number, way) in realm.authenticators.iter().enumerate() {
            let key = format!("realm.{index}.authenticator.{number}.listeners");
            for name in way.listeners.iter().filter(|name| !names.contains(*name)) {
                findings.add(&*key, WayFault::UnknownListener(name.clone()));
            }
        }
    }
}

/// How the endpoints are asked that are authorizers.
pub(super) fn check_authorizers(realm: &Realm, path: &str, findings: &mut Findings) {
    let permissions = realm.access.roles().iter().flat_map(|role| &role.permissions);
    let named: BTreeSet<_> = permissions.filter_map(|p| p.authorizer.as_deref()).collect();
    for (number, settings) in realm.authorizers.iter().enumerate() {
        let key = |name: &str| format!("{path}.{number}.{name}");
        check_url(&settings.url, settings.plain_http, &key("url"), findings);
        findings.range(&key("timeout_ms"), settings.timeout_ms, 10..=600_000, MILLISECONDS);
        findings.range(&key("concurrency"), settings.concurrency, 1..=64, "");
        let earlier = &realm.authorizers[..number];
        let is_repeated = earlier.iter().any(|other| other.url == settings.url);
        findings.add_if(is_repeated, key("url"), || WayFault::SameAuthorizer);
        let is_idle = !named.contains(&*settings.url);
        findings.add_if(is_idle, key("url"), || WayFault::UnusedAuthorizer);
    }
}

/// It must be one that can be registered, in a realm that is there.
fn check_procedure(
    way: &Authenticator,
    (realm, realms): (&Realm, &[Realm]),
    uri_bytes: usize,
    path: &str,
    findings: &mut Findings,
) {
    let place = match &way.procedure_realm {
        None => Some(realm),
        Some(name) => realms.iter().find(|realm| realm.name == *name),
    };
    let key = format!("{path}.procedure_realm");
    findings.add_if(way.procedure.is_none() && way.procedure_realm.is_some(), &*key, || {
        WayFault::NeedsProcedure
    });
    let Some(place) = place else {
        let name = way.procedure_realm.clone().unwrap_or_default();
        return findings.add(&*key, Fault::UnknownRealm(name));
    };
    if let Some(procedure) = &way.procedure {
        let is_good = is_valid_uri(procedure, place.uri_rule) && !is_reserved(procedure);
        let is_bad = !is_good || procedure.len() > uri_bytes;
        let key = format!("{path}.procedure");
        findings.add_if(is_bad, key, || WayFault::BadProcedure(procedure.clone()));
    }
}

fn check_tokens(way: &Authenticator, jwt: &TokenSettings, path: &str, findings: &mut Findings) {
    let key = format!("{path}.jwt");
    let method = way.method;
    findings.add_if(method != Method::Ticket, &*key, || WayFault::TokenMethod(method));
    let sources = [
        ("keys", jwt.keys.is_some()),
        ("keys_url", jwt.keys_url.is_some()),
        ("secret", jwt.secret.is_some()),
    ];
    let mut said = sources.into_iter().filter(|(_, is_said)| *is_said).map(|(name, _)| name);
    match (said.next(), said.next()) {
        (None, _) if jwt.loaded.is_none() => findings.add(&*key, WayFault::NoKeys),
        (Some(first), Some(second)) => findings.add(&*key, WayFault::TwoWays(first, second)),
        _ => {}
    }
    if let Some(url) = &jwt.keys_url {
        check_url(url, jwt.plain_http, &key, findings);
    }
    let has_roles = !jwt.roles.is_empty();
    findings.add_if(way.role.is_none() && !has_roles, &*key, || WayFault::NoRole);
    let has_claim = jwt.role_claim.is_some();
    findings.add_if(has_roles && !has_claim, &*key, || WayFault::NoRoleClaim);
    findings.range(&format!("{key}.leeway_ms"), jwt.leeway_ms, 0..=600_000, MILLISECONDS);
    findings.range(&format!("{key}.warn_ms"), jwt.warn_ms, 0..=86_400_000, MILLISECONDS);
    findings.range(&format!("{key}.refresh_ms"), jwt.refresh_ms, 10_000..=86_400_000, MILLISECONDS);
    let texts = [("issuer", jwt.issuer.as_deref()), ("audience", jwt.audience.as_deref())];
    let texts = texts.into_iter().chain([("authid_claim", Some(jwt.authid_claim.as_str()))]);
    for (name, _) in texts.filter(|(_, text)| *text == Some("")) {
        findings.add(format!("{key}.{name}"), Fault::Empty(name.into()));
    }
    let has_empty = jwt.roles.iter().any(|rule| rule.claim.is_empty() || rule.role.is_empty());
    findings.add_if(has_empty, &*key, || Fault::Empty("roles".into()));
}

/// An address to be asked: nobody shall read or change on the way what it is told.
fn check_url(url: &str, plain_http: bool, key: &str, findings: &mut Findings) {
    if let Err(fault) = judge_url(url, plain_http) {
        findings.add(key, fault);
    }
}

/// # Errors
/// What is wrong with an address to be asked.
pub(super) fn judge_url(url: &str, plain_http: bool) -> Result<(), WayFault> {
    let shown = || url.split('?').next().unwrap_or_default().to_owned();
    let (scheme, rest) = url.split_once("://").ok_or_else(|| WayFault::BadUrl(shown()))?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_written = url.bytes().all(|b| b.is_ascii_graphic()) && !url.contains(['#', '\\', '"']);
    let is_plain_host = !authority.is_empty() && !authority.contains('@');
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let is_plain_host = is_plain_host && port.is_none_or(|(_, port)| port.parse::<u16>().is_ok());
    if !is_written || !is_plain_host || !matches!(scheme, "http" | "https") {
        return Err(WayFault::BadUrl(shown()));
    }
    let is_private = scheme == "https" || plain_http || is_loopback(authority);
    if is_private { Ok(()) } else { Err(WayFault::PlainHttp(shown())) }
}

/// Whether a host, perhaps with a port, is this machine.
pub fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let address = host.parse::<core::net::IpAddr>();
    address.map_or_else(|_| host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for good in ["127.0.0.1", "127.0.0.1:80", "[::1]:80", "[::1]", "localhost:8000"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in ["10.0.0.1", "127.0.0.1.example.org", "localhost.example.org:80", "[::2]", ""] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}

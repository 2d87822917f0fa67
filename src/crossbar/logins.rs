//! Who may come in by a transport of crossbar's: its `auth`.

use super::notes::Notes;
use super::section::Section;
use super::variables::{Environment, referred};
use crate::authentication::{Credential, MAX_AUTHID_BYTES, Method, Source};

/// The ways in of one transport, by method.
pub(super) type Ways = Vec<(Method, Way)>;

/// How one method of a transport knows its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Anonymous { role: String, authid: Option<String> },
    Users { place: String, principals: Vec<Principal> },
    Procedure { place: String, uri: String, realm: Option<String>, role: Option<String> },
}

impl Way {
    /// Whether both let the same clients in, with the same rights.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Users { principals, .. }, Self::Users { principals: others, .. }) => {
                principals == others
            }
            (
                Self::Procedure { uri, realm, role, .. },
                Self::Procedure { uri: uri2, realm: realm2, role: role2, .. },
            ) => (uri, realm, role) == (uri2, realm2, role2),
            _ => self == other,
        }
    }
}

/// Somebody whom the file knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) authid: String,
    pub(super) role: String,
    /// The realm where the client ends up, whichever it names.
    pub(super) realm: Option<String>,
    pub(super) proof: Proof,
}

/// By what it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Ticket(String),
    Secret {
        secret: String,
        salting: Option<Salting>,
    },
    /// A secret that a variable holds when the router starts.
    Variable(String),
    Keys(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Salting {
    pub(super) salt: String,
    pub(super) iterations: u32,
    pub(super) key_bytes: u32,
}

/// What `auth` of a transport says; without it everybody is anonymous.
pub(super) fn ways(transport: &Section<'_>, environment: &Environment, notes: &mut Notes) -> Ways {
    let auth = transport.section("auth", notes).filter(|auth| auth.entries().next().is_some());
    let Some(auth) = auth else {
        return vec![(Method::Anonymous, Way::Anonymous { role: ANONYMOUS.into(), authid: None })];
    };
    let mut ways = Vec::new();
    for (name, item) in auth.entries() {
        let Some(section) = item.section(notes) else { continue };
        let way = match name {
            "anonymous" => anonymous(&section, notes).map(|way| (Method::Anonymous, way)),
            "ticket" => {
                let proof =
                    |user: &Section<'_>, notes: &mut Notes| ticket(user, environment, notes);
                known(&section, "principals", proof, notes).map(|way| (Method::Ticket, way))
            }
            "wampcra" => {
                let proof =
                    |user: &Section<'_>, notes: &mut Notes| secret(user, environment, notes);
                known(&section, "users", proof, notes).map(|way| (Method::Wampcra, way))
            }
            "cryptosign" => {
                known(&section, "principals", keys, notes).map(|way| (Method::Cryptosign, way))
            }
            other => {
                section.entries().for_each(drop);
                notes.missing(&*section.place, not_there(other));
                None
            }
        };
        section.finish(notes);
        ways.extend(way);
    }
    ways
}

fn not_there(method: &str) -> String {
    match method {
        "cookie" => "cookies log nobody in: a client whose only method this is cannot join, one \
                     that offers another method besides logs in by that, each time"
            .into(),
        "scram" => {
            "crossbar's `scram` fits no other implementation; give these users a secret for \
                    `wampcra`, or keys for `cryptosign`"
                .into()
        }
        "tls" => "crossbar knows certificates by SHA-1, which is not enough to prove anything \
                  here: name them in a users file by SHA-256 (`stentor cert fingerprint`), with \
                  `method = \"tls\"`"
            .into(),
        other => format!("there is no method of authentication `{other}`"),
    }
}

fn anonymous(section: &Section<'_>, notes: &mut Notes) -> Option<Way> {
    // It has no effect in crossbar.
    section.ignore(&["realm"]);
    if section.text("type", notes) == Some("dynamic") {
        return procedure(section, notes);
    }
    let role = section.text("role", notes).unwrap_or(ANONYMOUS).to_owned();
    Some(Way::Anonymous { role, authid: section.text("authid", notes).map(Into::into) })
}

/// Users of the file, or a procedure that is asked about them.
fn known(
    section: &Section<'_>,
    list: &str,
    proof: impl Fn(&Section<'_>, &mut Notes) -> Option<Proof>,
    notes: &mut Notes,
) -> Option<Way> {
    match section.text("type", notes) {
        Some("static") => {}
        Some("dynamic") => return procedure(section, notes),
        Some("function") => {
            section.entries().for_each(drop);
            let text = "a Python function inside the router is not called: register it as a \
                        procedure and name that, as in `procedure = \"com.example.authenticate\"`";
            notes.missing(&*section.place, text);
            return None;
        }
        other => {
            section.entries().for_each(drop);
            let text = format!("`{}` is no type of authentication", other.unwrap_or_default());
            notes.missing(&*section.place, text);
            return None;
        }
    }
    let default_role = section.text("default-role", notes);
    let Some(users) = section.section(list, notes) else {
        if section.item("trustroots").is_some() {
            notes.missing(&*section.place, "trust roots and certificates are not supported");
        }
        return None;
    };
    let mut principals = Vec::new();
    for (authid, item) in users.entries() {
        let Some(user) = item.section(notes) else { continue };
        let role = user.text("role", notes).or(default_role);
        let realm = user.text("realm", notes).map(Into::into);
        let found = proof(&user, notes);
        user.finish(notes);
        if !(1..=MAX_AUTHID_BYTES).contains(&authid.len()) || role == Some("") {
            let text = "an authid has 1 to 256 bytes, and a role is not empty: this user is left \
                        out";
            notes.missing(user.place, text);
            continue;
        }
        match (role, found) {
            (Some(role), Some(proof)) => {
                let (authid, role) = (authid.to_owned(), role.to_owned());
                principals.push(Principal { authid, role, realm, proof });
            }
            (None, Some(_)) => notes.missing(
                user.place,
                "without a `role` crossbar lets this user join nothing, and it is left out",
            ),
            (_, None) => {}
        }
    }
    users.finish(notes);
    Some(Way::Users { place: users.place, principals })
}

fn procedure(section: &Section<'_>, notes: &mut Notes) -> Option<Way> {
    let uri = section.text("authenticator", notes)?.to_owned();
    let realm = section.text("authenticator-realm", notes).map(Into::into);
    let role = section.text("default-role", notes).map(Into::into);
    // The router itself asks, and needs no role for that.
    section.ignore(&["authenticator-role"]);
    Some(Way::Procedure { place: section.place.clone(), uri, realm, role })
}

fn ticket(user: &Section<'_>, environment: &Environment, notes: &mut Notes) -> Option<Proof> {
    let text = user.text("ticket", notes)?;
    let ticket = match referred(text) {
        Some(name) => taken(user, "ticket", name, environment, notes)?,
        None => text.to_owned(),
    };
    Some(Proof::Ticket(ticket))
}

fn secret(user: &Section<'_>, environment: &Environment, notes: &mut Notes) -> Option<Proof> {
    let text = user.text("secret", notes)?;
    let secret = match (referred(text), salting(user, notes)) {
        (Some(name), None) => {
            let text = format!(
                "`{name}` has to be in the environment of the router, as it was in crossbar's: \
                 `EnvironmentFile=` in its unit"
            );
            notes.hint(user.at("secret"), text);
            return Some(Proof::Variable(name.to_owned()));
        }
        (Some(name), salting) => (taken(user, "secret", name, environment, notes)?, salting),
        (None, salting) => (text.to_owned(), salting),
    };
    let (secret, salting) = secret;
    // As it is it becomes a variable, of which the router takes `$` for the beginning of a key.
    let is_plain = !secret.is_empty() && !secret.starts_with('$');
    if salting.is_none() && (!is_plain || secret.contains(char::is_control)) {
        let text = "a secret without a salt must not be empty, not begin with `$` and hold no \
                    control characters: this user is left out";
        notes.missing(user.at("secret"), text);
        return None;
    }
    Some(Proof::Secret { secret, salting })
}

/// What a variable holds now, as only a hash can be kept of it.
fn taken(
    user: &Section<'_>,
    key: &str,
    name: &str,
    environment: &Environment,
    notes: &mut Notes,
) -> Option<String> {
    let value = environment.get(name).filter(|value| !value.is_empty());
    if value.is_some() {
        let text = format!(
            "only a hash of the {key} is kept, of what `${name}` holds now: once that changes, the \
             hash has to be made anew (`stentor passwd`)"
        );
        notes.changed(user.at(key), text);
    } else {
        let text = format!(
            "this user is left out: the {key} comes from `${name}`, which is not set here. Run the \
             import with the environment that crossbar has"
        );
        notes.missing(user.at(key), text);
    }
    value.map(str::to_owned)
}

/// Crossbar salts if all three are there.
fn salting(user: &Section<'_>, notes: &mut Notes) -> Option<Salting> {
    let salt = user.text("salt", notes);
    let number = |key, notes: &mut Notes| u32::try_from(user.number(key, notes)?).ok();
    let (iterations, key_bytes) = (number("iterations", notes), number("keylen", notes));
    let (salt, iterations, key_bytes) = (salt?, iterations?, key_bytes?);
    let fits = (1..=128).contains(&salt.len())
        && (16..=64).contains(&key_bytes)
        && (1..=10_000_000).contains(&iterations);
    if !fits {
        let text = "the salt has not 1 to 128 bytes, the key not 16 to 64, or there are more than \
                    10,000,000 iterations: the secret is used without them";
        notes.missing(user.at("salt"), text);
        return None;
    }
    Some(Salting { salt: salt.into(), iterations, key_bytes })
}

fn keys(user: &Section<'_>, notes: &mut Notes) -> Option<Proof> {
    let keys = user.texts("authorized_keys", notes);
    let is_key = |key: &&str| Credential::parse(Method::Cryptosign, key, Source::File).is_ok();
    let (good, bad): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_key);
    if !bad.is_empty() || good.is_empty() {
        let place = user.at("authorized_keys");
        notes.missing(
            place,
            "each key must be a public one of Ed25519, in 64 hexadecimal digits; \
                              others are left out",
        );
    }
    let keys: Vec<String> = good.into_iter().map(str::to_ascii_lowercase).collect();
    (!keys.is_empty()).then_some(Proof::Keys(keys))
}

/// The role of those who prove nothing, where nobody says another one.
pub(super) const ANONYMOUS: &str = "anonymous";

//! Who may come in by a transport of crossbar's: its `auth`.

use super::notes::Notes;
use super::section::Section;
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
    Secret { secret: String, salting: Option<Salting> },
    Keys(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Salting {
    pub(super) salt: String,
    pub(super) iterations: u32,
    pub(super) key_bytes: u32,
}

/// What `auth` of a transport says; without it everybody is anonymous.
pub(super) fn ways(transport: &Section<'_>, notes: &mut Notes) -> Ways {
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
                known(&section, "principals", ticket, notes).map(|way| (Method::Ticket, way))
            }
            "wampcra" => known(&section, "users", secret, notes).map(|way| (Method::Wampcra, way)),
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

fn ticket(user: &Section<'_>, notes: &mut Notes) -> Option<Proof> {
    Some(Proof::Ticket(user.text("ticket", notes)?.to_owned()))
}

fn secret(user: &Section<'_>, notes: &mut Notes) -> Option<Proof> {
    let secret = user.text("secret", notes)?.to_owned();
    let salt = user.text("salt", notes);
    let number = |key, notes: &mut Notes| u32::try_from(user.number(key, notes)?).ok();
    let (iterations, key_bytes) = (number("iterations", notes), number("keylen", notes));
    let salting = match (salt, iterations, key_bytes) {
        (Some(salt), Some(iterations), Some(key_bytes)) => {
            Some(Salting { salt: salt.into(), iterations, key_bytes })
        }
        _ => None,
    };
    Some(Proof::Secret { secret, salting })
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

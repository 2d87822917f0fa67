//! What a reload may make of realms, roles and users, as the simulation of reloads sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use stentor::authentication::{AuthenticatorSettings, Method, Principal};
use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::router::RealmSettings;

use super::plan::pick;
use crate::support::user;

/// The configuration between two reloads.
#[derive(Clone, Debug)]
pub(crate) struct Edition {
    pub(crate) realms: BTreeMap<&'static str, Rules>,
}

/// What holds in a realm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// The roles of those who may log in.
    pub(crate) users: BTreeMap<&'static str, &'static str>,
    roles: BTreeMap<&'static str, BTreeMap<(Action, &'static str), Grant>>,
}

/// What the rules say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    No,
    Yes,
    /// The authorizer decides.
    Ask,
}

impl Edition {
    pub(crate) fn first(rng: &mut StdRng) -> Self {
        let realms = REALMS.map(|name| (name, Rules::draw(rng, name)));
        Self { realms: realms.into_iter().collect() }
    }

    /// Another one, which differs in a thing or two, or in none.
    pub(crate) fn next(&self, rng: &mut StdRng) -> Self {
        let mut next = self.clone();
        for _ in 0..rng.random_range(0..3) {
            if rng.random_bool(0.25) && next.realms.remove(REALMS[1]).is_none() {
                next.realms.insert(REALMS[1], Rules::draw(rng, REALMS[1]));
            }
            for (name, rules) in &mut next.realms {
                rules.change(rng, name);
            }
        }
        next
    }

    pub(crate) fn settings(&self) -> Vec<RealmSettings> {
        self.realms.iter().map(|(name, rules)| rules.settings(name)).collect()
    }

    pub(crate) fn grants(&self, realm: &str, role: &str, action: Action, uri: &str) -> Grant {
        let role = self.realms.get(realm).and_then(|rules| rules.roles.get(role));
        let grant = role.and_then(|grants| {
            let mut all = grants.iter();
            all.find(|((of, about), _)| *of == action && *about == uri).map(|(_, grant)| *grant)
        });
        grant.unwrap_or(Grant::No)
    }

    pub(crate) fn has_role(&self, realm: &str, role: &str) -> bool {
        self.realms.get(realm).is_some_and(|rules| rules.roles.contains_key(role))
    }

    /// Whether a session of this user may be here.
    pub(crate) fn admits(&self, realm: &str, authid: &str, role: &str) -> bool {
        let rules = self.realms.get(realm);
        let is_known = rules.is_some_and(|rules| rules.users.get(authid) == Some(&role));
        is_known && self.has_role(realm, role)
    }
}

impl Rules {
    fn draw(rng: &mut StdRng, realm: &str) -> Self {
        let mut rules = Self::default();
        for authid in USERS {
            rules.users.insert(authid, *pick(rng, &ROLES));
        }
        for role in ROLES {
            rules.roles.insert(role, grants(rng, realm));
        }
        rules
    }

    fn change(&mut self, rng: &mut StdRng, realm: &str) {
        let (authid, role) = (*pick(rng, &USERS), *pick(rng, &ROLES));
        match rng.random_range(0..8) {
            0 => drop(self.users.remove(authid)),
            1 => drop(self.users.insert(authid, role)),
            2 => drop(self.roles.remove(role)),
            3 | 4 => drop(self.roles.insert(role, grants(rng, realm))),
            5 => {
                if let Some(grants) = self.roles.get_mut(role) {
                    let (action, uri) = *pick(rng, &requests());
                    grants.insert((action, uri), grant(rng, realm));
                }
            }
            _ => {}
        }
    }

    fn settings(&self, name: &str) -> RealmSettings {
        let principals = self.users.iter().map(|(authid, role)| {
            let known = user(authid, Method::Ticket);
            Arc::new(Principal { role: (*role).into(), ..(*known).clone() })
        });
        let everything = vec![Permission::everything_below("")];
        let mut roles = vec![RoleSettings::new("anonymous", everything)];
        roles.extend(self.roles.iter().map(|(role, grants)| {
            let permissions = requests().into_iter().map(|(action, uri)| {
                let grant = grants.get(&(action, uri)).copied().unwrap_or(Grant::No);
                let mut permission = Permission { uri: uri.into(), ..Permission::default() };
                match grant {
                    Grant::No => permission.deny.push(action),
                    Grant::Yes | Grant::Ask => permission.allow.push(action),
                }
                permission.authorizer = (grant == Grant::Ask).then(|| "com.auth".to_owned());
                permission
            });
            RoleSettings::new(*role, permissions.collect())
        }));
        let by_ticket = AuthenticatorSettings::of(Method::Ticket, principals.collect());
        RealmSettings {
            authenticators: vec![AuthenticatorSettings::anonymous("anonymous"), by_ticket],
            access: Access::Roles(roles),
            ..RealmSettings::named(name)
        }
    }
}

fn grants(rng: &mut StdRng, realm: &str) -> BTreeMap<(Action, &'static str), Grant> {
    requests().into_iter().map(|request| (request, grant(rng, realm))).collect()
}

/// Only one realm has an authorizer.
fn grant(rng: &mut StdRng, realm: &str) -> Grant {
    match rng.random_range(0..5) {
        0 => Grant::No,
        1 if realm == REALMS[0] => Grant::Ask,
        _ => Grant::Yes,
    }
}

/// What can be asked for.
pub(crate) fn requests() -> Vec<(Action, &'static str)> {
    let on = |actions: [Action; 2], uris: [&'static str; 3]| {
        actions.into_iter().flat_map(move |action| uris.map(|uri| (action, uri)))
    };
    let topics = on([Action::Publish, Action::Subscribe], TOPICS);
    topics.chain(on([Action::Call, Action::Register], PROCEDURES)).collect()
}

pub(crate) const REALMS: [&str; 2] = ["realm1", "realm2"];
pub(crate) const USERS: [&str; 4] = ["joe", "jim", "jack", "jill"];
const ROLES: [&str; 3] = ["red", "green", "blue"];
const TOPICS: [&str; 3] = ["com.t1", "com.t2", "com.t3"];
const PROCEDURES: [&str; 3] = ["com.p1", "com.p2", "com.p3"];

//! `[management]`: from which realm WAMP clients see and change the router, and what can be wrong
//! with that.

use serde::{Deserialize, Serialize};

use super::check::Findings;
use super::{Access, Config, Method, Realm, Warning};
use crate::authorization::{Managers, Standing};

/// Who may see and change the router as a WAMP client: nobody, unless a role is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Management {
    /// The realm that they join.
    pub realm: Option<String>,
    /// Roles of it that see: the procedures that change nothing, and the topics.
    pub watch: Vec<String>,
    /// Roles of it that see and change.
    pub act: Vec<String>,
}

impl Management {
    /// Whether somebody may do something.
    pub fn is_on(&self) -> bool {
        !self.watch.is_empty() || !self.act.is_empty()
    }

    /// Who may do what, in words.
    pub(super) fn summary(&self) -> Option<String> {
        let realm = self.realm.as_ref().filter(|_| self.is_on())?;
        let said = |what: &str, roles: &[String]| {
            (!roles.is_empty()).then(|| format!("`{}` {what}", roles.join("`, `")))
        };
        let (watch, act) = (said("may watch", &self.watch), said("may act", &self.act));
        let roles: Vec<_> = watch.into_iter().chain(act).collect();
        Some(format!("from {realm}: {}", roles.join(", ")))
    }
}

impl Config {
    /// Tells each realm who manages the router from there.
    pub(super) fn appoint_managers(&mut self) {
        let Management { realm, watch, act } = &self.management;
        for candidate in &mut self.realms {
            let is_named = self.management.is_on() && Some(&candidate.name) == realm.as_ref();
            let is_meant = is_named && candidate.access != Access::Open;
            candidate.managers =
                is_meant.then(|| Managers { watch: watch.clone(), act: act.clone() });
        }
    }

    /// Whether there is a thread `control`: somebody may want to see the router.
    pub fn is_observed(&self) -> bool {
        self.admin.listen.is_some() || self.management.is_on() || self.was_observed
    }
}

/// What can be wrong with `[management]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagementFault {
    #[error("roles may manage the router, and it is not said of which realm they are")]
    NoRealm,
    #[error("there is no realm `{0}` that the router could be managed from")]
    UnknownRealm(String),
    #[error("realm `{realm}` has no role `{role}`; its roles: {roles}")]
    UnknownRole { realm: String, role: String, roles: String },
}

impl ManagementFault {
    pub(super) fn help(&self) -> String {
        match self {
            Self::NoRealm => "add a line `realm = \"...\"` with the name of a `[[realm]]`".into(),
            Self::UnknownRealm(_) => "name one that has a `[[realm]]`".into(),
            Self::UnknownRole { role, .. } => {
                format!("add a `[[realm.role]]` with `name = \"{role}\"` to that realm")
            }
        }
    }
}

/// Roles that anybody has, and that manage the router.
pub(super) fn warnings(realm: &Realm) -> Vec<Warning> {
    let ways = realm.authenticators.iter();
    let ways = ways.filter(|way| way.method == Method::Anonymous && !way.asks());
    let found = ways.filter_map(|way| {
        let role = way.anonymous_role();
        let key = match realm.powers(role).standing? {
            Standing::Stranger => return None,
            Standing::Watcher => "management.watch",
            Standing::Actor => "management.act",
        };
        Some(Warning::AnonymousManager { realm: realm.name.clone(), key, role: role.to_owned() })
    });
    found.collect()
}

pub(super) fn check_management(management: &Management, realms: &[Realm], findings: &mut Findings) {
    let Management { realm, watch, act } = management;
    let first = if watch.is_empty() { "management.act" } else { "management.watch" };
    let Some(name) = realm else {
        findings.add_if(management.is_on(), first, || ManagementFault::NoRealm);
        return;
    };
    let key = "management.realm";
    let Some(realm) = realms.iter().find(|realm| realm.name == *name) else {
        return findings.add(key, ManagementFault::UnknownRealm(name.clone()));
    };
    for (key, roles) in [("management.watch", watch), ("management.act", act)] {
        for role in roles {
            check_role(role, realm, key, findings);
        }
    }
}

/// A realm without a file has no roles: who comes there is anybody.
fn check_role(role: &str, realm: &Realm, key: &str, findings: &mut Findings) {
    let listed = match &realm.access {
        Access::Open => &[][..],
        Access::Roles(roles) => roles,
    };
    findings.add_if(!listed.iter().any(|known| known.name == role), key, || {
        let names: Vec<_> = listed.iter().map(|role| format!("`{}`", role.name)).collect();
        let roles = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        ManagementFault::UnknownRole { realm: realm.name.clone(), role: role.to_owned(), roles }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    fn read(management: &str) -> Result<Config, String> {
        let text = format!(
            "[[realm]]\nname = \"realm1\"\n[[realm]]\nname = \"ops\"\n[[realm.role]]\n\
             name = \"viewer\"\n[[realm.role]]\nname = \"operator\"\n[management]\n{management}\n"
        );
        Loader::from_text("a.toml", text).finish().map_err(|error| error.to_string())
    }

    #[test]
    fn one_realm_has_managers_if_a_role_is_named() {
        let config = read("realm = \"ops\"\nwatch = [\"viewer\"]\nact = [\"operator\"]").unwrap();
        assert!(config.is_observed() && config.realms[0].managers.is_none());
        let managers = config.realms[1].managers.as_ref().unwrap();
        let standing = ["viewer", "operator", "nobody"].map(|role| managers.standing(role));
        assert_eq!(standing, [Standing::Watcher, Standing::Actor, Standing::Stranger]);
        for text in ["", "realm = \"ops\""] {
            let off = read(text).unwrap();
            assert!(!off.is_observed() && off.realms.iter().all(|realm| realm.managers.is_none()));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, said) in [
            ("watch = [\"viewer\"]", "a.toml:10", "of which realm they are"),
            ("act = [\"viewer\"]", "a.toml:10", "of which realm they are"),
            ("realm = \"op\"\nact = [\"operator\"]", "a.toml:10", "no realm `op`"),
            ("realm = \"ops\"\nact = [\"root\"]", "a.toml:11", "its roles: `viewer`, `operator`"),
            ("realm = \"realm1\"\nwatch = [\"viewer\"]", "a.toml:11", "its roles: none"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(said) && fault.contains(line), "{text}: {fault}");
        }
    }

    /// What the router does until it is started anew is allowed by both files, or by nobody.
    #[test]
    fn a_postponed_move_leaves_nobody_who_manages() {
        let file = |ops: &str, more: &str| {
            let text = format!(
                "[storage]\npath = \"/tmp/store\"\n[[realm]]\nname = \"realm1\"\n\
                 [[realm]]\nname = \"ops\"\n{ops}{more}"
            );
            Loader::from_text("a.toml", text).finish().unwrap()
        };
        let role = "[[realm.role]]\nname = \"operator\"\n";
        let manage =
            |realm: &str| format!("[management]\nrealm = \"{realm}\"\nact = [\"operator\"]");
        let kept = "[[realm]]\nname = \"kept\"\n[[realm.history]]\ntopic = \"com.x\"\n\
                    store = \"durable\"\n";
        let old = file(role, &manage("ops"));
        assert!(old.realms[1].managers.is_some());
        for ops in ["", role] {
            let asked = file(ops, &format!("{kept}{role}{}", manage("kept")));
            let (next, changes) = old.adopt(&asked);
            assert!(next.realms.iter().all(|realm| realm.managers.is_none()), "{ops}");
            let said = |changes: &[crate::config::Change]| {
                changes.iter().any(|change| change.place == "management")
            };
            assert!(said(&changes.applied), "it is said that nobody manages: {changes:?}");
            let places: Vec<_> = changes.after_restart.iter().map(|it| it.place.as_str()).collect();
            assert_eq!(places, ["realm `kept`", "management.realm"]);
            let (_, again) = next.adopt(&asked);
            assert_eq!(again.applied, [], "and said once");
            let (back, _) = next.adopt(&old);
            assert!(back.realms[1].managers.is_some(), "the file of before gives it back");
        }
    }

    /// Whoever could not be asked when the router started cannot be asked later.
    #[test]
    fn the_first_manager_needs_a_restart() {
        let on = read("realm = \"ops\"\nact = [\"operator\"]").unwrap();
        let off = read("").unwrap();
        let (next, changes) = off.adopt(&on);
        let places: Vec<_> = changes.after_restart.iter().map(|it| it.place.as_str()).collect();
        assert_eq!(places, ["management.act", "management.realm"]);
        assert!(!next.is_observed() && next.realms.iter().all(|realm| realm.managers.is_none()));
        // One who could be asked can be asked again.
        let (next, changes) = on.adopt(&off);
        assert!(changes.after_restart.is_empty() && next.realms[1].managers.is_none());
        let (next, changes) = next.adopt(&on);
        assert!(changes.after_restart.is_empty() && next.realms[1].managers.is_some());
    }
}

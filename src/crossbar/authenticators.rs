//! Crossbar says at each transport who may come in, this router in each realm, and for which
//! listeners. This puts the transports of a worker together to the ways into one of its realms.

use super::doors::{At, Door};
use super::listeners::Entrances;
use super::logins::{ANONYMOUS, Principal, Way};
use super::notes::Notes;
use super::realms::Realm;
use crate::authentication::Method;

/// A way into a realm.
#[derive(Debug)]
pub(super) struct Authenticator {
    pub(super) method: Method,
    pub(super) way: Way,
    /// The numbers of the doors that it is for.
    pub(super) doors: Vec<usize>,
    /// Those of them by their names; empty: it may be for all.
    pub(super) listeners: Vec<String>,
}

/// The ways into a realm. What a door lets into none of its realms becomes a note elsewhere.
pub(super) fn authenticators(
    realm: &Realm,
    entrances: &mut Entrances,
    notes: &mut Notes,
) -> Vec<Authenticator> {
    let mut found: Vec<Authenticator> = Vec::new();
    for (number, door) in entrances.doors.iter().enumerate() {
        let is_for = door.realms.is_empty() || door.realms.contains(&realm.name);
        if door.worker != realm.worker || !is_for {
            continue;
        }
        for (method, way) in &door.ways {
            let Some(way) = within(way, realm, notes) else { continue };
            let is_same =
                |other: &&mut Authenticator| other.method == *method && other.way.is_like(&way);
            match found.iter_mut().find(is_same) {
                Some(other) => other.doors.push(number),
                None => {
                    let (method, doors, listeners) = (*method, vec![number], Vec::new());
                    found.push(Authenticator { method, way, doors, listeners });
                }
            }
        }
    }
    for authenticator in &mut found {
        name_doors(authenticator, entrances);
    }
    // Who knows its users goes before who is asked about everybody.
    found.sort_by_key(|one| matches!(one.way, Way::Procedure { .. }));
    found
}

/// What is left of a way in this realm: crossbar lets nobody join whose role is not there.
fn within(way: &Way, realm: &Realm, notes: &mut Notes) -> Option<Way> {
    match way {
        Way::Anonymous { role, .. } => {
            (role == ANONYMOUS || realm.has_role(role)).then(|| way.clone())
        }
        Way::Procedure { .. } => Some(way.clone()),
        Way::Users { place, principals } => {
            let is_here = |user: &&Principal| {
                let is_sent = user.realm.as_ref().is_none_or(|name| *name == realm.name);
                realm.has_role(&user.role) && is_sent
            };
            let principals: Vec<_> = principals.iter().filter(is_here).cloned().collect();
            if principals.iter().any(|user| user.realm.is_some()) {
                let text = "a user with `realm` joins that realm in crossbar, whichever it names; \
                            here it has to name it, and who names another is refused";
                notes.denied(&**place, text);
            }
            (!principals.is_empty()).then(|| Way::Users { place: place.clone(), principals })
        }
    }
}

/// Names the doors, if there are others where the method can be had. Those where strangers get a
/// role are named unless they are all: another listener that somebody adds is none of them.
fn name_doors(authenticator: &mut Authenticator, entrances: &mut Entrances) {
    let Authenticator { method, way, doors, listeners } = authenticator;
    let is_open = matches!(way, Way::Anonymous { .. });
    let is_elsewhere = |(number, door): (usize, &Door)| {
        let has_method = || door.ways.iter().any(|(other, _)| other == method);
        !doors.contains(&number) && (is_open || has_method())
    };
    if !entrances.doors.iter().enumerate().any(is_elsewhere) {
        return;
    }
    for number in doors {
        let door = &entrances.doors[*number];
        let listener = &mut entrances.listeners[door.listener];
        listener.is_named = true;
        listeners.push(match &door.at {
            At::Itself => listener.name.clone(),
            At::Path(path) | At::LongPoll(path) => format!("{}{path}", listener.name),
        });
    }
}

//! A node as a whole: its workers, and the files that they become.

use super::authenticators::{Authenticator, authenticators};
use super::components::{Processes, surroundings};
use super::doors::{At, Page, What};
use super::listeners::Entrances;
use super::logins::Way;
use super::notes::Notes;
use super::realms::{Realm, appoint, read_realm};
use super::section::Section;
use super::units::units;
use super::users::Users;
use super::write::{Node, write};
use super::{File, Options, Unreadable};

/// The text of the configuration, and the files beside it.
///
/// # Errors
/// [`Unreadable::NoRouter`] if there is nothing to be configured.
pub(super) fn import(
    file: &Section<'_>,
    options: &mut Options<'_>,
    notes: &mut Notes,
) -> Result<(String, Vec<File>), Unreadable> {
    file.ignore(&["version", "$schema"]);
    if let Some(controller) = file.section("controller", notes) {
        read_controller(&controller, notes);
    }
    let node_directory = options.node_directory.to_owned();
    let mut entrances = Entrances { node_directory, ..Entrances::default() };
    let (mut realms, mut processes) = (Vec::new(), Processes::default());
    let mut routers = 0;
    for (number, item) in file.list("workers", notes).into_iter().enumerate() {
        let Some(worker) = item.section(notes) else { continue };
        worker.ignore(&["id"]);
        match worker.text("type", notes).unwrap_or_default() {
            "router" => {
                routers += 1;
                read_router(number, &worker, &mut realms, &mut entrances, &mut processes, notes);
            }
            "container" => {
                let around = surroundings(&worker, &entrances, notes);
                for component in worker.list("components", notes) {
                    processes.container_component(component, &around, &entrances, notes);
                }
                close(&worker, notes);
            }
            "guest" => processes.guest(&worker, &entrances, notes),
            other => {
                worker.entries().for_each(drop);
                let text =
                    format!("workers of type `{other}` are nothing that can be carried over");
                notes.missing(&*worker.place, text);
            }
        }
    }
    file.finish(notes);
    if routers == 0 {
        return Err(Unreadable::NoRouter);
    }
    appoint_components(&processes, &mut realms, notes);
    let ways: Vec<_> =
        realms.iter().map(|realm| authenticators(realm, &mut entrances, notes)).collect();
    note_ways(&realms, &ways, &entrances, notes);
    check_pages(&realms, &mut entrances, notes);
    let mut users = Users::default();
    let files = ways.iter().map(|ways| {
        let of_way = |one: &Authenticator| match &one.way {
            Way::Users { place, principals } => {
                Some(users.file(one.method, place, principals, options.random, notes))
            }
            _ => None,
        };
        ways.iter().map(of_way).collect::<Vec<_>>()
    });
    let files: Vec<Vec<Option<String>>> = files.collect();
    for listener in &mut entrances.listeners {
        listener.websocket |= !listener.pages.is_empty();
    }
    collapse(&mut entrances);
    let node = Node { file: options.file, realms: &realms, entrances: &entrances, ways: &ways };
    let toml = write(&node, &files, notes);
    let mut others = users.into_files(notes);
    others.extend(units(options.start, &processes.list, options.directory, notes));
    Ok((toml, others))
}

/// Sees to it that the roles of components are there.
fn appoint_components(processes: &Processes, realms: &mut [Realm], notes: &mut Notes) {
    for (worker, realm, role, place) in &processes.roles {
        let is_it = |other: &&mut Realm| other.worker == *worker && other.name == *realm;
        match realms.iter_mut().find(is_it) {
            Some(realm) => appoint(realm, role, place, notes),
            None => notes.missing(&**place, format!("its realm `{realm}` is not there")),
        }
    }
}

fn read_controller(controller: &Section<'_>, notes: &mut Notes) {
    controller.ignore(&["id", "options"]);
    if controller.item("manhole").is_some() {
        notes.hint(
            controller.at("manhole"),
            "no manhole: `[admin]` and `stentor top` show the router",
        );
    }
    controller.ignore(&["keyring", "cdc", "fabric", "blockchain", "connections"]);
    for key in ["keyring", "cdc", "fabric", "blockchain"] {
        if controller.has(key) {
            notes.hint(controller.at(key), "nodes are not managed from elsewhere");
        }
    }
    controller.finish(notes);
}

fn read_router(
    number: usize,
    worker: &Section<'_>,
    realms: &mut Vec<Realm>,
    entrances: &mut Entrances,
    processes: &mut Processes,
    notes: &mut Notes,
) {
    let around = surroundings(worker, entrances, notes);
    let mut is_double = false;
    for section in worker.sections("realms", notes) {
        let Some(realm) = read_realm(number, &section, notes) else { continue };
        if realms.iter().any(|other| other.name == realm.name) {
            let text = format!(
                "a second realm `{}`, of another router: import that worker by itself, for a \
                 router of its own",
                realm.name
            );
            notes.missing(realm.place, text);
            is_double = true;
        } else {
            realms.push(realm);
        }
    }
    let transports = worker.sections("transports", notes);
    for transport in transports.iter().filter(|_| !is_double) {
        entrances.read(number, transport, notes);
    }
    for component in worker.list("components", notes) {
        processes.router_component(number, component, &around, entrances, notes);
    }
    close(worker, notes);
}

/// What routers and containers have alike.
fn close(worker: &Section<'_>, notes: &mut Notes) {
    if worker.item("manhole").is_some() {
        notes.hint(worker.at("manhole"), "no manhole: `[admin]` and `stentor top` show the router");
    }
    if worker.item("connections").is_some() {
        notes.missing(worker.at("connections"), "the router has no connections to databases");
    }
    worker.finish(notes);
}

/// Says of ways in where they lead nowhere, or to whom.
fn note_ways(
    realms: &[Realm],
    ways: &[Vec<Authenticator>],
    entrances: &Entrances,
    notes: &mut Notes,
) {
    for (number, door) in entrances.doors.iter().enumerate() {
        let is_used = |one: &Authenticator| one.doors.contains(&number);
        if !ways.iter().flatten().any(is_used) {
            let text = "nobody who comes in here has a role in any realm, so crossbar lets nobody \
                        join; nor does the router";
            notes.hint(&*door.place, text);
        }
    }
    for one in ways.iter().flatten() {
        let Way::Procedure { place, uri, realm, .. } = &one.way else { continue };
        if let Some(name) = realm.as_ref().filter(|name| realms.iter().all(|r| r.name != **name)) {
            notes.missing(&**place, format!("its realm `{name}` is not there"));
        }
        let text = format!(
            "whoever registers `{uri}` says who others are. It needs a way in that asks nobody: \
             see docs/authentication/dynamic.md"
        );
        notes.hint(&**place, text);
    }
}

/// Paths that publish or call in a realm that is there.
fn check_pages(realms: &[Realm], entrances: &mut Entrances, notes: &mut Notes) {
    for listener in &mut entrances.listeners {
        listener.pages.retain(|page: &Page| {
            let What::Bridge { realm, .. } = &page.what else { return true };
            let is_there = realms.iter().any(|other| other.name == *realm);
            if !is_there {
                notes.missing(&*page.place, format!("its realm `{realm}` is not there"));
            }
            is_there
        });
    }
}

/// A listener with one path for WebSockets needs no section for it.
fn collapse(entrances: &mut Entrances) {
    for (number, listener) in entrances.listeners.iter_mut().enumerate() {
        let mut doors: Vec<_> =
            entrances.doors.iter_mut().filter(|door| door.listener == number).collect();
        let [door] = doors.as_mut_slice() else { continue };
        let At::Path(path) = &door.at else { continue };
        if !listener.is_named {
            listener.paths = vec![path.clone()];
            door.at = At::Itself;
        }
    }
}

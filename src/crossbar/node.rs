//! A node as a whole: its workers, and the files that they become.

use super::authenticators::{Authenticator, authenticators};
use super::components::{Processes, surroundings};
use super::doors::{At, Listener, Page, What};
use super::listeners::Entrances;
use super::logins::Way;
use super::notes::Notes;
use super::realms::{Realm, appoint, read_realm};
use super::section::Section;
use super::units::{Router, Starting, units};
use super::users::{SECRETS, Users};
use super::value::Value;
use super::variables::{Environment, referred};
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
    let controller = file.section("controller", notes);
    let are_workers_parallel =
        controller.is_some_and(|controller| read_controller(&controller, notes));
    let node_directory = options.node_directory.to_owned();
    let environment = options.environment.clone();
    let mut entrances = Entrances { node_directory, environment, ..Entrances::default() };
    let mut processes = Processes { are_workers_parallel, ..Processes::default() };
    let mut realms = Vec::new();
    let mut routers = 0;
    for (number, item) in file.list("workers", notes).into_iter().enumerate() {
        let Some(worker) = item.section(notes) else { continue };
        worker.ignore(&["id"]);
        if is_disabled(&worker, &entrances.environment, notes) {
            continue;
        }
        match worker.text("type", notes).unwrap_or_default() {
            "router" => {
                routers += 1;
                read_router(number, &worker, &mut realms, &mut entrances, &mut processes, notes);
            }
            "container" => {
                let around = surroundings(number, &worker, &entrances, notes);
                for component in worker.list("components", notes) {
                    processes.container_component(component, &around, &entrances, notes);
                }
                close(&worker, notes);
            }
            "guest" => processes.guest(number, &worker, &entrances, notes),
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
    let files: Vec<_> =
        ways.iter().map(|ways| users_files(ways, &mut users, options.random)).collect();
    for listener in &mut entrances.listeners {
        listener.websocket |= !listener.pages.is_empty();
    }
    collapse(&mut entrances);
    let node = Node { file: options.file, realms: &realms, entrances: &entrances, ways: &ways };
    let toml = write(&node, &files, notes);
    let mut others = users.into_files(notes);
    let mut reads: Vec<_> = entrances.listeners.iter().flat_map(Listener::reads).collect();
    reads.sort_unstable();
    reads.dedup();
    let has_secrets = others.iter().any(|file| file.name == SECRETS);
    let router = Router { reads: &reads, has_secrets };
    let start = Starting { start: options.start, python: options.python, router };
    others.extend(units(start, &processes.list, options.directory, notes));
    Ok((toml, others))
}

/// The users files of the ways into one realm.
fn users_files(
    ways: &[Authenticator],
    users: &mut Users,
    random: &mut dyn FnMut() -> [u8; 16],
) -> Vec<Option<String>> {
    let of_way = |one: &Authenticator| match &one.way {
        Way::Users { place, principals } => Some(users.file(one.method, place, principals, random)),
        _ => None,
    };
    ways.iter().map(of_way).collect()
}

/// A worker that crossbar does not start: by a variable that is set, whatever it holds, as well.
fn is_disabled(worker: &Section<'_>, environment: &Environment, notes: &mut Notes) -> bool {
    let Some(options) = worker.item("options") else { return false };
    let Value::Map(entries) = options.value else { return false };
    let options = Section::new(options.place, entries);
    let Some(item) = options.item("disabled") else { return false };
    let is_disabled = match item.value {
        Value::Bool(is_disabled) => *is_disabled,
        Value::Text(text) => match referred(text) {
            Some(name) => environment.get(name).is_some_and(|value| !value.is_empty()),
            None => !text.is_empty(),
        },
        _ => item.reject("true or false", notes).unwrap_or_default(),
    };
    if is_disabled {
        let text = "crossbar does not start this worker, so nothing of it is imported";
        notes.hint(item.place, text);
    }
    is_disabled
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

/// Whether workers are started at once.
fn read_controller(controller: &Section<'_>, notes: &mut Notes) -> bool {
    controller.ignore(&["id", "options"]);
    let options = controller.section("options", notes);
    let is_parallel = options
        .is_some_and(|options| options.bool("enable_parallel_worker_start", notes) == Some(true));
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
    is_parallel
}

fn read_router(
    number: usize,
    worker: &Section<'_>,
    realms: &mut Vec<Realm>,
    entrances: &mut Entrances,
    processes: &mut Processes,
    notes: &mut Notes,
) {
    let around = surroundings(number, worker, entrances, notes);
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
        let is_asked_for = |other: &Realm| match realm {
            Some(name) => other.name == *name,
            None => true,
        };
        let mut places = realms.iter().zip(ways).filter(|(other, _)| is_asked_for(other));
        if !places.any(|(realm, ways)| has_way_in(realm, ways, uri)) {
            let text = format!(
                "whoever registers `{uri}` says who others are. It needs a way in that asks \
                 nobody: see docs/authentication/dynamic.md"
            );
            notes.hint(&**place, text);
        }
    }
    for (realm, ways) in realms.iter().zip(ways) {
        for permission in realm.roles.iter().flat_map(|role| &role.permissions) {
            let (Some(uri), [place, ..]) = (&permission.authorizer, &*permission.comments) else {
                continue;
            };
            if !has_way_in(realm, ways, uri) {
                let text = format!(
                    "whoever registers `{uri}` decides what this role may do. It needs a role of \
                     its own, with a permission to register that, and a way in; it is not asked \
                     about itself"
                );
                notes.hint(&**place, text);
            }
        }
    }
}

/// Whether somebody who is asked for by name, or by a door, may register a procedure.
fn has_way_in(realm: &Realm, ways: &[Authenticator], uri: &str) -> bool {
    ways.iter().any(|one| match &one.way {
        Way::Anonymous { role, .. } => realm.may_register(role, uri),
        Way::Users { principals, .. } => {
            principals.iter().any(|user| realm.may_register(&user.role, uri))
        }
        Way::Procedure { .. } => false,
    })
}

/// Paths that publish or call in a realm that is there.
fn check_pages(realms: &[Realm], entrances: &mut Entrances, notes: &mut Notes) {
    let longest = entrances.common.longest_message();
    for listener in &mut entrances.listeners {
        listener.pages.retain_mut(|page: &mut Page| {
            let What::Bridge { realm, role, body_bytes, .. } = &mut page.what else { return true };
            let is_there = |other: &Realm| other.name == *realm && other.has_role(role);
            if !realms.iter().any(is_there) {
                let text = format!(
                    "there is no role `{role}` in a realm `{realm}`, so no such \
                                    path"
                );
                notes.missing(&*page.place, text);
                return false;
            }
            if let Some(bytes) = body_bytes.filter(|bytes| !(512..=longest).contains(bytes)) {
                let within = bytes.clamp(512, longest);
                let text = format!("bodies have up to {within} bytes: {bytes} is out of its range");
                notes.changed(&*page.place, text);
                *body_bytes = Some(within);
            }
            true
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

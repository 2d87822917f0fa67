//! What crossbar runs besides the router: components, containers and guests, each of which becomes
//! a process of its own.

use serde_json::{Value as Json, json};

use super::connecting::{connecting, transport_to};
use super::doors::{At, Door, Listener};
use super::listeners::Entrances;
use super::logins::{ANONYMOUS, Way};
use super::notes::Notes;
use super::section::{Item, Section};
use super::text::{file_name, unlike};
use super::value::Value;
use super::variables::is_variable;
use crate::authentication::Method;

/// A process to be started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) place: String,
    /// For its files: a-z, 0-9 and `-`.
    pub(super) name: String,
    pub(super) what: Program,
    pub(super) environment: Environment,
    /// Restarted whenever it ends, or never.
    pub(super) restarts: bool,
    /// It comes in by a Unix socket.
    pub(super) needs_group: bool,
    /// The number of its worker.
    worker: usize,
    /// The process that crossbar starts before it, and waits for.
    pub(super) after: Option<String>,
}

/// The variables of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// Those of crossbar's file, among which may be secrets.
    pub(super) variables: Vec<(String, String)>,
    /// Directories of Python modules.
    pub(super) python_path: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Program {
    /// What `run_component.py` is told.
    Component {
        python: Option<String>,
        settings: Json,
        /// Empty: that of whoever starts it.
        directory: String,
    },
    Guest {
        executable: String,
        arguments: Vec<String>,
        directory: String,
    },
}

/// The workers of a node that are not routers, and the components of those that are.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) list: Vec<Process>,
    /// Realm, role and place of components that are in the router: they need a role there.
    pub(super) roles: Vec<(usize, String, String, String)>,
    /// Crossbar starts its workers at once, instead of one after the other.
    pub(super) are_workers_parallel: bool,
}

/// What all processes of a worker have.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    worker: usize,
    python: Option<String>,
    environment: Environment,
    restarts: bool,
}

/// The `options` of a worker that runs Python.
pub(super) fn surroundings(
    number: usize,
    worker: &Section<'_>,
    entrances: &Entrances,
    notes: &mut Notes,
) -> Surroundings {
    let mut found = Surroundings { worker: number, restarts: true, ..Surroundings::default() };
    let Some(options) = worker.section("options", notes) else { return found };
    options.ignore(&["title", "shutdown", "reactor", "profiler", "disabled"]);
    found.python = options.text("python", notes).map(Into::into);
    found.environment.variables = environment(&options, notes);
    let paths = options.texts("pythonpath", notes);
    found.environment.python_path =
        paths.into_iter().map(|path| entrances.absolute(path)).collect();
    found.restarts = options.text("restart", notes) != Some("restart-never");
    if options.item("cpu_affinity").is_some() {
        notes.changed(options.at("cpu_affinity"), "not carried over: systemd has `CPUAffinity=`");
    }
    for key in ["expose_controller", "expose_shared"] {
        if options.bool(key, notes) == Some(true) {
            let text = "components are processes of their own and share nothing";
            notes.missing(options.at(key), text);
        }
    }
    options.finish(notes);
    found
}

fn environment(options: &Section<'_>, notes: &mut Notes) -> Vec<(String, String)> {
    let Some(env) = options.section("env", notes) else { return Vec::new() };
    let inherits_all = |item: Item<'_>| *item.value == Value::Bool(true);
    if env.item("inherit").is_some_and(|item| !inherits_all(item)) {
        let text =
            "a process gets the environment of what starts it, and the variables of its unit";
        notes.changed(env.at("inherit"), text);
    }
    let mut found = Vec::new();
    if let Some(variables) = env.section("vars", notes) {
        for (name, item) in variables.entries() {
            match item.value.as_text() {
                Some(_) if !is_variable(name) => {
                    notes.missing(item.place, "a variable can have no such name");
                }
                Some(value) => found.push((name.to_owned(), value.to_owned())),
                None => drop(item.reject::<()>("a text", notes)),
            }
        }
    }
    env.finish(notes);
    found
}

impl Processes {
    /// A component inside the router, which comes in without a login there.
    pub(super) fn router_component(
        &mut self,
        worker: usize,
        item: Item<'_>,
        surroundings: &Surroundings,
        entrances: &mut Entrances,
        notes: &mut Notes,
    ) {
        let Some(section) = item.section(notes) else { return };
        let realm = section.text("realm", notes).map(str::to_owned);
        let role = section.text("role", notes).unwrap_or(ANONYMOUS).to_owned();
        section.ignore(&["references"]);
        if section.item("references").is_some() {
            let text = "connections of the worker are not shared with a process of its own";
            notes.missing(section.at("references"), text);
        }
        let settings = self.settings(&section, entrances, notes);
        section.finish(notes);
        let (Some(realm), Some(mut settings)) = (realm, settings) else { return };
        let place = section.place.clone();
        settings["transport"] = way_in(worker, &realm, &role, &place, entrances);
        self.roles.push((worker, realm, role, place));
        self.add(&section, settings, surroundings, entrances, notes);
    }

    /// A component of a container, which connects and logs in by itself.
    pub(super) fn container_component(
        &mut self,
        item: Item<'_>,
        surroundings: &Surroundings,
        entrances: &Entrances,
        notes: &mut Notes,
    ) {
        let Some(section) = item.section(notes) else { return };
        section.text("realm", notes);
        let settings = self.settings(&section, entrances, notes);
        let transport = section.section("transport", notes);
        let transport = transport.and_then(|one| connecting(&one, entrances, notes));
        if let Some(auth) = section.item("auth") {
            notes.hint(auth.place, "its secrets stand in the settings of the component");
        }
        section.finish(notes);
        let (Some(mut settings), Some(transport)) = (settings, transport) else { return };
        if let Some(auth) = section.item("auth") {
            settings["authentication"] = auth.value.to_json();
        }
        settings["transport"] = transport;
        self.add(&section, settings, surroundings, entrances, notes);
    }

    fn add(
        &mut self,
        section: &Section<'_>,
        settings: Json,
        surroundings: &Surroundings,
        entrances: &Entrances,
        notes: &mut Notes,
    ) {
        let named = section.text("id", notes).map(str::to_owned);
        let of_class = settings["classname"].as_str().and_then(|name| name.rsplit('.').next());
        let name = named.or_else(|| of_class.map(Into::into)).unwrap_or_else(|| "component".into());
        let Surroundings { worker, python, environment, restarts } = surroundings.clone();
        let directory = entrances.node_directory.clone();
        self.list.push(Process {
            place: section.place.clone(),
            name: self.free_name(&name),
            needs_group: settings["transport"]["endpoint"]["type"] == "unix",
            what: Program::Component { python, settings, directory },
            environment,
            restarts,
            worker,
            after: self.before(worker),
        });
    }

    fn free_name(&self, name: &str) -> String {
        // The router itself has the first one in a compose file.
        let names = std::iter::once("router".to_owned());
        let names: Vec<_> =
            names.chain(self.list.iter().map(|process| process.name.clone())).collect();
        unlike(file_name(name), &names)
    }

    /// The process that the next one of a worker has to wait for.
    fn before(&self, worker: usize) -> Option<String> {
        let last = self.list.last()?;
        (last.worker == worker || !self.are_workers_parallel).then(|| last.name.clone())
    }

    /// What is to be run, as `run_component.py` is told; `None` if it cannot be.
    fn settings(
        &self,
        section: &Section<'_>,
        entrances: &Entrances,
        notes: &mut Notes,
    ) -> Option<Json> {
        section.ignore(&["id"]);
        let realm = section.text("realm", notes)?;
        let mut extra = section.item("extra").map_or_else(|| json!({}), |it| it.value.to_json());
        if let Some(extra) = extra.as_object_mut().filter(|_| !entrances.node_directory.is_empty())
        {
            // As crossbar does, whether there are others or not.
            extra.insert("cbdir".into(), entrances.node_directory.as_str().into());
        }
        let mut settings = json!({ "realm": realm, "extra": extra });
        match section.text("type", notes) {
            Some("class") => settings["classname"] = section.text("classname", notes)?.into(),
            Some("wamplet") => {
                settings["package"] = section.text("package", notes)?.into();
                settings["entrypoint"] = section.text("entrypoint", notes)?.into();
            }
            Some("function") => {
                let callbacks = section.item("callbacks").map(|item| item.value.to_json());
                settings["callbacks"] = callbacks.unwrap_or_else(|| json!({}));
            }
            other => {
                section.entries().for_each(drop);
                let text =
                    format!("components of type `{}` cannot be run", other.unwrap_or_default());
                notes.missing(&*section.place, text);
                return None;
            }
        }
        Some(settings)
    }

    pub(super) fn guest(
        &mut self,
        number: usize,
        worker: &Section<'_>,
        entrances: &Entrances,
        notes: &mut Notes,
    ) {
        worker.ignore(&["type"]);
        let executable = worker.text("executable", notes).map(str::to_owned);
        let arguments = worker.texts("arguments", notes).into_iter().map(Into::into).collect();
        let (mut directory, mut variables) = (entrances.absolute("."), Vec::new());
        if let Some(options) = worker.section("options", notes) {
            options.ignore(&["stdout", "stderr", "watch", "disabled"]);
            if options.item("watch").is_some() {
                notes.changed(
                    options.at("watch"),
                    "no files are watched: restart it when it changes",
                );
            }
            if options.item("stdin").is_some_and(|item| item.value.as_text() != Some("close")) {
                let text = "nothing is written to its standard input: hand over a file instead";
                notes.missing(options.at("stdin"), text);
            }
            if let Some(path) = options.text("workdir", notes) {
                directory = entrances.absolute(path);
            }
            variables = environment(&options, notes);
            options.finish(notes);
        }
        let named = worker.text("id", notes).or(executable.as_deref()).map(file_name);
        worker.finish(notes);
        let (Some(executable), Some(name)) = (executable, named) else { return };
        // Crossbar looks beside the working directory first.
        let is_path = executable.contains('/') && !executable.starts_with('/');
        let executable = if is_path { format!("{directory}/{executable}") } else { executable };
        self.list.push(Process {
            place: worker.place.clone(),
            name: self.free_name(&name),
            what: Program::Guest { executable, arguments, directory },
            environment: Environment { variables, python_path: Vec::new() },
            restarts: true,
            needs_group: false,
            worker: number,
            after: self.before(number),
        });
    }
}

/// How a component comes in that had a role without a login: where strangers get that role, or
/// else by a Unix socket of its own.
fn way_in(worker: usize, realm: &str, role: &str, place: &str, entrances: &mut Entrances) -> Json {
    let way = Way::Anonymous { role: role.to_owned(), authid: None };
    let is_open = |door: &&Door| {
        let ways = &door.ways;
        let is_for = door.realms.is_empty() && door.worker == worker;
        is_for && ways.iter().any(|(method, other)| *method == Method::Anonymous && *other == way)
    };
    let mut open = entrances.doors.iter().filter(is_open);
    if let Some(transport) = open.find_map(|door| transport_to(door, entrances)) {
        return transport;
    }
    let path = format!("{RUNTIME}/{}.sock", file_name(role));
    let address = format!("unix:{path}");
    let known = entrances.listeners.iter().position(|listener| listener.address == address);
    let number = known.unwrap_or_else(|| {
        let names: Vec<_> = entrances.listeners.iter().map(|other| other.name.clone()).collect();
        let text = format!(
            "Components had the role `{role}` in crossbar without a login. Whoever may open this \
             socket has it here."
        );
        entrances.listeners.push(Listener {
            place: place.to_owned(),
            name: unlike(format!("components-{}", file_name(role)), &names),
            address,
            rawsocket: true,
            takes_any_serializer: true,
            unix_mode: Some("0660"),
            comments: vec![text],
            ..Listener::default()
        });
        entrances.listeners.len() - 1
    });
    let is_it = |door: &&mut Door| door.listener == number && door.worker == worker;
    match entrances.doors.iter_mut().find(is_it) {
        Some(door) if door.realms.iter().any(|known| known == realm) => {}
        Some(door) => door.realms.push(realm.to_owned()),
        None => entrances.doors.push(Door {
            place: place.to_owned(),
            listener: number,
            worker,
            realms: vec![realm.to_owned()],
            at: At::Itself,
            origins: None,
            ways: vec![(Method::Anonymous, way)],
            comments: Vec::new(),
        }),
    }
    json!({
        "type": "rawsocket",
        "serializer": "json",
        "url": format!("rs://unix:{path}"),
        "endpoint": { "type": "unix", "path": path },
    })
}

/// Where the router makes its sockets.
pub(super) const RUNTIME: &str = "/run/stentor";

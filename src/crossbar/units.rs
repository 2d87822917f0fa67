//! What starts the processes: units of systemd, or a compose file.

use super::File;
use super::components::{Process, Program, RUNTIME};
use super::notes::Notes;
use super::users::{SECRETS, environment_quoted};

/// What starts the components of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Systemd,
    Compose,
}

/// What starts them, and with which Python if the worker names none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Starting<'s> {
    pub(super) start: Start,
    pub(super) python: Option<&'s str>,
    pub(super) router: Router<'s>,
}

/// What the router needs besides its own files, where it is started with the components.
#[derive(Clone, Copy, Debug)]
pub(super) struct Router<'s> {
    /// Files and directories, each once.
    pub(super) reads: &'s [&'s String],
    /// There is a file of secrets for its environment.
    pub(super) has_secrets: bool,
}

/// The files of these processes; `directory` is where they will lie.
pub(super) fn units(
    starting: Starting<'_>,
    processes: &[Process],
    directory: &str,
    notes: &mut Notes,
) -> Vec<File> {
    let mut files = Vec::new();
    for process in processes {
        if let Program::Component { settings, .. } = &process.what {
            let text = serde_json::to_string_pretty(settings).unwrap_or_default() + "\n";
            files.push(File { name: settings_of(process), text, is_private: true });
        }
        if !process.environment.variables.is_empty() {
            let text = variables(process);
            files.push(File { name: variables_of(process), text, is_private: true });
        }
        if starting.start == Start::Systemd {
            let name = format!("{}.service", unit_name(&process.name));
            let text = unit(process, directory, starting.python);
            files.push(File { name, text, is_private: false });
        }
    }
    let is_component = |process: &Process| matches!(process.what, Program::Component { .. });
    if processes.iter().any(is_component) {
        let (name, text) = (RUNNER.to_owned(), RUN_COMPONENT.to_owned());
        files.push(File { name, text, is_private: false });
        let text = format!(
            "components of Python run as processes of their own, by `{RUNNER}`, which needs \
             autobahn and Twisted (`pip install autobahn[twisted,encryption]`) and the application \
             in its `PYTHONPATH`"
        );
        notes.hint("workers", text);
    }
    match starting.start {
        Start::Systemd if !processes.is_empty() => {
            let text = "processes have the environment of their units, and not that of the shell \
                        that crossbar was started in: give them variables and `PATH` by \
                        `systemctl edit wamp-NAME`, and the Python of a virtual environment by \
                        `--python` of the import";
            notes.hint("workers", text);
        }
        Start::Systemd => {}
        Start::Compose => {
            let text = compose(starting.router, processes, notes);
            files.push(File { name: "compose.yaml".into(), text, is_private: false });
        }
    }
    files
}

fn settings_of(process: &Process) -> String {
    format!("{}.json", process.name)
}

fn variables_of(process: &Process) -> String {
    format!("{}.env", process.name)
}

/// Apart from whatever else a machine runs.
fn unit_name(process: &str) -> String {
    format!("wamp-{process}")
}

/// The environment file of a process.
fn variables(process: &Process) -> String {
    let mut text = format!("# Variables of {} of the crossbar node.\n", process.place);
    for (name, value) in &process.environment.variables {
        text.push_str(&format!("{name}={}\n", environment_quoted(value)));
    }
    text
}

fn unit(process: &Process, directory: &str, python: Option<&str>) -> String {
    let (mut command, mut lines) = (Vec::new(), String::new());
    let place = match &process.what {
        Program::Component { python: own, directory: place, .. } => {
            command.extend(match own.as_deref().or(python) {
                Some(python) => vec![python.to_owned()],
                None => vec!["/usr/bin/env".to_owned(), "python3".to_owned()],
            });
            command.push(format!("{directory}/{RUNNER}"));
            command.push(format!("{directory}/{}", settings_of(process)));
            // It says when it has joined and registered.
            lines.push_str("Type=notify\nNotifyAccess=main\n");
            place
        }
        Program::Guest { executable, arguments, directory: place } => {
            if !executable.starts_with('/') {
                command.push("/usr/bin/env".into());
            }
            command.push(executable.clone());
            command.extend(arguments.iter().cloned());
            place
        }
    };
    if !place.is_empty() {
        lines.push_str(&format!("WorkingDirectory={}\n", specifiers(place)));
    }
    // As crossbar runs them: what they print is to be seen at once.
    lines.push_str("Environment=PYTHONUNBUFFERED=1\n");
    if let Some(path) = python_path(process) {
        lines.push_str(&format!("Environment={}\n", word(&format!("PYTHONPATH={path}"), false)));
    }
    if !process.environment.variables.is_empty() {
        let file = format!("{directory}/{}", variables_of(process));
        lines.push_str(&format!("EnvironmentFile={}\n", specifiers(&file)));
    }
    let command: Vec<_> = command.iter().map(|text| word(text, true)).collect();
    let restart = if process.restarts { "always" } else { "no" };
    let group = if process.needs_group { "SupplementaryGroups=stentor\n" } else { "" };
    let before = process.after.as_deref().map(|name| format!(" {}.service", unit_name(name)));
    format!(
        "# {place} of the crossbar node.\n\
         [Unit]\n\
         Description=WAMP component {name}\n\
         # Crossbar starts one after the other, too.\n\
         After=stentor.service{before}\n\
         Wants=stentor.service\n\
         StartLimitIntervalSec=0\n\n\
         [Service]\n\
         ExecStart={command}\n\
         {lines}\
         Restart={restart}\n\
         RestartSec=1s\n\
         # The user that crossbar ran as.\n\
         User=crossbar\n\
         {group}\n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        place = process.place,
        name = process.name,
        before = before.unwrap_or_default(),
        command = command.join(" "),
    )
}

fn python_path(process: &Process) -> Option<String> {
    let paths = &process.environment.python_path;
    (!paths.is_empty()).then(|| paths.join(":"))
}

/// One word of a line of a unit, in which nothing is replaced.
fn word(text: &str, is_command: bool) -> String {
    let text = specifiers(text);
    let text = if is_command { text.replace('$', "$$") } else { text };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-=:,@+%$".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn specifiers(text: &str) -> String {
    text.replace('%', "%%").replace('\n', "")
}

fn compose(router: Router<'_>, processes: &[Process], notes: &mut Notes) -> String {
    let text = "every image is a guess, and no service has the application's own packages: say in \
                `compose.yaml` what each is built from";
    notes.hint("workers", text);
    let secrets =
        if router.has_secrets { format!("    env_file: [./{SECRETS}]\n") } else { "".into() };
    let reads = router.reads.iter().filter(|path| path.starts_with('/'));
    let reads: Vec<_> =
        reads.map(|path| format!(", {}", in_yaml(&format!("{path}:{path}:ro")))).collect();
    let mut text = format!(
        "# Made from a crossbar node. Paths are those of the machine that crossbar ran on.\n\
         services:\n  \
           router:\n    \
             image: stentor\n    \
             command: [\"--config\", \"/etc/stentor/stentor.toml\"]\n    \
             network_mode: host\n    \
             restart: always\n    \
             volumes: [\"./:/etc/stentor:ro\", \"run:{RUNTIME}\"{}]\n\
         {secrets}",
        reads.concat(),
    );
    for process in processes {
        let before = process.after.as_ref();
        let before = before.and_then(|name| processes.iter().find(|other| other.name == *name));
        text.push_str(&service(process, before));
    }
    text.push_str("volumes:\n  run: {}\n");
    text
}

/// One process in a compose file, behind the one that crossbar starts before it.
fn service(process: &Process, before: Option<&Process>) -> String {
    let is_component = matches!(process.what, Program::Component { .. });
    let (image, command, directory) = match &process.what {
        Program::Component { directory, .. } => {
            let settings = format!("/etc/stentor/{}", settings_of(process));
            let command = vec!["python3".into(), format!("/etc/stentor/{RUNNER}"), settings];
            ("python:3", command, directory)
        }
        Program::Guest { executable, arguments, directory } => {
            let command = [&[executable.clone()][..], arguments].concat();
            let name = executable.rsplit('/').next().unwrap_or_default();
            let image = match name {
                "node" | "npm" | "nodejs" => "node:lts",
                name if name.starts_with("python") => "python:3",
                _ => "debian:stable",
            };
            (image, command, directory)
        }
    };
    let command: Vec<_> = command.iter().map(|text| in_yaml(text)).collect();
    let restart = if process.restarts { "always" } else { "\"no\"" };
    let mut places: Vec<&String> = process.environment.python_path.iter().collect();
    places.extend(Some(directory).filter(|directory| !directory.is_empty()));
    places.sort_unstable();
    places.dedup();
    let volumes: Vec<_> =
        places.iter().map(|path| format!(", {}", in_yaml(&format!("{path}:{path}")))).collect();
    let mut text = format!(
        "  # {}\n  {}:\n    image: {image}\n    command: [{}]\n    network_mode: host\n    \
         restart: {restart}\n    volumes: [\"./:/etc/stentor:ro\", \"run:{RUNTIME}\"{}]\n",
        process.place,
        process.name,
        command.join(", "),
        volumes.concat(),
    );
    text.push_str("    depends_on:\n      router: { condition: service_started }\n");
    if let Some(before) = before {
        let is_ready = matches!(before.what, Program::Component { .. });
        let condition = if is_ready { "service_healthy" } else { "service_started" };
        text.push_str(&format!("      {}: {{ condition: {condition} }}\n", before.name));
    }
    if !directory.is_empty() {
        text.push_str(&format!("    working_dir: {}\n", in_yaml(directory)));
    }
    if !process.environment.variables.is_empty() {
        text.push_str(&format!("    env_file: [./{}]\n", variables_of(process)));
    }
    text.push_str("    environment:\n      PYTHONUNBUFFERED: \"1\"\n");
    if let Some(path) = python_path(process) {
        text.push_str(&format!("      PYTHONPATH: {}\n", in_yaml(&path)));
    }
    if is_component {
        text.push_str(&format!(
            "      READY_FILE: {READY_FILE}\n    healthcheck:\n      \
             test: [\"CMD\", \"test\", \"-e\", \"{READY_FILE}\"]\n      \
             interval: 1s\n      retries: 90\n"
        ));
    }
    text
}

/// JSON is YAML, and `$` begins a variable there.
fn in_yaml(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}

/// By which a component says in a container that it is ready.
const READY_FILE: &str = "/tmp/ready";

/// What runs a component of Python.
const RUNNER: &str = "run_component.py";

const RUN_COMPONENT: &str = include_str!("run_component.py");

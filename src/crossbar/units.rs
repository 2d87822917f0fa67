//! What starts the processes: units of systemd, or a compose file.

use super::File;
use super::components::{Process, Program, RUNTIME};
use super::notes::Notes;
use super::users::SECRETS;

/// What starts the components of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Systemd,
    Compose,
}

/// The files of these processes; `directory` is where they will lie.
pub(super) fn units(
    start: Start,
    processes: &[Process],
    directory: &str,
    notes: &mut Notes,
) -> Vec<File> {
    let mut files = Vec::new();
    for process in processes {
        if let Program::Component { settings, .. } = &process.what {
            let text = serde_json::to_string_pretty(settings).unwrap_or_default() + "\n";
            files.push(File { name: settings_of(process), text, is_private: false });
        }
        if start == Start::Systemd {
            let (name, text) = (format!("{}.service", process.name), unit(process, directory));
            files.push(File { name, text, is_private: false });
        }
    }
    let is_component = |process: &Process| matches!(process.what, Program::Component { .. });
    if processes.iter().any(is_component) {
        let (name, text) = (RUNNER.to_owned(), RUN_COMPONENT.to_owned());
        files.push(File { name, text, is_private: false });
        let text = format!(
            "components of Python run as processes of their own, by `{RUNNER}`, which needs \
             autobahn and Twisted (`pip install autobahn[twisted]`) and the application in its \
             `PYTHONPATH`"
        );
        notes.hint("workers", text);
    }
    if start == Start::Compose {
        let text = compose(processes, notes);
        files.push(File { name: "compose.yaml".into(), text, is_private: false });
    }
    files
}

fn settings_of(process: &Process) -> String {
    format!("{}.json", process.name)
}

fn unit(process: &Process, directory: &str) -> String {
    let (mut command, mut lines) = (Vec::new(), String::new());
    match &process.what {
        Program::Component { python, .. } => {
            command.extend(match python {
                Some(python) => vec![python.clone()],
                None => vec!["/usr/bin/env".to_owned(), "python3".to_owned()],
            });
            command.push(format!("{directory}/{RUNNER}"));
            command.push(format!("{directory}/{}", settings_of(process)));
        }
        Program::Guest { executable, arguments, directory } => {
            if !executable.starts_with('/') {
                command.push("/usr/bin/env".into());
            }
            command.push(executable.clone());
            command.extend(arguments.iter().cloned());
            lines.push_str(&format!("WorkingDirectory={}\n", specifiers(directory)));
        }
    }
    for (name, value) in &process.environment {
        lines.push_str(&format!("Environment={}\n", word(&format!("{name}={value}"), false)));
    }
    let command: Vec<_> = command.iter().map(|text| word(text, true)).collect();
    let restart = if process.restarts { "always" } else { "no" };
    let group = if process.socket.is_some() { "SupplementaryGroups=stentor\n" } else { "" };
    format!(
        "# {place} of the crossbar node.\n\
         [Unit]\n\
         Description=WAMP component {name}\n\
         After=stentor.service\n\
         Wants=stentor.service\n\n\
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
        command = command.join(" "),
    )
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

fn compose(processes: &[Process], notes: &mut Notes) -> String {
    let text = "every image is a guess, and no service has the application's own packages: say in \
                `compose.yaml` what each is built from";
    notes.hint("workers", text);
    let mut text = format!(
        "# Made from a crossbar node. Paths are those of the machine that crossbar ran on.\n\
         services:\n  \
           router:\n    \
             image: stentor\n    \
             command: [\"--config\", \"/etc/stentor/stentor.toml\"]\n    \
             network_mode: host\n    \
             restart: always\n    \
             env_file: [{{ path: ./{SECRETS}, required: false }}]\n    \
             volumes: [\"./:/etc/stentor:ro\", \"run:{RUNTIME}\"]\n"
    );
    for process in processes {
        let (image, command, directory) = match &process.what {
            Program::Component { .. } => {
                let settings = format!("/etc/stentor/{}", settings_of(process));
                let command = vec!["python3".into(), format!("/etc/stentor/{RUNNER}"), settings];
                ("python:3", command, None)
            }
            Program::Guest { executable, arguments, directory } => {
                let command = [&[executable.clone()][..], arguments].concat();
                let name = executable.rsplit('/').next().unwrap_or_default();
                let image = match name {
                    "node" | "npm" | "nodejs" => "node:lts",
                    name if name.starts_with("python") => "python:3",
                    _ => "debian:stable",
                };
                (image, command, Some(directory))
            }
        };
        // JSON is YAML, and `$` begins a variable there.
        let json = |text: &str| serde_json::Value::from(text.replace('$', "$$")).to_string();
        let command: Vec<_> = command.iter().map(|text| json(text)).collect();
        let command = command.join(", ");
        let restart = if process.restarts { "always" } else { "\"no\"" };
        let (mut volumes, mut place) = (String::new(), String::new());
        if let Some(path) = directory {
            volumes = format!(", {}", json(&format!("{path}:{path}")));
            place = format!("    working_dir: {}\n", json(path));
        }
        text.push_str(&format!(
            "  # {}\n  {}:\n    image: {image}\n    command: [{command}]\n    \
             network_mode: host\n    \
             restart: {restart}\n    depends_on: [router]\n    \
             volumes: [\"./:/etc/stentor:ro\", \"run:{RUNTIME}\"{volumes}]\n{place}",
            process.place, process.name,
        ));
        for (number, (name, value)) in process.environment.iter().enumerate() {
            let header = if number == 0 { "    environment:\n" } else { "" };
            text.push_str(&format!("{header}      {}: {}\n", json(name), json(value)));
        }
    }
    text.push_str("volumes:\n  run: {}\n");
    text
}

/// What runs a component of Python.
const RUNNER: &str = "run_component.py";

const RUN_COMPONENT: &str = include_str!("run_component.py");

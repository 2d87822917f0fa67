//! `stentor config import-crossbar`: reads a crossbar node's file, and writes what it becomes.
//!
//! What is to be said of each place goes to standard error. Nothing is written over.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use stentor::crossbar::{
    self, CONFIGURATION, Environment, Format, Imported, MAX_FILE_BYTES, Options, Severity, Start,
    Unreadable,
};

/// What is imported, and where to.
#[derive(Args, Debug)]
pub(crate) struct ImportFlags {
    /// The file of the crossbar node, JSON or YAML: .crossbar/config.json
    file: PathBuf,
    /// Put the configuration, users files and what starts the components into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on although something of crossbar's is missing here
    #[arg(long)]
    partial: bool,
    /// Write a compose file for the components, instead of units of systemd
    #[arg(long)]
    compose: bool,
    /// The Python that runs the components, as in /srv/app/venv/bin/python [default: python3 of the
    /// unit's PATH]
    #[arg(long, value_name = "PATH", conflicts_with = "compose")]
    python: Option<String>,
    /// How the file is read [default: by its name]
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatName>,
}

/// The name of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Json,
    Yaml,
}

/// What has become of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// For standard output.
    pub(crate) text: String,
    /// For standard error.
    pub(crate) notes: String,
    /// Something is missing, and it was not said that this may be.
    pub(crate) is_partial: bool,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("error: cannot read `{}`: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "error: `{}` is no text in UTF-8\n  = help: name crossbar's config.json or config.yaml",
        .0.display()
    )]
    NoText(PathBuf),
    #[error(
        "error: `{}` is no configuration of a crossbar node: {source}\n  = help: name the file \
         that \
         crossbar starts with; `--format` says how it is read, if its name does not",
        .path.display()
    )]
    Unreadable { path: PathBuf, source: Unreadable },
    #[error(
        "error: `{}` is there already\n  = help: remove it, or choose another place with --out",
        .0.display()
    )]
    Exists(PathBuf),
    #[error("error: cannot make `{}`: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("error: the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Imports a file, and writes what there is to be written.
pub(crate) fn import(flags: &ImportFlags) -> Result<Outcome, ImportError> {
    let imported = read(flags)?;
    let mut notes = describe(&imported);
    let is_partial = imported.is_partial() && !flags.partial;
    if is_partial {
        notes.push_str(
            "\nNothing is written, as something is missing: `--partial` writes what there is.\n",
        );
        return Ok(Outcome { text: String::new(), notes, is_partial });
    }
    let Some(directory) = &flags.out else {
        if !imported.files.is_empty() {
            let names: Vec<_> = imported.files.iter().map(|file| file.name.as_str()).collect();
            let names = names.join(", ");
            let _ =
                writeln!(notes, "\nOnly with --out there are the files beside it, too: {names}");
        }
        return Ok(Outcome { text: imported.toml, notes, is_partial });
    };
    write_all(&imported, directory)?;
    let file = directory.join(CONFIGURATION);
    let text = format!("{}\n", file.display());
    let _ = writeln!(notes, "\nNext: stentor check {}", file.display());
    Ok(Outcome { text, notes, is_partial })
}

fn read(flags: &ImportFlags) -> Result<Imported, ImportError> {
    let path = &flags.file;
    let fault = |source| ImportError::Read { path: path.clone(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(fault)?;
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(fault)?;
    let text = String::from_utf8(bytes).map_err(|_| ImportError::NoText(path.clone()))?;
    let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let format = match flags.format {
        Some(FormatName::Yaml) => Format::Yaml,
        Some(FormatName::Json) => Format::Json,
        None if is_yaml => Format::Yaml,
        None => Format::Json,
    };
    let node = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let node = fs::canonicalize(node.unwrap_or_else(|| Path::new("."))).map_err(fault)?;
    let directory = flags.out.as_ref().and_then(|out| std::path::absolute(out).ok());
    let directory = directory.map_or_else(|| "/etc/stentor".into(), |at| at.display().to_string());
    // All that may be asked for, as the core cannot fail for want of it.
    let mut failed = None;
    let mut random = || {
        let mut bytes = [0; 16];
        if let Err(error) = getrandom::fill(&mut bytes) {
            failed = Some(error);
        }
        bytes
    };
    let imported = crossbar::import(
        &text,
        format,
        &mut Options {
            file: &path.display().to_string(),
            node_directory: &node.display().to_string(),
            directory: &directory,
            start: if flags.compose { Start::Compose } else { Start::Systemd },
            python: flags.python.as_deref(),
            environment: Environment::of(texts_of_process()),
            random: &mut random,
        },
    );
    match (failed, imported) {
        (Some(error), _) => Err(ImportError::Random(error)),
        (None, Ok(imported)) => Ok(imported),
        (None, Err(source)) => Err(ImportError::Unreadable { path: path.clone(), source }),
    }
}

/// The variables that are text.
fn texts_of_process() -> impl Iterator<Item = (String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The notes, and how many there are of each kind.
fn describe(imported: &Imported) -> String {
    let mut text = String::new();
    for note in &imported.notes {
        let _ = writeln!(text, "{note}");
    }
    let count = |severity: Severity| {
        let number = imported.notes.iter().filter(|note| note.severity == severity).count();
        (number > 0).then(|| format!("{number} {}", severity.as_str()))
    };
    let counts: Vec<_> = Severity::ALL.into_iter().filter_map(count).collect();
    if !counts.is_empty() {
        let _ = writeln!(text, "\n{}", counts.join(", "));
    }
    text
}

/// Writes all files, or none if one of them is there.
fn write_all(imported: &Imported, directory: &Path) -> Result<(), ImportError> {
    fs::create_dir_all(directory)
        .map_err(|source| ImportError::Write { path: directory.to_owned(), source })?;
    let own = (CONFIGURATION, imported.toml.as_str(), false);
    let others = imported.files.iter().map(|file| (&*file.name, &*file.text, file.is_private));
    let files: Vec<_> = std::iter::once(own).chain(others).collect();
    let paths = files.iter().map(|(name, ..)| directory.join(name));
    if let Some(taken) = paths.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(ImportError::Exists(taken));
    }
    for (name, text, is_private) in files {
        let path = directory.join(name);
        let mode = if is_private { 0o600 } else { 0o644 };
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| ImportError::Write { path, source })?;
    }
    Ok(())
}

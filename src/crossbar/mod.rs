//! From the configuration of a crossbar node to one of this router: text in, texts out.
//!
//! Pure: it reads and writes no file, and knows no clock. What cannot be carried over, or means
//! something else here, becomes a [`Note`] with its place in crossbar's file. No right may become
//! wider without one; where the two decide differently, what is written denies.

mod authenticators;
mod components;
mod connecting;
mod doors;
mod listeners;
mod logins;
mod node;
mod notes;
mod paths;
mod precedence;
mod realms;
mod rules;
mod section;
mod text;
mod units;
mod users;
mod value;
mod variables;
mod write;
mod yaml;

pub use notes::{Note, Severity};
pub use units::Start;
pub use variables::Environment;

use notes::Notes;
use section::Section;
use value::Value;

/// What is to be made of a configuration.
pub struct Options<'o> {
    /// What the comments call crossbar's file.
    pub file: &'o str,
    /// Crossbar's node directory, where relative paths begin; empty: they stay relative.
    pub node_directory: &'o str,
    /// The directory where the files will lie, as other files name it.
    pub directory: &'o str,
    /// What starts the components.
    pub start: Start,
    /// The Python of components whose worker names none; `None`: the `python3` of the `PATH`.
    pub python: Option<&'o str>,
    /// The variables that crossbar would have. Secrets are taken from them of which a hash is kept.
    pub environment: Environment,
    /// 16 random bytes for each hash of a ticket.
    pub random: &'o mut dyn FnMut() -> [u8; 16],
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The configuration file, [`CONFIGURATION`].
    pub toml: String,
    /// What it needs besides: users files, and what starts the components.
    pub files: Vec<File>,
    /// The worst first.
    pub notes: Vec<Note>,
}

/// A file beside the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Without a directory.
    pub name: String,
    pub text: String,
    /// Nobody else may read it.
    pub is_private: bool,
}

impl Imported {
    /// Whether something of crossbar's is not there any more.
    pub fn is_partial(&self) -> bool {
        self.notes.iter().any(|note| note.severity == Severity::Missing)
    }
}

/// The form of crossbar's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

/// Why a file is no configuration of a crossbar node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it has {0} bytes, and {MAX_FILE_BYTES} are the most")]
    Long(usize),
    #[error("line {line}, column {column}: {reason}")]
    Syntax { line: usize, column: usize, reason: String },
    #[error("it is empty")]
    Empty,
    #[error("it holds {0}, and a configuration is a section with `workers`")]
    NoConfiguration(&'static str),
    #[error(
        "it has no worker of type `router` that is not disabled, so there is nothing that clients \
         could join"
    )]
    NoRouter,
}

/// Makes a configuration of a crossbar node into one of this router.
///
/// # Errors
/// [`Unreadable`] if it is none.
pub fn import(
    text: &str,
    format: Format,
    options: &mut Options<'_>,
) -> Result<Imported, Unreadable> {
    if text.len() > MAX_FILE_BYTES {
        return Err(Unreadable::Long(text.len()));
    }
    let value = match format {
        Format::Json => serde_json::from_str(text).map_err(|error| Unreadable::Syntax {
            line: error.line(),
            column: error.column(),
            reason: error.to_string(),
        })?,
        Format::Yaml => yaml::read(text)?,
    };
    let Value::Map(entries) = &value else { return Err(Unreadable::NoConfiguration(value.kind())) };
    let file = Section::new(String::new(), entries);
    if !file.has("workers") {
        return Err(Unreadable::NoConfiguration("a section without it"));
    }
    let mut notes = Notes::default();
    let (toml, files) = node::import(&file, options, &mut notes)?;
    Ok(Imported { toml, files, notes: notes.into_sorted() })
}

/// What the configuration file is called.
pub const CONFIGURATION: &str = "stentor.toml";

/// The longest file that is read: some ten thousand users.
pub const MAX_FILE_BYTES: usize = 4 << 20;

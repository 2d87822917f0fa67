//! `stentor context`: connections with names, in a file of the user.
//!
//! The file names where secrets are to be found, and never holds one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use stentor_client::Codec;

use super::Fault;
use super::output::{Format, Printer};
use super::settings::{Environment, codec_parser};

/// Why contexts cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("there is no directory for contexts: neither XDG_CONFIG_HOME nor HOME is set")]
    NoHome,
    #[error("cannot use `{}`: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("`{}` cannot be understood: {error}", path.display())]
    Toml { path: PathBuf, error: Box<toml::de::Error> },
    #[error(
        "others may write to `{}`, and so send your secrets elsewhere\n  = help: chmod 600 it",
        .0.display()
    )]
    Writable(PathBuf),
    #[error("there is no context `{name}`{}", known(names))]
    Unknown { name: String, names: Vec<String> },
    #[error("no context is selected: `stentor context select NAME` does")]
    NoneSelected,
    #[error("there is a context `{0}` already\n  = help: --force replaces it")]
    Exists(String),
    #[error("a context's name has 1 to 64 letters, digits, `-`, `_` and `.`")]
    Name,
}

fn known(names: &[String]) -> String {
    match names {
        [] => "\n  = help: `stentor context add` makes one".to_owned(),
        _ => format!("\n  = help: there are {}", names.join(", ")),
    }
}

/// A connection; what is absent comes from elsewhere.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// The router, as ws://127.0.0.1:8080/ws
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The realm
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) realm: Option<String>,
    /// As whom to join
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authid: Option<String>,
    /// In which role to join
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authrole: Option<String>,
    /// The only method of login to offer
    #[arg(long, value_name = "METHOD", value_parser = super::settings::METHODS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authmethod: Option<String>,
    /// The serializer
    #[arg(long, value_name = "NAME", value_parser = codec_parser())]
    #[serde(skip_serializing_if = "Option::is_none", with = "codec_name", default)]
    pub(crate) serializer: Option<Codec>,
    /// The authorities that the router's certificate must come from, in PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of the client's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// The file with the secret of wampcra and wamp-scram
    #[arg(long, value_name = "FILE", conflicts_with = "secret_variable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The environment variable with the secret of wampcra and wamp-scram
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_variable: Option<String>,
    /// The file with the ticket
    #[arg(long, value_name = "FILE", conflicts_with = "ticket_variable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ticket_file: Option<PathBuf>,
    /// The environment variable with the ticket
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ticket_variable: Option<String>,
    /// The file with the private key of cryptosign
    #[arg(long, value_name = "FILE", conflicts_with = "private_key_variable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) private_key_file: Option<PathBuf>,
    /// The environment variable with the private key of cryptosign
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) private_key_variable: Option<String>,
}

/// All contexts of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that holds where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    selected: Option<String>,
    #[serde(default, rename = "context", skip_serializing_if = "BTreeMap::is_empty")]
    contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Those in the file; none if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self, ContextError> {
        let fault = |error| ContextError::File { path: path.to_owned(), error };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(fault(error)),
        };
        if fs::metadata(path).map_err(fault)?.mode() & 0o022 != 0 {
            return Err(ContextError::Writable(path.to_owned()));
        }
        toml::from_str(&text)
            .map_err(|error| ContextError::Toml { path: path.to_owned(), error: Box::new(error) })
    }

    /// Puts the file into the place of the old one, for the user alone.
    fn write(&self, path: &Path) -> Result<(), ContextError> {
        let text = toml::to_string(self).expect("texts and tables are TOML");
        let written = || {
            let directory = path.parent().unwrap_or_else(|| Path::new("."));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let new = path.with_extension("toml.new");
            // What an interrupted command has left there.
            let _ = fs::remove_file(&new);
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        written().map_err(|error| ContextError::File { path: path.to_owned(), error })
    }

    /// The context with this name, or the selected one, if any is.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<Option<&Context>, ContextError> {
        let Some(name) = name.or(self.selected.as_deref()) else { return Ok(None) };
        self.get(name).map(Some)
    }

    fn get(&self, name: &str) -> Result<&Context, ContextError> {
        self.contexts.get(name).ok_or_else(|| ContextError::Unknown {
            name: name.to_owned(),
            names: self.contexts.keys().cloned().collect(),
        })
    }

    fn add(&mut self, name: &Name, context: Context, force: bool) -> Result<(), ContextError> {
        if self.contexts.contains_key(&name.0) && !force {
            return Err(ContextError::Exists(name.0.clone()));
        }
        self.contexts.insert(name.0.clone(), context);
        Ok(())
    }

    fn select(&mut self, name: Option<&str>) -> Result<(), ContextError> {
        name.map(|name| self.get(name)).transpose()?;
        self.selected = name.map(str::to_owned);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), ContextError> {
        self.get(name)?;
        self.contexts.remove(name);
        if self.selected.as_deref() == Some(name) {
            self.selected = None;
        }
        Ok(())
    }
}

/// `contexts.toml` in the user's directory for configurations.
pub(crate) fn path(environment: &Environment<'_>) -> Result<PathBuf, ContextError> {
    let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    Ok(base.ok_or(ContextError::NoHome)?.join("stentor").join("contexts.toml"))
}

/// The name of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl FromStr for Name {
    type Err = ContextError;

    fn from_str(text: &str) -> Result<Self, ContextError> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let is_name = (1..=64).contains(&text.len()) && text.chars().all(fits);
        if is_name { Ok(Self(text.to_owned())) } else { Err(ContextError::Name) }
    }
}

/// What is done with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Keep a connection under a name
    ///
    /// Secrets are not kept, only where they are to be found: in a file or an environment variable.
    Add(Box<AddFlags>),
    /// Use a context wherever none is named
    Select {
        /// Which one
        #[arg(required_unless_present = "none")]
        name: Option<String>,
        /// None at all
        #[arg(long, conflicts_with = "name")]
        none: bool,
    },
    /// List the contexts; the selected one is marked
    List {
        /// Print an object of JSON for each
        #[arg(long)]
        json: bool,
    },
    /// Show a context
    Show {
        /// Which one [default: the selected one]
        name: Option<String>,
        /// Print an object of JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a context
    Remove {
        /// Which one
        name: String,
    },
}

/// A new context.
#[derive(Args, Debug)]
pub(crate) struct AddFlags {
    /// Its name: letters, digits, `-`, `_` and `.`
    name: Name,
    /// Use it wherever no context is named
    #[arg(long)]
    select: bool,
    /// Replace the context of this name
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    context: Context,
}

/// Does it.
pub(crate) fn run(command: &ContextCommand, environment: &Environment<'_>) -> Result<(), Fault> {
    let path = path(environment)?;
    let mut contexts = Contexts::read(&path)?;
    let json = |json: bool| if json { Format::Json } else { Format::Words };
    match command {
        ContextCommand::Add(flags) => {
            let AddFlags { name, select, force, context } = &**flags;
            contexts.add(name, context.clone(), *force)?;
            if *select {
                contexts.select(Some(&name.0))?;
            }
            contexts.write(&path)?;
        }
        ContextCommand::Select { name, .. } => {
            contexts.select(name.as_deref())?;
            contexts.write(&path)?;
        }
        ContextCommand::Remove { name } => {
            contexts.remove(name)?;
            contexts.write(&path)?;
        }
        ContextCommand::List { json: is_json } => {
            let mut printer = Printer::to_stdout(json(*is_json), false);
            for (name, context) in &contexts.contexts {
                let is_selected = contexts.selected.as_ref() == Some(name);
                printer.line(&line(name, context, is_selected, *is_json))?;
            }
        }
        ContextCommand::Show { name, json: is_json } => {
            let name = name.as_ref().or(contexts.selected.as_ref());
            let name = name.ok_or(ContextError::NoneSelected)?;
            let context = contexts.get(name)?;
            let mut printer = Printer::to_stdout(json(*is_json), false);
            let is_selected = contexts.selected.as_ref() == Some(name);
            match is_json {
                true => printer.line(&line(name, context, is_selected, true))?,
                false => {
                    let text = toml::to_string(context).expect("texts are TOML");
                    text.lines().try_for_each(|one| printer.line(one))?;
                }
            }
        }
    }
    Ok(())
}

fn line(name: &str, context: &Context, is_selected: bool, is_json: bool) -> String {
    if is_json {
        let mut object = serde_json::to_value(context).expect("texts are JSON");
        object["name"] = name.into();
        object["selected"] = is_selected.into();
        return object.to_string();
    }
    let mark = if is_selected { '*' } else { ' ' };
    let url = context.url.as_deref().unwrap_or_default();
    let realm = context.realm.as_deref().unwrap_or_default();
    super::text::safe(format!("{mark} {name} {url} {realm}").trim_end())
}

/// A serializer by its name.
mod codec_name {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use stentor_client::Codec;

    pub(super) fn serialize<S: Serializer>(
        codec: &Option<Codec>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match codec {
            Some(codec) => serializer.serialize_str(codec.as_str()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Codec>, D::Error> {
        let name = String::deserialize(deserializer)?;
        let codec = crate::shell::settings::codec(&name);
        codec.map(Some).ok_or_else(|| de::Error::custom("it is json, msgpack or cbor"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn context(url: &str) -> Context {
        let serializer = Some(Codec::MsgPack);
        let ticket_variable = Some("TICKET".to_owned());
        Context { url: Some(url.to_owned()), serializer, ticket_variable, ..Context::default() }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn contexts_are_kept_for_their_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/stentor/contexts.toml");
        let mut contexts = Contexts::read(&file).unwrap();
        assert_eq!(contexts, Contexts::default());
        contexts.add(&name("prod"), context("wss://a"), false).unwrap();
        contexts.add(&name("dev"), Context::default(), false).unwrap();
        contexts.select(Some("prod")).unwrap();
        contexts.write(&file).unwrap();
        contexts.write(&file).unwrap();
        assert_eq!(Contexts::read(&file).unwrap(), contexts);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("serializer = \"msgpack\""), "{text}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(Contexts::read(&file), Err(ContextError::Writable(_))));
    }

    #[test]
    fn the_selected_one_holds_where_none_is_named() {
        let mut contexts = Contexts::default();
        assert_eq!(contexts.find(None).unwrap(), None);
        contexts.add(&name("a"), context("ws://a"), false).unwrap();
        contexts.add(&name("b"), context("ws://b"), false).unwrap();
        assert!(matches!(
            contexts.add(&name("a"), Context::default(), false),
            Err(ContextError::Exists(_))
        ));
        contexts.add(&name("a"), context("ws://a2"), true).unwrap();
        contexts.select(Some("b")).unwrap();
        let url = |contexts: &Contexts, name| {
            contexts.find(name).unwrap().and_then(|context| context.url.clone())
        };
        assert_eq!(url(&contexts, None).as_deref(), Some("ws://b"));
        assert_eq!(url(&contexts, Some("a")).as_deref(), Some("ws://a2"));
        let error = contexts.find(Some("c")).unwrap_err().to_string();
        assert!(error.contains("no context `c`") && error.contains("a, b"), "{error}");
        assert!(contexts.select(Some("c")).is_err());
        contexts.remove("b").unwrap();
        assert_eq!(contexts.find(None).unwrap(), None);
        assert!(contexts.remove("b").is_err());
    }

    #[test]
    fn no_secret_can_be_kept() {
        let error = toml::from_str::<Contexts>("[context.a]\nsecret = \"x\"\n").unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
        let error = toml::from_str::<Contexts>("[context.a]\nserializer = \"x\"\n").unwrap_err();
        assert!(error.to_string().contains("json, msgpack or cbor"), "{error}");
    }

    #[test]
    fn names_and_places() {
        let long = "x".repeat(65);
        for bad in ["", "a b", "../a", "ä", long.as_str()] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        let with = |config: Option<&'static str>, home: Option<&'static str>| {
            path(&move |name| match name {
                "XDG_CONFIG_HOME" => config.map(Into::into),
                "HOME" => home.map(Into::into),
                _ => None,
            })
        };
        let file = |path: &str| PathBuf::from(path);
        assert_eq!(with(Some("/x"), Some("/h")).unwrap(), file("/x/stentor/contexts.toml"));
        let at_home = file("/h/.config/stentor/contexts.toml");
        assert_eq!(with(Some("relative"), Some("/h")).unwrap(), at_home);
        assert!(matches!(with(None, None), Err(ContextError::NoHome)));
    }
}

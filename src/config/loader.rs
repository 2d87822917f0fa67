//! From a file, the environment and the flags over it to a checked `Config`.
//!
//! Remembers which key came from where, so that a check's finding can point at the line, the
//! variable or the flag that set the value.

use std::collections::BTreeMap;
use std::fs;
use std::mem;
use std::path::Path;

use super::environment::{Environment, Variables};
use super::fault::ConfigError;
use super::parse::{Parsed, Spans, parse, silent};
use super::report::{Place, Problem, Report};
use super::{AdminFault, Config, Method, admin_token, check, show, tokens, users, web};

/// A configuration in the making. A file that cannot be understood is reported by
/// [`Self::finish`], together with what the checks find.
pub struct Loader {
    config: Config,
    file: String,
    text: String,
    spans: Spans,
    variables: Variables,
    flags: BTreeMap<&'static str, &'static str>,
    problems: Vec<Problem>,
}

impl Loader {
    /// Starts from the defaults: development mode.
    pub fn defaults() -> Self {
        Self::over(Config::default(), String::new(), String::new(), &Environment::default())
    }

    /// Starts from a file. No variable stands over it, and none is set that it could refer to; see
    /// [`Self::in_environment`].
    ///
    /// # Errors
    /// [`ConfigError::Read`] if it cannot be read, or is not UTF-8.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        Self::in_environment(Some(path), &Environment::default())
    }

    /// Starts from a file, or else from the defaults, with the variables of the environment over
    /// it.
    ///
    /// # Errors
    /// [`ConfigError::Read`] if it cannot be read, or is not UTF-8.
    pub fn in_environment(
        file: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Ok(Self::over(Config::default(), String::new(), String::new(), environment));
        };
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Ok(Self::over(silent(), path.display().to_string(), text, environment))
    }

    /// Starts from the text of a file that reports call `file`.
    pub fn from_text(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self::over(silent(), file.into(), text.into(), &Environment::default())
    }

    fn over(config: Config, file: String, text: String, environment: &Environment) -> Self {
        let Parsed { config, spans, variables, problems } = parse(&text, environment, config);
        Self { config, file, text, spans, variables, flags: BTreeMap::new(), problems }
    }

    /// Changes the value of `key`, written as in the file (`limits.nesting`; `listener` for all
    /// of them), because of `flag`.
    pub fn set(
        &mut self,
        key: &'static str,
        flag: &'static str,
        change: impl FnOnce(&mut Config),
    ) -> &mut Self {
        change(&mut self.config);
        self.flags.insert(key, flag);
        self
    }

    /// Checks everything and hands out the configuration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all that was found.
    pub fn finish(mut self) -> Result<Config, ConfigError> {
        self.check()?;
        Ok(self.config)
    }

    /// Checks everything and shows it as TOML, each key with the flag, variable or line that its
    /// value comes from. `with_defaults`: also the keys that nothing sets.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn show(mut self, with_defaults: bool) -> Result<String, ConfigError> {
        self.check()?;
        Ok(show::show(&self.config, &|key| self.origin(key), with_defaults))
    }

    fn check(&mut self) -> Result<(), ConfigError> {
        self.find_directories();
        self.read_users();
        self.read_tokens();
        self.read_admin_token();
        let folder = Path::new(&self.file).parent().unwrap_or_else(|| Path::new(""));
        self.config.cluster.find_files(folder);
        self.config.appoint_managers();
        let all_read = self.problems.is_empty();
        let mut bad_keys = Vec::new();
        for (key, fault) in check::check(&self.config) {
            let other = fault.other_key();
            let is_bad = |key: &str| bad_keys.iter().any(|bad| bad == key);
            // What keys demand of each other means nothing while one of them is wrong by itself.
            let counts = all_read && !is_bad(&key) && !other.is_some_and(is_bad);
            if counts || fault.is_of_one_key() {
                let place = match (self.place_of(&key), other) {
                    (Place::Nowhere, Some(other)) => self.place_of(other),
                    (place, _) => place,
                };
                self.problems.push(Problem { fault, place });
                bad_keys.push(key);
            }
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        let (file, text) = (mem::take(&mut self.file), mem::take(&mut self.text));
        Err(Report::new(file, text, mem::take(&mut self.problems)).into())
    }

    /// What has set `key` itself; `None`: nothing, so it is the default.
    fn origin(&self, key: &str) -> Option<String> {
        let mut lists = key.match_indices('.').map(|(dot, _)| &key[..dot]);
        let flag = self.flags.get(key).or_else(|| lists.find_map(|list| self.flags.get(list)));
        if let Some(flag) = flag {
            return Some((*flag).to_owned());
        }
        Some(match self.variables.place(self.spans.get(key)?.clone()) {
            Place::Variable(name) => name,
            Place::File(span) => {
                let before = &self.text[..self.text.floor_char_boundary(span.start)];
                format!("{}:{}", self.file, before.matches('\n').count() + 1)
            }
            Place::Flag(_) | Place::Nowhere => return None,
        })
    }

    /// Finds the directories whose files listeners serve.
    fn find_directories(&mut self) {
        let folder = Path::new(&self.file).parent().map(Path::to_owned).unwrap_or_default();
        let mut faults = Vec::new();
        for (index, listener) in self.config.listeners.iter_mut().enumerate() {
            for (number, apart) in listener.paths_apart.iter_mut().enumerate() {
                if let Err(fault) = web::find_directory(apart, &folder) {
                    faults.push((format!("listener.{index}.path.{number}.files"), fault));
                }
            }
        }
        for (key, fault) in faults {
            let place = self.place_of(&key);
            self.problems.push(Problem { fault: fault.into(), place });
        }
    }

    /// Reads the users files that authenticators name, beside the configuration file.
    fn read_users(&mut self) {
        let folder = Path::new(&self.file).parent().map(Path::to_owned).unwrap_or_default();
        let mut faults = Vec::new();
        for (index, realm) in self.config.realms.iter_mut().enumerate() {
            for (number, way) in realm.authenticators.iter_mut().enumerate() {
                let Some(users) = way.users.as_ref().filter(|_| way.method != Method::Anonymous)
                else {
                    continue;
                };
                match users::read(way, &folder.join(users)) {
                    Ok(principals) => way.principals = principals,
                    Err(fault) => {
                        let key = format!("realm.{index}.authenticator.{number}.users");
                        faults.push((key, fault));
                    }
                }
            }
        }
        for (key, fault) in faults {
            let place = self.place_of(&key);
            self.problems.push(Problem { fault: fault.into(), place });
        }
    }

    /// Reads the keys and secrets that authenticators, authorizers and webhooks name.
    fn read_tokens(&mut self) {
        let folder = Path::new(&self.file).parent().map(Path::to_owned).unwrap_or_default();
        let mut faults = Vec::new();
        for (index, realm) in self.config.realms.iter_mut().enumerate() {
            for (number, way) in realm.authenticators.iter_mut().enumerate() {
                if let Err((key, fault)) = tokens::load(way, &folder) {
                    faults.push((format!("realm.{index}.authenticator.{number}.{key}"), fault));
                }
            }
            for (number, authorizer) in realm.authorizers.iter_mut().enumerate() {
                if let Err((key, fault)) = tokens::load_authorizer(authorizer, &folder) {
                    faults.push((format!("realm.{index}.authorizer.{number}.{key}"), fault));
                }
            }
            for (number, webhook) in realm.webhooks.iter_mut().enumerate() {
                if let Err((key, fault)) = tokens::load_webhook(webhook, &folder) {
                    faults.push((format!("realm.{index}.webhook.{number}.{key}"), fault));
                }
            }
        }
        for (key, fault) in faults {
            let place = self.place_of(&key);
            self.problems.push(Problem { fault: fault.into(), place });
        }
    }

    /// Finds the file of the token for changes. It need not be there: the router makes it.
    fn read_admin_token(&mut self) {
        let folder = Path::new(&self.file).parent().map(Path::to_owned).unwrap_or_default();
        let Some(file) = &mut self.config.admin.token_file else { return };
        *file = folder.join(&*file);
        if let Err(fault) = admin_token::read_token_file(file) {
            let place = self.place_of("admin.token_file");
            self.problems.push(Problem { fault: AdminFault::TokenFile(fault).into(), place });
        }
    }

    /// The flag, variable or line that set `key`, or else the section that it stands in.
    fn place_of(&self, key: &str) -> Place {
        let with_sections = || {
            let parents = key.rmatch_indices('.').map(|(dot, _)| &key[..dot]);
            std::iter::once(key).chain(parents)
        };
        if let Some(flag) = with_sections().find_map(|key| self.flags.get(key)) {
            return Place::Flag(flag);
        }
        match with_sections().find_map(|key| self.spans.get(key)) {
            Some(span) => self.variables.place(span.clone()),
            None => Place::Nowhere,
        }
    }
}

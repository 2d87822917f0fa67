//! From a file and the flags over it to a checked `Config`.
//!
//! Remembers which key came from where, so that a check's finding can point at the line or the
//! flag that set the value.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::fault::ConfigError;
use super::parse::{Parsed, Spans, parse};
use super::report::{Place, Problem, Report};
use super::{AdminFault, Config, Method, admin_token, check, tokens, users};

/// A configuration in the making. A file that cannot be understood is reported by
/// [`Self::finish`], together with what the checks find.
pub struct Loader {
    config: Config,
    file: String,
    text: String,
    spans: Spans,
    flags: BTreeMap<&'static str, &'static str>,
    problems: Vec<Problem>,
}

impl Loader {
    /// Starts from the defaults: development mode.
    pub fn defaults() -> Self {
        Self {
            config: Config::default(),
            file: String::new(),
            text: String::new(),
            spans: Spans::new(),
            flags: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Starts from a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] if it cannot be read, or is not UTF-8.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Ok(Self::from_text(path.display().to_string(), text))
    }

    /// Starts from the text of a file that reports call `file`.
    pub fn from_text(file: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let Parsed { config, spans, problems } = parse(&text);
        Self { config, file: file.into(), text, spans, problems, ..Self::defaults() }
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
        self.read_users();
        self.read_tokens();
        self.read_admin_token();
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
            return Ok(self.config);
        }
        Err(Report::new(self.file, self.text, self.problems).into())
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

    /// Reads the keys and secrets that authenticators and authorizers name.
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

    /// The flag or line that set `key`, or else the section that it stands in.
    fn place_of(&self, key: &str) -> Place {
        let with_sections = || {
            let parents = key.rmatch_indices('.').map(|(dot, _)| &key[..dot]);
            std::iter::once(key).chain(parents)
        };
        if let Some(flag) = with_sections().find_map(|key| self.flags.get(key)) {
            return Place::Flag(flag);
        }
        match with_sections().find_map(|key| self.spans.get(key)) {
            Some(span) => Place::File(span.clone()),
            None => Place::Nowhere,
        }
    }
}

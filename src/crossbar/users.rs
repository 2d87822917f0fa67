//! Users files: what is kept of the secrets that crossbar's file holds as they are.

use super::File;
use super::logins::{Principal, Proof, Salting};
use super::notes::Notes;
use super::text::{file_name, plainly_quoted, quoted, unlike};
use crate::authentication::{Argon2Cost, CraKey, Method, TicketHash};

/// The users files that are written, and the variables that they refer to.
#[derive(Debug, Default)]
pub(super) struct Users {
    files: Vec<(Method, Vec<Principal>, String, String)>,
    /// Names and values, in the order of the users.
    variables: Vec<(String, String)>,
}

impl Users {
    /// The name of a file with these users: a new one, or one that is there.
    pub(super) fn file(
        &mut self,
        method: Method,
        place: &str,
        principals: &[Principal],
        random: &mut dyn FnMut() -> [u8; 16],
    ) -> String {
        let is_same = |(other, others, ..): &&(Method, Vec<Principal>, String, String)| {
            *other == method && others == principals
        };
        if let Some((.., name, _)) = self.files.iter().find(is_same) {
            return name.clone();
        }
        let mut text = format!("# Users of {place}, method {}.\n", method.as_str());
        for principal in principals {
            let proof = self.proof(principal, random);
            text.push_str(&format!(
                "\n[[user]]\nauthid = {}\nrole = {}\n{} = {proof}\n",
                plainly_quoted(&principal.authid),
                plainly_quoted(&principal.role),
                method.as_str(),
            ));
        }
        let names: Vec<_> = self.files.iter().map(|(.., name, _)| stem(name)).collect();
        let name = unlike(format!("users-{}", method.as_str()), &names) + ".toml";
        self.files.push((method, principals.to_vec(), name.clone(), text));
        name
    }

    fn proof(&mut self, principal: &Principal, random: &mut dyn FnMut() -> [u8; 16]) -> String {
        match &principal.proof {
            Proof::Ticket(ticket) => {
                let hash =
                    TicketHash::of_chosen(ticket.as_bytes(), random(), Argon2Cost::default());
                quoted(&hash.expect("the usual cost is within bounds").to_text())
            }
            Proof::Variable(name) => plainly_quoted(&format!("${{{name}}}")),
            Proof::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| quoted(key)).collect();
                format!("[{}]", keys.join(", "))
            }
            Proof::Secret { secret, salting } => {
                let salted = salting.as_ref().and_then(|salting| derived(secret, salting));
                if let Some(text) = salted {
                    return quoted(&text);
                }
                let names: Vec<_> = self.variables.iter().map(|(name, _)| name.clone()).collect();
                let name = file_name(&principal.authid).replace('-', "_").to_ascii_uppercase();
                let name = unlike(format!("CRA_{name}"), &names).replace('-', "_");
                self.variables.push((name.clone(), secret.clone()));
                plainly_quoted(&format!("${{{name}}}"))
            }
        }
    }

    /// The files, and one with the variables if there are some.
    pub(super) fn into_files(self, notes: &mut Notes) -> Vec<File> {
        let mut files: Vec<_> = self
            .files
            .into_iter()
            .map(|(.., name, text)| File { name, text, is_private: true })
            .collect();
        if self.variables.is_empty() {
            return files;
        }
        let mut text = String::from(
            "# Secrets of wampcra that are used as they are. For systemd: EnvironmentFile= of the \
             router.\n",
        );
        for (name, value) in &self.variables {
            text.push_str(&format!("{name}={}\n", environment_quoted(value)));
        }
        files.push(File { name: SECRETS.into(), text, is_private: true });
        let text = format!(
            "secrets of `wampcra` that have no salt stand in `{SECRETS}`, which has to become the \
             environment of the router: `EnvironmentFile=` in its unit"
        );
        notes.hint("workers", text);
        files
    }
}

/// As the environment files of systemd and of a shell have it.
pub(super) fn environment_quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

/// What the client derives from its password, in the text form; crossbar's file holds the password,
/// or, as files of earlier years do, what is derived from it.
fn derived(secret: &str, salting: &Salting) -> Option<String> {
    let Salting { salt, iterations, key_bytes } = salting;
    CraKey::of_crossbar(secret, salt, *iterations, *key_bytes).to_text()
}

fn stem(name: &str) -> String {
    name.trim_end_matches(".toml").to_owned()
}

/// The file of the variables.
pub(super) const SECRETS: &str = "secrets.env";

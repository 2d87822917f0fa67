//! Paths of a listener where files are served: what they must fulfil, and their directories.

use std::fs;
use std::path::{Path, PathBuf};

use super::check::Findings;
use super::listener::{Listener, ListenerPath};

/// What is wrong with a path that serves files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebFault {
    #[error("cannot serve the files of `{}`: {reason}", .directory.display())]
    Directory { directory: PathBuf, reason: String },
    #[error("a listener without WebSocket speaks no HTTP, and serves no files")]
    FilesWithoutHttp,
    #[error("`{0}` is for WebSockets, and this path serves files")]
    ForWebSockets(&'static str),
    #[error("`{0}` is for paths with `files`")]
    NeedsFiles(&'static str),
    #[error("`{0}` is no file below the directory of `files`")]
    BadFallback(String),
    #[error("`{0}` can be no value of the header `Cache-Control`")]
    BadCache(String),
}

impl WebFault {
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::Directory { .. } => {
                "name a directory that the router's user can read, relative to this file or \
                 beginning with `/`"
            }
            Self::FilesWithoutHttp => "set `websocket = true`, or remove this path",
            Self::ForWebSockets(_) | Self::NeedsFiles(_) => "remove it",
            Self::BadFallback(_) => {
                "write its name, as in `fallback = \"index.html\"`; no part of it begins with a dot"
            }
            Self::BadCache(_) => "write for example `cache = \"max-age=3600\"`",
        }
    }
}

/// What a path with files, or without, may say.
pub(super) fn check_web(
    apart: &ListenerPath,
    listener: &Listener,
    path: &str,
    findings: &mut Findings,
) {
    let key = |name: &str| format!("{path}.{name}");
    if apart.files.is_none() {
        for (name, is_said) in
            [("fallback", apart.fallback.is_some()), ("cache", apart.cache.is_some())]
        {
            findings.add_if(is_said, key(name), || WebFault::NeedsFiles(name));
        }
        return;
    }
    findings.add_if(!listener.websocket, key("files"), || WebFault::FilesWithoutHttp);
    for (name, is_said) in [
        ("authmethods", !apart.authmethods.is_empty()),
        ("origins", apart.origins.is_some()),
        ("realm", apart.realm.is_some()),
    ] {
        findings.add_if(is_said, key(name), || WebFault::ForWebSockets(name));
    }
    if let Some(name) = apart.fallback.as_ref().filter(|name| !is_file_name(name)) {
        findings.add(key("fallback"), WebFault::BadFallback(name.clone()));
    }
    let is_value = |text: &String| !text.is_empty() && text.bytes().all(|b| (32..127).contains(&b));
    if let Some(cache) = apart.cache.as_ref().filter(|cache| !is_value(cache)) {
        findings.add(key("cache"), WebFault::BadCache(cache.clone()));
    }
}

/// Whether it names a file that may be served, without a slash in front.
fn is_file_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
    name.split('/').all(is_part) && !name.contains(char::is_control)
}

/// Finds the directory of a path that serves files, beside the configuration file.
///
/// # Errors
/// If it is none that can be read.
pub(super) fn find_directory(apart: &mut ListenerPath, folder: &Path) -> Result<(), WebFault> {
    let Some(files) = &mut apart.files else { return Ok(()) };
    *files = folder.join(&*files);
    let fault = |reason| WebFault::Directory { directory: files.clone(), reason };
    fs::read_dir(&*files).map(drop).map_err(|error| fault(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_is_a_file_below_the_directory() {
        for good in ["index.html", "app/index.html", "a b"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in ["", "/index.html", "../x", "a/../b", ".env", "a//b", "a\\b", "a/", "a\0"] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
    }
}

//! From the path of a request to an open file below a directory, and to no other.
//!
//! The kernel resolves the name as a whole and refuses what leads out of the directory, links on
//! the way and at its end included, whatever changes meanwhile. Where it cannot, each part is
//! opened from the one before it, and links are not followed at all.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// The name of a file, or of a directory, that may be served: no part of it begins with a dot or
/// can be taken for more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    parts: Vec<OsString>,
    /// A slash stands behind it.
    is_directory: bool,
}

impl Name {
    /// What a path in normal form stands for; `None`: for nothing that may be served.
    pub(super) fn of(path: &str) -> Option<Self> {
        let Some(below) = path.strip_prefix('/') else {
            return path.is_empty().then(|| Self { parts: Vec::new(), is_directory: false });
        };
        let (below, is_directory) = match below.strip_suffix('/') {
            _ if below.is_empty() => return Some(Self { parts: Vec::new(), is_directory: true }),
            Some(below) => (below, true),
            None => (below, false),
        };
        let parts =
            below.split('/').take(MOST_PARTS + 1).map(decode).collect::<Option<Vec<_>>>()?;
        (parts.len() <= MOST_PARTS).then_some(Self { parts, is_directory })
    }

    pub(super) const fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// A file in the directory of this name.
    pub(super) fn join(&self, file: &str) -> Self {
        let mut parts = self.parts.clone();
        parts.push(file.into());
        Self { parts, is_directory: false }
    }

    /// A file beside the one of this name.
    pub(super) fn with_suffix(&self, suffix: &str) -> Self {
        let mut name = self.clone();
        if let Some(last) = name.parts.last_mut() {
            last.push(suffix);
        }
        name
    }

    pub(super) fn last(&self) -> &OsStr {
        self.parts.last().map(OsString::as_os_str).unwrap_or_default()
    }
}

/// One part of a path, whose escapes are resolved.
fn decode(part: &str) -> Option<OsString> {
    let mut pieces = part.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let is_separate = |byte: &u8| !matches!(byte, b'/' | b'\\') && !byte.is_ascii_control();
    let is_served = !bytes.is_empty() && bytes[0] != b'.' && bytes.iter().all(is_separate);
    is_served.then(|| OsString::from_vec(bytes))
}

/// Opens a file; `None` if there is no such file, or if it is not one that can be served.
///
/// # Errors
/// Of the system, where it does not say that there is none; also if the directory is not there.
pub(super) fn open_beneath(directory: &Path, name: &Name) -> io::Result<Option<(File, Metadata)>> {
    if name.parts.is_empty() {
        return Ok(None);
    }
    let at = File::open(directory)?;
    let opened = match open_whole(&at, &name.parts) {
        Err(Errno::NOSYS) => open_in_steps(&at, &name.parts),
        opened => opened,
    };
    let file = match opened {
        Ok(file) => File::from(file),
        Err(error) if NOTHING.contains(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

#[cfg(target_os = "linux")]
fn open_whole(at: &File, parts: &[OsString]) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let path: PathBuf = parts.iter().collect();
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    // The kernel gives up where somebody renames on the way.
    for _ in 0..TRIES {
        opened = openat2(at, &path, READ, Mode::empty(), beneath);
        if opened.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
    }
    opened
}

#[cfg(not(target_os = "linux"))]
fn open_whole(_at: &File, _parts: &[OsString]) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

fn open_in_steps(at: &File, parts: &[OsString]) -> rustix::io::Result<OwnedFd> {
    let (last, folders) = parts.split_last().ok_or(Errno::NOENT)?;
    let mut folder: Option<OwnedFd> = None;
    for part in folders {
        let from = folder.as_ref().map_or_else(|| at.as_fd(), AsFd::as_fd);
        let flags = READ | OFlags::NOFOLLOW | OFlags::DIRECTORY;
        folder = Some(openat(from, part.as_bytes(), flags, Mode::empty())?);
    }
    let from = folder.as_ref().map_or_else(|| at.as_fd(), AsFd::as_fd);
    openat(from, last.as_bytes(), READ | OFlags::NOFOLLOW, Mode::empty())
}

/// A pipe is opened without waiting for somebody at its other end, and a terminal stays one.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// What the system says where there is no file to be served: no such name, a name that is no
/// directory on the way, a link out of the directory or in a circle, or one that cannot be.
const NOTHING: [Errno; 8] = [
    Errno::ACCESS,
    Errno::INVAL,
    Errno::LOOP,
    Errno::NAMETOOLONG,
    Errno::NOENT,
    Errno::NOTDIR,
    Errno::NXIO,
    Errno::XDEV,
];

/// Parts of a path.
const MOST_PARTS: usize = 128;

#[cfg(target_os = "linux")]
const TRIES: usize = 8;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_have_parts_that_may_be_served() {
        for (path, parts, is_directory) in [
            ("", &[][..], false),
            ("/", &[], true),
            ("/a", &["a"], false),
            ("/a/", &["a"], true),
            ("/a/b.c/d", &["a", "b.c", "d"], false),
            ("/a%20b", &["a b"], false),
            ("/%25", &["%"], false),
            ("/a..b", &["a..b"], false),
        ] {
            let name = Name::of(path).unwrap();
            assert_eq!(
                (&name.parts[..], name.is_directory),
                (&os(parts)[..], is_directory),
                "{path}"
            );
        }
        for bad in [
            "//",
            "//a",
            "/a//b",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/.",
            "/./a",
            "/.git/config",
            "/a/.env",
            "/a%2Fb",
            "/a%2F..%2Fb",
            "/%5C..",
            "/a\\b",
            "/%00",
            "/a%00.html",
            "/a%0Ab",
            "/%2E",
            "/%2E%2E/a",
            "a",
        ] {
            assert_eq!(Name::of(bad), None, "{bad}");
        }
        let long = "/a".repeat(MOST_PARTS);
        assert!(Name::of(&long).is_some() && Name::of(&(long + "/a")).is_none());
    }

    fn os(parts: &[&str]) -> Vec<OsString> {
        parts.iter().map(OsString::from).collect()
    }

    /// Both ways to open: by the kernel as a whole, and in steps.
    fn opened(directory: &Path, name: &str) -> [bool; 2] {
        let name = Name::of(&format!("/{name}")).unwrap();
        let at = File::open(directory).unwrap();
        let whole = open_beneath(directory, &name).unwrap().is_some();
        [whole, open_in_steps(&at, &name.parts).is_ok()]
    }

    #[test]
    fn nothing_outside_of_the_directory_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/file"), "in").unwrap();
        fs::write(folder.path().join("secret"), "out").unwrap();
        symlink("sub/file", root.join("inside")).unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("parent")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
        assert_eq!(opened(&root, "sub/file"), [true, true]);
        let follows = cfg!(target_os = "linux");
        assert_eq!(opened(&root, "inside"), [follows, false]);
        for out in ["up", "absolute", "parent/secret", "loop", "magic", "none", "sub/file/x"] {
            assert_eq!(opened(&root, out), [false, false], "{out}");
        }
        assert_eq!(opened(&root, &"n".repeat(300)), [false, false]);
    }

    #[test]
    fn only_files_are_served() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let pipe = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), 0o600.into()).unwrap();
        for name in ["sub", "socket", "pipe"] {
            let found = open_beneath(folder.path(), &Name::of(&format!("/{name}")).unwrap());
            assert!(found.unwrap().is_none(), "{name}");
        }
        drop(pipe);
        let gone = folder.path().join("gone");
        assert!(open_beneath(&gone, &Name::of("/x").unwrap()).is_err(), "that is no 404");
    }
}

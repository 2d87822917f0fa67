//! The seeds of the fuzz targets, given to the oracles that the targets are: what fuzzing has found
//! stays found.
//!
//! `STENTOR_WRITE_SEEDS=1` writes those seeds anew that are made here.

mod fuzz;
#[path = "fuzz/seeds.rs"]
mod making;
mod oracle;
#[allow(dead_code, reason = "the scenarios use more of it")]
mod support;

/// Nobody counts here what is allocated; the targets do.
mod meter {
    pub(crate) fn allocated<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
        (work(), None)
    }
}

use std::path::{Path, PathBuf};
use std::{env, fs};

#[test]
fn every_seed_holds() {
    for (target, judge) in fuzz::TARGETS {
        let seeds = files(&folder(target));
        assert!(seeds.len() > 5, "{target} has {} seeds", seeds.len());
        for seed in seeds {
            let bytes = fs::read(&seed).expect("a seed can be read");
            println_on_panic(&seed, || judge(&bytes));
        }
    }
}

/// Everything else among the seeds is a finding.
#[test]
fn the_seeds_are_those_that_are_made() {
    let writes = env::var_os("STENTOR_WRITE_SEEDS").is_some();
    for (target, name, bytes) in making::all() {
        let file = folder(target).join(&name);
        if writes {
            fs::create_dir_all(folder(target)).expect("a folder");
            fs::write(&file, &bytes).expect("a file");
        }
        assert_eq!(fs::read(&file).ok().as_ref(), Some(&bytes), "{target}/{name}");
    }
}

fn println_on_panic(seed: &Path, work: impl FnOnce()) {
    struct Named<'a>(&'a Path);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with the seed {}", self.0.display());
            }
        }
    }
    let _named = Named(seed);
    work();
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("each target has seeds");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

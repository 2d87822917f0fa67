//! The pages for users: every link leads somewhere, every block of code is checked, run or counted,
//! and what can be made from the program is. `STENTOR_WRITE_DOCS=1` writes the references anew.
//!
//! `tests/book/run.sh` runs the commands that pages show; `tests/book/README.md` says how pages
//! mark them.

#[path = "docs/blocks.rs"]
mod blocks;
#[path = "docs/configuration.rs"]
mod configuration;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/metrics.rs"]
mod metrics;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/reload.rs"]
mod reload;
#[path = "docs/running.rs"]
mod running;

use std::env;
use std::fs;

use pages::root;

/// Compares a page with what the program says, or writes it.
#[track_caller]
fn is_made_of_the_program(page: &str, made: &str) {
    let file = root().join(page);
    if env::var_os("STENTOR_WRITE_DOCS").is_some() {
        fs::create_dir_all(file.parent().expect("a folder")).expect("it is made");
        fs::write(&file, made).expect("it is written");
        return;
    }
    let known = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        made == known,
        "{page} is not what the program says: STENTOR_WRITE_DOCS=1 cargo test --test docs"
    );
}

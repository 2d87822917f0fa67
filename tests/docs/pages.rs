//! The pages, and the blocks of code in them with what is said of how they are tested.

use std::fs;
use std::path::{Path, PathBuf};

/// A file in Markdown, by its path from the repository's root.
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// Of its fence.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) marker: Option<Marker>,
    pub(crate) text: String,
}

/// What the comment before a block says of it; `tests/book/README.md` has the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Run,
    Start,
    File,
    Output,
    TestedBy(String),
    SameAs(String),
    NotRun(String),
}

impl Marker {
    fn read(comment: &str) -> Option<Self> {
        let (word, rest) = comment.split_once(':').unwrap_or((comment, ""));
        let rest = rest.trim().to_owned();
        match word.trim() {
            "run" => Some(Self::Run),
            "start" => Some(Self::Start),
            "file" if !rest.is_empty() => Some(Self::File),
            "output" => Some(Self::Output),
            "tested by" => Some(Self::TestedBy(rest)),
            "same as" => Some(Self::SameAs(rest)),
            "not run" => Some(Self::NotRun(rest)),
            _ => None,
        }
    }
}

impl Page {
    /// Lines outside of blocks, with their numbers.
    pub(crate) fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            let is_fence = line.trim_start().starts_with("```");
            if !is_code && !is_fence {
                lines.push((number, line));
            }
            is_code ^= is_fence;
        }
        lines
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut is_code, mut indent, mut marker) = (false, 0, None);
        for (line, text) in (1..).zip(self.text.lines()) {
            let bare = text.trim_start();
            if let Some(language) = bare.strip_prefix("```") {
                if !is_code {
                    indent = text.len() - bare.len();
                    let (language, marker) = (language.to_owned(), marker.take());
                    blocks.push(Block { line, language, marker, text: String::new() });
                }
                is_code = !is_code;
            } else if is_code {
                let block = blocks.last_mut().expect("it has begun");
                block.text += text.get(indent..).unwrap_or_default();
                block.text.push('\n');
            } else if let Some(comment) = bare.strip_prefix("<!--") {
                marker = Marker::read(comment.trim_end_matches("-->").trim());
            } else if !bare.is_empty() {
                marker = None;
            }
        }
        assert!(!is_code, "{}: the last block has no end", self.name);
        blocks
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages for users: the README, and the book.
pub(crate) fn pages() -> Vec<Page> {
    let mut pages = vec![page("README.md")];
    pages.extend(below("docs"));
    pages
}

/// Those, and the ones for developers.
pub(crate) fn all_pages() -> Vec<Page> {
    let mut pages = pages();
    let top = ["ARCHITECTURE.md", "CHANGELOG.md", "PERFORMANCE.md", "SECURITY.md"];
    pages.extend(top.map(page));
    for folder in ["tests", "fuzz", "loadtest", "examples"] {
        pages.extend(below(folder));
    }
    pages
}

fn page(name: &str) -> Page {
    let text = fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    Page { name: name.to_owned(), text }
}

fn below(folder: &str) -> Vec<Page> {
    let mut folders = vec![root().join(folder)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is read") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !matches!(name, "node_modules" | "target" | ".venv") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    let name = |path: PathBuf| path.strip_prefix(root()).expect("below").display().to_string();
    found.into_iter().map(|path| page(&name(path))).collect()
}

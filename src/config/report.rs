//! Problems with their places, shown as a compiler does: the line, a caret, and what to do.

use std::fmt;
use std::ops::Range;

use super::fault::Fault;

/// A fault and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub fault: Fault,
    pub place: Place,
}

/// Where a faulty value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is about something that is missing, or about a default.
    Nowhere,
    /// Bytes of the file.
    File(Range<usize>),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

/// All that is wrong with one configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Report {
    /// Name of the file as it was given.
    pub file: String,
    /// Its text.
    pub text: String,
    pub problems: Vec<Problem>,
}

impl Report {
    pub(super) fn new(file: String, text: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.place {
            Place::File(bytes) => (0, bytes.start),
            Place::Variable(_) => (1, 0),
            Place::Flag(_) => (2, 0),
            Place::Nowhere => (3, 0),
        });
        Self { file, text, problems }
    }

    /// Line and column of a byte of the file, both from 1, columns in characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    fn write_excerpt(&self, f: &mut fmt::Formatter<'_>, bytes: &Range<usize>) -> fmt::Result {
        let (line, column) = self.position(bytes.start);
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        // A tab counts as one column, so it must also be shown as one.
        let excerpt = self.text.lines().nth(line - 1).unwrap_or_default().replace('\t', " ");
        let end = self.text.floor_char_boundary(bytes.end).max(bytes.start);
        let marked = self.text.get(bytes.start..end).unwrap_or_default();
        let width = marked.lines().next().unwrap_or_default().chars().count().max(1);

        writeln!(f, "{margin}--> {}:{line}:{column}", self.file)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {excerpt}")?;
        writeln!(f, "{margin} | {}{}", " ".repeat(column - 1), "^".repeat(width))
    }

    fn write_problem(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        writeln!(f, "error: {}", problem.fault)?;
        let mut margin = 1;
        match &problem.place {
            Place::Nowhere => {}
            Place::Variable(name) => writeln!(f, " --> {name} in the environment")?,
            Place::Flag(flag) => writeln!(f, " --> {flag} on the command line")?,
            Place::File(bytes) => {
                self.write_excerpt(f, bytes)?;
                margin = self.position(bytes.start).0.to_string().len();
            }
        }
        match problem.fault.help() {
            Some(help) => writeln!(f, "{} = help: {help}", " ".repeat(margin)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.write_problem(f, problem)?;
        }
        Ok(())
    }
}

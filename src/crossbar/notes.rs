//! What an import has to tell: where something means another thing here, or is not there.

use std::fmt;

/// How much a note matters, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody may do what crossbar would deny.
    BecomesAllowed,
    /// Somebody may not do what crossbar allows.
    BecomesDenied,
    /// It is not carried over.
    Missing,
    /// It is carried over, and works in another way.
    Changed,
    /// What to know, or to do, besides.
    Hint,
}

impl Severity {
    pub const ALL: [Self; 5] =
        [Self::BecomesAllowed, Self::BecomesDenied, Self::Missing, Self::Changed, Self::Hint];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BecomesAllowed => "becomes allowed",
            Self::BecomesDenied => "becomes denied",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Hint => "hint",
        }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub severity: Severity,
    /// In crossbar's file, as in `workers[0].realms[1].roles[2].permissions[0]`.
    pub place: String,
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, place, text } = self;
        write!(f, "{}: {text}\n  --> {place}", severity.as_str())
    }
}

/// Those that are collected, each once.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        place: impl Into<String>,
        text: impl Into<String>,
    ) {
        let note = Note { severity, place: place.into(), text: text.into() };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    pub(super) fn missing(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.add(Severity::Missing, place, text);
    }

    pub(super) fn changed(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.add(Severity::Changed, place, text);
    }

    pub(super) fn denied(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.add(Severity::BecomesDenied, place, text);
    }

    pub(super) fn hint(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.add(Severity::Hint, place, text);
    }

    /// The worst first, those of one kind in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Note> {
        let mut notes = self.0;
        notes.sort_by_key(|note| note.severity);
        notes
    }
}

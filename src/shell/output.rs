//! Standard output and standard error of the shell's commands: data on the one, words on the other.
//!
//! Nothing that others have sent reaches a terminal as it is. A reader that goes ends a command
//! quietly.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde_json::value::RawValue;
use stentor::wamp::Timestamp;
use stentor_client::Payload;

use super::text::{Said, json_string, safe};
use super::value::bytes_of;
use super::{Fault, system_time};

/// How data is printed.
#[derive(Args, Debug)]
pub(crate) struct OutputFlags {
    /// Print one object of JSON a line
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Print the payload alone: a single string as it is, single binary data as its bytes,
    /// everything else as JSON
    #[arg(long)]
    raw: bool,
}

impl OutputFlags {
    pub(crate) const fn format(&self) -> Format {
        match (self.json, self.raw) {
            (true, _) => Format::Json,
            (false, true) => Format::Raw,
            (false, false) => Format::Words,
        }
    }
}

/// What data looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Words,
    /// One object a line.
    Json,
    /// Payloads alone.
    Raw,
}

/// Writes data to standard output, whole lines at once.
pub(crate) struct Printer {
    to: Box<dyn Write + Send>,
    format: Format,
    has_time: bool,
    is_terminal: bool,
}

/// What came with a payload.
pub(crate) struct About<'a> {
    /// What people see before the arguments; may be empty.
    pub(crate) head: &'a str,
    /// Members of the object, whose values are JSON.
    pub(crate) members: Vec<(&'static str, String)>,
    /// When it was published, if that is known better than by its coming.
    pub(crate) time: Option<String>,
}

impl Printer {
    pub(crate) fn to_stdout(format: Format, has_time: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { to: Box::new(io::stdout()), format, has_time, is_terminal }
    }

    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// One line, which is safe already.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Fault> {
        self.write(format!("{line}\n").as_bytes())
    }

    pub(crate) fn payload(&mut self, about: &About<'_>, payload: &Payload) -> Result<(), Fault> {
        self.said(about, &Said::of(payload))
    }

    pub(crate) fn said(&mut self, about: &About<'_>, said: &Said) -> Result<(), Fault> {
        let now = || Timestamp::from_unix_ms(system_time()).to_string();
        let time = self.has_time.then(|| about.time.clone().unwrap_or_else(now));
        match self.format {
            Format::Json => {
                let time = time.map(|time| ("time", json_string(&time)));
                let members: Vec<_> = time.iter().chain(&about.members).collect();
                let members = members.iter().map(|(key, value)| format!("\"{key}\":{value}"));
                let members = members.collect::<Vec<_>>().join(",") + &said.members();
                self.line(&format!("{{{}}}", members.trim_start_matches(',')))
            }
            Format::Words => {
                let time = safe(&time.unwrap_or_default());
                let parts = [time, safe(about.head), said.words()];
                let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                self.line(&parts.join(" "))
            }
            Format::Raw => {
                let time = time.map(|time| safe(&time) + " ").unwrap_or_default();
                match said.only().and_then(string) {
                    Some(text) => self.raw(&time, &text),
                    None => self.line(&format!("{time}{}", bare(said))),
                }
            }
        }
    }

    /// A single string or single binary data.
    fn raw(&mut self, time: &str, text: &str) -> Result<(), Fault> {
        match bytes_of(text) {
            // Binary data has no line's end of its own, so that a file of it is whole.
            Some(bytes) if !self.is_terminal => self.write(&[time.as_bytes(), &bytes].concat()),
            _ if self.is_terminal => self.line(&format!("{time}{}", safe(text))),
            _ => self.line(&format!("{time}{text}")),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.to.write_all(bytes).and_then(|()| self.to.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::NoReader,
            _ => Fault::Output(error),
        })
    }
}

fn string(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

/// A payload that is no single string, as JSON: the only argument, or the list of several, or both
/// kinds of arguments by their names.
fn bare(said: &Said) -> String {
    match (said.only(), said) {
        (Some(only), _) => only.get().to_owned(),
        (None, Said::Json { args, kwargs }) => match kwargs.as_deref() {
            None | Some("{}") => args.clone(),
            Some(kwargs) => format!("{{\"args\":{args},\"kwargs\":{kwargs}}}"),
        },
        (None, Said::Bytes { .. }) => format!("{{{}}}", &said.members()[1..]),
    }
}

/// A line of words on standard error.
pub(crate) fn tell(words: &str) {
    // Without standard error the exit code alone has to tell.
    let _ = writeln!(io::stderr().lock(), "{}", safe(words));
}

/// A line of words for whoever waits at a terminal.
pub(crate) fn tell_terminal(words: &str) {
    if io::stderr().is_terminal() {
        tell(words);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is printed of arguments that are safe JSON already.
    fn printed(format: Format, is_terminal: bool, args: &str, kwargs: Option<&str>) -> Vec<u8> {
        let to = Shared::default();
        let boxed = Box::new(to.clone());
        let mut printer = Printer { to: boxed, format, has_time: false, is_terminal };
        let members = vec![("topic", json_string("com.\u{1b}x"))];
        let about = About { head: "com.\u{1b}x", members, time: None };
        let said =
            Said::Json { args: args.to_owned(), kwargs: kwargs.map(|kwargs| kwargs.to_owned()) };
        printer.said(&about, &said).unwrap();
        to.0.lock().unwrap().clone()
    }

    fn text(format: Format, is_terminal: bool, args: &str, kwargs: Option<&str>) -> String {
        String::from_utf8(printed(format, is_terminal, args, kwargs)).unwrap()
    }

    #[test]
    fn json_is_an_object_a_line() {
        let line = text(Format::Json, false, "[1]", Some("{\"a\":2}"));
        assert_eq!(line, "{\"topic\":\"com.\\u001bx\",\"args\":[1],\"kwargs\":{\"a\":2}}\n");
        let line = text(Format::Json, true, "[]", None);
        assert_eq!(line, "{\"topic\":\"com.\\u001bx\",\"args\":[],\"kwargs\":{}}\n");
    }

    #[test]
    fn words_are_for_people() {
        let line = text(Format::Words, true, "[1,\"two\",[3]]", Some("{\"a\":2}"));
        assert_eq!(line, "com.\\u{1b}x 1 \"two\" [3] a=2\n");
        assert_eq!(text(Format::Words, true, "[]", None), "com.\\u{1b}x\n");
    }

    #[test]
    fn raw_is_the_payload() {
        let escape = r#"["a\u001b[2J\n"]"#;
        assert_eq!(text(Format::Raw, false, escape, None), "a\u{1b}[2J\n\n");
        assert_eq!(text(Format::Raw, true, escape, None), "a\\u{1b}[2J\n\n");
        assert_eq!(printed(Format::Raw, false, r#"["\u0000/wA="]"#, None), [0xff, 0]);
        assert_eq!(text(Format::Raw, true, r#"["\u0000/wA="]"#, None), "\\u{0}/wA=\n");
        assert_eq!(text(Format::Raw, false, "[5]", Some("{}")), "5\n");
        assert_eq!(text(Format::Raw, false, "[5,6]", None), "[5,6]\n");
        let both = text(Format::Raw, false, "[5]", Some("{\"a\":1}"));
        assert_eq!(both, "{\"args\":[5],\"kwargs\":{\"a\":1}}\n");
    }

    #[test]
    fn who_reads_may_go() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let to = Box::new(Gone);
        let mut printer =
            Printer { to, format: Format::Words, has_time: false, is_terminal: false };
        assert!(matches!(printer.line("x"), Err(Fault::NoReader)));
    }
}

//! A terminal with the `stentor` command in it: what stands on its screen, keys, sizes, and whether
//! it is left as it was.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use vt100::Parser;

use crate::running::Running;
use crate::sockets::PATIENCE;

pub(crate) struct Terminal {
    /// The side of whoever sits before it.
    keyboard: File,
    screen: Parser,
    written: Vec<u8>,
    /// What the command writes; it ends with the command.
    output: Receiver<Vec<u8>>,
    process: Running,
    modes: Termios,
}

impl Terminal {
    /// Runs the command as the only one of a terminal with so many lines and columns.
    pub(crate) fn run(arguments: &[&str], (lines, columns): (u16, u16)) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let keyboard = File::from(terminal);
        resize(&keyboard, lines, columns);
        let modes = tcgetattr(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let end = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).unwrap());
        // Else it would ask for the size of the terminal in which the tests run.
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_stentor")]).args(arguments);
        let command = command.stdin(end()).stdout(end()).stderr(end());
        let process = Running(command.spawn().unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (sender, output) = channel();
        let mut source = keyboard.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Fails as soon as no process has the terminal any more.
            while let Ok(length) = source.read(&mut buffer)
                && sender.send(buffer[..length].to_vec()).is_ok()
            {}
        });
        let screen = Parser::new(some(lines), some(columns), 0);
        Self { keyboard, screen, written: Vec::new(), output, process, modes }
    }

    /// Waits until all of this stands on the screen at once.
    #[track_caller]
    pub(crate) fn shows(&mut self, words: &[&str]) {
        self.waits_for(&format!("{words:?}"), |screen| {
            words.iter().all(|words| screen.contains(words))
        });
    }

    /// Waits until the screen is as `is_right` says.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
    pub(crate) fn waits_for(&mut self, what: &str, is_right: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_right(&self.screen.screen().contents()) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.output.recv_timeout(left) else {
                panic!("in vain: {what} on\n{}", self.screen.screen().contents());
            };
            self.take(&bytes);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.written.extend_from_slice(bytes);
    }

    /// Whether the command has written this: some of it moves cursors, and is on no screen.
    pub(crate) fn has_written(&self, text: &str) -> bool {
        self.written.windows(text.len()).any(|part| part == text.as_bytes())
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&mut self, lines: u16, columns: u16) {
        self.screen.screen_mut().set_size(some(lines), some(columns));
        resize(&self.keyboard, lines, columns);
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for the end of the command, which has gone well and left nothing behind.
    #[track_caller]
    pub(crate) fn check_restored(mut self) {
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.take(&bytes);
        }
        assert_eq!(self.process.exit_code(), Some(0));
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(screen.contents(), "", "nothing was written to the screen of before");
        let (before, now) = (self.modes, tcgetattr(&self.keyboard).unwrap());
        assert_eq!(before.input_modes, now.input_modes);
        assert_eq!(before.output_modes, now.output_modes);
        assert_eq!(before.local_modes, now.local_modes);
    }
}

fn some(lines: u16) -> NonZero<u16> {
    NonZero::new(lines).expect("a terminal has lines and columns")
}

fn resize(keyboard: &File, ws_row: u16, ws_col: u16) {
    tcsetwinsize(keyboard, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

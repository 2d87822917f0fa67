//! `stentor top`: a running router in a terminal, looked at once a second.
//!
//! The main thread draws and takes keys; a thread of its own asks the admin listener, so that a
//! router that does not answer holds up no key.

mod ask;
mod draw;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use ask::{Answer, Request};
use state::{Effect, State};

use crate::command::operator::AdminFlags;

/// Which router.
#[derive(Args, Debug)]
pub(crate) struct TopFlags {
    #[command(flatten)]
    at: AdminFlags,
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    #[error(
        "error: `stentor top` needs a terminal; `stentor sessions` and `stentor shards` print what \
         it shows"
    )]
    NoTerminal,
    #[error("error: the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
    #[error("error: the thread that asks the router has ended; this is a bug")]
    LostThread,
}

/// Shows the router until the operator has seen enough.
pub(crate) fn top(flags: TopFlags) -> Result<(), TopError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let end = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&end))?;
    }
    let mut state = State::new(flags.at.address());
    let (requests, asked) = unbounded();
    let (told, news) = bounded(1);
    // It ends when nobody hears it any more, and is not waited for: an answer may take long.
    let ask = move || ask::run(&flags.at, &asked, &told);
    drop(thread::Builder::new().name("ask".to_owned()).spawn(ask)?);
    // A panic restores the terminal as well: `try_init` sees to that.
    let shown = match ratatui::try_init() {
        Ok(mut terminal) => show(&mut terminal, &mut state, &requests, &news, &end),
        Err(error) => Err(error.into()),
    };
    let restored = ratatui::try_restore();
    shown?;
    Ok(restored?)
}

fn show(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    requests: &Sender<Request>,
    news: &Receiver<Answer>,
    end: &AtomicBool,
) -> Result<(), TopError> {
    // Whoever asks is there as long as this loop, or is missed below.
    let order = |state: &mut State| {
        state.note_asked(now());
        drop(requests.send(Request::Look(state.order())));
    };
    order(state);
    while !end.load(Ordering::Relaxed) {
        state.columns = terminal.draw(|frame| draw::draw(frame, &mut *state, now()))?.area.width;
        match next_key()?.map_or(Effect::Nothing, |key| state.press(key)) {
            Effect::Quit => return Ok(()),
            Effect::Order => order(state),
            Effect::Kick(kick) => drop(requests.send(Request::Kick(kick))),
            Effect::Nothing => {}
        }
        match news.try_recv() {
            Ok(answer) => state.hear(answer, now()),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(TopError::LostThread),
        }
    }
    Ok(())
}

/// A key, if one is pressed soon.
fn next_key() -> io::Result<Option<KeyEvent>> {
    if !event::poll(TICK)? {
        return Ok(None);
    }
    match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Ok(Some(key)),
        _ => Ok(None),
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of `stentor top`")]
fn now() -> Instant {
    Instant::now()
}

/// How long news may wait to be drawn.
const TICK: Duration = Duration::from_millis(100);

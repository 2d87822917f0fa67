//! What `stentor top` knows: the last two looks at a router, what is wanted next, and what keys do.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::ask::Answer;
use super::text::shown;
use super::view::View;

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) view: View,
    sort: usize,
    pub(super) filter: String,
    pub(super) is_paused: bool,
}

impl Order {
    pub(super) fn sort(&self) -> Option<&'static str> {
        self.view.sorts().get(self.sort).copied()
    }

    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let is_filtered = !self.filter.is_empty();
        // Where the router does not filter, more is asked for to find something in.
        let limit = if is_filtered && !self.view.is_searched() { "1000" } else { "100" };
        let mut query = vec![("limit", limit.to_owned())];
        query.extend(self.sort().map(|sort| ("sort", sort.to_owned())));
        if is_filtered && self.view.is_searched() {
            query.push(("search", self.filter.clone()));
        }
        query
    }

    /// Whether both have the same rows in the same order.
    fn is_alike(&self, other: &Self) -> bool {
        (self.view, self.sort, &self.filter) == (other.view, other.sort, &other.filter)
    }
}

/// One look at a router.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) order: Order,
    pub(super) router: Value,
    pub(super) shards: Value,
    /// What the view's path answered.
    pub(super) list: Value,
    pub(super) taken: Instant,
}

/// Whom to kick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kick {
    pub(super) session: u64,
    pub(super) realm: String,
    pub(super) authid: String,
}

/// Why nothing new can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The router does not answer.
    Silent(String),
    /// It does, but not with what was asked for; or it cannot be asked in this way.
    Refused(String),
}

/// What keys are for.
#[derive(Debug, Default)]
pub(super) enum Mode {
    #[default]
    Watching,
    Filtering(String),
    Confirming(Kick),
    Helping,
}

/// What a key asks of the loop.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Order,
    Kick(Kick),
    Quit,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) admin: String,
    pub(super) mode: Mode,
    /// The selected row of a list.
    pub(super) selected: usize,
    /// The first row of the list, or of the shards, that is on the screen.
    pub(super) first: usize,
    /// So many rows fit there.
    pub(super) fitting: usize,
    /// Of the terminal.
    pub(super) columns: u16,
    /// What came of the last kick.
    pub(super) notice: Option<String>,
    order: Order,
    last: Option<Look>,
    before: Option<Look>,
    /// When the router was asked for something else than before.
    asked: Option<Instant>,
    /// Since when there is no answer, and why.
    failure: Option<(Instant, Failure)>,
}

impl State {
    pub(super) fn new(admin: &str) -> Self {
        Self {
            admin: admin.to_owned(),
            mode: Mode::default(),
            selected: 0,
            first: 0,
            fitting: 1,
            columns: 80,
            notice: None,
            order: Order::default(),
            last: None,
            before: None,
            asked: None,
            failure: None,
        }
    }

    pub(super) fn order(&self) -> Order {
        self.order.clone()
    }

    pub(super) const fn last(&self) -> Option<&Look> {
        self.last.as_ref()
    }

    pub(super) const fn failure(&self) -> Option<&(Instant, Failure)> {
        self.failure.as_ref()
    }

    /// What the router, or this machine, refuses.
    pub(super) fn refusal(&self) -> Option<&str> {
        match &self.failure {
            Some((_, Failure::Refused(why))) => Some(why),
            _ => None,
        }
    }

    /// The router is about to be asked.
    pub(super) const fn note_asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Since when the router owes an answer, if that is long ago.
    pub(super) fn overdue(&self, now: Instant) -> Option<Instant> {
        let seen = self.last.as_ref().map(|look| look.taken);
        let since = seen.max(self.asked).filter(|_| !self.order.is_paused)?;
        (now.saturating_duration_since(since) >= OVERDUE).then_some(since)
    }

    pub(super) fn hear(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Seen(look) if !self.order.is_paused => {
                self.failure = None;
                let before = self.last.replace(*look);
                self.before = before.filter(|before| !self.is_younger_than(before));
                self.selected = self.selected.min(self.rows().map_or(0, |it| it.len().max(1) - 1));
            }
            Answer::Seen(_) => {}
            Answer::Failed(why) => {
                let since = self.failure.as_ref().map_or(now, |(since, _)| *since);
                self.failure = Some((since, why));
            }
            Answer::Kicked(Ok(count)) => self.notice = Some(format!("kicked: {count}")),
            Answer::Kicked(Err(why)) => self.notice = Some(why),
        }
    }

    /// Whether the last look was at another process than the one before.
    fn is_younger_than(&self, before: &Look) -> bool {
        let up = |look: &Look| look.router["uptime_seconds"].as_f64();
        self.last.as_ref().is_some_and(|last| up(last) < up(before))
    }

    /// The rows of the view; `None` until the router has answered.
    pub(super) fn rows(&self) -> Option<Vec<&Value>> {
        let look = self.last.as_ref().filter(|look| look.order.is_alike(&self.order))?;
        let (_, key) = self.order.view.list()?;
        let is_wanted = |row: &&Value| match self.order.view {
            View::Slow => row["pending_bytes"].as_u64() > Some(0),
            view if view.is_searched() => true,
            _ => row["uri"].as_str().is_some_and(|uri| uri.contains(&self.order.filter)),
        };
        Some(look.list[key].as_array()?.iter().filter(is_wanted).collect())
    }

    /// Takes a key; what there is to do.
    pub(super) fn press(&mut self, key: KeyEvent) -> Effect {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Effect::Quit;
        }
        match std::mem::take(&mut self.mode) {
            Mode::Watching => self.press_watching(key.code),
            Mode::Helping => Effect::Nothing,
            Mode::Confirming(kick) if key.code == KeyCode::Char('y') => {
                self.notice = Some(format!("kicking session {}", kick.session));
                Effect::Kick(kick)
            }
            Mode::Confirming(_) => {
                self.notice = Some("nobody was kicked".to_owned());
                Effect::Nothing
            }
            Mode::Filtering(text) => self.press_filtering(text, key.code),
        }
    }

    fn press_watching(&mut self, key: KeyCode) -> Effect {
        self.notice = None;
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Effect::Quit,
            KeyCode::Char('?') => self.mode = Mode::Helping,
            KeyCode::Char('/') if self.order.view.list().is_some() => {
                self.mode = Mode::Filtering(self.order.filter.clone());
            }
            KeyCode::Char('k') if self.columns < COLUMNS_OF_A_QUESTION => {
                self.notice = Some("too narrow to ask whom to kick".to_owned());
            }
            KeyCode::Char('k') => return self.begin_kick(),
            KeyCode::Down => self.go(1),
            KeyCode::Up => self.go(-1),
            KeyCode::PageDown => self.go(self.page()),
            KeyCode::PageUp => self.go(-self.page()),
            KeyCode::End => self.go(isize::MAX),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::Tab => return self.change_view(self.order.view.next()),
            KeyCode::Char(digit @ '1'..='6') => {
                return self.change_view(View::ALL[digit as usize - '1' as usize]);
            }
            KeyCode::Char('s') if self.order.view.sorts().len() > 1 => {
                self.order.sort = (self.order.sort + 1) % self.order.view.sorts().len();
                return Effect::Order;
            }
            KeyCode::Char('p') => {
                self.order.is_paused = !self.order.is_paused;
                return Effect::Order;
            }
            _ => {}
        }
        Effect::Nothing
    }

    /// So many rows down: in lists the selection goes, and what is on the screen with it.
    fn go(&mut self, rows: isize) {
        if self.order.view == View::Overview {
            let last = self.shards().saturating_sub(self.fitting);
            self.first = self.first.saturating_add_signed(rows).min(last);
        } else {
            let last = self.rows().map_or(0, |rows| rows.len().max(1) - 1);
            self.selected = self.selected.saturating_add_signed(rows).min(last);
        }
    }

    fn page(&self) -> isize {
        isize::try_from(self.fitting.max(2) - 1).unwrap_or(isize::MAX)
    }

    /// How many shards the router has.
    pub(super) fn shards(&self) -> usize {
        self.last.as_ref().and_then(|look| look.shards.as_array()).map_or(0, Vec::len)
    }

    /// Another view is looked at now, even if the last was paused.
    fn change_view(&mut self, view: View) -> Effect {
        self.order = Order { view, ..Order::default() };
        (self.selected, self.first) = (0, 0);
        Effect::Order
    }

    fn press_filtering(&mut self, mut text: String, key: KeyCode) -> Effect {
        match key {
            KeyCode::Enter => {
                (self.order.filter, self.order.is_paused) = (text, false);
                return Effect::Order;
            }
            KeyCode::Esc => return Effect::Nothing,
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(letter) if text.chars().count() < MOST_FILTER => text.push(letter),
            _ => {}
        }
        self.mode = Mode::Filtering(text);
        Effect::Nothing
    }

    fn begin_kick(&mut self) -> Effect {
        if self.order.view.has_open_sessions()
            && let Some(row) = self.rows().and_then(|rows| rows.get(self.selected).copied())
            && let (Some(session), Some(realm)) = (row["session"].as_u64(), row["realm"].as_str())
        {
            let authid = shown(row["authid"].as_str().unwrap_or_default());
            self.mode = Mode::Confirming(Kick { session, realm: realm.to_owned(), authid });
        } else {
            self.notice = Some("select an open session first, in Sessions or Slow".to_owned());
        }
        Effect::Nothing
    }

    /// How fast a total of the router grows, per second; `None` before the second look, and after a
    /// restart of the router.
    pub(super) fn rate(&self, total: &str) -> Option<f64> {
        self.grown(|look| look.router["totals"][total].as_f64())
    }

    /// The share of the time that a shard has worked, 0 to 1.
    pub(super) fn load(&self, shard: usize) -> Option<f64> {
        let load = self.grown(|look| look.shards[shard]["busy_seconds"].as_f64());
        load.map(|load| load.clamp(0.0, 1.0))
    }

    fn grown(&self, of: impl Fn(&Look) -> Option<f64>) -> Option<f64> {
        let (before, last) = (self.before.as_ref()?, self.last.as_ref()?);
        let seconds = last.taken.saturating_duration_since(before.taken).as_secs_f64();
        let grown = of(last)? - of(before)?;
        (seconds > 0.0 && grown >= 0.0).then(|| grown / seconds)
    }
}

const MOST_FILTER: usize = 64;

/// A router that is asked once a second has answered by then.
const OVERDUE: Duration = Duration::from_secs(5);

/// In fewer the question before a kick might not show of which router it is.
const COLUMNS_OF_A_QUESTION: u16 = 60;

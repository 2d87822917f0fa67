//! Events between the session of a webhook and the threads that post them: bounded, in their order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

/// One event on its way to an address.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) publication: u64,
    /// A JSON object.
    json: String,
    /// Events before it that never get there.
    missed: u64,
    /// When it was tried for the first time.
    pub(crate) since: Option<Instant>,
    /// Who has it.
    crew: Crew,
    /// Events before it may be missing, nobody knows how many.
    is_behind_gap: bool,
    /// It was tried once more because of the stop.
    is_hurried: bool,
}

/// The threads of one configuration of a webhook. They wait until they begin, and end for others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crew(Arc<AtomicU8>);

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something has come, or a crew begins or ends.
    changed: Condvar,
    /// Letters that wait or are under way.
    length: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    letters: VecDeque<Letter>,
    /// Letters that threads have taken.
    in_hand: usize,
    /// Those of them that crews have which are over: the next one waits for what becomes of them.
    left: usize,
    /// Bytes of all of them.
    bytes: usize,
    /// Events that were dropped behind the last one.
    missed: u64,
    /// And perhaps others, as nobody listened.
    has_gap: bool,
    /// The router stops: what waits for another try has it now.
    is_hurried: bool,
}

impl Letter {
    pub(super) fn new(publication: u64, json: String) -> Self {
        let (crew, is_behind_gap, is_hurried) = Default::default();
        Self { publication, json, missed: 0, since: None, crew, is_behind_gap, is_hurried }
    }

    /// What is posted.
    pub(crate) fn body(&self) -> String {
        let open = self.json.strip_suffix('}').unwrap_or_default();
        let gap = if self.is_behind_gap { ",\"gap\":true" } else { "" };
        match self.missed {
            0 => format!("{open}{gap}}}"),
            missed => format!("{open}{gap},\"missed\":{missed}}}"),
        }
    }
}

impl Queue {
    /// Puts an event in; `false` if there is no room for it. `most`: events and their bytes.
    pub(super) fn push(&self, mut letter: Letter, most: (usize, usize)) -> bool {
        let mut state = self.state.lock();
        let bytes = state.bytes + letter.json.len();
        if state.length() >= most.0 || bytes > most.1 {
            state.missed += 1;
            return false;
        }
        letter.missed = std::mem::take(&mut state.missed);
        letter.is_behind_gap = std::mem::take(&mut state.has_gap);
        state.bytes = bytes;
        state.letters.push_back(letter);
        self.tell(state);
        self.changed.notify_all();
        true
    }

    /// The next one, as soon as there is one; `None` when others have taken over.
    pub(super) fn take(&self, crew: &Crew) -> Option<Letter> {
        let mut state = self.state.lock();
        loop {
            match crew.0.load(Ordering::Relaxed) {
                OVER => return None,
                CURRENT if state.left == 0 => match state.letters.pop_front() {
                    Some(mut letter) => {
                        state.in_hand += 1;
                        letter.crew = crew.clone();
                        return Some(letter);
                    }
                    None => self.changed.wait(&mut state),
                },
                _ => self.changed.wait(&mut state),
            }
        }
    }

    /// Waits for so long before another try; `false` when others have taken over.
    #[expect(clippy::disallowed_methods, reason = "the thread has no other clock")]
    pub(super) fn wait(&self, crew: &Crew, letter: &mut Letter, pause: Duration) -> bool {
        let (mut state, until) = (self.state.lock(), Instant::now() + pause);
        loop {
            if crew.0.load(Ordering::Relaxed) == OVER {
                return false;
            }
            if state.is_hurried && !std::mem::replace(&mut letter.is_hurried, true) {
                return true;
            }
            if self.changed.wait_until(&mut state, until).timed_out() {
                return true;
            }
        }
    }

    /// It was delivered, or else never will be.
    pub(super) fn finish(&self, letter: &Letter, is_delivered: bool) {
        let mut state = self.state.lock();
        state.put_down(letter);
        state.bytes -= letter.json.len();
        if !is_delivered {
            let missed = letter.missed + 1;
            match state.letters.front_mut() {
                Some(next) => {
                    next.missed += missed;
                    next.is_behind_gap |= letter.is_behind_gap;
                }
                None => {
                    state.missed += missed;
                    state.has_gap |= letter.is_behind_gap;
                }
            }
        }
        self.tell(state);
        self.changed.notify_all();
    }

    /// It was not delivered, and others try.
    pub(super) fn give_back(&self, letter: Letter) {
        let mut state = self.state.lock();
        state.put_down(&letter);
        state.letters.push_front(letter);
        drop(state);
        self.changed.notify_all();
    }

    /// What waits for another try has it now, once.
    pub(super) fn hurry(&self) {
        self.state.lock().is_hurried = true;
        self.changed.notify_all();
    }

    /// Nobody listens for a while.
    pub(super) fn note_gap(&self) {
        self.state.lock().has_gap = true;
    }

    pub(super) fn begin(&self, crew: &Crew) {
        self.turn(crew, CURRENT);
    }

    pub(super) fn end(&self, crew: &Crew) {
        self.turn(crew, OVER);
    }

    fn turn(&self, crew: &Crew, to: u8) {
        // Whoever has just looked waits by now.
        let mut state = self.state.lock();
        let was = crew.0.swap(to, Ordering::Relaxed);
        // One that has never begun has nothing in hand.
        if to == OVER && was == CURRENT {
            state.left = state.in_hand;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Events that wait or are under way, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.length(), state.bytes)
    }

    /// Until none waits or is under way.
    pub(super) async fn run_out(&self) {
        let mut length = self.length.subscribe();
        // Its sender is not dropped before.
        let _ = length.wait_for(|length| *length == 0).await;
    }

    fn tell(&self, state: MutexGuard<'_, State>) {
        self.length.send_replace(state.length());
    }
}

impl State {
    /// Nobody has it in hand any more.
    fn put_down(&mut self, letter: &Letter) {
        self.in_hand -= 1;
        if letter.crew.0.load(Ordering::Relaxed) == OVER {
            self.left -= 1;
        }
    }

    fn length(&self) -> usize {
        self.letters.len() + self.in_hand
    }
}

const CURRENT: u8 = 1;
const OVER: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: (usize, usize) = (3, 1_000);

    fn letter(publication: u64) -> Letter {
        Letter::new(publication, format!("{{\"n\":{publication}}}"))
    }

    fn current(queue: &Queue) -> Crew {
        let crew = Crew::default();
        queue.begin(&crew);
        crew
    }

    #[test]
    fn what_is_too_much_is_counted_in_the_next_one() {
        let queue = Queue::default();
        let crew = current(&queue);
        let taken: Vec<_> = (1..=5).map(|n| queue.push(letter(n), MOST)).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        let first = queue.take(&crew).unwrap();
        assert_eq!((first.publication, &*first.body()), (1, "{\"n\":1}"));
        assert!(!queue.push(letter(6), MOST), "it is under way");
        queue.finish(&first, true);
        assert!(queue.push(letter(7), MOST));
        let [second, third, seventh] = [(); 3].map(|()| queue.take(&crew).unwrap());
        assert_eq!((second.publication, third.publication), (2, 3));
        assert_eq!(seventh.body(), "{\"n\":7,\"missed\":3}");
        // Those that are given up are missed, too, by the next that comes.
        queue.finish(&second, false);
        queue.finish(&seventh, false);
        queue.finish(&third, true);
        assert_eq!(queue.size(), (0, 0));
        queue.push(letter(8), MOST);
        assert_eq!(queue.take(&crew).unwrap().body(), "{\"n\":8,\"missed\":5}");
    }

    #[test]
    fn bytes_are_bounded_too() {
        let queue = Queue::default();
        assert!(!queue.push(letter(1), (3, 6)));
        assert!(queue.push(letter(2), (3, 7)));
        assert!(!queue.push(letter(3), (3, 13)));
        assert_eq!(queue.size(), (1, 7));
    }

    #[test]
    fn others_take_over_what_was_not_delivered() {
        let queue = Queue::default();
        let (old, new) = (current(&queue), Crew::default());
        queue.push(letter(1), MOST);
        queue.push(letter(2), MOST);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take(&new).map(|letter| letter.publication));
            let first = queue.take(&old).unwrap();
            queue.end(&old);
            queue.begin(&new);
            assert!(!queue.wait(&old, &mut letter(3), Duration::from_secs(60)));
            assert!(queue.take(&old).is_none());
            // The new one has not begun with the second.
            assert_eq!(queue.state.lock().in_hand, 1);
            queue.give_back(first);
            assert_eq!(taken.join().unwrap(), Some(1));
        });
        assert_eq!(queue.size().0, 2);
        assert!(queue.wait(&new, &mut letter(3), Duration::ZERO));
    }

    /// A reload that fails has started a crew for nothing.
    #[test]
    fn a_crew_that_never_began_leaves_nothing_behind() {
        let queue = Queue::default();
        let crew = current(&queue);
        queue.push(letter(1), MOST);
        queue.push(letter(2), MOST);
        let first = queue.take(&crew).unwrap();
        queue.end(&Crew::default());
        queue.finish(&first, true);
        assert_eq!(queue.take(&crew).map(|letter| letter.publication), Some(2));
    }

    #[test]
    fn the_stop_brings_one_more_try() {
        let queue = Queue::default();
        let crew = current(&queue);
        queue.push(letter(1), MOST);
        let mut first = queue.take(&crew).unwrap();
        queue.hurry();
        assert!(queue.wait(&crew, &mut first, Duration::from_secs(600)));
        assert!(first.is_hurried);
    }

    #[test]
    fn a_gap_is_said_by_the_next_that_arrives() {
        let queue = Queue::default();
        let crew = current(&queue);
        queue.note_gap();
        queue.push(letter(1), MOST);
        let first = queue.take(&crew).unwrap();
        assert_eq!(first.body(), "{\"n\":1,\"gap\":true}");
        queue.finish(&first, false);
        queue.push(letter(2), MOST);
        queue.push(letter(3), MOST);
        let next = [(); 2].map(|()| queue.take(&crew).unwrap().body());
        assert_eq!(next, ["{\"n\":2,\"gap\":true,\"missed\":1}", "{\"n\":3}"]);
    }
}

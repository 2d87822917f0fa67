//! Who waits to be judged, in a line of bounded length. Who has left stands in nobody's way: the
//! threads pass over it, and when the line is full it gives its place up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::shard::Waiter;

/// A way in, and to the next in line; cloning gives another to the same one.
#[derive(Debug)]
pub(super) struct Line<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Somebody has come, or the line was closed.
    changed: Condvar,
    /// How many may wait.
    room: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(Waiter, T)>,
    is_closed: bool,
}

/// What a thread finds.
#[derive(Debug)]
pub(super) enum Next<T> {
    Somebody(Waiter, T),
    /// Nobody has come in time.
    Nobody,
    /// Nobody waits, and nobody will come.
    Closed,
}

impl<T> Line<T> {
    pub(super) fn new(room: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), is_closed: false });
        Self(Arc::new(Shared { state, changed: Condvar::new(), room }))
    }

    /// `false` if so many wait already, or nobody is dealt with any more.
    pub(super) fn push(&self, waiter: Waiter, job: T) -> bool {
        let mut state = self.0.state.lock();
        if state.waiting.len() >= self.0.room {
            state.waiting.retain(|(waiter, _)| !waiter.has_left());
        }
        let has_room = state.waiting.len() < self.0.room && !state.is_closed;
        if has_room {
            state.waiting.push_back((waiter, job));
            drop(state);
            self.0.changed.notify_one();
        }
        has_room
    }

    /// The first who still waits, or who comes first; `None` once the line is closed and empty.
    pub(super) fn next(&self) -> Option<(Waiter, T)> {
        match self.next_until(None) {
            Next::Somebody(waiter, job) => Some((waiter, job)),
            Next::Nobody | Next::Closed => None,
        }
    }

    /// The same, until this moment.
    pub(super) fn next_until(&self, end: Option<Instant>) -> Next<T> {
        let mut state = self.0.state.lock();
        loop {
            if let Some((waiter, job)) = state.first() {
                return Next::Somebody(waiter, job);
            }
            if state.is_closed {
                return Next::Closed;
            }
            match end {
                None => self.0.changed.wait(&mut state),
                Some(end) if self.0.changed.wait_until(&mut state, end).timed_out() => {
                    let first = state.first();
                    return first.map_or(Next::Nobody, |(waiter, job)| Next::Somebody(waiter, job));
                }
                Some(_) => {}
            }
        }
    }

    /// Takes all who wait.
    pub(super) fn drain(&self) -> impl Iterator<Item = (Waiter, T)> {
        let waiting = std::mem::take(&mut self.0.state.lock().waiting);
        waiting.into_iter().filter(|(waiter, _)| !waiter.has_left())
    }

    /// Nobody comes any more.
    pub(super) fn close(&self) {
        self.0.state.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl<T> State<T> {
    fn first(&mut self) -> Option<(Waiter, T)> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|(waiter, _)| !waiter.has_left())
    }
}

impl<T> Clone for Line<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::authentication::Interest;
    use crate::router::{SessionRef, ShardId};

    fn waiter(interest: &Interest) -> Waiter {
        Waiter::new(SessionRef::router(ShardId(0)), interest)
    }

    fn push_all(line: &Line<usize>, interests: &[Interest]) {
        for (number, interest) in interests.iter().enumerate() {
            assert!(line.push(waiter(interest), number));
        }
    }

    #[test]
    fn who_has_left_gives_up_its_place_when_it_is_needed() {
        let line = Line::new(3);
        let mut interests: Vec<_> = (0..3).map(|_| Interest::default()).collect();
        push_all(&line, &interests);
        let late = Interest::default();
        assert!(!line.push(waiter(&late), 3), "all are still there");
        interests.remove(1);
        assert!(line.push(waiter(&late), 3));
        assert!(!line.push(waiter(&late), 4));
        let order: Vec<_> = line.drain().map(|(_, number)| number).collect();
        assert_eq!(order, [0, 2, 3]);
    }

    #[test]
    fn who_has_left_is_passed_over() {
        let line = Line::new(10);
        let mut interests: Vec<_> = (0..4).map(|_| Interest::default()).collect();
        push_all(&line, &interests);
        interests.truncate(2);
        interests.remove(0);
        line.close();
        assert_eq!(line.next().map(|(_, number)| number), Some(1));
        assert!(line.next().is_none());
        assert!(!line.push(waiter(&interests[0]), 5), "nobody would deal with it");
    }

    #[test]
    fn threads_wait_until_somebody_comes_or_nobody_can() {
        let line = Line::<usize>::new(10);
        let serve = |line: Line<usize>| {
            move || std::iter::from_fn(|| line.next()).map(|(_, number)| number).sum::<usize>()
        };
        let threads: Vec<_> = (0..2).map(|_| thread::spawn(serve(line.clone()))).collect();
        let interests: Vec<_> = (0..5).map(|_| Interest::default()).collect();
        push_all(&line, &interests);
        line.close();
        let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(sum, 10);
        assert!(matches!(line.next_until(None), Next::Closed));
    }
}

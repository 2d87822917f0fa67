//! A bounded queue from the driver to one reader, who may be slow.
//!
//! Never waits on the side of the driver: what does not fit is given back, or takes the place of
//! the oldest. No lock is held across a wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    /// For the reader: there is something, or the end.
    ready: Notify,
    /// For the driver: there is room in some queue.
    space: Arc<Notify>,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
    /// Nobody reads any more.
    is_abandoned: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize, space: Arc<Notify>) -> Self {
        let state = State { items: VecDeque::new(), is_closed: false, is_abandoned: false };
        let ready = Notify::new();
        Self { state: Mutex::new(state), capacity: capacity.max(1), ready, space }
    }

    /// Appends an item; gives it back if there is no room.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.is_abandoned || state.is_closed {
            return Ok(());
        }
        if state.items.len() >= self.capacity {
            return Err(item);
        }
        state.items.push_back(item);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Appends an item; `true` if the oldest had to go for it.
    pub(crate) fn push_over_oldest(&self, item: T) -> bool {
        let mut state = self.lock();
        if state.is_abandoned || state.is_closed {
            return false;
        }
        let is_full = state.items.len() >= self.capacity;
        if is_full {
            state.items.pop_front();
        }
        state.items.push_back(item);
        drop(state);
        self.ready.notify_one();
        is_full
    }

    /// Says that nothing follows. What is in the queue can still be read.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.ready.notify_one();
    }

    /// Says that nobody reads any more; what is in the queue is dropped.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
        self.space.notify_one();
    }

    /// The next item if there is one already.
    pub(crate) fn try_next(&self) -> Option<T> {
        let mut state = self.lock();
        let item = state.items.pop_front()?;
        let was_full = state.items.len() + 1 >= self.capacity;
        drop(state);
        if was_full {
            self.space.notify_one();
        }
        Some(item)
    }

    /// The next item, or `None` at the end. May be dropped while it waits; nothing is lost.
    pub(crate) async fn next(&self) -> Option<T> {
        loop {
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            if self.lock().is_closed {
                return self.try_next();
            }
            self.ready.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it is held, so the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(capacity: usize) -> Queue<u32> {
        Queue::new(capacity, Arc::default())
    }

    fn rest(queue: &Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.try_next()).collect()
    }

    #[test]
    fn a_full_queue_gives_back_or_drops_the_oldest() {
        let queue = queue(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(3)));
        assert!(queue.push_over_oldest(3));
        assert_eq!(rest(&queue), [2, 3]);
        assert!(!queue.push_over_oldest(4));
    }

    #[tokio::test]
    async fn a_closed_queue_is_read_to_its_end() {
        let queue = queue(2);
        queue.push(1).unwrap();
        queue.close();
        queue.push(2).unwrap();
        assert_eq!(
            (queue.next().await, queue.next().await, queue.next().await),
            (Some(1), None, None)
        );
    }

    #[tokio::test]
    async fn room_is_told_and_an_abandoned_queue_takes_everything() {
        let queue = queue(1);
        queue.push(1).unwrap();
        assert_eq!(queue.push(2), Err(2));
        queue.try_next();
        queue.space.notified().await;
        queue.abandon();
        for item in 0..10 {
            assert_eq!(queue.push(item), Ok(()));
        }
        assert_eq!(rest(&queue), [0_u32; 0]);
    }
}

//! Whether the event loops of a router still turn, for who restarts one that does not.
//!
//! Each is asked and has to answer in a turn of its own; one that has not is asked no second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::mesh::Look;
use super::view::View;
use crate::router::{ShardId, Slot};

/// Asks the event loops of a router whether they turn, from any one thread.
#[derive(Debug)]
pub struct Vigil {
    view: View,
    /// Whether each shard has answered since it was asked.
    answers: Vec<Arc<AtomicBool>>,
}

impl Vigil {
    pub fn new(view: View) -> Self {
        let answers = view.pulses().iter().map(|_| Arc::new(AtomicBool::new(true))).collect();
        Self { view, answers }
    }

    /// Whether all event loops have answered since the last call, which had asked them. Asks again
    /// those that have.
    pub fn all_turn(&self) -> bool {
        let mut all = true;
        for (number, answered) in (0u8..).zip(&self.answers) {
            if answered.swap(false, Ordering::Relaxed) {
                let answered = Arc::clone(answered);
                let answer = Box::new(move |_, _| answered.store(true, Ordering::Relaxed));
                self.view.look(ShardId(number), Look { from: Slot::at(0), most: 0, answer });
            } else {
                all = false;
            }
        }
        all
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> u64 {
        self.view.router().snapshot().sessions
    }
}

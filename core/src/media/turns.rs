//! Whose turn it is to send.

use std::collections::VecDeque;

/// Peers in the order in which they asked for a turn, each at most once.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    queue: VecDeque<usize>,
    /// For each slot of a peer, whether it is in the queue.
    waits: Vec<bool>,
}

impl Turns {
    /// Lets the peer in this slot have a turn, if it does not wait for one already.
    pub(crate) fn add(&mut self, slot: usize) {
        if self.waits.len() <= slot {
            self.waits.resize(slot + 1, false);
        }
        if let Some(waits) = self.waits.get_mut(slot)
            && !std::mem::replace(waits, true)
        {
            self.queue.push_back(slot);
        }
    }

    /// The next one, whose turn is over with that.
    pub(crate) fn next(&mut self) -> Option<usize> {
        let slot = self.queue.pop_front()?;
        self.set_waits(slot, false);
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        if self.waits.get(slot) == Some(&true) {
            self.queue.retain(|other| *other != slot);
            self.set_waits(slot, false);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn set_waits(&mut self, slot: usize, is_waiting: bool) {
        if let Some(waits) = self.waits.get_mut(slot) {
            *waits = is_waiting;
        }
    }
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Add(usize),
        Next,
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let slot = prop_oneof![4 => 0usize..6, 1 => 0usize..200];
        prop_oneof![
            4 => slot.clone().prop_map(Step::Add),
            3 => Just(Step::Next),
            1 => slot.prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn turns_are_a_list_without_doubles(steps in prop::collection::vec(step(), 0..80)) {
            let mut turns = Turns::default();
            let mut plain: Vec<usize> = Vec::new();
            for step in steps {
                match step {
                    Step::Add(slot) => {
                        turns.add(slot);
                        if !plain.contains(&slot) {
                            plain.push(slot);
                        }
                    }
                    Step::Next => {
                        let next = (!plain.is_empty()).then(|| plain.remove(0));
                        prop_assert_eq!(turns.next(), next);
                    }
                    Step::Remove(slot) => {
                        turns.remove(slot);
                        plain.retain(|other| *other != slot);
                    }
                }
                prop_assert_eq!(turns.is_empty(), plain.is_empty());
            }
            let rest: Vec<usize> = std::iter::from_fn(|| turns.next()).collect();
            prop_assert_eq!(rest, plain);
        }
    }
}

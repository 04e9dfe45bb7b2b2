//! Deadlines of everything in a shard that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// At most one deadline for each key, and the earliest of them at once.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    armed: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { due: BTreeSet::new(), armed: BTreeMap::new() }
    }

    /// Replaces the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.armed.insert(key, at),
            None => self.armed.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, key));
        }
        if let Some(at) = at {
            self.due.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline is not after `now`, earliest first.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.due.first().copied()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, key));
        self.armed.remove(&key);
        Some(key)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }
}

/// The earlier of two deadlines, where `None` is never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, None) => a,
        (None, b) => b,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_went_off_can_be_set_to_the_same_moment_again() {
        let now = Instant::now();
        let mut timers = Timers::new();
        for _ in 0..2 {
            timers.set(1, Some(now));
            assert_eq!((timers.next(), timers.len()), (Some(now), 1));
            assert_eq!(timers.pop_due(now), Some(1));
            assert_eq!((timers.next(), timers.len()), (None, 0));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, Option<u64>),
        Wait(u64),
        /// Takes what is due, but not more than so many.
        Pop(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..8, prop::option::weighted(0.8, 0u64..50))
                .prop_map(|(key, ms)| Step::Set(key, ms)),
            2 => (0u64..20).prop_map(Step::Wait),
            2 => (0usize..5).prop_map(Step::Pop),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(steps in prop::collection::vec(step(), 0..200)) {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut now = 0;
            let mut timers = Timers::new();
            let mut plain: Vec<(u64, u8)> = Vec::new();
            for step in steps {
                match step {
                    Step::Set(key, ms) => {
                        // A deadline may be set when it is over already.
                        let ms = ms.map(|ms| (now + ms).saturating_sub(10));
                        plain.retain(|(_, other)| *other != key);
                        plain.extend(ms.map(|ms| (ms, key)));
                        timers.set(key, ms.map(at));
                    }
                    Step::Wait(ms) => now += ms,
                    Step::Pop(most) => {
                        for _ in 0..most {
                            let due = plain.iter().copied().filter(|(ms, _)| *ms <= now).min();
                            plain.retain(|timer| Some(*timer) != due);
                            prop_assert_eq!(timers.pop_due(at(now)), due.map(|(_, key)| key));
                        }
                    }
                }
                prop_assert_eq!(timers.next(), plain.iter().map(|(ms, _)| at(*ms)).min());
                prop_assert_eq!(timers.len(), plain.len());
            }
        }
    }
}

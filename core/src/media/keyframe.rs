//! How often a publisher is asked for a key frame.

use std::time::{Duration, Instant};

/// Merges the wishes of any number of viewers into at most one request for each interval. A wish
/// that comes too early is granted when its time is there, not dropped: the viewer who joined last
/// needs the picture as much as the first.
#[derive(Debug, Default)]
pub(crate) struct KeyframeThrottle {
    asked: Option<Instant>,
    wanted: bool,
}

impl KeyframeThrottle {
    /// Someone wants a key frame.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// When a request is due; `None` when nobody wants one.
    pub(crate) fn due(&self, now: Instant, interval: Duration) -> Option<Instant> {
        self.wanted.then(|| self.asked.map_or(now, |asked| (asked + interval).max(now)))
    }

    /// Tells whether to ask now, and counts on it that it is done.
    pub(crate) fn take(&mut self, now: Instant, interval: Duration) -> bool {
        let due = self.due(now, interval).is_some_and(|due| due <= now);
        if due {
            self.wanted = false;
            self.asked = Some(now);
        }
        due
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_crowd_costs_one_request_and_a_latecomer_waits_for_the_next() {
        let interval = Limits::default().keyframe_interval_min;
        let start = Instant::now();
        let mut throttle = KeyframeThrottle::default();
        assert!(!throttle.take(start, interval), "nobody wants one");
        for _ in 0..100 {
            throttle.want();
        }
        assert!(throttle.take(start, interval));
        assert!(!throttle.take(start, interval));
        throttle.want();
        let early = start + interval - Duration::from_millis(1);
        assert!(!throttle.take(early, interval));
        assert_eq!(throttle.due(early, interval), Some(start + interval));
        assert!(throttle.take(start + interval, interval));
        assert_eq!(throttle.due(start + interval, interval), None);
    }
}

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

    /// A key frame came: every wish until now is granted.
    pub(crate) fn came(&mut self) {
        self.wanted = false;
    }

    /// When a request is due; `None` when nobody wants one.
    pub(crate) fn due(&self, now: Instant, interval: Duration) -> Option<Instant> {
        self.wanted.then(|| self.asked.map_or(now, |asked| (asked + interval).max(now)))
    }

    /// Notes that the publisher was asked just now; or, with `asked` unset, that there is nobody to
    /// ask yet, so that the wish stays.
    pub(crate) fn tried(&mut self, now: Instant, asked: bool) {
        self.wanted &= !asked;
        self.asked = Some(now);
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
        assert_eq!(throttle.due(start, interval), None, "nobody wants one");
        for _ in 0..100 {
            throttle.want();
        }
        assert_eq!(throttle.due(start, interval), Some(start));
        throttle.tried(start, true);
        assert_eq!(throttle.due(start, interval), None);
        throttle.want();
        let early = start + interval - Duration::from_millis(1);
        assert_eq!(throttle.due(early, interval), Some(start + interval));
        throttle.tried(start + interval, false);
        let third = start + interval * 2;
        assert_eq!(throttle.due(start + interval, interval), Some(third), "nobody heard it");
        throttle.tried(third, true);
        assert_eq!(throttle.due(third, interval), None);
        throttle.want();
        throttle.came();
        assert_eq!(throttle.due(third + interval, interval), None);
    }
}

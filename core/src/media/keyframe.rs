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

    /// Whether the last request is so long ago.
    pub(crate) fn is_due(&self, now: Instant, interval: Duration) -> bool {
        self.asked.is_none_or(|asked| asked + interval <= now)
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
    use proptest::prelude::*;

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

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Step {
        Wait(u64),
        Want,
        Came,
        /// The alarm goes off; the publisher is there to be asked, or is not.
        Alarm {
            heard: bool,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u64..700).prop_map(Step::Wait),
            3 => Just(Step::Want),
            1 => Just(Step::Came),
            3 => any::<bool>().prop_map(|heard| Step::Alarm { heard }),
        ]
    }

    /// When a request is due by a diary of all that happened.
    fn due_by(diary: &[(Instant, Step)], now: Instant, interval: Duration) -> Option<Instant> {
        let granted = |step: &Step| matches!(step, Step::Came | Step::Alarm { heard: true });
        let open = diary.iter().rev().take_while(|(_, step)| !granted(step));
        let wanted = open.filter(|(_, step)| *step == Step::Want).count() > 0;
        let tries = diary.iter().filter(|(_, step)| matches!(step, Step::Alarm { .. }));
        let earliest = tries.map(|(at, _)| *at + interval).max();
        wanted.then(|| earliest.map_or(now, |earliest| earliest.max(now)))
    }

    proptest! {
        #[test]
        fn no_wish_is_lost_and_no_interval_has_two_requests(
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let interval = Limits::default().keyframe_interval_min;
            let mut now = Instant::now();
            let mut throttle = KeyframeThrottle::default();
            let mut diary: Vec<(Instant, Step)> = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                    Step::Want => throttle.want(),
                    Step::Came => throttle.came(),
                    Step::Alarm { .. } if throttle.due(now, interval) != Some(now) => continue,
                    Step::Alarm { heard } => throttle.tried(now, heard),
                }
                diary.push((now, step));
                prop_assert_eq!(throttle.due(now, interval), due_by(&diary, now, interval));
            }
            let asked: Vec<Instant> = diary
                .iter()
                .filter(|(_, step)| matches!(step, Step::Alarm { .. }))
                .map(|(at, _)| *at)
                .collect();
            prop_assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= interval));
        }
    }
}

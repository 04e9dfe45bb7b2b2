//! Whether packets take ever longer (draft-ietf-rmcat-gcc-02, sections 5.2 to 5.4): the delay of
//! groups of packets against each other, its trend, and a threshold that adapts to how much it
//! varies. The trend is that of a line through the last groups, which is what senders came to use
//! in place of the draft's Kalman filter.
//!
//! The draft counts what arrives right behind a group to the group, too, which is for senders that
//! space their packets. Here a picture leaves at once, and what arrives behind it, from a queue, is
//! the next one.

use super::super::rtcp::TICKS_PER_SECOND;

const TICKS_PER_MS: u32 = TICKS_PER_SECOND / 1_000;
/// What is sent within so long is one group: 5 ms.
const GROUP_TICKS: u32 = 5 * TICKS_PER_MS;
/// A delay that changes by more than this at once is that of another way, or another clock: 3 s.
const CHANGE_TICKS_MAX: u32 = 3_000 * TICKS_PER_MS;

/// Groups that the line goes through.
const WINDOW: usize = 20;
const WINDOW_GROUPS: u32 = 20;
/// How much of a smoothed delay is that of the groups before.
const SMOOTHING: f64 = 0.9;
/// A trend, which is a share of time, becomes comparable with the threshold's milliseconds by the
/// number of groups, up to this, and a gain.
const GROUPS_COUNTED_MAX: u32 = 60;
const GAIN: f64 = 4.0;

/// The threshold at first, its least and its most, in ms (section 5.4).
const THRESHOLD: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
/// How fast it follows upwards and downwards, in a millisecond.
const FOLLOWS_UP: f64 = 0.0087;
const FOLLOWS_DOWN: f64 = 0.039;
/// What is so far above the threshold is not followed.
const OUTLIER_MS: f64 = 15.0;
const FOLLOW_MS_MAX: f64 = 100.0;
/// How long a trend has to be above it.
const OVERUSE_MS: f64 = 10.0;

/// A delay that is so far above the least has a queue in it.
const QUEUE_MS: f64 = 25.0;
/// The least delay is that of the last one or two times so long: 15 s. Clocks drift apart, and ways
/// change.
const LEAST_TICKS: u32 = 15 * TICKS_PER_SECOND;

/// What the delay says of the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Signal {
    /// A queue grows.
    Overuse,
    /// A queue shrinks.
    Underuse,
    #[default]
    Normal,
}

/// The delay of one flow.
#[derive(Debug, Default)]
pub(super) struct Delay {
    group: Option<Group>,
    before: Option<Group>,
    line: Line,
    detector: Detector,
    least: Least,
}

/// Packets that were sent at nearly the same time.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// When its first packet was sent, and its last one.
    start: u32,
    sent: u32,
    came: u32,
}

impl Delay {
    /// Notes a packet, in the order of sending.
    pub(super) fn came(&mut self, sent: u32, at: u32) {
        let Some(group) = &mut self.group else {
            self.group = Some(Group { start: sent, sent, came: at });
            return;
        };
        let is_later = at.wrapping_sub(group.came).cast_signed() > 0;
        if sent.wrapping_sub(group.start) <= GROUP_TICKS {
            group.sent = sent;
            group.came = if is_later { at } else { group.came };
            return;
        }
        let ended = *group;
        self.group = Some(Group { start: sent, sent, came: at });
        if let Some(before) = self.before.replace(ended) {
            self.compare(&before, &ended);
        }
    }

    fn compare(&mut self, before: &Group, group: &Group) {
        let sent = group.sent.wrapping_sub(before.sent);
        let came = group.came.wrapping_sub(before.came);
        let change = came.wrapping_sub(sent).cast_signed();
        if change.unsigned_abs() > CHANGE_TICKS_MAX {
            *self = Self::default();
            return;
        }
        let smoothed = self.line.push(group.came, ms(change));
        self.least.note(group.came, smoothed);
        if let Some(trend) = self.line.trend() {
            self.detector.judge(trend, ms(sent.cast_signed()));
        }
    }

    /// What the delay says since the last call: overuse, if it did at all.
    pub(super) fn take_signal(&mut self) -> Signal {
        match std::mem::take(&mut self.detector.was_overuse) {
            true => Signal::Overuse,
            false => self.detector.signal,
        }
    }

    /// Whether packets wait somewhere for longer than they need to.
    pub(super) fn has_queue(&self) -> bool {
        self.least.get().is_some_and(|least| self.line.smoothed > least + QUEUE_MS)
    }
}

/// The delay of the last groups, over the time when they came.
#[derive(Debug, Default)]
struct Line {
    points: [(u32, f64); WINDOW],
    groups: u32,
    /// What times count from, and the sums over the points.
    origin: u32,
    sums: Sums,
    /// The delay since the first group, in ms.
    delay: f64,
    smoothed: f64,
}

/// What a slope needs of its points.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, x: f64, y: f64, times: f64) {
        self.x += times * x;
        self.y += times * y;
        self.xx += times * x * x;
        self.xy += times * x * y;
    }
}

impl Line {
    /// Adds a group; answers with the smoothed delay.
    fn push(&mut self, came: u32, change_ms: f64) -> f64 {
        self.delay += change_ms;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        let slot = usize::try_from(self.groups).unwrap_or(0) % WINDOW;
        if slot == 0 {
            self.begin_anew(came);
        }
        let since = |at: u32, origin: u32| ms(at.wrapping_sub(origin).cast_signed());
        if let Some(point) = self.points.get_mut(slot) {
            let (gone, delay) = std::mem::replace(point, (came, self.smoothed));
            if self.groups >= WINDOW_GROUPS {
                self.sums.add(since(gone, self.origin), delay, -1.0);
            }
            self.sums.add(since(came, self.origin), self.smoothed, 1.0);
        }
        self.groups = self.groups.checked_add(1).unwrap_or(WINDOW_GROUPS);
        self.smoothed
    }

    /// Adds up all points, with times that count from here: sums that go on for ever lose what is
    /// behind the point.
    fn begin_anew(&mut self, origin: u32) {
        (self.origin, self.sums) = (origin, Sums::default());
        if self.groups >= WINDOW_GROUPS {
            for (came, delay) in self.points {
                self.sums.add(ms(came.wrapping_sub(origin).cast_signed()), delay, 1.0);
            }
        }
    }

    /// The slope by least squares, as the threshold has it; `None` before there are enough.
    fn trend(&self) -> Option<f64> {
        if self.groups < WINDOW_GROUPS {
            return None;
        }
        let count = f64::from(WINDOW_GROUPS);
        let Sums { x, y, xx, xy } = self.sums;
        let (both, square) = (xy - x * y / count, xx - x * x / count);
        let counted = f64::from(self.groups.min(GROUPS_COUNTED_MAX));
        (square > 0.0).then(|| both / square * counted * GAIN)
    }
}

/// Whether a trend is one (section 5.4).
#[derive(Debug)]
struct Detector {
    signal: Signal,
    was_overuse: bool,
    threshold: f64,
    before: f64,
    /// How long, and how often, the trend was above the threshold.
    over_ms: f64,
    over: u32,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            signal: Signal::Normal,
            was_overuse: false,
            threshold: THRESHOLD,
            before: 0.0,
            over_ms: 0.0,
            over: 0,
        }
    }
}

impl Detector {
    /// Takes the trend with a group that was sent so long after the one before.
    fn judge(&mut self, trend: f64, sent_ms: f64) {
        if trend > self.threshold {
            // The first group may have been above it for half of the time.
            self.over_ms += if self.over == 0 { sent_ms / 2.0 } else { sent_ms };
            self.over += 1;
            if self.over_ms > OVERUSE_MS && self.over > 1 && trend >= self.before {
                (self.over_ms, self.over) = (0.0, 0);
                self.signal = Signal::Overuse;
                self.was_overuse = true;
            }
        } else {
            (self.over_ms, self.over) = (0.0, 0);
            let falls = trend < -self.threshold;
            self.signal = if falls { Signal::Underuse } else { Signal::Normal };
        }
        self.before = trend;
        self.adapt(trend.abs(), sent_ms);
    }

    fn adapt(&mut self, trend: f64, sent_ms: f64) {
        if trend > self.threshold + OUTLIER_MS {
            return;
        }
        let follows = if trend < self.threshold { FOLLOWS_DOWN } else { FOLLOWS_UP };
        let step = follows * (trend - self.threshold) * sent_ms.min(FOLLOW_MS_MAX);
        self.threshold = (self.threshold + step).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

/// The least delay of late.
#[derive(Debug, Default)]
struct Least {
    /// When the current time began.
    since: Option<u32>,
    current: f64,
    before: Option<f64>,
}

impl Least {
    fn note(&mut self, now: u32, delay: f64) {
        match self.since {
            Some(since) if now.wrapping_sub(since).cast_signed() < LEAST_TICKS.cast_signed() => {
                self.current = self.current.min(delay);
            }
            Some(_) => {
                self.before = Some(self.current);
                (self.since, self.current) = (Some(now), delay);
            }
            None => (self.since, self.current) = (Some(now), delay),
        }
    }

    fn get(&self) -> Option<f64> {
        self.since?;
        Some(self.before.map_or(self.current, |before| before.min(self.current)))
    }
}

fn ms(ticks: i32) -> f64 {
    f64::from(ticks) / f64::from(TICKS_PER_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The slope of points by the definition.
    fn slope(points: &[(f64, f64)]) -> f64 {
        let count = points.len() as f64;
        let x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let both: f64 = points.iter().map(|(at, delay)| (at - x) * (delay - y)).sum();
        both / points.iter().map(|(at, _)| (at - x) * (at - x)).sum::<f64>()
    }

    proptest! {
        #[test]
        fn the_line_is_that_of_least_squares(
            start: u32,
            groups in prop::collection::vec((20u32..400, -50i32..50), 20..200),
        ) {
            let mut line = Line::default();
            let (mut came, mut at, mut points) = (start, 0.0, Vec::new());
            for (nth, (later, change)) in (1u32..).zip(groups) {
                came = came.wrapping_add(later);
                at += f64::from(later) / 4.0;
                let smoothed = line.push(came, f64::from(change));
                points.push((at, smoothed));
                let Some(trend) = line.trend() else {
                    prop_assert!(nth < 20);
                    continue;
                };
                let last = &points[points.len() - 20..];
                let expected = slope(last) * f64::from(nth.min(60)) * 4.0;
                prop_assert!((trend - expected).abs() < 1e-6, "{trend} {expected}");
            }
        }
    }

    fn delay(groups: impl IntoIterator<Item = u32>) -> Delay {
        let mut delay = Delay::default();
        for (nth, queue_ticks) in (0u32..).zip(groups) {
            let sent = nth * 132;
            delay.came(sent, 1_000_000u32.wrapping_add(sent + queue_ticks));
        }
        delay
    }

    #[test]
    fn what_grows_is_overuse_and_what_shrinks_is_underuse() {
        let mut grows = delay((0..60).map(|nth| nth * 20));
        assert_eq!(grows.take_signal(), Signal::Overuse);
        assert!(grows.has_queue());
        assert_eq!(delay((0..60).map(|nth| 4_000 - nth * 60)).take_signal(), Signal::Underuse);
        let mut steady = delay([7; 60]);
        assert_eq!(steady.take_signal(), Signal::Normal);
        assert!(!steady.has_queue());
    }

    /// One whose delay stays high for half a minute has another way.
    #[test]
    fn what_stands_for_long_is_the_way_itself() {
        let with_step =
            |groups: usize| delay((0..100 + groups).map(|nth| if nth < 100 { 0 } else { 800 }));
        assert!(with_step(100).has_queue());
        assert!(with_step(400).has_queue());
        assert!(!with_step(1_000).has_queue());
    }

    #[test]
    fn another_clock_begins_anew() {
        let mut delay = delay((0..60).map(|nth| nth * 20));
        delay.came(60 * 132, 5);
        delay.came(61 * 132, 5 + 132);
        delay.came(62 * 132, 5 + 264);
        assert!(!delay.has_queue());
        assert_eq!(delay.take_signal(), Signal::Normal);
    }
}

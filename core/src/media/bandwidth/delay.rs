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
    /// The delay since the first group, in ms.
    delay: f64,
    smoothed: f64,
}

impl Line {
    /// Adds a group; answers with the smoothed delay.
    fn push(&mut self, came: u32, change_ms: f64) -> f64 {
        self.delay += change_ms;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        let slot = usize::try_from(self.groups).unwrap_or(0) % WINDOW;
        if let Some(point) = self.points.get_mut(slot) {
            *point = (came, self.smoothed);
        }
        self.groups = self.groups.wrapping_add(1).max(1);
        self.smoothed
    }

    /// The slope by least squares, as the threshold has it; `None` before there are enough.
    fn trend(&self) -> Option<f64> {
        if self.groups < WINDOW as u32 {
            return None;
        }
        let (origin, _) = *self.points.first()?;
        let points =
            self.points.map(|(came, delay)| (ms(came.wrapping_sub(origin).cast_signed()), delay));
        let mean = |sum: f64| sum / WINDOW as f64;
        let came = mean(points.iter().map(|(came, _)| came).sum());
        let delay = mean(points.iter().map(|(_, delay)| delay).sum());
        let (mut both, mut square) = (0.0, 0.0);
        for (at, delayed) in points {
            both += (at - came) * (delayed - delay);
            square += (at - came) * (at - came);
        }
        let counted = self.groups.min(GROUPS_COUNTED_MAX);
        (square > 0.0).then(|| both / square * f64::from(counted) * GAIN)
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

//! When there is too little bandwidth for long enough to say so.
//!
//! One look says little: a key frame makes a queue, and a way that has become longer by half a
//! second makes a gap that the rate of what came shows for three. So the word comes when there was
//! too little for three seconds, `shortage_time_min`. Time in which there seems to be enough,
//! because the publisher's pictures are small ones for the moment, counts for neither side as long
//! as packets still wait: a queue that never ends is that of too much.

use std::time::{Duration, Instant};

use crate::limits::Limits;

/// The share of the rate that is as good as all of it: what a window of measurement cuts off, and
/// what is lost on the best of ways and sent again.
pub(super) const ENOUGH: f64 = 0.95;
/// Silence after which what was before does not count.
const SILENCE: Duration = Duration::from_secs(2);

/// A viewer's bandwidth is below the rate of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shortage {
    /// The rate of the stream, bit/s.
    pub(crate) stream: u64,
    /// The estimate, bit/s.
    pub(crate) available: u64,
}

/// What was seen up to now.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    judged: Option<Instant>,
    told: Option<Instant>,
    /// For how long there was too little.
    short: Duration,
}

impl Verdict {
    /// Takes the stream's rate and the estimate, in bit/s, and whether packets wait on the way.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        (stream, available): (f64, f64),
        is_held: bool,
        limits: &Limits,
    ) -> Option<Shortage> {
        let since = |before: Option<Instant>| before.map(|at| now.saturating_duration_since(at));
        let step = since(self.judged).filter(|step| *step <= SILENCE);
        self.judged = Some(now);
        let is_short = available < ENOUGH * stream;
        match step {
            Some(step) if is_short => self.short += step,
            Some(_) if is_held => {}
            Some(_) | None => self.short = Duration::ZERO,
        }
        let is_early = since(self.told).is_some_and(|past| past < limits.shortage_interval_min);
        if !is_short || self.short < limits.shortage_time_min || is_early {
            return None;
        }
        self.told = Some(now);
        Some(Shortage { stream: stream.round() as u64, available: available.round() as u64 })
    }
}

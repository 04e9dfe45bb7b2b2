//! Wall time, derived from the monotonic time that every input carries.

use std::time::{Duration, Instant};

/// One moment seen on both clocks: the monotonic one that drives the shard, and the wall.
///
/// A shard is told this pair once, at its start; every later wall time (HTTP dates, certificate
/// validity) is computed from it, so that core never asks a clock.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// The moment on the monotonic clock.
    pub instant: Instant,
    /// The same moment as time since 1970-01-01 00:00:00 UTC.
    pub unix: Duration,
}

impl Epoch {
    /// Wall time at `now`, as time since 1970-01-01 00:00:00 UTC.
    ///
    /// A `now` before the epoch counts as the epoch.
    pub fn unix_at(&self, now: Instant) -> Duration {
        self.unix + now.saturating_duration_since(self.instant)
    }
}

//! Wall time, derived from the monotonic time that every input carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Wall time as the shard last set it, for those who have to ask instead of being told: TLS
/// checks certificates deep inside a handshake, and every HTTP response carries a date.
///
/// Clones show the same time. The shard sets it with every input.
#[derive(Clone, Debug, Default)]
pub(crate) struct WallClock {
    unix_micros: Arc<AtomicU64>,
}

impl WallClock {
    /// Moves the time, given as time since 1970-01-01 00:00:00 UTC.
    pub(crate) fn set(&self, unix: Duration) {
        let micros = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        self.unix_micros.store(micros, Ordering::Relaxed);
    }

    /// The time since 1970-01-01 00:00:00 UTC, in whole microseconds.
    pub(crate) fn unix(&self) -> Duration {
        Duration::from_micros(self.unix_micros.load(Ordering::Relaxed))
    }
}

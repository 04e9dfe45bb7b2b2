//! How much a shard sends.

use std::time::{Duration, Instant};

/// Over how long it is counted.
const SPAN: Duration = Duration::from_secs(1);

/// Counts bytes, and tells once a second what rate they come to.
#[derive(Debug, Default)]
pub(super) struct Meter {
    since: Option<Instant>,
    bytes: u64,
}

impl Meter {
    /// Counts what is sent now. Every second or so it answers how many bit/s that was.
    pub(super) fn count(&mut self, now: Instant, bytes: usize) -> Option<u64> {
        self.bytes += bytes as u64;
        let span = now.saturating_duration_since(*self.since.get_or_insert(now));
        if span < SPAN {
            return None;
        }
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let rate = self.bytes.saturating_mul(8_000) / millis;
        (self.since, self.bytes) = (Some(now), 0);
        Some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start;

    #[test]
    fn a_rate_is_told_once_a_second_and_silence_counts() {
        let (start, mut meter) = (start(), Meter::default());
        let told: Vec<(u64, u64)> = (0..=250)
            .filter_map(|n| {
                let now = start + Duration::from_millis(10 * n);
                meter.count(now, 1_250).map(|rate| (n, rate))
            })
            .collect();
        // One more than a hundred in the first second: both of its ends count.
        assert_eq!(told, [(100, 1_010_000), (200, 1_000_000)]);
        let later = start + Duration::from_millis(12_000);
        assert_eq!(meter.count(later, 1_250), Some(51 * 10_000 / 10));
    }
}

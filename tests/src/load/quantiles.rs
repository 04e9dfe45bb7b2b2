//! Many durations in few numbers.

use std::time::Duration;

use serde_json::{Value, json};

/// How durations are spread, in microseconds. Each is one that was measured, not one between two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Quantiles {
    /// How many there were.
    pub(super) count: usize,
    /// Half of them are no greater.
    pub(super) p50: u32,
    /// 99 of 100 are no greater.
    pub(super) p99: u32,
    /// 999 of 1 000 are no greater.
    pub(super) p999: u32,
    /// None is greater.
    pub(super) max: u32,
}

impl Quantiles {
    /// Of microseconds; `None` when there are none.
    pub(super) fn of(micros: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut sorted: Vec<u32> = micros.into_iter().collect();
        sorted.sort_unstable();
        let rank = |thousandths: usize| {
            let rank = (sorted.len() * thousandths).div_ceil(1_000).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(Self {
            count: sorted.len(),
            p50: rank(500)?,
            p99: rank(990)?,
            p999: rank(999)?,
            max: rank(1_000)?,
        })
    }

    /// Of durations; `None` when there are none.
    pub(super) fn of_durations(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        Self::of(durations.into_iter().map(micros))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "count": self.count,
            "p50_ms": ms(self.p50),
            "p99_ms": ms(self.p99),
            "p999_ms": ms(self.p999),
            "max_ms": ms(self.max),
        })
    }
}

pub(super) fn ms(micros: u32) -> f64 {
    f64::from(micros) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_measurements() {
        let all = Quantiles::of((1..=2_000).rev());
        let expected = Quantiles { count: 2_000, p50: 1_000, p99: 1_980, p999: 1_998, max: 2_000 };
        assert_eq!(all, Some(expected));
        let one = Quantiles::of_durations([Duration::from_micros(1_500)]).unwrap();
        assert_eq!((one.p50, one.p999, one.max), (1_500, 1_500, 1_500));
        assert_eq!(Quantiles::of([]), None);
    }
}

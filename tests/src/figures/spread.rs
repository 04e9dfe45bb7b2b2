//! Many measurements of one thing, in few numbers.

use std::time::Duration;

use serde_json::{Value, json};

/// How measurements of one thing are spread, in ms.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Half of the measurements are no greater.
    pub p50: f64,
    /// 95 of 100 are no greater.
    pub p95: f64,
    /// 99 of 100 are no greater.
    pub p99: f64,
}

impl Spread {
    /// Of durations; `None` when there are none.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::of_ms(durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3))
    }

    /// Of anything in ms, negative or not; `None` when there is nothing.
    pub fn of_ms(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        // The nearest rank: always one of the measurements, never something between two.
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(Self { p50: rank(50)?, p95: rank(95)?, p99: rank(99)? })
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "p50_ms": round(self.p50), "p95_ms": round(self.p95), "p99_ms": round(self.p99)
        })
    }
}

/// To three digits after the point: loopback and a shared machine give no more.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_measurements() {
        let spread = Spread::of_ms((1..=200).rev().map(f64::from)).unwrap();
        assert_eq!(spread, Spread { p50: 100.0, p95: 190.0, p99: 198.0 });
        let one = Spread::of([Duration::from_micros(1_500)]).unwrap();
        assert_eq!(one, Spread { p50: 1.5, p95: 1.5, p99: 1.5 });
        assert_eq!(Spread::of_ms([]), None);
    }
}

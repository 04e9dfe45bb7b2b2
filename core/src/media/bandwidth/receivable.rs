//! The estimate of a viewer that makes one itself (draft-alvestrand-rmcat-remb-03).

use std::time::{Duration, Instant};

use super::verdict::{Shortage, Verdict};
use crate::limits::Limits;

/// The time that the stream's rate is measured over.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// What a viewer says that it can receive, against what it is sent.
#[derive(Debug, Default)]
pub(crate) struct Receivable {
    /// When the rate was measured last, and what had been sent by then.
    measured: Option<(Instant, u32)>,
    /// In bit/s.
    rate: Option<f64>,
    verdict: Verdict,
}

impl Receivable {
    /// Takes the viewer's estimate, in bit/s, and how many bytes it was sent, modulo 2^32. Tells if
    /// it has been too little for some time.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        bitrate: u64,
        sent_bytes: u32,
        limits: &Limits,
    ) -> Option<Shortage> {
        let (at, before) = *self.measured.get_or_insert((now, sent_bytes));
        let past = now.saturating_duration_since(at);
        if past >= RATE_INTERVAL {
            let bits = 8.0 * f64::from(sent_bytes.wrapping_sub(before));
            self.rate = Some(bits / past.as_secs_f64());
            self.measured = Some((now, sent_bytes));
        }
        self.verdict.judge(now, (self.rate?, bitrate as f64), false, limits)
    }
}

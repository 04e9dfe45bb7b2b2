//! What all viewers together got.

use std::time::Duration;

/// Counts and samples of all viewers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Second by second, from the clock's beginning.
    pub(super) seconds: Vec<Second>,
    /// Whether delays and samples are counted now.
    pub(super) measuring: bool,
    /// Delays of samples in microseconds.
    pub(super) delays: Vec<u32>,
    /// Samples that were authentic.
    pub(super) opened: u64,
    /// Packets that were not, samples or not.
    pub(super) refused: u64,
    /// Authentic samples whose payload is not what the stream's publisher sent.
    pub(super) altered: u64,
    /// Packets of no track that was agreed on.
    pub(super) strange: u64,
    /// Packets that came again on request.
    pub(super) retransmitted: u64,
    /// Packets and reports that were thrown away unseen.
    pub(super) discarded: u64,
    /// Bytes of packets that came while it was measured, headers and tags included.
    pub(super) bytes: u64,
    /// Requests that viewers sent: for packets, for key frames.
    pub(super) nacks: u64,
    pub(super) plis: u64,
    /// Feedback on arrivals that viewers sent.
    pub(super) feedbacks: u64,
}

/// What happened in one second.
#[derive(Clone, Debug, Default)]
pub(super) struct Second {
    /// Packets that came.
    pub(super) packets: u64,
    /// Packets that turned out to be missing, if only for a while.
    pub(super) missed: u64,
    /// Viewers that got their first packet.
    pub(super) joined: u64,
    /// Delays of samples in microseconds.
    pub(super) delays: Vec<u32>,
}

impl Tally {
    pub(super) fn second(&mut self, at: Duration) -> &mut Second {
        let index = usize::try_from(at.as_secs()).unwrap_or_default();
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        self.seconds.get_mut(index).expect("it was made long enough")
    }

    /// Takes note of how long a sample was on its way.
    pub(super) fn delay(&mut self, at: Duration, delay: Duration) {
        let micros = u32::try_from(delay.as_micros()).unwrap_or(u32::MAX);
        self.second(at).delays.push(micros);
        if self.measuring {
            self.delays.push(micros);
        }
    }
}

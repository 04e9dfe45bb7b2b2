//! How much was sent, and how much of that came, of late.

use super::super::rtcp::TICKS_PER_SECOND;

/// Within so many seconds what is older comes to count half as much. The draft measures over half
/// a second to a second (section 5.5); pictures of very different length need the longer.
const SECONDS: f64 = 1.0;
/// Seconds before which there is no rate to tell.
const SECONDS_MIN: f64 = 0.25;

/// Rates of one flow, over packets of which it is known whether they came.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Of the stream, as it is.
    live: Rate,
    /// Of all that was sent, what was sent again and what was sent late among it.
    all: Rate,
    came: Rate,
    /// Packets of which it is known, and those that were lost.
    packets: f64,
    lost: f64,
    step: Step,
}

/// Bits over a time.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    bits: f64,
    seconds: f64,
}

impl Rate {
    fn add(&mut self, bytes: u32, seconds: f64) {
        let keeps = SECONDS / (SECONDS + seconds);
        self.bits = self.bits * keeps + 8.0 * f64::from(bytes);
        self.seconds = self.seconds * keeps + seconds;
    }

    /// In bit/s.
    fn get(&self) -> Option<f64> {
        (self.seconds >= SECONDS_MIN).then(|| self.bits / self.seconds)
    }
}

/// What one report tells.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    live_bytes: u32,
    bytes: u32,
    came_bytes: u32,
    packets: u32,
    lost: u32,
    sending_ticks: u32,
    arriving_ticks: u32,
}

impl Rates {
    /// Something is known of a packet.
    pub(super) fn told(&mut self, bytes: u16, is_live: bool) {
        self.step.packets += 1;
        self.step.bytes += u32::from(bytes);
        self.step.live_bytes += if is_live { u32::from(bytes) } else { 0 };
    }

    /// It came.
    pub(super) fn came(&mut self, bytes: u16) {
        self.step.came_bytes += u32::from(bytes);
    }

    /// It did not.
    pub(super) fn lost(&mut self) {
        self.step.lost += 1;
    }

    /// One that had not come, came.
    pub(super) fn found(&mut self, bytes: u16) {
        self.step.came_bytes += u32::from(bytes);
        self.lost = (self.lost - 1.0).max(0.0);
    }

    /// It was sent so long after the one before.
    pub(super) fn sends(&mut self, ticks: u32) {
        self.step.sending_ticks = self.step.sending_ticks.saturating_add(ticks);
    }

    /// It came so long after the one before.
    pub(super) fn arrives(&mut self, ticks: u32) {
        self.step.arriving_ticks = self.step.arriving_ticks.saturating_add(ticks);
    }

    /// Ends what one report tells.
    pub(super) fn end_step(&mut self) {
        let step = std::mem::take(&mut self.step);
        let [sending, arriving] = [step.sending_ticks, step.arriving_ticks]
            .map(|ticks| f64::from(ticks) / f64::from(TICKS_PER_SECOND));
        self.live.add(step.live_bytes, sending);
        self.all.add(step.bytes, sending);
        self.came.add(step.came_bytes, arriving);
        let keeps = SECONDS / (SECONDS + sending);
        self.packets = self.packets * keeps + f64::from(step.packets);
        self.lost = self.lost * keeps + f64::from(step.lost);
    }

    /// The stream's rate, in bit/s, without what is sent again.
    pub(super) fn of_stream(&self) -> Option<f64> {
        self.live.get()
    }

    /// The rate of all that is sent, in bit/s.
    pub(super) fn of_all(&self) -> Option<f64> {
        self.all.get()
    }

    /// The rate of what comes through, in bit/s.
    pub(super) fn came_through(&self) -> Option<f64> {
        self.came.get()
    }

    /// The share of packets that do not come, from 0 to 1.
    pub(super) fn loss(&self) -> f64 {
        if self.packets < 1.0 { 0.0 } else { (self.lost / self.packets).min(1.0) }
    }
}

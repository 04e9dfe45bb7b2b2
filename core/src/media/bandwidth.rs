//! How much a viewer's way takes, by what the viewer says of what came: after Google's congestion
//! control (draft-ietf-rmcat-gcc-02), as far as that is of use to one who cannot send less.
//!
//! What is forwarded is one encoding, and not paced. So there is nothing to control, and there are
//! two differences to the draft:
//!
//! * The estimate is never below what comes through. A sender that heeds it would send less and let
//!   the queue drain; here it says what there is, and what comes through is there.
//! * A queue that stands and does not pass on what comes in is full, or on the way to it. Its delay
//!   may not grow, for which a sender who went on would take it for empty.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::rtcp::{Arrivals, TICKS_PER_SECOND, Told};
use crate::limits::Limits;

mod delay;
mod rates;
mod receivable;
mod sent;
mod verdict;

#[cfg(test)]
mod tests;

pub(crate) use receivable::Receivable;
pub(crate) use verdict::Shortage;

use delay::{Delay, Signal};
use rates::Rates;
use sent::{Fate, Sent};
use verdict::{ENOUGH, Verdict};

/// What is left of the rate that came through, when the queue grows (section 5.5).
const DECREASE: f64 = 0.85;
/// Growth in a second while the queue does not (section 5.5).
const INCREASE: f64 = 0.08;
/// The most that may be, for each bit that came through (section 5.5).
const CAP: f64 = 1.5;

/// Shares of loss: above one there is less than is sent, below the other there may be more
/// (section 6).
const LOSS_HIGH: f64 = 0.1;
const LOSS_LOW: f64 = 0.02;
/// Growth while little is lost (section 6).
const LOSS_INCREASE: f64 = 1.05;
/// Time between two looks at what was lost.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two reports that counts.
const STEP_MAX: Duration = Duration::from_secs(1);
/// The longest time between two packets that are of one flow, in ticks.
const PAUSE_TICKS_MAX: u32 = 10 * TICKS_PER_SECOND;

/// The estimate for one viewer, from transport-wide feedback.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    /// What ticks count from.
    epoch: Instant,
    /// The last moment that was asked for in ticks: all packets of a run are sent in one.
    newest: (Instant, u32),
    sent: Sent,
    delay: Delay,
    rates: Rates,
    /// The number of the last feedback.
    ordinal: Option<u8>,
    /// The last of what is told of, as it was sent and as it came, if what is next follows on it.
    flow: Flow,
    /// The estimates by delay and by loss, bit/s.
    by_delay: f64,
    by_loss: f64,
    judged: Instant,
    loss_judged: Instant,
    verdict: Verdict,
}

/// The newest packet that was told of.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    sent: Option<u32>,
    came: Option<u32>,
}

impl Bandwidth {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            newest: (now, 0),
            sent: Sent::default(),
            delay: Delay::default(),
            rates: Rates::default(),
            ordinal: None,
            flow: Flow::default(),
            by_delay: f64::INFINITY,
            by_loss: f64::INFINITY,
            judged: now,
            loss_judged: now,
            verdict: Verdict::default(),
        }
    }

    /// Notes the next packet of the transport; the first one has the number 0. One that is not
    /// live is sent again, or late, and is not a part of the stream's rate.
    pub(crate) fn note(&mut self, now: Instant, bytes: usize, is_live: bool) {
        if self.newest.0 != now {
            self.newest = (now, self.ticks(now));
        }
        self.sent.push(self.newest.1, bytes, is_live);
    }

    /// Takes what the viewer says of what came. Tells if that has been too little for some time.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        arrivals: &Arrivals<'_>,
        limits: &Limits,
    ) -> Option<Shortage> {
        let ordinal = arrivals.ordinal();
        let before = self.ordinal.replace(ordinal);
        if before.is_some_and(|before| before.wrapping_add(1) == ordinal) {
            // Some receivers begin with the first packet that came. What is between two reports
            // that follow each other did not.
            self.lose(self.sent.untold_before(arrivals.first()));
        }
        arrivals.each(|told| match told {
            Told::Came { number, at } => self.came(number, at),
            Told::Missed { first, count } => self.lose(self.sent.untold(first, count)),
        });
        self.rates.end_step();
        self.judge(now, limits)
    }

    fn came(&mut self, number: u16, at: u32) {
        let Some(position) = self.sent.position(number) else { return };
        if position < self.sent.told() {
            // It was overtaken, or is told again.
            if let Some(packet) = self.sent.get_mut(position)
                && std::mem::replace(&mut packet.fate, Fate::Came) == Fate::Missed
            {
                let bytes = packet.bytes;
                self.rates.found(bytes);
            }
            return;
        }
        let Some(packet) = self.tell(position, Fate::Came) else { return };
        self.rates.came(packet.bytes);
        self.delay.came(packet.sent, at);
        match self.flow.came.map(|before| at.wrapping_sub(before)) {
            Some(later) if later <= PAUSE_TICKS_MAX => self.rates.arrives(later),
            // It overtook others, or the receiver's clock begins anew.
            Some(later) if later.cast_signed().unsigned_abs() <= PAUSE_TICKS_MAX => return,
            Some(_) => self.delay = Delay::default(),
            None => {}
        }
        self.flow.came = Some(at);
    }

    fn lose(&mut self, positions: Range<u64>) {
        for position in positions {
            if self.tell(position, Fate::Missed).is_some() {
                self.rates.lost();
            }
        }
    }

    /// Notes what became of a packet that nothing was told of before.
    fn tell(&mut self, position: u64, fate: Fate) -> Option<sent::Packet> {
        if position != self.sent.told() {
            // What was told of those before was lost: they are neither here nor there.
            self.flow = Flow::default();
        }
        let packet = self.sent.tell(position, fate)?;
        self.rates.told(packet.bytes, packet.is_live);
        let later =
            self.flow.sent.replace(packet.sent).map(|before| packet.sent.wrapping_sub(before));
        self.rates.sends(later.unwrap_or(0).min(PAUSE_TICKS_MAX));
        Some(packet)
    }

    /// Brings the estimate up to what is known now.
    fn judge(&mut self, now: Instant, limits: &Limits) -> Option<Shortage> {
        let step = now.saturating_duration_since(self.judged).min(STEP_MAX);
        self.judged = now;
        let signal = self.delay.take_signal();
        let (came, told) = (self.rates.came_through()?, self.rates.of_all()?);
        let is_full = self.delay.has_queue() && came < ENOUGH * told;
        self.by_delay = match signal {
            Signal::Overuse => self.by_delay.min(DECREASE * came),
            Signal::Underuse => self.by_delay,
            Signal::Normal if is_full => self.by_delay.min(came),
            Signal::Normal => self.by_delay * (1.0 + INCREASE * step.as_secs_f64()),
        };
        self.by_delay = self.by_delay.min(CAP * came);
        self.judge_loss(now, came);
        let available = self.by_delay.min(self.by_loss).max(came);
        let is_held = self.delay.has_queue();
        self.verdict.judge(now, (self.rates.of_stream()?, available), is_held, limits)
    }

    fn judge_loss(&mut self, now: Instant, came: f64) {
        if now.saturating_duration_since(self.loss_judged) < LOSS_INTERVAL {
            return;
        }
        self.loss_judged = now;
        let share = self.rates.loss();
        self.by_loss = self.by_loss.min(CAP * came);
        if share > LOSS_HIGH {
            self.by_loss *= 1.0 - 0.5 * share;
        } else if share < LOSS_LOW {
            self.by_loss *= LOSS_INCREASE;
        }
    }

    /// Time since the start, in ticks that go around.
    fn ticks(&self, now: Instant) -> u32 {
        const MICROS: u32 = 1_000_000 / TICKS_PER_SECOND;
        let since = now.saturating_duration_since(self.epoch);
        let seconds = u32::try_from(since.as_secs() & 0xffff_ffff).unwrap_or(0);
        seconds.wrapping_mul(TICKS_PER_SECOND).wrapping_add(since.subsec_micros() / MICROS)
    }
}

//! The last packets of a stream, as all of its viewers share them: what waits to be sent, what may
//! have to be sent again, and where a viewer who comes late can begin.

use std::collections::VecDeque;
use std::time::Instant;

use super::packet::{Kind, Packet};
use crate::limits::Limits;

/// Slots of the index by sequence number. Two packets of a run share one only if so many are
/// between them, and then the older one cannot be found; nor can the last ones of a run whose
/// numbers end as those of the next one do.
const SLOTS: usize = 2_048;

/// How many packets may overtake the start of a key frame: as many as come while it is sent again.
const OVERTAKERS_MAX: u64 = 128;

/// The last packets of a stream in the order in which they came. Each has a position, by which
/// viewers count how far they are.
#[derive(Debug)]
pub(crate) struct History {
    packets: VecDeque<Packet>,
    /// The position of the first packet that is kept.
    first: u64,
    payload_bytes: usize,
    /// For picture: where the packet whose number ends so is, if it is kept. Sound is not sent
    /// again.
    slots: Box<[u64]>,
    keyframe: Option<Keyframe>,
}

/// Where the newest key frame begins.
#[derive(Clone, Copy, Debug)]
struct Keyframe {
    position: u64,
    run: u32,
    time: u32,
    arrived: Instant,
    /// Of picture, from there on.
    payload_bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            packets: VecDeque::new(),
            first: 0,
            payload_bytes: 0,
            slots: vec![u64::MAX; SLOTS].into_boxed_slice(),
            keyframe: None,
        }
    }
}

impl History {
    pub(crate) fn push(&mut self, packet: Packet, limits: &Limits) {
        let position = self.end();
        if packet.kind == Kind::Video {
            if let Some(slot) = self.slots.get_mut(slot_of(packet.seq)) {
                *slot = position;
            }
            self.note_keyframe(position, &packet);
        }
        self.payload_bytes += packet.payload.len();
        let now = packet.arrived;
        self.packets.push_back(packet);
        while self.has_too_much(now, limits) {
            let Some(gone) = self.packets.pop_front() else { return };
            self.payload_bytes -= gone.payload.len();
            self.first += 1;
        }
    }

    fn note_keyframe(&mut self, position: u64, packet: &Packet) {
        match &mut self.keyframe {
            // Its parameter sets, or its start, were there before.
            Some(newest) if newest.run == packet.run && newest.time == packet.time => {}
            _ if packet.entry => {
                let Packet { run, time, arrived, .. } = *packet;
                self.keyframe = Some(Keyframe { position, run, time, arrived, payload_bytes: 0 });
            }
            _ => {}
        }
        if let Some(newest) = &mut self.keyframe {
            newest.payload_bytes += packet.payload.len();
        }
    }

    /// What a late viewer begins with may have come long before what it can still ask for again.
    fn has_too_much(&self, now: Instant, limits: &Limits) -> bool {
        let age_max = limits.keyframe_cache_age_max + limits.retransmission_age_max;
        let is_old = |oldest: &Packet| now.saturating_duration_since(oldest.arrived) > age_max;
        self.packets.len() > limits.history_packets_max
            || self.payload_bytes > limits.history_bytes_max
            || self.packets.front().is_some_and(is_old)
    }

    /// The position that the next packet will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::try_from(self.packets.len()).unwrap_or(0)
    }

    /// The position of the oldest packet that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Packet> {
        let at = position.checked_sub(self.first)?;
        self.packets.get(usize::try_from(at).ok()?)
    }

    /// Finds a packet of picture by its publisher's numbers.
    pub(crate) fn find(&self, run: u32, seq: u64) -> Option<(u64, &Packet)> {
        let position = *self.slots.get(slot_of(seq))?;
        let packet = self.get(position)?;
        let is_it = packet.kind == Kind::Video && packet.run == run && packet.seq == seq;
        is_it.then_some((position, packet))
    }

    /// Where a viewer who comes now can begin with a picture at once; `None` if the newest key
    /// frame is too long ago, or too much came since.
    pub(crate) fn recent_keyframe(&self, now: Instant, limits: &Limits) -> Option<u64> {
        // One whose start is gone stays noted, or its middle would be taken for another's start.
        let keyframe = self.keyframe.filter(|keyframe| keyframe.position >= self.first)?;
        let age = now.saturating_duration_since(keyframe.arrived);
        let fits = age <= limits.keyframe_cache_age_max
            && keyframe.payload_bytes <= limits.keyframe_cache_bytes_max;
        fits.then_some(keyframe.position)
    }

    /// What a shard has to be given so that its viewers can begin at once.
    pub(crate) fn since_keyframe(
        &self,
        now: Instant,
        limits: &Limits,
    ) -> impl Iterator<Item = &Packet> {
        let start = self.recent_keyframe(now, limits).map(|at| self.before_overtakers(at));
        (start.unwrap_or(self.end())..self.end()).filter_map(|position| self.get(position))
    }

    /// The time stamp of the newest picture, by its run.
    pub(crate) fn newest_time(&self, run: u32) -> Option<u32> {
        let pictures = self.packets.iter().rev().filter(|packet| packet.kind == Kind::Video);
        let times = pictures.take_while(|packet| packet.run == run).map(|packet| packet.time);
        // Late packets may be the last that came.
        times.take(OVERTAKERS_MAX as usize).reduce(|newest, time| {
            if time.wrapping_sub(newest).cast_signed() > 0 { time } else { newest }
        })
    }

    /// From where on packets may be of a key frame whose start, at `entry`, they overtook.
    pub(crate) fn before_overtakers(&self, entry: u64) -> u64 {
        entry.saturating_sub(OVERTAKERS_MAX).max(self.first)
    }
}

fn slot_of(seq: u64) -> usize {
    usize::try_from(seq).unwrap_or(0) % SLOTS
}

#[cfg(test)]
mod tests;

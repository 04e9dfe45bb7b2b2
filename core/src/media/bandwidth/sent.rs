//! The last packets of a transport: when each was sent, and whether it came.

use std::ops::Range;

/// Packets that are kept for what will be told of them: as many as there are in half a second of
/// 10 Mbit/s.
pub(super) const PACKETS: usize = 512;

/// The last packets that were sent. Each has a position, of which its number is the low bits.
#[derive(Debug)]
pub(super) struct Sent {
    packets: Box<[Packet]>,
    /// The position of the next packet.
    next: u64,
    /// Where what was not told of yet begins.
    told: u64,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packet {
    /// When, in ticks that go around.
    pub(super) sent: u32,
    pub(super) bytes: u16,
    pub(super) is_live: bool,
    pub(super) fate: Fate,
}

/// What became of a packet, as far as that was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Fate {
    #[default]
    Unknown,
    Missed,
    Came,
}

impl Default for Sent {
    fn default() -> Self {
        let packets = vec![Packet::default(); PACKETS].into_boxed_slice();
        Self { packets, next: 0, told: 0 }
    }
}

impl Sent {
    /// Notes the next packet. Its number is one more than that of the last.
    pub(super) fn push(&mut self, sent: u32, bytes: usize, is_live: bool) {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        let packet = Packet { sent, bytes, is_live, fate: Fate::Unknown };
        if let Some(slot) = self.packets.get_mut(slot_of(self.next)) {
            *slot = packet;
        }
        self.next += 1;
    }

    /// Where what was not told of yet begins.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// The position of a packet that is kept, by its number.
    pub(super) fn position(&self, number: u16) -> Option<u64> {
        let position = self.next.checked_sub(self.age(number).into())?;
        (self.first()..self.next).contains(&position).then_some(position)
    }

    pub(super) fn get_mut(&mut self, position: u64) -> Option<&mut Packet> {
        self.packets.get_mut(slot_of(position))
    }

    /// The positions of those of so many packets that are kept and were not told of.
    pub(super) fn untold(&self, first: u16, count: u16) -> Range<u64> {
        let start = self.next.checked_sub(self.age(first).into()).unwrap_or(self.next);
        let end = (start + u64::from(count)).min(self.next);
        start.max(self.told).max(self.first())..end
    }

    /// The positions of those before one of this number that are kept and were not told of.
    pub(super) fn untold_before(&self, number: u16) -> Range<u64> {
        let end = self.position(number).unwrap_or(0);
        self.told.max(self.first())..end
    }

    /// Tells of the next packet, and that nothing was told of those before it.
    pub(super) fn tell(&mut self, position: u64, fate: Fate) -> Option<Packet> {
        let packet = self.packets.get_mut(slot_of(position))?;
        packet.fate = fate;
        let packet = *packet;
        self.told = position + 1;
        Some(packet)
    }

    /// How many were sent since one of this number, itself included.
    fn age(&self, number: u16) -> u16 {
        let next = u16::try_from(self.next & 0xffff).unwrap_or(0);
        next.wrapping_sub(number)
    }

    fn first(&self) -> u64 {
        self.next.saturating_sub(PACKETS as u64)
    }
}

fn slot_of(position: u64) -> usize {
    usize::try_from(position).unwrap_or(0) % PACKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u32) -> Sent {
        let mut sent = Sent::default();
        (0..count).for_each(|at| sent.push(at, 100, true));
        sent
    }

    #[test]
    fn a_packet_is_found_by_its_number_as_long_as_it_is_kept() {
        let mut sent = sent(70_000);
        let number = |position: u32| u16::try_from(position & 0xffff).unwrap();
        assert_eq!(sent.position(number(69_999)), Some(69_999));
        assert_eq!(sent.position(number(69_488)), Some(69_488));
        assert_eq!(sent.position(number(69_487)), None, "another has its place");
        assert_eq!(sent.position(number(70_000)), None, "it was not sent yet");
        assert_eq!(sent.get_mut(69_600).unwrap().sent, 69_600);
        assert_eq!(sent.told(), 0);
        assert_eq!(sent.tell(69_600, Fate::Came).unwrap().sent, 69_600);
        assert_eq!(sent.told(), 69_601);
    }

    #[test]
    fn what_was_never_sent_is_not_told_of() {
        let few = sent(3);
        assert_eq!(few.position(3), None);
        assert_eq!(few.position(65_535), None);
        assert_eq!(few.untold(1, 9), 1..3);
        assert!(few.untold(3, 9).is_empty());
        assert!(few.untold(65_530, 9).is_empty());
    }

    #[test]
    fn a_row_is_cut_to_what_is_kept_and_new() {
        let mut sent = sent(70_000);
        let first = u16::try_from(69_000 & 0xffff).unwrap();
        assert_eq!(sent.untold(first, 8_000), 69_488..70_000);
        assert_eq!(sent.untold(first, 600), 69_488..69_600);
        assert!(sent.untold(first, 400).is_empty());
        sent.tell(69_700, Fate::Came);
        assert_eq!(sent.untold(first, 8_000), 69_701..70_000);
        assert!(sent.untold(first, 600).is_empty());
    }

    #[test]
    fn what_is_before_a_packet_and_was_not_told_of_is_found() {
        let mut sent = sent(70_000);
        let number = |position: u32| u16::try_from(position & 0xffff).unwrap();
        assert_eq!(sent.untold_before(number(69_900)), 69_488..69_900);
        sent.tell(69_800, Fate::Came);
        assert_eq!(sent.untold_before(number(69_900)), 69_801..69_900);
        assert!(sent.untold_before(number(69_801)).is_empty());
        assert!(sent.untold_before(number(69_700)).is_empty());
        assert!(sent.untold_before(number(70_003)).is_empty());
    }

    #[test]
    fn what_is_kept_of_a_viewer_is_small() {
        assert_eq!(size_of::<Packet>() * PACKETS, 4_096);
    }
}

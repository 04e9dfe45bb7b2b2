//! The last packets of a stream's picture, for those that overtook the start of a key frame.

use std::collections::VecDeque;

use super::packet::Packet;

/// How many packets may overtake one: as many as come while it is sent again.
const PACKETS_MAX: usize = 128;

/// The last few packets of a stream.
///
/// A viewer is sent nothing before the first packet of a key frame. Where the network changed the
/// order, later packets of that frame are here before it; they must follow, because the viewer has
/// no other way to them.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Packet>);

impl Recent {
    pub(crate) fn push(&mut self, packet: &Packet) {
        if self.0.len() == PACKETS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(packet.clone());
    }

    /// What belongs behind `entry` and came before it.
    pub(crate) fn overtakers<'a>(&'a self, entry: &'a Packet) -> impl Iterator<Item = &'a Packet> {
        let behind = |packet: &&Packet| packet.run == entry.run && packet.seq > entry.seq;
        self.0.iter().filter(behind)
    }
}

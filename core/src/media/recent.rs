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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::super::packet::{Extensions, Kind};
    use super::*;

    fn packet(run: u32, seq: u64) -> Packet {
        Packet {
            kind: Kind::Video,
            run,
            seq,
            time: 0,
            marker: false,
            entry: false,
            extensions: Extensions::default(),
            payload: Arc::from([]),
            arrived: Instant::now(),
        }
    }

    fn overtakers(recent: &Recent, run: u32, seq: u64) -> Vec<u64> {
        recent.overtakers(&packet(run, seq)).map(|packet| packet.seq).collect()
    }

    #[test]
    fn only_what_is_behind_it_and_of_its_publisher_overtook_a_packet() {
        let mut recent = Recent::default();
        for (run, seq) in [(1, 21), (1, 22), (2, 9), (2, 12), (2, 11)] {
            recent.push(&packet(run, seq));
        }
        assert_eq!(overtakers(&recent, 2, 10), [12, 11], "in the order in which they came");
        assert_eq!(overtakers(&recent, 1, 21), [22]);
        assert_eq!(overtakers(&recent, 2, 12), [0; 0]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut recent = Recent::default();
        let past_bound = u64::try_from(PACKETS_MAX).unwrap() + 1;
        (1..=past_bound).for_each(|seq| recent.push(&packet(1, seq)));
        assert_eq!(overtakers(&recent, 1, 0), (2..=past_bound).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_everything_that_came(
            comes in prop::collection::vec((1u32..4, 0u64..300), 0..400),
            asked in prop::collection::vec((0u32..5, 0u64..300), 1..8),
        ) {
            let mut recent = Recent::default();
            let mut plain = BTreeMap::new();
            for (nth, (run, seq)) in comes.iter().enumerate() {
                recent.push(&packet(*run, *seq));
                plain.insert(nth, (*run, *seq));
            }
            let since = comes.len().saturating_sub(PACKETS_MAX);
            for (run, seq) in asked {
                let came = plain.range(since..).map(|(_, came)| *came);
                let behind = came.filter(|(of, its)| *of == run && *its > seq);
                let behind: Vec<u64> = behind.map(|(_, seq)| seq).collect();
                prop_assert_eq!(overtakers(&recent, run, seq), behind);
            }
        }
    }
}

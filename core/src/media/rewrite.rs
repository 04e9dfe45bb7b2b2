//! Sequence numbers and time stamps as one viewer sees them: continuous, whoever publishes.

use std::time::{Duration, Instant};

use super::packet::Packet;

/// Maps the publishers' numbers of one track onto one viewer's.
///
/// Within a run of one publisher the distance between packets is kept, so that losses stay
/// visible and late packets find their place. Where one run follows another, numbers go on from
/// the highest, and time by as much as passed on the clock.
#[derive(Debug)]
pub(crate) struct Rewriter {
    clock_rate: u32,
    /// Where the numbers start.
    first_seq: u64,
    state: Option<State>,
}

#[derive(Debug)]
struct State {
    run: u32,
    /// Added to a publisher's number.
    seq_offset: i64,
    /// Added to a publisher's time stamp.
    time_offset: u32,
    /// The number that this run began with: what comes late from before it would be of a picture
    /// that the viewer cannot have, or repeat a number.
    seq_min: u64,
    highest_seq: u64,
    highest_time: u32,
    highest_arrived: Instant,
}

/// A packet's numbers for one viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Numbers {
    /// Extended over roll-overs.
    pub(crate) seq: u64,
    pub(crate) time: u32,
}

impl Rewriter {
    /// `clock_rate` in Hz. `first_seq` is the viewer's first number; RFC 3711, section 3.3.1
    /// wants it below 2^15 so that both sides agree on the roll-over counter.
    pub(crate) fn new(clock_rate: u32, first_seq: u16) -> Self {
        Self { clock_rate, first_seq: u64::from(first_seq & 0x7fff), state: None }
    }

    /// Gives the packet's numbers, or `None` for one that must not be sent: it is from a run that
    /// is over, or from before the point where its run began.
    pub(crate) fn rewrite(&mut self, packet: &Packet) -> Option<Numbers> {
        let state = match &mut self.state {
            Some(state) if state.run == packet.run => state,
            Some(state) if packet.run < state.run => return None,
            earlier => {
                let next =
                    Self::take_over(earlier.as_ref(), self.first_seq, self.clock_rate, packet);
                earlier.insert(next)
            }
        };
        let seq = packet.seq.checked_add_signed(state.seq_offset)?;
        if seq < state.seq_min {
            return None;
        }
        let time = packet.time.wrapping_add(state.time_offset);
        if seq > state.highest_seq {
            state.highest_seq = seq;
            state.highest_time = time;
            state.highest_arrived = packet.arrived;
        }
        Some(Numbers { seq, time })
    }

    fn take_over(
        before: Option<&State>,
        first_seq: u64,
        clock_rate: u32,
        packet: &Packet,
    ) -> State {
        let (seq, time) = match before {
            None => (first_seq, packet.time),
            Some(before) => {
                let seq = before.highest_seq + 1;
                let passed = packet.arrived.saturating_duration_since(before.highest_arrived);
                let ticks = ticks(passed, clock_rate).max(1);
                (seq, before.highest_time.wrapping_add(ticks))
            }
        };
        State {
            run: packet.run,
            seq_offset: seq.cast_signed().wrapping_sub(packet.seq.cast_signed()),
            time_offset: time.wrapping_sub(packet.time),
            seq_min: seq,
            highest_seq: seq,
            highest_time: time,
            highest_arrived: packet.arrived,
        }
    }
}

/// A duration in a codec's clock, modulo 2^32 as RTP counts.
fn ticks(duration: Duration, clock_rate: u32) -> u32 {
    let ticks = duration.as_micros() * u128::from(clock_rate) / 1_000_000;
    u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::packet::{Extensions, Kind};
    use super::*;

    fn packet(run: u32, seq: u64, time: u32, arrived: Instant) -> Packet {
        Packet {
            kind: Kind::Video,
            run,
            seq,
            time,
            marker: false,
            entry: true,
            extensions: Extensions::default(),
            payload: Arc::from([]),
            arrived,
        }
    }

    #[test]
    fn a_second_publisher_goes_on_where_the_first_ended() {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 0x1234);
        let first = rewriter.rewrite(&packet(1, 70_000, 5_000, start)).unwrap();
        assert_eq!(first, Numbers { seq: 0x1234, time: 5_000 });
        let later = start + Duration::from_secs(2);
        let second = rewriter.rewrite(&packet(2, 3, 77, later)).unwrap();
        assert_eq!(second, Numbers { seq: 0x1235, time: 185_000 });
        assert_eq!(rewriter.rewrite(&packet(1, 70_001, 8_000, later)), None, "the first is over");
        assert_eq!(rewriter.rewrite(&packet(2, 2, 70, later)), None, "it would repeat a number");
    }

    proptest! {
        /// Against a plain reference: within a run every distance is kept; across runs numbers
        /// never repeat and never go back.
        #[test]
        fn keeps_distances_and_never_repeats(
            runs in prop::collection::vec(
                (0u64..1 << 20, any::<u32>(), prop::collection::vec(0u64..40, 1..30)), 1..5),
        ) {
            let start = Instant::now();
            let mut rewriter = Rewriter::new(90_000, 0x2000);
            let mut ms = 0;
            let mut highest = 0;
            for (run, (base_seq, base_time, offsets)) in (1u32..).zip(&runs) {
                let floor = highest;
                let mut reference: Option<(u64, Numbers)> = None;
                for offset in offsets {
                    ms += 10;
                    let time = base_time.wrapping_add(u32::try_from(offset * 3_000).unwrap());
                    let arrived = start + Duration::from_millis(ms);
                    let given = rewriter.rewrite(&packet(run, base_seq + offset, time, arrived));
                    let Some(given) = given else {
                        prop_assert!(reference.is_some_and(|(first, _)| *offset < first));
                        continue;
                    };
                    prop_assert!(given.seq > floor);
                    let (first, at) = *reference.get_or_insert((*offset, given));
                    let distance = offset.cast_signed() - first.cast_signed();
                    prop_assert_eq!(given.seq, at.seq.checked_add_signed(distance).unwrap());
                    let distance_time = (distance * 3_000) as u32;
                    prop_assert_eq!(given.time, at.time.wrapping_add(distance_time));
                    highest = highest.max(given.seq);
                }
            }
        }
    }
}

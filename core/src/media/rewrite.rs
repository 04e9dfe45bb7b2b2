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

    /// The publisher's numbers, run and sequence, of what the viewer has under the number that ends
    /// so; `None` if that is not of the run that is on.
    pub(crate) fn original(&self, seq: u16) -> Option<(u32, u64)> {
        let state = self.state.as_ref()?;
        let behind = u16::try_from(state.highest_seq & 0xffff).unwrap_or(0).wrapping_sub(seq);
        let seq = state.highest_seq.checked_sub(behind.into())?;
        let original = seq.checked_add_signed(state.seq_offset.wrapping_neg())?;
        (seq >= state.seq_min).then_some((state.run, original))
    }

    /// The time stamp of the newest packet, and when that came in here.
    pub(crate) fn newest(&self) -> Option<(u32, Instant)> {
        self.state.as_ref().map(|state| (state.highest_time, state.highest_arrived))
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
pub(crate) fn ticks(duration: Duration, clock_rate: u32) -> u32 {
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

    /// What may come next.
    #[derive(Clone, Debug)]
    enum Come {
        /// The publisher's next packet, so much later and after some that were lost.
        Next { lost: u64, ms: u64 },
        /// One from before its newest: late, or for the second time.
        Earlier { back: u64 },
        /// The first packet of another publisher, who may have been preceded by some unheard.
        Another { unheard: u32, seq: u64, time: u32, ms: i64 },
        /// One of an earlier publisher, after all.
        Over { back: u32, seq: u64 },
    }

    fn come() -> impl Strategy<Value = Come> {
        // Frames, pauses of minutes, and waits in which a clock of 90 kHz goes all the way round.
        let ms = prop_oneof![8 => 0u64..50, 2 => 0u64..1_000_000, 1 => 0u64..200_000_000];
        let another = prop_oneof![-30i64..1_000_000, 0i64..200_000_000];
        let lost = prop_oneof![8 => Just(0u64), 2 => 0u64..10, 1 => 0u64..70_000];
        let earlier = prop_oneof![8 => 0u64..20, 1 => 0u64..70_000];
        // Every number's edges: of 16 bits, of 32, and the first ever.
        let seq = prop_oneof![0u64..20, 65_500u64..65_600, (1 << 32) - 20..(1u64 << 32) + 20];
        let time = prop_oneof![any::<u32>(), 0u32..50_000, u32::MAX - 50_000..=u32::MAX];
        prop_oneof![
            10 => (lost, ms).prop_map(|(lost, ms)| Come::Next { lost, ms }),
            4 => earlier.prop_map(|back| Come::Earlier { back }),
            2 => (0u32..3, seq.clone(), time, another)
                .prop_map(|(unheard, seq, time, ms)| Come::Another { unheard, seq, time, ms }),
            1 => (1u32..3, seq).prop_map(|(back, seq)| Come::Over { back, seq }),
        ]
    }

    /// Publishers of one track, one after the other.
    struct Publishers {
        now: Instant,
        run: u32,
        newest: (u64, u32),
    }

    impl Publishers {
        fn send(&mut self, come: &Come) -> Packet {
            let (seq, time) = self.newest;
            match *come {
                Come::Next { lost, ms } => {
                    self.now += Duration::from_millis(ms);
                    let ticks = u32::try_from(ms * 90 % (1 << 32)).unwrap();
                    self.newest = (seq + lost + 1, time.wrapping_add(ticks));
                }
                Come::Earlier { back } => {
                    let back = back.min(seq);
                    let ticks = u32::try_from(back * 90).unwrap();
                    return packet(self.run, seq - back, time.wrapping_sub(ticks), self.now);
                }
                Come::Another { unheard, seq, time, ms } => {
                    // Another shard's packets may have come in before the last of ours.
                    let step = Duration::from_millis(ms.unsigned_abs());
                    self.now = if ms < 0 { self.now - step } else { self.now + step };
                    self.run += 1 + unheard;
                    self.newest = (seq, time);
                }
                Come::Over { back, seq } => {
                    return packet(self.run.saturating_sub(back), seq, time, self.now);
                }
            }
            packet(self.run, self.newest.0, self.newest.1, self.now)
        }
    }

    /// The same rules by searching through everything that ever went out.
    struct Plain {
        clock_rate: u32,
        first_seq: u64,
        sent: Vec<(Packet, Numbers)>,
    }

    impl Plain {
        fn rewrite(&mut self, packet: &Packet) -> Option<Numbers> {
            if self.sent.iter().any(|(sent, _)| sent.run > packet.run) {
                return None;
            }
            let first = self.sent.iter().find(|(sent, _)| sent.run == packet.run);
            let newest = self.sent.iter().rev().max_by_key(|(_, given)| given.seq);
            let numbers = match (first, newest) {
                (Some((first, _)), _) if packet.seq < first.seq => return None,
                (Some((first, given)), _) => Numbers {
                    seq: given.seq + (packet.seq - first.seq),
                    time: given.time.wrapping_add(packet.time.wrapping_sub(first.time)),
                },
                (None, Some((newest, given))) => {
                    let passed = packet.arrived.saturating_duration_since(newest.arrived);
                    let ticks = passed.as_millis() * u128::from(self.clock_rate) / 1000 % (1 << 32);
                    let ticks = u32::try_from(ticks).unwrap().max(1);
                    Numbers { seq: given.seq + 1, time: given.time.wrapping_add(ticks) }
                }
                (None, None) => Numbers { seq: self.first_seq, time: packet.time },
            };
            self.sent.push((packet.clone(), numbers));
            Some(numbers)
        }

        /// Whether one number stands for two packets: a viewer would take one for the other.
        fn repeats(&self) -> bool {
            let mut given: Vec<_> =
                self.sent.iter().map(|(sent, given)| (given.seq, sent.run, sent.seq)).collect();
            given.sort_unstable();
            given.dedup();
            given.windows(2).any(|pair| pair[0].0 == pair[1].0)
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_a_plain_search(
            clock_rate in prop::sample::select(vec![8_000, 48_000, 90_000]),
            first_seq: u16,
            begins in (0u64..1 << 33, any::<u32>()),
            comes in prop::collection::vec(come(), 1..60),
        ) {
            let mut rewriter = Rewriter::new(clock_rate, first_seq);
            let first_seq = u64::from(first_seq % 0x8000);
            let mut plain = Plain { clock_rate, first_seq, sent: Vec::new() };
            let now = Instant::now() + Duration::from_secs(3600);
            let mut publishers = Publishers { now, run: 1, newest: begins };
            for come in &comes {
                let packet = publishers.send(come);
                prop_assert_eq!(rewriter.rewrite(&packet), plain.rewrite(&packet), "{:?}", come);
            }
            prop_assert!(!plain.repeats());
        }
    }
}

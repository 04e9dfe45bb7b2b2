//! What a viewer knows of one track by the numbers on its packets: what came, what is missing,
//! and what it has to say about that.

use std::time::Duration;

use crate::browser::Codec;

/// A packet that is missing is asked for this often, as browsers do.
const ASKS_MAX: u8 = 10;
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A jump beyond this is a new beginning to a receiver, not a loss (RFC 3550, appendix A.1).
const JUMP_MAX: u64 = 3_000;

/// One track of a viewer.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) codec: Codec,
    pub(super) ssrc: u32,
    pub(super) rtx: Option<u32>,
    /// Sequence number of the newest packet with the rollovers before it.
    newest: Option<u64>,
    rtx_newest: Option<u64>,
    missing: Vec<Missing>,
    counted: Option<Counted>,
    report: Report,
    jitter: Jitter,
    /// Middle of the last sender report's NTP time, and when it came.
    sender_report: Option<(u32, Duration)>,
}

#[derive(Clone, Debug)]
struct Missing {
    sequence: u64,
    asked: u8,
    ask_at: Duration,
}

/// A span of sequence numbers, and what came of it.
#[derive(Clone, Debug)]
struct Counted {
    first: u64,
    last: Option<u64>,
    count: Count,
    last_gap: Option<u64>,
}

/// What came while it was counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Count {
    /// Packets, each once.
    pub(super) packets: u64,
    /// Of these, packets that came after a later one.
    pub(super) late: u64,
    /// Packets that never came.
    pub(super) lost: u64,
    /// Runs of such packets.
    pub(super) gaps: u64,
}

/// What a receiver report counts from (RFC 3550, appendix A.3).
#[derive(Clone, Debug, Default)]
struct Report {
    base: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
}

/// Interarrival jitter (RFC 3550, appendix A.8), in 16ths of a tick.
#[derive(Clone, Debug, Default)]
struct Jitter {
    transit: Option<u32>,
    value: u32,
}

/// One block of a receiver report (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block {
    pub(super) ssrc: u32,
    pub(super) fraction_lost: u8,
    pub(super) lost: u32,
    pub(super) newest: u32,
    pub(super) jitter: u32,
    pub(super) last_report: u32,
    pub(super) since_report: u32,
}

/// How a packet came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// Newer than all before, right after the newest.
    Next,
    /// Newer than all before; so many in between are missing.
    Jumped(u64),
    /// It was missing.
    Late,
    /// It came before, or too late to matter.
    Again,
}

impl Track {
    pub(super) fn new(codec: Codec, ssrc: u32, rtx: Option<u32>) -> Self {
        Self {
            codec,
            ssrc,
            rtx,
            newest: None,
            rtx_newest: None,
            missing: Vec::new(),
            counted: None,
            report: Report::default(),
            jitter: Jitter::default(),
            sender_report: None,
        }
    }

    /// A sequence number with the rollovers before it. `None`: it is from before the first.
    pub(super) fn extend(&self, sequence: u16) -> Option<u64> {
        extend(self.newest, sequence)
    }

    /// The same for a retransmission's own sequence number, which is taken note of.
    pub(super) fn extend_rtx(&mut self, sequence: u16) -> Option<u64> {
        let index = extend(self.rtx_newest, sequence)?;
        self.rtx_newest = self.rtx_newest.max(Some(index));
        Some(index)
    }

    /// Takes note of a packet.
    pub(super) fn arrive(&mut self, at: Duration, sequence: u64) -> Arrival {
        let arrival = self.place(at, sequence);
        if arrival != Arrival::Again {
            self.report.received += 1;
            if let Some(counted) = self.counted.as_mut().filter(|it| it.includes(sequence)) {
                counted.count.packets += 1;
                counted.count.late += u64::from(arrival == Arrival::Late);
            }
        }
        arrival
    }

    fn place(&mut self, at: Duration, sequence: u64) -> Arrival {
        let Some(newest) = self.newest else {
            self.newest = Some(sequence);
            self.report.base = sequence;
            return Arrival::Next;
        };
        if sequence <= newest {
            let found = self.missing.binary_search_by_key(&sequence, |it| it.sequence);
            return match found {
                Ok(index) => {
                    self.missing.remove(index);
                    Arrival::Late
                }
                Err(_) => Arrival::Again,
            };
        }
        self.newest = Some(sequence);
        if sequence - newest > JUMP_MAX {
            // All of them at once: nobody has so much to send again.
            self.give_up((newest + 1)..sequence);
            return Arrival::Jumped(sequence - newest - 1);
        }
        let skipped = (newest + 1)..sequence;
        self.missing.extend(skipped.map(|sequence| Missing { sequence, asked: 0, ask_at: at }));
        match sequence - newest - 1 {
            0 => Arrival::Next,
            skipped => Arrival::Jumped(skipped),
        }
    }

    /// Whether it is a picture of which nothing is missing.
    pub(super) fn moves(&self) -> bool {
        self.codec.is_video() && self.missing.is_empty()
    }

    /// The packets that are to be asked for now, put into `asked`. Tells whether some were given
    /// up, because they were asked for in vain.
    pub(super) fn ask(&mut self, now: Duration, asked: &mut Vec<u16>) -> bool {
        let hopeless = |it: &Missing| it.asked >= ASKS_MAX && it.ask_at <= now;
        let given_up = self.missing.iter().take_while(|it| hopeless(it)).count();
        let hopeless: Vec<u64> = self.missing.drain(..given_up).map(|it| it.sequence).collect();
        for sequence in hopeless {
            self.give_up(sequence..sequence + 1);
        }
        for it in &mut self.missing {
            if it.ask_at <= now && it.asked < ASKS_MAX {
                it.asked += 1;
                it.ask_at = now + ASK_AGAIN;
                asked.push(low(it.sequence));
            }
        }
        given_up > 0
    }

    fn give_up(&mut self, sequences: std::ops::Range<u64>) {
        let Some(counted) = &mut self.counted else { return };
        let last = counted.last.map_or(sequences.end, |last| sequences.end.min(last + 1));
        let sequences = sequences.start.max(counted.first)..last;
        if !sequences.is_empty() {
            let adjoins = counted.last_gap.is_some_and(|gap| gap + 1 == sequences.start);
            counted.count.gaps += u64::from(!adjoins);
            counted.last_gap = Some(sequences.end - 1);
        }
    }

    /// Counts from the next packet on.
    pub(super) fn count(&mut self) {
        let first = self.newest.map_or(0, |newest| newest + 1);
        self.counted = Some(Counted { first, last: None, count: Count::default(), last_gap: None });
    }

    /// Counts no packet that was sent after the newest one, but still those before it.
    pub(super) fn count_no_further(&mut self) {
        match (&mut self.counted, self.newest) {
            (Some(counted), Some(newest)) => counted.last = Some(newest),
            // Nothing came at all.
            (counted, _) => *counted = None,
        }
    }

    /// What was counted.
    pub(super) fn counted(&mut self) -> Count {
        let rest: Vec<u64> = self.missing.drain(..).map(|it| it.sequence).collect();
        for sequence in rest {
            self.give_up(sequence..sequence + 1);
        }
        let (Some(counted), Some(newest)) = (&self.counted, self.newest) else {
            return Count::default();
        };
        let last = counted.last.unwrap_or(newest);
        // Where nothing came before, counting began at 0, and with the first that came.
        let first = counted.first.max(self.report.base);
        let expected = (last + 1).saturating_sub(first);
        let lost = expected.saturating_sub(counted.count.packets);
        Count { lost, ..counted.count }
    }

    /// Takes note of when a packet came that was stamped with `timestamp`.
    pub(super) fn time(&mut self, at: Duration, timestamp: u32) {
        // In 64 bits: this is done for every packet.
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let ticks = micros.wrapping_mul(self.codec.clock_rate().into()) / 1_000_000;
        let transit = low_word(ticks.into()).wrapping_sub(timestamp);
        if let Some(before) = self.jitter.transit.replace(transit) {
            let apart = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A clock that jumps is no jitter.
            if apart < self.codec.clock_rate() {
                let value = self.jitter.value;
                self.jitter.value = value + apart - ((value + 8) >> 4);
            }
        }
    }

    /// Takes note of a sender report, by the middle of its NTP time.
    pub(super) fn sender_report(&mut self, at: Duration, middle: u32) {
        self.sender_report = Some((middle, at));
    }

    /// What a receiver report says of this track; `None` if nothing came yet.
    pub(super) fn block(&mut self, now: Duration) -> Option<Block> {
        let newest = self.newest?;
        let report = &mut self.report;
        let expected = newest + 1 - report.base;
        let expected_since = expected - report.expected_before;
        let received_since = report.received - report.received_before;
        let lost_since = expected_since.saturating_sub(received_since);
        (report.expected_before, report.received_before) = (expected, report.received);
        let fraction = (lost_since * 256).checked_div(expected_since).unwrap_or_default();
        let (last_report, since_report) = match self.sender_report {
            None => (0, 0),
            // In units of 1/65536 s.
            Some((middle, at)) => {
                let since = now.saturating_sub(at).as_micros() * 65_536 / 1_000_000;
                (middle, low_word(since))
            }
        };
        Some(Block {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: u32::try_from(expected.saturating_sub(report.received))
                .map_or(0x7f_ffff, |lost| lost.min(0x7f_ffff)),
            newest: low_word(newest.into()),
            jitter: self.jitter.value >> 4,
            last_report,
            since_report,
        })
    }
}

impl Counted {
    fn includes(&self, sequence: u64) -> bool {
        sequence >= self.first && self.last.is_none_or(|last| sequence <= last)
    }
}

impl Count {
    /// The share of packets that never came.
    pub(super) fn loss(&self) -> f64 {
        self.lost as f64 / (self.packets + self.lost).max(1) as f64
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.late += other.late;
        self.lost += other.lost;
        self.gaps += other.gaps;
    }
}

/// The number nearest to `newest` that ends in `sequence`.
fn extend(newest: Option<u64>, sequence: u16) -> Option<u64> {
    let Some(newest) = newest else { return Some(sequence.into()) };
    let ahead = sequence.wrapping_sub(low(newest)).cast_signed();
    newest.checked_add_signed(ahead.into())
}

/// The sequence number as it is on the packet.
fn low(sequence: u64) -> u16 {
    let [.., high, low] = sequence.to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn low_word(value: u128) -> u32 {
    let [.., a, b, c, d] = value.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn track() -> Track {
        Track::new(Codec::H264, 7, None)
    }

    fn arrive(track: &mut Track, at: Duration, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            let sequence = track.extend(sequence).unwrap();
            track.arrive(at, sequence);
        }
    }

    #[test]
    fn numbers_roll_over_in_both_directions() {
        let mut track = track();
        arrive(&mut track, MS, [65_534, 65_535, 0, 1]);
        assert_eq!(track.newest, Some(65_537));
        assert_eq!(track.extend(65_533), Some(65_533));
        let mut young = self::track();
        arrive(&mut young, MS, [1]);
        assert_eq!(young.extend(65_533), None);
    }

    #[test]
    fn what_is_counted_is_what_was_sent_in_between() {
        let mut track = track();
        arrive(&mut track, MS, [10, 12]);
        track.count();
        // 11 is from before. 14 comes late, 16 and 17 never, 19 twice, 22 after the end.
        arrive(&mut track, MS, [13, 15, 11, 14, 18, 19, 19, 21]);
        track.count_no_further();
        arrive(&mut track, MS, [22, 20]);
        let count = Count { packets: 7, late: 2, lost: 2, gaps: 1 };
        assert_eq!(track.counted(), count);
    }

    #[test]
    fn a_track_that_begins_while_it_is_counted_begins_with_its_first_packet() {
        let mut track = track();
        track.count();
        assert_eq!(track.counted(), Count::default());
        arrive(&mut track, MS, [500, 501, 503]);
        assert_eq!(track.counted(), Count { packets: 3, late: 0, lost: 1, gaps: 1 });

        let mut never = self::track();
        never.count();
        never.count_no_further();
        arrive(&mut never, MS, [0, 2]);
        assert_eq!(never.counted(), Count::default());
    }

    #[test]
    fn missing_packets_are_asked_for_until_there_is_no_hope() {
        let mut track = track();
        track.count();
        arrive(&mut track, MS, [1, 3, 6]);
        let mut asked = Vec::new();
        assert!(!track.ask(MS, &mut asked) && !track.moves());
        assert_eq!(asked, [2, 4, 5]);
        asked.clear();
        assert!(!track.ask(99 * MS, &mut asked));
        assert_eq!(asked, [0; 0]);
        arrive(&mut track, MS, [4]);
        for round in 1..10 {
            asked.clear();
            assert!(!track.ask((1 + 100 * round) * MS, &mut asked));
            assert_eq!(asked, [2, 5], "{round}");
        }
        assert!(track.ask(1_001 * MS, &mut asked));
        assert!(track.missing.is_empty() && track.moves());
        assert_eq!(track.counted(), Count { packets: 4, late: 1, lost: 2, gaps: 2 });
    }

    #[test]
    fn a_jump_is_no_reason_to_ask() {
        let mut track = track();
        track.count();
        arrive(&mut track, MS, [1, 20_000]);
        let mut asked = Vec::new();
        track.ask(MS, &mut asked);
        assert_eq!(asked, [0; 0]);
        assert_eq!(track.counted(), Count { packets: 2, late: 0, lost: 19_998, gaps: 1 });
    }

    #[test]
    fn reports_say_what_was_lost_since_the_last_one() {
        let mut track = track();
        assert_eq!(track.block(MS), None);
        arrive(&mut track, MS, [65_535, 0, 2, 3]);
        let block = track.block(MS).unwrap();
        assert_eq!((block.fraction_lost, block.lost, block.newest), (51, 1, 65_539));
        assert_eq!((block.last_report, block.since_report), (0, 0));
        track.sender_report(1_000 * MS, 77);
        let block = track.block(1_500 * MS).unwrap();
        assert_eq!((block.fraction_lost, block.lost), (0, 1));
        assert_eq!((block.last_report, block.since_report), (77, 32_768));
    }

    #[test]
    fn jitter_is_none_where_packets_come_as_they_were_sent() {
        let mut track = track();
        for n in 0..100 {
            track.time(n * 20 * MS, n * 1_800);
        }
        assert_eq!(track.jitter.value, 0);
        for n in 100..300 {
            track.time(n * 20 * MS + n % 2 * 10 * MS, n * 1_800);
        }
        // 10 ms to and fro are 900 ticks.
        assert!((850..=900).contains(&(track.jitter.value >> 4)), "{}", track.jitter.value >> 4);
    }
}

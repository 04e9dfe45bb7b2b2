//! The estimate on simulated ways.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::media::rtcp::{self, Feedback};
use crate::rng::Rng;
use crate::tests::Bench;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// Bytes of the packets of a picture, and of sound.
const PICTURE_BYTES: usize = 1_100;
const SOUND_BYTES: usize = 80;

/// What lies between a viewer and us.
#[derive(Clone, Copy)]
struct Way {
    /// bit/s
    capacity: f64,
    delay: Duration,
    /// What comes on top, by chance.
    jitter: Duration,
    loss: f64,
    /// How long a packet waits at most.
    queue: Duration,
    feedback_loss: f64,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            capacity: 50e6,
            delay: 30 * MS,
            jitter: Duration::ZERO,
            loss: 0.0,
            queue: 200 * MS,
            feedback_loss: 0.0,
        }
    }
}

impl Way {
    fn of(capacity: f64) -> Self {
        Self { capacity, ..Self::default() }
    }
}

/// A stream of 30 pictures and 50 packets of sound in a second, its viewer, and the way there.
struct Link {
    way: Way,
    rng: Rng,
    start: Instant,
    now: Instant,
    bandwidth: Bandwidth,
    limits: Limits,
    /// bit/s
    rate: f64,
    /// How many times as long as others one in sixty pictures is.
    key_frame: f64,
    pictures: u32,
    debt: f64,
    next_number: u16,
    /// The way is taken until then.
    busy: Instant,
    /// What is on its way, and when it is there.
    flying: VecDeque<(u16, Instant)>,
    /// What the viewer has, and not told of.
    arrived: Vec<(u16, Instant)>,
    told: u16,
    /// Whether its feedback begins with the first that came, in place of the first that is due.
    begins_with_what_came: bool,
    feedbacks: u8,
    shortages: Vec<(Duration, Shortage)>,
}

impl Link {
    /// With a stream of so many bit/s.
    fn new(rate: f64, way: Way) -> Self {
        let now = Bench::new().now;
        Self {
            way,
            rng: Rng::new([7; 32]),
            start: now,
            now,
            bandwidth: Bandwidth::new(now),
            limits: Limits::default(),
            rate,
            key_frame: 1.0,
            pictures: 0,
            debt: 0.0,
            next_number: 0,
            busy: now,
            flying: VecDeque::new(),
            arrived: Vec::new(),
            told: 0,
            begins_with_what_came: false,
            feedbacks: 0,
            shortages: Vec::new(),
        }
    }

    fn chance(&mut self, share: f64) -> bool {
        f64::from(u32::from_be_bytes(self.rng.bytes())) < share * f64::from(u32::MAX)
    }

    fn span(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(u32::from_be_bytes(self.rng.bytes())) / f64::from(u32::MAX))
    }

    fn send(&mut self, bytes: usize) {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.bandwidth.note(self.now, bytes, true);
        let takes = Duration::from_secs_f64(8.0 * bytes as f64 / self.way.capacity);
        let begins = self.busy.max(self.now);
        if begins - self.now > self.way.queue || self.chance(self.way.loss) {
            return;
        }
        self.busy = begins + takes;
        let at = self.busy + self.way.delay + self.span(self.way.jitter);
        self.flying.push_back((number, at));
    }

    /// One millisecond goes by.
    fn step(&mut self) {
        self.now += MS;
        let ms = (self.now - self.start).as_millis();
        if ms.is_multiple_of(20) {
            self.send(SOUND_BYTES);
        }
        if ms.is_multiple_of(33) {
            // So that the mean over sixty pictures is the rate.
            let is_key = self.pictures.is_multiple_of(60);
            self.pictures += 1;
            let share = 60.0 / (59.0 + self.key_frame) * if is_key { self.key_frame } else { 1.0 };
            self.debt += (self.rate / 8.0 - 50.0 * SOUND_BYTES as f64) * 0.033 * share;
            while self.debt > 0.0 {
                self.send(PICTURE_BYTES);
                self.debt -= PICTURE_BYTES as f64;
            }
        }
        let now = self.now;
        let arrived = self.flying.iter().copied().filter(|(_, at)| *at <= now);
        self.arrived.extend(arrived);
        self.flying.retain(|(_, at)| *at > now);
        if ms.is_multiple_of(50) && !self.arrived.is_empty() {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.sort_by_key(|(number, _)| number.wrapping_sub(self.told).cast_signed());
        let first = if self.begins_with_what_came { arrived[0].0 } else { self.told };
        let body = feedback(self.start, first, self.feedbacks, &arrived);
        self.feedbacks = self.feedbacks.wrapping_add(1);
        self.told = arrived.last().unwrap().0.wrapping_add(1);
        if self.chance(self.way.feedback_loss) {
            return;
        }
        let mut shortage = None;
        rtcp::read(&body, |feedback| {
            let Feedback::Arrivals(arrivals) = feedback else { panic!("{feedback:?}") };
            shortage = self.bandwidth.hear(self.now, &arrivals, &self.limits);
        });
        self.shortages.extend(shortage.map(|shortage| (self.now - self.start, shortage)));
    }

    fn run(&mut self, time: Duration) {
        (0..time.as_millis()).for_each(|_| self.step());
    }

    /// What was said since the last call, with the time.
    fn said(&mut self) -> Vec<(Duration, Shortage)> {
        std::mem::take(&mut self.shortages)
    }

    /// What is said of a stream of 2 Mbit/s within half a minute.
    fn said_of(way: Way) -> Vec<(Duration, Shortage)> {
        let mut link = Self::new(2e6, way);
        link.run(30 * SECOND);
        link.said()
    }
}

/// One packet of feedback: a row of two-bit symbols, and only wide differences.
fn feedback(start: Instant, told: u16, ordinal: u8, arrived: &[(u16, Instant)]) -> Vec<u8> {
    let first = told.min(arrived[0].0);
    let last = arrived.last().unwrap().0;
    let mut symbols = Vec::new();
    let (mut differences, mut at) = (Vec::new(), 0i64);
    for number in 0..=last.wrapping_sub(first) {
        let number = first.wrapping_add(number);
        let Some((_, came)) = arrived.iter().find(|(other, _)| *other == number) else {
            symbols.push(0u16);
            continue;
        };
        let ticks = i64::try_from((*came - start).as_micros() / 250).unwrap();
        if at == 0 {
            at = ticks / 256 * 256;
            differences.extend(u32::try_from(ticks / 256).unwrap().to_be_bytes());
        }
        symbols.push(2);
        differences.extend(i16::try_from(ticks - at).unwrap().to_be_bytes());
        at = ticks;
    }
    let reference = differences.drain(..4).collect::<Vec<u8>>();
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 9];
    body.extend(first.to_be_bytes());
    body.extend(u16::try_from(symbols.len()).unwrap().to_be_bytes());
    body.extend(&reference[1..]);
    body.push(ordinal);
    for seven in symbols.chunks(7) {
        let word = seven.iter().fold(0u16, |word, symbol| word << 2 | symbol);
        let word = word << (2 * (7 - seven.len()));
        body.extend((0xc000 | word).to_be_bytes());
    }
    body.extend(differences);
    body.resize(body.len().next_multiple_of(4), 0);
    let words = u16::try_from(body.len() / 4).unwrap().to_be_bytes();
    [&[0x8f, 205], words.as_slice(), &body].concat()
}

#[test]
fn where_there_is_enough_nothing_is_said() {
    for capacity in [2.2e6, 3e6, 5e6, 20e6, 1e9] {
        let said = Link::said_of(Way::of(capacity));
        assert_eq!(said, [], "{capacity}");
    }
}

/// However long the queue before the narrow place is.
#[test]
fn where_there_is_too_little_it_is_said_soon_and_for_as_long_as_it_is_so() {
    for queue in [20 * MS, 100 * MS, 500 * MS, 3 * SECOND] {
        for share in [0.85, 0.7, 0.5, 0.25] {
            let said = Link::said_of(Way { queue, ..Way::of(2e6 * share) });
            let times: Vec<Duration> = said.iter().map(|(at, _)| *at).collect();
            let context = format!("{queue:?} {share}: {said:?}");
            assert!(times.first().is_some_and(|at| *at < 9 * SECOND), "{context}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5 * SECOND), "{context}");
            assert!(times.len() >= 3, "{context}");
            let (_, last) = said.last().unwrap();
            let near = |found: u64, bitrate: f64| (found as f64 / bitrate - 1.0).abs() < 0.1;
            assert!(near(last.stream, 2e6), "{context}");
            // A queue that is shorter than a picture takes less than passes through it.
            let is_whole = queue >= 100 * MS;
            assert!(!is_whole || near(last.available, 2e6 * share), "{context}");
            assert!(last.available < last.stream, "{context}");
        }
    }
}

/// What was lost between two reports is neither in one nor in the other then.
#[test]
fn where_a_report_begins_makes_no_difference() {
    let rates = |begins_with_what_came| {
        let mut link = Link::new(2e6, Way::of(0.6e6));
        link.begins_with_what_came = begins_with_what_came;
        link.run(10 * SECOND);
        link.said().last().unwrap().1
    };
    let (one, other) = (rates(false), rates(true));
    assert!(one.available.abs_diff(other.available) < 10_000, "{one:?} {other:?}");
    assert!(one.stream.abs_diff(other.stream) < 30_000, "{one:?} {other:?}");
}

#[test]
fn a_long_picture_in_between_is_no_shortage_and_hides_none() {
    for (share, is_short) in [(1.5, false), (1.25, false), (0.8, true), (0.6, true)] {
        let mut link = Link::new(2e6, Way { queue: SECOND, ..Way::of(2e6 * share) });
        link.key_frame = 12.0;
        link.run(30 * SECOND);
        let said = link.said();
        assert_eq!(!said.is_empty(), is_short, "{share}: {said:?}");
    }
}

/// Up to a tenth, loss is none of a queue (section 6); a queue shows in the delay.
#[test]
fn what_is_lost_by_chance_is_no_shortage_unless_it_is_much() {
    for loss in [0.01, 0.05] {
        assert_eq!(Link::said_of(Way { loss, ..Way::default() }), [], "{loss}");
    }
    let said = Link::said_of(Way { loss: 0.3, ..Way::default() });
    assert!(!said.is_empty());
}

#[test]
fn jitter_alone_is_no_shortage() {
    for ms in [5, 20, 60, 150] {
        let jitter = ms * MS;
        assert_eq!(Link::said_of(Way { jitter, ..Way::default() }), [], "{jitter:?}");
        let both = Way { jitter, loss: 0.03, ..Way::of(4e6) };
        assert_eq!(Link::said_of(both), [], "{jitter:?} and loss");
    }
}

#[test]
fn what_comes_and_goes_is_said_when_it_stays_away() {
    let mut link = Link::new(2e6, Way::default());
    for _ in 0..6 {
        link.way.capacity = 1e6;
        link.run(700 * MS);
        link.way.capacity = 6e6;
        link.run(4 * SECOND);
    }
    assert_eq!(link.said(), [], "short gaps");
    link.way.capacity = 1e6;
    link.run(6 * SECOND);
    assert_eq!(link.said().len(), 1);
    link.way.capacity = 6e6;
    link.run(2 * SECOND);
    link.said();
    link.run(20 * SECOND);
    assert_eq!(link.said(), [], "it is over");
}

#[test]
fn another_way_is_no_shortage() {
    let mut link = Link::new(2e6, Way::of(5e6));
    link.run(10 * SECOND);
    for ms in [150, 20, 450, 10] {
        link.way.delay = ms * MS;
        link.run(10 * SECOND);
        assert_eq!(link.said(), [], "{ms} ms");
    }
}

#[test]
fn lost_feedback_changes_nothing() {
    for feedback_loss in [0.1, 0.5] {
        assert_eq!(Link::said_of(Way { feedback_loss, ..Way::of(4e6) }), [], "{feedback_loss}");
        let said = Link::said_of(Way { feedback_loss, ..Way::of(1e6) });
        assert!(said.first().is_some_and(|(at, _)| *at < 9 * SECOND), "{feedback_loss}: {said:?}");
    }
}

#[test]
fn silence_is_no_shortage() {
    let mut link = Link::new(2e6, Way::default());
    link.run(5 * SECOND);
    for _ in 0..5 {
        let rate = std::mem::replace(&mut link.rate, 32_000.0);
        link.run(15 * SECOND);
        link.rate = rate;
        link.way.feedback_loss = 1.0;
        link.run(12 * SECOND);
        link.way.feedback_loss = 0.0;
        link.run(5 * SECOND);
    }
    assert_eq!(link.said(), []);
}

/// Both bounds of [`Limits`].
#[test]
fn how_soon_and_how_often_it_is_said_is_bounded() {
    let mut link = Link::new(2e6, Way::of(0.5e6));
    link.limits = Limits {
        shortage_time_min: 4 * SECOND,
        shortage_interval_min: 8 * SECOND,
        ..Limits::default()
    };
    link.run(30 * SECOND);
    let times: Vec<Duration> = link.said().iter().map(|(at, _)| *at).collect();
    assert!((4 * SECOND..8 * SECOND).contains(&times[0]), "{times:?}");
    assert!(times.len() >= 3, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 8 * SECOND), "{times:?}");
}

/// What is sent again, or late, is not a part of the stream's rate, but of what comes through.
#[test]
fn what_is_not_live_does_not_count_for_the_stream() {
    let mut link = Link::new(2e6, Way::of(3e6));
    for _ in 0..2_000 {
        link.step();
        // Three times as much in all, of which half comes through.
        if (link.now - link.start).as_millis().is_multiple_of(33) {
            for _ in 0..15 {
                let number = link.next_number;
                link.send(PICTURE_BYTES);
                assert_eq!(link.next_number, number.wrapping_add(1));
                link.bandwidth.sent.get_mut(number.into()).unwrap().is_live = false;
            }
        }
    }
    let rates = &link.bandwidth.rates;
    let (stream, all) = (rates.of_stream().unwrap(), rates.of_all().unwrap());
    assert!((1.8e6..2.2e6).contains(&stream), "{stream}");
    assert!(all > 5e6, "{all}");
}

#[test]
fn a_receivers_own_estimate_counts_when_it_stays_below() {
    let mut receivable = Receivable::default();
    let (limits, start) = (Limits::default(), Bench::new().now);
    let mut sent = u32::MAX - 100_000;
    let mut hear = |second: u32, bitrate| {
        // 1 Mbit/s, counted around.
        sent = sent.wrapping_add(125_000);
        receivable.hear(start + second * SECOND, bitrate, sent, &limits)
    };
    for second in 0..10 {
        assert_eq!(hear(second, 960_000), None, "enough");
    }
    for second in 10..12 {
        assert_eq!(hear(second, 600_000), None, "not for long");
    }
    assert_eq!(hear(12, 600_000), Some(Shortage { stream: 1_000_000, available: 600_000 }));
    for second in 13..17 {
        assert_eq!(hear(second, 600_000), None, "once in five seconds");
    }
    assert!(hear(17, 600_000).is_some());
    assert_eq!(hear(18, u64::MAX), None);
    for second in 19..40 {
        assert_eq!(hear(second, if second % 2 == 0 { 600_000 } else { 2_000_000 }), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is told, nothing breaks, and nothing is said of what is not a number.
    #[test]
    fn any_feedback_is_taken(
        steps in prop::collection::vec(
            (0u16..400, 0u64..3_000, prop::collection::vec(any::<u8>(), 16..200)), 1..40),
        near: bool,
    ) {
        let mut now = Bench::new().now;
        let mut bandwidth = Bandwidth::new(now);
        let (limits, mut number) = (Limits::default(), 0u16);
        for (count, ms, mut body) in steps {
            for nth in 0..count {
                bandwidth.note(now, usize::from(nth), nth % 3 > 0);
                number = number.wrapping_add(1);
            }
            now += u32::try_from(ms).unwrap() * MS;
            if near {
                body[8..10].copy_from_slice(&number.wrapping_sub(count).to_be_bytes());
                body[10] = 0;
            }
            body.truncate(body.len() / 4 * 4);
            let words = u8::try_from(body.len() / 4).unwrap();
            let packet = [&[0x8f, 205, 0, words], body.as_slice()].concat();
            rtcp::read(&packet, |feedback| {
                if let Feedback::Arrivals(arrivals) = feedback {
                    bandwidth.hear(now, &arrivals, &limits);
                }
            });
            prop_assert!(bandwidth.by_delay >= 0.0 && bandwidth.by_loss >= 0.0);
            prop_assert!(bandwidth.rates.loss() <= 1.0);
            prop_assert!(bandwidth.rates.of_stream() <= bandwidth.rates.of_all());
        }
    }
}

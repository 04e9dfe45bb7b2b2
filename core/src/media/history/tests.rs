//! The history against a plain list of everything that ever came.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::packet::Extensions;
use super::*;

const MS: Duration = Duration::from_millis(1);

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
    Instant::now()
}

fn packet(kind: Kind, seq: u64, entry: bool, len: usize, arrived: Instant) -> Packet {
    Packet {
        kind,
        run: 1,
        seq,
        time: u32::try_from(seq * 3_000).unwrap(),
        marker: false,
        entry,
        extensions: Extensions::default(),
        payload: Arc::from(vec![0; len]),
        arrived,
    }
}

fn picture(seq: u64, entry: bool, len: usize, arrived: Instant) -> Packet {
    packet(Kind::Video, seq, entry, len, arrived)
}

fn seqs(history: &History) -> Vec<u64> {
    (history.first()..history.end()).map(|at| history.get(at).unwrap().seq).collect()
}

#[test]
fn so_many_packets_are_kept() {
    let limits = Limits { history_packets_max: 3, ..Limits::default() };
    let (mut history, now) = (History::default(), start());
    for seq in 0..5 {
        history.push(picture(seq, seq == 1, 10, now), &limits);
    }
    assert_eq!(seqs(&history), [2, 3, 4]);
    assert_eq!((history.first(), history.end()), (2, 5));
    assert!(history.get(1).is_none() && history.get(5).is_none());
    assert!(history.find(1, 1).is_none());
    assert_eq!(history.find(1, 2).unwrap().0, 2);
    assert_eq!(history.recent_keyframe(now, &limits), None, "it is gone");
}

#[test]
fn so_many_bytes_are_kept() {
    let limits = Limits { history_bytes_max: 100, ..Limits::default() };
    let (mut history, now) = (History::default(), start());
    for (seq, len) in [(0, 60), (1, 40), (2, 1), (3, 59), (4, 101)] {
        history.push(picture(seq, false, len, now), &limits);
        let kept: &[u64] = match seq {
            0 => &[0],
            1 => &[0, 1],
            2 => &[1, 2],
            3 => &[1, 2, 3],
            _ => &[],
        };
        assert_eq!(seqs(&history), kept);
    }
}

#[test]
fn packets_are_kept_for_as_long_as_somebody_may_need_them() {
    let limits = Limits {
        keyframe_cache_age_max: 30 * MS,
        retransmission_age_max: 20 * MS,
        ..Limits::default()
    };
    let (mut history, now) = (History::default(), start());
    history.push(picture(0, false, 10, now), &limits);
    history.push(picture(1, false, 10, now + 50 * MS), &limits);
    assert_eq!(seqs(&history), [0, 1]);
    history.push(picture(2, false, 10, now + 51 * MS), &limits);
    assert_eq!(seqs(&history), [1, 2]);
}

#[test]
fn a_key_frame_is_something_to_begin_with_until_it_is_too_old() {
    let limits = Limits { keyframe_cache_age_max: 30 * MS, ..Limits::default() };
    let (mut history, now) = (History::default(), start());
    history.push(picture(0, false, 10, now), &limits);
    assert_eq!(history.recent_keyframe(now, &limits), None);
    history.push(picture(1, true, 10, now), &limits);
    history.push(picture(2, false, 10, now), &limits);
    assert_eq!(history.recent_keyframe(now + 30 * MS, &limits), Some(1));
    assert_eq!(history.recent_keyframe(now + 31 * MS, &limits), None);
    assert_eq!(history.since_keyframe(now + 31 * MS, &limits).count(), 0);
}

#[test]
fn a_key_frame_is_something_to_begin_with_until_too_much_came_since() {
    let limits = Limits { keyframe_cache_bytes_max: 100, ..Limits::default() };
    let (mut history, now) = (History::default(), start());
    history.push(picture(0, true, 60, now), &limits);
    history.push(picture(1, false, 40, now), &limits);
    history.push(packet(Kind::Audio, 0, true, 90, now), &limits);
    assert_eq!(history.recent_keyframe(now, &limits), Some(0), "sound is not given again");
    history.push(picture(2, false, 1, now), &limits);
    assert_eq!(history.recent_keyframe(now, &limits), None);
    history.push(picture(3, true, 100, now), &limits);
    assert_eq!(history.recent_keyframe(now, &limits), Some(4));
}

#[test]
fn a_key_frame_begins_with_the_first_of_its_packets_that_a_decoder_can_begin_with() {
    let (mut history, now, limits) = (History::default(), start(), Limits::default());
    let of_one_picture = |seq, entry| Packet { time: 9, ..picture(seq, entry, 10, now) };
    history.push(picture(4, false, 10, now), &limits);
    // Parameter sets, their start and the rest.
    for (seq, entry) in [(5, true), (6, true), (7, false)] {
        history.push(of_one_picture(seq, entry), &limits);
    }
    assert_eq!(history.recent_keyframe(now, &limits), Some(1));
    let since: Vec<u64> = history.since_keyframe(now, &limits).map(|packet| packet.seq).collect();
    assert_eq!(since, [4, 5, 6, 7], "with what may have overtaken it");
}

#[test]
fn nobody_begins_in_the_middle_of_a_key_frame_whose_start_is_gone() {
    let limits = Limits { history_packets_max: 2, ..Limits::default() };
    let (mut history, now) = (History::default(), start());
    for seq in 0..4 {
        history.push(Packet { time: 9, ..picture(seq, true, 10, now) }, &limits);
        assert_eq!(history.recent_keyframe(now, &limits), (seq < 2).then_some(0));
    }
    history.push(picture(4, true, 10, now), &limits);
    assert_eq!(history.recent_keyframe(now, &limits), Some(4));
}

#[test]
fn two_packets_with_one_slot_are_never_taken_for_each_other() {
    let (mut history, now, limits) = (History::default(), start(), Limits::default());
    let slots = u64::try_from(SLOTS).unwrap();
    history.push(picture(3, false, 10, now), &limits);
    history.push(packet(Kind::Audio, 3 + slots, true, 10, now), &limits);
    assert_eq!(history.find(1, 3).unwrap().0, 0, "sound has none");
    history.push(picture(3 + slots, false, 10, now), &limits);
    assert!(history.find(1, 3).is_none());
    assert_eq!(history.find(1, 3 + slots).unwrap().0, 2);
    assert!(history.find(2, 3 + slots).is_none(), "that is another publisher's");
}

/// The same by searching through everything.
struct Plain {
    all: Vec<Packet>,
    first: usize,
}

impl Plain {
    fn push(&mut self, packet: Packet, limits: &Limits) {
        let now = packet.arrived;
        self.all.push(packet);
        let oldest = limits.keyframe_cache_age_max + limits.retransmission_age_max;
        let fits = |first: &usize| {
            let kept = &self.all[*first..];
            let bytes: usize = kept.iter().map(|packet| packet.payload.len()).sum();
            kept.len() <= limits.history_packets_max
                && bytes <= limits.history_bytes_max
                && kept.first().is_none_or(|packet| now <= packet.arrived + oldest)
        };
        self.first = (self.first..=self.all.len()).find(fits).unwrap();
    }

    fn kept(&self) -> impl DoubleEndedIterator<Item = (usize, &Packet)> {
        self.all.iter().enumerate().skip(self.first)
    }

    fn find(&self, run: u32, seq: u64) -> Option<usize> {
        let same_slot =
            |other: &Packet| other.kind == Kind::Video && other.seq % 2_048 == seq % 2_048;
        let (at, newest) = self.kept().rev().find(|(_, packet)| same_slot(packet))?;
        (newest.run == run && newest.seq == seq).then_some(at)
    }

    /// Where the newest picture starts that a decoder can begin with.
    fn keyframe(&self, now: Instant, limits: &Limits) -> Option<usize> {
        let is_entry = |packet: &Packet| packet.kind == Kind::Video && packet.entry;
        let entries = self.all.iter().enumerate().filter(|(_, packet)| is_entry(packet));
        let entries: Vec<(usize, &Packet)> = entries.collect();
        let picture = |packet: &Packet| (packet.run, packet.time);
        let newest = picture(entries.last()?.1);
        let of_newest = entries.iter().rev().take_while(|(_, packet)| picture(packet) == newest);
        let at = of_newest.last()?.0;
        let bytes = self.all[at..].iter().filter(|packet| packet.kind == Kind::Video);
        let bytes: usize = bytes.map(|packet| packet.payload.len()).sum();
        let fits = now <= self.all[at].arrived + limits.keyframe_cache_age_max
            && bytes <= limits.keyframe_cache_bytes_max;
        (at >= self.first && fits).then_some(at)
    }
}

#[derive(Clone, Copy, Debug)]
enum Come {
    Sound {
        len: usize,
    },
    /// A picture's packet: so many numbers later, or so many earlier.
    Picture {
        ahead: u64,
        back: u64,
        entry: bool,
        len: usize,
    },
    /// The next packet is of another picture.
    Pause {
        ms: u64,
    },
    Another,
}

fn come() -> impl Strategy<Value = Come> {
    let len = prop_oneof![8 => 1usize..30, 1 => 30usize..200];
    let ahead = prop_oneof![20 => Just(1u64), 2 => 2u64..5, 1 => 2_040u64..2_060];
    let back = prop_oneof![8 => Just(0u64), 1 => 1u64..6];
    prop_oneof![
        2 => len.clone().prop_map(|len| Come::Sound { len }),
        8 => (ahead, back, prop::bool::weighted(0.15), len).prop_map(
            |(ahead, back, entry, len)| Come::Picture { ahead, back, entry, len }
        ),
        4 => (0u64..30).prop_map(|ms| Come::Pause { ms }),
        1 => Just(Come::Another),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let packets = prop_oneof![1usize..40, Just(4_096)];
    let bytes = prop_oneof![1usize..600, Just(1 << 20)];
    let cached_bytes = prop_oneof![1usize..300, Just(1 << 20)];
    let ages = (0u32..200, 0u32..200);
    (packets, bytes, cached_bytes, ages).prop_map(|(packets, bytes, cached_bytes, ages)| Limits {
        history_packets_max: packets,
        history_bytes_max: bytes,
        keyframe_cache_bytes_max: cached_bytes,
        keyframe_cache_age_max: ages.0 * MS,
        retransmission_age_max: ages.1 * MS,
        ..Limits::default()
    })
}

fn check(history: &History, plain: &Plain, now: Instant, limits: &Limits) {
    let position = |at: usize| u64::try_from(at).unwrap();
    assert_eq!(history.first(), position(plain.first));
    assert_eq!(history.end(), position(plain.all.len()));
    let same = |one: &Packet, other: &Packet| Arc::ptr_eq(&one.payload, &other.payload);
    for (at, packet) in plain.all.iter().enumerate() {
        let kept = history.get(position(at));
        assert_eq!(kept.is_some(), at >= plain.first);
        assert!(kept.is_none_or(|kept| same(kept, packet)));
        let found = history.find(packet.run, packet.seq);
        let expected = plain.find(packet.run, packet.seq);
        assert_eq!(found.map(|(at, _)| at), expected.map(position), "{packet:?}");
        let overtakers = position(at).saturating_sub(128).max(history.first());
        assert_eq!(history.before_overtakers(position(at)), overtakers);
    }
    let keyframe = plain.keyframe(now, limits);
    assert_eq!(history.recent_keyframe(now, limits), keyframe.map(position));
    let since = keyframe.map_or(plain.all.len(), |at| at.saturating_sub(128).max(plain.first));
    let mut given = history.since_keyframe(now, limits);
    assert!(plain.all[since..].iter().all(|packet| same(given.next().unwrap(), packet)));
    assert!(given.next().is_none());
}

proptest! {
    #[test]
    fn the_history_is_the_end_of_a_list_of_everything(
        limits in limits(),
        comes in prop::collection::vec(come(), 1..120),
        later in 0u32..200,
    ) {
        let (mut history, mut plain) = (History::default(), Plain { all: Vec::new(), first: 0 });
        let (mut now, mut seq, mut run, mut time) = (start(), 10u64, 1, 0u32);
        for come in comes {
            let next = match come {
                Come::Sound { len } => packet(Kind::Audio, 5, true, len, now),
                Come::Picture { ahead, back, entry, len } => {
                    seq += ahead;
                    Packet { time, run, ..picture(seq - back, entry, len, now) }
                }
                Come::Pause { ms } => {
                    now += Duration::from_millis(ms);
                    time = time.wrapping_add(3_000);
                    continue;
                }
                Come::Another => {
                    (run, time) = (run + 1, time.wrapping_sub(1 << 20));
                    continue;
                }
            };
            history.push(next.clone(), &limits);
            plain.push(next, &limits);
            check(&history, &plain, now, &limits);
        }
        check(&history, &plain, now + later * MS, &limits);
    }

    /// Late packets may be the last that came.
    #[test]
    fn the_newest_time_is_that_of_the_newest_picture(
        begins: u32,
        steps in prop::collection::vec((-3i32..10, any::<bool>()), 1..60),
    ) {
        let (mut history, now, limits) = (History::default(), start(), Limits::default());
        let mut newest: i32 = 0;
        let mut at = 0i32;
        history.push(Packet { run: 1, time: 77, ..picture(0, true, 1, now) }, &limits);
        history.push(Packet { run: 2, time: begins, ..picture(0, true, 1, now) }, &limits);
        for (step, sounds) in steps {
            at += step;
            newest = newest.max(at);
            let time = begins.wrapping_add_signed(at * 1_000);
            history.push(Packet { run: 2, time, ..picture(1, false, 1, now) }, &limits);
            if sounds {
                history.push(packet(Kind::Audio, 0, true, 1, now), &limits);
            }
            let expected = begins.wrapping_add_signed(newest * 1_000);
            prop_assert_eq!(history.newest_time(2), Some(expected));
        }
        prop_assert_eq!(history.newest_time(1), None, "it is over");
    }
}

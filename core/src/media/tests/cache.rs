//! Viewers who come late begin with the newest key frame and all that came since.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::stage::{Stage, packet, sound};
use super::tables::posts;
use super::viewer::{Got, Setup, ahead};
use super::*;
use crate::id::ShardId;
use crate::limits::Limits;
use crate::media::Packet;
use crate::media::datagram::is_media;
use crate::media::packet::Kind;
use crate::message::{Message, ToMedia};
use crate::output::SendBuffer;

const SECOND: Duration = Duration::from_secs(1);
const FRAME: Duration = Duration::from_millis(30);

/// A stage with a publisher who was asked for nothing lately; that is peer 1.
fn published(limits: Limits) -> Stage {
    let mut stage = Stage::new(limits);
    stage.send_runs(64);
    stage.publish(1);
    stage.run(SECOND);
    stage.ends[0].facts.clear();
    stage
}

/// Plays so many pictures and sounds, in packets of this length, the first being a key frame.
fn play(stage: &mut Stage, seqs: std::ops::Range<u8>, len: usize) {
    for seq in seqs.clone() {
        let picture = packet(stage, seq, seq == seqs.start, len);
        stage.fan_out(&[Packet { time: u32::from(seq) * 2_700, ..picture }, sound(stage, seq)]);
        stage.run(FRAME);
    }
}

fn all_at_once(mut got: Vec<Got>) -> bool {
    let first = got.remove(0);
    got.iter().all(|got| got.at <= first.at + Duration::from_millis(10))
}

#[test]
fn a_late_viewer_begins_with_the_newest_key_frame_at_once() {
    let mut stage = published(Limits::default());
    play(&mut stage, 0..10, 100);
    stage.run(SECOND / 5);
    play(&mut stage, 20..40, 100);
    stage.watch(2, &Setup::default());
    stage.run(SECOND / 2);
    let viewer = &stage.viewers[0];
    assert_eq!(viewer.tags(), (20..40).collect::<Vec<u8>>(), "not the one before");
    assert_eq!(viewer.got_of(Kind::Audio).len(), 0, "it would come too late for its picture");
    let got = viewer.got_of(Kind::Video);
    assert!(all_at_once(got.clone()));
    assert!(got.windows(2).all(|pair| {
        ahead(pair[1].header.sequence_number, pair[0].header.sequence_number) == 1
    }));
    let times: Vec<u32> = got.iter().map(|got| got.header.timestamp).collect();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
    let span = times.last().unwrap() - times.first().unwrap();
    assert!(span <= (19u32 * 2_700).div_ceil(64), "{span}");
    assert_eq!(*times.last().unwrap(), 39 * 2_700);
    play(&mut stage, 40..43, 100);
    let viewer = &stage.viewers[0];
    let times = viewer.got_of(Kind::Video).split_off(20);
    let times: Vec<u32> = times.iter().map(|got| got.header.timestamp).collect();
    assert_eq!(times, [40, 41, 42].map(|seq| seq * 2_700), "live goes on from there");
    let sounds: Vec<u8> = viewer.got_of(Kind::Audio).iter().map(Got::tag).collect();
    assert_eq!(sounds, [40, 41, 42]);
}

#[test]
fn whoever_was_dialed_begins_with_what_comes_next() {
    let mut stage = published(Limits::default());
    play(&mut stage, 0..10, 100);
    stage.play(2);
    stage.run(SECOND / 2);
    assert_eq!(stage.ends[1].tags(), [0; 0]);
    play(&mut stage, 10..12, 100);
    assert_eq!(stage.ends[1].tags(), [10, 10, 11, 11], "of both media");
}

#[test]
fn a_late_viewer_costs_the_publisher_a_key_frame_only_once_in_a_while() {
    let limits = Limits { keyframe_cache_interval_min: 2 * SECOND, ..Limits::default() };
    let mut stage = published(limits);
    let mut wishes_of_one_more = |pause: Duration| {
        stage.run(pause);
        let nth = u8::try_from(stage.viewers.len()).unwrap();
        let seqs = nth * 10..nth * 10 + 5;
        play(&mut stage, seqs.clone(), 100);
        stage.ends[0].facts.clear();
        stage.watch(2 + u64::from(nth), &Setup::default());
        stage.run(SECOND / 5);
        let tags = stage.viewers[usize::from(nth)].tags();
        assert_eq!(tags, seqs.collect::<Vec<u8>>(), "in any case");
        stage.run(SECOND / 5);
        stage.ends[0].wishes()
    };
    assert_eq!(wishes_of_one_more(2 * SECOND), 1, "nobody was asked for long");
    assert_eq!(wishes_of_one_more(FRAME), 0);
    assert_eq!(wishes_of_one_more(FRAME), 0);
    assert_eq!(wishes_of_one_more(SECOND), 1, "so that there is one for those who come next");
}

/// A late viewer of what is too old, or too much, waits, and its publisher is asked.
fn waits(limits: Limits, len: usize, pause: Duration) -> bool {
    let mut stage = published(limits);
    play(&mut stage, 0..10, len);
    stage.run(pause);
    stage.ends[0].facts.clear();
    stage.watch(2, &Setup::default());
    stage.run(SECOND / 2);
    let tags = stage.viewers[0].tags();
    assert_eq!(stage.ends[0].wishes(), 1, "either because it waits, or for those to come");
    play(&mut stage, 10..12, 100);
    let late = stage.viewers[0].tags();
    if tags.is_empty() {
        assert_eq!(late, [10, 11]);
    } else {
        assert_eq!(late, (0..12).collect::<Vec<u8>>());
    }
    tags.is_empty()
}

#[test]
fn a_key_frame_that_is_too_old_is_not_begun_with() {
    let limits = Limits { keyframe_cache_age_max: SECOND, ..Limits::default() };
    assert!(!waits(limits.clone(), 100, SECOND / 2));
    assert!(waits(limits, 100, SECOND));
}

#[test]
fn more_than_can_be_given_at_once_is_not_begun_with() {
    let limits = Limits { keyframe_cache_bytes_max: 2_000, ..Limits::default() };
    assert!(!waits(limits.clone(), 200, FRAME));
    assert!(waits(limits, 201, FRAME));
}

#[test]
fn what_is_lost_of_the_cache_comes_again_with_the_time_that_it_had() {
    let mut whole = published(Limits::default());
    play(&mut whole, 0..20, 100);
    whole.watch(2, &Setup::default());
    let mut lossy = published(Limits::default());
    play(&mut lossy, 0..20, 100);
    lossy.watch(2, &Setup::default());
    lossy.viewers[0].loses = vec![5, 6, 9];
    for stage in [&mut whole, &mut lossy] {
        stage.run(SECOND / 5);
        play(stage, 20..30, 100);
        stage.run(SECOND / 2);
    }
    let times = |got: &Got| (got.tag(), got.header.timestamp);
    let expected: Vec<_> = whole.viewers[0].got_of(Kind::Video).iter().map(times).collect();
    let viewer = &lossy.viewers[0];
    assert_eq!(viewer.got_of(Kind::Video).len(), expected.len() - 3);
    let mut again: Vec<_> = viewer.got_again().iter().map(times).collect();
    again.dedup();
    assert_eq!(again, [expected[5], expected[6], expected[9]]);
}

/// What overtakes the last message of the handshake is lost, and nobody misses what came before
/// all that it has.
#[test]
fn a_late_viewer_is_given_nothing_until_it_surely_has_its_keys() {
    let limits = Limits { catch_up_delay: SECOND / 5, ..Limits::default() };
    let mut stage = published(limits);
    stage.watch(2, &Setup::default());
    stage.run(SECOND);
    play(&mut stage, 0..5, 100);
    stage.watch(3, &Setup::default());
    while !stage.viewers[1].is_connected {
        stage.run(SECOND / 100);
    }
    stage.run(SECOND / 10);
    assert_eq!(stage.viewers[1].got_of(Kind::Video).len(), 0);
    stage.run(SECOND / 5);
    assert_eq!(stage.viewers[1].got_of(Kind::Video).len(), 5);
}

/// Some receivers take what is of before the first packet that they get for too old.
#[test]
fn the_first_packet_goes_ahead_whoever_else_joins_meanwhile() {
    let interval = Duration::from_millis(50);
    let mut stage = published(Limits { catch_up_interval: interval, ..Limits::default() });
    stage.watch(2, &Setup::default());
    stage.run(SECOND);
    play(&mut stage, 0..5, 100);
    for peer in 3..7 {
        stage.watch(peer, &Setup::default());
        stage.run(Duration::from_millis(7));
    }
    stage.run(SECOND);
    let firsts: Vec<Instant> = stage.viewers[1..]
        .iter()
        .map(|viewer| {
            let times: Vec<Instant> = viewer.got_of(Kind::Video).iter().map(|got| got.at).collect();
            assert_eq!(times.len(), 5);
            assert!(times[1] - times[0] >= interval, "{:?}", times[1] - times[0]);
            times[0]
        })
        .collect();
    assert!(firsts.windows(2).any(|pair| pair[1] != pair[0]), "they came all at once");
}

/// A live viewer, and six who come late to what takes many turns to give; tells of each round how
/// many runs the live one got, and how many bytes those who were still behind.
fn crowd(stage: &mut Stage) -> Vec<(usize, usize)> {
    stage.watch(2, &Setup::default());
    stage.run(SECOND);
    for seq in 0..200u8 {
        let packet = packet(stage, seq, seq == 0, 1_000);
        stage.fan_out(&[Packet { time: u32::from(seq / 9) * 3_000, ..packet }]);
    }
    stage.carry_out();
    let late: Vec<u64> = (3..9).collect();
    for peer in &late {
        stage.watch(*peer, &Setup::default());
    }
    while !stage.viewers.iter().all(|viewer| viewer.is_connected) {
        stage.run(Duration::from_millis(10));
    }
    let mut rounds = Vec::new();
    let mut send = SendBuffer::new(10);
    while late.iter().any(|peer| stage.peer(*peer).is_catching_up()) {
        // What comes next reaches the live one at once, whatever late ones are given.
        let seq = 200 + u64::try_from(rounds.len()).unwrap();
        let time = 90_000 + u32::try_from(seq).unwrap() * 1_800;
        let next = Packet { seq, time, ..packet(stage, 1, false, 40) };
        stage.wait(Duration::from_millis(20));
        stage.media.handle_timeout(&mut stage.bench.ctx());
        stage.fan_out(&[next]);
        let (mut live_runs, mut late_bytes) = (0, 0);
        loop {
            let behind: Vec<bool> = (2..9).map(|peer| stage.peer(peer).is_catching_up()).collect();
            let transmit = stage.media.poll_transmit(&mut stage.bench.ctx(), &mut send);
            let Some(transmit) = transmit else { break };
            let nth = transmit.flow.remote.port().checked_sub(51_000).map(usize::from);
            let Some(nth) = nth.filter(|_| is_media(send.run(&transmit))) else { continue };
            live_runs += usize::from(nth == 0);
            late_bytes += if behind[nth] { transmit.len } else { 0 };
            for datagram in send.run(&transmit).chunks(transmit.segment) {
                stage.viewers[nth].receive(stage.bench.now, transmit.flow.local, datagram);
            }
        }
        rounds.push((live_runs, late_bytes));
        assert!(rounds.len() < 200, "{rounds:?}");
    }
    rounds
}

/// Late viewers have their turns a few at a time, live ones at once.
#[test]
fn a_crowd_of_late_viewers_does_not_delay_live_ones() {
    let limits = Limits {
        catch_up_interval: Duration::from_millis(20),
        catch_up_turns_max: 2,
        ..Limits::default()
    };
    let mut stage = published(limits);
    let rounds = crowd(&mut stage);
    assert!(rounds.len() > 30, "{rounds:?}");
    // Two turns of 16 KiB, each with a last run that goes beyond.
    let late_max = 2 * (16 + 10) * 1_024;
    assert!(rounds.iter().all(|(live, late)| *live == 1 && *late <= late_max), "{rounds:?}");
    // Nobody has lost anything by it, however long it took.
    stage.run(SECOND / 10);
    for viewer in &stage.viewers {
        let got = viewer.got_of(Kind::Video);
        let first = got[0].header.sequence_number;
        let seqs: Vec<i64> =
            got.iter().map(|got| ahead(got.header.sequence_number, first)).collect();
        let all = i64::try_from(200 + rounds.len()).unwrap();
        assert_eq!(seqs, (0..all).collect::<Vec<i64>>());
    }
}

#[test]
fn another_shard_is_brought_what_came_since_the_key_frame() {
    let mut stage = published(Limits::default());
    stage.watch(2, &Setup::default());
    stage.run(SECOND);
    play(&mut stage, 0..5, 100);
    play(&mut stage, 5..9, 100);
    let to = ShardId(1);
    stage.handle(ToMedia::Subscribe { stream: StreamId(1), to });
    stage.carry_out();
    let mut brought = Vec::new();
    for (shard, message) in posts(&mut stage) {
        let Message::Packets(packets) = message else { panic!("{message:?}") };
        assert_eq!(shard, to);
        brought.extend(packets);
    }
    let seqs: Vec<(Kind, u64)> =
        brought.iter().map(|(_, packet)| (packet.kind, packet.seq)).collect();
    let from = seqs.iter().position(|seq| *seq == (Kind::Video, 5)).unwrap();
    let expected: Vec<_> =
        (5..9).flat_map(|seq| [(Kind::Video, seq), (Kind::Audio, seq)]).collect();
    assert_eq!(seqs[from..], expected);
    // There, the first viewer begins with it.
    let mut other = Stage::of_shard(to, Limits::default());
    other.watch_from(9, &Setup::default(), ShardId::NODE);
    let packets: Vec<Packet> = brought.into_iter().map(|(_, packet)| packet).collect();
    other.bench.now = stage.bench.now;
    other.fan_out(&packets);
    other.run(SECOND / 2);
    assert_eq!(other.viewers[0].tags(), [5, 6, 7, 8]);
    stage.handle(ToMedia::Subscribe { stream: StreamId(1), to });
    stage.carry_out();
    assert!(posts(&mut stage).is_empty(), "it has it already");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_cache_is_gone_over_in_order_and_quickly(
        steps in prop::collection::vec(1u32..9_000, 1..60),
        packets in 1u8..4,
        time: u32,
        overtaken in prop::collection::btree_set(1usize..60, 0..6),
    ) {
        let mut stage = published(Limits::default());
        let mut times = vec![time];
        for step in steps {
            times.push(times.last().unwrap().wrapping_add(step));
        }
        let mut all = Vec::new();
        for (nth, time) in times.iter().enumerate() {
            for part in 0..packets {
                let entry = nth == 0 && part == 0;
                let seq = u64::try_from(all.len()).unwrap();
                all.push(Packet { seq, time: *time, ..packet(&stage, part, entry, 50) });
            }
        }
        let last = all.len() - 1;
        overtaken.range(..last).for_each(|at| all.swap(*at, at + 1));
        stage.fan_out(&all);
        stage.watch(2, &Setup::default());
        stage.run(SECOND);
        let got = stage.viewers[0].got_of(Kind::Video);
        prop_assert_eq!(got.len(), all.len());
        let newest = *times.last().unwrap();
        let first = got[0].header.sequence_number;
        for (got, packet) in got.iter().zip(&all) {
            let seq = i64::try_from(packet.seq).unwrap();
            prop_assert_eq!(ahead(got.header.sequence_number, first), seq);
            let before = newest.wrapping_sub(packet.time);
            let squeezed = newest.wrapping_sub(got.header.timestamp);
            prop_assert!(squeezed * 64 >= before && squeezed <= before.div_ceil(64));
            prop_assert_eq!(squeezed == 0, before == 0);
        }
    }
}

/// As after a process that stood still.
#[test]
fn a_late_viewer_whose_beginning_is_forgotten_meanwhile_goes_on_with_what_there_is() {
    let mut stage = published(Limits::default());
    play(&mut stage, 0..10, 100);
    play(&mut stage, 20..30, 100);
    stage.watch(2, &Setup::default());
    while stage.viewers[0].tags() != [20] {
        stage.run(Duration::from_millis(10));
        assert!(stage.viewers[0].tags().len() <= 1, "one packet goes ahead of the others");
    }
    stage.wait(3 * SECOND);
    play(&mut stage, 40..60, 100);
    let viewer = &stage.viewers[0];
    assert_eq!(viewer.tags().last(), Some(&59));
    let sounds: Vec<u8> = viewer.got_of(Kind::Audio).iter().map(Got::tag).collect();
    assert!(sounds.ends_with(&[56, 57, 58, 59]), "{sounds:?}");
}

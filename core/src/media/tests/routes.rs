//! What goes from publishers to viewers, and what goes back.

use std::time::Duration;

use proptest::prelude::*;
use str0m::rtp::{ExtensionValues, VideoOrientation};

use super::stage::{Stage, packet};
use super::{PeerFault, PeerId};
use crate::limits::Limits;
use crate::media::Packet;
use crate::media::packet::Extensions;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(100);

/// Beyond some 1 980 bytes str0m would panic as it sends them on.
#[test]
fn a_payload_too_large_to_go_on_is_dropped_and_nothing_else() {
    let mut stage = Stage::of_two(Limits::default());
    for (seq, len) in [(1, 1_000), (2, 1_500), (3, 1_501), (4, 1_900), (5, 1_000)] {
        let packet = packet(&stage, seq, true, len);
        stage.ends[0].write(packet);
    }
    stage.run(MOMENT);
    let lengths: Vec<_> = stage.ends[1].received().iter().map(|p| p.payload.len()).collect();
    assert_eq!(lengths, [1_000, 1_500, 1_000]);
    assert_eq!(stage.failed, []);
}

/// Without the mark, a frame is shown when the next one begins; without the orientation, on its
/// side.
#[test]
fn what_a_header_says_of_the_picture_reaches_the_viewer() {
    let mut stage = Stage::of_two(Limits::default());
    let orientation = Some(VideoOrientation::Deg90);
    let values = ExtensionValues { video_orientation: orientation, ..ExtensionValues::default() };
    for (seq, marker) in [(1, false), (2, true), (3, false)] {
        let extensions = Extensions::of(&values);
        let packet = Packet { marker, extensions, ..packet(&stage, seq, true, 100) };
        stage.ends[0].write(packet);
    }
    stage.run(MOMENT);
    let received = stage.ends[1].received();
    let markers: Vec<_> = received.iter().map(|packet| packet.marker).collect();
    assert_eq!(markers, [false, true, false]);
    for packet in received {
        assert_eq!(packet.extensions.values().video_orientation, orientation);
    }
}

#[test]
fn whoever_fails_in_his_turn_to_send_does_not_cost_the_next_his() {
    let limits = Limits { peer_connect_timeout: 2 * SECOND, ..Limits::default() };
    let mut stage = Stage::of_two(limits);
    stage.admit(3);
    stage.wait(2 * SECOND);
    let packet = packet(&stage, 1, true, 100);
    stage.fan_out(&[packet]);
    stage.carry_out();
    assert_eq!(stage.failed, [(PeerId(3), PeerFault::IceTimeout)]);
    assert_eq!(stage.ends[1].tags(), [1]);
}

#[test]
fn whoever_has_much_to_send_does_it_in_turns_with_the_others() {
    let mut stage = Stage::of_two(Limits::default());
    stage.play(3);
    stage.run(SECOND);
    stage.lose_out();
    let packets = [1, 2, 3].map(|seq| packet(&stage, seq, true, 100));
    stage.fan_out(&packets);
    let [one, other] = [stage.ends[1].port, stage.ends[2].port];
    // A report, which is due at the start, and three packets.
    assert_eq!(stage.lose_out(), [[one, other]; 4].concat());
}

#[test]
fn packets_of_nearly_one_length_go_in_one_run_and_come_out_as_they_were() {
    let mut stage = Stage::of_two(Limits::default());
    stage.send_runs(64);
    let lengths = [1_199, 1_200, 1_192, 1_200, 1_191, 1_200, 300, 1_200];
    let packets: Vec<_> =
        (0..).zip(lengths).map(|(seq, len)| packet(&stage, seq, true, len)).collect();
    stage.fan_out(&packets);
    assert_eq!(stage.lose_out().len(), 4, "1 191 and 300 are too short for others to follow");
    let again = packets.into_iter().map(|it| Packet { seq: it.seq + 100, ..it });
    stage.fan_out(&again.collect::<Vec<_>>());
    stage.carry_out();
    let received: Vec<_> = stage.ends[1].received().iter().map(|p| p.payload.len()).collect();
    assert_eq!(received, lengths);
}

#[test]
fn what_cannot_be_sent_for_long_is_dropped_and_what_follows_goes_out() {
    let limits = Limits { media_age_max: 5 * MOMENT, ..Limits::default() };
    let mut stage = Stage::of_two(limits);
    for seq in 0..20 {
        let packet = packet(&stage, seq, true, 100);
        stage.fan_out(&[packet]);
        stage.wait(MOMENT);
    }
    stage.carry_out();
    assert_eq!(stage.ends[1].tags(), [15, 16, 17, 18, 19], "the oldest waited 2 s");
    let packet = packet(&stage, 20, true, 100);
    stage.fan_out(&[packet]);
    stage.carry_out();
    assert_eq!(stage.ends[1].tags(), [20]);
}

#[test]
fn what_overtook_the_start_of_a_key_frame_reaches_whoever_begins_with_it() {
    let mut stage = Stage::of_two(Limits::default());
    let entries = [(9, false), (11, false), (12, false), (10, true), (13, false)];
    let packets = entries.map(|(seq, entry)| packet(&stage, seq, entry, 100));
    stage.fan_out(&packets[..3]);
    stage.carry_out();
    assert_eq!(stage.ends[1].tags(), [0; 0], "nothing to begin with");
    stage.fan_out(&packets[3..]);
    stage.carry_out();
    assert_eq!(stage.ends[1].tags(), [10, 11, 12, 13], "9 is of the picture before");
}

/// The viewer is there before its publisher.
#[test]
fn a_wish_that_nobody_can_grant_yet_is_kept() {
    let mut stage = Stage::new(Limits::default());
    stage.play(1);
    stage.run(SECOND);
    assert!(stage.ends[0].is_connected());
    stage.publish(2);
    stage.run(2 * SECOND);
    assert!(stage.ends[1].is_connected());
    assert_eq!(stage.ends[1].wishes(), 1);
}

/// The key frame that was asked for may be lost, or its start.
#[test]
fn as_long_as_a_viewer_waits_for_a_key_frame_its_publisher_is_asked() {
    let limits = Limits { keyframe_interval_min: 5 * MOMENT, ..Limits::default() };
    let mut stage = Stage::of_two(limits);
    let mut wishes = |seqs: std::ops::Range<u8>, entry| {
        stage.ends[0].facts.clear();
        for seq in seqs {
            let packet = packet(&stage, seq, entry, 100);
            stage.ends[0].write(packet);
            stage.run(MOMENT);
        }
        stage.ends[0].wishes()
    };
    assert_eq!(wishes(0..20, false), 4, "in 2 s");
    wishes(20..21, true);
    assert_eq!(wishes(21..41, false), 0);
}

#[test]
fn a_lost_packet_is_sent_again_for_as_long_as_it_is_kept() {
    for (kept, tags) in [(3 * MOMENT, vec![1, 3, 2]), (MOMENT, vec![1, 3])] {
        let limits = Limits { retransmission_age_max: kept, ..Limits::default() };
        let mut stage = Stage::of_two(limits);
        let packets = [1, 2, 3].map(|seq| packet(&stage, seq, true, 100));
        stage.fan_out(&packets[..1]);
        stage.carry_out();
        stage.fan_out(&packets[1..2]);
        stage.lose_out();
        stage.wait(2 * MOMENT);
        stage.fan_out(&packets[2..]);
        stage.carry_out();
        stage.run(5 * MOMENT);
        assert_eq!(stage.ends[1].tags(), tags, "{kept:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_is_lost_or_overtaken_on_the_way_arrives_once(
        // The share of what is sent again is bounded, so not too many, and not at the start.
        lost in prop::collection::btree_set(30u8..98, 0..8),
        overtaken in prop::collection::btree_set(1usize..98, 0..20),
    ) {
        let mut stage = Stage::of_two(Limits::default());
        let mut seqs: Vec<u8> = (0..100).collect();
        overtaken.iter().for_each(|at| seqs.swap(*at, at + 1));
        for seq in seqs {
            let packet = packet(&stage, seq, seq == 0, 100);
            stage.fan_out(&[packet]);
            if lost.contains(&seq) {
                stage.lose_out();
            } else {
                stage.carry_out();
            }
            stage.run(MOMENT / 10);
        }
        stage.run(SECOND);
        let mut tags = stage.ends[1].tags();
        tags.sort_unstable();
        prop_assert_eq!(tags, (0..100).collect::<Vec<u8>>());
    }
}

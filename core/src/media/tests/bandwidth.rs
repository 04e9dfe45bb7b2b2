//! Viewers whose bandwidth is short, and how much picture anybody has, wire to wire.

use std::time::Duration;

use str0m::rtp::rtcp::Rtcp;

use super::feedback::Voice;
use super::stage::{Stage, packet, sound};
use super::viewer::{Setup, Viewer, ahead};
use super::*;
use crate::config::{Settings, SettingsFiles};
use crate::limits::Limits;
use crate::media::{Packet, Shortage};
use crate::message::ToMedia;

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(20);
const PICTURE_BYTES: usize = 1_000;

/// A step of a stream of 400 kbit/s, 1 200 with what is written thrice.
fn play(stage: &mut Stage, nth: u64, copies: u64) {
    let mut packets = vec![Packet { seq: nth, ..sound(stage, 1) }];
    packets.extend((0..copies).map(|copy| {
        let seq = nth * copies + copy;
        let time = u32::try_from(nth).unwrap() * 1_800;
        Packet { seq, time, ..packet(stage, 1, seq == 0, PICTURE_BYTES) }
    }));
    stage.fan_out(&packets);
    stage.run(STEP);
}

/// Feedback of the application layer: so many units of 1 024 bit/s.
fn remb(voice: &mut Voice, stage: &mut Stage, units: u16) {
    let mut plain = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
    plain.extend(b"REMB");
    plain.extend([1, 10 << 2]);
    plain.extend(units.to_be_bytes());
    plain.extend([0, 0, 0, 9]);
    voice.say(stage, &plain);
}

fn numbers(viewer: &Viewer) -> Vec<u16> {
    viewer.got.iter().map(|got| got.header.ext_vals.transport_cc.unwrap()).collect()
}

#[test]
fn numbers_of_the_transport_go_on_over_media_and_what_is_sent_again_and_runs() {
    let mut stage = Stage::watched(Limits::default());
    stage.send_runs(10);
    let mut voice = Voice::of(&stage);
    let picture = stage.viewers[0].ssrcs[1];
    for nth in 0..200 {
        play(&mut stage, nth, 5);
        if nth % 7 == 3 {
            let seq = stage.viewers[0].got.last().unwrap().header.sequence_number;
            voice.miss(&mut stage, picture, &[seq, seq.wrapping_sub(2)]);
        }
    }
    let viewer = &stage.viewers[0];
    assert!(viewer.got_again().len() > 40);
    let numbers = numbers(viewer);
    assert_eq!(numbers[0], 0);
    assert!(numbers.len() > 1_200);
    assert!(numbers.windows(2).all(|pair| ahead(pair[1], pair[0]) == 1), "{numbers:?}");
    // And the viewer tells of all of them, by which it has enough.
    let told = viewer.said.iter().filter(|rtcp| matches!(rtcp, Rtcp::Twcc(_)));
    assert!(told.count() > 20);
    assert_eq!(stage.short, []);
}

#[test]
fn whoever_loses_much_is_found_short_and_nobody_else() {
    let mut stage = Stage::watched(Limits::default());
    stage.watch(3, &Setup::default());
    stage.run(SECOND);
    // Two of five.
    stage.viewers[0].loses = (0..4_000).filter(|at| at % 5 < 2).collect();
    for nth in 0..600 {
        play(&mut stage, nth, 3);
    }
    let found: Vec<PeerId> = stage.short.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(found, [PeerId(2); 2], "{:?}", stage.short);
    for (_, Shortage { stream, available }) in &stage.short {
        assert!((1_000_000..1_400_000).contains(stream), "{stream}");
        // What was sent again and came is a part of it.
        assert!((700_000..1_100_000).contains(available), "{available}");
    }
}

#[test]
fn a_viewers_own_estimate_counts_until_it_tells_when_packets_came() {
    let settings = |text| {
        let files = SettingsFiles { properties: text, balancing: None };
        Settings::parse(files, &[]).unwrap().0
    };
    for (text, is_short) in [("webrtc_cc2_twcc=false", true), ("", false)] {
        let mut stage = Stage::new(Limits::default());
        stage.bench.config.settings = settings(text);
        stage.watch(2, &Setup::default());
        stage.run(SECOND);
        let mut voice = Voice::of(&stage);
        for nth in 0..450 {
            play(&mut stage, nth, 3);
            if nth % 25 == 24 {
                remb(&mut voice, &mut stage, 600);
            }
        }
        let told = stage.viewers[0].said.iter().any(|rtcp| matches!(rtcp, Rtcp::Twcc(_)));
        assert_ne!(told, is_short);
        let found: Vec<u64> = stage.short.iter().map(|(_, it)| it.available).collect();
        assert_eq!(found, vec![600 * 1_024; usize::from(is_short)]);
    }
}

#[test]
fn the_rate_of_a_picture_is_told_in_the_interval_of_the_settings() {
    let mut stage = Stage::of_two(Limits::default());
    let files = SettingsFiles {
        properties: "inbound_video_rate_stat_send_interval=1\n\
                     outbound_video_rate_stat_send_interval=2",
        balancing: None,
    };
    stage.watch(3, &Setup::default());
    stage.run(SECOND);
    assert_eq!(stage.rates, [], "nobody wants to know");
    stage.bench.config.settings = Settings::parse(files, &[]).unwrap().0;
    stage.media.reload(&stage.bench.ctx());
    for nth in 0..250u8 {
        let packet = packet(&stage, nth, nth == 0, PICTURE_BYTES);
        stage.ends[0].write(packet);
        let sound = sound(&stage, nth);
        stage.ends[0].write(sound);
        stage.run(STEP);
    }
    let rates = |peer| {
        let its = stage.rates.iter().filter(|(other, _)| *other == PeerId(peer));
        its.map(|(_, bits)| *bits).collect::<Vec<u64>>()
    };
    let near = |bits: u64, seconds: u64| bits.abs_diff(seconds * 400_000) <= 2 * 8_000;
    let publisher = rates(1);
    assert_eq!(publisher.len(), 5, "{publisher:?}");
    assert!(publisher.iter().all(|bits| near(*bits, 1)), "{publisher:?}");
    assert_eq!(rates(2), [0u64; 0], "a link has no page");
    let viewer = rates(3);
    assert_eq!(viewer.len(), 2, "{viewer:?}");
    assert!(viewer.iter().all(|bits| near(*bits, 2)), "{viewer:?}");
    stage.handle(ToMedia::Drop { peer: PeerId(3) });
    stage.bench.config.settings = Settings::default();
    stage.media.reload(&stage.bench.ctx());
    stage.rates.clear();
    stage.run(3 * SECOND);
    assert_eq!(stage.rates, []);
}

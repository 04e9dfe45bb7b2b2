//! What viewers are told of what was sent, and what they say of what came.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use str0m::media::KeyframeRequestKind;
use str0m::rtp::rtcp::Rtcp;

use super::stage::{PORT, Stage, address, packet, sound};
use super::viewer::{Got, Setup, ahead};
use crate::input::Flow;
use crate::limits::Limits;
use crate::media::handshake::Keys;
use crate::media::packet::Kind;
use crate::media::srtp::Srtp;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(100);

/// One who has the viewer's keys, and can say anything in its name.
pub(super) struct Voice {
    srtp: Srtp,
    flow: Flow,
}

impl Voice {
    pub(super) fn of(stage: &Stage) -> Self {
        let keys = stage.peer(2).keys().unwrap();
        let material = str0m::config::KeyingMaterial::new(&keys.material);
        let theirs = Keys { material, profile: keys.profile, active: !keys.active };
        let srtp = Srtp::new(&theirs, &crate::crypto_provider()).unwrap();
        Self { srtp, flow: Flow { local: address(PORT), remote: stage.viewers[0].at } }
    }

    pub(super) fn say(&mut self, stage: &mut Stage, plain: &[u8]) {
        let mut out = plain.to_vec();
        out.resize(plain.len() + 100, 0);
        let len = self.srtp.seal_rtcp(&mut out, plain.len()).unwrap();
        stage.media.handle_datagrams(&mut stage.bench.ctx(), self.flow, &out[..len], len);
    }

    /// RFC 4585, section 6.2.1.
    pub(super) fn miss(&mut self, stage: &mut Stage, ssrc: u32, seqs: &[u16]) {
        let words = u8::try_from(seqs.len() + 2).unwrap();
        let mut plain = vec![0x81, 205, 0, words, 0xde, 0xad, 0, 1];
        plain.extend(ssrc.to_be_bytes());
        for seq in seqs {
            plain.extend(seq.to_be_bytes());
            plain.extend([0; 2]);
        }
        self.say(stage, &plain);
    }
}

/// What stands before the payload of a packet that is sent again: the number that it had.
fn original(got: &Got) -> u16 {
    u16::from_be_bytes([got.payload[0], got.payload[1]])
}

#[test]
fn reports_come_once_a_second_while_media_flows_and_are_true() {
    let mut stage = Stage::watched(Limits::default());
    let (start, unix) = (stage.bench.now, stage.bench.clock.unix());
    for seq in 0..120u8 {
        let packets = [packet(&stage, seq, seq == 0, 100), sound(&stage, seq)];
        stage.fan_out(&packets);
        // Pictures of 30 a second, as their time stamps say.
        stage.run(Duration::from_millis(30));
    }
    let viewer = &stage.viewers[0];
    for (ssrc, clock_rate) in [(viewer.ssrcs[0], 48_000), (viewer.ssrcs[1], 90_000)] {
        let report = |(after, rtcp): &(usize, Rtcp)| {
            let Rtcp::SenderReport(report) = rtcp else { return None };
            (*report.sender_info.ssrc == ssrc).then_some((*after, report.sender_info))
        };
        let reports: Vec<_> = viewer.heard.iter().filter_map(report).collect();
        let times: Vec<Duration> = reports
            .iter()
            .map(|(_, info)| info.ntp_time.duration_since(UNIX_EPOCH).unwrap() - unix)
            .collect();
        assert!((3..=5).contains(&times.len()), "in 3.6 s: {times:?}");
        for pair in times.windows(2) {
            assert!((SECOND..=SECOND + 3 * MOMENT).contains(&(pair[1] - pair[0])));
        }
        for ((after, info), time) in reports.iter().zip(&times) {
            let sent: Vec<&Got> =
                viewer.got[..*after].iter().filter(|got| got.ssrc() == ssrc).collect();
            assert_eq!(usize::try_from(info.sender_packet_count).unwrap(), sent.len());
            let bytes: usize = sent.iter().map(|got| got.payload.len()).sum();
            assert_eq!(usize::try_from(info.sender_octet_count).unwrap(), bytes);
            // The first may have found no room yet.
            let Some(newest) = sent.last() else { continue };
            let since = (start + *time).saturating_duration_since(newest.at);
            let ticks = u64::try_from(since.as_millis()).unwrap() * clock_rate / 1_000;
            let expected = u64::from(newest.header.timestamp) + ticks;
            let error = info.rtp_time.numer().abs_diff(expected);
            assert!(error <= clock_rate / 50, "{error} ticks of {clock_rate}");
        }
    }
    let name = |(_, rtcp): &(usize, Rtcp)| {
        let Rtcp::SourceDescription(description) = rtcp else { return None };
        Some(description.reports.iter().map(|name| name.values.clone()).collect::<Vec<_>>())
    };
    let mut names = viewer.heard.iter().filter_map(name).flatten().map(|name| format!("{name:?}"));
    let first = names.next().unwrap();
    assert!(names.clone().count() > 2 && names.all(|name| name == first), "one for both");
    stage.viewers[0].forget();
    stage.run(5 * SECOND);
    let reports = stage.viewers[0].heard.iter();
    assert_eq!(reports.count(), 0, "nothing is sent that one could report");
}

#[test]
fn whoever_wishes_for_a_key_frame_and_how_often_the_publisher_is_asked_once_in_a_while() {
    for kind in [KeyframeRequestKind::Pli, KeyframeRequestKind::Fir] {
        let limits = Limits { keyframe_interval_min: SECOND, ..Limits::default() };
        let mut stage = Stage::watched(limits);
        stage.watch(3, &Setup::default());
        stage.watch(4, &Setup::default());
        stage.run(SECOND);
        let packet = packet(&stage, 1, true, 100);
        stage.fan_out(&[packet]);
        stage.run(2 * SECOND);
        stage.ends[0].facts.clear();
        for _ in 0..9 {
            stage.viewers.iter_mut().for_each(|viewer| viewer.ask(kind));
            stage.run(MOMENT);
        }
        assert_eq!(stage.ends[0].wishes(), 1, "{kind:?}");
        stage.run(SECOND);
        assert_eq!(stage.ends[0].wishes(), 2, "{kind:?}: the last of them is not forgotten");
        stage.run(3 * SECOND);
        assert_eq!(stage.ends[0].wishes(), 2, "{kind:?}");
    }
}

/// Sends pictures of which only the first comes through; tells their numbers.
fn lose(stage: &mut Stage, len: usize, count: u8) -> Vec<u16> {
    let first = packet(stage, 0, true, len);
    stage.fan_out(&[first]);
    stage.carry_out();
    let first = stage.viewers[0].got_of(Kind::Video)[0].header.sequence_number;
    for seq in 1..count {
        let packet = packet(stage, seq, false, len);
        stage.fan_out(&[packet]);
        stage.lose_out();
    }
    (0..u16::from(count)).map(|seq| first.wrapping_add(seq)).collect()
}

#[test]
fn what_is_missed_comes_again_as_it_was_on_the_stream_for_that() {
    let mut stage = Stage::watched(Limits::default());
    let seqs = lose(&mut stage, 100, 5);
    let mut voice = Voice::of(&stage);
    let [sound, picture, again] = stage.viewers[0].ssrcs;
    let two = [seqs[3], seqs[1], seqs[3]];
    voice.miss(&mut stage, picture, &two);
    stage.carry_out();
    let got = stage.viewers[0].got_again();
    let originals: Vec<u16> = got.iter().map(original).collect();
    assert_eq!(originals, [seqs[3], seqs[1]], "each once, in the order of the wish");
    assert_eq!(got.iter().map(Got::tag).collect::<Vec<u8>>(), [3, 1]);
    assert_eq!(got.iter().map(|got| got.header.timestamp).collect::<Vec<u32>>(), [9_000, 3_000]);
    assert!(got.iter().all(|got| got.payload.len() == 102 && got.header.marker));
    assert_eq!(got[1].header.sequence_number, got[0].header.sequence_number.wrapping_add(1));
    assert_eq!(*got[0].header.payload_type, 97);
    stage.viewers[0].forget();
    voice.miss(&mut stage, sound, &seqs);
    voice.miss(&mut stage, again, &seqs);
    voice.miss(&mut stage, picture, &[seqs[0].wrapping_sub(1), seqs[4].wrapping_add(1)]);
    stage.carry_out();
    assert_eq!(stage.viewers[0].got_again().len(), 0, "that was never sent, or is not kept");
    voice.miss(&mut stage, picture, &seqs[1..2]);
    stage.carry_out();
    assert_eq!(stage.viewers[0].got_again().len(), 1, "it may be lost once more");
}

#[test]
fn what_is_sent_again_is_a_share_of_what_is_sent() {
    let mut stage = Stage::watched(Limits::default());
    let seqs = lose(&mut stage, 1_000, 250);
    let mut voice = Voice::of(&stage);
    let picture = stage.viewers[0].ssrcs[1];
    // Three times over, which is more than the share by far.
    for _ in 0..3 {
        for some in seqs.chunks(200) {
            voice.miss(&mut stage, picture, some);
        }
        stage.carry_out();
    }
    let again = stage.viewers[0].got_again().len();
    let share = (256 * 1_024 / 4 + 250 * (1_000 / 6)) / 1_000;
    assert_eq!(again, share);
    for seq in 0..6 {
        let packet = packet(&stage, seq + 250 - 250, true, 1_000);
        let packet = crate::media::Packet { seq: 250 + u64::from(seq), ..packet };
        stage.fan_out(&[packet]);
        stage.carry_out();
    }
    voice.miss(&mut stage, picture, &seqs[200..]);
    stage.carry_out();
    let more = stage.viewers[0].got_again().len();
    assert!((share + 1..=share + 2).contains(&more), "one for six more, not {}", more - share);
}

#[test]
fn what_one_viewer_may_miss_at_once_is_bounded() {
    let mut stage = Stage::watched(Limits::default());
    let packets: Vec<_> = (0..1_000u64)
        .map(|seq| crate::media::Packet { seq, ..packet(&stage, 1, seq == 0, 40) })
        .collect();
    stage.fan_out(&packets);
    stage.carry_out();
    let got = stage.viewers[0].got_of(Kind::Video);
    assert_eq!(got.len(), 1_000);
    let seqs: Vec<u16> = got.iter().map(|got| got.header.sequence_number).collect();
    let mut voice = Voice::of(&stage);
    let picture = stage.viewers[0].ssrcs[1];
    for some in seqs.chunks(200) {
        voice.miss(&mut stage, picture, some);
    }
    stage.carry_out();
    let again: Vec<u16> = stage.viewers[0].got_again().iter().map(original).collect();
    assert_eq!(again, seqs[..512]);
}

/// Each is looked for among those that are known to be missed.
#[test]
fn of_one_report_so_many_numbers_are_read_as_a_viewer_may_miss_at_once() {
    let mut stage = Stage::watched(Limits::default());
    let seqs = lose(&mut stage, 100, 20);
    let mut voice = Voice::of(&stage);
    let picture = stage.viewers[0].ssrcs[1];
    // A number and the 16 behind it: 31 times that are 527.
    for (times, is_read) in [(30, true), (31, false)] {
        let mut plain = vec![0x81, 205, 0, 2 + times + 1, 0xde, 0xad, 0, 1];
        plain.extend(picture.to_be_bytes());
        for _ in 0..times {
            plain.extend(seqs[1].to_be_bytes());
            plain.extend([0xff; 2]);
        }
        plain.extend(seqs[19].to_be_bytes());
        plain.extend([0; 2]);
        voice.say(&mut stage, &plain);
        stage.carry_out();
        let again: Vec<u16> = stage.viewers[0].got_again().iter().map(original).collect();
        let expected =
            if is_read { [&seqs[1..18], &seqs[19..]].concat() } else { seqs[1..18].to_vec() };
        assert_eq!(again, expected, "{times} times");
        stage.viewers[0].forget();
    }
}

/// The section is named until the viewer says that it knows whose the source is.
#[test]
fn a_source_is_named_until_it_is_known() {
    let mut stage = Stage::watched(Limits::default());
    for seq in 0..100u8 {
        let packets = [packet(&stage, seq, seq == 0, 100), sound(&stage, seq)];
        stage.fan_out(&packets);
        if seq % 10 == 7 {
            stage.lose_out();
        }
        stage.run(Duration::from_millis(80));
    }
    let viewer = &stage.viewers[0];
    for (ssrc, kind) in viewer.ssrcs.iter().zip([Kind::Audio, Kind::Video, Kind::Video]) {
        let of_source = viewer.got.iter().filter(|got| got.ssrc() == *ssrc);
        let mids: Vec<_> = of_source.map(|got| got.header.ext_vals.mid).collect();
        assert!(mids.len() > 5, "{}", mids.len());
        assert_eq!(mids[0], Some(viewer.mid(kind)));
        let named = mids.iter().take_while(|mid| **mid == Some(viewer.mid(kind))).count();
        assert!(mids[named..].iter().all(Option::is_none), "{mids:?}");
        assert!(*ssrc == viewer.ssrcs[2] || named < mids.len(), "{mids:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is said in a viewer's name does no harm.
    #[test]
    fn nonsense_under_a_viewers_seal_does_no_harm(
        words in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..120).prop_map(|bytes| {
                let words = u8::try_from(bytes.len() / 4 + 1).unwrap();
                let mut plain = vec![0x81, 205, 0, words, 0xde, 0xad, 0, 1];
                plain.extend(&bytes[..bytes.len() / 4 * 4]);
                plain
            }),
            1..20,
        ),
        kinds in prop::collection::vec(200u8..208, 20),
    ) {
        let mut stage = Stage::watched(Limits::default());
        let mut voice = Voice::of(&stage);
        for (mut plain, kind) in words.into_iter().zip(kinds) {
            plain[1] = kind;
            voice.say(&mut stage, &plain);
            stage.run(Duration::from_millis(10));
        }
        let seqs = lose(&mut stage, 100, 3);
        let picture = stage.viewers[0].ssrcs[1];
        let mut other = Voice::of(&stage);
        other.srtp = voice.srtp;
        other.miss(&mut stage, picture, &seqs[1..]);
        stage.carry_out();
        let again = stage.viewers[0].got_again();
        prop_assert_eq!(again.len(), 2);
        prop_assert_eq!(ahead(original(&again[1]), original(&again[0])), 1);
    }
}

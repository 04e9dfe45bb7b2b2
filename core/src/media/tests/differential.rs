//! What a viewer gets of us, and what an equal one gets of a plain str0m that is given the same
//! packets with numbers from a plain computation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use str0m::change::SdpOffer;
use str0m::crypto::CryptoProvider;
use str0m::crypto::dtls::{DtlsProvider, SrtpProfile};
use str0m::ice::IceCreds;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap, RtpWrite, VideoOrientation};
use str0m::{Input, Output, Rtc};

use self::narrow::{CM, GCM_128, GCM_256};
use self::numbers::{Numbered, Publisher, numbered};
use super::stage::{PORT, Stage, formats};
use super::viewer::{Got, Setup, Viewer, ahead};
use super::*;
use crate::limits::Limits;
use crate::media::format::Offered;
use crate::media::packet::Kind;
use crate::media::{Packet, rtc};

mod narrow;
mod numbers;

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

/// Plain str0m that sends, and its viewer.
struct Reference {
    rtc: Rtc,
    viewer: Viewer,
    tracks: [(Kind, Mid, Offered); 2],
    now: Instant,
}

impl Reference {
    fn new(now: Instant, setup: &Setup) -> Self {
        let mut bench = Bench::new();
        bench.now = now;
        bench.config.crypto = setup.crypto.clone();
        let (mut viewer, offer) = Viewer::new(now, setup, 51_500);
        let narrowed = Offer::parse(&offer).unwrap().narrow_to_send(&formats()).unwrap();
        let creds = IceCreds { ufrag: "abcd".to_owned(), pass: "a".repeat(24) };
        let codecs = [narrowed.audio, narrowed.video];
        let (mut rtc, _) = rtc::build(&bench.ctx(), creds, codecs, PORT, true, false);
        let offer = SdpOffer::from_sdp_string(&narrowed.sdp()).unwrap();
        let answer = rtc.sdp_api().accept_offer(offer).unwrap();
        viewer.take_answer(now, &answer.to_sdp_string());
        let mid = viewer.mid(Kind::Video);
        let mut api = rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        // Its share of what is sent again is another, and not what is compared.
        stream.set_rtx_cache(1_024, 3 * SECOND, None);
        let track = |kind, codec: Option<Offered>| (kind, viewer.mid(kind), codec.unwrap());
        let [audio, video] = codecs;
        let tracks = [track(Kind::Audio, audio), track(Kind::Video, video)];
        Self { rtc, viewer, tracks, now }
    }

    fn write(&mut self, packet: &Numbered) {
        let (kind, mid, codec) = self.tracks[usize::from(packet.kind == Kind::Video)];
        let seq_no = (20_000 + packet.seq).into();
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        let payload = packet.payload.clone();
        stream.write_rtp(
            RtpWrite::new(codec.pt.into(), seq_no, packet.time, self.now, payload)
                .marker(packet.marker)
                .ext_vals(packet.extensions.values())
                .nackable(kind == Kind::Video),
        );
    }

    /// Sends what was written; loses it, if so wished.
    fn send(&mut self, is_lost: bool) {
        self.rtc.handle_input(Input::Timeout(self.now)).unwrap();
        self.poll(is_lost);
    }

    fn poll(&mut self, is_lost: bool) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) if !is_lost => {
                    self.viewer.receive(self.now, transmit.source, &transmit.contents);
                }
                Output::Transmit(_) | Output::Event(_) => {}
            }
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        self.send(false);
        self.viewer.advance(self.now);
        while let Some((to, datagram)) = self.viewer.pop() {
            let receive = Receive::new(Protocol::Udp, self.viewer.at, to, &datagram).unwrap();
            self.rtc.handle_input(Input::Receive(self.now, receive)).unwrap();
            self.poll(false);
        }
    }
}

/// Both sides.
struct Both {
    stage: Stage,
    reference: Reference,
}

impl Both {
    fn new(setup: &Setup) -> Self {
        let mut stage = Stage::new(Limits::default());
        stage.bench.config.crypto = setup.crypto.clone();
        stage.send_runs(10);
        stage.watch(1, setup);
        let reference = Reference::new(stage.bench.now, setup);
        let mut both = Self { stage, reference };
        both.run(SECOND);
        assert!(both.ours().is_connected && both.theirs().is_connected);
        both
    }

    fn ours(&self) -> &Viewer {
        &self.stage.viewers[0]
    }

    fn theirs(&self) -> &Viewer {
        &self.reference.viewer
    }

    fn run(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / STEP.as_millis() {
            self.stage.run(STEP);
            self.reference.step();
        }
    }

    /// Gives both what came in at once; one gets the packets, one those of them that are to be
    /// sent, with their numbers.
    fn feed(&mut self, packets: &[Packet], numbered: &[Numbered], is_lost: bool) {
        self.stage.fan_out(packets);
        if is_lost {
            self.stage.lose_out();
        } else {
            self.stage.carry_out();
        }
        numbered.iter().for_each(|packet| self.reference.write(packet));
        self.reference.send(is_lost);
    }
}

/// A packet as it has to be the same on both sides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Seen {
    seq: i64,
    time: u32,
    marker: bool,
    pt: u8,
    levels: (Option<i8>, Option<bool>),
    orientation: Option<u8>,
    content_type: Option<u8>,
    /// How often each byte comes, in order.
    payload: Vec<(u8, usize)>,
}

fn run_lengths(payload: &[u8]) -> Vec<(u8, usize)> {
    payload.chunk_by(|one, other| one == other).map(|run| (run[0], run.len())).collect()
}

fn seen(got: &Got, seq: i64, payload: &[u8]) -> Seen {
    let header = &got.header;
    assert_eq!((header.version, header.csrc_count, header.has_padding), (2, 0, false));
    let values = &header.ext_vals;
    Seen {
        seq,
        time: header.timestamp,
        marker: header.marker,
        pt: *header.payload_type,
        levels: (values.audio_level, values.voice_activity),
        orientation: values.video_orientation.map(|orientation| orientation as u8),
        content_type: values.video_content_type,
        payload: run_lengths(payload),
    }
}

/// What came of a medium in order, by distance from `first`.
fn main_stream(viewer: &Viewer, kind: Kind, first: u16) -> Vec<Seen> {
    let got = viewer.got_of(kind);
    let seen = |got: &Got| seen(got, ahead(got.header.sequence_number, first), &got.payload);
    got.iter().map(seen).collect()
}

/// What came again, each once, by the number that it had, with that cut off.
fn resent_stream(viewer: &Viewer, first: u16) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    let mut numbers = Vec::new();
    for got in viewer.got_again() {
        numbers.push(got.header.sequence_number);
        let (original, payload) = got.payload.split_first_chunk().unwrap();
        let seen = seen(&got, ahead(u16::from_be_bytes(*original), first), payload);
        all.push(seen);
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    all.sort();
    all.dedup();
    all
}

/// What holds for all that a viewer gets, of whom ever.
fn check_transport(viewer: &Viewer, has_lost: bool) {
    let counts = viewer.got.iter().map(|got| got.header.ext_vals.transport_cc.unwrap());
    let counts: Vec<u16> = counts.collect();
    if has_lost {
        assert!(counts.windows(2).all(|pair| ahead(pair[1], pair[0]) > 0), "{counts:?}");
    } else {
        assert!(counts.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{counts:?}");
    }
    for got in &viewer.got {
        assert!(viewer.ssrcs.contains(&got.ssrc()), "{got:?}");
        let kind = if got.ssrc() == viewer.ssrcs[0] { Kind::Audio } else { Kind::Video };
        assert!(got.header.ext_vals.mid.is_none_or(|mid| mid == viewer.mid(kind)));
    }
    for ssrc in viewer.ssrcs {
        let mut of_source = viewer.got.iter().filter(|got| got.ssrc() == ssrc);
        if let Some(first) = of_source.next() {
            assert!(first.header.ext_vals.mid.is_some(), "it cannot be known yet");
        }
    }
    // The time of sending goes with the clock, to 18 bits behind the point of a second.
    for pair in viewer.got.windows(2) {
        let sent = |got: &Got| got.header.ext_vals.abs_send_time.unwrap();
        let passed = (pair[1].at - pair[0].at).as_micros() % 64_000_000;
        let said = if sent(&pair[1]) < sent(&pair[0]) {
            64_000_000 - (sent(&pair[0]) - sent(&pair[1])).as_micros()
        } else {
            (sent(&pair[1]) - sent(&pair[0])).as_micros()
        };
        assert!(passed.abs_diff(said) < 20, "{passed} us, {said} us");
    }
}

/// Whether this is a picture's packet that was sent again.
fn is_again(packet: &Numbered, seq: u64, seen: &Seen) -> bool {
    let extensions = &packet.extensions;
    packet.kind == Kind::Video
        && (packet.seq, packet.time, packet.marker) == (seq, seen.time, seen.marker)
        && extensions.video_orientation.map(|orientation| orientation as u8) == seen.orientation
        && extensions.video_content_type == seen.content_type
        && run_lengths(&packet.payload) == seen.payload
}

fn compare(both: &Both, Played { sent, newest_run, lost }: &Played) {
    let lost = *lost;
    for kind in [Kind::Audio, Kind::Video] {
        let begins =
            |viewer: &Viewer| viewer.got_of(kind).first().map(|got| got.header.sequence_number);
        assert_eq!(begins(both.ours()).is_some(), begins(both.theirs()).is_some());
        let (Some(ours), Some(theirs)) = (begins(both.ours()), begins(both.theirs())) else {
            continue;
        };
        assert!(ours < 0x8000, "or the viewer may take it for one of a second round");
        let stream = main_stream(both.ours(), kind, ours);
        assert_eq!(stream, main_stream(both.theirs(), kind, theirs));
        if lost == 0 {
            assert_eq!(stream.len(), sent.iter().filter(|packet| packet.kind == kind).count());
        }
        if kind == Kind::Video {
            let again = resent_stream(both.ours(), ours);
            assert!(again.len() <= lost);
            assert!(again.iter().all(|seen| stream.iter().all(|other| other.seq != seen.seq)));
            // Numbers count from the first that came, which is not the first if that was lost.
            let begins = |packet: &&Numbered| {
                packet.kind == kind && run_lengths(&packet.payload) == stream[0].payload
            };
            let first = sent.iter().find(begins).unwrap().seq;
            let run_of = |seen: &Seen| {
                let seq = first.checked_add_signed(seen.seq).unwrap();
                let packet = sent.iter().find(|packet| is_again(packet, seq, seen));
                packet.unwrap_or_else(|| panic!("{seen:?} was never sent")).run
            };
            let runs: Vec<u32> = again.iter().map(run_of).collect();
            // str0m may find that it has sent enough again. Of a run that is over we may not find
            // all: what comes of the next one, for this viewer or not, takes its place.
            for seen in resent_stream(both.theirs(), theirs) {
                assert!(again.contains(&seen) || run_of(&seen) != *newest_run, "{runs:?} {seen:?}");
            }
        }
    }
    check_transport(both.ours(), lost > 0);
    check_transport(both.theirs(), lost > 0);
}

/// Numbers of a viewer's extensions: those of the browsers, or such that the headers are wide.
fn extensions(are_wide: bool) -> ExtensionMap {
    let mut extensions = Setup::default().extensions;
    if are_wide {
        extensions = ExtensionMap::empty();
        extensions.set(16, Extension::AudioLevel);
        extensions.set(15, Extension::VideoOrientation);
        extensions.set(1, Extension::AbsoluteSendTime);
        extensions.set(2, Extension::RtpMid);
        extensions.set(9, Extension::TransportSequenceNumber);
        extensions.set(14, Extension::VideoContentType);
    }
    extensions
}

fn setup(profile: &'static dyn DtlsProvider, are_wide: bool) -> Setup {
    let crypto = CryptoProvider { dtls_provider: profile, ..crate::crypto_provider() };
    let crypto = Arc::new(crypto);
    Setup { crypto, extensions: extensions(are_wide), ..Setup::default() }
}

/// Something happens at the publisher, or on the way.
#[derive(Clone, Debug)]
enum Come {
    /// A picture of so many packets of so many bytes; of a key frame, perhaps.
    Picture {
        packets: u8,
        len: usize,
        entry: bool,
    },
    Sound {
        len: usize,
    },
    /// So many of the publisher's packets never come in.
    Gap {
        packets: u64,
    },
    /// Another publisher takes over.
    Another,
    /// The next two change places.
    Overtake,
    /// What comes next is lost on the way to the viewers.
    Lose,
    Wait {
        ms: u64,
    },
}

fn come() -> impl Strategy<Value = Come> {
    let len = prop_oneof![1usize..40, 1_100usize..=1_200];
    prop_oneof![
        12 => (1u8..6, len.clone(), prop::bool::weighted(0.2))
            .prop_map(|(packets, len, entry)| Come::Picture { packets, len, entry }),
        8 => len.prop_map(|len| Come::Sound { len }),
        1 => (1u64..20).prop_map(|packets| Come::Gap { packets }),
        1 => Just(Come::Another),
        3 => Just(Come::Overtake),
        2 => Just(Come::Lose),
        8 => (0u64..60).prop_map(|ms| Come::Wait { ms: ms / 10 * 10 }),
    ]
}

fn orientation(number: u64) -> VideoOrientation {
    match number % 4 {
        0 => VideoOrientation::Deg0,
        1 => VideoOrientation::Deg90,
        2 => VideoOrientation::Deg180,
        _ => VideoOrientation::Deg270,
    }
}

/// What was played to both sides.
struct Played {
    /// What should have gone out.
    sent: Vec<Numbered>,
    /// The newest one of which picture came in; its key frame may still be missing.
    newest_run: u32,
    /// How many of those that went out were lost.
    lost: usize,
}

fn play(both: &mut Both, comes: &[Come]) -> Played {
    let mut publisher = Publisher::new(both.stage.bench.now);
    let (mut batches, mut overtake) = (Vec::<(Vec<Packet>, bool)>::new(), false);
    let mut losing = false;
    let (mut sent, mut all, mut lost) = (Vec::new(), Vec::new(), 0);
    for come in comes {
        let mut batch = match come {
            Come::Picture { packets, len, entry } => publisher.picture(*packets, *len, *entry),
            Come::Sound { len } => publisher.sound(*len),
            Come::Gap { packets } => {
                publisher.skip(*packets);
                continue;
            }
            Come::Another => {
                publisher = publisher.another();
                continue;
            }
            Come::Overtake => {
                overtake = true;
                continue;
            }
            Come::Lose => {
                losing = true;
                continue;
            }
            Come::Wait { ms } => {
                both.run(Duration::from_millis(*ms));
                publisher.now = both.stage.bench.now;
                continue;
            }
        };
        if std::mem::take(&mut overtake) && batch.len() > 1 {
            let last = batch.len() - 1;
            batch.swap(0, last);
        }
        all.extend(batch.iter().cloned());
        let new = numbered(&all)[sent.len()..].to_vec();
        let is_lost = std::mem::take(&mut losing);
        lost += if is_lost { new.len() } else { 0 };
        both.feed(&batch, &new, is_lost);
        sent.extend(new);
        batches.push((batch, is_lost));
    }
    both.run(2 * SECOND);
    let pictures = all.iter().filter(|packet| packet.kind == Kind::Video);
    let newest_run = pictures.map(|packet| packet.run).max().unwrap_or(0);
    Played { sent, newest_run, lost }
}

fn profiles() -> [(SrtpProfile, &'static dyn DtlsProvider); 3] {
    [
        (SrtpProfile::AEAD_AES_256_GCM, &GCM_256),
        (SrtpProfile::AEAD_AES_128_GCM, &GCM_128),
        (SrtpProfile::AES128_CM_SHA1_80, &CM),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn viewers_get_of_us_what_they_get_of_str0m(
        are_wide: bool,
        comes in prop::collection::vec(come(), 1..60),
    ) {
        for (profile, provider) in profiles() {
            let mut both = Both::new(&setup(provider, are_wide));
            prop_assert_eq!(both.stage.peer(1).keys().unwrap().profile, profile);
            let played = play(&mut both, &comes);
            compare(&both, &played);
        }
    }
}

/// Over a number that ends in 65 535, and over gaps that hide it.
#[test]
fn numbers_go_around() {
    for (_, provider) in profiles() {
        let mut both = Both::new(&setup(provider, false));
        let mut comes = vec![Come::Picture { packets: 1, len: 100, entry: true }];
        for _ in 0..80 {
            comes.push(Come::Gap { packets: 900 });
            comes.push(Come::Picture { packets: 2, len: 100, entry: false });
            comes.push(Come::Wait { ms: 10 });
        }
        let played = play(&mut both, &comes);
        assert!(played.sent.last().unwrap().seq > 1 << 16);
        compare(&both, &played);
    }
}

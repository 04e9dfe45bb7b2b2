//! Peers that we send to: str0m does ICE, DTLS and SDP, and has no keys; all media is ours.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::ice::IceCreds;
use str0m::media::KeyframeRequestKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Event, Input, Output, Rtc};

use super::stage::{PORT, Stage, address, formats, packet};
use super::viewer::{Setup, Viewer};
use super::*;
use crate::limits::Limits;
use crate::media::datagram::is_media;
use crate::media::packet::Kind;
use crate::media::rtc;
use crate::message::ToMedia;
use crate::output::SendBuffer;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(100);

/// str0m as it is set up for peers, alone with a viewer.
struct Bare {
    rtc: Rtc,
    viewer: Viewer,
    now: Instant,
    /// What it sent that is media.
    media: usize,
    /// What it understood of the viewer's RTCP.
    understood: usize,
}

impl Bare {
    /// Tells whether there are keys in the end, too.
    fn after_two_minutes(is_keyless: bool) -> (Self, bool) {
        let mut bench = Bench::new();
        let (viewer, offer) = Viewer::new(bench.now, &Setup::default(), 51_000);
        let narrowed = Offer::parse(&offer).unwrap().narrow_to_send(&formats()).unwrap();
        let creds = IceCreds { ufrag: "abcd".to_owned(), pass: "a".repeat(24) };
        let (codecs, now) = ([narrowed.audio, narrowed.video], bench.now);
        let (rtc, handshake) = rtc::build(&bench.ctx(), creds, codecs, PORT, true, is_keyless);
        let mut bare = Self { rtc, viewer, now, media: 0, understood: 0 };
        let offer = SdpOffer::from_sdp_string(&narrowed.sdp()).unwrap();
        let answer = bare.rtc.sdp_api().accept_offer(offer).unwrap();
        bare.viewer.take_answer(now, &answer.to_sdp_string());
        for step in 0..2_400u32 {
            bare.step();
            if bare.viewer.is_connected && step > 20 {
                bare.write(step, narrowed.video.unwrap().pt);
                bare.viewer.ask(KeyframeRequestKind::Pli);
            }
        }
        assert!(bare.viewer.is_connected && !bare.viewer.is_lost);
        (bare, handshake.is_some_and(|handshake| handshake.keys().is_some()))
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(50);
        self.rtc.handle_input(Input::Timeout(self.now)).unwrap();
        self.poll();
        self.viewer.advance(self.now);
        for _ in 0..4 {
            while let Some((to, datagram)) = self.viewer.pop() {
                let from = self.viewer.at;
                let receive = Receive::new(Protocol::Udp, from, to, &datagram).unwrap();
                self.rtc.handle_input(Input::Receive(self.now, receive)).unwrap();
                self.poll();
            }
        }
    }

    fn write(&mut self, seq: u32, pt: u8) {
        let mid = self.viewer.mid(Kind::Video);
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        let seq_no = u64::from(seq).into();
        stream.write_rtp(RtpWrite::new(pt.into(), seq_no, seq * 4_500, self.now, vec![1; 100]));
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => {
                    self.media += usize::from(is_media(&transmit.contents));
                    self.viewer.receive(self.now, transmit.source, &transmit.contents);
                }
                Output::Event(Event::KeyframeRequest(_)) => self.understood += 1,
                Output::Event(_) => {}
            }
        }
    }
}

#[test]
fn without_keys_str0m_seals_nothing_and_opens_nothing() {
    let (bare, has_keys) = Bare::after_two_minutes(true);
    assert!(has_keys);
    assert_eq!((bare.media, bare.understood), (0, 0));
    assert!(bare.viewer.got.is_empty() && bare.viewer.heard.is_empty());
    assert!(bare.viewer.said.len() > 20, "the viewer did say something");
    let (bare, has_keys) = Bare::after_two_minutes(false);
    assert!(!has_keys, "they are str0m's alone");
    assert!(bare.media > 2_000 && bare.understood > 20, "it would else");
}

#[test]
fn every_offer_gets_keys_of_its_own() {
    let mut stage = Stage::new(Limits::default());
    for peer in 1..=3 {
        stage.watch(peer, &Setup::default());
    }
    stage.run(SECOND);
    let material = |peer| stage.peer(peer).keys().unwrap().material.to_vec();
    let ufrags = [1, 2, 3].map(|peer| stage.peer(peer).ice.ufrag.clone());
    assert!(material(1) != material(2) && material(2) != material(3) && material(1) != material(3));
    assert!(ufrags[0] != ufrags[1] && ufrags[1] != ufrags[2] && ufrags[0] != ufrags[2]);
    let [one, other] = [0, 1].map(|nth| stage.viewers[nth].ssrcs);
    assert!(one.iter().all(|ssrc| !other.contains(ssrc)));
}

#[test]
fn a_peer_that_publishes_leaves_its_keys_to_str0m() {
    let mut stage = Stage::watched(Limits::default());
    assert!(stage.peer(1).keys().is_none() && stage.peer(2).keys().is_some());
    let packet = packet(&stage, 1, true, 100);
    stage.ends[0].write(packet);
    stage.run(MOMENT);
    assert_eq!(stage.viewers[0].tags(), [1], "which opens what comes");
}

#[test]
fn dtls_still_reaches_str0m_where_media_does_not() {
    let limits = Limits { goodbye_timeout: SECOND, ..Limits::default() };
    let mut stage = Stage::watched(limits);
    let now = stage.bench.now;
    stage.viewers[0].say_goodbye(now);
    stage.run(3 * SECOND);
    assert_eq!(stage.failed, [(PeerId(2), PeerFault::Gone)]);
}

/// What looks like media but is not of this viewer changes nothing, and nobody is woken for it.
#[test]
fn media_that_nobody_sealed_does_nothing() {
    let mut stage = Stage::watched(Limits::default());
    let limits = Limits::default();
    let flow = crate::input::Flow { local: address(PORT), remote: stage.viewers[0].at };
    let before = stage.peer(2).next_timeout(&limits);
    stage.wait(Duration::from_millis(1));
    for kind in 0..=255 {
        for len in [2, 12, 40, 1_400] {
            let mut datagram = vec![0x80; len];
            datagram[1] = kind;
            let ctx = &mut stage.bench.ctx();
            stage.media.handle_datagrams(ctx, flow, &datagram, len);
        }
    }
    assert_eq!(stage.peer(2).next_timeout(&limits), before);
    assert!(!stage.peer(2).has_more(None));
    stage.run(SECOND);
    assert!(stage.failed.is_empty());
    assert_eq!(stage.ends[0].wishes(), 0);
}

/// Where a picture goes now, of which nothing arrives.
fn route(stage: &mut Stage) -> SocketAddr {
    let packet = packet(stage, 1, true, 100);
    stage.fan_out(&[packet]);
    let mut send = SendBuffer::new(10);
    let transmit = stage.media.poll_transmit(&mut stage.bench.ctx(), &mut send).unwrap();
    assert!(is_media(send.run(&transmit)));
    stage.lose_out();
    transmit.flow.remote
}

/// A viewer, of whom nothing is known but what it sends from.
fn stage() -> Stage {
    let mut stage = Stage::new(Limits::default());
    stage.watch(2, &Setup { names_address: false, ..Setup::default() });
    stage.run(SECOND);
    assert_eq!(route(&mut stage), address(51_000));
    stage
}

#[test]
fn media_follows_the_viewer_to_a_better_address_at_once() {
    let mut stage = stage();
    let to = "[2001:db8::7]:7".parse().unwrap();
    let now = stage.bench.now;
    stage.viewers[0].move_to(now, to);
    stage.run(SECOND);
    assert_eq!(route(&mut stage), to);
    let second = packet(&stage, 2, true, 100);
    stage.fan_out(&[second]);
    stage.run(MOMENT);
    assert_eq!(*stage.viewers[0].tags().last().unwrap(), 2);
    assert!(!stage.viewers[0].is_lost);
}

/// ICE prefers the best pair, which is the old one until that was silent for a while.
#[test]
fn media_follows_the_viewer_to_any_address_soon() {
    let mut stage = stage();
    let now = stage.bench.now;
    stage.viewers[0].move_to(now, address(52_000));
    stage.run(20 * SECOND);
    assert_eq!(route(&mut stage), address(52_000));
    assert!(!stage.viewers[0].is_lost && stage.failed.is_empty());
}

/// A NAT that forgets gives the viewer another port, of which it knows nothing.
#[test]
fn media_follows_the_viewer_behind_a_forgetful_nat() {
    let mut stage = stage();
    stage.viewers[0].at = address(53_000);
    stage.run(20 * SECOND);
    assert_eq!(route(&mut stage), address(53_000));
    assert!(!stage.viewers[0].is_lost && stage.failed.is_empty());
}

#[test]
fn a_viewer_that_is_dropped_is_sent_nothing_more() {
    let mut stage = Stage::watched(Limits::default());
    stage.handle(ToMedia::Drop { peer: PeerId(2) });
    let packet = packet(&stage, 1, true, 100);
    stage.fan_out(&[packet]);
    assert_eq!(stage.lose_out(), [0; 0]);
}

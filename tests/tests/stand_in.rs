//! The stand-in and the simulated cryptography, checked against plain str0m before anything of
//! ours is checked against them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_tests::browser::{Browser, Codec, Output as Wants, Session, Shape, Stamp};
use distributary_tests::sim::crypto::{Srtp, certificate, provider};
use serde_json::json;
use str0m::change::SdpOffer;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

const HOP: Duration = Duration::from_millis(20);

/// A browser and a plain str0m peer that answers it, with a network of 20 ms between them.
struct Pair {
    now: Instant,
    browser: Browser,
    id: String,
    here: SocketAddr,
    there: SocketAddr,
    rtc: Rtc,
    rtc_due: Instant,
    flying: Vec<(Instant, bool, Vec<u8>)>,
    packets: Vec<(Codec, Stamp)>,
    write_due: Option<Instant>,
    written: u32,
    requests: u32,
    lossy: bool,
    lost: usize,
}

impl Pair {
    fn new(srtp: Srtp, shape: Shape, publishing: bool) -> Self {
        fastrand::seed(7);
        let now = Instant::now();
        let here: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let there: SocketAddr = "10.0.0.2:31001".parse().unwrap();
        let crypto = provider(srtp);
        let mut browser = Browser::new(now, 5, crypto.clone());
        browser.opened();
        browser.text(now, r#"{"message":"getUserData","data":[{"authToken":"t"}]}"#);
        assert_eq!(browser.session(), Session::Established);
        let id = if publishing {
            browser.publish(now, "ab12", shape, here)
        } else {
            browser.play(now, "ab12", shape, here)
        };
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(crypto)
            .set_dtls_cert(certificate(2))
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(there, "udp").unwrap());
        let offer = sent_offer(&mut browser);
        let answer = rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(&offer).unwrap());
        let answer = one_stream(&answer.unwrap().to_sdp_string());
        let message = json!({"message": "setRemoteSDP", "data": [id, answer, true]});
        browser.text(now, &message.to_string());
        assert_eq!(browser.complaints(), [] as [&str; 0]);
        Self {
            now,
            browser,
            id,
            here,
            there,
            rtc,
            rtc_due: now,
            flying: Vec::new(),
            packets: Vec::new(),
            write_due: None,
            written: 0,
            requests: 0,
            lossy: false,
            lost: 0,
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let browser_due = self.drain_browser();
            self.drain_rtc();
            let due = self
                .flying
                .iter()
                .map(|(at, ..)| *at)
                .chain(browser_due)
                .chain(self.write_due)
                .fold(self.rtc_due, Instant::min);
            if due > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(due);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let (arrived, flying): (Vec<_>, Vec<_>) =
            self.flying.drain(..).partition(|(at, ..)| *at <= now);
        self.flying = flying;
        for (_, to_browser, bytes) in arrived {
            if to_browser {
                self.browser.datagram(now, self.here, self.there, &bytes);
            } else {
                let receive = Receive::new(Protocol::Udp, self.here, self.there, &bytes).unwrap();
                self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
                self.drain_rtc();
            }
        }
        self.browser.timeout(now);
        if self.write_due.is_some_and(|due| due <= now) {
            self.write_due = Some(now + HOP);
            self.write_video();
        }
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
    }

    fn drain_browser(&mut self) -> Option<Instant> {
        loop {
            match self.browser.poll() {
                Wants::Datagram(datagram) => {
                    assert_eq!((datagram.local, datagram.remote), (self.here, self.there));
                    self.flying.push((self.now + HOP, false, datagram.bytes));
                }
                Wants::Text(_) => {}
                Wants::Timeout(due) => return due,
            }
        }
    }

    fn drain_rtc(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(due) => {
                    self.rtc_due = due;
                    return;
                }
                Output::Transmit(transmit) => {
                    let media = transmit.contents[0] >= 128;
                    if self.lossy && media && fastrand::u8(..) < 20 {
                        self.lost += 1;
                    } else {
                        self.flying.push((self.now + HOP, true, transmit.contents.to_vec()));
                    }
                }
                Output::Event(Event::Connected) => self.write_due = Some(self.now),
                Output::Event(Event::KeyframeRequest(_)) => self.requests += 1,
                Output::Event(Event::RtpPacket(packet)) => {
                    let codec = match *packet.header.payload_type {
                        96 => Codec::Vp8,
                        102 => Codec::H264,
                        111 => Codec::Opus,
                        other => panic!("payload type {other}"),
                    };
                    let stamp = Stamp::find(&packet.payload).expect("payloads arrive unchanged");
                    self.packets.push((codec, stamp));
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Sends a frame of one packet to the browser; the first is no key frame, so it must ask.
    fn write_video(&mut self) {
        let key_frame = self.requests > 0 && self.written < 1000;
        self.written = if key_frame { 1000 } else { self.written + 1 };
        let stamp = Stamp { publisher: 9, counter: self.written, sent: HOP, key_frame };
        let payload = stamp.payload(Codec::Vp8, true, 100);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid("0".into(), None) else { return };
        let sequence = u64::from(self.written).into();
        let write = RtpWrite::new(96.into(), sequence, self.written, self.now, payload.as_slice());
        stream.write_rtp(write.marker(true).nackable(true));
    }
}

fn sent_offer(browser: &mut Browser) -> String {
    loop {
        let Wants::Text(text) = browser.poll() else { panic!("no offer was sent") };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        if let Some(sdp) = message["data"][0]["sdp"].as_str() {
            assert!(!sdp.contains("a=candidate"));
            return sdp.to_owned();
        }
    }
}

/// str0m puts each m-line into a stream of its own, and its format lines where the SDK breaks them.
fn one_stream(sdp: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in sdp.lines() {
        match line.strip_prefix("a=msid:").and_then(|msid| msid.split_once(' ')) {
            Some((_, track)) => lines.push(format!("a=msid:s {track}")),
            None => lines.push(line.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[test]
fn the_stand_in_publishes_to_str0m() {
    for srtp in [Srtp::Null, Srtp::Real] {
        for shape in [Shape::audio_video(), Shape::video_audio(), Shape::audio(), Shape::video()] {
            let (audio, video) = (shape.has_video(false), shape.has_video(true));
            let mut pair = Pair::new(srtp, shape, true);
            pair.run(Duration::from_secs(2));
            assert!(pair.browser.stream(&pair.id).unwrap().is_connected());
            let count = |video| pair.packets.iter().filter(|(c, _)| c.is_video() == video).count();
            assert_eq!(count(false) > 50, audio, "{srtp:?} {} of audio", count(false));
            assert_eq!(count(true) > 100, video, "{srtp:?} {} of video", count(true));
            assert!(pair.packets.iter().all(|(_, stamp)| stamp.publisher == 5));
        }
    }
}

#[test]
fn a_key_frame_follows_a_request() {
    let mut pair = Pair::new(Srtp::Null, Shape::video(), true);
    pair.run(Duration::from_secs(1));
    let keys = |pair: &Pair| {
        let firsts = pair.packets.iter().filter(|(_, stamp)| stamp.key_frame);
        firsts.map(|(_, stamp)| stamp.counter / 3).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(keys(&pair), 1, "one key frame at the start and no more unasked");
    let mut api = pair.rtc.direct_api();
    let stream = api.stream_rx_by_mid("0".into(), None).unwrap();
    stream.request_keyframe(KeyframeRequestKind::Pli);
    pair.run(Duration::from_secs(1));
    assert_eq!(keys(&pair), 2);
    assert_eq!(pair.browser.stream(&pair.id).unwrap().key_frame_requests().len(), 1);
}

#[test]
fn the_stand_in_plays_from_str0m_and_asks_for_the_key_frame_it_lacks() {
    for srtp in [Srtp::Null, Srtp::Real] {
        let mut pair = Pair::new(srtp, Shape::video(), false);
        pair.lossy = true;
        pair.run(Duration::from_secs(3));
        pair.lossy = false;
        pair.run(Duration::from_secs(1));
        assert!(pair.requests > 0);
        let track = pair.browser.stream(&pair.id).unwrap().track(true).unwrap().clone();
        assert!(track.packets.len() > 100, "{}", track.packets.len());
        assert!(matches!(track.publishers()[..], [(9, _)]), "{:?}", track.publishers());
        assert_eq!(track.faults(), [] as [&str; 0]);
        assert!(track.before_key_frame() > 0, "the first key frame came on request");
        let gaps: Vec<u64> = track.gaps().into_iter().filter(|at| *at > 1000).collect();
        // str0m limits what it sends again, so a few may stay away.
        assert!(gaps.len() * 3 < pair.lost, "{gaps:?} of {} stayed away", pair.lost);
    }
}

#[test]
fn a_false_fingerprint_is_refused() {
    let now = Instant::now();
    let (mut left, mut right) = (rtc(1, now), rtc(2, now));
    let (a, b): (SocketAddr, SocketAddr) =
        ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    left.add_local_candidate(Candidate::host(a, "udp").unwrap());
    right.add_local_candidate(Candidate::host(b, "udp").unwrap());
    let mut changes = left.sdp_api();
    changes.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, pending) = changes.apply().unwrap();
    let answer = right.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
    let print = right.direct_api().local_dtls_fingerprint().to_string();
    let other = rtc(3, now).direct_api().local_dtls_fingerprint().to_string();
    let forged = str0m::change::SdpAnswer::from_sdp_string(&answer.replace(&print, &other));
    left.sdp_api().accept_answer(pending, forged.unwrap()).unwrap();
    let mut refused = false;
    for ms in 0..400 {
        let at = now + Duration::from_millis(ms * 5);
        let mut sent = Vec::new();
        for (rtc, name) in [(&mut left, 'l'), (&mut right, 'r')] {
            refused |= rtc.handle_input(Input::Timeout(at)).is_err();
            loop {
                match rtc.poll_output() {
                    Ok(Output::Transmit(t)) => sent.push((name, t)),
                    Ok(Output::Event(Event::Connected)) if name == 'l' => panic!("connected"),
                    Ok(Output::Event(_)) => {}
                    Ok(Output::Timeout(_)) => break,
                    Err(_) => {
                        refused = true;
                        break;
                    }
                }
            }
        }
        for (from, t) in sent {
            let to = if from == 'l' { &mut right } else { &mut left };
            let receive = Receive::new(Protocol::Udp, t.source, t.destination, &t.contents);
            let _ = to.handle_input(Input::Receive(at, receive.unwrap()));
        }
    }
    assert!(refused, "the certificate of 2 passed for that of 3");
}

fn rtc(owner: u64, now: Instant) -> Rtc {
    RtcConfig::new()
        .set_crypto_provider(provider(Srtp::Null))
        .set_dtls_cert(certificate(owner))
        .build(now)
}

//! One `RTCPeerConnection` of the stand-in: str0m with a full ICE agent that offers and controls.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::CryptoProvider;
use str0m::format::{Codec as RtpCodec, FormatParams};
use str0m::media::{Frequency, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};

use super::answer::Answer;
use super::offer::{Offer, Shape, Ssrcs};
use super::payload::{Codec, Stamp, begins_key_frame};
use super::seen::{Packet, Track};
use super::transport::Transport;
use super::{Datagram, Source};

/// How long a viewer looks at a picture that it cannot decode before it asks for a key frame.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Peer {
    rtc: Box<Rtc>,
    clock: Instant,
    local: SocketAddr,
    shape: Shape,
    publishing: bool,
    ssrcs: Vec<Ssrcs>,
    source: Source,
    publisher: u32,
    sending: Vec<Sending>,
    rtc_due: Instant,
    ask_due: Option<Instant>,
    pub(crate) connected_at: Option<Instant>,
    pub(crate) lost: bool,
    pub(crate) key_frame_requests: Vec<Instant>,
    pub(super) tracks: BTreeMap<usize, Track>,
    /// What is read off the headers of what comes in, of one that plays.
    pub(super) transport: Option<Transport>,
    pub(crate) outgoing: VecDeque<Datagram>,
}

/// A track on its way out.
#[derive(Debug)]
struct Sending {
    mid: Mid,
    codec: Codec,
    ssrc: Ssrc,
    due: Option<Instant>,
    sequence: u64,
    timestamp: u32,
    counter: u32,
    key_frame_wanted: bool,
    key_frame_at: Option<Instant>,
}

/// What a new peer is made of.
pub(crate) struct Birth {
    pub(crate) clock: Instant,
    pub(crate) local: SocketAddr,
    pub(crate) shape: Shape,
    /// What to send; `None` plays.
    pub(crate) source: Option<Source>,
    pub(crate) publisher: u32,
    pub(crate) crypto: Arc<CryptoProvider>,
    /// Whether the offer names the address, as one of a page does that waited for it.
    pub(crate) gathered: bool,
}

impl Peer {
    /// Makes a peer and its offer.
    pub(crate) fn new(now: Instant, birth: Birth) -> (Self, String) {
        let mut rtc = configure(&birth.shape, birth.crypto).build(now);
        let publishing = birth.source.is_some();
        let mut ssrcs = Vec::new();
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        for (mid, codecs) in birth.shape.lines.iter().enumerate() {
            let video = codecs.iter().any(|codec| codec.is_video());
            let kind = if video { MediaKind::Video } else { MediaKind::Audio };
            let name = Mid::from(mid.to_string().as_str());
            api.declare_media(name, kind);
            if publishing {
                let media = fastrand::u32(1..);
                let rtx = video.then(|| fastrand::u32(1..));
                api.declare_stream_tx(media.into(), rtx.map(Into::into), name, None);
                ssrcs.push(Ssrcs { media, rtx });
            }
        }
        let credentials = api.local_ice_credentials();
        let offer = Offer {
            shape: &birth.shape,
            ssrcs: &ssrcs,
            ufrag: &credentials.ufrag,
            password: &credentials.pass,
            fingerprint: &api.local_dtls_fingerprint().to_string(),
            id: fastrand::u64(..) >> 1,
            candidate: birth.gathered.then_some(birth.local),
        }
        .text();
        let peer = Self {
            rtc: Box::new(rtc),
            clock: birth.clock,
            local: birth.local,
            shape: birth.shape,
            publishing,
            ssrcs,
            source: birth.source.unwrap_or_default(),
            publisher: birth.publisher,
            sending: Vec::new(),
            rtc_due: now,
            ask_due: None,
            connected_at: None,
            lost: false,
            key_frame_requests: Vec::new(),
            tracks: BTreeMap::new(),
            transport: None,
            outgoing: VecDeque::new(),
        };
        (peer, offer)
    }

    /// `setRemoteDescription` with the answer, in a page of the SDK.
    pub(super) fn answer_in_page(&mut self, now: Instant, sdp: &str) -> Result<(), String> {
        self.agree(now, Answer::read_in_page(sdp, &self.shape, self.publishing)?)
    }

    /// `setRemoteDescription` with the answer.
    pub(crate) fn answer(&mut self, now: Instant, sdp: &str) -> Result<(), String> {
        self.agree(now, Answer::read(sdp, &self.shape, self.publishing)?)
    }

    fn agree(&mut self, now: Instant, answer: Answer) -> Result<(), String> {
        let engine = self.shape.engine;
        self.transport = (!self.publishing).then(|| Transport::new(engine, &answer));
        let host = Candidate::host(self.local, "udp").map_err(|e| e.to_string())?;
        self.rtc.add_local_candidate(host);
        for candidate in answer.candidates {
            self.rtc.add_remote_candidate(candidate);
        }
        let mut api = self.rtc.direct_api();
        api.set_remote_ice_credentials(str0m::IceCreds {
            ufrag: answer.ufrag,
            pass: answer.password,
        });
        api.set_remote_fingerprint(answer.fingerprint);
        api.start_dtls(answer.dial).map_err(|e| e.to_string())?;
        api.enable_twcc_feedback();
        for (mid, line) in answer.lines.iter().enumerate() {
            let Some(codec) = line.codec else { continue };
            let name = Mid::from(mid.to_string().as_str());
            if let Some(ssrcs) = self.ssrcs.get(mid) {
                self.sending.push(Sending::new(name, codec, ssrcs.media));
            } else {
                let media = line.ssrcs.iter().find(|ssrc| Some(**ssrc) != line.rtx);
                if let Some(media) = media {
                    let rtx = line.rtx.map(Into::into);
                    api.expect_stream_rx((*media).into(), rtx, name, None);
                }
                self.tracks.insert(mid, Track::new(codec));
            }
        }
        self.advance(now);
        Ok(())
    }

    pub(crate) fn datagram(&mut self, now: Instant, remote: SocketAddr, bytes: &[u8]) {
        if let Some(transport) = &mut self.transport {
            transport.take(now.saturating_duration_since(self.clock), bytes);
        }
        // What is no STUN, DTLS, RTP or RTCP is dropped, as a socket's reader would.
        if let Ok(receive) = Receive::new(Protocol::Udp, remote, self.local, bytes) {
            let input = Input::Receive(now, receive);
            if self.rtc.accepts(&input) && self.rtc.handle_input(input).is_err() {
                self.lost = true;
            }
            self.drain(now);
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn due(&self) -> Instant {
        if self.lost {
            return self.rtc_due;
        }
        self.sending
            .iter()
            .filter_map(|track| track.due)
            .chain(self.ask_due)
            .fold(self.rtc_due, Instant::min)
    }

    /// Does everything that is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.connected_at.is_some() && !self.lost {
            for at in 0..self.sending.len() {
                self.send_due(now, at);
            }
            if self.ask_due.is_some_and(|due| due <= now) {
                self.ask_for_key_frames();
                self.ask_due = self.blind().then(|| now + KEY_FRAME_PATIENCE);
            }
        }
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            self.lost = true;
        }
        self.drain(now);
    }

    /// Asks the far side for a key frame of every video track.
    pub(super) fn ask_for_key_frames(&mut self) {
        for (mid, track) in &self.tracks {
            let name = Mid::from(mid.to_string().as_str());
            if track.codec.is_video()
                && let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(name, None)
            {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }

    /// `close()`: what is left to say goes out, nothing comes in any more.
    pub(crate) fn close(&mut self, now: Instant) {
        // A peer that never got up has nobody to say goodbye to.
        let _ = self.rtc.close();
        self.drain(now);
        self.lost = true;
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    self.rtc_due = due;
                    return;
                }
                Ok(Output::Transmit(transmit)) => self.outgoing.push_back(Datagram {
                    local: self.local,
                    remote: transmit.destination,
                    bytes: transmit.contents.to_vec(),
                }),
                Ok(Output::Event(event)) => self.event(now, event),
                Err(_) => {
                    self.lost = true;
                    self.rtc_due = now + Duration::from_secs(3600);
                    return;
                }
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "str0m's events are non-exhaustive and a viewer needs few of them"
        )]
        match event {
            Event::Connected => {
                self.connected_at = Some(now);
                for track in self.tracks.values_mut() {
                    track.up = now.saturating_duration_since(self.clock);
                }
                for track in &mut self.sending {
                    track.due = Some(now);
                }
            }
            Event::RtpPacket(packet) => self.received(now, &packet),
            Event::KeyframeRequest(request) => {
                self.key_frame_requests.push(now);
                for track in &mut self.sending {
                    track.key_frame_wanted |= track.mid == request.mid;
                }
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => {
                self.lost = true;
            }
            _ => {}
        }
    }

    fn received(&mut self, now: Instant, packet: &RtpPacket) {
        let ssrc = packet.header.ssrc;
        let Some(mid) = self.rtc.direct_api().stream_rx(&ssrc).map(|stream| stream.mid()) else {
            return;
        };
        let Some(track) = mid.parse::<usize>().ok().and_then(|mid| self.tracks.get_mut(&mid))
        else {
            return;
        };
        // Probes carry padding only (RFC 3550, section 5.1).
        if packet.payload.is_empty() {
            return;
        }
        track.packets.push(Packet {
            at: now.saturating_duration_since(self.clock),
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload_type: *packet.header.payload_type,
            ssrc: *ssrc,
            key_frame: begins_key_frame(track.codec, &packet.payload),
            stamp: Stamp::find(&packet.payload),
        });
        if self.ask_due.is_none() && self.blind() {
            self.ask_due = Some(now + KEY_FRAME_PATIENCE);
        }
    }

    /// Whether there is a video track of which no key frame came yet.
    fn blind(&self) -> bool {
        self.tracks.values().any(|track| {
            track.codec.is_video()
                && !track.packets.is_empty()
                && !track.packets.iter().any(|packet| packet.key_frame)
        })
    }

    fn send_due(&mut self, now: Instant, at: usize) {
        let source = self.source;
        while let Some(track) = self.sending.get_mut(at)
            && let Some(due) = track.due.filter(|due| *due <= now)
        {
            let video = track.codec.is_video();
            let interval = if video { source.frame_interval } else { source.audio_interval };
            track.due = Some(due + interval);
            let key_frame = video && track.takes_key_frame(now, source);
            let packets = if video { source.packets_per_frame.max(1) } else { 1 };
            for nth in 0..packets {
                let stamp = Stamp {
                    publisher: self.publisher,
                    counter: track.counter,
                    sent: now.saturating_duration_since(self.clock),
                    key_frame,
                };
                let payload = stamp.payload(track.codec, nth == 0, source.filler(video));
                let (pt, _) = self.shape.engine.payload_types(track.codec);
                let write = RtpWrite::new(
                    pt.into(),
                    track.sequence.into(),
                    track.timestamp,
                    now,
                    payload.as_slice(),
                )
                .marker(video && nth + 1 == packets)
                .nackable(video)
                .ext_vals(ExtensionValues { mid: Some(track.mid), ..Default::default() });
                track.counter += 1;
                track.sequence += 1;
                if let Some(stream) = self.rtc.direct_api().stream_tx(&track.ssrc) {
                    stream.write_rtp(write);
                }
            }
            let ticks = interval.as_micros() * u128::from(track.codec.clock_rate()) / 1_000_000;
            let ticks = u32::try_from(ticks).expect("a frame lasts less than half a day");
            track.timestamp = track.timestamp.wrapping_add(ticks);
        }
    }
}

impl Sending {
    fn new(mid: Mid, codec: Codec, ssrc: u32) -> Self {
        Self {
            mid,
            codec,
            ssrc: ssrc.into(),
            due: None,
            // Browsers start in the lower half (RFC 3711, section 3.3.1).
            sequence: u64::from(fastrand::u16(..0x8000)),
            timestamp: fastrand::u32(..),
            counter: 0,
            key_frame_wanted: true,
            key_frame_at: None,
        }
    }

    fn takes_key_frame(&mut self, now: Instant, source: Source) -> bool {
        let periodic = source
            .key_frame_interval
            .zip(self.key_frame_at)
            .is_some_and(|(interval, last)| last + interval <= now);
        if !self.key_frame_wanted && !periodic {
            return false;
        }
        self.key_frame_wanted = false;
        self.key_frame_at = Some(now);
        true
    }
}

/// What every peer of a browser with this offer is made from.
pub(crate) fn configure(shape: &Shape, crypto: Arc<CryptoProvider>) -> RtcConfig {
    let mut config = RtcConfig::new()
        .set_crypto_provider(crypto)
        .set_rtp_mode(true)
        .set_stats_interval(None)
        .clear_codecs()
        .clear_extension_map();
    for (id, extension) in shape.engine.extensions() {
        config = config.set_extension(*id, extension.clone());
    }
    for codec in shape.lines.iter().flatten() {
        let (pt, rtx) = shape.engine.payload_types(*codec);
        let (pt, rtx) = (pt.into(), rtx.map(Into::into));
        let codecs = config.codec_config();
        match codec {
            Codec::Vp8 => codecs.add_config(
                pt,
                rtx,
                RtpCodec::Vp8,
                Frequency::NINETY_KHZ,
                None,
                FormatParams::default(),
            ),
            Codec::H264 => codecs.add_h264(pt, rtx, true, 0x42e01f),
            Codec::Opus => codecs.add_config(
                pt,
                None,
                RtpCodec::Opus,
                Frequency::FORTY_EIGHT_KHZ,
                Some(2),
                FormatParams {
                    min_p_time: Some(10),
                    use_inband_fec: Some(true),
                    ..Default::default()
                },
            ),
        }
    }
    config
}

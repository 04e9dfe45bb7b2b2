//! A browser that plays: a plain str0m, which shows what came to it as it was sealed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::crypto::CryptoProvider;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::rtcp::Rtcp;
use str0m::rtp::{Extension, ExtensionMap, RawPacket, RtpHeader};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::stage::address;
use crate::media::datagram::is_media;
use crate::media::packet::Kind;

/// A packet as it came, resent ones included.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) header: RtpHeader,
    pub(super) payload: Vec<u8>,
    pub(super) at: Instant,
}

impl Got {
    pub(super) fn ssrc(&self) -> u32 {
        *self.header.ssrc
    }

    /// The last byte of the payload.
    pub(super) fn tag(&self) -> u8 {
        *self.payload.last().unwrap()
    }
}

/// How a viewer is set up.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) crypto: Arc<CryptoProvider>,
    /// Numbers of its extensions.
    pub(super) extensions: ExtensionMap,
    /// Whether its offer says where it is.
    pub(super) names_address: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let mut extensions = ExtensionMap::standard();
        extensions.set(6, Extension::VideoContentType);
        let crypto = Arc::new(crate::crypto_provider());
        Self { crypto, extensions, names_address: true }
    }
}

pub(super) struct Viewer {
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    mids: [Mid; 2],
    /// Where it is, as the other side sees it.
    pub(super) at: SocketAddr,
    candidate: Candidate,
    /// The sources that the answer names: sound, picture, picture that is sent again.
    pub(super) ssrcs: [u32; 3],
    out: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) is_connected: bool,
    pub(super) is_lost: bool,
    /// Which packets of media do not reach it, counted from the first one.
    pub(super) loses: Vec<usize>,
    sent: usize,
    /// What came since it was last looked at.
    pub(super) got: Vec<Got>,
    /// Reports and such, and how much of `got` was there before.
    pub(super) heard: Vec<(usize, Rtcp)>,
    /// What it said.
    pub(super) said: Vec<Rtcp>,
}

impl Viewer {
    /// One who is at this port, and its offer.
    pub(super) fn new(now: Instant, setup: &Setup, port: u16) -> (Self, String) {
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .enable_raw_packets(true)
            .set_crypto_provider(setup.crypto.clone())
            .set_extension_map(setup.extensions.clone())
            .build(now);
        let candidate = Candidate::host(address(port), Protocol::Udp).unwrap();
        rtc.add_local_candidate(candidate.clone());
        let mut changes = rtc.sdp_api();
        let mids = [MediaKind::Audio, MediaKind::Video]
            .map(|kind| changes.add_media(kind, Direction::RecvOnly, None, None, None));
        let (offer, pending) = changes.apply().unwrap();
        let viewer = Self {
            rtc,
            pending: Some(pending),
            mids,
            at: address(port),
            candidate,
            ssrcs: [0; 3],
            out: VecDeque::new(),
            is_connected: false,
            is_lost: false,
            loses: Vec::new(),
            sent: 0,
            got: Vec::new(),
            heard: Vec::new(),
            said: Vec::new(),
        };
        let offer = offer.to_sdp_string();
        let is_kept = |line: &&str| setup.names_address || !line.starts_with("a=candidate:");
        let lines = offer.lines().filter(is_kept).flat_map(|line| [line, "\r\n"]);
        (viewer, lines.collect())
    }

    pub(super) fn take_answer(&mut self, now: Instant, sdp: &str) {
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap();
        self.rtc.sdp_api().accept_answer(self.pending.take().unwrap(), answer).unwrap();
        let lines = |prefix: &'static str| sdp.lines().filter_map(move |l| l.strip_prefix(prefix));
        let pairs = lines("a=ssrc-group:FID ").map(|pair| pair.split_once(' ').unwrap());
        let number = |text: &str| text.split(' ').next().unwrap().parse::<u32>().unwrap();
        let (picture, again) =
            pairs.map(|(one, other)| (number(one), number(other))).next().unwrap();
        let sound = lines("a=ssrc:").map(number).find(|ssrc| *ssrc != picture && *ssrc != again);
        self.ssrcs = [sound.unwrap(), picture, again];
        self.advance(now);
    }

    pub(super) fn mid(&self, kind: Kind) -> Mid {
        match kind {
            Kind::Audio => self.mids[0],
            Kind::Video => self.mids[1],
        }
    }

    /// Moves to another address, as ICE does it.
    pub(super) fn move_to(&mut self, now: Instant, to: SocketAddr) {
        let candidate = Candidate::host(to, Protocol::Udp).unwrap();
        self.rtc.add_local_candidate(candidate.clone());
        self.rtc.direct_api().invalidate_candidate(&self.candidate);
        (self.candidate, self.at) = (candidate, to);
        self.advance(now);
    }

    /// Asks for a key frame.
    pub(super) fn ask(&mut self, kind: KeyframeRequestKind) {
        let mid = self.mid(Kind::Video);
        let mut api = self.rtc.direct_api();
        api.stream_rx_by_mid(mid, None).unwrap().request_keyframe(kind);
    }

    /// Ends DTLS in good order.
    pub(super) fn say_goodbye(&mut self, now: Instant) {
        self.rtc.close().unwrap();
        self.poll(now);
    }

    /// Lets time be this.
    pub(super) fn advance(&mut self, now: Instant) {
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.poll(now);
    }

    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if is_media(datagram) && !(192..=223).contains(&datagram[1]) {
            self.sent += 1;
            if self.loses.contains(&(self.sent - 1)) {
                return;
            }
        }
        let to = self.candidate.addr();
        let Ok(receive) = Receive::new(Protocol::Udp, from, to, datagram) else { return };
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.poll(now);
    }

    /// What it has to send next, and where to.
    pub(super) fn pop(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.out.pop_front()
    }

    /// Forgets what came up to now.
    pub(super) fn forget(&mut self) {
        self.got.clear();
        self.heard.clear();
        self.said.clear();
    }

    /// What came of a medium, without what was sent again.
    pub(super) fn got_of(&self, kind: Kind) -> Vec<Got> {
        let [sound, picture, _] = self.ssrcs;
        let ssrc = if kind == Kind::Audio { sound } else { picture };
        self.got.iter().filter(|got| got.ssrc() == ssrc).cloned().collect()
    }

    /// What was sent again.
    pub(super) fn got_again(&self) -> Vec<Got> {
        self.got.iter().filter(|got| got.ssrc() == self.ssrcs[2]).cloned().collect()
    }

    /// The tags of the pictures that came.
    pub(super) fn tags(&self) -> Vec<u8> {
        self.got_of(Kind::Video).iter().map(Got::tag).collect()
    }

    fn poll(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => {
                    if transmit.source == self.candidate.addr() {
                        self.out.push_back((transmit.destination, transmit.contents.to_vec()));
                    }
                }
                Output::Event(event) => self.note(now, event),
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's events are an open set")]
    fn note(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::IceConnectionStateChange(state) => {
                self.is_lost = state == IceConnectionState::Disconnected;
            }
            Event::RawPacket(packet) => match *packet {
                RawPacket::RtpRx(header, payload) => {
                    self.got.push(Got { header, payload, at: now });
                }
                RawPacket::RtcpRx(rtcp) => self.heard.push((self.got.len(), rtcp)),
                RawPacket::RtcpTx(rtcp) => self.said.push(rtcp),
                RawPacket::RtpTx(..) => panic!("a viewer sends nothing"),
            },
            _ => {}
        }
    }
}

/// By how much one number is ahead of another, around the corner too.
pub(super) fn ahead(number: u16, other: u16) -> i64 {
    i64::from(number.wrapping_sub(other).cast_signed())
}

//! The receiving half: RTP of a publisher becomes packets of a stream.

use std::time::Instant;

use str0m::Rtc;
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::rtp::{RtpPacket, Ssrc};

use super::datagram::{is_media, is_rtcp};
use super::format::{self, Offered};
use super::packet::{Extensions, Kind, Packet};
use crate::id::StreamId;

/// What a peer receives, and for which stream.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) stream: StreamId,
    /// Which of the stream's publishers, in order, this is.
    run: u32,
    tracks: Vec<Track>,
    /// Which track an SSRC belongs to, as learned; two or three entries.
    sources: Vec<(Ssrc, Kind)>,
    /// The sources that the offer names.
    named: Vec<u32>,
    /// Other sources that str0m was given packets of.
    shown: Vec<u32>,
    /// Payload of picture that came, modulo 2^32.
    video_bytes: u32,
    /// When RTP last came, or when the wait for it began.
    pub(crate) heard: Instant,
    /// Whether it is another node that sends.
    pub(crate) is_relay: bool,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    kind: Kind,
    mid: Mid,
    codec: Offered,
}

/// The largest payload that is passed on: what fits into a datagram of an Ethernet. No browser goes
/// above 1 200.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_500;

/// SSRCs that the offer does not name: more than a publisher of one camera and one microphone has
/// any use for.
const SOURCES_MAX: usize = 16;

impl Ingest {
    pub(crate) fn new(stream: StreamId, run: u32, is_relay: bool, now: Instant) -> Self {
        Self {
            stream,
            run,
            tracks: Vec::new(),
            sources: Vec::new(),
            named: Vec::new(),
            shown: Vec::new(),
            video_bytes: 0,
            heard: now,
            is_relay,
        }
    }

    /// Notes the sources that the offer names. Nobody can take their places.
    pub(crate) fn name(&mut self, sources: Vec<u32>) {
        self.named = sources;
    }

    /// Whether str0m may be given a datagram: it remembers the numbers of every source that it has
    /// had, for as long as it lives. Who forges a packet can take the place of a source that the
    /// offer does not name; before the handshake is over, nobody can.
    pub(crate) fn admits(&mut self, datagram: &[u8], is_connected: bool) -> bool {
        if !is_media(datagram) || is_rtcp(datagram) {
            return true;
        }
        // RFC 3550, section 5.1.
        let Some(source) = datagram.get(8..).and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        let source = u32::from_be_bytes(*source);
        if self.named.contains(&source) || self.shown.contains(&source) {
            return true;
        }
        let has_room = is_connected && self.shown.len() < SOURCES_MAX;
        if has_room {
            self.shown.push(source);
        }
        has_room
    }

    pub(crate) fn add_track(&mut self, kind: Kind, mid: Mid, codec: Offered) {
        self.tracks.push(Track { kind, mid, codec });
    }

    /// Turns what str0m decrypted into a packet of the stream; `None` for padding, for what
    /// the answer did not ask for, and for what is too large to go on.
    pub(crate) fn receive(&mut self, rtc: &mut Rtc, packet: RtpPacket) -> Option<Packet> {
        self.heard = packet.timestamp;
        if packet.payload.is_empty() || packet.payload.len() > PAYLOAD_BYTES_MAX {
            return None;
        }
        let kind = self.kind_of(rtc, packet.header.ssrc)?;
        let track = self.tracks.iter().find(|track| track.kind == kind)?;
        if *packet.header.payload_type != track.codec.pt {
            return None;
        }
        if kind == Kind::Video {
            let bytes = u32::try_from(packet.payload.len()).unwrap_or(0);
            self.video_bytes = self.video_bytes.wrapping_add(bytes);
        }
        Some(Packet {
            kind,
            run: self.run,
            seq: *packet.seq_no,
            time: packet.header.timestamp,
            marker: packet.header.marker,
            entry: format::is_entry(track.codec.spec.codec, &packet.payload),
            extensions: Extensions::of(&packet.header.ext_vals),
            payload: packet.payload,
            arrived: packet.timestamp,
        })
    }

    /// Bytes of picture that came so far, modulo 2^32; `None` without a picture.
    pub(crate) fn video_bytes(&self) -> Option<u32> {
        let has_video = self.tracks.iter().any(|track| track.kind == Kind::Video);
        has_video.then_some(self.video_bytes)
    }

    fn kind_of(&mut self, rtc: &mut Rtc, ssrc: Ssrc) -> Option<Kind> {
        if let Some((_, kind)) = self.sources.iter().find(|(known, _)| *known == ssrc) {
            return Some(*kind);
        }
        let mid = rtc.direct_api().stream_rx(&ssrc)?.mid();
        let kind = self.tracks.iter().find(|track| track.mid == mid)?.kind;
        if self.sources.len() < SOURCES_MAX {
            self.sources.push((ssrc, kind));
        }
        Some(kind)
    }

    /// Asks the publisher for a key frame (PLI, RFC 4585, section 6.3.1); it goes out with the
    /// next drain. Tells whether there is a picture to ask for.
    pub(crate) fn request_keyframe(&self, rtc: &mut Rtc) -> bool {
        let Some(video) = self.tracks.iter().find(|track| track.kind == Kind::Video) else {
            return false;
        };
        let mut api = rtc.direct_api();
        match api.stream_rx_by_mid(video.mid, None) {
            Some(stream) => {
                stream.request_keyframe(KeyframeRequestKind::Pli);
                true
            }
            None => false,
        }
    }
}

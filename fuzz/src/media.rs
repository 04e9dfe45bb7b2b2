//! RTP and RTCP behind their decryption, from a publisher and from a viewer.

use std::collections::BTreeSet;
use std::time::Duration;

use distributary_core::Limits;
use distributary_tests::browser::{Codec, Shape};
use distributary_tests::sim::MEDIA_PORT;
use distributary_tests::sim::bare::{Bare, Visitor};

use crate::bytes::Bytes;
use crate::packets::{Rtp, is_rtcp, is_rtp, rtcp_packets, sealed_rtcp, sealed_rtp, unsealed};
use crate::room;

/// What one byte of a retransmission request may bring back at most: a NACK of 4 bytes names 17
/// packets, and of those a share is sent that counts what was sent before.
const OUT_PER_IN_MAX: usize = 8;

/// What goes out without much coming in: reports, STUN, the packets that the visitors sent.
const OUT_FREE_BYTES: usize = 512 * 1024;

/// A publisher and a viewer, connected, and then what either says. Each step is an opcode and, for
/// most, a length and that many bytes.
///
/// The viewer gets no payload that was not published, and no more than was; the publisher is asked
/// for key frames as seldom as `keyframe_interval_min` says.
pub fn media(data: &[u8]) {
    let mut data = Bytes::new(data);
    let Some(codec) = data.byte() else { return };
    let codec = if codec % 2 == 0 { Codec::Vp8 } else { Codec::H264 };
    let shape = Shape::audio_video().only(codec);
    let mut bare = Bare::new(room::plan());
    let publisher = room::publisher(&mut bare, 1, "n", shape.clone());
    let mut visitors = room::viewer(&mut bare, publisher, 2, "n", shape);
    bare.meet(&mut visitors, Duration::from_millis(300));
    let mut talk = Talk::new(bare, visitors);
    while talk.step(&mut data).is_some() {}
    talk.wait(Duration::from_millis(100));
    talk.judge();
    room::leave(&mut talk.bare);
}

/// A track as its receiver or its sender knows it.
#[derive(Clone, Copy, Debug)]
struct Track {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

struct Talk {
    bare: Bare,
    publisher: Visitor,
    viewer: Visitor,
    sending: Vec<Track>,
    receiving: Vec<Track>,
    published: BTreeSet<Vec<u8>>,
    bytes_in: usize,
    bytes_out: usize,
    reports: u32,
    waited: Duration,
    key_frames_asked: u32,
}

impl Talk {
    fn new(bare: Bare, visitors: [Visitor; 2]) -> Self {
        let [mut publisher, mut viewer] = visitors;
        let sent = std::mem::take(&mut publisher.sent);
        let got = std::mem::take(&mut viewer.got);
        let published = sent.iter().filter(|datagram| is_rtp(datagram));
        let published = published.filter_map(|datagram| Rtp::read(unsealed(datagram)));
        let published = published.map(|packet| packet.payload.to_vec()).collect();
        Self {
            bare,
            publisher,
            viewer,
            sending: tracks(&sent),
            receiving: tracks(&got),
            published,
            bytes_in: 0,
            bytes_out: 0,
            reports: 0,
            waited: Duration::ZERO,
            key_frames_asked: 0,
        }
    }

    fn step(&mut self, data: &mut Bytes<'_>) -> Option<()> {
        match data.byte()? % 8 {
            // Any RTP at all.
            0 => {
                let bytes = data.counted()?;
                self.publish(bytes);
            }
            // RTP of a track that there is: its next packet, or one near it.
            1 | 2 => {
                let packet = self.next_packet(data)?;
                self.publish(&packet);
            }
            // Any RTCP at all, of either.
            3 => {
                let bytes = data.counted()?;
                self.report(bytes, true);
            }
            4 => {
                let bytes = data.counted()?;
                self.report(bytes, false);
            }
            // RTCP about a track that there is.
            5 => {
                let report = self.next_report(data)?;
                self.report(&report, false);
            }
            6 => {
                let report = self.next_report(data)?;
                self.report(&report, true);
            }
            _ => self.wait(Duration::from_millis(data.byte()?.into())),
        }
        self.look();
        Some(())
    }

    /// Which track, how far its sequence number and its time stamp go on, what the head says
    /// beyond that, and the rest of the packet.
    fn next_packet(&mut self, data: &mut Bytes<'_>) -> Option<Vec<u8>> {
        let nth = usize::from(data.byte()?);
        let forward = u16::from(data.byte()?).wrapping_sub(8);
        let ticks = u32::from(data.byte()?) * 90;
        let (first, marker) = (data.byte()? & 0x3f, data.byte()? & 0x80);
        let body = data.counted()?;
        let nth = nth.checked_rem(self.sending.len())?;
        let track = self.sending.get_mut(nth)?;
        track.sequence = track.sequence.wrapping_add(forward);
        track.timestamp = track.timestamp.wrapping_add(ticks);
        let mut packet = vec![0x80 | first, marker | track.payload_type];
        packet.extend(track.sequence.to_be_bytes());
        packet.extend(track.timestamp.to_be_bytes());
        packet.extend(track.ssrc.to_be_bytes());
        packet.extend(body);
        Some(packet)
    }

    /// Its type, its format, which track it is about, and the rest.
    fn next_report(&mut self, data: &mut Bytes<'_>) -> Option<Vec<u8>> {
        let kind = 200 + data.byte()? % 8;
        let format = data.byte()? & 0x1f;
        let track = usize::from(data.byte()?);
        let body = data.counted()?;
        let track = self.receiving.get(track.checked_rem(self.receiving.len())?)?;
        let words = u16::try_from(2 + body.len() / 4).ok()?;
        let mut report = vec![0x80 | format, kind];
        report.extend(words.to_be_bytes());
        // From nobody in particular, about that track.
        report.extend([0, 0, 0, 1]);
        report.extend(track.ssrc.to_be_bytes());
        report.extend(body.chunks_exact(4).flatten());
        Some(report)
    }

    fn publish(&mut self, packet: &[u8]) {
        if let Some(rtp) = Rtp::read(packet) {
            self.published.insert(rtp.payload.to_vec());
            // What came as a retransmission begins with its sequence number (RFC 4588).
            self.published.insert(rtp.payload.get(2..).unwrap_or_default().to_vec());
        }
        // Padding that is none has no meaning that would be wrong.
        self.published.extend(packet.get(12..).map(<[u8]>::to_vec));
        self.datagram(sealed_rtp(packet), true);
    }

    fn report(&mut self, report: &[u8], from_publisher: bool) {
        self.reports += 1;
        self.datagram(sealed_rtcp(report, self.reports), from_publisher);
    }

    fn datagram(&mut self, bytes: Vec<u8>, from_publisher: bool) {
        let from = if from_publisher { &self.publisher } else { &self.viewer };
        self.bytes_in += bytes.len();
        self.bare.datagram_to(MEDIA_PORT, from.addr, &bytes, bytes.len());
    }

    fn wait(&mut self, span: Duration) {
        self.waited += span;
        self.bare.advance(span);
        self.look();
    }

    /// Looks at what came out.
    fn look(&mut self) {
        for sent in self.bare.take_sent() {
            self.bytes_out += sent.bytes.len();
            let packet = unsealed(&sent.bytes);
            if is_rtcp(&sent.bytes) {
                let asked = rtcp_packets(packet).into_iter();
                // PLI and FIR (RFC 4585, section 6.3.1; RFC 5104, section 4.3.1).
                let asked =
                    asked.filter(|(format, kind, _)| *kind == 206 && matches!(format, 1 | 4));
                let asked = u32::try_from(asked.count()).unwrap_or(u32::MAX);
                assert!(asked == 0 || sent.to == self.publisher.addr, "viewers have no key frames");
                self.key_frames_asked += asked;
            } else if is_rtp(&sent.bytes) {
                assert_eq!(sent.to, self.viewer.addr, "publishers get no media");
                let rtp = Rtp::read(packet).expect("RTP");
                let original = self.receiving.iter().any(|track| track.ssrc == rtp.ssrc);
                // Another SSRC is that of the retransmissions.
                let payload = if original { Some(rtp.payload) } else { rtp.payload.get(2..) };
                let payload = payload.filter(|payload| !payload.is_empty());
                let known = payload.is_none_or(|payload| self.published.contains(payload));
                assert!(known, "never published: {rtp:?}");
            }
        }
    }

    fn judge(&self) {
        let bound = OUT_FREE_BYTES + OUT_PER_IN_MAX * self.bytes_in;
        assert!(self.bytes_out <= bound, "{} bytes in, {} out", self.bytes_in, self.bytes_out);
        let interval = Limits::default().keyframe_interval_min;
        let bound = 2 + self.waited.as_millis() / interval.as_millis();
        let asked = u128::from(self.key_frames_asked);
        assert!(asked <= bound, "{asked} key frames asked for within {:?}", self.waited);
    }
}

/// The tracks of what somebody sent, each as far as it has come.
fn tracks(datagrams: &[Vec<u8>]) -> Vec<Track> {
    let mut tracks: Vec<Track> = Vec::new();
    for datagram in datagrams.iter().filter(|datagram| is_rtp(datagram)) {
        let Some(Rtp { payload_type, sequence, timestamp, ssrc, .. }) =
            Rtp::read(unsealed(datagram))
        else {
            continue;
        };
        tracks.retain(|track| track.ssrc != ssrc);
        tracks.push(Track { payload_type, ssrc, sequence, timestamp });
    }
    tracks.sort_by_key(|track| track.payload_type);
    tracks
}

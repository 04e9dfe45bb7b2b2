//! Pieces of what a packet, a report and a viewer cost.

use std::sync::Arc;
use std::time::Duration;

use str0m::crypto::dtls::{KeyingMaterial, SrtpProfile};

use super::bandwidth::Bandwidth;
use super::egress::Egress;
use super::format::Formats;
use super::handshake::Keys;
use super::history::History;
use super::offer::Offer;
use super::packet::{Extensions, Kind, Packet};
use super::paths::PathKey;
use super::peer::{Peer, Role};
use super::rewrite::Rewriter;
use super::rtcp::{self, Feedback};
use super::runs::RunWriter;
use super::srtp::{RTCP_BYTES_MAX, SLACK_BYTES, Srtp};
use super::{Media, PeerId, ShardId, StreamId};
use crate::input::Flow;
use crate::output::SendBuffer;
use crate::tests::Bench;

const PLAY: &str = include_str!("../../../tests/fixtures/captures/chromium-play-webrtc.json");
const PUBLISH: &str = include_str!("../../../tests/fixtures/captures/chromium-publish.json");

const PAYLOAD_BYTES: usize = 1_200;
const HEADER_BYTES: usize = 24;
/// Packets of a picture.
const FRAME_PACKETS: u64 = 9;

/// How a packet is sealed.
#[derive(Clone, Copy, Debug)]
pub enum Suite {
    /// RFC 7714
    AeadAes128Gcm,
    /// RFC 7714
    AeadAes256Gcm,
    /// RFC 3711
    Aes128CmSha1,
}

impl Suite {
    fn keys(self, active: bool) -> Keys {
        let (profile, bytes) = match self {
            Self::AeadAes128Gcm => (SrtpProfile::AEAD_AES_128_GCM, 2 * (16 + 12)),
            Self::AeadAes256Gcm => (SrtpProfile::AEAD_AES_256_GCM, 2 * (32 + 12)),
            Self::Aes128CmSha1 => (SrtpProfile::AES128_CM_SHA1_80, 2 * (16 + 14)),
        };
        let bytes: Vec<u8> = (0..bytes).collect();
        Keys { material: KeyingMaterial::new(&bytes), profile, active }
    }

    fn srtp(self, active: bool) -> Srtp {
        let crypto = super::crypto_provider();
        Srtp::new(&self.keys(active), &crypto).expect("the profile is known")
    }
}

/// One packet is sealed.
pub struct Seal {
    srtp: Srtp,
    payload: Vec<u8>,
    out: Vec<u8>,
    index: u64,
}

impl Seal {
    /// With keys of this suite.
    pub fn new(suite: Suite) -> Self {
        let room = HEADER_BYTES + PAYLOAD_BYTES + 64;
        let (payload, out) = (vec![7; PAYLOAD_BYTES], vec![0; room]);
        Self { srtp: suite.srtp(true), payload, out, index: 0 }
    }

    /// Once. Answers with the length of the packet.
    pub fn run(&mut self) -> usize {
        self.index += 1;
        let sealed = self.srtp.seal_rtp(&mut self.out, HEADER_BYTES, &self.payload, 1, self.index);
        sealed.expect("there is room")
    }
}

/// A report of a viewer is opened.
pub struct Open {
    near: Srtp,
    far: Srtp,
}

impl Default for Open {
    fn default() -> Self {
        let suite = Suite::AeadAes256Gcm;
        Self { near: suite.srtp(false), far: suite.srtp(true) }
    }
}

impl Open {
    /// Once, and sealed before. Answers with the length of what was in it.
    pub fn run(&mut self) -> usize {
        let mut sealed = [0; 128];
        for (at, byte) in [0x80, 201, 0, 23, 0, 0, 0, 1].into_iter().zip(&mut sealed) {
            *byte = at;
        }
        let len = self.far.seal_rtcp(&mut sealed, 96).expect("there is room");
        let mut plain = [0; RTCP_BYTES_MAX + SLACK_BYTES];
        let sealed = sealed.get(..len).expect("it was written there");
        self.near.open_rtcp(sealed, &mut plain).map_or(0, <[u8]>::len)
    }
}

/// A viewer tells when packets came.
pub struct Arrivals {
    bench: Bench,
    bandwidth: Bandwidth,
    number: u16,
    reference: u32,
    packet: [u8; ARRIVALS_BYTES],
}

/// Packets of three pictures, and what tells of them: a head, a run, and a byte for each, up to a
/// whole word.
const ARRIVALS: u16 = 21;
const ARRIVALS_BYTES: usize = 4 + 16 + 2 + 22;

impl Default for Arrivals {
    fn default() -> Self {
        let bench = Bench::new();
        let bandwidth = Bandwidth::new(bench.now);
        Self { bench, bandwidth, number: 0, reference: 0, packet: [0; ARRIVALS_BYTES] }
    }
}

impl Arrivals {
    /// Once, with the packets noted before. Answers with the number of the last one.
    pub fn run(&mut self) -> u16 {
        let Self { bench, bandwidth, number, reference, packet } = self;
        for _ in 0..3 {
            for _ in 0..ARRIVALS / 3 {
                bandwidth.note(bench.now, PAYLOAD_BYTES, true);
            }
            bench.now += Duration::from_millis(64) / 3;
        }
        let [_, high, middle, low] = reference.to_be_bytes();
        let [first_high, first_low] = number.to_be_bytes();
        let [ordinal, ..] = (*number / ARRIVALS).to_le_bytes();
        let head = [0x8f, 205, 0, 10, 0, 0, 0, 1, 0, 0, 0, 9, first_high, first_low, 0, 21];
        // So many that came, each 12 ticks after the one before.
        let tail = [high, middle, low, ordinal, 0x20, 21];
        let bytes = head.into_iter().chain(tail).chain(std::iter::repeat(12));
        bytes.zip(packet.iter_mut()).for_each(|(byte, room)| *room = byte);
        rtcp::read(packet, |feedback| {
            if let Feedback::Arrivals(arrivals) = feedback {
                bandwidth.hear(bench.now, &arrivals, &bench.config.limits);
            }
        });
        *reference += 1;
        *number = number.wrapping_add(ARRIVALS);
        *number
    }
}

/// Packets of pictures, one after the other.
struct Source {
    bench: Bench,
    seq: u64,
    payload: Arc<[u8]>,
}

impl Source {
    fn new() -> Self {
        Self { bench: Bench::new(), seq: 0, payload: Arc::from(vec![7; PAYLOAD_BYTES]) }
    }

    fn next(&mut self) -> Packet {
        self.seq += 1;
        let frame = self.seq / FRAME_PACKETS;
        self.bench.now += Duration::from_micros(3_703);
        Packet {
            kind: Kind::Video,
            run: 1,
            seq: self.seq,
            time: u32::try_from(frame % 1_000_000).unwrap_or(0) * 3_000,
            marker: self.seq.is_multiple_of(FRAME_PACKETS),
            entry: self.seq % (FRAME_PACKETS * 60) == 1,
            extensions: Extensions::default(),
            payload: Arc::clone(&self.payload),
            arrived: self.bench.now,
        }
    }
}

/// One packet gets a viewer's numbers.
pub struct Rewrite {
    rewriter: Rewriter,
    source: Source,
}

impl Default for Rewrite {
    fn default() -> Self {
        Self { rewriter: Rewriter::new(90_000, 1), source: Source::new() }
    }
}

impl Rewrite {
    /// Once, and made before. Answers with the number.
    pub fn run(&mut self) -> u64 {
        self.rewriter.rewrite(&self.source.next()).map_or(0, |numbers| numbers.seq)
    }
}

/// One packet is kept, and one is looked for.
pub struct Remember {
    history: History,
    source: Source,
}

impl Default for Remember {
    fn default() -> Self {
        Self { history: History::default(), source: Source::new() }
    }
}

impl Remember {
    /// Once, with a packet made before. Answers with the position of what was found.
    pub fn run(&mut self) -> u64 {
        let packet = self.source.next();
        let wanted = packet.seq.saturating_sub(100);
        self.history.push(packet, &self.source.bench.config.limits);
        self.history.find(1, wanted).map_or(0, |(position, _)| position)
    }
}

/// The viewers of one shard, and whose a datagram is.
pub struct Demux {
    media: Media,
    bench: Bench,
    at: u16,
}

impl Demux {
    /// With so many peers.
    pub fn new(peers: u16) -> Self {
        let mut media = Media::new(ShardId::NODE, 31001);
        for peer in 0..peers {
            media.by_path.insert(PathKey::of(&Self::flow(peer)), peer.into());
        }
        Self { media, bench: Bench::new(), at: 0 }
    }

    fn flow(peer: u16) -> Flow {
        let [high, low] = peer.to_be_bytes();
        let remote = ([203, 0, high, low], 50_000 + peer % 999).into();
        Flow { local: ([192, 0, 2, 1], 31001).into(), remote }
    }

    /// Once. Answers with the peer's slot.
    pub fn run(&mut self) -> Option<usize> {
        self.at = self.at.wrapping_add(7_919) % 2_000;
        self.media.find(&self.bench.ctx(), Self::flow(self.at), &[0x80, 201, 0, 1])
    }
}

/// A picture goes to one viewer.
pub struct Frame {
    peer: Peer,
    source: Source,
    history: History,
    send: SendBuffer,
}

impl Default for Frame {
    fn default() -> Self {
        let mut accept = AcceptViewer::default();
        let mut peer = accept.accept();
        let flow = Flow {
            local: ([192, 0, 2, 1], 31001).into(),
            remote: ([203, 0, 113, 1], 50_000).into(),
        };
        let now = accept.bench.now;
        peer.begin(now, Suite::AeadAes256Gcm.srtp(false), flow);
        let (source, history) = (Source::new(), History::default());
        Self { peer, source, history, send: SendBuffer::new(64) }
    }
}

impl Frame {
    /// Once: nine packets are made, kept and sealed into one run. Answers with its length.
    pub fn run(&mut self) -> usize {
        for _ in 0..FRAME_PACKETS {
            let packet = self.source.next();
            self.history.push(packet, &self.source.bench.config.limits);
        }
        let Bench { now, clock, config, .. } = &self.source.bench;
        let Role::Egress(egress) = &mut self.peer.role else { return 0 };
        let run = RunWriter::new(&mut self.send);
        let run = egress.next_run(*now, clock.unix(), &config.limits, &self.history, run);
        run.map_or(0, |run| run.len)
    }
}

/// A browser's offer to play is answered: SDP, and a transport that waits for ICE.
pub struct AcceptViewer {
    bench: Bench,
    offer: String,
    published: Formats,
}

impl Default for AcceptViewer {
    fn default() -> Self {
        let codecs = ["opus", "h264"].map(str::to_owned);
        let offered = sdp_of(PUBLISH);
        let published = Offer::parse(&offered).and_then(|offer| offer.narrow_to_receive(&codecs));
        let published = published.expect("a browser's offer").formats();
        Self { bench: Bench::new(), offer: sdp_of(PLAY), published }
    }
}

impl AcceptViewer {
    /// Once. Answers with the length of the answer's name.
    pub fn run(&mut self) -> usize {
        self.accept().ice.ufrag.len()
    }

    fn accept(&mut self) -> Peer {
        let egress = Egress::new(StreamId(1), &mut self.bench.rng);
        let Self { bench, offer, published } = self;
        let accepted =
            Peer::accept_egress(&mut bench.ctx(), PeerId(1), offer, 31001, egress, published);
        accepted.expect("a browser's offer").peer
    }
}

fn sdp_of(message: &str) -> String {
    let message: serde_json::Value = serde_json::from_str(message).expect("JSON");
    let sdp = message.pointer("/data/0/sdp").and_then(|sdp| sdp.as_str());
    sdp.expect("the message has an offer").to_owned()
}

//! The sending half: packets of a stream become RTP of a viewer, or of an edge.

use std::time::Duration;

use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::RtpWrite;

use super::format::Offered;
use super::packet::{Kind, Packet};
use super::rewrite::Rewriter;
use crate::id::StreamId;
use crate::limits::Limits;
use crate::rng::Rng;

/// More packets than any stream sends while one is kept for retransmission.
const RETRANSMISSIONS_MAX: usize = 2_000;

/// The share of retransmissions in what is sent at which they are given up, as str0m has it.
const RETRANSMISSION_SHARE_MAX: f32 = 0.15;

/// What a peer is sent, and of which stream.
#[derive(Debug)]
pub(crate) struct Egress {
    pub(crate) stream: StreamId,
    tracks: Vec<Track>,
    /// Where the sequence numbers of sound and picture start.
    first_seqs: [u16; 2],
    retransmission_age_max: Duration,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    No,
    /// Nothing goes out before a key frame.
    Waits,
    /// It is queued.
    Yes,
    /// It is queued, and the first of its publisher's that the viewer gets.
    Entered,
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    mid: Mid,
    codec: Offered,
    rewriter: Rewriter,
    /// The publisher whose packets this viewer can decode: one of whom it has had a key frame.
    entered: Option<u32>,
}

impl Egress {
    pub(crate) fn new(stream: StreamId, rng: &mut Rng, limits: &Limits) -> Self {
        let first_seqs = [u16::from_be_bytes(rng.bytes()), u16::from_be_bytes(rng.bytes())];
        let retransmission_age_max = limits.retransmission_age_max;
        Self { stream, tracks: Vec::new(), first_seqs, retransmission_age_max }
    }

    pub(crate) fn add_track(&mut self, kind: Kind, mid: Mid, codec: Offered) {
        let [audio, video] = self.first_seqs;
        let first_seq = match kind {
            Kind::Audio => audio,
            Kind::Video => video,
        };
        let rewriter = Rewriter::new(codec.spec.clock_rate.get(), first_seq);
        self.tracks.push(Track { kind, mid, codec, rewriter, entered: None });
    }

    /// Queues one packet; it goes out with the next drain. A viewer without sound has no use for
    /// sound, and one who had no key frame yet none for what follows it.
    pub(crate) fn write(&mut self, rtc: &mut Rtc, packet: &Packet) -> Written {
        let Some(track) = self.tracks.iter_mut().find(|track| track.kind == packet.kind) else {
            return Written::No;
        };
        let enters = track.entered != Some(packet.run);
        if enters && !packet.entry {
            return Written::Waits;
        }
        let Some(numbers) = track.rewriter.rewrite(packet) else { return Written::No };
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(track.mid, None) else { return Written::No };
        if track.entered.is_none() {
            // Each viewer's stream keeps its own. At str0m's three seconds that made up half of a
            // viewer's memory.
            let (age, share) = (self.retransmission_age_max, Some(RETRANSMISSION_SHARE_MAX));
            stream.set_rtx_cache(RETRANSMISSIONS_MAX, age, share);
        }
        track.entered = Some(packet.run);
        let payload = packet.payload.clone();
        let write = RtpWrite::new(
            track.codec.pt.into(),
            numbers.seq.into(),
            numbers.time,
            packet.arrived,
            payload,
        );
        let write = write
            .marker(packet.marker)
            .ext_vals(packet.extensions.values())
            .nackable(track.codec.rtx.is_some());
        stream.write_rtp(write);
        if enters { Written::Entered } else { Written::Yes }
    }

    pub(crate) fn has_picture(&self) -> bool {
        self.tracks.iter().any(|track| track.kind == Kind::Video)
    }
}

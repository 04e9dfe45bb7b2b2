//! The sending half: packets of a stream become RTP of a viewer, or of an edge.

use std::collections::VecDeque;

use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::RtpWrite;

use super::format::Offered;
use super::packet::{Kind, Packet};
use super::rewrite::Rewriter;
use crate::id::StreamId;
use crate::rng::Rng;

/// What a peer is sent, and of which stream.
#[derive(Debug)]
pub(crate) struct Egress {
    pub(crate) stream: StreamId,
    tracks: Vec<Track>,
    /// Where the sequence numbers of sound and picture start.
    first_seqs: [u16; 2],
}

/// What became of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// It waits for the next drain.
    Queued,
    /// It is of no use before a key frame.
    Blind,
    /// Nobody has a use for it: a viewer without sound has none for sound.
    Nothing,
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    mid: Mid,
    codec: Offered,
    rewriter: Rewriter,
    /// The publisher whose packets this viewer can decode: one of whom it has had a key frame.
    entered: Option<u32>,
    /// What came before the start of a key frame: some of it may only have overtaken that.
    early: VecDeque<Packet>,
}

/// Packets that one track keeps while it waits for a key frame. As many may overtake its first
/// packet, or come while that is sent again.
const EARLY_MAX: usize = 128;

impl Egress {
    pub(crate) fn new(stream: StreamId, rng: &mut Rng) -> Self {
        let first_seqs = [u16::from_be_bytes(rng.bytes()), u16::from_be_bytes(rng.bytes())];
        Self { stream, tracks: Vec::new(), first_seqs }
    }

    pub(crate) fn add_track(&mut self, kind: Kind, mid: Mid, codec: Offered) {
        let [audio, video] = self.first_seqs;
        let first_seq = match kind {
            Kind::Audio => audio,
            Kind::Video => video,
        };
        let rewriter = Rewriter::new(codec.spec.clock_rate.get(), first_seq);
        self.tracks.push(Track {
            kind,
            mid,
            codec,
            rewriter,
            entered: None,
            early: VecDeque::new(),
        });
    }

    /// Queues one packet; it goes out with the next drain.
    pub(crate) fn write(&mut self, rtc: &mut Rtc, packet: &Packet) -> Written {
        let Some(track) = self.tracks.iter_mut().find(|track| track.kind == packet.kind) else {
            return Written::Nothing;
        };
        if track.entered == Some(packet.run) {
            return track.queue(rtc, packet);
        }
        if track.entered.is_some_and(|run| packet.run < run) {
            return Written::Nothing;
        }
        if !packet.entry {
            if track.early.len() == EARLY_MAX {
                track.early.pop_front();
            }
            track.early.push_back(packet.clone());
            return Written::Blind;
        }
        track.entered = Some(packet.run);
        let written = track.queue(rtc, packet);
        for early in std::mem::take(&mut track.early) {
            if early.run == packet.run {
                track.queue(rtc, &early);
            }
        }
        written
    }

    pub(crate) fn has_picture(&self) -> bool {
        self.tracks.iter().any(|track| track.kind == Kind::Video)
    }
}

impl Track {
    fn queue(&mut self, rtc: &mut Rtc, packet: &Packet) -> Written {
        let Some(numbers) = self.rewriter.rewrite(packet) else { return Written::Nothing };
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(self.mid, None) else { return Written::Nothing };
        let write = RtpWrite::new(
            self.codec.pt.into(),
            numbers.seq.into(),
            numbers.time,
            packet.arrived,
            packet.payload.clone(),
        );
        let write = write
            .marker(packet.marker)
            .ext_vals(packet.extensions.values())
            .nackable(self.codec.rtx.is_some());
        stream.write_rtp(write);
        Written::Queued
    }
}

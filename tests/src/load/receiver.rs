//! A viewer's media: counts every packet, opens a sample, and reports as browsers do.

use std::time::Duration;

use str0m::crypto::dtls::SrtpProfile;

use super::rtcp::{self, TransportFeedback};
use super::rtp::{Header, Kind, without_padding};
use super::srtp::Srtp;
use super::tally::Tally;
use super::track::{Arrival, Track};
use crate::browser::Stamp;
use crate::browser::answer::Answer;
use crate::browser::payload::begins_key_frame;

/// Between two receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a browser waits for a key frame before it asks, and before it asks again.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(200);
const KEY_FRAME_AGAIN: Duration = Duration::from_millis(500);

/// Whose packets are expected, and how many of them are opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scrutiny {
    /// The publisher's number in the stamps of payloads; `None` if they may be anything.
    pub(super) publisher: Option<u32>,
    /// Every how many packets one is opened.
    pub(super) sample: u32,
    /// The share of media and reports that is thrown away unseen.
    pub(super) loss: f64,
    /// What decides which.
    pub(super) seed: u64,
}

/// How a server gets to know what the line to a viewer carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Control {
    /// From when packets came, which the header extension of this number counts.
    Arrivals(u8),
    /// From what the viewer thinks.
    Estimate,
    /// Not at all.
    Nothing,
}

impl Control {
    /// What a browser does of what was agreed on.
    pub(super) fn of(agreed: &Answer) -> Self {
        match agreed.transport_sequence {
            Some(extension) => Self::Arrivals(extension),
            None if agreed.estimates => Self::Estimate,
            None => Self::Nothing,
        }
    }
}

/// What a viewer knows of its media.
#[derive(Debug)]
pub(super) struct Receiver {
    srtp: Srtp,
    pub(super) tracks: Vec<Track>,
    scrutiny: Scrutiny,
    chance: fastrand::Rng,
    pub(super) control: Control,
    /// Bytes since the last report.
    bytes: u64,
    /// Packets until the next one is opened.
    until_sample: u32,
    feedback: TransportFeedback,
    /// Whether anything turned out to be missing since it was last asked for.
    hurry: bool,
    report_at: Duration,
    reported: Duration,
    /// When to ask for a key frame, if there is need.
    blind: Option<Duration>,
    pub(super) first_packet: Option<Duration>,
    pub(super) first_key_frame: Option<Duration>,
    pub(super) last_packet: Duration,
    pub(super) picture: Picture,
    room: Vec<u8>,
}

/// How well a picture moves: it stands still while a packet of it is missing, and from one that was
/// given up to the next key frame.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Picture {
    moved: Option<Duration>,
    still: Duration,
}

impl Picture {
    fn moves(&mut self, at: Duration) {
        self.still = self.longest(at);
        self.moved = Some(at);
    }

    /// How long it stood still at most so far; before it moved at all, not at all.
    pub(super) fn longest(&self, at: Duration) -> Duration {
        self.still.max(self.moved.map_or(Duration::ZERO, |moved| at.saturating_sub(moved)))
    }
}

impl Receiver {
    pub(super) fn new(
        now: Duration,
        srtp: Srtp,
        tracks: Vec<Track>,
        control: Control,
        scrutiny: Scrutiny,
    ) -> Self {
        let video = tracks.iter().any(|track| track.codec.is_video());
        Self {
            srtp,
            tracks,
            scrutiny,
            chance: fastrand::Rng::with_seed(scrutiny.seed),
            control,
            bytes: 0,
            // Viewers of one stream should not all open the same packets.
            until_sample: fastrand::u32(..scrutiny.sample.max(1)),
            feedback: TransportFeedback::default(),
            hurry: false,
            reported: now,
            report_at: now + REPORT_INTERVAL.mul_f64(fastrand::f64()),
            blind: video.then_some(now + KEY_FRAME_PATIENCE),
            first_packet: None,
            first_key_frame: None,
            last_packet: now,
            picture: Picture::default(),
            room: Vec::new(),
        }
    }

    /// What SRTP was agreed to be.
    pub(super) fn profile(&self) -> SrtpProfile {
        self.srtp.profile
    }

    /// Takes a datagram of RTP or RTCP; it may be decrypted in place.
    pub(super) fn datagram(&mut self, at: Duration, datagram: &mut [u8], tally: &mut Tally) {
        if self.scrutiny.loss > 0.0 && self.chance.f64() < self.scrutiny.loss {
            tally.discarded += 1;
            return;
        }
        match Kind::of(datagram) {
            Kind::Rtp => self.packet(at, datagram, tally),
            Kind::Rtcp => match self.srtp.open_rtcp(datagram) {
                Some(compound) => {
                    for (ssrc, middle) in rtcp::sender_reports(compound) {
                        let of = |track: &&mut Track| track.ssrc == ssrc;
                        if let Some(track) = self.tracks.iter_mut().find(of) {
                            track.sender_report(at, middle);
                        }
                    }
                }
                None => tally.refused += 1,
            },
            Kind::Other => {}
        }
    }

    fn packet(&mut self, at: Duration, packet: &mut [u8], tally: &mut Tally) {
        let extension = match self.control {
            Control::Arrivals(extension) => Some(extension),
            Control::Estimate | Control::Nothing => None,
        };
        let Some(header) = Header::read(packet, extension) else {
            tally.strange += 1;
            return;
        };
        self.bytes += packet.len() as u64;
        if tally.measuring {
            tally.bytes += packet.len() as u64;
        }
        tally.second(at).packets += 1;
        if let Some(sequence) = header.transport_sequence {
            let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
            self.feedback.arrive(sequence, micros);
        }
        self.last_packet = at;
        let ours = |track: &Track| track.ssrc == header.ssrc || track.rtx == Some(header.ssrc);
        match self.tracks.iter().position(ours) {
            Some(index) if self.tracks.get(index).is_some_and(|it| it.ssrc == header.ssrc) => {
                self.first(at, packet, &header, index, tally);
            }
            Some(index) => self.again(at, packet, &header, index, tally),
            None => tally.strange += 1,
        }
    }

    /// A packet that is sent for the first time.
    fn first(
        &mut self,
        at: Duration,
        packet: &mut [u8],
        header: &Header,
        track: usize,
        tally: &mut Tally,
    ) {
        let Some(track) = self.tracks.get_mut(track) else { return };
        let Some(index) = track.extend(header.sequence) else { return };
        if self.first_packet.is_none() {
            self.first_packet = Some(at);
            tally.second(at).joined += 1;
        }
        match track.arrive(at, index) {
            Arrival::Jumped(missed) => {
                tally.second(at).missed += missed;
                self.hurry = true;
            }
            Arrival::Next | Arrival::Late => {}
            Arrival::Again => return,
        }
        if track.moves() && self.blind.is_none() {
            self.picture.moves(at);
        }
        track.time(at, header.timestamp);
        let codec = track.codec;
        let sampled = self.samples();
        let searched = codec.is_video() && self.blind.is_some();
        if !sampled && !searched {
            return;
        }
        let Some(payload) = self.srtp.open_rtp(packet, header.length, index) else {
            tally.refused += 1;
            return;
        };
        let payload = without_padding(payload, header.padded);
        if searched && begins_key_frame(codec, payload) {
            self.blind = None;
            self.first_key_frame.get_or_insert(at);
        }
        if sampled && !payload.is_empty() {
            examine(at, payload, self.scrutiny.publisher, tally);
        }
    }

    /// A packet that was asked for (RFC 4588, section 4), or padding that fills the line.
    fn again(
        &mut self,
        at: Duration,
        packet: &mut [u8],
        header: &Header,
        track: usize,
        tally: &mut Tally,
    ) {
        let Some(track) = self.tracks.get_mut(track) else { return };
        let Some(index) = track.extend_rtx(header.sequence) else { return };
        let Some(payload) = self.srtp.open_rtp(packet, header.length, index) else {
            tally.refused += 1;
            return;
        };
        let payload = without_padding(payload, header.padded);
        let Some((sequence, payload)) = payload.split_first_chunk() else { return };
        tally.retransmitted += 1;
        let Some(index) = track.extend(u16::from_be_bytes(*sequence)) else { return };
        if track.arrive(at, index) != Arrival::Late {
            return;
        }
        if self.blind.is_some() && begins_key_frame(track.codec, payload) {
            self.blind = None;
            self.first_key_frame.get_or_insert(at);
        }
        if track.moves() && self.blind.is_none() {
            self.picture.moves(at);
        }
        if self.samples() && !payload.is_empty() {
            examine(at, payload, self.scrutiny.publisher, tally);
        }
    }

    /// Whether it is the turn of a packet to be looked into.
    fn samples(&mut self) -> bool {
        let sampled = self.until_sample == 0;
        self.until_sample = if sampled { self.scrutiny.sample } else { self.until_sample } - 1;
        sampled
    }

    /// Whether something should be asked for before the next round.
    pub(super) fn hurries(&self) -> bool {
        self.hurry
    }

    /// Asks for what is missing. `send` gets each packet sealed.
    pub(super) fn ask(&mut self, now: Duration, tally: &mut Tally, send: &mut dyn FnMut(&[u8])) {
        self.hurry = false;
        let mut missing = Vec::new();
        for at in 0..self.tracks.len() {
            let Some(track) = self.tracks.get_mut(at) else { continue };
            missing.clear();
            let given_up = track.ask(now, &mut missing);
            let (ssrc, video) = (track.ssrc, track.codec.is_video());
            if given_up && video {
                // What follows cannot be decoded.
                self.blind.get_or_insert(now);
            }
            // Sound is not sent again, and browsers do not ask for it.
            if video && !missing.is_empty() {
                tally.nacks += 1;
                self.say(send, |out| rtcp::nack(out, ssrc, &missing));
            }
        }
    }

    /// Says everything that is due; to be called every 50 ms.
    pub(super) fn report(&mut self, now: Duration, tally: &mut Tally, send: &mut dyn FnMut(&[u8])) {
        self.ask(now, tally, send);
        let ssrc_of = |video: bool| {
            let of_kind = |track: &&Track| track.codec.is_video() == video;
            self.tracks.iter().find(of_kind).map(|track| track.ssrc)
        };
        let (video, audio) = (ssrc_of(true), ssrc_of(false));
        let mut feedback = std::mem::take(&mut self.feedback);
        let mut any = false;
        let ssrc = video.or(audio).unwrap_or_default();
        if feedback.is_due() {
            self.say(send, |out| any = feedback.report(out, ssrc));
        }
        tally.feedbacks += u64::from(any);
        self.feedback = feedback;
        if self.report_at <= now {
            self.report_at = now + REPORT_INTERVAL;
            let blocks: Vec<_> = self.tracks.iter_mut().filter_map(|it| it.block(now)).collect();
            let estimate = self.estimate(now);
            let ssrcs: Vec<u32> = self.tracks.iter().map(|track| track.ssrc).collect();
            self.say(send, |out| {
                rtcp::receiver_report(out, &blocks);
                if let Some(bitrate) = estimate {
                    rtcp::estimate(out, bitrate, &ssrcs);
                }
            });
        }
        if let (Some(ssrc), Some(due)) = (video, self.blind)
            && due <= now
        {
            self.blind = Some(now + KEY_FRAME_AGAIN);
            tally.plis += 1;
            self.say(send, |out| rtcp::pli(out, ssrc));
        }
    }

    /// What the line is thought to carry, if that is to be told: browsers dare to think of half as
    /// much again as came.
    fn estimate(&mut self, now: Duration) -> Option<u64> {
        let span = now.saturating_sub(std::mem::replace(&mut self.reported, now));
        let bytes = std::mem::take(&mut self.bytes);
        let bitrate = bytes as f64 * 8.0 / span.as_secs_f64().max(1e-3);
        (self.control == Control::Estimate).then_some((1.5 * bitrate) as u64 + 10_000)
    }

    fn say(&mut self, send: &mut dyn FnMut(&[u8]), write: impl FnOnce(&mut Vec<u8>)) {
        self.room.clear();
        write(&mut self.room);
        if self.srtp.seal_rtcp(&mut self.room).is_some() {
            send(&self.room);
        }
    }
}

fn examine(at: Duration, payload: &[u8], publisher: Option<u32>, tally: &mut Tally) {
    tally.opened += 1;
    let Some(publisher) = publisher else { return };
    match Stamp::find(payload).filter(|stamp| stamp.publisher == publisher) {
        Some(stamp) => tally.delay(at, at.saturating_sub(stamp.sent)),
        None => tally.altered += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stands_still_from_one_move_to_the_next() {
        let second = Duration::from_secs;
        let mut picture = Picture::default();
        assert_eq!(picture.longest(second(9)), Duration::ZERO);
        for at in [1, 2, 5, 6] {
            picture.moves(second(at));
        }
        assert_eq!(picture.longest(second(7)), second(3));
        assert_eq!(picture.longest(second(10)), second(4));
    }
}

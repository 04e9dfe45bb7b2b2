//! The sending half: packets of a stream become RTP of a viewer, or of an edge.
//!
//! A viewer has no queue. It has a position in the stream's history, and when its turn comes, what
//! lies behind that is sealed into the send buffer, as one run of datagrams. Under load turns are
//! rarer and runs longer, so that a packet costs the less the more there are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use str0m::media::Mid;

use super::bandwidth::{Bandwidth, Receivable, Shortage};
use super::format::Offered;
use super::header::{ExtensionIds, Header};
use super::history::History;
use super::ingest::PAYLOAD_BYTES_MAX;
use super::packet::{Kind, Packet};
use super::rewrite::{Rewriter, ticks};
use super::rtcp::{self, CNAME_BYTES, Feedback, REPORT_BYTES_MAX, SenderReport};
use super::runs::{Run, RunWriter};
use super::srtp::{RTCP_BYTES_MAX, RTCP_SEAL_BYTES_MAX, SLACK_BYTES, Srtp};
use super::turn::Turn;
use crate::id::StreamId;
use crate::input::Flow;
use crate::limits::Limits;
use crate::rng::Rng;

/// Time between two reports on what was sent.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A report rides behind media for nothing; after so long it goes alone.
const REPORT_DELAY_MAX: Duration = Duration::from_millis(250);

/// What is sent again is at most one in so many of the bytes that were sent.
const RESENT_SHARE: usize = 6;
/// What may be sent again at once, in bytes: a key frame.
const RESENT_BYTES_MAX: usize = 256 * 1024;
/// Packets that a viewer may lack at once, and that one report of its may name: there is room for
/// some 6 000 in a datagram, and each is looked for among those that are known.
const LACKS_MAX: usize = 512;

/// What a late viewer is given of the cache in one turn, in bytes: about as much as the queues on
/// the way to it take at once.
const CATCH_UP_BYTES: usize = 16 * 1024;

/// Time of the cache is played so many times faster than it was recorded.
const SQUEEZE: u32 = 64;

/// What a peer is sent, and of which stream.
#[derive(Debug)]
pub(crate) struct Egress {
    pub(crate) stream: StreamId,
    /// Where the sequence numbers of sound, picture and what is sent again of that start.
    first_seqs: [u16; 3],
    cname: [u8; CNAME_BYTES],
    /// Where it goes, as ICE has it.
    pub(crate) route: Option<Flow>,
    /// There as soon as the handshake is over.
    srtp: Option<Box<Srtp>>,
    audio: Option<Track>,
    video: Option<Track>,
    /// Whether it goes to an edge, and not to a viewer.
    is_relay: bool,
    /// The position of the next packet to send.
    cursor: u64,
    /// Where live packets begin for this viewer; what comes before is from the cache.
    live_from: u64,
    /// Where what it was given late ends: what was kept for it, and what came meanwhile. There is
    /// no end to it as long as it has not caught up.
    late_until: u64,
    detour: Option<Detour>,
    /// Whether the first packet of the cache goes alone: some receivers take what comes after it,
    /// and is of before it, for too old.
    goes_ahead: bool,
    /// Whether it waits for its next turn with the cache.
    is_queued: bool,
    /// Bytes that it was given of the cache in its turn.
    turn_bytes: usize,
    /// Counts the packets of the transport.
    transport_count: u16,
    /// How much its way takes, if it says when packets came.
    bandwidth: Option<Box<Bandwidth>>,
    /// The same, as long as it says no more than how much that is.
    receivable: Option<Receivable>,
    /// The numbers of pictures that the viewer lacks, as it has them.
    lacks: VecDeque<u16>,
    /// Bytes that may be sent again now.
    resendable: usize,
    /// When the next report is due.
    report_due: Option<Instant>,
    /// Whether something was left out for want of a key frame.
    waits: bool,
}

/// A section of the SDP in which a medium of the stream is sent, with the numbers agreed there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    pub(crate) mid: Mid,
    pub(crate) codec: Offered,
    pub(crate) ids: ExtensionIds,
    pub(crate) ssrc: u32,
    /// The source of what is sent again, where anything is.
    pub(crate) rtx_ssrc: Option<u32>,
}

/// One medium, on its way to one viewer.
#[derive(Debug)]
struct Track {
    mid: Mid,
    codec: Offered,
    ids: ExtensionIds,
    ssrc: u32,
    /// Whether the viewer is known to know whose the source is.
    is_bound: bool,
    resent: Option<Resent>,
    rewriter: Rewriter,
    /// The publisher whose packets this viewer can decode: one of whom it has had a key frame.
    entered: Option<u32>,
    /// The publisher and the time stamp up to which pictures are from the cache.
    cached: Option<(u32, u32)>,
    packets: u32,
    payload_bytes: u32,
}

/// The stream of what is sent again (RFC 4588).
#[derive(Debug)]
struct Resent {
    pt: u8,
    ssrc: u32,
    is_bound: bool,
    /// The next number, extended.
    seq: u64,
}

/// A way back to the packets that overtook the start of a key frame: the viewer has no other way
/// to them.
#[derive(Clone, Copy, Debug)]
struct Detour {
    entry: u64,
    run: u32,
    seq: u64,
}

/// What a report of a viewer asks for, and what it shows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Heard {
    /// Whether it was the far side's own.
    pub(crate) is_authentic: bool,
    pub(crate) needs_keyframe: bool,
    pub(crate) shortage: Option<Shortage>,
}

/// What a viewer makes of a packet.
enum Verdict {
    /// It is not for it, or not any more.
    Skip,
    /// It goes out with these numbers.
    Send { header: Header, index: u64, enters: bool },
}

impl Egress {
    pub(crate) fn new(stream: StreamId, rng: &mut Rng) -> Self {
        let mut cname = [0; CNAME_BYTES];
        cname.copy_from_slice(rng.token(CNAME_BYTES).as_bytes());
        let first_seqs = std::array::from_fn(|_| u16::from_be_bytes(rng.bytes()));
        Self {
            stream,
            first_seqs,
            cname,
            route: None,
            srtp: None,
            audio: None,
            video: None,
            is_relay: false,
            cursor: 0,
            live_from: 0,
            late_until: 0,
            detour: None,
            goes_ahead: false,
            is_queued: false,
            turn_bytes: 0,
            transport_count: 0,
            bandwidth: None,
            receivable: None,
            lacks: VecDeque::new(),
            resendable: RESENT_BYTES_MAX / 4,
            report_due: None,
            waits: false,
        }
    }

    /// Takes on a medium of the stream.
    pub(crate) fn add_section(&mut self, section: Section) {
        let Section { kind, mid, codec, ids, ssrc, rtx_ssrc } = section;
        let [audio, video, resent] = self.first_seqs;
        let first_seq = match kind {
            Kind::Audio => audio,
            Kind::Video => video,
        };
        let resent = codec.rtx.zip(rtx_ssrc).map(|(pt, ssrc)| Resent {
            pt,
            ssrc,
            is_bound: false,
            seq: u64::from(resent & 0x7fff),
        });
        let track = Track {
            mid,
            codec,
            ids,
            ssrc,
            is_bound: false,
            resent,
            rewriter: Rewriter::new(codec.spec.clock_rate.get(), first_seq),
            entered: None,
            cached: None,
            packets: 0,
            payload_bytes: 0,
        };
        match kind {
            Kind::Audio => self.audio = Some(track),
            Kind::Video => self.video = Some(track),
        }
    }

    /// Names the sender in SDP and RTCP (RFC 3550, section 6.5.1).
    pub(crate) fn cname(&self) -> &str {
        str::from_utf8(&self.cname).unwrap_or_default()
    }

    /// Has it go to an edge. It then begins with what comes next, whatever there is before: a link
    /// that is there again would else bring the viewers behind it what they have seen.
    pub(crate) fn relay(&mut self) {
        self.is_relay = true;
    }

    /// Whether it goes to an edge.
    pub(crate) fn is_relay(&self) -> bool {
        self.is_relay
    }

    /// Lets it send, with the keys of the handshake.
    pub(crate) fn start(&mut self, now: Instant, srtp: Srtp) {
        self.srtp = Some(Box::new(srtp));
        self.report_due = Some(now);
        self.watch_bandwidth(now);
    }

    /// Of sound alone there is always enough, and nobody is behind a link who could be told.
    fn watch_bandwidth(&mut self, now: Instant) {
        let Some(video) = self.video.as_ref().filter(|_| !self.is_relay) else { return };
        self.receivable = Some(Receivable::default());
        self.bandwidth = video.ids.counts_transport().then(|| Box::new(Bandwidth::new(now)));
    }

    /// Lets the viewer begin: with the newest key frame, if that came lately, or with what comes
    /// next. Tells whether it has a picture to begin with, or none to wait for.
    pub(crate) fn join(&mut self, now: Instant, history: &History, limits: &Limits) -> bool {
        self.live_from = history.end();
        self.cursor = self.live_from;
        let Some(video) = &mut self.video else { return true };
        let keyframe = history.recent_keyframe(now, limits).filter(|_| !self.is_relay);
        let Some(keyframe) = keyframe else { return false };
        let run = history.get(keyframe).map(|packet| packet.run);
        video.cached = run.and_then(|run| Some((run, history.newest_time(run)?)));
        self.cursor = keyframe;
        self.late_until = u64::MAX;
        self.goes_ahead = true;
        true
    }

    /// Whether media can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        self.srtp.is_some() && self.route.is_some() && !self.is_queued
    }

    /// Whether the viewer is given what came before it did.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.late_until == u64::MAX
    }

    /// Sets whether the viewer waits for its next turn with the cache.
    pub(crate) fn set_queued(&mut self, is_queued: bool) {
        self.is_queued = is_queued;
        self.turn_bytes = 0;
    }

    /// Whether the viewer has to wait for its next turn with the cache.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.is_catching_up() && self.turn_bytes >= CATCH_UP_BYTES
    }

    /// Whether the viewer's turn would bring something.
    pub(crate) fn has_more(&self, history: &History) -> bool {
        self.cursor < history.end() || !self.lacks.is_empty()
    }

    /// Whether something was left out for want of a key frame since the last call.
    pub(crate) fn take_wish(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }

    /// Takes an RTCP packet of the viewer.
    pub(crate) fn hear(&mut self, now: Instant, limits: &Limits, datagram: &[u8]) -> Heard {
        let mut plain = [0; RTCP_BYTES_MAX + SLACK_BYTES];
        let opened = self.srtp.as_mut().and_then(|srtp| srtp.open_rtcp(datagram, &mut plain));
        let mut heard = Heard { is_authentic: opened.is_some(), ..Heard::default() };
        let mut named = 0;
        rtcp::read(opened.unwrap_or_default(), |feedback| match feedback {
            Feedback::Received { ssrc } => {
                for track in [&mut self.audio, &mut self.video].into_iter().flatten() {
                    track.is_bound |= track.ssrc == ssrc;
                    if let Some(resent) = &mut track.resent {
                        resent.is_bound |= resent.ssrc == ssrc;
                    }
                }
            }
            Feedback::Lacks { ssrc, seq } => {
                let is_picture = self.video.as_ref().is_some_and(|video| video.ssrc == ssrc);
                named += 1;
                let has_room = named <= LACKS_MAX && self.lacks.len() < LACKS_MAX;
                if is_picture && has_room && !self.lacks.contains(&seq) {
                    self.lacks.push_back(seq);
                }
            }
            Feedback::NeedsKeyframe => heard.needs_keyframe = true,
            Feedback::Arrivals(arrivals) => {
                if let Some(bandwidth) = &mut self.bandwidth {
                    self.receivable = None;
                    let shortage = bandwidth.hear(now, &arrivals, limits);
                    heard.shortage = heard.shortage.or(shortage);
                }
            }
            Feedback::Receivable { bitrate } => {
                let tracks = [&self.audio, &self.video].into_iter().flatten();
                let sent = tracks.fold(0u32, |sum, track| sum.wrapping_add(track.payload_bytes));
                if let Some(receivable) = &mut self.receivable {
                    let shortage = receivable.hear(now, bitrate, sent, limits);
                    heard.shortage = heard.shortage.or(shortage);
                }
            }
        });
        heard
    }

    /// Bytes of picture that the viewer was sent so far, modulo 2^32; `None` without a picture, and
    /// on a link, behind which nobody counts.
    pub(crate) fn video_bytes(&self) -> Option<u32> {
        let video = self.video.as_ref().filter(|_| !self.is_relay)?;
        Some(video.payload_bytes)
    }

    /// Seals what the viewer lacks and what is new to it, as much as goes into one run. `unix` is
    /// the wall time.
    pub(crate) fn next_run(
        &mut self,
        now: Instant,
        unix: Duration,
        limits: &Limits,
        history: &History,
        mut run: RunWriter<'_>,
    ) -> Option<Run> {
        let flow = self.route?;
        let mut srtp = self.srtp.take()?;
        let (keys, out) = (&mut srtp, &mut run);
        let mut turn = Turn { now, unix, limits, history, srtp: keys, run: out, even: 0 };
        let is_over = |due: Instant| now >= due + REPORT_DELAY_MAX;
        if self.report_due.is_some_and(is_over) {
            self.report(&mut turn);
        }
        self.send_again(&mut turn);
        self.send(&mut turn);
        if self.report_due.is_some_and(|due| now >= due) && !turn.run.is_empty() {
            self.report(&mut turn);
        }
        self.srtp = Some(srtp);
        self.turn_bytes += run.len();
        run.finish(flow)
    }

    /// Seals what comes next in the stream, until nothing does or it does not fit.
    fn send(&mut self, turn: &mut Turn<'_, '_>) {
        self.cursor = self.cursor.max(turn.history.first());
        let history = turn.history;
        while let Some(packet) = history.get(self.cursor) {
            let is_cached = self.is_catching_up() && self.cursor < self.live_from;
            if is_cached && self.turn_bytes + turn.run.len() >= CATCH_UP_BYTES {
                return;
            }
            let Verdict::Send { header, index, enters } = self.judge(turn, packet) else {
                self.cursor += 1;
                continue;
            };
            turn.even_out(self.cursor, packet);
            let count = self.transport_count;
            let Some(track) = self.track(packet.kind) else { return };
            let values = turn.values(packet, (!track.is_bound).then_some(track.mid), count);
            let ids = track.ids;
            if !turn.seal(&header, index, &ids, &values, &packet.payload) {
                return;
            }
            let payload_bytes = packet.payload.len();
            track.packets = track.packets.wrapping_add(1);
            let counted = u32::try_from(payload_bytes).unwrap_or(0);
            track.payload_bytes = track.payload_bytes.wrapping_add(counted);
            track.entered = Some(packet.run);
            let is_live = !self.is_catching_up();
            self.count(turn.now, &ids, payload_bytes, is_live);
            let resendable = self.resendable + payload_bytes / RESENT_SHARE;
            self.resendable = resendable.min(RESENT_BYTES_MAX);
            if enters && packet.kind == Kind::Video {
                let Packet { run, seq, .. } = *packet;
                self.detour = Some(Detour { entry: self.cursor, run, seq });
                self.cursor = history.before_overtakers(self.cursor);
            } else {
                self.cursor += 1;
            }
            if std::mem::take(&mut self.goes_ahead) {
                self.turn_bytes = CATCH_UP_BYTES;
                return;
            }
        }
        self.late_until = self.late_until.min(self.cursor);
    }

    /// Decides about the packet at the cursor.
    fn judge(&mut self, turn: &Turn<'_, '_>, packet: &Packet) -> Verdict {
        // What it leads back to may be forgotten meanwhile, and its end with that.
        self.detour = self.detour.filter(|detour| self.cursor <= detour.entry);
        if let Some(Detour { entry, run, seq }) = self.detour {
            if self.cursor == entry {
                self.detour = None;
                return Verdict::Skip;
            }
            let overtook = packet.run == run && packet.seq > seq;
            if packet.kind == Kind::Audio || !overtook {
                return Verdict::Skip;
            }
        }
        let is_live = self.cursor >= self.live_from;
        let age = turn.now.saturating_duration_since(packet.arrived);
        // What the kernel took no room for in time is of no use any more, but what came while the
        // viewer was catching up is. Sound of the cache would come too late for its picture, which
        // is gone over quickly.
        let is_late = !self.is_catching_up() && age > turn.limits.media_age_max;
        if is_late || (!is_live && packet.kind == Kind::Audio) {
            return Verdict::Skip;
        }
        let Some(track) = self.track(packet.kind) else { return Verdict::Skip };
        let enters = track.entered != Some(packet.run);
        if enters && !packet.entry {
            self.waits |= packet.kind == Kind::Video;
            return Verdict::Skip;
        }
        let Some(numbers) = track.rewriter.rewrite(packet) else { return Verdict::Skip };
        let header = Header {
            pt: track.codec.pt,
            marker: packet.marker,
            seq: low_bits(numbers.seq),
            time: track.squeeze(packet, numbers.time),
            ssrc: track.ssrc,
        };
        Verdict::Send { header, index: numbers.seq, enters }
    }

    /// Seals again what the viewer lacks, until it does not fit.
    fn send_again(&mut self, turn: &mut Turn<'_, '_>) {
        let late_until = self.late_until;
        let is_from_cache = |position: u64| position < late_until;
        while let Some(seq) = self.lacks.front() {
            let found = self.video.as_ref().and_then(|video| {
                let (run, seq) = video.rewriter.original(*seq)?;
                turn.history.find(run, seq)
            });
            let age_max = turn.limits.retransmission_age_max;
            let fresh = |(position, packet): &(u64, &Packet)| {
                let age = turn.now.saturating_duration_since(packet.arrived);
                let of_cache = if is_from_cache(*position) {
                    turn.limits.keyframe_cache_age_max
                } else {
                    Duration::ZERO
                };
                age <= age_max + of_cache && packet.payload.len() <= self.resendable
            };
            let Some((_, packet)) = found.filter(fresh) else {
                self.lacks.pop_front();
                continue;
            };
            let count = self.transport_count;
            let Some(video) = &mut self.video else { return };
            let Some(sent) = video.send_again(turn, packet, count) else {
                self.lacks.pop_front();
                continue;
            };
            if !sent {
                return;
            }
            let ids = video.ids;
            self.count(turn.now, &ids, packet.payload.len(), false);
            self.resendable -= packet.payload.len();
            self.lacks.pop_front();
        }
    }

    /// Counts a packet that went out, if it has a number of the transport.
    fn count(&mut self, now: Instant, ids: &ExtensionIds, payload_bytes: usize, is_live: bool) {
        if !ids.counts_transport() {
            return;
        }
        self.transport_count = self.transport_count.wrapping_add(1);
        if let Some(bandwidth) = &mut self.bandwidth {
            bandwidth.note(now, payload_bytes, is_live);
        }
    }

    /// Seals a report on what was sent, if there is room for it now.
    fn report(&mut self, turn: &mut Turn<'_, '_>) {
        let report = |track: &Track| {
            let (time, arrived) = track.rewriter.newest()?;
            let since = turn.now.saturating_duration_since(arrived);
            let time = time.wrapping_add(ticks(since, track.codec.spec.clock_rate.get()));
            let Track { ssrc, packets, payload_bytes, .. } = *track;
            Some(SenderReport { ssrc, unix: turn.unix, time, packets, payload_bytes })
        };
        let reports = [&self.audio, &self.video].map(|track| track.as_ref().and_then(report));
        let reports = reports.into_iter().flatten();
        if reports.clone().next().is_none() {
            return;
        }
        let mut plain = [0; REPORT_BYTES_MAX + RTCP_SEAL_BYTES_MAX + SLACK_BYTES];
        let written = rtcp::write_report(reports, &self.cname, &mut plain);
        let sealed = written.and_then(|len| turn.srtp.seal_rtcp(&mut plain, len));
        let Some(packet) = sealed.and_then(|len| plain.get(..len)) else { return };
        // One that does not fit keeps its turn; its number is lost, which is no harm.
        if let Some(room) = turn.run.room(packet.len()).and_then(|r| r.get_mut(..packet.len())) {
            room.copy_from_slice(packet);
            turn.run.add(packet.len());
            self.report_due = Some(turn.now + REPORT_INTERVAL);
        }
    }

    fn track(&mut self, kind: Kind) -> Option<&mut Track> {
        match kind {
            Kind::Audio => self.audio.as_mut(),
            Kind::Video => self.video.as_mut(),
        }
    }
}

impl Track {
    /// Pictures of the cache follow each other fast, and end where live begins: a player that took
    /// them for as long as they were would stay behind by that.
    fn squeeze(&self, packet: &Packet, time: u32) -> u32 {
        let Some((run, until)) = self.cached else { return time };
        let before = until.wrapping_sub(packet.time);
        if run != packet.run || before.cast_signed() <= 0 {
            return time;
        }
        time.wrapping_add(before - before.div_ceil(SQUEEZE))
    }

    /// Tells whether the packet fitted in; `None` if it cannot be sent again.
    fn send_again(&mut self, turn: &mut Turn<'_, '_>, packet: &Packet, count: u16) -> Option<bool> {
        let numbers = self.rewriter.rewrite(packet)?;
        let time = self.squeeze(packet, numbers.time);
        let resent = self.resent.as_mut()?;
        let mut payload = [0; ORIGINAL_SEQ_BYTES + PAYLOAD_BYTES_MAX];
        let payload = payload.get_mut(..ORIGINAL_SEQ_BYTES + packet.payload.len())?;
        let (original, rest) = payload.split_first_chunk_mut::<ORIGINAL_SEQ_BYTES>()?;
        *original = low_bits(numbers.seq).to_be_bytes();
        rest.copy_from_slice(&packet.payload);
        let header = Header {
            pt: resent.pt,
            marker: packet.marker,
            seq: low_bits(resent.seq),
            time,
            ssrc: resent.ssrc,
        };
        let values = turn.values(packet, (!resent.is_bound).then_some(self.mid), count);
        let sealed = turn.seal(&header, resent.seq, &self.ids, &values, payload);
        resent.seq += u64::from(sealed);
        Some(sealed)
    }
}

/// What stands before the payload of a packet that is sent again (RFC 4588, section 4).
const ORIGINAL_SEQ_BYTES: usize = 2;

/// A sequence number as packets carry it.
fn low_bits(seq: u64) -> u16 {
    u16::try_from(seq & 0xffff).unwrap_or(0)
}

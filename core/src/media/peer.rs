//! One WebRTC transport: the only file that holds an [`Rtc`].
//!
//! str0m wants every mutation followed by a drain before the next. A receive is drained at once:
//! a second one would overwrite the packet that the first left. Writes only queue, so that a whole
//! frame can be written before one drain sends it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::SdpPendingOffer;
use str0m::ice::IceCreds;
use str0m::media::{Direction, Media, MediaAdded, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Extension;
use str0m::{Event, IceConnectionState, Input, Output, Rtc};

use self::phase::Phase;
use super::answer;
use super::bandwidth::Shortage;
use super::datagram::{is_media, is_rtcp, is_stun};
use super::egress::{Egress, Section};
use super::fault::PeerFault;
use super::format::{Formats, Offered};
use super::handshake::Handshake;
use super::header::ExtensionIds;
use super::history::History;
use super::ingest::Ingest;
use super::offer::Offer;
use super::packet::{Kind, Packet};
use super::paths::{Paths, any_address};
use super::rtc;
use super::runs::{Run, RunWriter, Runs};
use super::srtp::Srtp;
use super::transport_count::TransportCount;
use super::ufrag;
use crate::id::{PeerId, StreamId};
use crate::input::Flow;
use crate::limits::Limits;
use crate::outbox::Ctx;
use crate::output::SendBuffer;
use crate::timers::earlier;

mod negotiation;
mod phase;

/// One WebRTC transport and what it is for.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// Our part of what ICE goes by.
    pub(crate) ice: IceCreds,
    rtc: Box<Rtc>,
    pub(crate) role: Role,
    /// What was agreed for sound and picture.
    codecs: [Option<Offered>; 2],
    /// The offer that waits for its answer, on a peer that we dialed.
    pending: Option<Pending>,
    phase: Phase,
    /// Every path that the peer was heard on.
    pub(crate) paths: Paths,
    /// The port of the socket that the peer uses.
    pub(crate) port: u16,
    /// What waits to be sent.
    pub(crate) runs: Runs,
    /// Whose keys str0m does not get, on a peer that we send to.
    handshake: Option<Handshake>,
    /// When str0m wants to be called.
    wake: Option<Instant>,
    /// Which of the far side's transport-wide sequence numbers str0m may see.
    transport_count: TransportCount,
    /// Bytes of picture up to the last word on their rate, modulo 2^32.
    pub(super) told_video_bytes: u32,
    /// When the first thing was written that the last drain did not send.
    written: Option<Instant>,
}

/// What was offered, and its sections.
struct Pending {
    offer: SdpPendingOffer,
    sections: Vec<(Kind, Mid, Offered)>,
}

/// The least time between two alarms of one peer: finer than any of WebRTC's timers.
const WAKE_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// What a transport is for.
#[derive(Debug)]
pub(crate) enum Role {
    /// We receive: a browser publishes, or an origin pushes.
    Ingest(Ingest),
    /// We send: a browser plays, or we push to an edge.
    Egress(Box<Egress>),
}

/// What a drain brought to light.
#[derive(Debug)]
pub(crate) enum Fact {
    Connected,
    Packet(Packet),
    /// The far side wants a key frame of what we send it.
    KeyframeWanted,
    /// What it is sent is more than its way takes.
    Short(Shortage),
    Failed(PeerFault),
}

/// What a peer answers, and what it agreed to.
pub(crate) struct Accepted {
    pub(crate) peer: Peer,
    pub(crate) answer: String,
    pub(crate) formats: Formats,
}

impl Peer {
    /// Answers a publisher's offer.
    pub(crate) fn accept_ingest(
        ctx: &mut Ctx<'_>,
        id: PeerId,
        offer: &str,
        port: u16,
        mut ingest: Ingest,
    ) -> Result<Accepted, PeerFault> {
        let offer = Offer::parse(offer)?;
        ingest.name(offer.sources());
        let narrowed = offer.narrow_to_receive(&ctx.config.settings.codecs)?;
        let codecs = [narrowed.audio, narrowed.video];
        let mut peer = Self::new(ctx, id, codecs, port, true, Role::Ingest(ingest));
        let answer = negotiation::accept_offer(&mut peer.rtc, &narrowed)?;
        let bounds = &ctx.config.settings.congestion;
        let answer = answer::ingest::rewrite(&answer, &narrowed.rejections(), bounds);
        Ok(Accepted { peer, answer, formats: narrowed.formats() })
    }

    /// Answers a viewer's offer.
    pub(crate) fn accept_egress(
        ctx: &mut Ctx<'_>,
        id: PeerId,
        offer: &str,
        port: u16,
        egress: Egress,
        published: &Formats,
    ) -> Result<Accepted, PeerFault> {
        let narrowed = Offer::parse(offer)?.narrow_to_send(published)?;
        let far = narrowed.transport()?;
        let cname = egress.cname().to_owned();
        let mut peer = Self::new(ctx, id, [None, None], port, true, Role::Egress(Box::new(egress)));
        let stream = answer::stream_name(ctx.rng);
        let candidates = rtc::candidates(ctx.config, port).map(|found| found.to_sdp_string());
        let candidates: Vec<String> = candidates.collect();
        let mut transport = peer.rtc.direct_api();
        let near = answer::egress::Near {
            session: u32::from_be_bytes(ctx.rng.bytes()),
            stream: &stream,
            cname: &cname,
            ice: &transport.local_ice_credentials(),
            fingerprint: &transport.local_dtls_fingerprint().clone(),
            is_active: far.is_active,
            candidates: &candidates,
            counts: ctx.config.settings.congestion.twcc,
            // Four in a row, none beyond the end.
            ssrc: u32::from_be_bytes(ctx.rng.bytes()) >> 1,
        };
        transport.set_ice_controlling(false);
        transport.set_remote_ice_credentials(far.ice);
        transport.set_remote_fingerprint(far.fingerprint);
        transport.start_dtls(far.is_active)?;
        let sent = answer::egress::sent_sections(&narrowed, &near)?;
        let answer = answer::egress::write(&narrowed, &near, &sent)?;
        if let Role::Egress(egress) = &mut peer.role {
            sent.into_iter().for_each(|section| egress.add_section(section));
        }
        Ok(Accepted { peer, answer, formats: narrowed.formats() })
    }

    /// Makes an offer to an edge: we send, and take the controlling part in ICE.
    pub(crate) fn dial(
        ctx: &mut Ctx<'_>,
        id: PeerId,
        port: u16,
        egress: Egress,
        published: &Formats,
    ) -> Result<(Self, String), PeerFault> {
        let offered = |pt, rtx, spec: Option<_>| spec.map(|spec| Offered { pt, rtx, spec });
        let audio = offered(111, None, published.audio);
        let video = offered(96, Some(97), published.video);
        let role = Role::Egress(Box::new(egress));
        let mut peer = Self::new(ctx, id, [audio, video], port, false, role);
        let stream = answer::stream_name(ctx.rng);
        let mut changes = peer.rtc.sdp_api();
        let mut sections = Vec::new();
        for (kind, codec) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
            let Some(codec) = codec else { continue };
            let track = Some(format!("{stream}-{kind}"));
            let mid =
                changes.add_media(kind, Direction::SendOnly, Some(stream.clone()), track, None);
            sections.push((Kind::from(kind), mid, codec));
        }
        let Some((sdp, offer)) = changes.apply() else {
            return Err(PeerFault::Internal("a stream without sound and picture".to_owned()));
        };
        peer.pending = Some(Pending { offer, sections });
        if let Role::Egress(egress) = &mut peer.role {
            egress.relay();
        }
        Ok((peer, sdp.to_sdp_string()))
    }

    /// Takes the answer to what [`Peer::dial`] offered.
    ///
    /// The edge's candidates become paths, so that its first STUN response finds this peer.
    pub(crate) fn take_answer(&mut self, ctx: &Ctx<'_>, sdp: &str) -> Result<(), PeerFault> {
        let Some(Pending { offer, sections }) = self.pending.take() else {
            return Err(PeerFault::Sdp("a second answer".to_owned()));
        };
        let offered: Vec<Offered> = sections.iter().map(|(_, _, codec)| *codec).collect();
        negotiation::accept_answer(&mut self.rtc, offer, &offered, sdp)?;
        if let Role::Egress(egress) = &mut self.role {
            for (kind, mid, codec) in sections {
                let Some(ids) = self.rtc.media(mid).map(ExtensionIds::of) else { continue };
                let mut api = self.rtc.direct_api();
                let Some(stream) = api.stream_tx_by_mid(mid, None) else { continue };
                let (ssrc, rtx_ssrc) = (stream.ssrc(), stream.rtx().map(|ssrc| *ssrc));
                // str0m never sends on it, and keeps 6 KiB for what it would have sent.
                api.remove_stream_tx(ssrc);
                egress.add_section(Section { kind, mid, codec, ids, ssrc: *ssrc, rtx_ssrc });
            }
        }
        let limits = &ctx.config.limits;
        for candidate in negotiation::candidates(sdp).take(limits.peer_addresses_max) {
            let remote = candidate.addr();
            self.rtc.add_remote_candidate(candidate);
            let local = any_address(SocketAddr::new(remote.ip(), self.port));
            self.paths.learn(ctx.now, Flow { local, remote }, limits);
        }
        self.written = Some(ctx.now);
        Ok(())
    }

    fn new(
        ctx: &mut Ctx<'_>,
        id: PeerId,
        codecs: [Option<Offered>; 2],
        port: u16,
        lite: bool,
        role: Role,
    ) -> Self {
        let ice = IceCreds { ufrag: ufrag::encode(id, ctx.rng), pass: ctx.rng.token(26) };
        let is_keyless = matches!(role, Role::Egress(_));
        let (rtc, handshake) = rtc::build(ctx, ice.clone(), codecs, port, lite, is_keyless);
        Self {
            id,
            ice,
            rtc: Box::new(rtc),
            role,
            codecs,
            pending: None,
            phase: Phase::Connecting { since: ctx.now, ice: false },
            paths: Paths::default(),
            port,
            runs: Runs::default(),
            handshake,
            wake: Some(ctx.now),
            transport_count: TransportCount::default(),
            told_video_bytes: 0,
            written: Some(ctx.now),
        }
    }

    /// Takes one datagram that the demultiplexer found to be this peer's.
    pub(crate) fn receive(
        &mut self,
        ctx: &Ctx<'_>,
        flow: Flow,
        bytes: &[u8],
        facts: &mut Vec<Fact>,
    ) {
        if let Role::Egress(egress) = &mut self.role
            && is_media(bytes)
        {
            if is_rtcp(bytes) {
                let heard = egress.hear(ctx.now, &ctx.config.limits, bytes);
                if heard.is_authentic && egress.is_relay() {
                    self.phase.hear(ctx.now);
                }
                facts.extend(heard.needs_keyframe.then_some(Fact::KeyframeWanted));
                facts.extend(heard.shortage.map(Fact::Short));
            }
            return;
        }
        let destination = rtc::candidate_for(flow.local, self.port, ctx.config);
        let Ok(receive) = Receive::new(Protocol::Udp, flow.remote, destination, bytes) else {
            return;
        };
        if is_stun(bytes) {
            self.phase.hear(ctx.now);
            // A check may have changed where media goes.
            if let Some(handshake) = &self.handshake {
                handshake.ask_for_route();
            }
        }
        if let Role::Ingest(ingest) = &mut self.role
            && !ingest.admits(bytes, self.phase.is_connected())
        {
            return;
        }
        if !self.transport_count.admits(bytes) {
            return;
        }
        if let Err(error) = self.rtc.handle_input(Input::Receive(ctx.now, receive)) {
            facts.push(Fact::Failed(error.into()));
            return;
        }
        self.poll(ctx, facts);
    }

    /// The stream that it is about.
    pub(crate) fn stream(&self) -> StreamId {
        match &self.role {
            Role::Ingest(ingest) => ingest.stream,
            Role::Egress(egress) => egress.stream,
        }
    }

    /// Lets the peer begin with what its stream has. Tells whether it has a picture to begin with,
    /// or none to wait for.
    pub(crate) fn join(&mut self, now: Instant, history: &History, limits: &Limits) -> bool {
        match &mut self.role {
            Role::Egress(egress) => egress.join(now, history, limits),
            Role::Ingest(_) => true,
        }
    }

    /// What the peer has to send next: words of ICE and DTLS, then media.
    pub(crate) fn next_run(
        &mut self,
        ctx: &Ctx<'_>,
        history: Option<&History>,
        send: &mut SendBuffer,
    ) -> Option<Run> {
        let limits = &ctx.config.limits;
        let run = self.runs.take(ctx.now, limits, &mut send.bytes, send.segments_max);
        if run.is_some() {
            return run;
        }
        match (&mut self.role, history) {
            (Role::Egress(egress), Some(history))
                if egress.is_ready() && self.phase.is_connected() =>
            {
                let unix = ctx.clock.unix();
                egress.next_run(ctx.now, unix, limits, history, RunWriter::new(send))
            }
            _ => None,
        }
    }

    /// Whether the peer's turn would bring something.
    pub(crate) fn has_more(&self, history: Option<&History>) -> bool {
        let has_media = |egress: &Egress| history.is_some_and(|history| egress.has_more(history));
        !self.runs.is_empty()
            || match &self.role {
                Role::Egress(egress) => self.can_send() && has_media(egress),
                Role::Ingest(_) => false,
            }
    }

    /// Whether the peer is given what came before it did.
    pub(crate) fn is_catching_up(&self) -> bool {
        match &self.role {
            Role::Egress(egress) => egress.is_catching_up(),
            Role::Ingest(_) => false,
        }
    }

    /// Whether the peer has to wait for its next turn with that.
    pub(crate) fn is_turn_over(&self) -> bool {
        match &self.role {
            Role::Egress(egress) => egress.is_turn_over(),
            Role::Ingest(_) => false,
        }
    }

    /// Sets whether the peer waits for its next turn with what came before it did.
    pub(crate) fn set_queued(&mut self, is_queued: bool) {
        if let Role::Egress(egress) = &mut self.role {
            egress.set_queued(is_queued);
        }
    }

    /// The stream, if since the last call something of it was left out for want of a key frame.
    pub(crate) fn take_wish(&mut self) -> Option<StreamId> {
        match &mut self.role {
            Role::Egress(egress) => egress.take_wish().then_some(egress.stream),
            Role::Ingest(_) => None,
        }
    }

    /// Whether media may flow.
    pub(super) fn is_connected(&self) -> bool {
        self.phase.is_connected()
    }

    fn can_send(&self) -> bool {
        let is_ready = match &self.role {
            Role::Egress(egress) => egress.is_ready(),
            Role::Ingest(_) => false,
        };
        is_ready && self.phase.is_connected()
    }

    /// Asks the publisher for a key frame; tells whether that left something to drain.
    pub(crate) fn request_keyframe(&mut self, now: Instant) -> bool {
        let asked = match &self.role {
            Role::Ingest(ingest) => ingest.request_keyframe(&mut self.rtc),
            Role::Egress(_) => false,
        };
        if asked {
            self.written.get_or_insert(now);
        }
        asked
    }

    /// Whether a drain would do anything.
    pub(crate) fn is_restless(&self, now: Instant, limits: &Limits) -> bool {
        self.written.is_some()
            || self.wake.is_some_and(|wake| wake <= now)
            || self.deadline(limits).0 <= now
    }

    /// Brings the peer to rest at `ctx.now` if it is not: what was written goes into the queue,
    /// deadlines that are over take effect.
    pub(crate) fn drain(&mut self, ctx: &Ctx<'_>, facts: &mut Vec<Fact>) {
        if let Some(fault) = self.overdue(ctx.now, &ctx.config.limits) {
            facts.push(Fact::Failed(fault));
            return;
        }
        if self.written.is_none() && self.wake.is_none_or(|wake| wake > ctx.now) {
            return;
        }
        self.written = None;
        if let Err(error) = self.rtc.handle_input(Input::Timeout(ctx.now)) {
            facts.push(Fact::Failed(error.into()));
            return;
        }
        self.poll(ctx, facts);
    }

    /// Goes on as if ICE and DTLS had come to this.
    #[cfg(feature = "bench")]
    pub(crate) fn begin(&mut self, now: Instant, srtp: Srtp, route: Flow) {
        self.phase = Phase::Connected { heard: now };
        if let Role::Egress(egress) = &mut self.role {
            egress.start(now, srtp);
            egress.route = Some(route);
        }
    }

    /// Ends DTLS in good order, as a browser does.
    #[cfg(test)]
    pub(crate) fn say_goodbye(&mut self) {
        self.rtc.close().expect("it was open");
        self.wake = None;
        self.written = self.paths.first_heard();
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> Option<&super::handshake::Keys> {
        self.handshake.as_ref().and_then(Handshake::keys)
    }

    fn poll(&mut self, ctx: &Ctx<'_>, facts: &mut Vec<Fact>) {
        for _ in 0..ctx.config.limits.peer_polls_max {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    // A wish to be called at once, by one who just was, would never end.
                    let at = at.max(ctx.now + WAKE_INTERVAL_MIN);
                    self.wake = self.rtc.is_alive().then_some(at);
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    if is_stun(&transmit.contents)
                        && let Err(fault) = self.paths.check(transmit.destination)
                    {
                        facts.push(Fact::Failed(fault));
                        return;
                    }
                    let flow = self.paths.flow(transmit.source, transmit.destination);
                    match &mut self.role {
                        // DTLS said nothing, see `Handshake`.
                        Role::Egress(egress) if transmit.contents.is_empty() => {
                            egress.route = Some(flow);
                        }
                        Role::Ingest(_) | Role::Egress(_) => {
                            let contents = transmit.contents.into();
                            self.runs.push(ctx.now, &ctx.config.limits, flow, contents);
                        }
                    }
                }
                Ok(Output::Event(event)) => self.note(ctx, event, facts),
                Err(error) => {
                    facts.push(Fact::Failed(error.into()));
                    return;
                }
            }
        }
        facts.push(Fact::Failed(PeerFault::Internal("it does not come to rest".to_owned())));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's events are an open set")]
    fn note(&mut self, ctx: &Ctx<'_>, event: Event, facts: &mut Vec<Fact>) {
        match event {
            Event::Connected => {
                self.phase = Phase::Connected { heard: ctx.now };
                match &mut self.role {
                    Role::Ingest(ingest) => ingest.heard = ctx.now,
                    Role::Egress(egress) => {
                        let keys = self.handshake.as_ref().and_then(Handshake::keys);
                        let srtp = keys.and_then(|keys| Srtp::new(keys, &ctx.config.crypto));
                        let Some(srtp) = srtp else {
                            facts.push(Fact::Failed(PeerFault::Dtls));
                            return;
                        };
                        egress.start(ctx.now, srtp);
                    }
                }
                facts.push(Fact::Connected);
            }
            Event::MediaAdded(added) => self.note_track(&added),
            Event::IceConnectionStateChange(state) => self.note_ice(state, facts),
            Event::RtpPacket(packet) => {
                if let Some(number) = packet.header.ext_vals.transport_cc {
                    self.transport_count.taken(number);
                }
                if let Role::Ingest(ingest) = &mut self.role
                    && let Some(packet) = ingest.receive(&mut self.rtc, packet)
                {
                    facts.push(Fact::Packet(packet));
                }
            }
            Event::KeyframeRequest(_) => facts.push(Fact::KeyframeWanted),
            Event::Closed => self.phase = Phase::Leaving { since: ctx.now },
            _ => {}
        }
    }

    /// str0m tells of the offer's sections once the peer is connected.
    fn note_track(&mut self, added: &MediaAdded) {
        let extensions = self.rtc.media(added.mid).map(Media::remote_extmap);
        if let Some(id) = extensions.and_then(|map| map.id_of(Extension::TransportSequenceNumber)) {
            self.transport_count.add_id(id);
        }
        let kind = Kind::from(added.kind);
        let [audio, video] = self.codecs;
        let codec = match kind {
            Kind::Audio => audio,
            Kind::Video => video,
        };
        let Some(codec) = codec.filter(|_| added.direction != Direction::Inactive) else { return };
        if let Role::Ingest(ingest) = &mut self.role {
            ingest.add_track(kind, added.mid, codec);
        }
    }

    fn note_ice(&mut self, state: IceConnectionState, facts: &mut Vec<Fact>) {
        match (&mut self.phase, state) {
            (
                Phase::Connecting { ice, .. },
                IceConnectionState::Connected | IceConnectionState::Completed,
            ) => *ice = true,
            (Phase::Connected { .. }, IceConnectionState::Disconnected) => {
                facts.push(Fact::Failed(PeerFault::ConsentLost));
            }
            _ => {}
        }
    }

    /// When the peer has to be drained next, if nothing comes before.
    pub(crate) fn next_timeout(&self, limits: &Limits) -> Option<Instant> {
        earlier(self.wake, Some(self.deadline(limits).0))
    }

    fn overdue(&self, now: Instant, limits: &Limits) -> Option<PeerFault> {
        let (deadline, fault) = self.deadline(limits);
        (now >= deadline).then_some(fault)
    }

    fn deadline(&self, limits: &Limits) -> (Instant, PeerFault) {
        let (media, is_relay) = match &self.role {
            Role::Ingest(ingest) => (Some(ingest.heard), ingest.is_relay),
            Role::Egress(egress) => (None, egress.is_relay()),
        };
        self.phase.deadline(media, is_relay, limits)
    }
}

impl Drop for Peer {
    /// An [`Rtc`] that is simply dropped says nothing to the far side, which is what is wanted:
    /// whoever is to know, knows from the dialogue.
    fn drop(&mut self) {
        self.rtc.disconnect();
    }
}

//! One WebRTC transport: the only file that holds an [`Rtc`].
//!
//! str0m wants every mutation followed by a drain before the next. A receive is drained at once:
//! a second one would overwrite the packet that the first left. Writes only queue, so that a whole
//! frame can be written before one drain sends it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::ice::IceCreds;
use str0m::media::{Direction, Media, MediaAdded, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError};

use super::answer;
use super::egress::{Egress, Written};
use super::format::{Formats, Offered};
use super::ingest::Ingest;
use super::offer::{Narrowed, Offer, OfferFault};
use super::packet::{Kind, Packet};
use super::runs::Runs;
use super::transport_count::TransportCount;
use super::ufrag;
use crate::config::Config;
use crate::id::PeerId;
use crate::input::Flow;
use crate::limits::Limits;
use crate::outbox::Ctx;
use crate::timers::earlier;

/// One WebRTC transport and what it is for.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) ufrag: String,
    rtc: Box<Rtc>,
    pub(crate) role: Role,
    /// What was agreed for sound and picture.
    codecs: [Option<Offered>; 2],
    /// The offer that waits for its answer, on a peer that we dialed.
    pending: Option<SdpPendingOffer>,
    phase: Phase,
    /// Every path that the peer was heard on, and when.
    paths: Vec<(Flow, Instant)>,
    /// The port of the socket that the peer uses.
    pub(crate) port: u16,
    /// What waits to be sent.
    pub(crate) runs: Runs,
    /// When str0m wants to be called.
    wake: Option<Instant>,
    /// Which of the far side's transport-wide sequence numbers str0m may see.
    transport_count: TransportCount,
    /// When the first thing was written that the last drain did not send.
    written: Option<Instant>,
}

/// The least time between two alarms of one peer: finer than any of WebRTC's timers.
const WAKE_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// What a transport is for.
#[derive(Debug)]
pub(crate) enum Role {
    /// We receive: a browser publishes, or an origin pushes.
    Ingest(Ingest),
    /// We send: a browser plays, or we push to an edge.
    Egress(Egress),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// ICE and DTLS are under way.
    Connecting { since: Instant, ice: bool },
    /// Media may flow. `checked` is when ICE was last heard.
    Connected { checked: Instant },
    /// The peer said goodbye on DTLS.
    Leaving { since: Instant },
}

/// Why a peer is no more, for the dialogue to put into words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerFault {
    /// Its offer, or answer, cannot be used.
    #[error("{0}")]
    Sdp(String),
    #[error("no common codecs")]
    NoCommonCodecs,
    #[error("no ICE check came in time")]
    IceTimeout,
    #[error("ICE went silent")]
    ConsentLost,
    #[error("the DTLS handshake failed or took too long")]
    Dtls,
    #[error("the certificate is not the one that the offer named")]
    Fingerprint,
    #[error("no RTP came")]
    RtpSilence,
    #[error("it said goodbye")]
    Gone,
    /// A bound of this node was reached.
    #[error("{0}")]
    Exhausted(&'static str),
    #[error("WebRTC failed: {0}")]
    Internal(String),
}

impl From<OfferFault> for PeerFault {
    fn from(fault: OfferFault) -> Self {
        match fault {
            OfferFault::Malformed(_) => Self::Sdp(fault.to_string()),
            OfferFault::NoCommonCodecs => Self::NoCommonCodecs,
        }
    }
}

/// What a drain brought to light.
#[derive(Debug)]
pub(crate) enum Fact {
    Connected,
    Packet(Packet),
    /// The far side wants a key frame of what we send it.
    KeyframeWanted,
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
        ingest: Ingest,
    ) -> Result<Accepted, PeerFault> {
        let narrowed = Offer::parse(offer)?.narrow_to_receive(&ctx.config.settings.codecs)?;
        Self::accept(ctx, id, &narrowed, port, Role::Ingest(ingest))
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
        Self::accept(ctx, id, &narrowed, port, Role::Egress(egress))
    }

    fn accept(
        ctx: &mut Ctx<'_>,
        id: PeerId,
        narrowed: &Narrowed,
        port: u16,
        role: Role,
    ) -> Result<Accepted, PeerFault> {
        let codecs = [narrowed.audio, narrowed.video];
        let mut peer = Self::new(ctx, id, codecs, port, true, role);
        let malformed = |error: &dyn ToString| PeerFault::Sdp(error.to_string());
        let offer = SdpOffer::from_sdp_string(&narrowed.sdp).map_err(|error| malformed(&error))?;
        let answer = peer.rtc.sdp_api().accept_offer(offer);
        let answer = answer.map_err(|error| malformed(&error))?.to_sdp_string();
        let stream = format!("s{}", ctx.rng.token(12));
        let bounds = match &peer.role {
            Role::Ingest(_) => Some(&ctx.config.settings.congestion),
            Role::Egress(_) => None,
        };
        let answer = answer::rewrite(&answer, &stream, &narrowed.rejected, bounds);
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
        let mut peer = Self::new(ctx, id, [audio, video], port, false, Role::Egress(egress));
        let stream = format!("s{}", ctx.rng.token(12));
        let mut changes = peer.rtc.sdp_api();
        let mut tracks = Vec::new();
        for (kind, codec) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
            let Some(codec) = codec else { continue };
            let track = Some(format!("{stream}-{kind}"));
            let mid =
                changes.add_media(kind, Direction::SendOnly, Some(stream.clone()), track, None);
            tracks.push((kind, mid, codec));
        }
        let Some((offer, pending)) = changes.apply() else {
            return Err(PeerFault::Internal("a stream without sound and picture".to_owned()));
        };
        peer.pending = Some(pending);
        if let Role::Egress(egress) = &mut peer.role {
            for (kind, mid, codec) in tracks {
                egress.add_track(kind.into(), mid, codec);
            }
        }
        Ok((peer, offer.to_sdp_string()))
    }

    /// Takes the answer to what [`Peer::dial`] offered.
    ///
    /// The edge's candidates become paths, so that its first STUN response finds this peer.
    pub(crate) fn take_answer(&mut self, ctx: &Ctx<'_>, sdp: &str) -> Result<(), PeerFault> {
        let Some(pending) = self.pending.take() else {
            return Err(PeerFault::Sdp("a second answer".to_owned()));
        };
        // str0m takes one `b=` line of a section; RFC 8866, section 5.8 lets there be any number.
        let lines = sdp.lines().filter(|line| !line.starts_with("b="));
        let unbounded: String = lines.flat_map(|line| [line, "\r\n"]).collect();
        let answer = SdpAnswer::from_sdp_string(&unbounded);
        let answer = answer.map_err(|error| PeerFault::Sdp(error.to_string()))?;
        let taken = self.rtc.sdp_api().accept_answer(pending, answer);
        taken.map_err(|error| PeerFault::Sdp(error.to_string()))?;
        let candidates = sdp.lines().filter_map(|line| line.strip_prefix("a="));
        for candidate in candidates.filter_map(|line| Candidate::from_sdp_string(line).ok()) {
            let remote = candidate.addr();
            let local = any_address(SocketAddr::new(remote.ip(), self.port));
            self.learn_path(ctx.now, Flow { local, remote }, &ctx.config.limits);
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
        let ufrag = ufrag::encode(id, ctx.rng);
        let credentials = IceCreds { ufrag: ufrag.clone(), pass: ctx.rng.token(26) };
        let mut builder = Rtc::builder()
            .set_rtp_mode(true)
            .set_ice_lite(lite)
            .set_local_ice_credentials(credentials)
            .set_crypto_provider(ctx.config.crypto.clone())
            .set_dtls_cert(ctx.config.dtls.clone())
            .set_extension_map(extension_map(ctx.config))
            .set_stats_interval(None)
            .clear_codecs();
        for codec in codecs.into_iter().flatten() {
            let spec = codec.spec;
            builder.codec_config().add_config(
                codec.pt.into(),
                codec.rtx.map(Into::into),
                spec.codec,
                spec.clock_rate,
                spec.channels,
                spec.format,
            );
        }
        let mut rtc = builder.build(ctx.now);
        for address in &ctx.config.addresses {
            // Only an unspecified address is refused, and the configuration has none.
            if let Ok(candidate) = Candidate::host(SocketAddr::new(*address, port), Protocol::Udp) {
                rtc.add_local_candidate(candidate);
            }
        }
        Self {
            id,
            ufrag,
            rtc: Box::new(rtc),
            role,
            codecs,
            pending: None,
            phase: Phase::Connecting { since: ctx.now, ice: false },
            paths: Vec::new(),
            port,
            runs: Runs::default(),
            wake: Some(ctx.now),
            transport_count: TransportCount::default(),
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
        let destination = self.candidate_for(flow.local, ctx.config);
        let Ok(receive) = Receive::new(Protocol::Udp, flow.remote, destination, bytes) else {
            return;
        };
        if is_stun(bytes)
            && let Phase::Connected { checked } = &mut self.phase
        {
            *checked = ctx.now;
        }
        if !self.transport_count.admits(bytes) {
            return;
        }
        if let Err(error) = self.rtc.handle_input(Input::Receive(ctx.now, receive)) {
            facts.push(Fact::Failed(fault_of(error)));
            return;
        }
        self.poll(ctx, facts);
    }

    /// Notes that the peer is heard on this path. Answers with the one that it gives up for it: a
    /// peer behind a NAT that changes its port has many in its life, but few at a time.
    pub(crate) fn learn_path(&mut self, now: Instant, flow: Flow, limits: &Limits) -> Option<Flow> {
        if let Some((known, heard)) =
            self.paths.iter_mut().find(|(known, _)| known.remote == flow.remote)
        {
            known.local = flow.local;
            *heard = now;
            return None;
        }
        let mut given_up = None;
        if self.paths.len() >= limits.peer_addresses_max {
            let oldest = (0..self.paths.len()).min_by_key(|at| self.paths.get(*at).map(|p| p.1));
            given_up = oldest.map(|at| self.paths.swap_remove(at).0);
        }
        self.paths.push((flow, now));
        given_up
    }

    /// Whether the peer was heard from there lately.
    pub(crate) fn holds_path(&self, now: Instant, remote: SocketAddr, limits: &Limits) -> bool {
        let path = self.paths.iter().find(|(path, _)| path.remote == remote);
        path.is_some_and(|(_, heard)| now < *heard + limits.path_hold_time)
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Flow> {
        self.paths.iter().map(|(path, _)| path)
    }

    /// Sends one packet of the stream; unless that was for nothing, there is something to drain.
    pub(crate) fn write(&mut self, now: Instant, limits: &Limits, packet: &Packet) -> Written {
        let connected = matches!(self.phase, Phase::Connected { .. });
        // Nothing is drained while the kernel takes no datagrams. What piles up is of no use later.
        let waited = self.written.map(|since| now.saturating_duration_since(since));
        let late = waited.is_some_and(|waited| waited > limits.media_age_max);
        let written = match &mut self.role {
            Role::Egress(egress) if connected && !late => egress.write(&mut self.rtc, packet),
            Role::Egress(_) | Role::Ingest(_) => Written::No,
        };
        if matches!(written, Written::Yes | Written::Entered) {
            self.written.get_or_insert(now);
        }
        written
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
            facts.push(Fact::Failed(fault_of(error)));
            return;
        }
        self.poll(ctx, facts);
    }

    /// Ends DTLS in good order, as a browser does.
    #[cfg(test)]
    pub(crate) fn say_goodbye(&mut self) {
        self.rtc.close().expect("it was open");
        self.wake = None;
        self.written = self.paths.first().map(|(_, heard)| *heard);
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
                    let (source, destination) = (transmit.source, transmit.destination);
                    self.enqueue(ctx, source, destination, transmit.contents.into());
                }
                Ok(Output::Event(event)) => self.note(ctx, event, facts),
                Err(error) => {
                    facts.push(Fact::Failed(fault_of(error)));
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
                self.phase = Phase::Connected { checked: ctx.now };
                if let Role::Ingest(ingest) = &mut self.role {
                    ingest.heard = ctx.now;
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
        match &mut self.role {
            Role::Ingest(ingest) => {
                ingest.add_track(kind, added.mid, codec);
            }
            Role::Egress(egress) => egress.add_track(kind, added.mid, codec),
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

    /// Queues a datagram for the kernel. `source` is the candidate that str0m chose.
    fn enqueue(&mut self, ctx: &Ctx<'_>, source: SocketAddr, remote: SocketAddr, bytes: Vec<u8>) {
        let heard = self.paths.iter().find(|(path, _)| path.remote == remote);
        let local = heard.map_or_else(|| any_address(source), |(path, _)| path.local);
        self.runs.push(ctx.now, &ctx.config.limits, Flow { local, remote }, bytes);
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
        match self.phase {
            Phase::Connecting { since, ice } => {
                let fault = if ice { PeerFault::Dtls } else { PeerFault::IceTimeout };
                (since + limits.peer_connect_timeout, fault)
            }
            Phase::Leaving { since } => (since + limits.goodbye_timeout, PeerFault::Gone),
            Phase::Connected { checked } => {
                let consent = (checked + limits.consent_timeout, PeerFault::ConsentLost);
                match &self.role {
                    Role::Ingest(ingest) => {
                        let media = ingest.heard + limits.rtp_silence_timeout;
                        if media < consent.0 { (media, PeerFault::RtpSilence) } else { consent }
                    }
                    Role::Egress(_) => consent,
                }
            }
        }
    }

    /// The candidate that stands for the address a datagram came to. Behind a NAT that is not the
    /// address itself, but the public one of the same family.
    fn candidate_for(&self, local: SocketAddr, config: &Config) -> SocketAddr {
        let known = config.addresses.iter().any(|address| *address == local.ip());
        let stand_in = config.addresses.iter().find(|other| other.is_ipv4() == local.is_ipv4());
        let address = match stand_in {
            Some(stand_in) if !known => *stand_in,
            _ => local.ip(),
        };
        SocketAddr::new(address, self.port)
    }
}

impl Drop for Peer {
    /// An [`Rtc`] that is simply dropped says nothing to the far side, which is what is wanted:
    /// whoever is to know, knows from the dialogue.
    fn drop(&mut self) {
        self.rtc.disconnect();
    }
}

/// The source is left to the kernel until the peer was heard: behind a NAT, the candidate's
/// address is none that this machine could send from.
fn any_address(candidate: SocketAddr) -> SocketAddr {
    let any = match candidate.ip() {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    SocketAddr::new(any, candidate.port())
}

fn extension_map(config: &Config) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(1, Extension::AudioLevel);
    map.set(2, Extension::AbsoluteSendTime);
    if config.settings.congestion.twcc {
        map.set(3, Extension::TransportSequenceNumber);
    }
    map.set(4, Extension::RtpMid);
    map.set(6, Extension::VideoContentType);
    map.set(13, Extension::VideoOrientation);
    map
}

#[expect(clippy::wildcard_enum_match_arm, reason = "str0m's errors are an open set")]
fn fault_of(error: RtcError) -> PeerFault {
    match error {
        RtcError::Dtls(_) => PeerFault::Dtls,
        // After the offer was accepted, only the check of the certificate says this.
        RtcError::RemoteSdp(_) => PeerFault::Fingerprint,
        other => PeerFault::Internal(other.to_string()),
    }
}

/// RFC 7983, section 7.
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first <= 3)
}

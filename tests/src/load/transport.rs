//! ICE and DTLS of one viewer, by str0m, which sees nothing of its media.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::{MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc, RtcConfig};

use super::invitation::Invitation;
use super::keys::{self, Keys};
use super::profiles::Profile;
use super::srtp::Srtp;
use crate::browser::answer::Answer;
use crate::browser::offer::Offer;
use crate::browser::{self, Shape};

/// What all viewers have in common.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    config: RtcConfig,
    pub(super) shape: Shape,
    profile: Profile,
}

impl Kind {
    pub(super) fn new(shape: Shape, profile: Profile) -> Self {
        let crypto = keys::provider(profile);
        let certificate = crypto.dtls_provider.generate_certificate();
        let mut config = browser::configure(&shape, Arc::new(crypto));
        // Browsers make one for each connection; what that costs is nobody's business here.
        if let Some(certificate) = certificate {
            config = config.set_dtls_cert(certificate);
        }
        Self { config, shape, profile }
    }
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Pending,
    Up,
    Lost,
}

/// A peer connection without media.
#[derive(Debug)]
pub(super) struct Transport {
    rtc: Box<Rtc>,
    local: SocketAddr,
    pub(super) state: State,
    pub(super) due: Instant,
    /// Where the far side is, as far as it is known.
    pub(super) remote: Option<SocketAddr>,
    /// Datagrams that are to be sent.
    pub(super) outgoing: Vec<(SocketAddr, Vec<u8>)>,
    keys: Option<Keys>,
}

impl Transport {
    /// A transport at the address `local`, and its offer to receive, which names that address if
    /// the page waits until the browser has `gathered` it.
    pub(super) fn offer(
        now: Instant,
        kind: &Kind,
        local: SocketAddr,
        gathered: bool,
    ) -> (Self, String) {
        let mut rtc = kind.config.clone().build(now);
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        for (mid, codecs) in kind.shape.lines.iter().enumerate() {
            let video = codecs.iter().any(|codec| codec.is_video());
            let media = if video { MediaKind::Video } else { MediaKind::Audio };
            api.declare_media(Mid::from(mid.to_string().as_str()), media);
        }
        let credentials = api.local_ice_credentials();
        let sdp = Offer {
            shape: &kind.shape,
            ssrcs: &[],
            ufrag: &credentials.ufrag,
            password: &credentials.pass,
            fingerprint: &api.local_dtls_fingerprint().to_string(),
            id: fastrand::u64(..) >> 1,
            candidate: gathered.then_some(local),
        }
        .text();
        // What is offered can be narrowed only by the client of the handshake.
        let sdp = match kind.profile {
            Profile::Any => sdp,
            Profile::Gcm128 | Profile::Gcm256 | Profile::AesCm => {
                sdp.replace("a=setup:actpass", "a=setup:active")
            }
        };
        (Self::new(now, rtc, local), sdp)
    }

    /// A transport at the address `local` that takes up a server's offer, and the answer to that.
    pub(super) fn accept(
        now: Instant,
        kind: &Kind,
        local: SocketAddr,
        invitation: &Invitation,
    ) -> Result<(Self, String), String> {
        let mut rtc = kind.config.clone().build(now);
        let mut api = rtc.direct_api();
        api.set_ice_controlling(false);
        let fingerprint = api.local_dtls_fingerprint().to_string();
        let answer = invitation.answer(local, &api.local_ice_credentials(), &fingerprint);
        let mut transport = Self::new(now, rtc, local);
        transport.agree(now, &invitation.agreed)?;
        Ok((transport, answer))
    }

    fn new(now: Instant, rtc: Rtc, local: SocketAddr) -> Self {
        Self {
            rtc: Box::new(rtc),
            local,
            state: State::Pending,
            due: now,
            remote: None,
            outgoing: Vec::new(),
            keys: None,
        }
    }

    /// A transport to a server that knows the viewer: nothing is left to agree on.
    pub(super) fn seated(now: Instant, kind: &Kind, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            state: State::Up,
            due: now + Duration::from_secs(24 * 3600),
            remote: Some(remote),
            ..Self::new(now, kind.config.clone().build(now), local)
        }
    }

    /// Takes what was agreed on. No stream is expected of str0m, so it reports on none.
    pub(super) fn agree(&mut self, now: Instant, answer: &Answer) -> Result<(), String> {
        let host = Candidate::host(self.local, "udp").map_err(|error| error.to_string())?;
        self.rtc.add_local_candidate(host);
        for candidate in &answer.candidates {
            self.rtc.add_remote_candidate(candidate.clone());
        }
        let mut api = self.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: answer.ufrag.clone(),
            pass: answer.password.clone(),
        });
        api.set_remote_fingerprint(answer.fingerprint.clone());
        api.start_dtls(answer.dial).map_err(|error| error.to_string())?;
        self.advance(now);
        Ok(())
    }

    /// Takes a datagram of STUN or DTLS.
    pub(super) fn datagram(&mut self, now: Instant, remote: SocketAddr, bytes: &[u8]) {
        // What is neither is dropped, as a socket's reader would.
        if let Ok(receive) = Receive::new(Protocol::Udp, remote, self.local, bytes) {
            let input = Input::Receive(now, receive);
            if self.rtc.accepts(&input) && self.rtc.handle_input(input).is_err() {
                self.state = State::Lost;
            }
            self.drain();
        }
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            self.state = State::Lost;
        }
        self.drain();
    }

    /// The keys of SRTP, once when they are agreed on.
    pub(super) fn take_srtp(&mut self) -> Option<Srtp> {
        Srtp::new(&self.keys.take()?)
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    self.due = due;
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    self.remote = Some(transmit.destination);
                    self.outgoing.push((transmit.destination, transmit.contents.to_vec()));
                }
                Ok(Output::Event(Event::Connected)) => self.state = State::Up,
                Ok(Output::Event(
                    Event::Closed
                    | Event::IceConnectionStateChange(IceConnectionState::Disconnected),
                )) => self.state = State::Lost,
                Ok(Output::Event(_)) => {}
                Err(_) => {
                    self.state = State::Lost;
                    self.due += Duration::from_secs(3600);
                    break;
                }
            }
        }
        // This thread drove no other handshake in between.
        self.keys = Keys::take().or(self.keys.take());
    }
}

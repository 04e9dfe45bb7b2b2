//! How far a transport has come, and until when it has to be further.

use std::time::Instant;

use super::super::fault::PeerFault;
use crate::limits::Limits;

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// ICE and DTLS are under way.
    Connecting { since: Instant, ice: bool },
    /// Media may flow. `heard` is when ICE was last heard, or from another node RTCP.
    Connected { heard: Instant },
    /// The peer said goodbye on DTLS.
    Leaving { since: Instant },
}

impl Phase {
    pub(super) fn is_connected(self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// The far side was heard to be there.
    pub(super) fn hear(&mut self, now: Instant) {
        if let Self::Connected { heard } = self {
            *heard = now;
        }
    }

    /// When the peer fails, and of what, if nothing comes before. `media` is when media of one that
    /// sends us some came last. Nodes talk to each other all the time, so that with `is_relay` a
    /// short silence is enough.
    pub(super) fn deadline(
        self,
        media: Option<Instant>,
        is_relay: bool,
        limits: &Limits,
    ) -> (Instant, PeerFault) {
        match self {
            Self::Connecting { since, ice } => {
                let fault = if ice { PeerFault::Dtls } else { PeerFault::IceTimeout };
                (since + limits.peer_connect_timeout, fault)
            }
            Self::Leaving { since } => (since + limits.goodbye_timeout, PeerFault::Gone),
            Self::Connected { heard } => {
                let newest = media.map_or(heard, |media| media.max(heard));
                let silence = newest + limits.link_silence_timeout;
                let consent = heard + limits.consent_timeout;
                let media = media.map(|media| media + limits.rtp_silence_timeout);
                match media {
                    _ if is_relay && silence <= media.unwrap_or(consent).min(consent) => {
                        (silence, PeerFault::RelaySilence)
                    }
                    Some(media) if media < consent => (media, PeerFault::RtpSilence),
                    Some(_) | None => (consent, PeerFault::ConsentLost),
                }
            }
        }
    }
}

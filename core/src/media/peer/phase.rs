//! How far a transport has come, and until when it has to be further.

use std::time::Instant;

use super::super::fault::PeerFault;
use crate::limits::Limits;

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// ICE and DTLS are under way.
    Connecting { since: Instant, ice: bool },
    /// Media may flow. `checked` is when ICE was last heard.
    Connected { checked: Instant },
    /// The peer said goodbye on DTLS.
    Leaving { since: Instant },
}

impl Phase {
    pub(super) fn is_connected(self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// When the peer fails, and of what, if nothing comes before. `heard` is when media of one that
    /// sends us some came last.
    pub(super) fn deadline(self, heard: Option<Instant>, limits: &Limits) -> (Instant, PeerFault) {
        match self {
            Self::Connecting { since, ice } => {
                let fault = if ice { PeerFault::Dtls } else { PeerFault::IceTimeout };
                (since + limits.peer_connect_timeout, fault)
            }
            Self::Leaving { since } => (since + limits.goodbye_timeout, PeerFault::Gone),
            Self::Connected { checked } => {
                let consent = checked + limits.consent_timeout;
                match heard.map(|heard| heard + limits.rtp_silence_timeout) {
                    Some(media) if media < consent => (media, PeerFault::RtpSilence),
                    Some(_) | None => (consent, PeerFault::ConsentLost),
                }
            }
        }
    }
}

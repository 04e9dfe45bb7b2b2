//! Why a peer is given up.

use str0m::RtcError;

use super::offer::OfferFault;

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
    #[error("nothing came from the other node")]
    RelaySilence,
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
            OfferFault::Malformed(_) | OfferFault::Excessive(_) => Self::Sdp(fault.to_string()),
            OfferFault::NoCommonCodecs => Self::NoCommonCodecs,
        }
    }
}

impl From<RtcError> for PeerFault {
    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's errors are an open set")]
    fn from(error: RtcError) -> Self {
        match error {
            RtcError::Dtls(_) => Self::Dtls,
            // After the offer was accepted, only the check of the certificate says this.
            RtcError::RemoteSdp(_) => Self::Fingerprint,
            other => Self::Internal(other.to_string()),
        }
    }
}

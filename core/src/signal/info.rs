//! Why a stream ended or could not begin, in the literal words that pages compare.

/// The `info` of a status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Info {
    StoppedByUser,
    StoppedByPublisherStop,
    StreamNotFound,
    PublishStreamIsNotReady,
    NameInUse,
    MediaSessionIdNull,
    MediaSessionIdInUse,
    NoCommonCodecs,
    IceTimeout,
    KeepAlive,
    DtlsFingerprint,
    Dtls,
    RtpActivity,
    /// The offer cannot be used, or the media path cannot be made.
    BadOffer,
    /// Playing by anything but WebRTC.
    ProviderUnsupported,
    /// A pull source in place of a stream name.
    PullUnsupported,
    TooManyStreams,
    /// The address asks for too many streams in too short a time.
    TooFast,
    /// The address has as many streams as it may have.
    TooManyOfAddress,
    /// The node has not kept up with what it was asked for before.
    Overloaded,
    /// The node is at a limit that its operator set.
    Full,
    /// The operator has taken the node out of service.
    Passive,
    /// The node takes nobody new and ends soon.
    ShuttingDown,
    NameTooLong,
    CodecChanged,
    /// An edge that takes streams over links only.
    LinksOnly,
    LinkNotAuthenticated,
    /// A session that came in as a link, and wants to play.
    LinksPlayNothing,
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    TokenNotYetValid,
    TokenCannotPublish,
    TokenCannotPlay,
    /// The token is for streams of other names.
    TokenForOthers,
    BackendRefused,
    /// The backend said neither yes nor no.
    BackendSilent,
    BackendBusy,
    TooLongForBackend,
    Failed,
}

impl Info {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::StoppedByUser => "Stopped by user",
            Self::StoppedByPublisherStop => "Stopped by publisher stop",
            Self::StreamNotFound => "Stream not found",
            Self::PublishStreamIsNotReady => "Publish stream is not ready",
            Self::NameInUse => "Stream name is already in use",
            Self::MediaSessionIdNull => "MediaSessionId is null",
            Self::MediaSessionIdInUse => "MediaSessionId is already in use",
            Self::NoCommonCodecs => "No common codecs",
            Self::IceTimeout => "Failed by ICE timeout",
            Self::KeepAlive => "Failed by ICE keep alive",
            Self::DtlsFingerprint => "Failed by DTLS fingerprint error",
            Self::Dtls => "Failed by DTLS error",
            Self::RtpActivity => "Failed by RTP activity",
            Self::BadOffer => "Failed to add stream to proxy",
            Self::ProviderUnsupported => "Only WebRTC is offered by this server",
            Self::PullUnsupported => "Failed to get agent storage",
            Self::TooFast => "Too many requests from this address, try again in a moment",
            Self::TooManyOfAddress => "Too many streams of this address, end one first",
            Self::Overloaded => "This server is overloaded, try again in a moment",
            Self::Full => "This server is full, try another one or try again later",
            Self::Passive => "This server is out of service, try another one",
            Self::ShuttingDown => "This server is shutting down",
            Self::TooManyStreams => "Too many streams",
            Self::NameTooLong => "Stream name is empty or too long",
            Self::CodecChanged => "The publisher came back with another codec",
            Self::LinksOnly => "Only origins may publish on this edge",
            Self::LinkNotAuthenticated => "Links must be authenticated to publish here",
            Self::LinksPlayNothing => "Links are for publishing only",
            Self::TokenMissing => "Access token is missing",
            Self::TokenInvalid => "Access token is not valid",
            Self::TokenExpired => "Access token has expired",
            Self::TokenNotYetValid => "Access token is not valid yet",
            Self::TokenCannotPublish => "Access token does not allow to publish",
            Self::TokenCannotPlay => "Access token does not allow to play",
            Self::TokenForOthers => "Access token is for other streams",
            Self::BackendRefused => "Refused by the backend",
            Self::BackendSilent => "The backend gave no answer",
            Self::BackendBusy => "Too many requests wait for the backend",
            Self::TooLongForBackend => "The request is too long for the backend",
            Self::Failed => "Failed by error",
        }
    }
}

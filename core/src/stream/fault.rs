//! Why a conversation on a TCP connection cannot go on: who erred, and how.

use rustls::{CertificateError, Error};

/// Why a conversation cannot go on. What the far side is to be told is outgoing already.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub(crate) enum StreamFault {
    /// The far side sent something that is not HTTP/1.1.
    #[error("malformed HTTP: {0}")]
    Malformed(&'static str),
    /// The far side sent a head beyond `http_head_bytes_max`, or more fields than are kept.
    #[error("the header is too large")]
    HeadTooLarge,
    /// The far side sent a body beyond `http_body_bytes_max`.
    #[error("the body is too large")]
    BodyTooLarge,
    /// The far side asked with a method that nothing here answers.
    #[error("the method is not supported")]
    MethodNotAllowed,
    /// The far side coded its message in a way that is not understood here.
    #[error("no transfer coding but chunked is supported")]
    TransferCoding,
    /// The far side speaks another version of HTTP.
    #[error("only HTTP/1.0 and HTTP/1.1 are supported")]
    Version,
    /// The far side asked for a WebSocket in a wrong way.
    #[error("bad WebSocket upgrade: {0}")]
    Upgrade(&'static str),
    /// The far side speaks another version of the WebSocket protocol.
    #[error("only version 13 of the WebSocket protocol is supported")]
    UpgradeVersion,
    /// The far side sent more requests ahead than are kept while one is being answered.
    #[error("too much was sent ahead of an answer")]
    Backlog,
    /// Our own side was told to dial with a host or path that cannot stand in a request.
    #[error("the host or path to dial cannot stand in a request")]
    Destination,
    /// The far side answered, but not with a WebSocket.
    #[error("the far side answered the WebSocket upgrade with status {0}")]
    UpgradeRefused(u16),
    /// The far side did not accept our token, for this reason.
    #[error("the far side refused the link: {0}")]
    Unauthorized(String),
    /// The far side's answer breaks the rules.
    #[error("bad answer: {0}")]
    Answer(&'static str),
    /// The far side ended the connection in mid-sentence.
    #[error("the far side ended the connection too early")]
    Truncated,
    /// The far side sent a message beyond `websocket_message_bytes_max`.
    #[error("the message is too large")]
    MessageTooLarge,
    /// The far side sent a text message that is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The far side broke the WebSocket protocol.
    #[error("{0}")]
    Protocol(String),
    /// TLS failed; the error tells on which side.
    #[error("TLS: {}", tls_problem(.0))]
    Tls(Error),
    /// The far side reads too slowly: more than `outgoing_bytes_max` would wait for it.
    #[error("the far side reads too slowly")]
    Overflow,
}

/// What failed, in words of the settings where those can mend it.
fn tls_problem(error: &Error) -> String {
    if *error == CertificateError::ApplicationVerificationFailure.into() {
        "the certificate is not the one that <fingerprint> names".to_owned()
    } else if *error == CertificateError::UnknownIssuer.into() {
        "no known authority signed the certificate; name the authority with cdn_ca (a \
         backend's with auth.hook.ca), or the certificate with <fingerprint>"
            .to_owned()
    } else {
        error.to_string()
    }
}

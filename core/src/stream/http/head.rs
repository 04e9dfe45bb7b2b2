//! What heads of requests and responses have in common: where they end, and their header fields.

use super::super::StreamFault;
use super::super::pipe::ByteQueue;
use super::body::{Chunk, Framing};

/// Header fields of one head. Browsers send about twenty.
pub(super) const FIELDS_MAX: usize = 100;

/// Finds the end of a head without looking at any byte twice, so that a head that trickles in
/// costs no more than one that comes at once.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    scanned: usize,
}

impl HeadEnd {
    /// The length of the head at the front of `queue`, its empty line included, or `None` while
    /// it is not complete.
    pub(super) fn find(
        &mut self,
        queue: &ByteQueue,
        bytes_max: usize,
    ) -> Result<Option<usize>, StreamFault> {
        let bytes = queue.as_slice();
        while let Some(rest) = bytes.get(self.scanned..) {
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
                self.scanned = bytes.len();
                break;
            };
            let line_end = self.scanned + at;
            let empty_line = match rest.get(at + 1..) {
                Some([b'\n', ..]) => Some(1),
                Some([b'\r', b'\n', ..]) => Some(2),
                Some([] | [b'\r']) | None => {
                    self.scanned = line_end;
                    break;
                }
                Some(_) => None,
            };
            if let Some(len) = empty_line {
                let end = line_end + 1 + len;
                self.scanned = 0;
                return if end > bytes_max {
                    Err(StreamFault::HeadTooLarge)
                } else {
                    Ok(Some(end))
                };
            }
            self.scanned = line_end + 1;
        }
        if bytes.len() > bytes_max { Err(StreamFault::HeadTooLarge) } else { Ok(None) }
    }
}

/// The values of all header fields of that name.
pub(super) fn values<'a>(
    headers: &'a [httparse::Header<'a>],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

/// Whether the comma-separated list in the header fields of that name has the token.
pub(super) fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Where the body ends by its header fields, or `None` if they do not say (RFC 9112, section 6.3).
///
/// What two servers could read differently is refused, because a proxy in front of this one could
/// be led to see other requests than it does (RFC 9112, section 11.2).
pub(super) fn framing(
    headers: &[httparse::Header<'_>],
    http11: bool,
) -> Result<Option<Framing>, StreamFault> {
    let mut lengths = values(headers, "content-length");
    let mut codings = values(headers, "transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(StreamFault::Malformed("both Content-Length and Transfer-Encoding"))
        }
        (Some(length), None) => {
            if lengths.next().is_some() {
                return Err(StreamFault::Malformed("Content-Length twice"));
            }
            if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
                return Err(StreamFault::Malformed("Content-Length is not a number"));
            }
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            // Digits alone, so what does not fit is too large.
            length.map(|length| Some(Framing::Length(length))).ok_or(StreamFault::BodyTooLarge)
        }
        (None, Some(coding)) => {
            if !http11 {
                return Err(StreamFault::Malformed("Transfer-Encoding before HTTP/1.1"));
            }
            if codings.next().is_some() || !coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(StreamFault::TransferCoding);
            }
            Ok(Some(Framing::Chunked(Chunk::Size)))
        }
    }
}

/// What the parser refused, in our words.
pub(super) fn refused(error: httparse::Error) -> StreamFault {
    match error {
        httparse::Error::HeaderName => StreamFault::Malformed("bad header field name"),
        httparse::Error::HeaderValue => StreamFault::Malformed("bad header field value"),
        httparse::Error::NewLine => StreamFault::Malformed("bad line end"),
        httparse::Error::Status => StreamFault::Malformed("bad status line"),
        httparse::Error::Token => StreamFault::Malformed("bad request line"),
        httparse::Error::TooManyHeaders => StreamFault::HeadTooLarge,
        httparse::Error::Version => StreamFault::Version,
    }
}

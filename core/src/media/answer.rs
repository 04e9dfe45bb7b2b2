//! Answers as the clients need them (RFC 8829, section 5.3).

use super::packet::Kind;
use crate::rng::Rng;

pub(crate) mod egress;
pub(crate) mod ingest;

/// A name for the media stream of an answer or offer.
pub(crate) fn stream_name(rng: &mut Rng) -> String {
    format!("s{}", rng.token(12))
}

/// The tracks of sound and picture have names of their own in the stream of both.
fn track_name(stream: &str, kind: Kind) -> String {
    match kind {
        Kind::Audio => format!("{stream}-audio"),
        Kind::Video => format!("{stream}-video"),
    }
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

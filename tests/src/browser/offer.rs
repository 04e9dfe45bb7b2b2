//! Offers as browsers make them: everything bundled, `actpass`, and for the WebSDK no candidates.

mod chromium;
mod firefox;

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use str0m::rtp::Extension;

use super::payload::Codec;

/// Whose habits an offer has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Engine {
    /// Chromium and what is built on it.
    Chromium,
    /// Firefox.
    Firefox,
}

/// What a stream consists of, in the order of the offer's m-lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Codecs by m-line: an m-line is video when its codecs are. The first is what the browser
    /// would rather send.
    pub lines: Vec<Vec<Codec>>,
    /// Who offers it.
    pub engine: Engine,
}

impl Shape {
    /// What the stock pages offer.
    pub fn audio_video() -> Self {
        Self::of(vec![vec![Codec::Opus], vec![Codec::Vp8, Codec::H264]])
    }

    /// The same with the video m-line first, as Safari and older pages do.
    pub fn video_audio() -> Self {
        Self::of(vec![vec![Codec::Vp8, Codec::H264], vec![Codec::Opus]])
    }

    /// Sound alone.
    pub fn audio() -> Self {
        Self::of(vec![vec![Codec::Opus]])
    }

    /// Pictures alone.
    pub fn video() -> Self {
        Self::of(vec![vec![Codec::Vp8, Codec::H264]])
    }

    fn of(lines: Vec<Vec<Codec>>) -> Self {
        Self { lines, engine: Engine::Chromium }
    }

    /// The same, offered by Firefox.
    #[must_use]
    pub fn in_firefox(mut self) -> Self {
        self.engine = Engine::Firefox;
        self
    }

    /// The same m-lines with video in one codec only.
    #[must_use]
    pub fn only(mut self, codec: Codec) -> Self {
        for line in &mut self.lines {
            if line.iter().any(|offered| offered.is_video()) {
                *line = vec![codec];
            }
        }
        self
    }

    /// Whether the shape has an m-line of this kind.
    pub fn has_video(&self, video: bool) -> bool {
        self.lines.iter().flatten().any(|codec| codec.is_video() == video)
    }
}

impl Engine {
    /// A payload type of the offer and the one for its retransmissions (RFC 4588).
    pub(crate) fn payload_types(self, codec: Codec) -> (u8, Option<u8>) {
        match (self, codec) {
            (Self::Chromium, Codec::Vp8) => (96, Some(97)),
            (Self::Chromium, Codec::H264) => (102, Some(103)),
            (Self::Chromium, Codec::Opus) => (111, None),
            (Self::Firefox, Codec::Vp8) => (120, Some(124)),
            (Self::Firefox, Codec::H264) => (126, Some(127)),
            (Self::Firefox, Codec::Opus) => (109, None),
        }
    }

    /// The header extensions of the offer that packets here may carry.
    pub(crate) fn extensions(self) -> &'static [(u8, Extension)] {
        match self {
            Self::Chromium => &[
                (1, Extension::AudioLevel),
                (2, Extension::AbsoluteSendTime),
                (3, Extension::TransportSequenceNumber),
                (4, Extension::RtpMid),
                (10, Extension::RtpStreamId),
                (11, Extension::RepairedRtpStreamId),
                (13, Extension::VideoOrientation),
            ],
            Self::Firefox => &[
                (1, Extension::AudioLevel),
                (3, Extension::RtpMid),
                (4, Extension::AbsoluteSendTime),
                (7, Extension::TransportSequenceNumber),
            ],
        }
    }
}

/// The SSRCs of one sent track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ssrcs {
    pub(crate) media: u32,
    pub(crate) rtx: Option<u32>,
}

/// Everything that an offer is made of.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) shape: &'a Shape,
    /// One per m-line when publishing, none when playing.
    pub(crate) ssrcs: &'a [Ssrcs],
    pub(crate) ufrag: &'a str,
    pub(crate) password: &'a str,
    /// As in `a=fingerprint`.
    pub(crate) fingerprint: &'a str,
    pub(crate) id: u64,
    /// Its address, if the page waited until the browser knew it.
    pub(crate) candidate: Option<SocketAddr>,
}

impl Offer<'_> {
    /// The SDP text.
    pub(crate) fn text(&self) -> String {
        let mut sdp = String::new();
        match self.shape.engine {
            Engine::Chromium => self.write_chromium(&mut sdp),
            Engine::Firefox => self.write_firefox(&mut sdp),
        }
        .expect("writing to a String cannot fail");
        sdp
    }

    /// Candidates belong to the m-line that all others are bundled with.
    fn write_candidate(&self, sdp: &mut String, mid: usize) -> fmt::Result {
        match self.candidate.filter(|_| mid == 0) {
            Some(at) => write!(sdp, "a={}\r\n", host_candidate(at)),
            None => Ok(()),
        }
    }

    fn mids(&self) -> String {
        let mids: Vec<String> = (0..self.shape.lines.len()).map(|mid| mid.to_string()).collect();
        mids.join(" ")
    }
}

/// A candidate as Chromium writes it.
pub(crate) fn host_candidate(at: SocketAddr) -> String {
    format!(
        "candidate:1 1 udp 2122260223 {} {} typ host generation 0 network-id 1",
        at.ip(),
        at.port()
    )
}

fn is_video(codecs: &[Codec]) -> bool {
    codecs.iter().any(|codec| codec.is_video())
}

//! An offer with one codec for each medium, and what str0m is shown of it: it would answer with
//! every codec that both sides know.

use super::{FINGERPRINT, Fate, Offer, OfferFault, Section, Transport, has_prefix, is_direction};
use crate::media::format::{Formats, Offered};

/// An offer, and what becomes of it.
#[derive(Debug)]
pub(crate) struct Narrowed<'a> {
    offer: Offer<'a>,
    /// One for each section.
    fates: Vec<Fate>,
    /// Who sends in the sections that are used, as an attribute of the offer.
    direction: &'static str,
    pub(crate) audio: Option<Offered>,
    pub(crate) video: Option<Offered>,
}

impl<'a> Narrowed<'a> {
    pub(super) fn new(
        offer: Offer<'a>,
        fates: Vec<Fate>,
        direction: &'static str,
        audio: Option<Offered>,
        video: Option<Offered>,
    ) -> Self {
        Self { offer, fates, direction, audio, video }
    }

    /// Rejects what is idle in other formats than those that are used. str0m knows no other, and
    /// binds the payload types of an idle section without a look at whose they are.
    pub(super) fn without_strangers(mut self) -> Self {
        let used = [self.audio, self.video];
        for fate in &mut self.fates {
            if matches!(fate, Fate::Idle(codec) if !used.contains(&Some(*codec))) {
                *fate = Fate::Reject;
            }
        }
        self
    }

    pub(crate) fn formats(&self) -> Formats {
        Formats { audio: self.audio.map(|c| c.spec), video: self.video.map(|c| c.spec) }
    }

    /// The sections in their order, and what becomes of each.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&Section<'a>, Fate)> {
        self.offer.sections.iter().zip(self.fates.iter().copied())
    }

    /// For each section that is rejected, the media line that says so. str0m sees a rejected
    /// `audio` in its place: it would open a data channel, and knows no other media.
    pub(crate) fn rejections(&self) -> Vec<Option<String>> {
        let sections = self.sections();
        sections
            .map(|(section, fate)| (fate == Fate::Reject).then(|| section.rejection()))
            .collect()
    }

    /// The lines before the first section.
    pub(super) fn session(&self) -> &[&'a str] {
        &self.offer.session
    }

    /// Reads what ICE and DTLS need.
    ///
    /// # Errors
    /// [`OfferFault::Malformed`], if that is missing, or the sections do not share one transport.
    pub(crate) fn transport(&self) -> Result<Transport, OfferFault> {
        Transport::read(self)
    }

    /// What str0m is shown.
    pub(crate) fn sdp(&self) -> String {
        let rejected_mids: Vec<&str> = self
            .sections()
            .filter(|(_, fate)| *fate == Fate::Reject)
            .filter_map(|(section, _)| section.attribute("a=mid:"))
            .collect();
        let mut out = String::new();
        for line in &self.offer.session {
            match line.strip_prefix("a=group:BUNDLE") {
                Some(mids) => {
                    out.push_str("a=group:BUNDLE");
                    for mid in mids.split_whitespace().filter(|mid| !rejected_mids.contains(mid)) {
                        out.push(' ');
                        out.push_str(mid);
                    }
                    out.push_str("\r\n");
                }
                None => push_line(&mut out, line),
            }
        }
        for (section, fate) in self.sections() {
            push_section(&mut out, section, self.direction, fate);
        }
        out
    }
}

fn push_section(out: &mut String, section: &Section<'_>, direction: &str, fate: Fate) {
    let (codec, direction) = match fate {
        Fate::Use(codec) => (Some(codec), direction),
        Fate::Idle(codec) => (Some(codec), "a=inactive"),
        Fate::Reject => (None, "a=inactive"),
    };
    for (index, line) in section.lines.iter().copied().enumerate() {
        if index == 0 {
            let line = codec.map(|codec| section.media_line(codec));
            push_line(out, line.as_deref().unwrap_or(REJECTED));
        } else if codec.map_or_else(|| is_identity(line), |codec| is_of(line, codec)) {
            push_line(out, line);
        }
    }
    push_line(out, direction);
}

/// Payload type 9 needs no rtpmap, and is of a codec, G.722, that is never used here: str0m binds
/// the payload types of a rejected section, too.
const REJECTED: &str = "m=audio 0 UDP/TLS/RTP/SAVPF 9";

/// What stays of a rejected section. Its transport must not: str0m takes the first that it finds,
/// and what counts is that of the first section in use (RFC 9143, section 7.3).
fn is_identity(line: &str) -> bool {
    line.starts_with("c=") || line.starts_with("a=mid:")
}

/// Whether a line stays in a section whose only codec is this one.
fn is_of(line: &str, codec: Offered) -> bool {
    let of_codec = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
    let tail = of_codec.iter().find_map(|prefix| line.strip_prefix(prefix));
    let other = tail.and_then(|tail| tail.split_whitespace().next()).is_some_and(|pt| {
        let pt = pt.parse::<u8>().ok();
        pt.is_some() && pt != Some(codec.pt) && pt != codec.rtx
    });
    let simulcast = line.starts_with("a=simulcast:") || line.starts_with("a=rid:");
    !other && !simulcast && !is_direction(&line)
}

/// Writes a line, unless it is one that str0m is not to see.
fn push_line(out: &mut String, line: &str) {
    // DTLS here does not check the fingerprint of another function.
    let unchecked = has_prefix(line, "a=fingerprint:") && !has_prefix(line, FINGERPRINT);
    // str0m takes one bound of the bitrate and heeds none.
    let bound = line.starts_with("b=");
    // It keeps each candidate for good, and goes through all of them with every check. Where we
    // only answer checks (RFC 8445, section 2.5), none is needed; where we make them, they are
    // counted.
    let candidate = line.starts_with("a=candidate:");
    if !unchecked && !bound && !candidate {
        out.push_str(line);
        out.push_str("\r\n");
    }
}

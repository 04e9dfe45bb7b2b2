//! The offer of a browser, narrowed down to the codecs that will be used.
//!
//! str0m answers with every codec that both sides know. An answer to a publisher must name one, so
//! that it cannot switch in mid-stream; an answer to a viewer must name the publisher's. So the
//! offer is narrowed before str0m sees it (RFC 8866 for the lines, RFC 8829 for their use).

use str0m::format::{CodecSpec, FormatParams};
use str0m::media::Frequency;

use super::format::{self, Formats, Offered};
use super::packet::Kind;

/// The one fingerprint that everybody must offer (RFC 8122, section 5).
const FINGERPRINT: &str = "a=fingerprint:sha-256 ";

/// An offer, cut into its sections.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    session: Vec<&'a str>,
    sections: Vec<Section<'a>>,
}

#[derive(Debug)]
struct Section<'a> {
    /// `None` for what is neither sound nor picture.
    kind: Option<Kind>,
    lines: Vec<&'a str>,
    /// Who sends, as an attribute.
    direction: &'a str,
    codecs: Vec<Offered>,
    rejected: bool,
}

/// Why an offer cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferFault {
    /// It is not an offer, or one that lacks something.
    #[error("{0}")]
    Malformed(&'static str),
    /// There is no codec that both sides know.
    #[error("no common codecs")]
    NoCommonCodecs,
}

/// An offer that str0m shall answer, and what the answer will then say.
#[derive(Debug)]
pub(crate) struct Narrowed {
    pub(crate) sdp: String,
    /// For each section that is rejected, the media line that says so. str0m sees a rejected
    /// `audio` in its place: it would open a data channel, and knows no other media.
    pub(crate) rejected: Vec<Option<String>>,
    pub(crate) audio: Option<Offered>,
    pub(crate) video: Option<Offered>,
}

impl Narrowed {
    pub(crate) fn formats(&self) -> Formats {
        Formats { audio: self.audio.map(|c| c.spec), video: self.video.map(|c| c.spec) }
    }
}

/// What becomes of one section.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Use(Offered),
    /// It stays, with a codec, but nothing flows.
    Idle(Offered),
    Reject,
}

impl<'a> Offer<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, OfferFault> {
        let mut session = Vec::new();
        let mut sections: Vec<Section<'a>> = Vec::new();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            // Answers repeat words of offers, and there is no word with such a character.
            if line.contains(|c: char| c.is_control() && c != '\t') {
                return Err(OfferFault::Malformed("it has control characters"));
            }
            if let Some(media) = line.strip_prefix("m=") {
                sections.push(Section::new(media, line));
            } else if let Some(section) = sections.last_mut() {
                section.lines.push(line);
            } else {
                session.push(line);
            }
        }
        if session.first() != Some(&"v=0") {
            return Err(OfferFault::Malformed("it does not begin with v=0"));
        }
        if sections.is_empty() {
            return Err(OfferFault::Malformed("it has no m= line"));
        }
        let anywhere = |prefix| {
            let mut lines = session.iter().chain(sections.iter().flat_map(|s| &s.lines));
            lines.any(|line: &&str| has_prefix(line, prefix))
        };
        if !anywhere("a=ice-ufrag:") || !anywhere("a=ice-pwd:") {
            return Err(OfferFault::Malformed("it has no ICE user name fragment and password"));
        }
        if !anywhere(FINGERPRINT) {
            return Err(OfferFault::Malformed("it has no SHA-256 fingerprint"));
        }
        let of_all = session.iter().copied().find(is_direction).unwrap_or(DIRECTION);
        for section in &mut sections {
            section.direction = section.lines.iter().copied().find(is_direction).unwrap_or(of_all);
            // Without a transport of its own a section has port 0 too (RFC 9143, section 6).
            section.rejected &= !section.lines.contains(&"a=bundle-only");
            section.read_codecs();
        }
        Ok(Self { session, sections })
    }

    /// Narrows a publisher's offer to one codec for sound and one for picture.
    pub(crate) fn narrow_to_receive(&self, preferred: &[String]) -> Result<Narrowed, OfferFault> {
        if !self.sections.iter().any(|section| section.kind.is_some() && section.sends()) {
            return Err(OfferFault::Malformed("it offers to send nothing"));
        }
        self.narrow("a=sendonly", |section, _| {
            match format::choose_to_receive(&section.codecs, preferred) {
                Some(codec) if section.sends() => Fate::Use(codec),
                Some(codec) => Fate::Idle(codec),
                None => Fate::Reject,
            }
        })
    }

    /// Narrows a viewer's offer to the codecs of what is published.
    ///
    /// A viewer who wants picture (or sound), can have it only in another codec, is a fault even
    /// if the other medium fits: a player that stays black helps nobody.
    pub(crate) fn narrow_to_send(&self, published: &Formats) -> Result<Narrowed, OfferFault> {
        let wanted = |kind| match kind {
            Kind::Audio => published.audio,
            Kind::Video => published.video,
        };
        let unfit = self.sections.iter().any(|section| {
            let published = section.kind.and_then(wanted).filter(|_| section.receives());
            published.is_some_and(|spec| format::choose_to_send(&section.codecs, &spec).is_none())
        });
        if unfit {
            return Err(OfferFault::NoCommonCodecs);
        }
        self.narrow("a=recvonly", |section, kind| {
            let fit = wanted(kind).and_then(|spec| format::choose_to_send(&section.codecs, &spec));
            match (fit, section.codecs.first()) {
                (Some(codec), _) if section.receives() => Fate::Use(codec),
                (_, Some(codec)) => Fate::Idle(*codec),
                (_, None) => Fate::Reject,
            }
        })
    }

    /// Decides about each section. One that is used shall say `direction`, whatever it said before.
    fn narrow(
        &self,
        direction: &str,
        decide: impl Fn(&Section<'a>, Kind) -> Fate,
    ) -> Result<Narrowed, OfferFault> {
        let (mut audio, mut video) = (None, None);
        let mut fates = Vec::with_capacity(self.sections.len());
        for section in &self.sections {
            let taken = match section.kind {
                Some(Kind::Audio) => &mut audio,
                Some(Kind::Video) => &mut video,
                None => {
                    fates.push(Fate::Reject);
                    continue;
                }
            };
            let kind = section.kind.unwrap_or(Kind::Audio);
            let fate = match decide(section, kind) {
                _ if section.rejected => Fate::Reject,
                // A second camera or microphone finds its place taken.
                Fate::Use(_) if taken.is_some() => Fate::Reject,
                fate @ (Fate::Use(_) | Fate::Idle(_) | Fate::Reject) => fate,
            };
            if let Fate::Use(codec) = fate {
                *taken = Some(codec);
            }
            fates.push(fate);
        }
        if audio.is_none() && video.is_none() {
            return Err(OfferFault::NoCommonCodecs);
        }
        let rejected = self.sections.iter().zip(&fates);
        let rejected = rejected
            .map(|(section, fate)| (*fate == Fate::Reject).then(|| section.rejection()))
            .collect();
        Ok(Narrowed { sdp: self.print(direction, &fates), rejected, audio, video })
    }

    fn print(&self, direction: &str, fates: &[Fate]) -> String {
        let rejected_mids: Vec<&str> = self
            .sections
            .iter()
            .zip(fates)
            .filter(|(_, fate)| **fate == Fate::Reject)
            .filter_map(|(section, _)| section.attribute("a=mid:"))
            .collect();
        let mut out = String::new();
        for line in &self.session {
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
        for (section, fate) in self.sections.iter().zip(fates) {
            section.print(direction, *fate, &mut out);
        }
        out
    }
}

impl<'a> Section<'a> {
    fn new(media: &'a str, line: &'a str) -> Self {
        let mut words = media.split_whitespace();
        let kind = match words.next() {
            Some("audio") => Some(Kind::Audio),
            Some("video") => Some(Kind::Video),
            _ => None,
        };
        let rejected = words.next() == Some("0");
        let lines = vec![line];
        Self { kind, lines, direction: DIRECTION, codecs: Vec::new(), rejected }
    }

    fn attribute(&self, prefix: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| line.strip_prefix(prefix))
    }

    /// Whether the offerer wants to send here.
    fn sends(&self) -> bool {
        matches!(self.direction, "a=sendrecv" | "a=sendonly")
    }

    fn receives(&self) -> bool {
        matches!(self.direction, "a=sendrecv" | "a=recvonly")
    }

    fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.media_words().skip(3).filter_map(|word| word.parse().ok())
    }

    /// Reads each line once: a browser offers some 40 payload types in some 100 lines.
    fn read_codecs(&mut self) {
        let maps = self.by_payload_type("a=rtpmap:");
        let parameters = self.by_payload_type("a=fmtp:");
        let repairs: Vec<(u8, u8)> = self
            .payload_types()
            .filter_map(|rtx| Some((repaired(of(&maps, rtx)?, of(&parameters, rtx)?)?, rtx)))
            .collect();
        let mut codecs = Vec::new();
        for pt in self.payload_types() {
            let map = match (of(&maps, pt), pt) {
                (Some(map), _) => map,
                // RFC 3551, section 6: these need no rtpmap.
                (None, 0) => "PCMU/8000",
                (None, 8) => "PCMA/8000",
                (None, _) => continue,
            };
            let parameters = of(&parameters, pt).unwrap_or_default();
            if let Some(spec) = self.kind.and_then(|kind| spec(kind, map, parameters)) {
                codecs.push(Offered { pt, rtx: of(&repairs, pt), spec });
            }
        }
        self.codecs = codecs;
    }

    /// The values of an attribute that says something of a payload type.
    fn by_payload_type(&self, prefix: &str) -> Vec<(u8, &'a str)> {
        let values = self.lines.iter().filter_map(|line| line.strip_prefix(prefix));
        values
            .filter_map(|value| {
                let (pt, rest) = value.split_once(' ')?;
                Some((pt.parse().ok()?, rest))
            })
            .collect()
    }

    fn print(&self, direction: &str, fate: Fate, out: &mut String) {
        let (codec, direction) = match fate {
            Fate::Use(codec) => (Some(codec), direction),
            Fate::Idle(codec) => (Some(codec), "a=inactive"),
            Fate::Reject => (None, "a=inactive"),
        };
        for (index, line) in self.lines.iter().copied().enumerate() {
            if index == 0 {
                push_line(out, &self.media_line(codec));
            } else if codec.map_or_else(|| is_identity(line), |codec| is_of(line, codec)) {
                push_line(out, line);
            }
        }
        push_line(out, direction);
    }

    /// What str0m is given as the first line.
    fn media_line(&self, codec: Option<Offered>) -> String {
        let mut words = self.media_words();
        let media = words.next().unwrap_or_default();
        let protocol = words.nth(1).unwrap_or_default();
        match codec {
            Some(Offered { pt, rtx: Some(rtx), .. }) => {
                format!("m={media} 9 {protocol} {pt} {rtx}")
            }
            Some(Offered { pt, rtx: None, .. }) => format!("m={media} 9 {protocol} {pt}"),
            // Payload type 0 needs no rtpmap.
            None => "m=audio 0 UDP/TLS/RTP/SAVPF 0".to_owned(),
        }
    }

    /// The first line of the answer to a section that is not accepted (RFC 3264, section 6).
    fn rejection(&self) -> String {
        let mut words: Vec<&str> = self.media_words().collect();
        if let Some(port) = words.get_mut(1) {
            *port = "0";
        }
        format!("m={}", words.join(" "))
    }

    /// Medium, port, protocol and formats of the first line.
    fn media_words(&self) -> impl Iterator<Item = &'a str> {
        let media = self.lines.first().and_then(|line| line.strip_prefix("m="));
        media.unwrap_or_default().split_whitespace()
    }
}

/// What is said first of a payload type.
fn of<T: Copy>(said: &[(u8, T)], pt: u8) -> Option<T> {
    said.iter().find(|(of, _)| *of == pt).map(|(_, value)| *value)
}

/// The payload type that a format carries retransmissions of, if it is for that (RFC 4588,
/// section 8.1).
fn repaired(map: &str, parameters: &str) -> Option<u8> {
    if !map.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("rtx/")) {
        return None;
    }
    let apt = parameters.split(';').find_map(|pair| pair.trim().strip_prefix("apt="))?;
    apt.trim().parse().ok()
}

fn spec(kind: Kind, map: &str, parameters: &str) -> Option<CodecSpec> {
    let mut parts = map.trim().split('/');
    let codec = format::by_encoding_name(parts.next()?)?;
    if Kind::from(codec.kind()) != kind {
        return None;
    }
    let clock_rate: u32 = parts.next()?.parse().ok()?;
    let channels: Option<u8> = parts.next().and_then(|channels| channels.parse().ok());
    Some(CodecSpec {
        codec,
        clock_rate: Frequency::new(clock_rate)?,
        channels,
        format: FormatParams::parse_line(parameters),
    })
}

/// Who sends where an offer does not say (RFC 8866, section 6.7).
const DIRECTION: &str = "a=sendrecv";

fn is_direction(line: &&str) -> bool {
    matches!(*line, "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive")
}

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
    // str0m takes one bound of the bitrate and heeds none.
    let bound = line.starts_with("b=");
    !other && !simulcast && !bound && !is_direction(&line)
}

/// Writes a line, unless it is the fingerprint of a function that DTLS here does not check.
fn push_line(out: &mut String, line: &str) {
    if has_prefix(line, "a=fingerprint:") && !has_prefix(line, FINGERPRINT) {
        return;
    }
    out.push_str(line);
    out.push_str("\r\n");
}

/// Names of hash functions ignore case.
fn has_prefix(line: &str, prefix: &str) -> bool {
    line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

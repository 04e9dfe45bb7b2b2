//! The offer of a browser, and which of its codecs are used (RFC 8866 for the lines, RFC 8829 for
//! their use).
//!
//! An answer to a publisher must name one codec for each medium, so that it cannot switch in
//! mid-stream; an answer to a viewer must name the publisher's.

use std::collections::BTreeSet;

use str0m::format::{Codec, CodecSpec, FormatParams};
use str0m::media::{Frequency, Mid};

use super::format::{self, Formats, Offered};
use super::packet::Kind;

pub(crate) use self::narrowed::Narrowed;
pub(crate) use self::transport::Transport;

mod narrowed;
mod transport;

/// The one fingerprint that everybody must offer (RFC 8122, section 5).
const FINGERPRINT: &str = "a=fingerprint:sha-256 ";

/// An offer, cut into its sections.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    session: Vec<&'a str>,
    sections: Vec<Section<'a>>,
}

/// What a header extension of one byte can carry (RFC 8285, section 4.2).
const MID_BYTES_MAX: usize = 16;
const MID_IS_ODD: &str = "an a=mid is not of 1 to 16 visible characters";

/// Characters of a user name fragment of ICE. RFC 8839, section 5.4, has up to 256 of them, and no
/// browser more than some ten: with ours it has to fit into the 128 of a check, or str0m panics.
const UFRAG_CHARACTERS_MAX: usize = 100;
/// Characters of a password of ICE (RFC 8839, section 5.4).
const PASSWORD_CHARACTERS_MAX: usize = 256;

/// Sections of an offer. A page that publishes has two or three, and a room in one transport a few
/// more; each is compared with each other.
const SECTIONS_MAX: usize = 16;
/// How many payload types RTP has room for (RFC 3550, section 5.1), and so a section, too.
const PAYLOAD_TYPES: usize = 128;
/// Lines of a section that name its sources: some 30 with three layers of simulcast. str0m has a
/// receiver for each source that is named, and goes through all of them with every packet.
const SOURCE_LINES_MAX: usize = 64;
/// Bytes of a codec's parameters. Those of an H.264 that carries its parameter sets are the
/// longest, with some hundred.
const PARAMETERS_BYTES_MAX: usize = 4 * 1024;

/// One medium of an offer.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// `None` for what is neither sound nor picture.
    pub(crate) kind: Option<Kind>,
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
    /// It has more of something than any browser's, and would cost as much to read.
    #[error("{0}")]
    Excessive(&'static str),
    /// There is no codec that both sides know.
    #[error("no common codecs")]
    NoCommonCodecs,
}

/// What becomes of one section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
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
            check_line(line)?;
            if let Some(media) = line.strip_prefix("m=") {
                if sections.len() == SECTIONS_MAX {
                    return Err(OfferFault::Excessive("it has more than 16 sections"));
                }
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
            section.check_bounds()?;
            section.read_codecs();
        }
        Ok(Self { session, sections })
    }

    /// The SSRCs that it names (RFC 5576, section 4.1), each once.
    pub(crate) fn sources(&self) -> Vec<u32> {
        let lines = self.sections.iter().flat_map(|section| section.attributes("a=ssrc:"));
        let sources = lines.filter_map(|line| line.split(' ').next()?.parse().ok());
        sources.collect::<BTreeSet<u32>>().into_iter().collect()
    }

    /// Narrows a publisher's offer to one codec for sound and one for picture.
    pub(crate) fn narrow_to_receive(
        self,
        preferred: &[String],
    ) -> Result<Narrowed<'a>, OfferFault> {
        if !self.sections.iter().any(|section| section.kind.is_some() && section.sends()) {
            return Err(OfferFault::Malformed("it offers to send nothing"));
        }
        let narrowed = self.narrow("a=sendonly", |section, _| {
            match format::choose_to_receive(&section.codecs, preferred) {
                Some(codec) if section.sends() => Fate::Use(codec),
                Some(codec) => Fate::Idle(codec),
                None => Fate::Reject,
            }
        })?;
        Ok(narrowed.without_strangers())
    }

    /// Narrows a viewer's offer to the codecs of what is published.
    ///
    /// A viewer who wants picture (or sound), can have it only in another codec, is a fault even
    /// if the other medium fits: a player that stays black helps nobody.
    pub(crate) fn narrow_to_send(self, published: &Formats) -> Result<Narrowed<'a>, OfferFault> {
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

    /// Holds an answer to what was offered, one codec for each section: we send in those numbers,
    /// whatever it says.
    pub(crate) fn narrow_to_offered(self, offered: &[Offered]) -> Result<Narrowed<'a>, OfferFault> {
        if self.sections.len() != offered.len() {
            return Err(OfferFault::Malformed("its sections are not those of the offer"));
        }
        let fate = |(section, ours): (&Section<'a>, &Offered)| {
            if section.rejected {
                return Ok(Fate::Reject);
            }
            let is_ours =
                |codec: &&Offered| codec.pt == ours.pt && codec.spec.codec == ours.spec.codec;
            let codec = section.codecs.iter().find(is_ours).ok_or(OfferFault::NoCommonCodecs)?;
            let rtx = codec.rtx.filter(|rtx| ours.rtx == Some(*rtx));
            Ok(Fate::Use(Offered { rtx, ..*codec }))
        };
        let fates = self.sections.iter().zip(offered).map(fate).collect::<Result<Vec<_>, _>>()?;
        Ok(Narrowed::new(self, fates, "a=recvonly", None, None))
    }

    /// Decides about each section. One that is used shall say `direction`, whatever it said before.
    fn narrow(
        self,
        direction: &'static str,
        decide: impl Fn(&Section<'a>, Kind) -> Fate,
    ) -> Result<Narrowed<'a>, OfferFault> {
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
        if is_ambiguous(&fates) {
            return Err(OfferFault::Malformed("one of its payload types is of two codecs"));
        }
        Ok(Narrowed::new(self, fates, direction, audio, video))
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
        self.attributes(prefix).next()
    }

    fn attributes(&self, prefix: &str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| line.strip_prefix(prefix))
    }

    /// What names the section (RFC 5888, section 4), which every packet may have to carry.
    pub(crate) fn mid(&self) -> Result<Mid, OfferFault> {
        let mid =
            self.attribute("a=mid:").ok_or(OfferFault::Malformed("a section has no a=mid"))?;
        let mut padded = [b' '; MID_BYTES_MAX];
        let room = padded.get_mut(..mid.len()).filter(|room| !room.is_empty());
        match room {
            Some(room) if mid.bytes().all(|byte| byte.is_ascii_graphic()) => {
                room.copy_from_slice(mid.as_bytes());
                Ok(Mid::from_array(padded))
            }
            Some(_) | None => Err(OfferFault::Malformed(MID_IS_ODD)),
        }
    }

    /// The numbers and names of the header extensions that are offered (RFC 8285, section 5).
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (u8, &'a str)> {
        self.attributes("a=extmap:").filter_map(|value| {
            let (number, rest) = value.split_once(' ')?;
            let number = number.split('/').next()?.parse().ok().filter(|number| *number > 0)?;
            Some((number, rest.split_whitespace().next()?))
        })
    }

    /// The kinds of feedback on a payload type that are offered (RFC 4585, section 4.2).
    pub(crate) fn feedback(&self, pt: u8) -> Vec<&'a str> {
        let values = self.attributes("a=rtcp-fb:").filter_map(|value| value.split_once(' '));
        let of_it = values.filter(|(of, _)| *of == "*" || of.parse() == Ok(pt));
        of_it.map(|(_, kind)| kind.trim()).collect()
    }

    fn protocol(&self) -> &'a str {
        self.media_words().nth(2).unwrap_or_default()
    }

    /// Whether the offerer wants to send here.
    fn sends(&self) -> bool {
        matches!(self.direction, "a=sendrecv" | "a=sendonly")
    }

    fn receives(&self) -> bool {
        matches!(self.direction, "a=sendrecv" | "a=recvonly")
    }

    /// RTP has room for seven bits (RFC 3550, section 5.1).
    fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        let formats = self.media_words().skip(3);
        formats.filter_map(|word| word.parse().ok()).filter(|pt| usize::from(*pt) < PAYLOAD_TYPES)
    }

    /// Refuses what would be long to read, before it is.
    fn check_bounds(&self) -> Result<(), OfferFault> {
        let excessive = OfferFault::Excessive;
        if self.media_words().skip(3).count() > PAYLOAD_TYPES {
            return Err(excessive("a section has more than 128 formats"));
        }
        let is_of_source = |line: &&&str| line.starts_with("a=ssrc");
        if self.lines.iter().filter(is_of_source).count() > SOURCE_LINES_MAX {
            return Err(excessive("a section has more than 64 lines of sources"));
        }
        if self.attributes("a=fmtp:").any(|value| value.len() > PARAMETERS_BYTES_MAX) {
            return Err(excessive("a codec has more than 4096 bytes of parameters"));
        }
        Ok(())
    }

    /// Reads each line once: a browser offers some 40 payload types in some 100 lines.
    fn read_codecs(&mut self) {
        let maps = self.by_payload_type("a=rtpmap:");
        let parameters = self.by_payload_type("a=fmtp:");
        let mut repairs = [None; PAYLOAD_TYPES];
        for rtx in self.payload_types() {
            let line = of(&maps, rtx).zip(of(&parameters, rtx));
            let repaired = line.and_then(|(map, parameters)| repaired(map, parameters));
            let place = repaired.and_then(|pt| repairs.get_mut(usize::from(pt)));
            if let Some(place) = place {
                place.get_or_insert(rtx);
            }
        }
        let mut codecs: Vec<Offered> = Vec::new();
        for pt in self.payload_types() {
            let map = match (of(&maps, pt), pt) {
                _ if codecs.iter().any(|codec| codec.pt == pt) => continue,
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

    /// What an attribute says first of each payload type.
    fn by_payload_type(&self, prefix: &str) -> [Option<&'a str>; PAYLOAD_TYPES] {
        let mut table = [None; PAYLOAD_TYPES];
        for value in self.attributes(prefix) {
            let said = value.split_once(' ').and_then(|(pt, rest)| Some((pt.parse().ok()?, rest)));
            if let Some((pt, rest)) = said
                && let Some(place) = table.get_mut::<usize>(pt)
            {
                place.get_or_insert(rest);
            }
        }
        table
    }

    /// The first line, with this codec alone.
    pub(crate) fn media_line(&self, codec: Offered) -> String {
        let mut words = self.media_words();
        let media = words.next().unwrap_or_default();
        let protocol = words.nth(1).unwrap_or_default();
        match codec {
            Offered { pt, rtx: Some(rtx), .. } => format!("m={media} 9 {protocol} {pt} {rtx}"),
            Offered { pt, rtx: None, .. } => format!("m={media} 9 {protocol} {pt}"),
        }
    }

    /// The first line of the answer to a section that is not accepted (RFC 3264, section 6).
    pub(crate) fn rejection(&self) -> String {
        let mut words: Vec<&str> = self.media_words().collect();
        if let Some(port) = words.get_mut(1) {
            *port = "0";
        }
        format!("m={}", words.join(" "))
    }

    /// Medium, port, protocol and formats of the first line.
    pub(super) fn media_words(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let media = self.lines.first().and_then(|line| line.strip_prefix("m="));
        media.unwrap_or_default().split_whitespace()
    }
}

/// Refuses a line that harms wherever it stands.
fn check_line(line: &str) -> Result<(), OfferFault> {
    // Answers repeat words of offers, and there is no word with such a character.
    if has_control(line) {
        return Err(OfferFault::Malformed("it has control characters"));
    }
    let is_longer = |prefix, max| line.strip_prefix(prefix).is_some_and(|value| value.len() > max);
    if is_longer("a=ice-ufrag:", UFRAG_CHARACTERS_MAX)
        || is_longer("a=ice-pwd:", PASSWORD_CHARACTERS_MAX)
    {
        return Err(OfferFault::Excessive("its ICE credentials are too long"));
    }
    Ok(())
}

/// Whether a line has a character that is not for reading, other than the tabulator.
fn has_control(line: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    // Nearly every line is plain, as its bytes tell without being decoded.
    !line.bytes().all(is_plain) && line.contains(|c: char| c.is_control() && c != '\t')
}

/// What a table has of a payload type.
fn of<T: Copy>(table: &[Option<T>; PAYLOAD_TYPES], pt: u8) -> Option<T> {
    table.get(usize::from(pt)).copied().flatten()
}

/// Whether one payload type stands for two codecs. Sections that share a transport share their
/// numbers (RFC 9143, section 9.1), and str0m panics over a number that is taken.
fn is_ambiguous(fates: &[Fate]) -> bool {
    let mut meanings: [Option<Option<Codec>>; PAYLOAD_TYPES] = [None; PAYLOAD_TYPES];
    let codecs = fates.iter().filter_map(|fate| match fate {
        Fate::Use(codec) | Fate::Idle(codec) => Some(codec),
        Fate::Reject => None,
    });
    // Retransmissions are of no codec.
    let said = codecs.flat_map(|codec| {
        [Some((codec.pt, Some(codec.spec.codec))), codec.rtx.map(|rtx| (rtx, None))]
    });
    said.flatten().any(|(pt, meaning)| {
        let place = meanings.get_mut(usize::from(pt));
        place.is_some_and(|place| *place.get_or_insert(meaning) != meaning)
    })
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

/// Names of hash functions ignore case.
fn has_prefix(line: &str, prefix: &str) -> bool {
    line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

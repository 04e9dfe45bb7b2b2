//! Codecs: their names in the settings, and which offered one can take which published one.

use str0m::format::{self, Codec, CodecSpec};

/// One codec of an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Offered {
    pub(crate) pt: u8,
    /// The payload type of its retransmissions (RFC 4588).
    pub(crate) rtx: Option<u8>,
    pub(crate) spec: CodecSpec,
}

/// What a stream consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Formats {
    pub(crate) audio: Option<CodecSpec>,
    pub(crate) video: Option<CodecSpec>,
}

impl Formats {
    /// Whether those who play a stream of these can go on when it consists of `others`: parameters
    /// that concern the encoder alone may differ.
    pub(crate) fn can_become(&self, others: &Self) -> bool {
        let alike = |before: Option<CodecSpec>, after: Option<CodecSpec>| match (before, after) {
            (Some(before), Some(after)) => fits(&after, &before),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        alike(self.audio, others.audio) && alike(self.video, others.video)
    }
}

/// The codec that a name of the `codecs` setting means.
fn by_setting(name: &str) -> Option<Codec> {
    match name {
        "opus" => Some(Codec::Opus),
        "alaw" => Some(Codec::PCMA),
        "ulaw" => Some(Codec::PCMU),
        "h264" => Some(Codec::H264),
        "vp8" => Some(Codec::Vp8),
        "vp9" => Some(Codec::Vp9),
        "av1" => Some(Codec::Av1),
        _ => None,
    }
}

/// The encoding names of `a=rtpmap` (RFC 8866, section 6.6).
const ENCODING_NAMES: [(&str, Codec); 7] = [
    ("opus", Codec::Opus),
    ("PCMA", Codec::PCMA),
    ("PCMU", Codec::PCMU),
    ("H264", Codec::H264),
    ("VP8", Codec::Vp8),
    ("VP9", Codec::Vp9),
    ("AV1", Codec::Av1),
];

/// Reads an encoding name, which ignores case.
pub(crate) fn by_encoding_name(name: &str) -> Option<Codec> {
    let known = ENCODING_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, codec)| *codec)
}

/// The name of a codec that has been read.
pub(crate) fn encoding_name(codec: Codec) -> &'static str {
    ENCODING_NAMES.iter().find(|(_, known)| *known == codec).map_or("", |(name, _)| *name)
}

/// Picks what a publisher shall send: the first of the settings' codecs that is offered, in the
/// variant that most viewers can decode.
pub(crate) fn choose_to_receive(offered: &[Offered], preferred: &[String]) -> Option<Offered> {
    preferred.iter().filter_map(|name| by_setting(name)).find_map(|codec| {
        offered
            .iter()
            .filter(|offer| offer.spec.codec == codec && is_receivable(&offer.spec))
            .min_by_key(|offer| rarity(&offer.spec))
            .copied()
    })
}

/// Picks the offered codec by which a viewer can take what is published.
pub(crate) fn choose_to_send(offered: &[Offered], published: &CodecSpec) -> Option<Offered> {
    let exact = offered.iter().find(|offer| offer.spec.format == published.format);
    exact
        .filter(|offer| fits(published, &offer.spec))
        .or_else(|| offered.iter().find(|offer| fits(published, &offer.spec)))
        .copied()
}

/// Tells whether a decoder can begin with this RTP payload: the first packet of a key frame or,
/// with H.264, of the parameter sets before it. Sound can begin anywhere.
#[expect(clippy::wildcard_enum_match_arm, reason = "str0m's codecs are an open set")]
pub(crate) fn is_entry(codec: Codec, payload: &[u8]) -> bool {
    /// The NAL unit type of a sequence parameter set (ITU-T H.264, table 7-1).
    const SPS: u8 = 7;
    match codec {
        Codec::Vp8 => format::detect_vp8_keyframe(payload),
        Codec::Vp9 => format::detect_vp9_keyframe(payload),
        Codec::Av1 => format::detect_av1_keyframe(payload),
        Codec::H264 => {
            format::detect_h264_nalu(payload, SPS) || format::detect_h264_keyframe(payload)
        }
        _ => true,
    }
}

/// Only the profile of 8 bits and 4:2:0 that every browser decodes.
#[expect(clippy::wildcard_enum_match_arm, reason = "only these codecs have profiles that matter")]
fn is_receivable(spec: &CodecSpec) -> bool {
    match spec.codec {
        Codec::Vp9 => spec.format.profile_id.unwrap_or(0) == 0,
        Codec::Av1 => spec.format.profile.unwrap_or(0) == 0,
        _ => true,
    }
}

/// Orders the variants of one codec, the most widely decoded first. For H.264 that is constrained
/// baseline in packetization mode 1 (RFC 7742, section 6.2).
fn rarity(spec: &CodecSpec) -> u8 {
    if spec.codec != Codec::H264 {
        return 0;
    }
    let profile = match h264_profile(spec) {
        H264Profile::ConstrainedBaseline => 0,
        H264Profile::Baseline => 1,
        H264Profile::Main => 2,
        H264Profile::Other(_) => 3,
    };
    let mode = spec.format.packetization_mode.unwrap_or(0);
    if mode == 1 { profile } else { profile + 4 }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only these codecs have profiles that matter")]
fn fits(published: &CodecSpec, offered: &CodecSpec) -> bool {
    if published.codec != offered.codec || published.clock_rate != offered.clock_rate {
        return false;
    }
    let (a, b) = (&published.format, &offered.format);
    match published.codec {
        Codec::Vp9 => a.profile_id.unwrap_or(0) == b.profile_id.unwrap_or(0),
        Codec::Av1 => a.profile.unwrap_or(0) == b.profile.unwrap_or(0),
        Codec::H264 => {
            a.packetization_mode.unwrap_or(0) == b.packetization_mode.unwrap_or(0)
                && h264_decodes(h264_profile(offered), h264_profile(published))
        }
        _ => true,
    }
}

/// Profiles of H.264 as far as WebRTC uses them (RFC 6184, section 8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    Other(u32),
}

/// An absent `profile-level-id` means baseline (RFC 6184, section 8.1).
fn h264_profile(spec: &CodecSpec) -> H264Profile {
    let id = spec.format.profile_level_id.unwrap_or(0x42_00_0a);
    let (idc, constraints) = (id >> 16, (id >> 8) & 0xff);
    match idc {
        0x42 if constraints & 0x40 != 0 => H264Profile::ConstrainedBaseline,
        0x42 => H264Profile::Baseline,
        0x4d if constraints & 0x80 != 0 => H264Profile::ConstrainedBaseline,
        0x4d => H264Profile::Main,
        other => H264Profile::Other(other),
    }
}

/// Browsers send constrained baseline under the name of baseline too, so those two are one here.
fn h264_decodes(decoder: H264Profile, stream: H264Profile) -> bool {
    use H264Profile::{Baseline, ConstrainedBaseline};
    decoder == stream || matches!(stream, ConstrainedBaseline | Baseline)
}

//! The answer to a viewer.
//!
//! str0m has no part in it: it would read the offer a second time, which takes longer than all else
//! that a viewer costs before DTLS, and set up a sending half that nobody uses.

use std::fmt::{Display, Write as _};

use str0m::crypto::Fingerprint;
use str0m::ice::IceCreds;

use super::{push, track_name};
use crate::media::egress::Section;
use crate::media::format::{self, Offered};
use crate::media::header::ExtensionIds;
use crate::media::offer::{self, Fate, Narrowed, OfferFault};
use crate::media::packet::Kind;

/// Our side of a viewer's transport.
pub(crate) struct Near<'a> {
    pub(crate) session: u32,
    /// Sound and picture belong to one media stream: players show the stream of whichever track
    /// came last.
    pub(crate) stream: &'a str,
    pub(crate) cname: &'a str,
    pub(crate) ice: &'a IceCreds,
    pub(crate) fingerprint: &'a Fingerprint,
    /// Whether we begin the handshake of DTLS.
    pub(crate) is_active: bool,
    /// As attributes.
    pub(crate) candidates: &'a [String],
    /// Whether the transport's packets are counted.
    pub(crate) counts: bool,
    /// The first of the numbers of our sources.
    pub(crate) ssrc: u32,
}

/// Room for an answer, in bytes; longer ones make their own.
const ANSWER_BYTES: usize = 4_096;

/// What is sent of the stream, each in its section.
///
/// # Errors
/// [`OfferFault::Malformed`] for a section that has no name.
pub(crate) fn sent_sections(
    narrowed: &Narrowed<'_>,
    near: &Near<'_>,
) -> Result<Vec<Section>, OfferFault> {
    let mut sent = Vec::with_capacity(2);
    let mut ssrcs = near.ssrc..;
    for (section, fate) in narrowed.sections() {
        if let (Fate::Use(codec), Some(kind)) = (fate, section.kind) {
            sent.push(Section {
                kind,
                mid: section.mid()?,
                codec,
                ids: ExtensionIds::choose(kind, near.counts, section.extensions()),
                ssrc: ssrcs.next().unwrap_or_default(),
                rtx_ssrc: codec.rtx.and_then(|_| ssrcs.next()),
            });
        }
    }
    Ok(sent)
}

/// Writes the answer, whose sections `sent` are used.
///
/// # Errors
/// [`OfferFault::Malformed`] for a section that has no name.
pub(crate) fn write(
    narrowed: &Narrowed<'_>,
    near: &Near<'_>,
    sent: &[Section],
) -> Result<String, OfferFault> {
    let mut out = String::with_capacity(ANSWER_BYTES);
    push_session(&mut out, narrowed, near)?;
    let mut sent = sent.iter();
    for (section, fate) in narrowed.sections() {
        match fate {
            Fate::Use(codec) => push_section(&mut out, section, codec, near, sent.next())?,
            Fate::Idle(codec) => push_section(&mut out, section, codec, near, None)?,
            Fate::Reject => push_rejection(&mut out, section),
        }
    }
    Ok(out)
}

fn push_session(
    out: &mut String,
    narrowed: &Narrowed<'_>,
    near: &Near<'_>,
) -> Result<(), OfferFault> {
    push(out, "v=0");
    put(out, format_args!("o=- {} 1 IN IP4 0.0.0.0", near.session));
    push(out, "s=-");
    push(out, "t=0 0");
    out.push_str("a=group:BUNDLE");
    for (section, _) in narrowed.sections().filter(|(_, fate)| *fate != Fate::Reject) {
        out.push(' ');
        out.push_str(&section.mid()?);
    }
    out.push_str("\r\n");
    put(out, format_args!("a=msid-semantic: WMS {}", near.stream));
    push(out, "a=ice-lite");
    Ok(())
}

fn push_section(
    out: &mut String,
    section: &offer::Section<'_>,
    codec: Offered,
    near: &Near<'_>,
    sent: Option<&Section>,
) -> Result<(), OfferFault> {
    push(out, &section.media_line(codec));
    push(out, "c=IN IP4 0.0.0.0");
    put(out, format_args!("a=ice-ufrag:{}", near.ice.ufrag));
    put(out, format_args!("a=ice-pwd:{}", near.ice.pass));
    push(out, "a=ice-options:trickle");
    put(out, format_args!("a=fingerprint:{}", near.fingerprint));
    put(out, format_args!("a=setup:{}", if near.is_active { "active" } else { "passive" }));
    put(out, format_args!("a=mid:{}", section.mid()?));
    for (id, uri) in sent.map(|sent| sent.ids).unwrap_or_default().named() {
        put(out, format_args!("a=extmap:{id} {uri}"));
    }
    push(out, if sent.is_some() { "a=sendonly" } else { "a=inactive" });
    if let Some(sent) = sent {
        put(out, format_args!("a=msid:{} {}", near.stream, track_name(near.stream, sent.kind)));
    }
    push(out, "a=rtcp-mux");
    push_codec(out, section, codec);
    if let Some(sent) = sent {
        push_sources(out, near, sent);
    }
    for candidate in near.candidates {
        put(out, format_args!("a={candidate}"));
    }
    push(out, "a=end-of-candidates");
    Ok(())
}

/// The feedback stands between a codec and its parameters: the WebSDK extends an `a=fmtp` that
/// follows `a=rtpmap` directly, and breaks its line end. Its `stripCodecs` removes lines by the
/// prefix of a payload type, and may have taken all feedback of another: that is not missed.
fn push_codec(out: &mut String, section: &offer::Section<'_>, codec: Offered) {
    const OF_TRANSPORT: &str = "transport-cc";
    const OF_PICTURE: [&str; 4] = ["goog-remb", "ccm fir", "nack", "nack pli"];
    let Offered { pt, rtx, spec } = codec;
    let (name, clock_rate) = (format::encoding_name(spec.codec), spec.clock_rate.get());
    match spec.channels {
        Some(channels) => put(out, format_args!("a=rtpmap:{pt} {name}/{clock_rate}/{channels}")),
        None => put(out, format_args!("a=rtpmap:{pt} {name}/{clock_rate}")),
    }
    let offered = section.feedback(pt);
    if offered.contains(&OF_TRANSPORT) {
        put(out, format_args!("a=rtcp-fb:{pt} {OF_TRANSPORT}"));
    }
    for kind in OF_PICTURE.iter().filter(|_| section.kind == Some(Kind::Video)) {
        if offered.is_empty() || offered.contains(kind) {
            put(out, format_args!("a=rtcp-fb:{pt} {kind}"));
        }
    }
    let parameters = spec.format.to_string();
    if !parameters.is_empty() {
        put(out, format_args!("a=fmtp:{pt} {parameters}"));
    }
    if let Some(rtx) = rtx {
        put(out, format_args!("a=rtpmap:{rtx} rtx/{clock_rate}"));
        put(out, format_args!("a=fmtp:{rtx} apt={pt}"));
    }
}

/// RFC 5576, sections 4 and 6.1.
fn push_sources(out: &mut String, near: &Near<'_>, sent: &Section) {
    let Near { stream, cname, .. } = near;
    let track = track_name(stream, sent.kind);
    for ssrc in [Some(sent.ssrc), sent.rtx_ssrc].into_iter().flatten() {
        put(out, format_args!("a=ssrc:{ssrc} cname:{cname}"));
        put(out, format_args!("a=ssrc:{ssrc} msid:{stream} {track}"));
    }
    if let Some(rtx_ssrc) = sent.rtx_ssrc {
        put(out, format_args!("a=ssrc-group:FID {} {rtx_ssrc}", sent.ssrc));
    }
}

/// A section that is rejected says so in the offer's words, and has no transport.
fn push_rejection(out: &mut String, section: &offer::Section<'_>) {
    push(out, &section.rejection());
    push(out, "c=IN IP4 0.0.0.0");
    if let Ok(mid) = section.mid() {
        put(out, format_args!("a=mid:{mid}"));
    }
    push(out, "a=inactive");
}

fn put(out: &mut String, line: impl Display) {
    // A string takes whatever it is given.
    let _ = write!(out, "{line}\r\n");
}

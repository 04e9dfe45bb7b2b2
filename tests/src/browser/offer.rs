//! Offers as Chromium makes them for the WebSDK: no candidates, everything bundled, `actpass`.

use std::fmt::Write as _;

use super::payload::Codec;

/// What a stream consists of, in the order of the offer's m-lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Codecs by m-line: an m-line is video when its codecs are. The first is what the browser
    /// would rather send.
    pub lines: Vec<Vec<Codec>>,
}

impl Shape {
    /// What the stock pages offer.
    pub fn audio_video() -> Self {
        Self { lines: vec![vec![Codec::Opus], vec![Codec::Vp8, Codec::H264]] }
    }

    /// The same with the video m-line first, as Safari and older pages do.
    pub fn video_audio() -> Self {
        Self { lines: vec![vec![Codec::Vp8, Codec::H264], vec![Codec::Opus]] }
    }

    /// Sound alone.
    pub fn audio() -> Self {
        Self { lines: vec![vec![Codec::Opus]] }
    }

    /// Pictures alone.
    pub fn video() -> Self {
        Self { lines: vec![vec![Codec::Vp8, Codec::H264]] }
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

/// A payload type of the offer and the one for its retransmissions (RFC 4588).
pub(super) fn payload_types(codec: Codec) -> (u8, Option<u8>) {
    match codec {
        Codec::Vp8 => (96, Some(97)),
        Codec::H264 => (102, Some(103)),
        Codec::Opus => (111, None),
    }
}

/// The SSRCs of one sent track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ssrcs {
    pub(super) media: u32,
    pub(super) rtx: Option<u32>,
}

/// Everything that an offer is made of.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) shape: &'a Shape,
    /// One per m-line when publishing, none when playing.
    pub(super) ssrcs: &'a [Ssrcs],
    pub(super) ufrag: &'a str,
    pub(super) password: &'a str,
    /// As in `a=fingerprint`.
    pub(super) fingerprint: &'a str,
    pub(super) id: u64,
}

impl Offer<'_> {
    /// The SDP text.
    pub(super) fn text(&self) -> String {
        let mids: Vec<String> = (0..self.shape.lines.len()).map(|mid| mid.to_string()).collect();
        let stream = if self.ssrcs.is_empty() { String::new() } else { self.stream() };
        let mut sdp = format!(
            "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
             a=extmap-allow-mixed\r\na=msid-semantic: WMS {stream}\r\n",
            self.id,
            mids.join(" ")
        );
        for (mid, codecs) in self.shape.lines.iter().enumerate() {
            self.line(&mut sdp, mid, codecs).expect("writing to a String cannot fail");
        }
        sdp
    }

    fn stream(&self) -> String {
        format!("{:016x}", self.id)
    }

    fn line(&self, sdp: &mut String, mid: usize, codecs: &[Codec]) -> std::fmt::Result {
        let video = codecs.iter().any(|codec| codec.is_video());
        let kind = if video { "video" } else { "audio" };
        write!(sdp, "m={kind} 9 UDP/TLS/RTP/SAVPF")?;
        for codec in codecs {
            let (pt, rtx) = payload_types(*codec);
            write!(sdp, " {pt}")?;
            if let Some(rtx) = rtx {
                write!(sdp, " {rtx}")?;
            }
        }
        sdp.push_str(if video { "" } else { " 13 110 126" });
        write!(
            sdp,
            "\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=ice-options:trickle\r\na=fingerprint:{}\r\na=setup:actpass\r\na=mid:{mid}\r\n",
            self.ufrag, self.password, self.fingerprint
        )?;
        sdp.push_str(if video { VIDEO_EXTENSIONS } else { AUDIO_EXTENSIONS });
        let track = format!("{} {:016x}-{mid}", self.stream(), self.id);
        match self.ssrcs.get(mid) {
            Some(_) => write!(sdp, "a=sendonly\r\na=msid:{track}\r\n")?,
            None => sdp.push_str("a=recvonly\r\n"),
        }
        sdp.push_str("a=rtcp-mux\r\na=rtcp-rsize\r\na=rtcp-xr:rcvr-rtt=all\r\n");
        for codec in codecs {
            codec_lines(sdp, *codec)?;
        }
        if !video {
            sdp.push_str(OTHER_AUDIO);
        }
        if let Some(ssrcs) = self.ssrcs.get(mid) {
            ssrc_lines(sdp, *ssrcs, &track)?;
        }
        Ok(())
    }
}

fn codec_lines(sdp: &mut String, codec: Codec) -> std::fmt::Result {
    let (pt, rtx) = payload_types(codec);
    match codec {
        Codec::Opus => write!(
            sdp,
            "a=rtpmap:{pt} opus/48000/2\r\na=rtcp-fb:{pt} transport-cc\r\n\
             a=fmtp:{pt} minptime=10;useinbandfec=1\r\n"
        )?,
        Codec::Vp8 => write!(sdp, "a=rtpmap:{pt} VP8/90000\r\n")?,
        Codec::H264 => write!(sdp, "a=rtpmap:{pt} H264/90000\r\n")?,
    }
    if codec.is_video() {
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            write!(sdp, "a=rtcp-fb:{pt} {feedback}\r\n")?;
        }
    }
    if codec == Codec::H264 {
        write!(
            sdp,
            "a=fmtp:{pt} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
        )?;
    }
    if let Some(rtx) = rtx {
        write!(sdp, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n")?;
    }
    Ok(())
}

fn ssrc_lines(sdp: &mut String, ssrcs: Ssrcs, track: &str) -> std::fmt::Result {
    if let Some(rtx) = ssrcs.rtx {
        write!(sdp, "a=ssrc-group:FID {} {rtx}\r\n", ssrcs.media)?;
    }
    for ssrc in [Some(ssrcs.media), ssrcs.rtx].into_iter().flatten() {
        write!(sdp, "a=ssrc:{ssrc} cname:stand-in\r\na=ssrc:{ssrc} msid:{track}\r\n")?;
    }
    Ok(())
}

const AUDIO_EXTENSIONS: &str = "\
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";

const VIDEO_EXTENSIONS: &str = "\
a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\n\
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
a=extmap:13 urn:3gpp:video-orientation\r\n\
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n\
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n";

const OTHER_AUDIO: &str = "\
a=rtpmap:13 CN/8000\r\n\
a=rtpmap:110 telephone-event/48000\r\n\
a=rtpmap:126 telephone-event/8000\r\n";

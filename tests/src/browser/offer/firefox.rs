//! How Firefox writes an offer: the fingerprint once for all, attributes by the alphabet, names in
//! braces.

use std::fmt::{self, Write as _};

use super::{Engine, Offer, is_video};
use crate::browser::payload::Codec;

const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"];

impl Offer<'_> {
    pub(super) fn write_firefox(&self, sdp: &mut String) -> fmt::Result {
        write!(
            sdp,
            "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 {} 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
             a=fingerprint:{}\r\na=group:BUNDLE {}\r\na=ice-options:trickle\r\n\
             a=msid-semantic:WMS *\r\n",
            self.id,
            self.fingerprint,
            self.mids()
        )?;
        let mut lines = self.shape.lines.iter().enumerate();
        lines.try_for_each(|(mid, codecs)| self.firefox_line(sdp, mid, codecs))
    }

    fn firefox_line(&self, sdp: &mut String, mid: usize, codecs: &[Codec]) -> fmt::Result {
        let video = is_video(codecs);
        let kind = if video { "video" } else { "audio" };
        write!(sdp, "m={kind} 9 UDP/TLS/RTP/SAVPF")?;
        for codec in codecs {
            let (pt, rtx) = Engine::Firefox.payload_types(*codec);
            write!(sdp, " {pt}")?;
            if let Some(rtx) = rtx {
                write!(sdp, " {rtx}")?;
            }
        }
        sdp.push_str(if video { "" } else { " 101" });
        let ssrcs = self.ssrcs.get(mid);
        let direction = if ssrcs.is_some() { "sendonly" } else { "recvonly" };
        sdp.push_str("\r\nc=IN IP4 0.0.0.0\r\n");
        self.write_candidate(sdp, mid)?;
        write!(sdp, "a={direction}\r\n")?;
        sdp.push_str(if video { VIDEO_EXTENSIONS } else { AUDIO_EXTENSIONS });
        sdp.push_str("a=extmap-allow-mixed\r\n");
        codecs.iter().try_for_each(|codec| format_lines(sdp, *codec))?;
        sdp.push_str(if video { "" } else { "a=fmtp:101 0-15\r\n" });
        let (password, ufrag) = (self.password, self.ufrag);
        write!(sdp, "a=ice-pwd:{password}\r\na=ice-ufrag:{ufrag}\r\na=mid:{mid}\r\n")?;
        if ssrcs.is_some() {
            write!(sdp, "a=msid:{{{0:032x}}} {{{0:024x}-{mid}}}\r\n", self.id)?;
        }
        for codec in codecs {
            let (pt, _) = Engine::Firefox.payload_types(*codec);
            let feedback = if video { FEEDBACK.as_slice() } else { &["transport-cc"] };
            feedback.iter().try_for_each(|kind| write!(sdp, "a=rtcp-fb:{pt} {kind}\r\n"))?;
        }
        sdp.push_str(if video { "a=rtcp-mux\r\na=rtcp-rsize\r\n" } else { "a=rtcp-mux\r\n" });
        codecs.iter().try_for_each(|codec| map_lines(sdp, *codec))?;
        sdp.push_str(if video { "" } else { "a=rtpmap:101 telephone-event/8000/1\r\n" });
        sdp.push_str("a=setup:actpass\r\n");
        let Some(ssrcs) = ssrcs else { return Ok(()) };
        for ssrc in [Some(ssrcs.media), ssrcs.rtx].into_iter().flatten() {
            write!(sdp, "a=ssrc:{ssrc} cname:{{stand-in}}\r\n")?;
        }
        if let Some(rtx) = ssrcs.rtx {
            write!(sdp, "a=ssrc-group:FID {} {rtx}\r\n", ssrcs.media)?;
        }
        Ok(())
    }
}

fn format_lines(sdp: &mut String, codec: Codec) -> fmt::Result {
    let (pt, rtx) = Engine::Firefox.payload_types(codec);
    match codec {
        Codec::Opus => {
            write!(sdp, "a=fmtp:{pt} maxplaybackrate=48000;stereo=1;useinbandfec=1\r\n")?;
        }
        Codec::Vp8 => write!(sdp, "a=fmtp:{pt} max-fs=12288;max-fr=60\r\n")?,
        Codec::H264 => write!(
            sdp,
            "a=fmtp:{pt} profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\r\n"
        )?,
    }
    match rtx {
        Some(rtx) => write!(sdp, "a=fmtp:{rtx} apt={pt}\r\n"),
        None => Ok(()),
    }
}

fn map_lines(sdp: &mut String, codec: Codec) -> fmt::Result {
    let (pt, rtx) = Engine::Firefox.payload_types(codec);
    match codec {
        Codec::Opus => write!(sdp, "a=rtpmap:{pt} opus/48000/2\r\n")?,
        Codec::Vp8 => write!(sdp, "a=rtpmap:{pt} VP8/90000\r\n")?,
        Codec::H264 => write!(sdp, "a=rtpmap:{pt} H264/90000\r\n")?,
    }
    match rtx {
        Some(rtx) => write!(sdp, "a=rtpmap:{rtx} rtx/90000\r\n"),
        None => Ok(()),
    }
}

const AUDIO_EXTENSIONS: &str = "\
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level\r\n\
a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";

const VIDEO_EXTENSIONS: &str = "\
a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
a=extmap:5 urn:ietf:params:rtp-hdrext:toffset\r\n\
a=extmap:6/recvonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n\
a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";

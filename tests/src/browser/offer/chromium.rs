//! How Chromium writes an offer.

use std::fmt::{self, Write as _};

use super::{Engine, Offer, Ssrcs, is_video};
use crate::browser::payload::Codec;

impl Offer<'_> {
    pub(super) fn write_chromium(&self, sdp: &mut String) -> fmt::Result {
        let stream = if self.ssrcs.is_empty() { String::new() } else { self.stream() };
        write!(
            sdp,
            "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
             a=extmap-allow-mixed\r\na=msid-semantic: WMS {stream}\r\n",
            self.id,
            self.mids()
        )?;
        for (mid, codecs) in self.shape.lines.iter().enumerate() {
            self.line(sdp, mid, codecs)?;
        }
        Ok(())
    }

    fn stream(&self) -> String {
        format!("{:016x}", self.id)
    }

    fn line(&self, sdp: &mut String, mid: usize, codecs: &[Codec]) -> fmt::Result {
        let video = is_video(codecs);
        let kind = if video { "video" } else { "audio" };
        write!(sdp, "m={kind} 9 UDP/TLS/RTP/SAVPF")?;
        for codec in codecs {
            let (pt, rtx) = Engine::Chromium.payload_types(*codec);
            write!(sdp, " {pt}")?;
            if let Some(rtx) = rtx {
                write!(sdp, " {rtx}")?;
            }
        }
        sdp.push_str(if video { "" } else { " 13 110 126" });
        sdp.push_str("\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n");
        self.write_candidate(sdp, mid)?;
        write!(
            sdp,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\n\
             a=fingerprint:{}\r\na=setup:actpass\r\na=mid:{mid}\r\n",
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

fn codec_lines(sdp: &mut String, codec: Codec) -> fmt::Result {
    let (pt, rtx) = Engine::Chromium.payload_types(codec);
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

fn ssrc_lines(sdp: &mut String, ssrcs: Ssrcs, track: &str) -> fmt::Result {
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

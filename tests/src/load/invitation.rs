//! An offer that a server makes, and what a browser answers.

use std::net::SocketAddr;

use str0m::IceCreds;

use crate::browser::Codec;
use crate::browser::answer::{Answer, Line, sections, value};
use crate::browser::offer::host_candidate;

/// What Chromium takes of the extensions that it is offered.
const EXTENSIONS: [&str; 8] = [
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "urn:ietf:params:rtp-hdrext:toffset",
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:3gpp:video-orientation",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
];

/// The same of feedback.
const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

/// A server's offer to send.
#[derive(Clone, Debug)]
pub(super) struct Invitation {
    /// What of it is taken up.
    pub(super) agreed: Answer,
    sections: Vec<Section>,
}

/// One m-line, as far as it is answered.
#[derive(Clone, Debug)]
struct Section {
    /// The words of the m-line: kind, port, protocol.
    head: Vec<String>,
    mid: String,
    rejected: bool,
    types: Vec<u8>,
    /// Lines that the answer repeats.
    repeated: Vec<String>,
}

impl Invitation {
    /// Reads an offer. Of each kind of media, what is sent first in a codec that is known is taken.
    ///
    /// # Errors
    ///
    /// In one sentence, why a browser would reject it, or why there would be nothing to play.
    pub(super) fn read(sdp: &str) -> Result<Self, String> {
        let (session, described) = sections(sdp)?;
        let mut lines: Vec<Line> = Vec::new();
        let mut answered = Vec::new();
        for section in &described {
            let (mut line, answer) = take(section)?;
            let codec = line.codec;
            let taken = |other: &Line| {
                other.codec.map(Codec::is_video) == codec.map(Codec::is_video) && !other.rejected
            };
            line.rejected |= lines.iter().any(taken);
            answered.push(Section { rejected: line.rejected, ..answer });
            lines.push(line);
        }
        // The one that answers dials (RFC 8842, section 5.3).
        let agreed = Answer::of(&session, &described, lines, true)?;
        Ok(Self { agreed, sections: answered })
    }

    /// The answer's text.
    pub(super) fn answer(&self, local: SocketAddr, creds: &IceCreds, fingerprint: &str) -> String {
        let live = self.sections.iter().filter(|section| !section.rejected);
        let group: Vec<&str> = live.map(|section| section.mid.as_str()).collect();
        let id = fastrand::u64(..) >> 1;
        let mut sdp = format!(
            "v=0\r\no=- {id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
             a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n",
            group.join(" ")
        );
        for section in &self.sections {
            let port = if section.rejected { "0" } else { "9" };
            let types: Vec<String> = section.types.iter().map(u8::to_string).collect();
            let [kind, _, protocol, all @ ..] = section.head.as_slice() else { continue };
            let types = if section.rejected { all.join(" ") } else { types.join(" ") };
            sdp += &format!("{kind} {port} {protocol} {types}\r\nc=IN IP4 0.0.0.0\r\n");
            if section.rejected {
                sdp += &format!("a=mid:{}\r\na=inactive\r\n", section.mid);
                continue;
            }
            sdp += "a=rtcp:9 IN IP4 0.0.0.0\r\n";
            if group.first() == Some(&section.mid.as_str()) {
                sdp += &format!("a={}\r\n", host_candidate(local));
            }
            sdp += &format!(
                "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\n\
                 a=fingerprint:{fingerprint}\r\na=setup:active\r\na=mid:{}\r\na=recvonly\r\n\
                 a=rtcp-mux\r\n",
                creds.ufrag, creds.pass, section.mid
            );
            for line in &section.repeated {
                sdp += &format!("{line}\r\n");
            }
        }
        sdp
    }
}

/// What an m-line offers, and how it is answered unless another one of its kind was before.
fn take(section: &[&str]) -> Result<(Line, Section), String> {
    let head = section.first().copied().unwrap_or_default();
    let head: Vec<String> = head.split(' ').map(str::to_owned).collect();
    let kind = head.first().map(String::as_str).unwrap_or_default();
    let mid = value(section, "a=mid:").ok_or("an m-line without a mid")?.to_owned();
    let offered = head.iter().skip(3).filter_map(|word| word.parse::<u8>().ok());
    let known = |wanted: u8| codec(section, wanted).map(|codec| (wanted, codec));
    let found = offered.clone().find_map(known).filter(|(_, codec)| match kind {
        "m=video" => codec.is_video(),
        "m=audio" => !codec.is_video(),
        _ => false,
    });
    let sends = section.contains(&"a=sendonly") || section.contains(&"a=sendrecv");
    let rejected = found.is_none() || !sends;
    let mut line = Line { rejected, codec: found.map(|(_, codec)| codec), ..Line::default() };
    line.read_sources(section);
    if !rejected && line.ssrcs.is_empty() {
        return Err(format!("m-line {mid}: a sent track announces no SSRC"));
    }
    let mut types = Vec::new();
    if let Some((media, _)) = found {
        let again = format!("apt={media}");
        let repairs = |it: &u8| value(section, &format!("a=fmtp:{it} ")) == Some(again.as_str());
        types = [Some(media), offered.clone().find(repairs)].into_iter().flatten().collect();
    }
    let repeated = section.iter().filter(|text| is_taken(text, &types));
    let repeated = repeated.map(|text| (*text).to_owned()).collect();
    Ok((line, Section { head, mid, rejected, types, repeated }))
}

fn codec(section: &[&str], payload_type: u8) -> Option<Codec> {
    let encoding = value(section, &format!("a=rtpmap:{payload_type} "))?.to_ascii_lowercase();
    match encoding.as_str() {
        "opus/48000/2" => Some(Codec::Opus),
        "h264/90000" => Some(Codec::H264),
        "vp8/90000" => Some(Codec::Vp8),
        _ => None,
    }
}

/// Whether an answer repeats this line of an offer, if these payload types are taken.
fn is_taken(text: &str, types: &[u8]) -> bool {
    if let Some((_, uri)) = text.strip_prefix("a=extmap:").and_then(|rest| rest.split_once(' ')) {
        return EXTENSIONS.contains(&uri.trim());
    }
    let of_type = |rest: &str| {
        let number = rest.split(' ').next().and_then(|number| number.parse().ok());
        number.is_some_and(|number: u8| types.contains(&number))
    };
    if let Some(rest) = text.strip_prefix("a=rtcp-fb:") {
        let kind = rest.split_once(' ').map(|(_, kind)| kind);
        return of_type(rest) && kind.is_some_and(|kind| FEEDBACK.contains(&kind));
    }
    ["a=rtpmap:", "a=fmtp:"].iter().any(|key| text.strip_prefix(key).is_some_and(of_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An offer as Janus's Streaming plugin makes it, with a second picture and data.
    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=Mountpoint 42\r\nt=0 0\r\n\
        a=group:BUNDLE a v w d\r\na=ice-options:trickle\r\na=fingerprint:sha-256 AA:BB\r\n\
        a=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.0.0.1\r\na=sendonly\r\na=mid:a\r\n\
        a=rtcp-mux\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:actpass\r\n\
        a=rtpmap:111 opus/48000/2\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=msid:janus a0\r\na=ssrc:77 cname:janus\r\n\
        a=candidate:1 1 udp 2015363327 10.0.0.1 4000 typ host\r\na=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102 103 96\r\nc=IN IP4 10.0.0.1\r\na=sendonly\r\na=mid:v\r\n\
        a=rtcp-mux\r\na=rtpmap:102 H264/90000\r\n\
        a=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\na=rtcp-fb:102 nack\r\n\
        a=rtcp-fb:102 nack pli\r\na=rtcp-fb:102 strange\r\n\
        a=rtcp-fb:102 goog-remb\r\na=rtpmap:103 rtx/90000\r\n\
        a=fmtp:103 apt=102\r\na=rtpmap:96 x/90000\r\n\
        a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:9 urn:example:strange\r\n\
        a=ssrc-group:FID 88 89\r\na=msid:janus v0\r\na=ssrc:88 cname:janus\r\n\
        a=ssrc:89 cname:janus\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 10.0.0.1\r\na=sendonly\r\na=mid:w\r\n\
        a=rtpmap:102 H264/90000\r\na=ssrc:99 cname:janus\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 10.0.0.1\r\na=mid:d\r\n\
        a=sctp-port:5000\r\n";

    #[test]
    fn the_first_of_each_kind_is_taken() {
        let Answer {
            ufrag, password, dial, candidates, lines, transport_sequence, estimates, ..
        } = Invitation::read(OFFER).unwrap().agreed;
        assert_eq!((ufrag.as_str(), password.as_str(), dial), ("u", "p", true));
        assert_eq!(candidates.len(), 1);
        assert_eq!((transport_sequence, estimates), (Some(4), true));
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (line.rejected, line.codec, line.ssrcs.as_slice(), line.rtx))
            .collect();
        assert_eq!(
            lines,
            [
                (false, Some(Codec::Opus), &[77][..], None),
                (false, Some(Codec::H264), &[88, 89][..], Some(89)),
                (true, Some(Codec::H264), &[99][..], None),
                (true, None, &[][..], None),
            ]
        );
    }

    #[test]
    fn the_answer_takes_up_what_is_known_and_rejects_the_rest() {
        let invitation = Invitation::read(OFFER).unwrap();
        let creds = IceCreds { ufrag: "mine".to_owned(), pass: "secret".to_owned() };
        let local = "10.0.0.2:5000".parse().unwrap();
        let answer = invitation.answer(local, &creds, "sha-256 CC:DD");
        let (session, sections) = sections(&answer).unwrap();
        assert!(session.contains(&"a=group:BUNDLE a v"), "{answer}");
        let heads: Vec<&str> = sections.iter().map(|section| section[0]).collect();
        assert_eq!(
            heads,
            [
                "m=audio 9 UDP/TLS/RTP/SAVPF 111",
                "m=video 9 UDP/TLS/RTP/SAVPF 102 103",
                "m=video 0 UDP/TLS/RTP/SAVPF 102",
                "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            ]
        );
        for section in &sections[..2] {
            for line in ["a=recvonly", "a=setup:active", "a=rtcp-mux", "a=ice-ufrag:mine"] {
                assert!(section.contains(&line), "{line} in {section:?}");
            }
        }
        assert_eq!(answer.matches("a=candidate:").count(), 1, "{answer}");
        assert!(answer.contains(" 10.0.0.2 5000 typ host"), "{answer}");
        for line in ["a=fmtp:103 apt=102", "a=rtcp-fb:102 nack pli", "a=rtpmap:111 opus/48000/2"] {
            assert!(answer.contains(line), "{line} in {answer}");
        }
        assert!(!answer.contains("strange"), "{answer}");
        assert!(!answer.contains("a=ssrc:"), "{answer}");
    }

    #[test]
    fn an_offer_of_nothing_is_refused() {
        let without = |what: &str| OFFER.replace(what, "a=x");
        for (offer, said) in [
            (OFFER.replace("\r\n", "\n"), "CRLF"),
            (without("a=sendonly"), "all lines rejected"),
            (without("a=ssrc:77 cname:janus"), "no SSRC"),
            (without("a=candidate"), "no candidates"),
            (without("a=mid:v"), "without a mid"),
        ] {
            let problem = Invitation::read(&offer).unwrap_err();
            assert!(problem.contains(said), "{said}: {problem}");
        }
    }
}

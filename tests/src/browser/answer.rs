//! Reads an answer as a browser does, and says what a browser would not have taken.

use str0m::Candidate;
use str0m::config::Fingerprint;

use super::offer::Shape;
use super::payload::Codec;

pub(crate) const TRANSPORT_SEQUENCE: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// What an answer agreed to.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) fingerprint: Fingerprint,
    /// Whether we start the DTLS handshake (RFC 8842, section 5.3).
    pub(crate) dial: bool,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) lines: Vec<Line>,
    /// The number of the header extension that counts the transport's packets, if there is one.
    pub(crate) transport_sequence: Option<u8>,
    /// Whether the far side wants to know what the line is thought to carry.
    pub(crate) estimates: bool,
}

/// One m-line of an answer.
#[derive(Clone, Default, Debug)]
pub(crate) struct Line {
    /// Refused with port 0, or inactive.
    pub(crate) rejected: bool,
    /// First payload type of the line that the offer had.
    pub(crate) codec: Option<Codec>,
    /// The SSRCs announced: media, retransmission.
    pub(crate) ssrcs: Vec<u32>,
    pub(crate) rtx: Option<u32>,
    /// The stream of `a=msid`.
    pub(crate) stream: Option<String>,
}

impl Answer {
    /// Reads `sdp` as the answer to an offer of `shape`.
    ///
    /// # Errors
    ///
    /// In one sentence, why `setRemoteDescription` would reject it or why nothing could be played.
    pub(crate) fn read(sdp: &str, shape: &Shape, publishing: bool) -> Result<Self, String> {
        let (session, sections) = sections(sdp)?;
        if sections.len() != shape.lines.len() {
            return Err(format!("{} m-lines for {}", sections.len(), shape.lines.len()));
        }
        let mut lines = Vec::new();
        for (mid, section) in sections.iter().enumerate() {
            let line = media(section, shape, mid, publishing)
                .map_err(|problem| format!("m-line {mid}: {problem}"))?;
            lines.push(line);
        }
        let live: Vec<usize> =
            lines.iter().enumerate().filter(|(_, line)| !line.rejected).map(|(i, _)| i).collect();
        let first = live.first().and_then(|at| sections.get(*at)).ok_or("all lines rejected")?;
        let bundle = value(&session, "a=group:BUNDLE ").ok_or("no BUNDLE group")?;
        let group: Vec<&str> = bundle.split(' ').collect();
        if live.iter().any(|mid| !group.contains(&mid.to_string().as_str())) {
            return Err(format!("BUNDLE group {bundle} leaves out a live m-line"));
        }
        if !publishing && lines.iter().any(|line| !line.rejected && line.ssrcs.is_empty()) {
            return Err("a sent track announces no SSRC".into());
        }
        let dial = match either(&session, first, "a=setup:") {
            Some("passive") => true,
            Some("active") => false,
            other => return Err(format!("setup {other:?} is no role for an answer")),
        };
        Self::of(&session, &sections, lines, dial)
    }

    /// The same, and what the SDK's pages want of it.
    ///
    /// # Errors
    ///
    /// As above, or why a page would show no picture.
    pub(crate) fn read_in_page(sdp: &str, shape: &Shape, publishing: bool) -> Result<Self, String> {
        let answer = Self::read(sdp, shape, publishing)?;
        for (mid, section) in sections(sdp)?.1.iter().enumerate() {
            fmtp_apart_from_rtpmap(section)
                .map_err(|problem| format!("m-line {mid}: {problem}"))?;
        }
        one_stream(&answer.lines, publishing)?;
        Ok(answer)
    }

    /// What a description says of the transport, in the section that all others are bundled with,
    /// beside its lines.
    ///
    /// # Errors
    ///
    /// In one sentence, what is missing or wrong.
    pub(crate) fn of(
        session: &[&str],
        sections: &[Vec<&str>],
        lines: Vec<Line>,
        dial: bool,
    ) -> Result<Self, String> {
        let live = sections.iter().zip(&lines).find(|(_, line)| !line.rejected);
        let (section, _) = live.ok_or("all lines rejected")?;
        let find = |key: &str| either(session, section, key);
        let fingerprint = find("a=fingerprint:").ok_or("no fingerprint")?;
        let candidates: Vec<Candidate> = section
            .iter()
            .filter_map(|line| line.strip_prefix("a="))
            .filter(|line| line.starts_with("candidate:"))
            // RTCP has no port of its own.
            .filter(|line| line.split(' ').nth(1) == Some("1"))
            .map(|line| Candidate::from_sdp_string(line).map_err(|e| format!("{line}: {e}")))
            .collect::<Result<_, _>>()?;
        if candidates.is_empty() {
            return Err("no candidates, and none can come later".into());
        }
        Ok(Self {
            ufrag: find("a=ice-ufrag:").ok_or("no ice-ufrag")?.into(),
            password: find("a=ice-pwd:").ok_or("no ice-pwd")?.into(),
            fingerprint: read_fingerprint(fingerprint).ok_or("fingerprint does not parse")?,
            dial,
            candidates,
            lines,
            transport_sequence: sections.iter().find_map(|section| transport_sequence(section)),
            estimates: sections
                .iter()
                .flatten()
                .any(|line| line.starts_with("a=rtcp-fb:") && line.ends_with(" goog-remb")),
        })
    }
}

/// The lines of a description up to its first m-line, and those of each m-line.
///
/// # Errors
///
/// If it is no SDP.
pub(crate) fn sections(sdp: &str) -> Result<(Vec<&str>, Vec<Vec<&str>>), String> {
    if !sdp.contains("\r\n") || sdp.replace("\r\n", "").contains(['\r', '\n']) {
        return Err("lines of SDP end in CRLF".into());
    }
    let mut sections: Vec<Vec<&str>> = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().expect("there is always one").push(line);
    }
    let session = sections.remove(0);
    if session.first() != Some(&"v=0") {
        return Err("SDP begins with v=0".into());
    }
    Ok((session, sections))
}

fn transport_sequence(section: &[&str]) -> Option<u8> {
    section.iter().find_map(|line| {
        let (id, uri) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
        let id = id.split('/').next()?.parse().ok()?;
        uri.starts_with(TRANSPORT_SEQUENCE).then_some(id)
    })
}

fn media(section: &[&str], shape: &Shape, mid: usize, publishing: bool) -> Result<Line, String> {
    let offered = shape.lines.get(mid).map_or(&[] as &[Codec], Vec::as_slice);
    let video = offered.iter().any(|codec| codec.is_video());
    let head = section.first().copied().unwrap_or_default();
    let mut words = head.split(' ');
    let kind = words.next().unwrap_or_default();
    if kind != if video { "m=video" } else { "m=audio" } {
        return Err(format!("{kind} has changed places"));
    }
    let port = words.next().unwrap_or_default();
    let inactive = section.contains(&"a=inactive");
    if value(section, "a=mid:") != Some(mid.to_string().as_str()) {
        return Err("the mid differs from the offer's".into());
    }
    let mut line = Line { rejected: port == "0" || inactive, ..Line::default() };
    if line.rejected {
        return Ok(line);
    }
    let direction = if publishing { "a=recvonly" } else { "a=sendonly" };
    if !section.contains(&direction) {
        return Err(format!("{direction} is missing"));
    }
    if !section.contains(&"a=rtcp-mux") {
        return Err("rtcp-mux is missing".into());
    }
    let mut types = words.skip(1).filter_map(|pt| pt.parse::<u8>().ok());
    let first = types.next().ok_or("no payload type")?;
    line.codec =
        offered.iter().copied().find(|codec| shape.engine.payload_types(*codec).0 == first);
    if line.codec.is_none() {
        return Err(format!("payload type {first} is not a codec of the offer"));
    }
    if !section.iter().any(|text| text.starts_with(&format!("a=rtpmap:{first} "))) {
        return Err(format!("payload type {first} has no rtpmap"));
    }
    line.read_sources(section);
    Ok(line)
}

impl Line {
    /// What an m-line says of who will send.
    pub(crate) fn read_sources(&mut self, section: &[&str]) {
        for text in section {
            if let Some(group) = text.strip_prefix("a=ssrc-group:FID ") {
                self.rtx = group.split(' ').nth(1).and_then(|ssrc| ssrc.parse().ok());
            } else if let Some(rest) = text.strip_prefix("a=ssrc:")
                && let Some(ssrc) = rest.split(' ').next().and_then(|ssrc| ssrc.parse().ok())
                && !self.ssrcs.contains(&ssrc)
            {
                self.ssrcs.push(ssrc);
            }
        }
        self.stream = value(section, "a=msid:").and_then(|v| v.split(' ').next()).map(Into::into);
    }
}

/// The SDK edits the line after `a=rtpmap` of H.264 and VP8 when a page limits the bit rate, and
/// breaks it if that is the `a=fmtp`.
fn fmtp_apart_from_rtpmap(section: &[&str]) -> Result<(), String> {
    for pair in section.windows(2) {
        if let [map, format] = pair
            && map.starts_with("a=rtpmap:")
            && (map.contains(" H264/") || map.contains(" VP8/"))
            && format.starts_with("a=fmtp:")
        {
            return Err(format!("{format} follows {map} directly"));
        }
    }
    Ok(())
}

/// A page shows `event.streams[0]` of the last track, so both must share one stream.
fn one_stream(lines: &[Line], publishing: bool) -> Result<(), String> {
    if publishing {
        return Ok(());
    }
    let mut streams = lines.iter().filter(|line| !line.rejected).map(|line| &line.stream);
    let first = streams.next().ok_or("nothing to play")?;
    if first.is_none() || streams.any(|other| other != first) {
        return Err("audio and video are not in one msid stream".into());
    }
    Ok(())
}

/// The value of an attribute of a section, or else of the whole session.
fn either<'a>(session: &[&'a str], section: &[&'a str], key: &str) -> Option<&'a str> {
    value(section, key).or_else(|| value(session, key))
}

/// The value of a section's first line that begins so.
pub(crate) fn value<'a>(section: &[&'a str], key: &str) -> Option<&'a str> {
    section.iter().find_map(|line| line.strip_prefix(key))
}

fn read_fingerprint(text: &str) -> Option<Fingerprint> {
    let (hash_func, digits) = text.split_once(' ')?;
    let bytes = digits
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    Some(Fingerprint { hash_func: hash_func.to_owned(), bytes })
}

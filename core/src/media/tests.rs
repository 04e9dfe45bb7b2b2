//! Offers and answers as texts, from the browsers' own to nonsense.

use std::collections::BTreeSet;

use super::fault::PeerFault;
use super::format::Formats;
use super::offer::{Narrowed, Offer, OfferFault};
use super::peer::{Accepted, Peer};
use super::{Egress, Ingest};
use crate::id::{PeerId, StreamId};
use crate::tests::Bench;

mod answers;
mod arbitrary;
mod bandwidth;
mod cache;
mod dial;
mod differential;
mod feedback;
mod formats;
mod generated;
mod hostile;
mod offers;
mod paths;
mod peers;
mod routes;
mod split;
mod stage;
mod strangers;
mod tables;
mod viewer;

const CAPTURES: [&str; 4] = [
    include_str!("../../../tests/fixtures/captures/chromium-publish.json"),
    include_str!("../../../tests/fixtures/captures/firefox-publish.json"),
    include_str!("../../../tests/fixtures/captures/chromium-play-webrtc.json"),
    include_str!("../../../tests/fixtures/captures/firefox-play-webrtc.json"),
];

fn captured(at: usize) -> String {
    let message: serde_json::Value = serde_json::from_str(CAPTURES[at]).unwrap();
    message["data"][0]["sdp"].as_str().unwrap().to_owned()
}

fn chromium_publishes() -> String {
    captured(0)
}

fn firefox_publishes() -> String {
    captured(1)
}

fn chromium_plays() -> String {
    captured(2)
}

fn firefox_plays() -> String {
    captured(3)
}

/// A session part and one section for each text, with mids `0`, `1`, and so on.
fn offer(sections: &[&str]) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    let mut text = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
        mids.join(" ")
    );
    for (section, mid) in sections.iter().zip(mids) {
        let (media, rest) = section.split_once('\n').unwrap_or((section, ""));
        text.push_str(&format!("{media}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n{TRANSPORT}"));
        for line in rest.lines() {
            text.push_str(&format!("{}\r\n", line.trim()));
        }
    }
    text
}

const TRANSPORT: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 8F:4F:8A:38:DC:06:88:57:C1:32:A7:C5:37:AC:AB:37:19:6B:DC:77:86:D8:29:\
    32:F0:AD:05:13:BF:91:D6:D9\r\na=setup:actpass\r\na=rtcp-mux\r\n";

const OPUS: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=rtpmap:111 opus/48000/2\n\
    a=fmtp:111 minptime=10;useinbandfec=1";
const VP8: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 nack\n\
    a=rtcp-fb:96 nack pli\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96";

fn names(codecs: &str) -> Vec<String> {
    codecs.split(',').map(str::to_owned).collect()
}

fn receive<'a>(text: &'a str, codecs: &str) -> Result<Narrowed<'a>, OfferFault> {
    Offer::parse(text)?.narrow_to_receive(&names(codecs))
}

fn send<'a>(text: &'a str, published: &Formats) -> Result<Narrowed<'a>, OfferFault> {
    Offer::parse(text)?.narrow_to_send(published)
}

/// What a publisher's offer becomes with these codecs in the settings.
fn published(text: &str, codecs: &str) -> Formats {
    receive(text, codecs).unwrap().formats()
}

fn answer_publisher(text: &str, codecs: &str) -> Result<Accepted, PeerFault> {
    let mut bench = Bench::with(&format!("codecs={codecs}\n"), None);
    let ingest = Ingest::new(StreamId(1), 1, false, bench.now);
    Peer::accept_ingest(&mut bench.ctx(), PeerId(1), text, 31001, ingest)
}

fn answer_viewer(text: &str, published: &Formats) -> Result<Accepted, PeerFault> {
    let mut bench = Bench::new();
    let egress = Egress::new(StreamId(1), &mut bench.rng);
    Peer::accept_egress(&mut bench.ctx(), PeerId(1), text, 31001, egress, published)
}

/// The lines of a text, session part first, then one list a section.
fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().unwrap().push(line);
    }
    sections
}

fn values<'a>(lines: &[&'a str], prefix: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(prefix)).collect()
}

fn media<'a>(section: &[&'a str]) -> Vec<&'a str> {
    section[0].split_whitespace().collect()
}

/// The encoding names of a section's payload types, in order.
fn codecs(section: &[&str]) -> Vec<String> {
    media(section)
        .iter()
        .skip(3)
        .map(|pt| {
            let map = values(section, &format!("a=rtpmap:{pt} "));
            map.first().map_or("?".to_owned(), |map| (*map).to_owned())
        })
        .collect()
}

/// What holds for every answer, whatever was offered.
fn check(offer: &str, answer: &str, direction: &str) {
    assert_eq!(answer.matches('\n').count(), answer.matches("\r\n").count(), "{answer}");
    assert_eq!(answer.matches('\r').count(), answer.matches("\r\n").count(), "{answer}");
    assert!(answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"), "{answer}");
    let (offered, answered) = (sections(offer), sections(answer));
    assert_eq!(offered.len(), answered.len(), "{answer}");
    let mut bundled = Vec::new();
    let mut streams = BTreeSet::new();
    for (theirs, ours) in offered.iter().zip(&answered).skip(1) {
        assert_eq!(media(theirs)[0], media(ours)[0], "{answer}");
        let mid = values(ours, "a=mid:");
        assert_eq!(mid, values(theirs, "a=mid:"), "{answer}");
        assert!(media(ours).len() > 3, "an m= line names a format: {}", ours[0]);
        if media(ours)[1] == "0" {
            continue;
        }
        bundled.extend(mid);
        check_section(theirs, ours, direction);
        for msid in values(ours, "a=msid:") {
            streams.insert(msid.split_whitespace().next().unwrap().to_owned());
        }
    }
    let groups = values(&answered[0], "a=group:BUNDLE");
    assert_eq!(groups.len(), 1, "{answer}");
    assert_eq!(groups[0].split_whitespace().collect::<Vec<_>>(), bundled, "{answer}");
    assert!(answered[0].contains(&"a=ice-lite"), "{answer}");
    assert!(streams.len() <= 1, "one media stream for both: {streams:?}");
    assert_eq!(!streams.is_empty(), answer.contains("a=sendonly"), "{answer}");
}

fn check_section(theirs: &[&str], ours: &[&str], direction: &str) {
    let used = codecs(ours);
    let real = used.iter().filter(|codec| !codec.to_lowercase().starts_with("rtx/")).count();
    assert_eq!(real, 1, "one codec: {ours:#?}");
    for pt in &media(ours)[3..] {
        assert!(media(theirs)[3..].contains(pt), "payload type {pt} was not offered: {ours:#?}");
    }
    let directions: Vec<&&str> = ours
        .iter()
        .filter(|line| ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].contains(line))
        .collect();
    assert_eq!(directions.len(), 1, "{ours:#?}");
    let direction = format!("a={direction}");
    assert!(*directions[0] == direction || *directions[0] == "a=inactive", "{ours:#?}");
    let setup = match values(theirs, "a=setup:").first() {
        Some(&"passive") => "active",
        _ => "passive",
    };
    assert_eq!(values(ours, "a=setup:"), [setup], "{ours:#?}");
    assert_eq!(values(ours, "a=ice-ufrag:").len(), 1, "{ours:#?}");
    assert_eq!(values(ours, "a=fingerprint:sha-256 ").len(), 1, "{ours:#?}");
    assert_eq!(values(ours, "a=fingerprint:").len(), 1, "{ours:#?}");
    assert!(ours.contains(&"a=rtcp-mux"), "{ours:#?}");
    assert_eq!(values(ours, "a=candidate:").len(), 2, "{ours:#?}");
    assert_eq!(ours.iter().filter(|line| **line == "a=end-of-candidates").count(), 1);
    for pair in ours.windows(2) {
        if let (Some(map), Some(fmtp)) =
            (pair[0].strip_prefix("a=rtpmap:"), pair[1].strip_prefix("a=fmtp:"))
            && (map.contains("H264") || map.contains("VP8"))
        {
            panic!("nothing between a=rtpmap:{map} and a=fmtp:{fmtp}");
        }
    }
}

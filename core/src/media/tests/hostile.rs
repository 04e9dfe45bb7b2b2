//! Offers and answers that are made to do harm.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::limits::Limits;

/// As much as there may be of an SDP.
const BYTES: usize = 64 * 1024;

const AMBIGUOUS: &str = "one of its payload types is of two codecs";
const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF";
const APPLICATION: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:5000";

fn refusal(text: &str, codecs: &str) -> Option<PeerFault> {
    answer_publisher(text, codecs).err()
}

fn malformed(why: &str) -> Option<PeerFault> {
    Some(PeerFault::Sdp(why.to_owned()))
}

/// A section of sound with Opus at this payload type.
fn opus(pt: u8) -> String {
    OPUS.replace("111", &pt.to_string())
}

/// A section of picture with VP8 and its retransmissions.
fn vp8(pt: u8, rtx: u8) -> String {
    let repair = format!("a=rtpmap:{rtx} rtx/90000\na=fmtp:{rtx} apt={pt}");
    format!("{VIDEO} {pt} {rtx}\na=rtpmap:{pt} VP8/90000\n{repair}")
}

#[test]
fn one_payload_type_of_two_codecs_is_refused() {
    let plain = |pt: u8| format!("{VIDEO} {pt}\na=rtpmap:{pt} VP8/90000");
    for direction in ["inactive", "recvonly"] {
        let idle = format!("{}\na={direction}", plain(96));
        let text = offer(&[&opus(96), &idle, &plain(97)]);
        assert_eq!(refusal(&text, "opus,vp8"), malformed(AMBIGUOUS), "{direction}");
    }
    let text = offer(&[&opus(96), &plain(96)]);
    assert_eq!(refusal(&text, "opus,vp8"), malformed(AMBIGUOUS));
    let text = offer(&[&opus(97), &vp8(96, 97)]);
    assert_eq!(refusal(&text, "opus,vp8"), malformed(AMBIGUOUS), "of retransmissions, too");
    let formats = published(&chromium_publishes(), "opus,vp8");
    assert_eq!(answer_viewer(&text, &formats).err(), malformed(AMBIGUOUS));
    // A number of what is not used means nothing.
    let other = format!("{VIDEO} 98 96\na=rtpmap:98 VP8/90000\na=rtpmap:96 VP9/90000");
    assert_eq!(refusal(&offer(&[&opus(96), &other]), "opus,vp8"), None);
}

#[test]
fn a_section_that_is_rejected_takes_no_payload_type() {
    let picture = format!("{VIDEO} 0\na=rtpmap:0 VP8/90000");
    let sound = "m=audio 9 UDP/TLS/RTP/SAVPF 100\na=rtpmap:100 PCMU/8000";
    for sections in [[&picture, APPLICATION, sound], [APPLICATION, sound, &picture]] {
        let text = offer(&sections);
        let accepted = answer_publisher(&text, "ulaw,vp8").unwrap();
        check(&text, &accepted.answer, "recvonly");
        assert_eq!(accepted.answer.matches("a=recvonly").count(), 2, "{}", accepted.answer);
    }
}

#[test]
fn an_idle_section_stays_in_the_very_format_that_is_used() {
    let idle = |section: String| format!("{section}\na=inactive");
    for (second, stays) in [(vp8(96, 97), true), (vp8(98, 99), false), (vp8(96, 99), false)] {
        let text = offer(&[&vp8(96, 97), &idle(second), OPUS]);
        let accepted = answer_publisher(&text, "opus,vp8").unwrap();
        check(&text, &accepted.answer, "recvonly");
        let port = media(&sections(&accepted.answer)[2])[1];
        assert_eq!(port != "0", stays, "{}", accepted.answer);
    }
}

/// What comes of an edge's answer to a dialed peer, if it is changed.
fn answered(changes: &[(&str, &str)]) -> Result<(), PeerFault> {
    dialed_as(&mut Bench::new(), 1, changes).map(|_| ())
}

fn dialed_as(near: &mut Bench, id: u64, changes: &[(&str, &str)]) -> Result<Peer, PeerFault> {
    let mut far = Bench::new();
    let formats = published(&chromium_publishes(), "opus,vp8");
    let egress = Egress::new(StreamId(1), &mut near.rng);
    let dialed = Peer::dial(&mut near.ctx(), PeerId(id), 31001, egress, &formats);
    let (mut dialed, offer) = dialed.unwrap();
    let ingest = Ingest::new(StreamId(1), 1, true, far.now);
    let accepted = Peer::accept_ingest(&mut far.ctx(), PeerId(2), &offer, 32001, ingest);
    let mut answer = accepted.unwrap().answer;
    for (from, to) in changes {
        assert!(answer.contains(from), "{from}: {answer}");
        answer = answer.replace(from, to);
    }
    dialed.take_answer(&near.ctx(), &answer)?;
    Ok(dialed)
}

#[test]
fn an_answer_keeps_to_the_payload_types_of_the_offer() {
    let (sound, picture) = ("SAVPF 111\r\n", "SAVPF 96 97\r\n");
    assert_eq!(answered(&[]), Ok(()));
    let more = "a=rtpmap:98 H264/90000\r\na=rtpmap:98 opus/48000/2\r\na=rtpmap:96 VP8/90000";
    let more = [(picture, "SAVPF 98 96 97\r\n"), ("a=rtpmap:96 VP8/90000", more)];
    assert_eq!(answered(&more), Ok(()), "what was not offered is not read");
    for changes in [
        [(sound, "SAVPF 96\r\n"), (":111 ", ":96 ")],
        [(sound, "SAVPF 0\r\n"), (":111 opus", ":96 opus")],
        [(sound, "SAVPF 200\r\n"), (":111 ", ":200 ")],
        [(picture, "SAVPF 111 97\r\n"), (":96 ", ":111 ")],
        [("m=audio", "m=video"), ("opus/48000/2", "VP8/90000")],
        [("opus/48000/2", "PCMU/8000"), (":111 minptime", ":112 minptime")],
    ] {
        assert_eq!(answered(&changes), Err(PeerFault::NoCommonCodecs), "{changes:?}");
    }
    let short = [("m=audio 9", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=audio 9")];
    assert!(matches!(answered(&short), Err(PeerFault::Sdp(_))), "another section");
}

/// A check that names both sides has to fit into what str0m has for it.
#[test]
fn credentials_of_ice_are_as_long_as_they_may_be() {
    let named = |name, length| format!("{name}{}\r\na=x:", "a".repeat(length));
    for (name, max) in [("a=ice-ufrag:", 100), ("a=ice-pwd:", 256)] {
        for (length, why) in [(max, None), (max + 1, Some("its ICE credentials are too long"))] {
            let (text, long) = (offer(&[OPUS]), named(name, length));
            let why = why.and_then(malformed);
            assert_eq!(refusal(&text.replace(name, &long), "opus"), why, "{name}");
            assert_eq!(answered(&[(name, &long)]).err(), why, "{name}");
        }
    }
    let mut near = Bench::new();
    let changes = [("a=ice-ufrag:", &*named("a=ice-ufrag:", 100)), (" ufrag ", " generation ")];
    let mut peer = dialed_as(&mut near, u64::MAX, &changes).unwrap();
    near.now += Duration::from_millis(10);
    let mut facts = Vec::new();
    peer.drain(&near.ctx(), &mut facts);
    assert!(facts.is_empty() && !peer.runs.is_empty(), "a check is on its way: {facts:?}");
}

#[test]
fn of_an_answers_candidates_so_many_are_tried_as_a_peer_has_addresses() {
    let candidates: String = (1_000..2_000)
        .map(|port| format!("a=candidate:1 1 udp 1 10.0.0.1 {port} typ host\r\n"))
        .collect();
    let limits = Limits { peer_addresses_max: 5, ..Limits::default() };
    let mut near = Bench::new().bounded(limits.clone());
    let changes = [("a=rtcp-mux", &*format!("{candidates}a=rtcp-mux"))];
    let mut peer = dialed_as(&mut near, 1, &changes).unwrap();
    let (mut tried, mut facts) = (BTreeSet::new(), Vec::new());
    let mut buffer = vec![0; 65_507];
    for _ in 0..200 {
        near.now += Duration::from_millis(10);
        peer.drain(&near.ctx(), &mut facts);
        while let Some(run) = peer.runs.take(near.now, &limits, &mut buffer, 1) {
            tried.insert(run.flow.remote);
        }
    }
    assert_eq!((tried.len(), facts.len()), (5, 0), "{tried:?}");
}

/// `line` as often as fits, its `#` a number that counts, below 100.
fn many(line: &str) -> String {
    let mut text = String::new();
    for number in (0..100).cycle() {
        let line = line.replace('#', &number.to_string());
        if text.len() + line.len() > BYTES - 2_000 {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[test]
fn what_would_be_long_to_read_is_refused_before_it_is() {
    let pairs = "a=1;".repeat(8_000);
    let repeated = format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF{}\na=rtpmap:0 PCMU/8000\na=fmtp:0 {pairs}",
        " 0".repeat(16_000)
    );
    let numbered = |count: u32| {
        let formats: String = (0..count).map(|at| format!(" {}", at % 128)).collect();
        format!("m=audio 9 UDP/TLS/RTP/SAVPF 111{formats}\na=rtpmap:111 opus/48000/2")
    };
    let formats = "a section has more than 128 formats";
    let sources = "a section has more than 64 lines of sources";
    let parameters = "a codec has more than 4096 bytes of parameters";
    for (section, why) in [
        (repeated, formats),
        (numbered(128), formats),
        (format!("{OPUS}\n{}", many("a=ssrc:# cname:x")), sources),
        (format!("{VP8}\n{}", many("a=ssrc-group:FID # #")), sources),
        (format!("{OPUS};{pairs}"), parameters),
        (format!("{OPUS}\na=fmtp:0 {}", "x".repeat(4_097)), parameters),
    ] {
        let text = offer(&[&section]);
        assert!(text.len() < BYTES + 2_000, "{}", text.len());
        assert_eq!(refusal(&text, "opus,vp8,ulaw"), malformed(why));
        let formats = published(&chromium_publishes(), "opus,vp8");
        assert_eq!(answer_viewer(&text, &formats).err(), malformed(why));
    }
    let fits = [numbered(127), format!("{OPUS}\na=fmtp:0 {}", "x".repeat(4_094))];
    for section in fits {
        assert_eq!(refusal(&offer(&[&section]), "opus"), None);
    }
}

#[test]
fn an_offer_has_so_many_sections() {
    for (count, why) in [(16, None), (17, malformed("it has more than 16 sections"))] {
        let idle = format!("{VP8}\na=inactive");
        let sections: Vec<&str> = std::iter::once(OPUS).chain([&*idle; 16]).take(count).collect();
        assert_eq!(refusal(&offer(&sections), "opus,vp8"), why);
    }
    let text = offer(&[&format!("{OPUS}\n{}", many("m=audio 9 UDP/TLS/RTP/SAVPF 0"))]);
    assert_eq!(refusal(&text, "opus,vp8"), malformed("it has more than 16 sections"));
}

/// The bounds are for nobody who means well.
#[test]
fn browsers_are_far_from_every_bound() {
    for text in [chromium_publishes(), firefox_publishes(), chromium_plays(), firefox_plays()] {
        let sections = sections(&text);
        assert!(sections.len() * 4 <= 16, "{}", sections.len());
        for section in &sections[1..] {
            assert!(media(section).len() * 2 <= 128, "{:?}", media(section));
            assert!(values(section, "a=ssrc").len() * 4 <= 64, "{section:#?}");
            let longest = values(section, "a=fmtp:").iter().map(|value| value.len()).max();
            assert!(longest.unwrap_or(0) * 8 <= 4_096, "{longest:?}");
        }
    }
}

/// Lines of which any number makes no difference: they are read once each, or not at all.
#[test]
fn an_offer_full_of_one_line_is_answered() {
    for line in [
        "a=rtpmap:# VP8/90000",
        "a=fmtp:# apt=96",
        "a=rtcp-fb:# nack",
        "a=extmap:# urn:x",
        "a=candidate:# 1 udp 1 10.0.0.1 # typ host",
        "a=x:#",
    ] {
        let text = offer(&[&format!("{OPUS}\n{}", many(line)), VP8]);
        let accepted = answer_publisher(&text, "opus,vp8").unwrap();
        assert_eq!(accepted.answer.matches("a=recvonly").count(), 2, "{line}");
        assert!(accepted.answer.len() < 8_000, "{line}: {}", accepted.answer.len());
        let shown = receive(&text, "opus,vp8").unwrap().sdp();
        assert!(!shown.contains("a=candidate:"), "{line}");
    }
}

/// A few numbers, a few codecs, and whatever can be made of them.
fn section() -> impl Strategy<Value = String> {
    let sound = ("audio", vec!["opus/48000/2", "opus/48000/2", "PCMU/8000", "red/48000/2"]);
    let picture = ("video", vec!["VP8/90000", "VP8/90000", "VP9/90000", "rtx/90000"]);
    let numbers = vec!["0", "9", "96", "97"];
    select(vec![sound, picture]).prop_flat_map(move |(medium, maps)| {
        (
            prop::option::weighted(0.1, select(vec!["text 9", "video 0", "audio 9", "video 9"])),
            subsequence(numbers.clone(), 1..=2).prop_shuffle(),
            prop::collection::vec(select(maps), 2),
            prop::option::of((select(numbers.clone()), select(numbers.clone()))),
            select(vec!["sendonly", "sendonly", "recvonly", "inactive"]),
            prop::option::weighted(
                0.1,
                select(vec!["a=ssrc:1 x", "a=bundle-only", "a=ssrc:0 y:z"]),
            ),
        )
            .prop_map(move |(other, formats, maps, repair, direction, odd)| {
                let medium = other.map_or(format!("{medium} 9"), str::to_owned);
                let mut text = format!("m={medium} UDP/TLS/RTP/SAVPF {}", formats.join(" "));
                for (pt, map) in formats.iter().zip(maps) {
                    text.push_str(&format!("\na=rtpmap:{pt} {map}"));
                }
                text.extend(repair.map(|(pt, apt)| format!("\na=fmtp:{pt} apt={apt}")));
                text.extend(odd.map(|odd| format!("\n{odd}")));
                text + "\na=" + direction
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// What is refused is refused by what it says, and not by a panic that was caught.
    #[test]
    fn no_numbers_of_payload_types_break_str0m(
        parts in prop::collection::vec(section(), 2..6),
        codecs in select(vec!["opus,vp8", "ulaw,opus,vp9,vp8"]),
    ) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let text = offer(&parts);
        match answer_publisher(&text, codecs).map(|accepted| accepted.answer) {
            Ok(_) | Err(PeerFault::Sdp(_) | PeerFault::NoCommonCodecs) => {}
            Err(fault) => panic!("{fault}\n{text}"),
        }
    }
}

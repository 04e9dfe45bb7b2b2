//! Offers that a browser could make, and what each of their sections has to become.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// Names of the settings, encoding names, and parameters in the variants that occur.
const AUDIO: [(&str, &str, &[&str]); 4] = [
    ("opus", "opus/48000/2", &["", "minptime=10;useinbandfec=1"]),
    ("alaw", "PCMA/8000", &[""]),
    ("ulaw", "pcmu/8000", &[""]),
    ("g722", "G722/8000", &[""]),
];
const VIDEO: [(&str, &str, &[&str]); 5] = [
    ("vp8", "VP8/90000", &[""]),
    ("vp9", "VP9/90000", &["profile-id=0", ""]),
    (
        "h264",
        "H264/90000",
        &[
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            "packetization-mode=0;profile-level-id=42001f",
        ],
    ),
    ("av1", "AV1/90000", &["", "level-idx=5;profile=0;tier=0"]),
    ("flexfec", "flexfec-03/90000", &["repair-window=10000000"]),
];
/// Codecs that are offered and never taken.
const UNKNOWN: [&str; 2] = ["g722", "flexfec"];

const EXTENSIONS: [&str; 5] = [
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:3gpp:video-orientation",
    "urn:ietf:params:rtp-hdrext:sdes:mid",
];

#[derive(Clone, Debug)]
struct Format {
    name: &'static str,
    map: &'static str,
    fmtp: &'static str,
    pt: u8,
    rtx: Option<u8>,
}

#[derive(Clone, Debug)]
struct Part {
    media: &'static str,
    mid: String,
    formats: Vec<Format>,
    /// `None` says nothing, which means both ways.
    direction: Option<&'static str>,
    /// Port 0, which is a section not in use.
    off: bool,
    /// The attributes, in an order that means nothing, with those of formats among them.
    lines: Vec<String>,
    /// The formats in the media line, as they stand there.
    pts: Vec<u8>,
}

/// One section, as yet without its numbers.
fn part() -> impl Strategy<Value = (Part, Vec<bool>)> {
    let video = prop::bool::weighted(0.5);
    let odd = prop::bool::weighted(0.1);
    (video, odd, prop::bool::weighted(0.1)).prop_flat_map(|(video, odd, off)| {
        let table = if video { VIDEO.to_vec() } else { AUDIO.to_vec() };
        let format = select(table).prop_flat_map(move |(name, map, fmtps)| {
            (select(fmtps.to_vec()), prop::bool::weighted(0.7)).prop_map(move |(fmtp, rtx)| {
                (Format { name, map, fmtp, pt: 0, rtx: None }, rtx && video)
            })
        });
        let direction = select(vec![
            None,
            Some("sendrecv"),
            Some("sendonly"),
            Some("recvonly"),
            Some("inactive"),
        ]);
        let media = match (odd, video) {
            (true, _) => "text",
            (false, true) => "video",
            (false, false) => "audio",
        };
        let extensions = subsequence(EXTENSIONS.to_vec(), 0..=EXTENSIONS.len());
        (prop::collection::vec(format, 1..5), direction, extensions).prop_map(
            move |(formats, direction, extensions)| {
                let (formats, rtx) = formats.into_iter().unzip();
                let extmap = |uri: &&str| {
                    let id = EXTENSIONS.iter().position(|known| known == uri).unwrap() + 1;
                    format!("a=extmap:{id} {uri}")
                };
                let lines = extensions.iter().map(extmap).collect();
                let (mid, pts) = (String::new(), Vec::new());
                (Part { media, mid, formats, direction, off, lines, pts }, rtx)
            },
        )
    })
}

/// Sections in any order; as browsers have it, a format has one number in all of them.
fn parts() -> impl Strategy<Value = Vec<Part>> {
    let pts = Just((96..=127).chain(35..=63).collect::<Vec<u8>>()).prop_shuffle();
    let mids = subsequence(vec!["0", "1", "2", "audio", "v_1", "x"], 5).prop_shuffle();
    (prop::collection::vec(part(), 1..5), pts, mids).prop_flat_map(|(parts, mut pts, mids)| {
        let mut numbers = BTreeMap::new();
        let parts = parts.into_iter().zip(mids).map(|((mut part, rtx), mid)| {
            part.mid = mid.to_owned();
            for (format, rtx) in part.formats.iter_mut().zip(rtx) {
                let mut number = || match format.name {
                    "ulaw" => (0, None),
                    "alaw" => (8, None),
                    _ => (pts.pop().unwrap(), rtx.then(|| pts.pop().unwrap())),
                };
                // Only of H.264 do browsers offer several kinds.
                let kind = if format.name == "h264" { format.fmtp } else { "" };
                let fmtp = format.fmtp;
                let first = numbers.entry((format.name, kind)).or_insert_with(|| (number(), fmtp));
                ((format.pt, format.rtx), format.fmtp) = *first;
            }
            part.formats.sort_by_key(|format| format.pt);
            part.formats.dedup_by_key(|format| format.pt);
            for format in &part.formats {
                part.lines.extend(lines_of(format));
                part.pts.extend([Some(format.pt), format.rtx].into_iter().flatten());
            }
            part.lines.extend(part.direction.map(|direction| format!("a={direction}")));
            let (lines, pts) = (part.lines.clone(), part.pts.clone());
            (Just(part), Just(lines).prop_shuffle(), Just(pts).prop_shuffle())
                .prop_map(|(part, lines, pts)| Part { lines, pts, ..part })
        });
        parts.collect::<Vec<_>>()
    })
}

fn lines_of(format: &Format) -> Vec<String> {
    let Format { map, fmtp, pt, rtx, .. } = format;
    let mut lines = vec![format!("a=rtpmap:{pt} {map}")];
    if !fmtp.is_empty() {
        lines.push(format!("a=fmtp:{pt} {fmtp}"));
    }
    if map.ends_with("/90000") {
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            lines.push(format!("a=rtcp-fb:{pt} {feedback}"));
        }
    }
    if let Some(rtx) = rtx {
        lines.push(format!("a=rtpmap:{rtx} rtx/90000"));
        lines.push(format!("a=fmtp:{rtx} apt={pt}"));
    }
    lines
}

fn render(parts: &[Part]) -> String {
    let mids: Vec<&str> = parts.iter().map(|part| part.mid.as_str()).collect();
    let mut text = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
        mids.join(" ")
    );
    for part in parts {
        let pts: String = part.pts.iter().map(|pt| format!(" {pt}")).collect();
        let port = if part.off { 0 } else { 9 };
        text.push_str(&format!("m={} {port} UDP/TLS/RTP/SAVPF{pts}\r\n", part.media));
        text.push_str(&format!("c=IN IP4 0.0.0.0\r\na=mid:{}\r\n{TRANSPORT}", part.mid));
        part.lines.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
    }
    text
}

/// What a section becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Used(&'static str),
    Idle,
    Rejected,
}

/// The rules for whom we receive from (`sends`), and for whom we send to.
fn fates(parts: &[Part], sends: bool, wanted: &[&str]) -> Option<Vec<Fate>> {
    let mut taken = BTreeSet::new();
    let fates: Vec<Fate> = parts
        .iter()
        .map(|part| {
            let flows = match part.direction {
                None | Some("sendrecv") => true,
                Some("sendonly") => sends,
                Some("recvonly") => !sends,
                Some(_) => false,
            };
            let has = |name: &&&str| part.formats.iter().any(|format| format.name == **name);
            let first = wanted
                .iter()
                .find(has)
                .map(|name| part.formats.iter().find(|format| format.name == *name).unwrap().name);
            let known = part.formats.iter().any(|format| !UNKNOWN.contains(&format.name));
            match first {
                _ if part.media == "text" || part.off => Fate::Rejected,
                Some(_) if flows && !taken.insert(part.media) => Fate::Rejected,
                Some(name) if flows => Fate::Used(name),
                Some(_) => Fate::Idle,
                None if known && !sends => Fate::Idle,
                None => Fate::Rejected,
            }
        })
        .collect();
    fates.iter().any(|fate| matches!(fate, Fate::Used(_))).then_some(fates)
}

/// Holds an answer to the fates of its sections.
fn check_fates(parts: &[Part], fates: &[Fate], answer: &str, direction: &str) {
    for (part, (fate, ours)) in parts.iter().zip(fates.iter().zip(&sections(answer)[1..])) {
        let words = media(ours);
        let flows = ours.contains(&&*format!("a={direction}"));
        let pts: Vec<u8> = words[3..].iter().map(|pt| pt.parse().unwrap()).collect();
        let of = |format: &&Format| pts.first() == Some(&format.pt);
        let format = part.formats.iter().find(of);
        let its = |format: &Format| {
            [Some(format.pt), format.rtx].into_iter().flatten().collect::<Vec<_>>()
        };
        match fate {
            Fate::Used(name) => {
                let format = format.expect("a format that was offered");
                assert_eq!((format.name, flows), (*name, true), "{answer}");
                assert_eq!(pts, its(format), "one codec and its retransmissions: {answer}");
            }
            // Of what flows nowhere it is str0m's to say whether it stays.
            Fate::Idle => {
                assert!(!flows, "{answer}");
                assert!(words[1] == "0" || Some(pts) == format.map(its), "{answer}");
            }
            Fate::Rejected => {
                assert_eq!((words[1], flows), ("0", false), "{answer}");
                assert_eq!(pts, part.pts, "a rejection has the words of the offer: {answer}");
            }
        }
        for extension in values(ours, "a=extmap:") {
            let offered = part.lines.contains(&format!("a=extmap:{extension}"));
            assert!(offered, "{extension} was not offered: {answer}");
        }
        for line in ours {
            assert!(line.get(1..2) == Some("=") && line.is_ascii(), "{line:?}");
        }
    }
}

/// Holds what str0m is given to what was offered: nothing is added but how it begins and ends,
/// and of other formats nothing is left.
fn check_narrowed(offer: &str, narrowed: &str) {
    for (theirs, ours) in sections(offer).iter().zip(&sections(narrowed)) {
        for (at, line) in ours.iter().enumerate() {
            let ours = at == 0 || at + 1 == ours.len() || line.starts_with("a=group:");
            assert!(ours || theirs.contains(line), "{line}: {narrowed}");
        }
        for prefix in ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"] {
            for value in values(ours, prefix) {
                let pt = value.split(' ').next().unwrap();
                assert!(media(ours)[3..].contains(&pt), "{prefix}{value}: {narrowed}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_publishers_sections_become_what_the_settings_prefer(
        parts in parts(),
        wanted in subsequence(vec!["opus", "alaw", "ulaw", "vp8", "vp9", "h264", "av1"], 1..=7)
            .prop_shuffle(),
    ) {
        let text = render(&parts);
        let codecs = wanted.join(",");
        match (fates(&parts, true, &wanted), answer_publisher(&text, &codecs)) {
            (Some(fates), Ok(accepted)) => {
                check(&text, &accepted.answer, "recvonly");
                check_fates(&parts, &fates, &accepted.answer, "recvonly");
                check_narrowed(&text, &receive(&text, &codecs).unwrap().sdp());
            }
            (None, Err(PeerFault::NoCommonCodecs | PeerFault::Sdp(_))) => {}
            (fates, answer) => panic!("{fates:?}: {:?}\n{text}", answer.map(|a| a.answer)),
        }
    }

    #[test]
    fn a_viewers_sections_become_what_is_published(
        parts in parts(),
        (codecs, wanted) in select(vec![
            ("opus,vp8", ["opus", "vp8"]), ("alaw,vp9", ["alaw", "vp9"]),
            ("ulaw,av1", ["ulaw", "av1"]),
        ]),
    ) {
        let text = render(&parts);
        let formats = published(&chromium_publishes(), codecs);
        // A medium that is wanted, and offered in other codecs alone, spoils it all.
        let unfit = parts.iter().any(|part| {
            let receives = matches!(part.direction, None | Some("sendrecv" | "recvonly"));
            let fits = part.formats.iter().any(|format| wanted.contains(&format.name));
            part.media != "text" && receives && !fits
        });
        let fates = fates(&parts, false, &wanted).filter(|_| !unfit);
        match (fates, answer_viewer(&text, &formats)) {
            (Some(fates), Ok(accepted)) => {
                check(&text, &accepted.answer, "sendonly");
                check_fates(&parts, &fates, &accepted.answer, "sendonly");
                check_narrowed(&text, &send(&text, &formats).unwrap().sdp());
            }
            (None, Err(PeerFault::NoCommonCodecs | PeerFault::Sdp(_))) => {}
            (fates, answer) => panic!("{fates:?}: {:?}\n{text}", answer.map(|a| a.answer)),
        }
    }
}

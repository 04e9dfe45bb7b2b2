//! Offers that no browser makes.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// What can happen to one line of an offer.
#[derive(Clone, Debug)]
enum Change {
    Drop,
    Double,
    Swap(Index),
    Replace(String),
    Byte(Index, char),
    Number(u32),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Drop),
        Just(Change::Double),
        any::<Index>().prop_map(Change::Swap),
        "[ -~]{0,40}".prop_map(Change::Replace),
        (any::<Index>(), any::<char>()).prop_map(|(at, c)| Change::Byte(at, c)),
        select(vec![0, 1, 35, 63, 96, 97, 127, 128, 200, 255, 256, u32::MAX])
            .prop_map(Change::Number),
    ]
}

fn apply(text: &str, changes: &[(Index, Change)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (at, change) in changes {
        if lines.is_empty() {
            break;
        }
        let at = at.index(lines.len());
        match change {
            Change::Drop => drop(lines.remove(at)),
            Change::Double => lines.insert(at, lines[at].clone()),
            Change::Swap(other) => {
                let other = other.index(lines.len());
                lines.swap(at, other);
            }
            Change::Replace(line) => lines[at].clone_from(line),
            Change::Byte(byte, with) => {
                let mut chars: Vec<char> = lines[at].chars().collect();
                if !chars.is_empty() {
                    let byte = byte.index(chars.len());
                    chars[byte] = *with;
                }
                lines[at] = chars.into_iter().collect();
            }
            Change::Number(number) => {
                let old: String = lines[at]
                    .chars()
                    .skip_while(|c| !c.is_ascii_digit())
                    .take_while(char::is_ascii_digit)
                    .collect();
                if !old.is_empty() {
                    lines[at] = lines[at].replacen(&old, &number.to_string(), 1);
                }
            }
        }
    }
    lines.iter().flat_map(|line| [line, "\r\n"]).collect()
}

/// Whatever an answer says, it names at most one codec a section, and every line is one of SDP.
fn check_codecs(answer: &str) {
    for line in answer.strip_suffix("\r\n").unwrap().split("\r\n") {
        assert!(line.as_bytes()[0].is_ascii_lowercase() && line.as_bytes()[1] == b'=', "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    for section in &sections(answer)[1..] {
        if media(section).get(1) != Some(&"0") {
            let codecs = codecs(section);
            let real = codecs.iter().filter(|codec| !codec.to_lowercase().starts_with("rtx/"));
            assert!(real.count() <= 1, "{section:#?}");
        }
    }
}

fn formats() -> Formats {
    published(&chromium_publishes(), "opus,vp8")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn damaged_offers_of_browsers_are_answered_or_refused(
        which in 0usize..4,
        codecs in select(vec!["opus,vp8", "opus,h264", "alaw,vp9", "ulaw,av1"]),
        changes in prop::collection::vec((any::<Index>(), change()), 1..12),
    ) {
        let text = apply(&captured(which), &changes);
        if let Ok(accepted) = answer_publisher(&text, codecs) {
            check_codecs(&accepted.answer);
        }
        if let Ok(accepted) = answer_viewer(&text, &formats()) {
            check_codecs(&accepted.answer);
        }
    }

    #[test]
    fn lines_in_any_order_are_answered_or_refused(
        lines in prop::collection::vec(select(vec![
            "v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111 0", "m=video 9 UDP/TLS/RTP/SAVPF 96 97 111",
            "m=video 0 UDP/TLS/RTP/SAVPF 96", "m=", "m=audio", "m=audio 9", "m=audio 9 X",
            "a=group:BUNDLE 0 1", "a=group:BUNDLE", "a=mid:0", "a=mid:1", "a=mid:",
            "a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus/0/0", "a=rtpmap:111 opus",
            "a=rtpmap:96 VP8/90000", "a=rtpmap:96 H264/1", "a=rtpmap:97 rtx/90000",
            "a=rtpmap:97 rtx", "a=fmtp:97 apt=96", "a=fmtp:97 apt=97", "a=fmtp:97 apt=",
            "a=fmtp:96 profile-level-id=zzz;packetization-mode=300", "a=rtcp-fb:96 nack",
            "a=sendonly", "a=recvonly", "a=inactive", "a=rtcp-mux", "a=setup:actpass",
            "a=setup:holdconn", "a=ssrc:1 cname:a", "a=ssrc-group:FID 1 2", "a=ssrc:99999999999 x",
            "a=simulcast:send a;b", "a=rid:a send", "a=extmap:15 x", "a=extmap:0 x",
            "a=candidate:1 1 udp 1 1.2.3.4 5 typ host", "a=candidate:", "a=end-of-candidates", "é",
        ]), 0..40),
        framed in any::<bool>(),
    ) {
        let lines: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
        let text = if framed {
            format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{TRANSPORT}{lines}")
        } else {
            lines
        };
        if let Ok(accepted) = answer_publisher(&text, "opus,vp8") {
            check_codecs(&accepted.answer);
        }
        if let Ok(accepted) = answer_viewer(&text, &formats()) {
            check_codecs(&accepted.answer);
        }
    }

    #[test]
    fn arbitrary_text_is_refused_quietly(text in "\\PC*") {
        prop_assert!(answer_publisher(&text, "opus,vp8").is_err());
    }
}

//! Narrowing, seen in what str0m is given.

use super::*;
use crate::media::packet::Kind;

/// Narrows, checks that each section has at most one codec, and tells the m-lines.
fn lines(narrowed: &Narrowed<'_>) -> Vec<String> {
    let sdp = narrowed.sdp();
    let parts = sections(&sdp);
    for part in &parts[1..] {
        let maps = values(part, "a=rtpmap:");
        if media(part)[1] != "0" {
            let real = maps.iter().filter(|map| !map.contains(" rtx/")).count();
            assert!(real <= 1, "{part:#?}");
            for attribute in ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"] {
                for value in values(part, attribute) {
                    let pt = value.split_whitespace().next().unwrap();
                    assert!(media(part)[3..].contains(&pt), "{attribute}{value}: {part:#?}");
                }
            }
        }
    }
    parts[1..].iter().map(|part| part[0].to_owned()).collect()
}

const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF";
const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF";
const REJECTED: &str = "m=audio 0 UDP/TLS/RTP/SAVPF 9";

#[test]
fn a_browsers_offer_is_narrowed_to_the_preferred_codecs() {
    let chromium = chromium_publishes();
    for (codecs, audio, video) in [
        ("opus,vp8", "111", "96 97"),
        ("opus,h264", "111", "108 109"),
        ("opus,vp9,vp8", "111", "98 99"),
        ("opus,av1,h264", "111", "45 46"),
        ("alaw,ulaw,opus,h264,vp8", "8", "108 109"),
        ("ulaw,alaw,opus,vp8,h264", "0", "96 97"),
    ] {
        let narrowed = receive(&chromium, codecs).unwrap();
        assert_eq!(lines(&narrowed), [format!("{AUDIO} {audio}"), format!("{VIDEO} {video}")]);
    }
    let firefox = firefox_publishes();
    for (codecs, audio, video) in [
        ("opus,vp8", "109", "120 124"),
        // It has no H.264, so that is passed over.
        ("opus,h264,vp8", "109", "120 124"),
        ("opus,vp9", "109", "121 125"),
        ("alaw,av1", "8", "99 100"),
        ("ulaw,vp9", "0", "121 125"),
    ] {
        let narrowed = receive(&firefox, codecs).unwrap();
        assert_eq!(lines(&narrowed), [format!("{AUDIO} {audio}"), format!("{VIDEO} {video}")]);
    }
}

#[test]
fn one_medium_without_a_common_codec_leaves_the_other() {
    let text = firefox_publishes();
    let narrowed = receive(&text, "opus,h264").unwrap();
    assert!(narrowed.audio.is_some() && narrowed.video.is_none());
    assert_eq!(lines(&narrowed), [format!("{AUDIO} 109"), REJECTED.to_owned()]);
    assert!(narrowed.sdp().contains("a=group:BUNDLE 0\r\n"));
}

#[test]
fn no_common_codec_at_all_is_said_so() {
    let only_vp8 = offer(&[VP8]);
    assert_eq!(receive(&only_vp8, "opus,h264").unwrap_err(), OfferFault::NoCommonCodecs);
    assert_eq!(receive(&only_vp8, "g722").unwrap_err(), OfferFault::NoCommonCodecs);
}

#[test]
fn a_viewers_offer_is_narrowed_to_what_is_published() {
    for (codecs, video) in [("opus,vp8", "96 97"), ("opus,h264", "108 109"), ("opus,vp9", "98 99")]
    {
        let published = published(&chromium_publishes(), codecs);
        let text = chromium_plays();
        let narrowed = send(&text, &published).unwrap();
        assert_eq!(lines(&narrowed), [format!("{AUDIO} 111"), format!("{VIDEO} {video}")]);
    }
    let text = firefox_plays();
    let narrowed = send(&text, &published(&chromium_publishes(), "opus,vp8")).unwrap();
    assert_eq!(lines(&narrowed), [format!("{AUDIO} 109"), format!("{VIDEO} 120 124")]);
}

#[test]
fn a_viewer_who_cannot_decode_the_picture_is_refused_whole() {
    let h264 = published(&chromium_publishes(), "opus,h264");
    assert_eq!(send(&firefox_plays(), &h264).unwrap_err(), OfferFault::NoCommonCodecs);
    let audio_only = offer(&[OPUS]);
    let narrowed = send(&audio_only, &h264).unwrap();
    assert!(narrowed.audio.is_some() && narrowed.video.is_none(), "it did not ask for picture");
}

#[test]
fn the_order_of_sections_is_kept() {
    for (text, lines_wanted) in [
        (offer(&[OPUS, VP8]), [format!("{AUDIO} 111"), format!("{VIDEO} 96 97")]),
        (offer(&[VP8, OPUS]), [format!("{VIDEO} 96 97"), format!("{AUDIO} 111")]),
    ] {
        let narrowed = receive(&text, "opus,vp8").unwrap();
        assert_eq!(lines(&narrowed), lines_wanted);
        assert!(narrowed.sdp().contains("a=group:BUNDLE 0 1\r\n"));
    }
}

#[test]
fn directions_decide_what_is_used() {
    let with = |direction: &str| offer(&[OPUS, &format!("{VP8}\na={direction}")]);
    for direction in ["sendonly", "sendrecv"] {
        let text = with(direction);
        let narrowed = receive(&text, "opus,vp8").unwrap();
        assert!(narrowed.video.is_some(), "{direction}");
    }
    for direction in ["recvonly", "inactive"] {
        let text = with(direction);
        let narrowed = receive(&text, "opus,vp8").unwrap();
        assert!(narrowed.video.is_none(), "{direction}");
        assert!(narrowed.audio.is_some(), "no direction means both ways");
    }
    let formats = published(&chromium_publishes(), "opus,vp8");
    for (direction, used) in
        [("recvonly", true), ("sendrecv", true), ("sendonly", false), ("inactive", false)]
    {
        let text = with(direction);
        let narrowed = send(&text, &formats).unwrap();
        assert_eq!(narrowed.video.is_some(), used, "{direction}");
    }
    let nothing = offer(&[&format!("{OPUS}\na=recvonly"), &format!("{VP8}\na=inactive")]);
    assert!(matches!(receive(&nothing, "opus,vp8"), Err(OfferFault::Malformed(_))));
    let nothing = offer(&[&format!("{OPUS}\na=sendonly"), &format!("{VP8}\na=inactive")]);
    assert!(send(&nothing, &formats).is_err());
}

#[test]
fn a_direction_of_the_whole_session_counts_where_a_section_has_none() {
    let whole = |direction: &str| {
        offer(&[OPUS, VP8]).replace("t=0 0\r\n", &format!("t=0 0\r\na={direction}\r\n"))
    };
    assert!(receive(&whole("recvonly"), "opus,vp8").is_err());
    assert!(receive(&whole("sendonly"), "opus,vp8").is_ok());
    let formats = published(&chromium_publishes(), "opus,vp8");
    assert!(send(&whole("sendonly"), &formats).is_err());
    assert!(send(&whole("recvonly"), &formats).is_ok());
}

#[test]
fn sections_of_port_0_stay_rejected_but_bundle_only_is_not_that() {
    let gone = VP8.replace("video 9", "video 0");
    let text = offer(&[OPUS, &gone]);
    let narrowed = receive(&text, "opus,vp8").unwrap();
    assert!(narrowed.video.is_none());
    assert!(narrowed.sdp().contains("a=group:BUNDLE 0\r\n"));
    // RFC 9143, section 6: port 0 with this attribute means no transport of its own.
    let bundled = format!("{gone}\na=bundle-only");
    let text = offer(&[OPUS, &bundled]);
    let narrowed = receive(&text, "opus,vp8").unwrap();
    assert!(narrowed.video.is_some());
    assert_eq!(lines(&narrowed)[1], format!("{VIDEO} 96 97"));
}

#[test]
fn a_second_camera_is_rejected_and_leaves_the_bundle() {
    let second = VP8.replace("96", "98").replace("97", "99");
    let text = offer(&[VP8, OPUS, &second]);
    let narrowed = receive(&text, "opus,vp8").unwrap();
    assert_eq!(
        lines(&narrowed),
        [format!("{VIDEO} 96 97"), format!("{AUDIO} 111"), REJECTED.to_owned()]
    );
    let line = "m=video 0 UDP/TLS/RTP/SAVPF 98 99";
    assert_eq!(narrowed.rejections(), [None, None, Some(line.to_owned())]);
    assert!(narrowed.sdp().contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn data_channels_are_rejected() {
    let application = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:5000";
    let text = offer(&[application, OPUS]);
    let narrowed = receive(&text, "opus,vp8").unwrap();
    assert_eq!(lines(&narrowed)[0], REJECTED);
    let line = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel";
    assert_eq!(narrowed.rejections(), [Some(line.to_owned()), None]);
    assert!(narrowed.sdp().contains("a=group:BUNDLE 1\r\n"));
    let nothing_else = offer(&[application]);
    assert!(matches!(receive(&nothing_else, "opus,vp8"), Err(OfferFault::Malformed(_))));
}

#[test]
fn simulcast_is_not_accepted() {
    let simulcast = format!("{VP8}\na=rid:h send\na=rid:l send\na=simulcast:send h;l\na=sendonly");
    let text = offer(&[&simulcast]);
    let narrowed = receive(&text, "opus,vp8").unwrap();
    assert!(!narrowed.sdp().contains("a=simulcast") && !narrowed.sdp().contains("a=rid:"));
}

#[test]
fn of_three_fingerprints_the_sha_256_is_kept() {
    let hash = |name: &str, pairs: usize| {
        format!("a=fingerprint:{name} {}\r\n", vec!["AB"; pairs].join(":"))
    };
    let text = offer(&[OPUS, VP8]).replace(
        "a=fingerprint:sha-256 ",
        &format!("{}{}a=fingerprint:SHA-256 ", hash("sha-384", 48), hash("sha-512", 64)),
    );
    let narrowed = receive(&text, "opus,vp8").unwrap();
    assert_eq!(narrowed.sdp().matches("a=fingerprint:").count(), 2);
    assert_eq!(narrowed.sdp().matches("a=fingerprint:SHA-256 8F").count(), 2);
    let without = offer(&[OPUS]).replace("sha-256", "sha-384");
    assert!(matches!(receive(&without, "opus"), Err(OfferFault::Malformed(_))));
}

#[test]
fn line_ends_may_be_bare() {
    for text in [chromium_publishes(), firefox_publishes()] {
        let bare = text.replace("\r\n", "\n");
        let [with, without] = [text, bare].map(|text| receive(&text, "opus,vp8").unwrap().sdp());
        assert_eq!(with, without);
    }
}

#[test]
fn payload_types_0_and_8_need_no_rtpmap() {
    let text = offer(&["m=audio 9 UDP/TLS/RTP/SAVPF 0 8"]);
    let ulaw = receive(&text, "ulaw,alaw").unwrap();
    assert_eq!(ulaw.audio.unwrap().pt, 0);
    let alaw = receive(&text, "alaw,ulaw").unwrap();
    assert_eq!(alaw.audio.unwrap().pt, 8);
    assert_eq!(Kind::from(alaw.audio.unwrap().spec.codec.kind()), Kind::Audio);
    // They mean nothing for picture.
    let video = offer(&["m=video 9 UDP/TLS/RTP/SAVPF 0 8"]);
    assert!(receive(&video, "ulaw,alaw").is_err());
}

#[test]
fn what_lacks_something_is_named() {
    let good = offer(&[OPUS]);
    for (bad, why) in [
        (String::new(), "it does not begin with v=0"),
        ("hello".to_owned(), "it does not begin with v=0"),
        ("v=0\r\ns=-\r\n".to_owned(), "it has no m= line"),
        (good.replace("a=ice-ufrag", "a=x"), "it has no ICE user name fragment and password"),
        (good.replace("a=ice-pwd", "a=x"), "it has no ICE user name fragment and password"),
        (good.replace("a=fingerprint", "a=x"), "it has no SHA-256 fingerprint"),
        (good.replace("m=audio", "m=\u{e}udio"), "it has control characters"),
        (good.replace("a=mid:", "a=mid:\r"), "it has control characters"),
    ] {
        assert_eq!(Offer::parse(&bad).unwrap_err(), OfferFault::Malformed(why));
    }
}

/// The WebSDK's `stripCodecs` removes lines by the prefix of a payload type: taking out type 9
/// takes the `a=fmtp` and `a=rtcp-fb` lines of 96 to 99 with it.
#[test]
fn lines_that_a_page_took_too_many_of_are_not_missed() {
    let mut damaged: String = chromium_publishes()
        .lines()
        .filter(|line| {
            !["a=fmtp:9", "a=rtcp-fb:9", "a=fmtp:10", "a=rtcp-fb:10"]
                .iter()
                .any(|gone| line.starts_with(gone))
        })
        .flat_map(|line| [line, "\r\n"])
        .collect();
    let vp8 = receive(&damaged, "opus,vp8").unwrap();
    assert_eq!(lines(&vp8), [format!("{AUDIO} 111"), format!("{VIDEO} 96")], "rtx lost its apt");
    assert!(!vp8.sdp().contains("nack pli"));
    for gone in ["a=fmtp:11", "a=rtcp-fb:11", "a=fmtp:39", "a=fmtp:40"] {
        damaged = damaged
            .lines()
            .filter(|line| !line.starts_with(gone))
            .flat_map(|line| [line, "\r\n"])
            .collect();
    }
    let h264 = receive(&damaged, "opus,h264").unwrap();
    let spec = h264.video.unwrap().spec;
    assert_eq!((spec.format.profile_level_id, h264.video.unwrap().rtx), (None, None));
}

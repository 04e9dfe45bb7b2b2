//! Answers as they go out: to publishers, made by str0m from narrowed offers, to viewers, our own.

use std::collections::BTreeSet;

use str0m::change::SdpOffer;
use str0m::ice::IceCreds;

use super::*;
use crate::media::rtc;

fn ingest(offer: &str, codecs: &str) -> String {
    let accepted = answer_publisher(offer, codecs).unwrap();
    check(offer, &accepted.answer, "recvonly");
    accepted.answer
}

fn egress(offer: &str, published: &Formats) -> String {
    let accepted = answer_viewer(offer, published).unwrap();
    check(offer, &accepted.answer, "sendonly");
    accepted.answer
}

#[test]
fn browsers_that_publish_are_answered() {
    for offer in [chromium_publishes(), firefox_publishes()] {
        for codecs in ["opus,vp8", "alaw,vp9", "ulaw,av1,h264", "opus,h264,vp8"] {
            let answer = ingest(&offer, codecs);
            assert_eq!(answer.matches("a=recvonly").count(), 2, "{answer}");
            assert!(!answer.contains("a=msid:"), "{answer}");
        }
    }
}

#[test]
fn browsers_that_play_are_answered_with_one_stream() {
    for codecs in ["opus,vp8", "alaw,vp9", "ulaw,av1", "opus,h264"] {
        let formats = published(&chromium_publishes(), codecs);
        let mut offers = vec![chromium_plays()];
        if !codecs.contains("h264") {
            offers.push(firefox_plays());
        }
        for offer in offers {
            let answer = egress(&offer, &formats);
            assert_eq!(answer.matches("a=sendonly").count(), 2, "{answer}");
            assert_eq!(answer.matches("a=msid:").count(), 2, "{answer}");
            assert_eq!(answer.matches("a=msid-semantic:").count(), 1, "{answer}");
            let session = &sections(&answer)[0];
            let named = values(session, "a=msid-semantic: WMS ")[0];
            assert!(answer.contains(&format!("a=msid:{named} ")), "{answer}");
        }
    }
}

#[test]
fn opus_is_written_in_lower_case() {
    let answer = ingest(&chromium_publishes(), "opus,vp8");
    assert!(answer.contains("a=rtpmap:111 opus/48000/2\r\n"), "{answer}");
}

#[test]
fn feedback_stands_between_a_codec_and_its_parameters() {
    let answer = ingest(&chromium_publishes(), "opus,h264");
    let lines: Vec<&str> = answer.lines().collect();
    let map = lines.iter().position(|line| line.starts_with("a=rtpmap:108 H264")).unwrap();
    let fmtp = lines.iter().position(|line| line.starts_with("a=fmtp:108 ")).unwrap();
    assert!(lines[map + 1].starts_with("a=rtcp-fb:108 ") && fmtp > map + 1, "{answer}");
    for feedback in ["nack", "nack pli", "ccm fir"] {
        assert!(lines.contains(&&*format!("a=rtcp-fb:108 {feedback}")), "{feedback}: {answer}");
    }
}

#[test]
fn both_orders_and_single_media_are_answered() {
    let formats = published(&chromium_publishes(), "opus,vp8");
    for parts in [&[OPUS, VP8] as &[_], &[VP8, OPUS], &[OPUS], &[VP8]] {
        let offer = offer(parts);
        ingest(&offer, "opus,vp8");
        egress(&offer, &formats);
    }
}

#[test]
fn an_offer_both_ways_is_answered_one_way() {
    let both = offer(&[&format!("{OPUS}\na=sendrecv"), &format!("{VP8}\na=sendrecv")]);
    let answer = ingest(&both, "opus,vp8");
    assert_eq!(answer.matches("a=recvonly").count(), 2, "{answer}");
    let answer = egress(&both, &published(&chromium_publishes(), "opus,vp8"));
    assert_eq!(answer.matches("a=sendonly").count(), 2, "{answer}");
}

/// Browsers always ask for both.
#[test]
fn a_stream_of_one_medium_plays_in_a_browser() {
    for (part, kind) in [(OPUS, "audio"), (VP8, "video")] {
        let formats = published(&offer(&[part]), "opus,vp8");
        for offer in [chromium_plays(), firefox_plays()] {
            let answer = egress(&offer, &formats);
            assert_eq!(answer.matches("a=sendonly").count(), 1, "{answer}");
            for section in &sections(&answer)[1..] {
                let used = section.contains(&"a=sendonly");
                assert_eq!(used, section[0].starts_with(&format!("m={kind}")), "{answer}");
            }
        }
    }
}

#[test]
fn a_publisher_who_only_receives_one_medium_is_answered() {
    let offer = offer(&[OPUS, &format!("{VP8}\na=recvonly")]);
    let answer = ingest(&offer, "opus,vp8");
    assert_eq!(answer.matches("a=recvonly").count(), 1, "{answer}");
}

#[test]
fn a_viewer_who_does_not_say_a_direction_is_sent_only_what_there_is() {
    let formats = published(&offer(&[OPUS]), "opus,vp8");
    let answer = egress(&offer(&[OPUS, VP8]), &formats);
    assert_eq!(answer.matches("a=sendonly").count(), 1, "{answer}");
}

#[test]
fn an_offer_may_bound_the_bitrate_in_several_lines() {
    let bounded = chromium_publishes().lines().fold(String::new(), |text, line| {
        let bounds = if line.starts_with("c=") { "b=AS:900\r\nb=TIAS:900000\r\n" } else { "" };
        format!("{text}{line}\r\n{bounds}")
    });
    ingest(&bounded, "opus,vp8");
}

#[test]
fn candidates_stand_in_the_sections_that_are_used() {
    let second = VP8.replace("96", "98").replace("97", "99");
    let answer = ingest(&offer(&[VP8, &second, OPUS]), "opus,vp8");
    assert!(answer.contains("m=video 0 "), "{answer}");
    let application = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:5000";
    let answer = ingest(&offer(&[application, OPUS, VP8]), "opus,vp8");
    let first = &sections(&answer)[1];
    assert!(first[0].starts_with("m=application 0 "), "{answer}");
    assert_eq!(values(first, "a=candidate:").len(), 0, "{answer}");
    let text = offer(&["m=text 9 RTP/AVP 98\na=rtpmap:98 t140/1000", OPUS]);
    assert!(ingest(&text, "opus").contains("m=text 0 RTP/AVP 98\r\n"), "whatever that is");
    for candidate in ["192.0.2.1 31001 typ host", "2001:db8::1 31001 typ host"] {
        assert_eq!(answer.matches(candidate).count(), 2, "{answer}");
    }
}

/// RFC 8866, section 5 has single spaces; whatever is taken instead, the answer keeps to it.
#[test]
fn odd_spaces_in_a_media_line_do_not_come_back() {
    let odd = |line: &str| {
        let text = offer(&[OPUS, VP8, "m=text 9 RTP/AVP 98 99\na=rtpmap:98 t140/1000"]);
        let text = text.replace("m=text 9 RTP/AVP 98 99", line);
        answer_publisher(&text, "opus,vp8").unwrap().answer
    };
    for line in
        ["m=\ttext 9 RTP/AVP 98 99", "m=text  9 RTP/AVP\t98  99", "m=text\t9\tRTP/AVP\t98 99"]
    {
        assert!(odd(line).contains("\r\nm=text 0 RTP/AVP 98 99\r\n"), "{line:?}: {}", odd(line));
    }
    for line in ["m= audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio\t9  UDP/TLS/RTP/SAVPF\t111"] {
        let text = offer(&[OPUS]).replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", line);
        let answer = answer_publisher(&text, "opus").unwrap().answer;
        assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"), "{line:?}: {answer}");
    }
}

/// A section that is rejected is answered in its own words.
#[test]
fn no_control_character_comes_back_from_anywhere_in_an_offer() {
    let good = offer(&[OPUS, VP8, "m=text 9 RTP/AVP 98 99\na=rtpmap:98 t140/1000"]);
    let spots = good.char_indices().filter(|(_, c)| !c.is_control());
    for (at, control) in spots.flat_map(|(at, _)| [(at, "\t"), (at, "\r"), (at, "\u{e}")]) {
        let mut text = good.clone();
        text.replace_range(at..=at, control);
        if let Ok(accepted) = answer_publisher(&text, "opus,vp8") {
            let words = accepted.answer.replace("\r\n", "");
            assert!(!words.contains(char::is_control), "{text:?}: {words:?}");
        }
    }
}

/// Each section may bring a transport of its own; BUNDLE takes that of the first one accepted
/// (RFC 9143, section 7.3).
#[test]
fn the_transport_is_that_of_the_first_section_in_use() {
    let text = offer(&[VP8, OPUS]).replacen("a=ice-ufrag:abcd", "a=ice-ufrag:first", 1);
    let text = text.replacen("a=ice-ufrag:abcd", "a=ice-ufrag:other", 1);
    for (codecs, used) in [("opus,vp8", "first"), ("opus,h264", "other")] {
        let narrowed = receive(&text, codecs).unwrap().sdp();
        let parts = sections(&narrowed);
        let first = parts[1..].iter().find_map(|part| values(part, "a=ice-ufrag:").pop());
        assert_eq!(first, Some(used), "{codecs}: str0m takes the first that it finds");
        ingest(&text, codecs);
    }
}

#[test]
fn who_can_only_wait_for_dtls_is_called() {
    let passive = offer(&[OPUS, VP8]).replace("setup:actpass", "setup:passive");
    let answer = ingest(&passive, "opus,vp8");
    assert!(answer.contains("a=setup:active"), "{answer}");
    let active = offer(&[OPUS, VP8]).replace("setup:actpass", "setup:active");
    let answer = ingest(&active, "opus,vp8");
    assert!(answer.contains("a=setup:passive"), "{answer}");
}

#[test]
fn no_common_codec_is_the_peers_fault_too() {
    let fault = answer_publisher(&offer(&[VP8]), "opus,h264").err();
    assert_eq!(fault, Some(PeerFault::NoCommonCodecs));
    let fault = answer_publisher("v=0\r\n", "opus").err();
    assert_eq!(fault, Some(PeerFault::Sdp("it has no m= line".to_owned())));
}

/// What the answer to a browser that publishes says of bitrates, with the media it says it of.
fn bounds(properties: &str, offer: &str) -> Vec<String> {
    let mut bench = Bench::with(properties, None);
    let taken = Ingest::new(StreamId(1), 1, false, bench.now);
    let accepted = Peer::accept_ingest(&mut bench.ctx(), PeerId(1), offer, 31001, taken);
    let answer = accepted.unwrap().answer;
    check(offer, &answer, "recvonly");
    let mut bounds = Vec::new();
    for section in &sections(&answer)[1..] {
        let said = section.iter().filter(|l| l.starts_with("b=") || l.contains("x-google"));
        bounds.extend(said.map(|line| format!("{}: {line}", media(section)[0])));
    }
    bounds
}

#[test]
fn a_publishers_picture_is_held_to_the_settings_bitrates() {
    let plain = offer(&[OPUS, VP8]);
    let settings = |most: &str, least: &str| {
        format!("codecs=opus,vp8\nwebrtc_cc_max_bitrate={most}\nwebrtc_cc_min_bitrate={least}\n")
    };
    assert_eq!(bounds("", &plain), ["m=video: b=AS:10000"]);
    assert_eq!(bounds(&settings("2000001", "30000"), &plain), ["m=video: b=AS:2001"]);
    assert_eq!(
        bounds(&settings("900000", "300001"), &plain),
        ["m=video: b=AS:900", "m=video: a=fmtp:96 x-google-min-bitrate=301"]
    );
    assert_eq!(
        bounds(&settings("900000", "0"), &plain),
        ["m=video: b=AS:900", "m=video: a=fmtp:96 x-google-min-bitrate=0"]
    );
    for offer in [chromium_publishes(), firefox_publishes()] {
        assert_eq!(bounds(&settings("900000", "30000"), &offer), ["m=video: b=AS:900"]);
    }
    assert_eq!(bounds("", &offer(&[OPUS])), [""; 0]);
    let second = VP8.replace("96", "98").replace("97", "99");
    assert_eq!(
        bounds(&settings("900000", "30000"), &offer(&[VP8, &second])),
        ["m=video: b=AS:900"]
    );
}

/// RFC 8866, section 5: `b=` follows `c=` and comes before the attributes.
#[test]
fn the_bound_of_the_bitrate_stands_where_the_grammar_has_it() {
    let answer = ingest(&chromium_publishes(), "opus,vp8");
    let lines: Vec<&str> = answer.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("b=")).unwrap();
    assert!(lines[at - 1].starts_with("c=") && lines[at + 1].starts_with("a="), "{answer}");
}

#[test]
fn a_viewer_is_told_no_bitrate() {
    let formats = published(&chromium_publishes(), "opus,vp8");
    let mut bench = Bench::with("webrtc_cc_min_bitrate=300000\n", None);
    for offer in [chromium_plays(), firefox_plays()] {
        let sent = Egress::new(StreamId(1), &mut bench.rng);
        let accepted =
            Peer::accept_egress(&mut bench.ctx(), PeerId(1), &offer, 31001, sent, &formats);
        let answer = accepted.unwrap().answer;
        assert!(!answer.contains("\nb=") && !answer.contains("bitrate"), "{answer}");
    }
}

/// What str0m answers a viewer, who is then sent by it.
fn plain_answer(offer: &str, published: &Formats) -> String {
    let bench = &mut Bench::new();
    let narrowed = send(offer, published).unwrap();
    let creds = IceCreds { ufrag: "abcd".to_owned(), pass: "a".repeat(24) };
    let codecs = [narrowed.audio, narrowed.video];
    let (mut rtc, _) = rtc::build(&bench.ctx(), creds, codecs, 31001, true, false);
    let offer = SdpOffer::from_sdp_string(&narrowed.sdp()).unwrap();
    rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string()
}

/// The lines of each section, but for names and numbers that somebody drew, and for where the
/// candidates stand.
fn essence(answer: &str) -> Vec<BTreeSet<String>> {
    let drawn = ["o=", "a=msid", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-cand"];
    // Nobody asked whether the two forms of a header may be mixed, and they are not.
    let others = ["a=extmap-allow-mixed", "a=ssrc"];
    let is_left_out = |line: &str| drawn.iter().chain(&others).any(|other| line.starts_with(other));
    let part = |lines: &Vec<&str>| {
        lines.iter().filter(|line| !is_left_out(line)).map(|line| (*line).to_owned()).collect()
    };
    sections(answer).iter().map(part).collect()
}

#[test]
fn a_viewer_is_answered_as_str0m_answers() {
    let parts = [
        format!("{OPUS}\na=recvonly\na=extmap:4/recvonly urn:ietf:params:rtp-hdrext:sdes:mid x"),
        format!(
            "{VP8}\na=recvonly\na=extmap:13 urn:3gpp:video-orientation\na=rtcp-fb:97 nack\n\
             a=rtcp-fb:* ccm fir\na=rtcp-fb:96 goog-remb"
        ),
    ];
    let both = offer(&[&parts[0], &parts[1]]);
    for codecs in ["opus,vp8", "alaw,vp9", "ulaw,av1", "opus,h264"] {
        let formats = published(&chromium_publishes(), codecs);
        for offer in [chromium_plays(), firefox_plays(), both.clone()] {
            if send(&offer, &formats).is_err() {
                continue;
            }
            let (ours, plain) = (egress(&offer, &formats), plain_answer(&offer, &formats));
            let sources = |answer: &str| answer.matches("a=ssrc").count();
            assert_eq!(essence(&ours), essence(&plain), "{ours}");
            assert_eq!(sources(&ours), sources(&plain), "{ours}");
        }
    }
}

/// RFC 4585, section 4.2: no feedback is answered that was not offered. But the WebSDK's
/// `stripCodecs` may have taken all of a payload type's lines along with those of another.
#[test]
fn a_viewer_is_answered_the_feedback_that_it_offers() {
    let feedback = |offered: &str| {
        let formats = published(&chromium_publishes(), "opus,vp8");
        let video = VP8.replace("a=rtcp-fb:96 nack\na=rtcp-fb:96 nack pli\n", offered);
        let answer = egress(&offer(&[OPUS, &video]), &formats);
        values(&answer.lines().collect::<Vec<_>>(), "a=rtcp-fb:96 ").join(", ")
    };
    assert_eq!(feedback("a=rtcp-fb:96 nack pli\na=rtcp-fb:96 nack \n"), "nack, nack pli");
    assert_eq!(feedback("a=rtcp-fb:96 transport-cc\na=rtcp-fb:97 nack\n"), "transport-cc");
    assert_eq!(feedback("a=rtcp-fb:* nack\na=rtcp-fb:96 ack rpsi\n"), "nack");
    assert_eq!(feedback(""), "goog-remb, ccm fir, nack, nack pli");
}

/// It may be used later, so that it is not rejected.
#[test]
fn a_viewers_section_in_which_nothing_flows_is_inactive() {
    let formats = published(&chromium_publishes(), "opus,vp8");
    let answer = egress(&offer(&[VP8, &format!("{OPUS}\na=inactive")]), &formats);
    let parts = sections(&answer);
    assert_eq!(values(&parts[0], "a=group:BUNDLE "), ["0 1"]);
    assert_eq!(parts[2][0], "m=audio 9 UDP/TLS/RTP/SAVPF 111");
    assert!(parts[2].contains(&"a=inactive") && !parts[1].contains(&"a=inactive"), "{answer}");
    assert!(!parts[2].iter().any(|line| line.contains("msid:")), "{answer}");
}

/// A rejected section keeps its place and its name.
#[test]
fn a_viewers_section_of_another_kind_is_rejected() {
    let application = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:5000";
    let second = VP8.replace("96", "98").replace("97", "99");
    let formats = published(&chromium_publishes(), "opus,vp8");
    let answer = egress(&offer(&[application, OPUS, VP8, &second]), &formats);
    let parts = sections(&answer);
    assert_eq!(parts[1][0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    assert_eq!(parts[1][1..], ["c=IN IP4 0.0.0.0", "a=mid:0", "a=inactive"]);
    assert_eq!(parts[4][0], "m=video 0 UDP/TLS/RTP/SAVPF 98 99");
    assert_eq!(values(&parts[0], "a=group:BUNDLE "), ["1 2"]);
}

#[test]
fn a_viewers_sections_keep_their_names() {
    let formats = published(&chromium_publishes(), "opus,vp8");
    let named = |mid: &str| {
        offer(&[OPUS])
            .replace("mid:0", &format!("mid:{mid}"))
            .replace("BUNDLE 0", &format!("BUNDLE {mid}"))
    };
    for mid in ["a", "sound-1", "{0123456789abc}+"] {
        let answer = egress(&named(mid), &formats);
        assert!(answer.contains(&format!("\r\na=mid:{mid}\r\n")), "{answer}");
    }
    for mid in ["", "0123456789abcdefg", "\u{e9}"] {
        let fault = answer_viewer(&named(mid), &formats).err();
        let told = "an a=mid is not of 1 to 16 visible characters".to_owned();
        assert_eq!(fault, Some(PeerFault::Sdp(told)), "{mid:?}");
    }
}

/// What a viewer must say of its transport, and what it is told if it does not.
#[test]
fn a_viewers_transport_is_read_with_care() {
    let formats = published(&chromium_publishes(), "opus,vp8");
    let good = offer(&[OPUS, VP8]);
    let digest = "8F:4F:8A:38:DC:06:88:57:C1:32:A7:C5:37:AC:AB:37:19:6B:DC:77:86:D8:29:32:F0:AD:05:\
        13:BF:91:D6:D9";
    assert!(good.contains(digest));
    let session = good
        .replace(TRANSPORT, "a=rtcp-mux\r\n")
        .replace("t=0 0\r\n", &format!("t=0 0\r\n{TRANSPORT}"));
    egress(&session.replace("a=setup:actpass\r\n", ""), &formats);
    let mut lite = good.clone();
    lite.insert_str(good.find("a=group").unwrap(), "a=ice-lite\r\n");
    let one_mid = good.replace("a=mid:1", "a=mid:0");
    let of_octets = "its fingerprint is not of 32 octets";
    let no_ice = "it has no ICE user name fragment and password";
    // Whether there is any at all is seen before; here it is of a section that is rejected.
    let text = "m=text 9 RTP/AVP 98";
    let elsewhere = |line: &str| {
        offer(&[text, OPUS])
            .rsplit_once(line)
            .map(|(start, end)| format!("{start}a=other:{end}"))
            .unwrap()
    };
    for (bad, why) in [
        (good.replace(digest, "8F:4F"), of_octets),
        (good.replace("8F:4F", "8F:4"), of_octets),
        (good.replace("8F:4F", "8F:+F"), of_octets),
        (good.replace("8F:4F", "8F:\u{e9}"), of_octets),
        (elsewhere("a=ice-pwd:"), no_ice),
        (elsewhere("a=ice-ufrag:"), no_ice),
        (elsewhere("a=fingerprint:sha-256 "), "it has no SHA-256 fingerprint"),
        (lite, "both sides are ICE-lite"),
        (one_mid, "two of its sections have one a=mid"),
        (good.replace("a=mid:1", "a=other:1"), "a section has no a=mid"),
        (good.replace("BUNDLE 0 1", "BUNDLE 0"), "its sections do not share a transport by BUNDLE"),
        (
            good.replace("a=group:BUNDLE", "a=group:LS"),
            "its sections do not share a transport by BUNDLE",
        ),
        (
            good.replace("UDP/TLS/RTP/SAVPF 111", "RTP/AVP 111"),
            "its media are not UDP/TLS/RTP/SAVPF",
        ),
    ] {
        let fault = answer_viewer(&bad, &formats).err();
        assert_eq!(fault, Some(PeerFault::Sdp(why.to_owned())), "{bad}");
    }
}

#[test]
fn a_viewer_who_can_only_wait_for_dtls_is_called() {
    let formats = published(&chromium_publishes(), "opus,vp8");
    for (theirs, ours) in [("passive", "active"), ("active", "passive"), ("holdconn", "passive")] {
        let offer = offer(&[OPUS, VP8]).replace("setup:actpass", &format!("setup:{theirs}"));
        let answer = egress(&offer, &formats);
        assert_eq!(answer.matches(&format!("a=setup:{ours}")).count(), 2, "{answer}");
    }
}

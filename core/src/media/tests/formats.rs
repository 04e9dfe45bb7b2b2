//! Which variant of a codec is taken, and who can decode it.

use str0m::format::{Codec, CodecSpec, FormatParams};
use str0m::media::Frequency;

use super::*;
use crate::media::format::{
    Offered, by_encoding_name, choose_to_receive, choose_to_send, is_entry,
};

fn spec(codec: Codec, parameters: &str) -> CodecSpec {
    let format = FormatParams::parse_line(parameters);
    CodecSpec { codec, clock_rate: Frequency::NINETY_KHZ, channels: None, format }
}

fn h264(profile: &str, mode: u8) -> CodecSpec {
    spec(Codec::H264, &format!("packetization-mode={mode};profile-level-id={profile}"))
}

fn offered(specs: &[CodecSpec]) -> Vec<Offered> {
    (96..).zip(specs).map(|(pt, spec)| Offered { pt, rtx: None, spec: *spec }).collect()
}

#[test]
fn h264_goes_to_whoever_decodes_its_profile_in_its_mode() {
    // Constrained baseline, baseline, main, high.
    let profiles = ["42e01f", "42001f", "4d001f", "640c1f"];
    let decodes = |stream: usize, decoder: usize| stream <= 1 || stream == decoder;
    for (s, stream) in profiles.iter().enumerate() {
        for (d, decoder) in profiles.iter().enumerate() {
            for (stream_mode, decoder_mode) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let published = h264(stream, stream_mode);
                let offered = offered(&[h264(decoder, decoder_mode)]);
                assert_eq!(
                    choose_to_send(&offered, &published).is_some(),
                    decodes(s, d) && stream_mode == decoder_mode,
                    "{stream} in mode {stream_mode} to {decoder} in mode {decoder_mode}"
                );
            }
        }
    }
}

#[test]
fn the_level_of_h264_does_not_keep_a_viewer_out() {
    let offered = offered(&[h264("42e015", 1), h264("42e034", 1)]);
    assert_eq!(choose_to_send(&offered, &h264("42e01f", 1)).unwrap().pt, 96);
}

#[test]
fn the_very_format_is_preferred_to_one_that_fits() {
    let offered = offered(&[h264("640c1f", 1), h264("42001f", 1), h264("42e01f", 1)]);
    assert_eq!(choose_to_send(&offered, &h264("42e01f", 1)).unwrap().pt, 98);
    assert_eq!(choose_to_send(&offered, &h264("42001f", 1)).unwrap().pt, 97);
    assert_eq!(choose_to_send(&offered, &h264("640c1f", 1)).unwrap().pt, 96);
}

#[test]
fn of_h264_the_most_widely_decoded_is_received() {
    let h264_only = names("h264");
    let pick = |specs: &[CodecSpec]| choose_to_receive(&offered(specs), &h264_only).unwrap().pt;
    assert_eq!(pick(&[h264("640c1f", 1), h264("4d001f", 1), h264("42001f", 1)]), 98);
    assert_eq!(pick(&[h264("42001f", 1), h264("42e01f", 1)]), 97);
    assert_eq!(pick(&[h264("42e01f", 0), h264("42e01f", 1)]), 97);
    assert_eq!(pick(&[h264("42e01f", 0), h264("640c1f", 1)]), 97, "mode 1 counts for more");
    assert_eq!(pick(&[spec(Codec::H264, "")]), 96, "without parameters it is baseline, mode 0");
    assert_eq!(pick(&[h264("4d801f", 1), h264("42001f", 1)]), 96, "main within baseline's bounds");
}

#[test]
fn vp9_and_av1_are_received_in_profile_0_only() {
    for (name, codec, key) in [("vp9", Codec::Vp9, "profile-id"), ("av1", Codec::Av1, "profile")] {
        let profile = |n: u8| spec(codec, &format!("{key}={n}"));
        let all = offered(&[profile(2), profile(1), profile(0), spec(codec, "")]);
        assert_eq!(choose_to_receive(&all, &names(name)).unwrap().pt, 98);
        assert_eq!(choose_to_receive(&all[..2], &names(name)), None);
        assert_eq!(choose_to_receive(&all[3..], &names(name)).unwrap().pt, 99);
        for published in [profile(0), spec(codec, "")] {
            assert_eq!(choose_to_send(&all[..2], &published), None);
            assert!(choose_to_send(&all[2..], &published).is_some());
        }
    }
}

#[test]
fn another_codec_or_another_clock_never_fits() {
    let mut odd = spec(Codec::Vp8, "");
    odd.clock_rate = Frequency::FORTY_EIGHT_KHZ;
    assert_eq!(choose_to_send(&offered(&[odd]), &spec(Codec::Vp8, "")), None);
    assert_eq!(choose_to_send(&offered(&[spec(Codec::Vp9, "")]), &spec(Codec::Vp8, "")), None);
    assert_eq!(choose_to_send(&[], &spec(Codec::Vp8, "")), None);
}

#[test]
fn encoding_names_ignore_case() {
    for name in ["OPUS", "opus", "Opus"] {
        assert_eq!(by_encoding_name(name), Some(Codec::Opus));
    }
    assert_eq!(by_encoding_name("vp8"), Some(Codec::Vp8));
    for name in ["", "rtx", "red", "telephone-event", "H265", "G722"] {
        assert_eq!(by_encoding_name(name), None, "{name}");
    }
}

#[test]
fn a_decoder_begins_at_key_frames_and_parameter_sets() {
    let vp8_key = [0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a];
    assert!(is_entry(Codec::Vp8, &vp8_key));
    assert!(!is_entry(Codec::Vp8, &[0x10, 0x01, 0, 0]), "an interframe");
    assert!(!is_entry(Codec::Vp8, &[0x00, 0x00, 0, 0]), "the middle of a frame");
    assert!(is_entry(Codec::H264, &[0x67, 0x42, 0xe0, 0x1f]), "SPS");
    assert!(is_entry(Codec::H264, &[0x65, 0x88]), "IDR");
    assert!(is_entry(Codec::H264, &[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68]), "STAP-A with SPS");
    assert!(!is_entry(Codec::H264, &[0x41, 0x9a]), "a slice of another frame");
    assert!(is_entry(Codec::Opus, &[1]));
    for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264] {
        assert!(!is_entry(codec, &[]), "{codec:?}");
    }
}

fn formats(audio: Option<CodecSpec>, video: Option<CodecSpec>) -> Formats {
    Formats { audio, video }
}

#[test]
fn a_stream_may_go_on_with_other_parameters_of_its_encoder() {
    let opus = |parameters: &str| {
        let offer = format!(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=rtpmap:111 opus/48000/2\na=fmtp:111 {parameters}"
        );
        published(&super::offer(&[&offer, VP8]), "opus,vp8")
    };
    let plain = opus("minptime=10;useinbandfec=1");
    for other in ["minptime=20;useinbandfec=1", "minptime=10;stereo=1", "useinbandfec=0"] {
        let other = opus(other);
        assert_ne!(plain, other, "else this shows nothing");
        assert!(plain.can_become(&other) && other.can_become(&plain), "{other:?}");
    }
    // Whoever decodes main decodes baseline, and not the other way round.
    let [main, baseline] =
        ["4d001f", "42e01f"].map(|profile| formats(None, Some(h264(profile, 1))));
    assert!(main.can_become(&baseline));
    assert!(!baseline.can_become(&main));
}

#[test]
fn a_stream_cannot_go_on_with_another_codec_or_other_media() {
    let of = |codecs| published(&chromium_publishes(), codecs);
    let before = of("opus,vp8");
    assert!(before.can_become(&before));
    for other in ["opus,vp9", "opus,h264", "alaw,vp8", "ulaw,vp8"] {
        assert!(!before.can_become(&of(other)) && !of(other).can_become(&before), "{other}");
    }
    for less in [formats(before.audio, None), formats(None, before.video), formats(None, None)] {
        assert!(!before.can_become(&less) && !less.can_become(&before), "{less:?}");
    }
}

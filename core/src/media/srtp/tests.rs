//! Sealing and opening, against the RFCs' own packets and against the same rules written down once
//! more on the bare ciphers.

use proptest::prelude::*;
use str0m::crypto::dtls::KeyingMaterial;

use self::plain::{Plain, Way};
use super::*;

mod plain;

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AES128_CM_SHA1_80, SrtpProfile::AEAD_AES_128_GCM, SrtpProfile::AEAD_AES_256_GCM];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Keys of which no byte is like another's neighbour.
fn keys(profile: SrtpProfile, active: bool) -> Keys {
    let len = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => 60,
        SrtpProfile::AEAD_AES_128_GCM => 56,
        SrtpProfile::AEAD_AES_256_GCM => 88,
        other => panic!("{other:?} has no keys here"),
    };
    let material: Vec<u8> = (0..len).map(|at: u8| at.wrapping_mul(37) ^ 0xa5).collect();
    Keys { material: KeyingMaterial::new(&material), profile, active }
}

fn srtp(profile: SrtpProfile, active: bool) -> Srtp {
    Srtp::new(&keys(profile, active), &crate::crypto_provider()).unwrap()
}

fn far(profile: SrtpProfile, active: bool, way: Way) -> Plain {
    Plain::new(&keys(profile, active), way)
}

/// A header without extensions.
fn head(seq: u16, ssrc: u32) -> Vec<u8> {
    let mut head = vec![0x80, 96];
    head.extend(seq.to_be_bytes());
    head.extend(77u32.to_be_bytes());
    head.extend(ssrc.to_be_bytes());
    head
}

fn seal_rtp(srtp: &mut Srtp, head: &[u8], payload: &[u8], index: u64) -> Vec<u8> {
    let ssrc = u32::from_be_bytes(head[8..12].try_into().unwrap());
    let mut out = vec![0xee; head.len() + payload.len() + RTP_SEAL_BYTES_MAX + SLACK_BYTES];
    out[..head.len()].copy_from_slice(head);
    let len = srtp.seal_rtp(&mut out, head.len(), payload, ssrc, index).unwrap();
    assert_eq!(len, head.len() + payload.len() + srtp.rtp_seal_bytes());
    out.truncate(len);
    out
}

/// A receiver report without blocks, and something behind it.
fn rtcp(ssrc: u32, behind: &[u8]) -> Vec<u8> {
    let mut plain = vec![0x80, 201, 0, 1];
    plain.extend(ssrc.to_be_bytes());
    plain.extend(behind);
    plain
}

fn seal_rtcp(srtp: &mut Srtp, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0xee; plain.len() + RTCP_SEAL_BYTES_MAX + SLACK_BYTES];
    out[..plain.len()].copy_from_slice(plain);
    let len = srtp.seal_rtcp(&mut out, plain.len()).unwrap();
    out.truncate(len);
    out
}

fn open(srtp: &mut Srtp, sealed: &[u8]) -> Option<Vec<u8>> {
    let mut plain = [0; RTCP_BYTES_MAX + SLACK_BYTES];
    srtp.open_rtcp(sealed, &mut plain).map(<[u8]>::to_vec)
}

/// RFC 3711, appendix B.3.
#[test]
fn keys_are_derived_as_in_the_rfc() {
    let master = Master {
        key: bytes("E1F97A0D3E018BE0D64FA32C06DE4139").try_into().unwrap(),
        salt: bytes("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap(),
    };
    let master: Master<16, 14> = master;
    let provider = crate::crypto_provider().srtp_provider;
    let round = |key: &[u8; 16], input: &[u8; 16], output: &mut [u8; 32]| {
        provider.srtp_aes_128_ecb_round(key, input, output);
    };
    let key: [u8; 16] = master.derive(RTP.key, round);
    assert_eq!(key, *bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    let salt: [u8; 14] = master.derive(RTP.salt, round);
    assert_eq!(salt, *bytes("30CBBC08863D8C85D49DB34A9AE1"));
    let auth: [u8; 94] = master.derive(RTP.auth, round);
    let expected = "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
        E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
        6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2";
    assert_eq!(auth, *bytes(expected));
}

/// Seals and opens with these session keys, which the RFC's examples begin with.
fn of_session_keys(key_bytes: usize, rtcp_index: u32) -> Srtp {
    let provider = crate::crypto_provider();
    let key: Vec<u8> = (0u8..).take(key_bytes).collect();
    let cipher = |encrypt| {
        let cipher = match <[u8; 16]>::try_from(key.as_slice()) {
            Ok(key) => {
                let ciphers = provider.srtp_provider.aead_aes_128_gcm();
                Gcm::Aes128(ciphers.create_cipher(key, encrypt))
            }
            Err(_) => {
                let key = key.as_slice().try_into().unwrap();
                let ciphers = provider.srtp_provider.aead_aes_256_gcm();
                Gcm::Aes256(ciphers.create_cipher(key, encrypt))
            }
        };
        Cipher::Gcm { cipher, salt: *b"Quid pro quo" }
    };
    Srtp {
        rtp: cipher(true),
        rtcp: cipher(true),
        rtcp_in: cipher(false),
        hmac: provider.sha1_hmac_provider,
        rtcp_index,
        senders: Vec::new(),
    }
}

/// RFC 7714, sections 16.1.1 and 16.2.1.
#[test]
fn rtp_is_sealed_as_in_the_rfc() {
    let sealed = [
        (
            16,
            "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf
            8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            32,
            "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799
            b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ];
    let head = bytes("8040f17b 8041f8d3 5501a0b2");
    for (key_bytes, expected) in sealed {
        let mut srtp = of_session_keys(key_bytes, 0);
        let text = b"Gallia est omnis divisa in partes tres";
        let packet = seal_rtp(&mut srtp, &head, text, 0xf17b);
        assert_eq!(packet, [head.clone(), bytes(expected)].concat(), "{key_bytes}");
    }
}

/// RFC 7714, sections 17.1 and 17.2.
#[test]
fn rtcp_is_sealed_and_opened_as_in_the_rfc() {
    let text = bytes(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef
        deadbeef deadbeef deadbeef deadbeef",
    );
    let sealed = [
        (
            16,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1
            730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            32,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1
            110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ];
    for (key_bytes, expected) in sealed {
        let mut srtp = of_session_keys(key_bytes, 0x5d4);
        assert_eq!(seal_rtcp(&mut srtp, &text), bytes(expected), "{key_bytes}");
        assert_eq!(open(&mut srtp, &bytes(expected)).unwrap(), text, "{key_bytes}");
    }
}

#[test]
fn the_roll_over_counter_goes_on_with_the_sequence_number() {
    for profile in PROFILES {
        let mut near = srtp(profile, false);
        let far = far(profile, false, Way::Rtp);
        for index in [0, 0xffff, 0x1_0000, 0x1_ffff, 0x2_0000, (1 << 48) - 1] {
            let seq = u16::try_from(index & 0xffff).unwrap();
            let packet = seal_rtp(&mut near, &head(seq, 9), b"payload", index);
            let opened = far.open_rtp(&packet, 12, index).unwrap();
            assert_eq!(opened, b"payload", "{index} {profile}");
            assert_eq!(far.open_rtp(&packet, 12, index ^ 0x1_0000), None, "{index} {profile}");
        }
    }
}

#[test]
fn what_there_is_no_room_for_is_not_sealed() {
    for profile in PROFILES {
        let mut srtp = srtp(profile, true);
        let short = 12 + 100 + srtp.rtp_seal_bytes() - 1;
        let mut out = vec![0; short];
        assert_eq!(srtp.seal_rtp(&mut out, 12, &[1; 100], 9, 1), None, "{profile}");
        let mut out = vec![0; RTCP_BYTES_MAX + 100];
        assert_eq!(srtp.seal_rtcp(&mut out, 7), None, "{profile}: not even a header");
        let short = 40 + srtp.rtp_seal_bytes() + INDEX_BYTES - 1;
        assert_eq!(srtp.seal_rtcp(&mut out[..short], 40), None, "{profile}");
    }
}

#[test]
fn every_report_has_a_number_of_its_own() {
    for profile in PROFILES {
        let mut near = srtp(profile, false);
        let far = far(profile, false, Way::Rtcp);
        for index in 0..3 {
            let plain = rtcp(1, &[7; 20]);
            let sealed = seal_rtcp(&mut near, &plain);
            assert_eq!(far.open_rtcp(&sealed), Some((index, plain)), "{profile}");
        }
    }
}

/// A viewer, as we hear it: it is the client, or the server.
fn viewer(profile: SrtpProfile, active: bool) -> (Srtp, Plain) {
    (srtp(profile, active), far(profile, !active, Way::Rtcp))
}

#[test]
fn nothing_is_heard_twice_or_long_after_what_came_later() {
    for profile in PROFILES {
        let (mut near, far) = viewer(profile, false);
        let mut heard =
            |index| open(&mut near, &far.seal_rtcp(&rtcp(1, &[]), index, true)).is_some();
        let heard = [5, 5, 7, 6, 6, 80, 17, 16, 81, 17, 18].map(&mut heard);
        let new = [true, false, true, true, false, true, true, false, true, false, true];
        assert_eq!(heard, new, "{profile}");
    }
}

#[test]
fn what_was_tampered_with_is_refused_and_does_not_hide_what_was_not() {
    for profile in PROFILES {
        let (mut near, far) = viewer(profile, true);
        let plain = rtcp(1, &[9; 24]);
        let sealed = far.seal_rtcp(&plain, 3, true);
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 0x10;
            assert_eq!(open(&mut near, &other), None, "byte {at} {profile}");
        }
        for len in 0..sealed.len() {
            assert_eq!(open(&mut near, &sealed[..len]), None, "{len} bytes {profile}");
        }
        assert_eq!(open(&mut near, &sealed), Some(plain), "{profile}");
    }
}

#[test]
fn what_is_not_encrypted_or_not_from_the_far_side_is_refused() {
    for profile in PROFILES {
        let (mut near, far) = viewer(profile, false);
        let plain = rtcp(1, &[9; 24]);
        assert_eq!(open(&mut near, &far.seal_rtcp(&plain, 3, false)), None, "{profile}");
        assert_eq!(open(&mut near, &plain), None, "{profile}");
        let ours = seal_rtcp(&mut near, &plain);
        assert_eq!(open(&mut near, &ours), None, "{profile}: it came back");
        let long = rtcp(1, &[9; RTCP_BYTES_MAX - RTCP_HEAD_BYTES + 4]);
        assert_eq!(open(&mut near, &far.seal_rtcp(&long, 4, true)), None, "{profile}");
        let tag_bytes = if profile == SrtpProfile::AES128_CM_SHA1_80 { 0 } else { 16 };
        let longest = rtcp(1, &vec![9; RTCP_BYTES_MAX - RTCP_HEAD_BYTES - tag_bytes]);
        assert_eq!(open(&mut near, &far.seal_rtcp(&longest, 5, true)), Some(longest), "{profile}");
    }
}

#[test]
fn senders_of_one_peer_are_bounded_and_count_each_for_itself() {
    for profile in PROFILES {
        let (mut near, far) = viewer(profile, false);
        let mut heard = |ssrc: usize, index| {
            let plain = rtcp(u32::try_from(ssrc).unwrap(), &[]);
            open(&mut near, &far.seal_rtcp(&plain, index, true)).is_some()
        };
        for ssrc in 0..SENDERS_MAX {
            assert!(heard(ssrc, 1), "{profile}");
        }
        assert!(!heard(SENDERS_MAX, 1), "{profile}");
        for ssrc in 0..SENDERS_MAX {
            assert!(!heard(ssrc, 1) && heard(ssrc, 2), "{profile}");
        }
        assert_eq!(near.senders.len(), SENDERS_MAX);
    }
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened_by_the_bare_ciphers(
        profile in prop::sample::select(&PROFILES),
        active: bool,
        ssrc: u32,
        index in 0u64..1 << 48,
        behind in prop::collection::vec(any::<u8>(), 0..9),
        payload in prop::collection::vec(any::<u8>(), 0..1_500),
    ) {
        let mut near = srtp(profile, active);
        let mut head = head(u16::try_from(index & 0xffff).unwrap(), ssrc);
        head.extend(behind.iter().cycle().take(behind.len() * 4));
        let packet = seal_rtp(&mut near, &head, &payload, index);
        let opened = far(profile, active, Way::Rtp).open_rtp(&packet, head.len(), index);
        prop_assert_eq!(opened.as_ref(), Some(&payload));
        prop_assert_eq!(far(profile, !active, Way::Rtp).open_rtp(&packet, head.len(), index), None);
        prop_assert_eq!(&packet[..head.len()], &head);
    }

    #[test]
    fn reports_go_there_and_back(
        profile in prop::sample::select(&PROFILES),
        active: bool,
        ssrc: u32,
        index in 0u32..1 << 31,
        behind in prop::collection::vec(any::<u8>(), 0..1_400),
    ) {
        let plain = rtcp(ssrc, &behind);
        let (mut near, back) = viewer(profile, active);
        prop_assert_eq!(open(&mut near, &back.seal_rtcp(&plain, index, true)), Some(plain.clone()));
        near.rtcp_index = index;
        let sealed = seal_rtcp(&mut near, &plain);
        prop_assert!(sealed.len() <= plain.len() + RTCP_SEAL_BYTES_MAX);
        let opened = far(profile, active, Way::Rtcp).open_rtcp(&sealed);
        prop_assert_eq!(opened, Some((index, plain)));
        prop_assert_eq!(near.rtcp_index, (index + 1) % (1 << 31));
    }

    #[test]
    fn nonsense_is_refused_without_harm(
        profile in prop::sample::select(&PROFILES),
        bytes in prop::collection::vec(any::<u8>(), 0..1_700),
    ) {
        prop_assert_eq!(open(&mut srtp(profile, true), &bytes), None);
    }

    #[test]
    fn the_replay_window_is_a_list_of_what_came(
        indices in prop::collection::vec(
            prop_oneof![0u32..200, 1_000u32..1_100, (1u32 << 31) - 80..1 << 31],
            1..80,
        ),
    ) {
        let mut window = ReplayWindow::default();
        let mut came: Vec<u32> = Vec::new();
        for index in indices {
            let is_old = came.iter().any(|other| *other >= index.saturating_add(64));
            let is_new = !is_old && !came.contains(&index);
            prop_assert_eq!(window.admits(index), is_new, "{} after {:?}", index, came);
            if is_new {
                came.push(index);
            }
        }
    }
}

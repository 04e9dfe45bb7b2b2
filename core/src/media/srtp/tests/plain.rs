//! SRTP and SRTCP in so many words, on the bare ciphers (RFC 3711; RFC 7714).

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use str0m::crypto::dtls::SrtpProfile;

use super::Keys;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Rtp,
    Rtcp,
}

/// One direction of one peer.
pub(super) struct Plain {
    is_gcm: bool,
    key: Vec<u8>,
    auth: Vec<u8>,
    salt: Vec<u8>,
}

impl Plain {
    /// What the holder of the keys seals with.
    pub(super) fn new(keys: &Keys, way: Way) -> Self {
        let is_gcm = keys.profile != SrtpProfile::AES128_CM_SHA1_80;
        let key_bytes = if keys.profile == SrtpProfile::AEAD_AES_256_GCM { 32 } else { 16 };
        let salt_bytes = if is_gcm { 12 } else { 14 };
        let cut = |from: usize, len: usize| &keys.material[from..from + len];
        let (key, salt) = if keys.active {
            (cut(0, key_bytes), cut(2 * key_bytes, salt_bytes))
        } else {
            (cut(key_bytes, key_bytes), cut(2 * key_bytes + salt_bytes, salt_bytes))
        };
        let first = if way == Way::Rtp { 0 } else { 3 };
        let derive = |label: u8, len: usize| {
            let mut iv = [0; 16];
            iv[..salt_bytes].copy_from_slice(salt);
            iv[7] ^= first + label;
            count(key, iv, vec![0; len])
        };
        let (auth, derived_salt) = (derive(1, 20), derive(2, salt_bytes));
        Self { is_gcm, key: derive(0, key_bytes), auth, salt: derived_salt }
    }

    pub(super) fn open_rtp(&self, packet: &[u8], head: usize, index: u64) -> Option<Vec<u8>> {
        let ssrc = &packet[8..12];
        let index = index.to_be_bytes();
        if self.is_gcm {
            let nonce = [&[0, 0], ssrc, &index[2..]].concat();
            return self.open(&nonce, &packet[..head], &packet[head..]);
        }
        let (signed, tag) = packet.split_at(packet.len() - 10);
        (self.sign(&[signed, &index[2..6]].concat()) == tag).then_some(())?;
        Some(count(&self.key, self.iv(ssrc, &index[2..]), signed[head..].to_vec()))
    }

    pub(super) fn seal_rtcp(&self, plain: &[u8], index: u32, encrypt: bool) -> Vec<u8> {
        let (head, text) = plain.split_at(8);
        let word = if encrypt { index | 1 << 31 } else { index }.to_be_bytes();
        let number = index.to_be_bytes();
        let (ssrc, wide) = (&head[4..], [&[0, 0], number.as_slice()].concat());
        if self.is_gcm {
            let nonce = self.nonce(&[&[0, 0], ssrc, &wide].concat());
            // What is not encrypted is authenticated all the same.
            let (aad, shown, hidden) = match encrypt {
                true => ([head, &word].concat(), head, text),
                false => ([plain, &word].concat(), plain, [].as_slice()),
            };
            let mut sealed = hidden.to_vec();
            self.gcm().seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).unwrap();
            return [shown, &sealed, &word].concat();
        }
        let text = match encrypt {
            true => count(&self.key, self.iv(ssrc, &wide), text.to_vec()),
            false => text.to_vec(),
        };
        let signed = [head, &text, &word].concat();
        let tag = self.sign(&signed);
        [signed, tag].concat()
    }

    /// The packet's number, and the packet.
    pub(super) fn open_rtcp(&self, sealed: &[u8]) -> Option<(u32, Vec<u8>)> {
        let (head, ssrc) = (&sealed[..8], &sealed[4..8]);
        let end = sealed.len() - if self.is_gcm { 4 } else { 14 };
        let word = &sealed[end..end + 4];
        let index = u32::from_be_bytes(word.try_into().unwrap()).checked_sub(1 << 31)?;
        let wide = [&[0, 0], index.to_be_bytes().as_slice()].concat();
        let text = if self.is_gcm {
            let nonce = [&[0, 0], ssrc, &wide].concat();
            self.open(&nonce, &[head, word].concat(), &sealed[8..end])?
        } else {
            (self.sign(&sealed[..end + 4]) == sealed[end + 4..]).then_some(())?;
            count(&self.key, self.iv(ssrc, &wide), sealed[8..end].to_vec())
        };
        Some((index, [head, &text].concat()))
    }

    /// The salt, the source and the packet's number, each in its place (RFC 3711, section 4.1.1).
    fn iv(&self, ssrc: &[u8], index: &[u8]) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[4..8].iter_mut().zip(ssrc).for_each(|(byte, other)| *byte ^= other);
        iv[8..14].iter_mut().zip(index).for_each(|(byte, other)| *byte ^= other);
        iv
    }

    fn nonce(&self, numbers: &[u8]) -> Nonce {
        let mixed: Vec<u8> = self.salt.iter().zip(numbers).map(|(a, b)| a ^ b).collect();
        Nonce::try_assume_unique_for_key(&mixed).unwrap()
    }

    fn gcm(&self) -> LessSafeKey {
        let algorithm = if self.key.len() == 16 { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        LessSafeKey::new(UnboundKey::new(algorithm, &self.key).unwrap())
    }

    fn open(&self, numbers: &[u8], aad: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let mut text = text.to_vec();
        let opened = self.gcm().open_in_place(self.nonce(numbers), Aad::from(aad), &mut text);
        opened.ok().map(|opened| opened.to_vec())
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.auth);
        hmac::sign(&key, text).as_ref()[..10].to_vec()
    }
}

/// AES in counter mode, which is its own inverse.
fn count(key: &[u8], iv: [u8; 16], mut text: Vec<u8>) -> Vec<u8> {
    let algorithm = if key.len() == 16 { &cipher::AES_128 } else { &cipher::AES_256 };
    let key = EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).unwrap()).unwrap();
    key.less_safe_encrypt(&mut text, EncryptionContext::Iv128((&iv).into())).unwrap();
    text
}

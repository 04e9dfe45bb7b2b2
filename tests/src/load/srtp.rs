//! SRTP as a viewer needs it: opens packets, opens and seals reports (RFC 3711, RFC 7714).

use std::fmt;

use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_256, Algorithm, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::{constant_time, hmac};
use str0m::crypto::dtls::SrtpProfile;

use super::keys::Keys;

const SALT_BYTES: usize = 14;
const GCM_TAG_BYTES: usize = 16;
const SHA1_TAG_BYTES: usize = 10;
const AUTH_KEY_BYTES: usize = 20;
/// Where the encrypted part of RTCP begins.
const RTCP_HEAD_BYTES: usize = 8;
const RTCP_INDEX_BYTES: usize = 4;
/// Marks an RTCP packet as encrypted, beside its index of 31 bits.
const ENCRYPTED: u32 = 1 << 31;

/// The three uses that a viewer has for the keys of its association.
pub(super) struct Srtp {
    pub(super) profile: SrtpProfile,
    rtp_in: Half,
    rtcp_in: Half,
    rtcp_out: Half,
    rtcp_index: u32,
}

/// One direction of one protocol.
struct Half {
    cipher: Cipher,
    salt: [u8; SALT_BYTES],
}

enum Cipher {
    Gcm(Box<LessSafeKey>),
    Counter(Box<Counter>),
}

/// AES in counter mode, and what makes up for its lack of a tag.
struct Counter {
    key: EncryptingKey,
    auth: hmac::Key,
}

/// Labels of key derivation (RFC 3711, section 4.3); the authentication key and the salt follow.
const RTP_LABEL: u8 = 0;
const RTCP_LABEL: u8 = 3;

impl Srtp {
    /// `None` if the keys are not as long as their profile wants.
    pub(super) fn new(keys: &Keys) -> Option<Self> {
        let (ours, theirs) = masters(keys)?;
        let half = |(key, salt), label| Half::derive(keys.profile, key, salt, label);
        Some(Self {
            profile: keys.profile,
            rtp_in: half(theirs, RTP_LABEL)?,
            rtcp_in: half(theirs, RTCP_LABEL)?,
            rtcp_out: half(ours, RTCP_LABEL)?,
            // str0m has the same keys and counts from 0. It is never asked to seal, but no mistake
            // there shall lead to one index for two packets.
            rtcp_index: 1 << 30,
        })
    }

    /// Opens an RTP packet in place, whose header is `head` bytes long and whose sequence number
    /// with the rollovers before it is `index`. Answers with the payload, padding included; `None`
    /// if it is not authentic.
    pub(super) fn open_rtp<'p>(
        &self,
        packet: &'p mut [u8],
        head: usize,
        index: u64,
    ) -> Option<&'p [u8]> {
        let ssrc = word(packet.get(RTCP_HEAD_BYTES..)?)?;
        let half = &self.rtp_in;
        // The rollover counter are the upper 32 of these 48 bits.
        let [_, _, index @ ..] = index.to_be_bytes();
        let [rollover @ .., _, _] = index;
        match &half.cipher {
            Cipher::Gcm(key) => {
                let (head, body) = packet.split_at_mut_checked(head)?;
                let nonce = half.nonce(ssrc, index);
                key.open_in_place(nonce, Aad::from(&*head), body).ok().map(|body| &*body)
            }
            Cipher::Counter(keys) => {
                let text = packet.len().checked_sub(SHA1_TAG_BYTES)?;
                let (text, tag) = packet.split_at_mut_checked(text)?;
                verify(&keys.auth, &[text, &rollover], tag)?;
                let body = text.get_mut(head..)?;
                half.apply(&keys.key, ssrc, index, body)?;
                Some(body)
            }
        }
    }

    /// Opens a compound RTCP packet in place. `None` if it is not authentic.
    pub(super) fn open_rtcp<'p>(&self, packet: &'p mut [u8]) -> Option<&'p [u8]> {
        let half = &self.rtcp_in;
        let ssrc = word(packet.get(4..)?)?;
        let (end, tag_bytes) = match &half.cipher {
            Cipher::Gcm(_) => (packet.len(), GCM_TAG_BYTES),
            Cipher::Counter(_) => (packet.len().checked_sub(SHA1_TAG_BYTES)?, 0),
        };
        let trailer = end.checked_sub(RTCP_INDEX_BYTES)?;
        let index = word(packet.get(trailer..)?)?;
        let length = trailer.checked_sub(tag_bytes)?;
        // Browsers encrypt, and so does everybody who talks to them.
        if index & ENCRYPTED == 0 {
            return None;
        }
        let long = long_index(index);
        match &half.cipher {
            Cipher::Gcm(key) => {
                let aad = rtcp_aad(packet, index)?;
                let body = packet.get_mut(RTCP_HEAD_BYTES..trailer)?;
                key.open_in_place(half.nonce(ssrc, long), aad, body).ok()?;
            }
            Cipher::Counter(keys) => {
                let (text, tag) = packet.split_at_mut_checked(end)?;
                verify(&keys.auth, &[text], tag)?;
                half.apply(&keys.key, ssrc, long, text.get_mut(RTCP_HEAD_BYTES..trailer)?)?;
            }
        }
        packet.get(..length)
    }

    /// Seals a compound RTCP packet in place. `None` if it has no header.
    pub(super) fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Option<()> {
        let half = &self.rtcp_out;
        let ssrc = word(packet.get(4..)?)?;
        let index = ENCRYPTED | self.rtcp_index;
        self.rtcp_index = (self.rtcp_index + 1) % ENCRYPTED;
        let long = long_index(index);
        match &half.cipher {
            Cipher::Gcm(key) => {
                let aad = rtcp_aad(packet, index)?;
                let body = packet.get_mut(RTCP_HEAD_BYTES..)?;
                let nonce = half.nonce(ssrc, long);
                let tag = key.seal_in_place_separate_tag(nonce, aad, body).ok()?;
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&index.to_be_bytes());
            }
            Cipher::Counter(keys) => {
                half.apply(&keys.key, ssrc, long, packet.get_mut(RTCP_HEAD_BYTES..)?)?;
                packet.extend_from_slice(&index.to_be_bytes());
                let tag = hmac::sign(&keys.auth, packet);
                packet.extend_from_slice(tag.as_ref().get(..SHA1_TAG_BYTES)?);
            }
        }
        Some(())
    }
}

/// The one use that a sender has for its keys.
pub(super) struct Sealer(Half);

impl Sealer {
    /// `None` if the keys are not as long as their profile wants.
    pub(super) fn new(keys: &Keys) -> Option<Self> {
        let ((key, salt), _) = masters(keys)?;
        Half::derive(keys.profile, key, salt, RTP_LABEL).map(Self)
    }

    /// Bytes by which a sealed packet is longer.
    pub(super) fn tag_bytes(&self) -> usize {
        match self.0.cipher {
            Cipher::Gcm(_) => GCM_TAG_BYTES,
            Cipher::Counter(_) => SHA1_TAG_BYTES,
        }
    }

    /// Seals an RTP packet in place, which ends in room for the tag. See [`Srtp::open_rtp`].
    pub(super) fn seal(&self, packet: &mut [u8], head: usize, index: u64) -> Option<()> {
        let ssrc = word(packet.get(RTCP_HEAD_BYTES..)?)?;
        let [_, _, index @ ..] = index.to_be_bytes();
        let [rollover @ .., _, _] = index;
        let text = packet.len().checked_sub(self.tag_bytes())?;
        let (text, room) = packet.split_at_mut_checked(text)?;
        match &self.0.cipher {
            Cipher::Gcm(key) => {
                let (head, body) = text.split_at_mut_checked(head)?;
                let nonce = self.0.nonce(ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body).ok()?;
                room.copy_from_slice(tag.as_ref());
            }
            Cipher::Counter(keys) => {
                self.0.apply(&keys.key, ssrc, index, text.get_mut(head..)?)?;
                let mut context = hmac::Context::with_key(&keys.auth);
                context.update(text);
                context.update(&rollover);
                room.copy_from_slice(context.sign().as_ref().get(..SHA1_TAG_BYTES)?);
            }
        }
        Some(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp").field("rtcp_index", &self.rtcp_index).finish_non_exhaustive()
    }
}

impl Half {
    /// Session keys from master key and salt (RFC 3711, section 4.3.1). A salt of 12 bytes counts
    /// as one of 14 that ends in zeros (RFC 7714, section 11).
    fn derive(profile: SrtpProfile, key: &[u8], salt: &[u8], label: u8) -> Option<Self> {
        let (algorithm, salt_bytes) = shape(profile)?;
        let master = EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
        let mut padded = [0; 16];
        padded.get_mut(..salt.len())?.copy_from_slice(salt);
        let derive = |label: u8, bytes: usize| {
            let mut block = padded;
            *block.get_mut(7)? ^= label;
            let mut out = vec![0; bytes];
            counter(&master, block, &mut out)?;
            Some(out)
        };
        let session = derive(label, key.len())?;
        let mut session_salt = [0; SALT_BYTES];
        session_salt.get_mut(..salt_bytes)?.copy_from_slice(&derive(label + 2, salt_bytes)?);
        let gcm = |algorithm: &'static aead::Algorithm| {
            let key = UnboundKey::new(algorithm, &session).ok()?;
            Some(Cipher::Gcm(Box::new(LessSafeKey::new(key))))
        };
        let cipher = match profile {
            SrtpProfile::AEAD_AES_128_GCM => gcm(&AES_128_GCM)?,
            SrtpProfile::AEAD_AES_256_GCM => gcm(&AES_256_GCM)?,
            // `shape` knows no fourth one.
            SrtpProfile::AES128_CM_SHA1_80 | _ => {
                let auth = derive(label + 1, AUTH_KEY_BYTES)?;
                let key = UnboundCipherKey::new(algorithm, &session).ok()?;
                Cipher::Counter(Box::new(Counter {
                    key: EncryptingKey::ctr(key).ok()?,
                    auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth),
                }))
            }
        };
        Some(Self { cipher, salt: session_salt })
    }

    /// RFC 7714, sections 8.1 and 9.1: two zeros, the SSRC, the index, all of it under the salt.
    fn nonce(&self, ssrc: u32, index: [u8; 6]) -> Nonce {
        let mut nonce = [0; 12];
        let numbers = ssrc.to_be_bytes().into_iter().chain(index);
        for (to, from) in nonce.iter_mut().skip(2).zip(numbers) {
            *to = from;
        }
        for (to, salt) in nonce.iter_mut().zip(self.salt) {
            *to ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts or decrypts, which is the same (RFC 3711, section 4.1.1).
    fn apply(&self, key: &EncryptingKey, ssrc: u32, index: [u8; 6], body: &mut [u8]) -> Option<()> {
        let mut block = [0; 16];
        let numbers = ssrc.to_be_bytes().into_iter().chain(index);
        for (to, from) in block.iter_mut().skip(4).zip(numbers) {
            *to = from;
        }
        for (to, salt) in block.iter_mut().zip(self.salt) {
            *to ^= salt;
        }
        counter(key, block, body)
    }
}

/// Master key and salt of one end.
type Master<'k> = (&'k [u8], &'k [u8]);

/// Those of our end, and of the other.
fn masters(keys: &Keys) -> Option<(Master<'_>, Master<'_>)> {
    let (algorithm, salt_bytes) = shape(keys.profile)?;
    let key_bytes = if std::ptr::eq(algorithm, &AES_256) { 32 } else { 16 };
    let (client_key, rest) = keys.material.split_at_checked(key_bytes)?;
    let (server_key, rest) = rest.split_at_checked(key_bytes)?;
    let (client_salt, server_salt) = rest.split_at_checked(salt_bytes)?;
    let client = (client_key, client_salt);
    let server = (server_key, server_salt.get(..salt_bytes)?);
    Some(if keys.client { (client, server) } else { (server, client) })
}

fn shape(profile: SrtpProfile) -> Option<(&'static Algorithm, usize)> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some((&AES_128, SALT_BYTES)),
        SrtpProfile::AEAD_AES_128_GCM => Some((&AES_128, 12)),
        SrtpProfile::AEAD_AES_256_GCM => Some((&AES_256, 12)),
        _ => None,
    }
}

fn counter(key: &EncryptingKey, block: [u8; 16], body: &mut [u8]) -> Option<()> {
    key.less_safe_encrypt(body, EncryptionContext::Iv128(block.into())).ok().map(|_| ())
}

fn verify(auth: &hmac::Key, parts: &[&[u8]], tag: &[u8]) -> Option<()> {
    let mut context = hmac::Context::with_key(auth);
    for part in parts {
        context.update(part);
    }
    let right = context.sign();
    constant_time::verify_slices_are_equal(right.as_ref().get(..tag.len())?, tag).ok()
}

/// What of an RTCP packet is authenticated without being encrypted (RFC 7714, section 9.2).
fn rtcp_aad(packet: &[u8], index: u32) -> Option<Aad<[u8; RTCP_HEAD_BYTES + RTCP_INDEX_BYTES]>> {
    let mut aad = [0; RTCP_HEAD_BYTES + RTCP_INDEX_BYTES];
    let (head, tail) = aad.split_at_mut(RTCP_HEAD_BYTES);
    head.copy_from_slice(packet.get(..RTCP_HEAD_BYTES)?);
    tail.copy_from_slice(&index.to_be_bytes());
    Some(Aad::from(aad))
}

/// An RTCP index in the place of an RTP packet's.
fn long_index(index: u32) -> [u8; 6] {
    let [a, b, c, d] = (index & !ENCRYPTED).to_be_bytes();
    [0, 0, a, b, c, d]
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|word| u32::from_be_bytes(*word))
}

//! SRTP and SRTCP of a peer that we send to (RFC 3711; RFC 7714 for GCM).
//!
//! We send RTP and RTCP there, and RTCP comes back; nothing else is built. The ciphers are those
//! of the crypto provider that str0m uses too.

use str0m::crypto::dtls::SrtpProfile;
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80,
    Aes128CmSha1_80Cipher, CryptoProvider, Sha1HmacProvider,
};

use super::handshake::Keys;

/// The most that a seal adds to an RTP packet.
pub(crate) const RTP_SEAL_BYTES_MAX: usize = AeadAes128Gcm::TAG_LEN;
/// The most that a seal adds to an RTCP packet: a tag, and an index.
pub(crate) const RTCP_SEAL_BYTES_MAX: usize = RTP_SEAL_BYTES_MAX + INDEX_BYTES;
/// Room behind a sealed packet that the cipher may write into: counter mode works in blocks.
pub(crate) const SLACK_BYTES: usize = 16;

/// What RTCP leaves in the clear: the first header, and who sends.
const RTCP_HEAD_BYTES: usize = 8;
/// "E" and the packet's number (RFC 3711, section 3.4).
const INDEX_BYTES: usize = 4;
const IS_ENCRYPTED: u32 = 1 << 31;
/// RTCP of a browser is a few hundred bytes.
pub(crate) const RTCP_BYTES_MAX: usize = 1_500;
/// Senders of RTCP whose numbers are remembered; a browser has one for each track.
const SENDERS_MAX: usize = 8;

/// Seals what we send, and opens what comes back.
#[derive(Debug)]
pub(crate) struct Srtp {
    rtp: Cipher,
    rtcp: Cipher,
    rtcp_in: Cipher,
    hmac: &'static dyn Sha1HmacProvider,
    /// The number of the next RTCP packet.
    rtcp_index: u32,
    senders: Vec<(u32, ReplayWindow)>,
}

#[derive(Debug)]
enum Cipher {
    Cm { cipher: Box<dyn Aes128CmSha1_80Cipher>, auth_key: [u8; 20], salt: [u8; 14] },
    Gcm { cipher: Gcm, salt: [u8; 12] },
}

/// Two ciphers that differ in the length of their keys.
#[derive(Debug)]
enum Gcm {
    Aes128(Box<dyn AeadAes128GcmCipher>),
    Aes256(Box<dyn AeadAes256GcmCipher>),
}

/// Labels of key derivation (RFC 3711, section 4.3).
#[derive(Clone, Copy)]
struct Labels {
    key: u8,
    auth: u8,
    salt: u8,
}

const RTP: Labels = Labels { key: 0, auth: 1, salt: 2 };
const RTCP: Labels = Labels { key: 3, auth: 4, salt: 5 };

impl Srtp {
    /// `None` for a profile that is not known here; DTLS negotiates no other.
    pub(crate) fn new(keys: &Keys, crypto: &CryptoProvider) -> Option<Self> {
        let (ours, theirs) = match keys.active {
            true => (Side::Client, Side::Server),
            false => (Side::Server, Side::Client),
        };
        Some(Self {
            rtp: Cipher::derive(keys, ours, RTP, crypto, true)?,
            rtcp: Cipher::derive(keys, ours, RTCP, crypto, true)?,
            rtcp_in: Cipher::derive(keys, theirs, RTCP, crypto, false)?,
            hmac: crypto.sha1_hmac_provider,
            rtcp_index: 0,
            senders: Vec::new(),
        })
    }

    /// Bytes that sealing adds to an RTP packet.
    pub(crate) fn rtp_seal_bytes(&self) -> usize {
        match self.rtp {
            Cipher::Cm { .. } => Aes128CmSha1_80::HMAC_TAG_LEN,
            Cipher::Gcm { .. } => AeadAes128Gcm::TAG_LEN,
        }
    }

    /// Completes an RTP packet whose header of `head` bytes is in `out`, where there is also room
    /// for the payload, the seal and [`SLACK_BYTES`]. `index` is the sequence number, extended over
    /// its roll-overs. Answers with the packet's length, or `None` where the room is not there.
    pub(crate) fn seal_rtp(
        &mut self,
        out: &mut [u8],
        head: usize,
        payload: &[u8],
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        let end = head + payload.len();
        let (header, body) = out.split_at_mut_checked(head)?;
        let [.., roc_3, roc_2, roc_1, roc_0, seq_1, seq_0] = index.to_be_bytes();
        let roc = [roc_3, roc_2, roc_1, roc_0];
        let (roll_overs, seq) = (u32::from_be_bytes(roc), u16::from_be_bytes([seq_1, seq_0]));
        match &mut self.rtp {
            Cipher::Gcm { cipher, salt } => {
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, roll_overs, seq);
                cipher.encrypt(&iv, header, payload, body)?;
                Some(end + AeadAes128Gcm::TAG_LEN)
            }
            Cipher::Cm { cipher, auth_key, salt } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index);
                cipher.encrypt(&iv, payload, body).ok()?;
                let (packet, rest) = out.split_at_mut_checked(end)?;
                let tag = self.hmac.sha1_hmac(auth_key, &[packet, &roc]);
                put(rest, tag.get(..Aes128CmSha1_80::HMAC_TAG_LEN)?)?;
                Some(end + Aes128CmSha1_80::HMAC_TAG_LEN)
            }
        }
    }

    /// Seals the compound RTCP packet in the first `len` bytes of `out`, behind which there is room
    /// for the seal and [`SLACK_BYTES`]. Answers with its length.
    pub(crate) fn seal_rtcp(&mut self, out: &mut [u8], len: usize) -> Option<usize> {
        let mut plain = [0; RTCP_BYTES_MAX];
        let body = plain.get_mut(..len.checked_sub(RTCP_HEAD_BYTES)?)?;
        body.copy_from_slice(out.get(RTCP_HEAD_BYTES..len)?);
        let index = self.rtcp_index;
        self.rtcp_index = (index + 1) % IS_ENCRYPTED;
        let trailer = (index | IS_ENCRYPTED).to_be_bytes();
        let (head, rest) = out.split_first_chunk_mut::<RTCP_HEAD_BYTES>()?;
        let ssrc = ssrc_of(head);
        match &mut self.rtcp {
            Cipher::Gcm { cipher, salt } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                cipher.encrypt(&iv, &rtcp_aad(head, trailer), body, rest)?;
                put(rest.get_mut(body.len() + AeadAes128Gcm::TAG_LEN..)?, &trailer)?;
                Some(len + AeadAes128Gcm::TAG_LEN + INDEX_BYTES)
            }
            Cipher::Cm { cipher, auth_key, salt } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                cipher.encrypt(&iv, body, rest).ok()?;
                put(out.get_mut(len..)?, &trailer)?;
                let (packet, rest) = out.split_at_mut_checked(len + INDEX_BYTES)?;
                let tag = self.hmac.sha1_hmac(auth_key, &[packet]);
                put(rest, tag.get(..Aes128CmSha1_80::HMAC_TAG_LEN)?)?;
                Some(len + INDEX_BYTES + Aes128CmSha1_80::HMAC_TAG_LEN)
            }
        }
    }

    /// Opens a compound RTCP packet into `plain`; `None` if it is not from the far side, not
    /// encrypted, or not new.
    pub(crate) fn open_rtcp<'p>(
        &mut self,
        sealed: &[u8],
        plain: &'p mut [u8; RTCP_BYTES_MAX + SLACK_BYTES],
    ) -> Option<&'p [u8]> {
        let (head, rest) = sealed.split_first_chunk::<RTCP_HEAD_BYTES>()?;
        let ssrc = ssrc_of(head);
        let mut auth_key = None;
        let (body, trailer) = match &self.rtcp_in {
            Cipher::Gcm { .. } => rest.split_last_chunk::<INDEX_BYTES>(),
            Cipher::Cm { auth_key: key, .. } => {
                auth_key = Some(key);
                let (signed, _) = rest.split_last_chunk::<{ Aes128CmSha1_80::HMAC_TAG_LEN }>()?;
                signed.split_last_chunk::<INDEX_BYTES>()
            }
        }?;
        let word = u32::from_be_bytes(*trailer);
        let index = word & !IS_ENCRYPTED;
        if word == index || body.len() + RTCP_HEAD_BYTES > RTCP_BYTES_MAX {
            return None;
        }
        if let Some(key) = auth_key {
            let (signed, tag) = sealed.split_last_chunk()?;
            let sign = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
            if !Aes128CmSha1_80::rtcp_verify(sign, key, signed, tag as &[u8; 10]) {
                return None;
            }
        }
        let (plain_head, room) = plain.split_first_chunk_mut::<RTCP_HEAD_BYTES>()?;
        *plain_head = *head;
        let len = match &mut self.rtcp_in {
            Cipher::Gcm { cipher, salt } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                cipher.decrypt(&iv, &rtcp_aad(head, *trailer), body, room)?
            }
            Cipher::Cm { cipher, salt, .. } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                cipher.decrypt(&iv, body, room).ok()?;
                body.len()
            }
        };
        let window = match self.senders.iter_mut().position(|(sender, _)| *sender == ssrc) {
            Some(at) => self.senders.get_mut(at).map(|(_, window)| window),
            None if self.senders.len() < SENDERS_MAX => {
                self.senders.push((ssrc, ReplayWindow::default()));
                self.senders.last_mut().map(|(_, window)| window)
            }
            None => None,
        };
        if !window?.admits(index) {
            return None;
        }
        plain.get(..RTCP_HEAD_BYTES + len)
    }
}

impl Cipher {
    fn derive(
        keys: &Keys,
        side: Side,
        labels: Labels,
        crypto: &CryptoProvider,
        encrypt: bool,
    ) -> Option<Self> {
        let provider = crypto.srtp_provider;
        match keys.profile {
            SrtpProfile::AES128_CM_SHA1_80 => {
                let master = Master::<16, 14>::of(keys, side)?;
                let round = |key: &[u8; 16], input: &[u8; 16], output: &mut [u8; 32]| {
                    provider.srtp_aes_128_ecb_round(key, input, output);
                };
                let key = master.derive(labels.key, round);
                Some(Self::Cm {
                    cipher: provider.aes_128_cm_sha1_80().create_cipher(key, encrypt),
                    auth_key: master.derive(labels.auth, round),
                    salt: master.derive(labels.salt, round),
                })
            }
            SrtpProfile::AEAD_AES_128_GCM => {
                let master = Master::<16, 12>::of(keys, side)?;
                let round = |key: &[u8; 16], input: &[u8; 16], output: &mut [u8; 32]| {
                    provider.srtp_aes_128_ecb_round(key, input, output);
                };
                let key = master.derive(labels.key, round);
                let cipher = provider.aead_aes_128_gcm().create_cipher(key, encrypt);
                let cipher = Gcm::Aes128(cipher);
                Some(Self::Gcm { cipher, salt: master.derive(labels.salt, round) })
            }
            SrtpProfile::AEAD_AES_256_GCM => {
                let master = Master::<32, 12>::of(keys, side)?;
                let round = |key: &[u8; 32], input: &[u8; 16], output: &mut [u8; 32]| {
                    provider.srtp_aes_256_ecb_round(key, input, output);
                };
                let key = master.derive(labels.key, round);
                let cipher = provider.aead_aes_256_gcm().create_cipher(key, encrypt);
                let cipher = Gcm::Aes256(cipher);
                Some(Self::Gcm { cipher, salt: master.derive(labels.salt, round) })
            }
            _ => None,
        }
    }
}

impl Gcm {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], text: &[u8], out: &mut [u8]) -> Option<()> {
        match self {
            _ if out.len() < text.len() + AeadAes128Gcm::TAG_LEN => None,
            Self::Aes128(cipher) => cipher.encrypt(iv, aad, text, out).ok(),
            Self::Aes256(cipher) => cipher.encrypt(iv, aad, text, out).ok(),
        }
    }

    fn decrypt(&mut self, iv: &[u8; 12], aad: &[u8], text: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            // The provider takes it for granted that there is a tag.
            _ if text.len() < AeadAes128Gcm::TAG_LEN => None,
            Self::Aes128(cipher) => cipher.decrypt(iv, &[aad], text, out).ok(),
            Self::Aes256(cipher) => cipher.decrypt(iv, &[aad], text, out).ok(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A master key and its salt.
struct Master<const KEY: usize, const SALT: usize> {
    key: [u8; KEY],
    salt: [u8; SALT],
}

impl<const KEY: usize, const SALT: usize> Master<KEY, SALT> {
    /// The material is both keys, the client's first, and then both salts (RFC 5764, section 4.2).
    fn of(keys: &Keys, side: Side) -> Option<Self> {
        let (client_key, rest) = keys.material.split_first_chunk::<KEY>()?;
        let (server_key, rest) = rest.split_first_chunk::<KEY>()?;
        let (client_salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (server_salt, _) = rest.split_first_chunk::<SALT>()?;
        Some(match side {
            Side::Client => Self { key: *client_key, salt: *client_salt },
            Side::Server => Self { key: *server_key, salt: *server_salt },
        })
    }

    /// AES in counter mode over the salt and the label (RFC 3711, section 4.3.3; RFC 6188 for the
    /// long keys). `round` encrypts one block, and pads it with a second one.
    fn derive<const LEN: usize>(
        &self,
        label: u8,
        round: impl Fn(&[u8; KEY], &[u8; 16], &mut [u8; 32]),
    ) -> [u8; LEN] {
        const LABEL_AT: usize = 7;
        let mut input = [0; 16];
        for (byte, salt) in input.iter_mut().zip(self.salt) {
            *byte = salt;
        }
        if let Some(byte) = input.get_mut(LABEL_AT) {
            *byte ^= label;
        }
        let mut derived = [0; LEN];
        for (counter, chunk) in (0u8..).zip(derived.chunks_mut(16)) {
            if let Some(last) = input.last_mut() {
                *last = counter;
            }
            let mut block = [0; 32];
            round(&self.key, &input, &mut block);
            for (byte, value) in chunk.iter_mut().zip(block) {
                *byte = value;
            }
        }
        derived
    }
}

/// Which of the last numbers were there (RFC 3711, section 3.3.2).
#[derive(Debug, Default)]
struct ReplayWindow {
    highest: u32,
    /// One bit for each number up to the highest, which has the lowest.
    seen: u64,
}

impl ReplayWindow {
    /// Whether the number is new; notes it.
    fn admits(&mut self, index: u32) -> bool {
        if self.seen == 0 || index > self.highest {
            let ahead = if self.seen == 0 { 0 } else { index - self.highest };
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = index;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - index).unwrap_or(0);
        let is_new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

fn ssrc_of(head: &[u8; RTCP_HEAD_BYTES]) -> u32 {
    let [.., a, b, c, d] = *head;
    u32::from_be_bytes([a, b, c, d])
}

/// What GCM authenticates of RTCP besides the text (RFC 7714, section 9.2).
fn rtcp_aad(
    head: &[u8; RTCP_HEAD_BYTES],
    trailer: [u8; INDEX_BYTES],
) -> [u8; RTCP_HEAD_BYTES + INDEX_BYTES] {
    let mut aad = [0; RTCP_HEAD_BYTES + INDEX_BYTES];
    for (byte, value) in aad.iter_mut().zip(head.iter().chain(&trailer)) {
        *byte = *value;
    }
    aad
}

/// Writes `bytes` to the start of `room`, if it is large enough.
fn put(room: &mut [u8], bytes: &[u8]) -> Option<()> {
    room.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(())
}

//! Cryptography that costs nothing and repeats: a handshake of two packets that really carry the
//! certificates, and SRTP whose cipher is the identity.
//!
//! What stays true to life is what the code under test could get wrong: fingerprints are compared
//! with the certificate that arrives, keys differ by direction, and the tag of every packet covers
//! key, nonce, header and payload, so a wrong SSRC, rollover counter or key is still refused.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert};
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

use super::random::fnv1a;

/// What protects the media of a simulated peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Srtp {
    /// The identity, with a checksum in place of the tag.
    Null,
    /// The identity, with a checksum that is sent and not looked at: whoever knows where a peer is
    /// heard can say anything to it, as its far side could that has the keys.
    Unchecked,
    /// The real ciphers, keyed by the simulated handshake: just as repeatable, but slower.
    Real,
    /// Nothing simulated: nodes have the cryptography that they are shipped with, browsers str0m's.
    /// Signatures differ in length from run to run, and with them the datagrams.
    Stock,
}

impl fmt::Display for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Unchecked => "unchecked",
            Self::Real => "real",
            Self::Stock => "stock",
        })
    }
}

/// The provider of simulated browsers.
pub fn provider(srtp: Srtp) -> Arc<CryptoProvider> {
    let stock = str0m::crypto::from_feature_flags();
    let null = |checks| CryptoProvider {
        srtp_provider: if checks {
            &NullSrtp { checks: true }
        } else {
            &NullSrtp { checks: false }
        },
        dtls_provider: &SimDtls,
        ..stock.clone()
    };
    Arc::new(match srtp {
        Srtp::Null => null(true),
        Srtp::Unchecked => null(false),
        Srtp::Real => CryptoProvider { dtls_provider: &SimDtls, ..stock },
        Srtp::Stock => stock,
    })
}

/// The provider of simulated nodes, which share all that is simulated with the browsers.
pub(super) fn node_provider(srtp: Srtp) -> Arc<CryptoProvider> {
    match srtp {
        Srtp::Null | Srtp::Unchecked | Srtp::Real => provider(srtp),
        Srtp::Stock => Arc::new(distributary_core::crypto_provider()),
    }
}

/// The certificate of a node, different for each `owner`, under what protects its media.
pub(super) fn identity(srtp: Srtp, owner: u64) -> DtlsCert {
    match srtp {
        Srtp::Null | Srtp::Unchecked | Srtp::Real => certificate(owner),
        Srtp::Stock => str0m::crypto::from_feature_flags()
            .dtls_provider
            .generate_certificate()
            .expect("the stock provider makes certificates"),
    }
}

/// A certificate, different for each `owner`.
pub fn certificate(owner: u64) -> DtlsCert {
    DtlsCert {
        certificate: format!("simulated certificate of {owner:016x}").into_bytes(),
        private_key: Vec::new(),
    }
}

/// First byte of a DTLS record of the handshake type, so that packets are demultiplexed as
/// DTLS is (RFC 7983, section 7).
const RECORD: u8 = 22;
const HELLO: u8 = 1;
const REPLY: u8 = 2;
const CLOSE: u8 = 3;
const DATA: u8 = 4;
const RETRANSMIT: Duration = Duration::from_millis(100);
const PROFILE: SrtpProfile = SrtpProfile::AEAD_AES_128_GCM;
/// Two keys of 16 and two salts of 12 bytes (RFC 7714, section 12).
const KEYING_BYTES: usize = 2 * 16 + 2 * 12;

#[derive(Debug)]
struct SimDtls;

impl DtlsProvider for SimDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        Some(certificate(fastrand::u64(..)))
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        _dtls_version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        Ok(Box::new(Handshake {
            own: cert.certificate.clone(),
            peer: None,
            active: false,
            now,
            retransmit_at: None,
            queue: VecDeque::new(),
            closing: false,
        }))
    }
}

/// What a [`Handshake`] will say next, in order.
#[derive(Debug)]
enum Said {
    Packet(Vec<u8>),
    PeerCert,
    Keys,
    Connected,
    Data(Vec<u8>),
    CloseNotify,
}

#[derive(Debug)]
struct Handshake {
    own: Vec<u8>,
    peer: Option<Vec<u8>>,
    active: bool,
    now: Instant,
    retransmit_at: Option<Instant>,
    queue: VecDeque<Said>,
    closing: bool,
}

impl Handshake {
    fn say(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![RECORD, kind];
        packet.extend_from_slice(body);
        self.queue.push_back(Said::Packet(packet));
    }

    fn hello(&mut self) {
        let own = self.own.clone();
        self.say(HELLO, &own);
        self.retransmit_at = Some(self.now + RETRANSMIT);
    }

    fn meet(&mut self, certificate: &[u8]) {
        if self.peer.is_none() {
            self.peer = Some(certificate.to_vec());
            self.retransmit_at = None;
            self.queue.extend([Said::PeerCert, Said::Keys, Said::Connected]);
        }
    }

    fn keys(&self) -> KeyingMaterial {
        let peer = self.peer.as_deref().unwrap_or_default();
        let (dialer, answerer) =
            if self.active { (&*self.own, peer) } else { (peer, self.own.as_slice()) };
        let mut state = fnv1a(&[dialer, answerer]);
        let mut bytes = Vec::with_capacity(KEYING_BYTES);
        while bytes.len() < KEYING_BYTES {
            state = fnv1a(&[&state.to_be_bytes()]);
            bytes.extend_from_slice(&state.to_be_bytes());
        }
        bytes.truncate(KEYING_BYTES);
        KeyingMaterial::new(&bytes)
    }
}

/// Puts `bytes` where the caller can borrow them from.
fn lend<'a>(buf: &'a mut [u8], bytes: &[u8]) -> &'a [u8] {
    let room = buf.get_mut(..bytes.len()).expect("str0m lends room for a whole datagram");
    room.copy_from_slice(bytes);
    room
}

impl DtlsInstance for Handshake {
    fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        match packet {
            // str0m starts a dialing side with an empty packet.
            [] if self.active && self.peer.is_none() => self.hello(),
            [RECORD, HELLO, certificate @ ..] if !self.active => {
                self.meet(certificate);
                let own = self.own.clone();
                self.say(REPLY, &own);
            }
            [RECORD, REPLY, certificate @ ..] if self.active => self.meet(certificate),
            [RECORD, CLOSE] if !self.closing => {
                self.closing = true;
                self.queue.push_back(Said::CloseNotify);
            }
            [RECORD, DATA, data @ ..] => self.queue.push_back(Said::Data(data.to_vec())),
            _ => {}
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.queue.pop_front() {
            Some(Said::Packet(packet)) => DtlsOutput::Packet(lend(buf, &packet)),
            Some(Said::PeerCert) => {
                let peer = self.peer.as_deref().unwrap_or_default();
                DtlsOutput::PeerCert(lend(buf, peer))
            }
            Some(Said::Keys) => DtlsOutput::KeyingMaterial(self.keys(), PROFILE),
            Some(Said::Connected) => DtlsOutput::Connected,
            Some(Said::Data(data)) => DtlsOutput::ApplicationData(lend(buf, &data)),
            Some(Said::CloseNotify) => DtlsOutput::CloseNotify,
            None => DtlsOutput::Timeout(
                self.retransmit_at.unwrap_or(self.now + Duration::from_secs(3600)),
            ),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.hello();
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        if self.peer.is_none() {
            return Ok(0);
        }
        self.say(DATA, data);
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.peer.is_some().then_some(ProtocolVersion::DTLS1_2)
    }

    fn is_closing(&self) -> bool {
        self.closing
    }

    fn is_closed(&self) -> bool {
        self.closing && self.queue.is_empty()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        if !self.closing {
            self.closing = true;
            self.retransmit_at = None;
            if self.peer.is_some() {
                self.say(CLOSE, &[]);
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct NullSrtp {
    checks: bool,
}

impl NullSrtp {
    /// The one of the two that outlives everybody.
    fn lasting(&self) -> &'static Self {
        if self.checks { &NullSrtp { checks: true } } else { &NullSrtp { checks: false } }
    }
}

impl SrtpProvider for NullSrtp {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        self.lasting()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        self.lasting()
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        self.lasting()
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        spread(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        spread(key, input, output);
    }
}

/// One round of key derivation: any function of both that fills a block will do.
fn spread(key: &[u8], input: &[u8], output: &mut [u8]) {
    let mut state = fnv1a(&[key, input]);
    for chunk in output.chunks_mut(8) {
        state = fnv1a(&[&state.to_be_bytes()]);
        for (byte, value) in chunk.iter_mut().zip(state.to_be_bytes()) {
            *byte = value;
        }
    }
}

impl SupportedAes128CmSha1_80 for NullSrtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(NullCipher { key: key.to_vec(), checks: self.checks })
    }
}

impl SupportedAeadAes128Gcm for NullSrtp {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(NullCipher { key: key.to_vec(), checks: self.checks })
    }
}

impl SupportedAeadAes256Gcm for NullSrtp {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(NullCipher { key: key.to_vec(), checks: self.checks })
    }
}

const TAG_BYTES: usize = 16;

#[derive(Debug)]
struct NullCipher {
    key: Vec<u8>,
    checks: bool,
}

impl NullCipher {
    fn tag(&self, iv: &[u8], aads: &[&[u8]], text: &[u8]) -> [u8; TAG_BYTES] {
        // SRTCP hands the same header over in one piece here and in two there.
        let aad = fnv1a(&[&aads.concat()]);
        let head = fnv1a(&[&self.key, iv, &aad.to_be_bytes()]);
        let body = fnv1a(&[&head.to_be_bytes(), text]);
        let mut tag = [0; TAG_BYTES];
        let (left, right) = tag.split_at_mut(8);
        left.copy_from_slice(&head.to_be_bytes());
        right.copy_from_slice(&body.to_be_bytes());
        tag
    }

    fn seal(&self, iv: &[u8], aad: &[u8], input: &[u8], output: &mut [u8]) {
        let tag = self.tag(iv, &[aad], input);
        for (to, from) in output.iter_mut().zip(input.iter().chain(&tag)) {
            *to = *from;
        }
    }

    fn open(
        &self,
        iv: &[u8],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let (text, tag) = input
            .split_last_chunk::<TAG_BYTES>()
            .ok_or_else(|| CryptoError::Other("no room for a tag".into()))?;
        if self.checks && self.tag(iv, aads, text) != *tag {
            return Err(CryptoError::Other("the tag does not match".into()));
        }
        for (to, from) in output.iter_mut().zip(text) {
            *to = *from;
        }
        Ok(text.len())
    }
}

impl Aes128CmSha1_80Cipher for NullCipher {
    fn encrypt(
        &mut self,
        _iv: &[u8; 16],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        for (to, from) in output.iter_mut().zip(input) {
            *to = *from;
        }
        Ok(())
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 16],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        Aes128CmSha1_80Cipher::encrypt(self, iv, input, output)
    }
}

impl AeadAes128GcmCipher for NullCipher {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output);
        Ok(())
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

impl AeadAes256GcmCipher for NullCipher {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output);
        Ok(())
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

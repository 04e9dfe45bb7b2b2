//! TLS (RFC 8446, RFC 5246) over bytes in memory.

use std::io::{Read, Write};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ServerSessionMemoryCache;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

use crate::clock::WallClock;
use crate::config::TlsIdentity;

use super::StreamFault;
use super::pipe::ByteQueue;

/// TLS sessions that can be resumed without a full handshake.
const SESSIONS_MAX: usize = 1024;

/// What a record carries at most (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// More than any cipher suite offered here adds to a record's content.
const RECORD_OVERHEAD_BYTES_MAX: usize = 64;

/// The one protocol that is spoken inside (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// The accepting side's TLS settings.
///
/// # Errors
///
/// If the key does not belong to the certificate, or one of them cannot be read.
pub(crate) fn server_config(
    identity: &TlsIdentity,
    clock: WallClock,
) -> Result<Arc<ServerConfig>, Error> {
    let key = PrivateKeyDer::try_from(identity.key.clone())
        .map_err(|why| Error::General(format!("private key: {why}")))?;
    let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
    let mut config = ServerConfig::builder_with_details(
        Arc::new(provider::default_provider()),
        Arc::new(Clock(clock)),
    )
    .with_safe_default_protocol_versions()?
    .with_no_client_auth()
    .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// The dialing side's TLS settings: the far side must show a certificate that one of `roots`
/// signed for its name or, with a `pinned` SHA-256 fingerprint, exactly that certificate.
///
/// Roots that cannot be read are left out; without any, nobody is trusted.
///
/// # Errors
///
/// If the cryptography offers no protocol version, which is a fault of the build.
pub(crate) fn client_config(
    roots: &[Vec<u8>],
    pinned: Option<[u8; 32]>,
    clock: WallClock,
) -> Result<Arc<ClientConfig>, Error> {
    let crypto = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_details(Arc::clone(&crypto), Arc::new(Clock(clock)))
        .with_safe_default_protocol_versions()?;
    let mut config = match pinned {
        Some(fingerprint) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { fingerprint, crypto }))
            .with_no_client_auth(),
        None => {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.iter().cloned().map(CertificateDer::from));
            builder.with_root_certificates(store).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The SHA-256 fingerprint of a certificate, DER.
pub(crate) fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    fingerprint
}

/// The most bytes on the wire that carry so many bytes of content.
pub(super) fn wire_bytes_max(plain_bytes: usize) -> usize {
    plain_bytes + (plain_bytes / RECORD_BYTES_MAX + 1) * RECORD_OVERHEAD_BYTES_MAX
}

/// One end of a TLS connection.
#[derive(Debug)]
pub(super) struct Tls {
    connection: Connection,
}

impl Tls {
    pub(super) fn accept(config: Arc<ServerConfig>) -> Result<Self, StreamFault> {
        Ok(Self::new(ServerConnection::new(config).map_err(StreamFault::Tls)?.into()))
    }

    pub(super) fn dial(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, StreamFault> {
        Ok(Self::new(ClientConnection::new(config, name).map_err(StreamFault::Tls)?.into()))
    }

    fn new(mut connection: Connection) -> Self {
        // What is sent moves on at once into the connection's own bounded buffer; only the request
        // of the dialing side waits in here, for the end of the handshake.
        connection.set_buffer_limit(None);
        Self { connection }
    }

    /// Decrypts what came from the wire. `plain` gets what was inside, `wire_out` what TLS itself
    /// has to say. The answer tells whether the far side closed in good order.
    pub(super) fn receive(
        &mut self,
        mut wire: &[u8],
        plain: &mut Vec<u8>,
        wire_out: &mut ByteQueue,
    ) -> Result<bool, StreamFault> {
        let mut closed = false;
        let mut result = Ok(());
        while !wire.is_empty() && !closed && result.is_ok() {
            self.connection.read_tls(&mut wire).map_err(|_| {
                // It takes what a record may hold, and every complete record was taken out.
                StreamFault::Tls(Error::General("a record that does not end".to_owned()))
            })?;
            match self.connection.process_new_packets() {
                Ok(state) => closed = state.peer_has_closed(),
                Err(error) => result = Err(StreamFault::Tls(error)),
            }
            // Also after an error: what came before it counts. That the reader has nothing more
            // it tells with an error of its own.
            let _would_block = self.connection.reader().read_to_end(plain);
        }
        self.flush(wire_out);
        result.map(|()| closed)
    }

    /// Encrypts what is to be sent; nothing once the far side broke the rules of TLS. What it said
    /// before that may well ask for an answer.
    pub(super) fn send(&mut self, plain: &[u8], wire_out: &mut ByteQueue) {
        // The buffer has no limit, so that is the only error.
        let _broken = self.connection.writer().write_all(plain);
        self.flush(wire_out);
    }

    /// Says that nothing more will be sent.
    pub(super) fn close(&mut self, wire_out: &mut ByteQueue) {
        self.connection.send_close_notify();
        self.flush(wire_out);
    }

    fn flush(&mut self, wire_out: &mut ByteQueue) {
        while self.connection.wants_write() {
            self.connection.write_tls(wire_out).expect("a queue takes everything");
        }
    }
}

/// The shard's clock, where TLS asks for it.
#[derive(Debug)]
struct Clock(WallClock);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.unix()))
    }
}

/// Accepts one certificate by its fingerprint. That its holder is on the line is proven by the
/// signature in the handshake, as with any other.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if fingerprint(end_entity) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}

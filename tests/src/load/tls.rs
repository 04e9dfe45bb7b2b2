//! TLS towards a server.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

/// Which certificates are believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Those that the system's authorities signed.
    System,
    /// Those that the authorities in this PEM file signed.
    Authorities(PathBuf),
    /// The one with this SHA-256 fingerprint.
    Fingerprint([u8; 32]),
    /// Any.
    Anything,
}

impl Trust {
    /// Settings for all connections. Each makes a handshake of its own: so many browsers would
    /// share no session.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let crypto = Arc::new(provider::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let by = |verifier: Verifier| Arc::new(verifier);
        let mut config = match self {
            Self::System => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                builder.with_root_certificates(store).with_no_client_auth()
            }
            Self::Authorities(file) => {
                let problem = |error| format!("{}: {error}", file.display());
                let certificates = CertificateDer::pem_file_iter(file)
                    .map_err(|error| problem(error.to_string()))?;
                let mut store = RootCertStore::empty();
                for certificate in certificates {
                    let certificate = certificate.map_err(|error| problem(error.to_string()))?;
                    store.add(certificate).map_err(|error| problem(error.to_string()))?;
                }
                builder.with_root_certificates(store).with_no_client_auth()
            }
            Self::Fingerprint(fingerprint) => builder
                .dangerous()
                .with_custom_certificate_verifier(by(Verifier {
                    fingerprint: Some(*fingerprint),
                    crypto,
                }))
                .with_no_client_auth(),
            Self::Anything => builder
                .dangerous()
                .with_custom_certificate_verifier(by(Verifier { fingerprint: None, crypto }))
                .with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Reads a SHA-256 fingerprint: 32 bytes in hexadecimal, with colons or without.
///
/// # Errors
///
/// If it is something else.
pub fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let digits = text.replace(':', "");
    let byte = |at: usize| {
        let pair = digits.get(2 * at..2 * at + 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = (0..digits.len().div_ceil(2)).map(byte).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "expected 32 bytes in hexadecimal".to_owned())
}

/// What goes through a TCP connection, as it is or in TLS.
#[derive(Debug)]
pub(super) struct Line {
    tls: Option<Box<ClientConnection>>,
}

impl Line {
    /// With settings and the server's name, a line in TLS, which begins at once.
    pub(super) fn open(
        tls: Option<&(Arc<ClientConfig>, ServerName<'static>)>,
        wire_out: &mut Vec<u8>,
    ) -> Result<Self, String> {
        let Some((config, name)) = tls else { return Ok(Self { tls: None }) };
        let connection = ClientConnection::new(Arc::clone(config), name.clone());
        let mut connection = connection.map_err(|error| error.to_string())?;
        // What is said before the handshake is over has to wait somewhere.
        connection.set_buffer_limit(None);
        flush(&mut connection, wire_out);
        Ok(Self { tls: Some(Box::new(connection)) })
    }

    /// Whether what is sent now reaches the server.
    pub(super) fn is_up(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// Takes what came over the wire: `plain` gets what was inside, `wire_out` what TLS itself has
    /// to say.
    pub(super) fn receive(
        &mut self,
        mut wire: &[u8],
        plain: &mut Vec<u8>,
        wire_out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Some(tls) = &mut self.tls else {
            plain.extend_from_slice(wire);
            return Ok(());
        };
        let mut result = Ok(());
        while !wire.is_empty() && result.is_ok() {
            let read = tls.read_tls(&mut wire).map_err(|error| error.to_string())?;
            result = tls.process_new_packets().map(drop).map_err(|error| format!("TLS: {error}"));
            // It says that it would block once everything was taken.
            let _ = tls.reader().read_to_end(plain);
            if read == 0 {
                break;
            }
        }
        flush(tls, wire_out);
        result
    }

    /// Says something.
    pub(super) fn send(&mut self, plain: &[u8], wire_out: &mut Vec<u8>) {
        let Some(tls) = &mut self.tls else {
            wire_out.extend_from_slice(plain);
            return;
        };
        // The buffer has no limit, and a connection that failed was dropped.
        let _ = tls.writer().write_all(plain);
        flush(tls, wire_out);
    }
}

fn flush(tls: &mut ClientConnection, wire_out: &mut Vec<u8>) {
    while tls.wants_write() {
        // A vector takes everything.
        let _ = tls.write_tls(wire_out);
    }
}

/// Believes one certificate, or any. That its holder is on the line is proven all the same.
#[derive(Debug)]
struct Verifier {
    fingerprint: Option<[u8; 32]>,
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = digest::digest(&digest::SHA256, end_entity);
        match self.fingerprint {
            Some(wanted) if shown.as_ref() != wanted => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_32_bytes_in_hexadecimal() {
        let plain = "5e".repeat(32);
        assert_eq!(fingerprint(&plain), Ok([0x5e; 32]));
        assert_eq!(fingerprint(&vec!["5E"; 32].join(":")), Ok([0x5e; 32]));
        for wrong in ["", "5e", &plain[1..], &"5g".repeat(32), &"5e".repeat(33), "é"] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
    }
}

//! DTLS that comes to the wished profile of SRTP, whatever both sides would prefer.

use std::time::Instant;

use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};

pub(super) static GCM_256: Narrow = Narrow(SrtpProfile::AEAD_AES_256_GCM);
pub(super) static GCM_128: Narrow = Narrow(SrtpProfile::AEAD_AES_128_GCM);
pub(super) static CM: Narrow = Narrow(SrtpProfile::AES128_CM_SHA1_80);

/// Both sides have to use it: it takes as many of the keys that were agreed on as the profile has.
#[derive(Debug)]
pub(super) struct Narrow(SrtpProfile);

impl DtlsProvider for Narrow {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        crate::crypto_provider().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = crate::crypto_provider().dtls_provider.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(Narrowed { inner, profile: self.0 }))
    }
}

#[derive(Debug)]
struct Narrowed {
    inner: Box<dyn DtlsInstance>,
    profile: SrtpProfile,
}

impl DtlsInstance for Narrowed {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all but the keys is left as it is")]
    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.inner.poll_output(buf) {
            DtlsOutput::KeyingMaterial(material, _) => {
                let len = match self.profile {
                    SrtpProfile::AES128_CM_SHA1_80 => 60,
                    SrtpProfile::AEAD_AES_128_GCM => 56,
                    SrtpProfile::AEAD_AES_256_GCM => 88,
                    other => panic!("{other:?} has no keys here"),
                };
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&material[..len]), self.profile)
            }
            other => other,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}

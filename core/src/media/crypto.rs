//! The cryptography of the peers, at the seam where str0m takes it from outside.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider};

/// The provider that a server uses: str0m's stock one on AWS-LC, except that DTLS checks its
/// configuration once for the process and not once for each peer, which is more than half of what
/// a join costs.
pub fn crypto_provider() -> CryptoProvider {
    static DTLS: CachedDtls = CachedDtls { config: OnceLock::new() };
    CryptoProvider { dtls_provider: &DTLS, ..str0m::crypto::from_feature_flags() }
}

/// DTLS 1.2 by dimpl with one shared configuration.
///
/// 1.2 only: dimpl's server then prefers the GCM profiles of SRTP, while in 1.3 it takes the
/// first of the browser's list, which is the slow one.
#[derive(Debug)]
struct CachedDtls {
    config: OnceLock<Arc<dimpl::Config>>,
}

impl DtlsProvider for CachedDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = match self.config.get() {
            Some(config) => config.clone(),
            None => {
                // ICE has proved that the peer can be reached before DTLS begins, so DTLS need
                // not spend a round trip on proving it again.
                let built = dimpl::Config::builder().use_server_cookie(false).build();
                let built = built.map_err(|error| CryptoError::Other(error.to_string()))?;
                self.config.get_or_init(|| Arc::new(built)).clone()
            }
        };
        Ok(Box::new(Dimpl(dimpl::Dtls::new_12(config, cert.clone(), now))))
    }
}

struct Dimpl(dimpl::Dtls);

impl std::fmt::Debug for Dimpl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dimpl").finish_non_exhaustive()
    }
}

impl DtlsInstance for Dimpl {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

//! DTLS of a peer whose SRTP is sealed here and not in str0m.
//!
//! str0m makes the DTLS of an [`Rtc`] while it builds it, lets nobody near it, and derives its SRTP
//! from the keys that come out. Two who seal with one key would sooner or later use one nonce
//! twice, and with GCM that gives the key away (RFC 5116, section 5.1.1). So the keys are kept from
//! str0m: it says when the handshake is over, and can neither seal nor open anything.
//!
//! str0m does not tell either where it sends to, which ICE decides. But it sends there whatever
//! DTLS says, and so DTLS says nothing, in an empty datagram, when the answer is wanted.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};
use str0m::{Rtc, RtcConfig};

/// What a handshake came to.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) material: KeyingMaterial,
    pub(crate) profile: SrtpProfile,
    /// Whether we were the client, whose keys are the first (RFC 5764, section 4.2).
    pub(crate) active: bool,
}

/// What is shared with the DTLS inside an [`Rtc`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    keys: OnceLock<Keys>,
    route_wanted: AtomicBool,
}

impl Handshake {
    /// Builds an [`Rtc`] that never gets its keys.
    pub(crate) fn build(config: RtcConfig, crypto: &CryptoProvider, now: Instant) -> (Rtc, Self) {
        let handshake = Self::default();
        NEXT.set(Some((crypto.dtls_provider, handshake.clone())));
        let crypto = CryptoProvider { dtls_provider: &Withholding, ..crypto.clone() };
        let rtc = config.set_crypto_provider(Arc::new(crypto)).build(now);
        NEXT.set(None);
        (rtc, handshake)
    }

    /// The keys, once the handshake is over.
    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.0.keys.get()
    }

    /// Has an empty datagram sent to where str0m would send media now.
    pub(crate) fn ask_for_route(&self) {
        self.0.route_wanted.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    /// Whose DTLS is made next, and by whom. It is set for the time of one call, because a provider
    /// is one for the whole process, and is not told whom it makes DTLS for.
    static NEXT: Cell<Option<(&'static dyn DtlsProvider, Handshake)>> = const { Cell::new(None) };
}

#[derive(Debug)]
struct Withholding;

impl DtlsProvider for Withholding {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        None
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let (provider, handshake) = NEXT
            .take()
            .ok_or_else(|| CryptoError::Other("nobody waits for this handshake".to_owned()))?;
        let inner = provider.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(Keyless { inner, handshake }))
    }
}

/// DTLS that keeps its keys to itself.
#[derive(Debug)]
struct Keyless {
    inner: Box<dyn DtlsInstance>,
    handshake: Handshake,
}

impl DtlsInstance for Keyless {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "dimpl's outputs are an open set")]
    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        if self.handshake.0.route_wanted.swap(false, Ordering::Relaxed) {
            return DtlsOutput::Packet(&[]);
        }
        match self.inner.poll_output(buf) {
            DtlsOutput::KeyingMaterial(material, profile) => {
                let active = self.inner.is_active();
                // A second handshake would be a renegotiation, which DTLS does not do here.
                let _ = self.handshake.0.keys.set(Keys { material, profile, active });
                // str0m stops asking at a timeout, and asks again at once for one that is over.
                DtlsOutput::Packet(&[])
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

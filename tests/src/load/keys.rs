//! DTLS that tells the keys it agreed on.
//!
//! str0m keeps them to itself, but takes its DTLS from outside; so what is given to it here is the
//! same DTLS with an ear at the door.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};

use super::profiles::Profile;

/// After how long Chromium says again what was not answered, over a short way; then each time twice
/// as long. A server may not be ready for the first flight.
const RESEND_AFTER: Duration = Duration::from_millis(50);
const RESENDS_MAX: usize = 8;

/// What the two ends of a handshake agreed on.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) profile: SrtpProfile,
    /// Keys of the client and of the server, salts of the client and of the server (RFC 5764,
    /// section 4.2).
    pub(super) material: Vec<u8>,
    /// Whether we were the client of the handshake.
    pub(super) client: bool,
}

thread_local! {
    static LAST: RefCell<Option<Keys>> = const { RefCell::new(None) };
}

impl Keys {
    /// The keys that the handshake agreed on which this thread drove last, unless they were taken.
    pub(super) fn take() -> Option<Self> {
        LAST.take()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// str0m's stock cryptography with DTLS 1.2 that tells its keys and offers this of SRTP. Its
/// settings are checked once and not once for each viewer, which would be most of what a join costs
/// here.
pub(super) fn provider(profile: Profile) -> CryptoProvider {
    static ANY: Dtls = Dtls::offering(Profile::Any);
    static GCM_128: Dtls = Dtls::offering(Profile::Gcm128);
    static GCM_256: Dtls = Dtls::offering(Profile::Gcm256);
    static AES_CM: Dtls = Dtls::offering(Profile::AesCm);
    let dtls_provider = match profile {
        Profile::Any => &ANY,
        Profile::Gcm128 => &GCM_128,
        Profile::Gcm256 => &GCM_256,
        Profile::AesCm => &AES_CM,
    };
    CryptoProvider { dtls_provider, ..str0m::crypto::from_feature_flags() }
}

#[derive(Debug)]
struct Dtls {
    profile: Profile,
    config: OnceLock<Arc<dimpl::Config>>,
}

impl Dtls {
    const fn offering(profile: Profile) -> Self {
        Self { profile, config: OnceLock::new() }
    }
}

impl DtlsProvider for Dtls {
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
                let built = dimpl::Config::builder()
                    .with_crypto_provider(self.profile.provider())
                    .flight_start_rto(RESEND_AFTER)
                    .flight_retries(RESENDS_MAX)
                    .build();
                let built = built.map_err(|error| CryptoError::Other(error.to_string()))?;
                self.config.get_or_init(|| Arc::new(built)).clone()
            }
        };
        let dtls = dimpl::Dtls::new_12(config, cert.clone(), now);
        Ok(Box::new(Handshake { dtls, profile: self.profile, room: Vec::new() }))
    }
}

struct Handshake {
    dtls: dimpl::Dtls,
    profile: Profile,
    /// For what dimpl says, before it is changed.
    room: Vec<u8>,
}

impl Handshake {
    /// What dimpl says, with the offer changed.
    fn amended<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.room.resize(buf.len(), 0);
        match self.dtls.poll_output(&mut self.room) {
            DtlsOutput::Packet(bytes) => DtlsOutput::Packet(put(&self.profile.amend(bytes), buf)),
            DtlsOutput::PeerCert(bytes) => DtlsOutput::PeerCert(put(bytes, buf)),
            DtlsOutput::ApplicationData(bytes) => DtlsOutput::ApplicationData(put(bytes, buf)),
            DtlsOutput::BufferTooSmall { needed } => DtlsOutput::BufferTooSmall { needed },
            DtlsOutput::Timeout(at) => DtlsOutput::Timeout(at),
            DtlsOutput::Connected => DtlsOutput::Connected,
            DtlsOutput::KeyingMaterial(keys, profile) => DtlsOutput::KeyingMaterial(keys, profile),
            // What a later dimpl says besides is not understood here, and ends it.
            DtlsOutput::CloseNotify | _ => DtlsOutput::CloseNotify,
        }
    }
}

/// Copies bytes into a buffer that is no shorter.
fn put<'a>(bytes: &[u8], buf: &'a mut [u8]) -> &'a [u8] {
    let (taken, _) = buf.split_at_mut(bytes.len().min(buf.len()));
    for (to, from) in taken.iter_mut().zip(bytes) {
        *to = *from;
    }
    taken
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}

impl DtlsInstance for Handshake {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.dtls.is_active();
        let output = match self.profile {
            Profile::Any => self.dtls.poll_output(buf),
            Profile::Gcm128 | Profile::Gcm256 | Profile::AesCm => self.amended(buf),
        };
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            LAST.set(Some(Keys { profile: *profile, material: material.to_vec(), client }));
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}

//! Everything a shard is told at its birth.
//!
//! [`Settings`] is what an operator wrote, parsed and checked; [`Config`] is that plus what the
//! runtime found out at start: which ports the kernel gave, which addresses the machine has,
//! which certificate was loaded or made.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use str0m::config::{CryptoProvider, DtlsCert};

use crate::input::Service;
use crate::limits::Limits;
use crate::pages::Pages;

mod access;
mod authentication;
mod balancing;
mod capacity;
mod codecs;
mod diagnostics;
mod document;
mod keys;
mod loadbalancer;
mod origins;
mod properties;
mod secret;
mod settings;
mod spelling;
mod values;

pub use access::{Access, Hook, Rule};
pub use balancing::{Balancing, Distribution, EdgeNode, Fingerprint, FingerprintError, Mode};
pub(crate) use capacity::one_address;
pub use capacity::{Capacity, Network};
pub use diagnostics::{SettingsError, Warning};
pub use keys::{Effect, KEYS, Key};
pub use secret::Secret;
pub use settings::{Congestion, KeepAlive, Port, Ports, Settings, SettingsFiles};

pub use crate::token::TokenKeys;

/// Everything a shard is told at its birth. All shards of a node share one.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the operator wrote.
    pub settings: Settings,
    /// The node's name, unique among the nodes that know each other; a link carries it so that a
    /// node notices a link to itself.
    pub node: String,
    /// Where the node listens, as bound: port 0 does not occur.
    pub listening: Vec<Listening>,
    /// The media port of each shard, as bound, one entry a shard; its length is the number of
    /// shards. The address may be unspecified.
    pub media: Vec<SocketAddr>,
    /// Addresses that become ICE candidates, best first; never empty, never unspecified.
    pub addresses: Vec<IpAddr>,
    /// The certificate of the TLS listeners.
    pub tls: TlsIdentity,
    /// Certificate authorities that a node behind `<wss>` may be signed by, DER.
    pub link_roots: Vec<Vec<u8>>,
    /// Certificate authorities that the backend of `auth.hook.url` may be signed by, DER.
    pub hook_roots: Vec<Vec<u8>>,
    /// The certificate of the WebRTC peers, which browsers know by its fingerprint only.
    pub dtls: DtlsCert,
    /// The cryptography of the WebRTC peers; simulations put a fake one here.
    pub crypto: Arc<CryptoProvider>,
    /// What is served at `/client2/`.
    pub pages: Pages,
    /// The bounds.
    pub limits: Limits,
}

impl Config {
    /// How long a drain takes at most, until whoever is left is cut off.
    pub fn drain_time_max(&self) -> Duration {
        self.settings.capacity.drain_wait + self.limits.drain_timeout
    }
}

/// One TCP listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    /// What it is for.
    pub service: Service,
    /// Where it is, as bound.
    pub addr: SocketAddr,
}

/// A certificate chain and its key, as read from PEM.
#[derive(Clone)]
pub struct TlsIdentity {
    /// The chain, DER, the node's own certificate first.
    pub chain: Vec<Vec<u8>>,
    /// The private key, DER (PKCS #8, PKCS #1 or SEC 1).
    pub key: Vec<u8>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

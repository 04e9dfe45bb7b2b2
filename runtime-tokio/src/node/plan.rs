//! All that a server needs to know before it opens a socket.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use distributary_core::config::{Settings, TlsIdentity};
use distributary_core::{Event, Limits, Pages, ShardId};

use super::error::StartError;
use super::interfaces::{Reach, host_name};

/// All that a server needs to know before it opens a socket.
#[derive(Debug)]
pub struct Plan {
    /// What the operator wrote.
    pub settings: Settings,
    /// The bounds.
    pub limits: Limits,
    /// What is served at `/client2/`.
    pub pages: Pages,
    /// The certificate of the TLS listeners.
    pub tls: TlsIdentity,
    /// Authorities that edges' certificates may be signed by, DER.
    pub link_roots: Vec<Vec<u8>>,
    /// Authorities that the certificate of `auth.hook.url`'s backend may be signed by, DER.
    pub hook_roots: Vec<Vec<u8>>,
    /// The node's name.
    pub name: String,
    /// Which addresses far sides are told.
    pub reach: Reach,
    /// Where events go besides the log.
    pub events: Option<Sender<(ShardId, Event)>>,
}

impl Plan {
    /// A plan with built-in pages, default bounds and no authorities; its name is `node.id`, or
    /// else made up.
    ///
    /// # Errors
    ///
    /// [`StartError::System`] if the system gives no randomness for the name.
    pub fn new(settings: Settings, tls: TlsIdentity) -> Result<Self, StartError> {
        let name = match &settings.node_id {
            Some(id) => id.clone(),
            None => node_name()?,
        };
        Ok(Self {
            settings,
            limits: Limits::default(),
            pages: Pages::built_in(),
            tls,
            link_roots: Vec::new(),
            hook_roots: Vec::new(),
            name,
            reach: Reach::default(),
            events: None,
        })
    }
}

/// A name that no other node has: the host's, which tells an operator which one it is, and a
/// random part, because one host may run several.
pub(super) fn node_name() -> Result<String, StartError> {
    let [a, b, c, d, ..] = random()?;
    let random = u32::from_be_bytes([a, b, c, d]);
    Ok(format!("{}-{random:08x}", host_name().unwrap_or_else(|| "node".to_owned())))
}

/// Fresh randomness from the operating system.
pub(super) fn random() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes).map_err(|_| {
        let source = std::io::ErrorKind::Unsupported.into();
        StartError::System { what: "the system gives no randomness", source }
    })?;
    Ok(bytes)
}

/// The cryptography that the node's peers use.
pub(super) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(distributary_core::crypto_provider())
}

type CryptoProvider = str0m::config::CryptoProvider;

#[cfg(test)]
mod tests {
    use distributary_core::config::SettingsFiles;

    use super::*;
    use crate::node::self_signed;

    fn name(properties: &str) -> String {
        let files = SettingsFiles { properties, balancing: None };
        let (settings, _) = Settings::parse(files, &[]).unwrap();
        Plan::new(settings, self_signed().unwrap()).unwrap().name
    }

    #[test]
    fn a_node_has_the_name_it_is_given_or_one_of_its_own() {
        assert_eq!(name("node.id=origin-1"), "origin-1");
        assert_ne!(name(""), name(""));
    }
}

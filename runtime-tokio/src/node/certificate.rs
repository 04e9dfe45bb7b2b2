//! The certificate of the TLS listeners: an operator's own, or one made at first start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use distributary_core::config::TlsIdentity;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};
use x509_cert::der::Decode;

use super::error::StartError;
use super::folder::read_bounded;
use super::interfaces::{host_name, interface_addresses};
use super::plan::crypto;

const CERTIFICATE_FILE: &str = "distributary-cert.pem";
const KEY_FILE: &str = "distributary-key.pem";
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// How long a certificate of our own making is good for. Apple's platforms refuse longer ones
/// even where an operator has told the machine to trust it.
const VALIDITY: Duration = Duration::from_secs(825 * 24 * 3600);
/// Made anew at a start with less than this left, so that a node that is restarted now and then
/// never serves an expired one.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Clocks of far sides may run behind ours.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// Reads a certificate chain and its key from PEM files.
///
/// # Errors
///
/// [`StartError::File`] naming the file and what it lacks.
pub(super) fn load(certificate: &Path, key: &Path) -> Result<TlsIdentity, StartError> {
    let chain = authorities(certificate)?;
    let key_pem = read_bounded(key, PEM_BYTES_MAX)?;
    let key_der = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| StartError::File {
        path: key.to_owned(),
        problem: format!("expected a private key in PEM, without a passphrase: {error}"),
    })?;
    let secret = key_der.secret_der().to_vec();
    let own = chain.iter().cloned().map(CertificateDer::from).collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(own, key_der, &provider).map_err(|error| StartError::File {
        path: key.to_owned(),
        problem: format!("expected the key of {}: {error}", certificate.display()),
    })?;
    Ok(TlsIdentity { chain, key: secret })
}

/// Reads all certificates of a PEM file, DER; at least one.
pub(super) fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, StartError> {
    let pem = read_bounded(path, PEM_BYTES_MAX)?;
    let problem = |problem| StartError::File { path: path.to_owned(), problem };
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| problem(format!("expected certificates in PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(problem("expected certificates in PEM and found none".to_owned()));
    }
    Ok(certificates)
}

/// Takes the certificate that an earlier start left in `folder`, or makes one and leaves it there.
///
/// Where the folder cannot be written the certificate lives as long as the process, with a
/// warning: browsers and edges that were told its fingerprint will not know the next one.
pub(super) fn keep(folder: &Path) -> Result<TlsIdentity, StartError> {
    let (certificate_path, key_path) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    if certificate_path.exists() && key_path.exists() {
        let kept = load(&certificate_path, &key_path)?;
        if expires_within(&kept, RENEW_BEFORE) {
            warn!(
                "{} expires soon and is made anew; what pins its fingerprint needs the new one",
                certificate_path.display()
            );
        } else {
            return Ok(kept);
        }
    }
    let made = make()?;
    let written = write_new(&key_path, &made.key_pem, 0o600)
        .and_then(|()| write_new(&certificate_path, &made.certificate_pem, 0o644));
    match written {
        Ok(()) => info!("made a self-signed certificate, {}", certificate_path.display()),
        Err(error) => warn!(
            "made a self-signed certificate for this run only, because {} cannot be written: \
             {error}; make the folder writable, or set tls.cert and tls.key",
            folder.display()
        ),
    }
    Ok(made.identity)
}

/// Makes a self-signed certificate that is kept in memory only.
///
/// # Errors
///
/// [`StartError::Certificate`] if the cryptography library refuses.
pub fn self_signed() -> Result<TlsIdentity, StartError> {
    Ok(make()?.identity)
}

/// The SHA-256 of the node's certificate in the notation of `<fingerprint>` and of browsers:
/// upper-case hexadecimal octets with colons between them.
pub fn fingerprint(identity: &TlsIdentity) -> String {
    let der = identity.chain.first().map_or(&[][..], Vec::as_slice);
    let octets = crypto().sha256_provider.sha256(der);
    octets.map(|octet| format!("{octet:02X}")).join(":")
}

struct Made {
    identity: TlsIdentity,
    certificate_pem: String,
    key_pem: String,
}

/// Makes an ECDSA P-256 certificate, which costs a handshake far less than an RSA one, for every
/// name and address that this machine is reached by.
fn make() -> Result<Made, StartError> {
    let refused = |error: rcgen::Error| StartError::Certificate(error.to_string());
    let mut addresses = interface_addresses();
    addresses.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]);
    addresses.sort_unstable();
    addresses.dedup();
    let names = ["localhost".to_owned()].into_iter().chain(host_name());

    let mut params = CertificateParams::default();
    for name in names {
        // A host name that cannot stand in a certificate is left out of it.
        if let Ok(name) = name.try_into() {
            params.subject_alt_names.push(SanType::DnsName(name));
        }
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, "distributary");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let start = rcgen::date_time_ymd(1970, 1, 1) + unix_now().saturating_sub(BACKDATED);
    params.not_before = start;
    params.not_after = start + VALIDITY;

    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(refused)?;
    let certificate = params.self_signed(&key).map_err(refused)?;
    Ok(Made {
        identity: TlsIdentity { chain: vec![certificate.der().to_vec()], key: key.serialize_der() },
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// Whether the certificate ends within `span` of now. One that cannot be read is left to whoever
/// uses it to complain about.
fn expires_within(identity: &TlsIdentity, span: Duration) -> bool {
    identity
        .chain
        .first()
        .and_then(|der| x509_cert::Certificate::from_der(der).ok())
        .map(|certificate| certificate.tbs_certificate().validity().not_after.to_unix_duration())
        .is_some_and(|end| end < unix_now() + span)
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Replaces a file whole, so that a crash leaves the old one or the new one. `mode` holds from
/// the first byte on.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::node::folder::tests::scratch;

    #[test]
    fn is_made_once_and_found_again() {
        let folder = scratch("certificate-reuse");
        let first = keep(&folder).unwrap();
        let second = keep(&folder).unwrap();
        assert_eq!(fingerprint(&first), fingerprint(&second));
        let mode = fs::metadata(folder.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn is_good_for_a_while() {
        let identity = self_signed().unwrap();
        assert!(!expires_within(&identity, VALIDITY - 2 * BACKDATED));
        assert!(expires_within(&identity, VALIDITY));
        assert_eq!(fingerprint(&identity).len(), 32 * 3 - 1);
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let folder = scratch("certificate-no-key");
        keep(&folder).unwrap();
        let certificate = folder.join(CERTIFICATE_FILE);
        let error = load(&certificate, &certificate).unwrap_err().to_string();
        assert!(error.contains(CERTIFICATE_FILE) && error.contains("private key"), "{error}");
    }

    #[test]
    fn the_key_of_another_certificate_is_refused() {
        let (one, other) = (scratch("certificate-one"), scratch("certificate-other"));
        keep(&one).unwrap();
        keep(&other).unwrap();
        let error = load(&one.join(CERTIFICATE_FILE), &other.join(KEY_FILE)).unwrap_err();
        assert!(error.to_string().contains("expected the key of"), "{error}");
    }
}

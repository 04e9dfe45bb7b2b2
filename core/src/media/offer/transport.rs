//! What an offer says of the transport that all of its sections share.

use str0m::crypto::Fingerprint;
use str0m::ice::IceCreds;
use str0m::media::Mid;

use super::{FINGERPRINT, Fate, Narrowed, OfferFault, has_prefix};

/// The far side of a transport.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) ice: IceCreds,
    pub(crate) fingerprint: Fingerprint,
    /// Whether we begin the handshake of DTLS, because the far side waits for it (RFC 5763,
    /// section 5).
    pub(crate) is_active: bool,
}

/// The only protocol of a media line that there is here: RTP with feedback, over DTLS-SRTP
/// (RFC 5764, section 8).
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// Bytes of a SHA-256.
const DIGEST_BYTES: usize = 32;

impl Transport {
    /// Reads the transport of the sections that are not rejected: what the session part says, else
    /// what the first of them does (RFC 9143, section 7.3).
    pub(super) fn read(narrowed: &Narrowed<'_>) -> Result<Self, OfferFault> {
        check_sections(narrowed)?;
        let malformed = OfferFault::Malformed;
        if narrowed.session().contains(&"a=ice-lite") {
            return Err(malformed("both sides are ICE-lite"));
        }
        let ice = first(narrowed, |lines| {
            let value = |prefix| lines.iter().find_map(|line| line.strip_prefix(prefix));
            let (ufrag, pass) = (value("a=ice-ufrag:")?, value("a=ice-pwd:")?);
            Some(IceCreds { ufrag: ufrag.to_owned(), pass: pass.to_owned() })
        });
        let digest = first(narrowed, |lines| {
            let line = lines.iter().find(|line| has_prefix(line, FINGERPRINT))?;
            line.get(FINGERPRINT.len()..)
        });
        let setup = first(narrowed, |lines| lines.iter().find_map(|l| l.strip_prefix("a=setup:")));
        let digest = digest.ok_or(malformed("it has no SHA-256 fingerprint"))?;
        Ok(Self {
            ice: ice.ok_or(malformed("it has no ICE user name fragment and password"))?,
            fingerprint: Fingerprint {
                hash_func: "sha-256".to_owned(),
                bytes: octets(digest).ok_or(malformed("its fingerprint is not of 32 octets"))?,
            },
            is_active: setup == Some("passive"),
        })
    }
}

fn check_sections(narrowed: &Narrowed<'_>) -> Result<(), OfferFault> {
    let sections = narrowed.sections().filter(|(_, fate)| *fate != Fate::Reject);
    let groups = narrowed.session().iter().filter_map(|line| line.strip_prefix("a=group:BUNDLE "));
    let bundled: Vec<&str> = groups.flat_map(str::split_whitespace).collect();
    let mut mids: Vec<Mid> = Vec::new();
    for (section, _) in sections {
        let mid = section.mid()?;
        if mids.contains(&mid) {
            return Err(OfferFault::Malformed("two of its sections have one a=mid"));
        }
        if !bundled.contains(&&*mid) {
            return Err(OfferFault::Malformed("its sections do not share a transport by BUNDLE"));
        }
        if section.protocol() != PROTOCOL {
            return Err(OfferFault::Malformed("its media are not UDP/TLS/RTP/SAVPF"));
        }
        mids.push(mid);
    }
    Ok(())
}

/// What is found in the session part, or else in the first section that has it.
fn first<'a, T>(narrowed: &Narrowed<'a>, find: impl Fn(&[&'a str]) -> Option<T>) -> Option<T> {
    find(narrowed.session()).or_else(|| {
        let mut sections = narrowed.sections().filter(|(_, fate)| *fate != Fate::Reject);
        sections.find_map(|(section, _)| find(&section.lines))
    })
}

fn octets(digest: &str) -> Option<Vec<u8>> {
    let pairs = digest.trim().split(':').map(|pair| {
        let is_pair = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_pair.then(|| u8::from_str_radix(pair, 16).ok())?
    });
    pairs.collect::<Option<Vec<u8>>>().filter(|octets| octets.len() == DIGEST_BYTES)
}

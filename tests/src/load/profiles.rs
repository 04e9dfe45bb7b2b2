//! Viewers that offer one profile of SRTP only.
//!
//! dimpl offers all that it knows. What it offers is changed on its way out, and again wherever
//! the handshake is hashed or signed: so both ends agree on what was said, and the server sees a
//! viewer that knows no other profile. That works for the client of the handshake, which is why
//! such a viewer offers to be nothing else.

use std::borrow::Cow;

use dimpl::CryptoError;
use dimpl::crypto::{
    Buf, CryptoProvider, HashAlgorithm, HashContext, HashProvider, KeyProvider, SignatureAlgorithm,
    SigningKey,
};
use str0m::crypto::dtls::SrtpProfile;

/// Which profiles of SRTP viewers offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// All that browsers offer; the server chooses.
    #[default]
    Any,
    /// AEAD_AES_128_GCM
    Gcm128,
    /// AEAD_AES_256_GCM
    Gcm256,
    /// SRTP_AES128_CM_HMAC_SHA1_80
    AesCm,
}

/// The extension `use_srtp` as dimpl writes it (RFC 5764, section 4.1.1): its number and length,
/// three profiles, the best one first, and no MKI.
const OFFERED: [u8; 13] = [0, 14, 0, 9, 0, 6, 0, 8, 0, 7, 0, 1, 0];
/// Where in it the profiles are.
const PROFILES: std::ops::Range<usize> = 6..12;
/// A profile that nobody was ever given; servers pass over what they do not know.
const UNASSIGNED: [u8; 2] = [0, 0xf0];

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Any, Self::Gcm128, Self::Gcm256, Self::AesCm];

    /// Its name in arguments and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Gcm128 => "gcm-128",
            Self::Gcm256 => "gcm-256",
            Self::AesCm => "aes-cm",
        }
    }

    /// The one that has this name.
    ///
    /// # Errors
    ///
    /// In a sentence that names all, if none has.
    pub fn named(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| format!("no profile is called {name}; there are {}", names()))
    }

    /// What SRTP calls it, and what is taken where any would do: the cheapest.
    pub(super) fn srtp(self) -> SrtpProfile {
        match self {
            Self::Any | Self::Gcm128 => SrtpProfile::AEAD_AES_128_GCM,
            Self::Gcm256 => SrtpProfile::AEAD_AES_256_GCM,
            Self::AesCm => SrtpProfile::AES128_CM_SHA1_80,
        }
    }

    /// The number of the only one that is offered (RFC 5764 and RFC 7714, section 14.2).
    fn number(self) -> Option<[u8; 2]> {
        match self {
            Self::Any => None,
            Self::Gcm128 => Some([0, 7]),
            Self::Gcm256 => Some([0, 8]),
            Self::AesCm => Some([0, 1]),
        }
    }

    /// These bytes, and where they hold dimpl's offer, this one.
    pub(super) fn amend(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        let Some(only) = self.number() else { return bytes.into() };
        let Some(at) = bytes.windows(OFFERED.len()).position(|window| window == OFFERED) else {
            return bytes.into();
        };
        let mut amended = bytes.to_vec();
        let offered = amended.get_mut(at..).and_then(|rest| rest.get_mut(PROFILES));
        for profile in offered.into_iter().flat_map(|profiles| profiles.chunks_mut(2)) {
            if *profile != only {
                profile.copy_from_slice(&UNASSIGNED);
            }
        }
        amended.into()
    }

    /// Cryptography for dimpl that hashes and signs what was sent.
    pub(super) fn provider(self) -> CryptoProvider {
        let stock = stock();
        let amending: &'static Amending = match self {
            Self::Any => return stock,
            Self::Gcm128 => &Amending(Self::Gcm128),
            Self::Gcm256 => &Amending(Self::Gcm256),
            Self::AesCm => &Amending(Self::AesCm),
        };
        CryptoProvider { hash_provider: amending, key_provider: amending, ..stock }
    }
}

fn stock() -> CryptoProvider {
    dimpl::crypto::aws_lc_rs::default_provider()
}

#[derive(Debug)]
struct Amending(Profile);

impl HashProvider for Amending {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        let stock = stock().hash_provider.create_hash(algorithm);
        Box::new(AmendingHash { profile: self.0, stock })
    }
}

impl KeyProvider for Amending {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let stock = stock().key_provider.load_private_key(key_der)?;
        Ok(Box::new(AmendingKey { profile: self.0, stock }))
    }
}

#[derive(Debug)]
struct AmendingHash {
    profile: Profile,
    stock: Box<dyn HashContext>,
}

impl HashContext for AmendingHash {
    /// dimpl gives the whole handshake at once, so no offer is cut in two.
    fn update(&mut self, data: &[u8]) {
        self.stock.update(&self.profile.amend(data));
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.stock.clone_and_finalize(out);
    }
}

#[derive(Debug)]
struct AmendingKey {
    profile: Profile,
    stock: Box<dyn SigningKey>,
}

impl SigningKey for AmendingKey {
    fn sign(
        &mut self,
        data: &[u8],
        hash_alg: HashAlgorithm,
        out: &mut Buf,
    ) -> Result<(), CryptoError> {
        self.stock.sign(&self.profile.amend(data), hash_alg, out)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.stock.algorithm()
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.stock.hash_algorithm()
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        self.stock.supported_hash_algorithms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_profile_is_left_of_an_offer() {
        let hello = [&[1, 2, 3], &OFFERED[..], &[0, 23, 0, 0]].concat();
        let left = |profile: Profile| profile.amend(&hello)[9..15].to_vec();
        assert_eq!(left(Profile::Any), [0, 8, 0, 7, 0, 1]);
        assert_eq!(left(Profile::Gcm256), [0, 8, 0, 0xf0, 0, 0xf0]);
        assert_eq!(left(Profile::Gcm128), [0, 0xf0, 0, 7, 0, 0xf0]);
        assert_eq!(left(Profile::AesCm), [0, 0xf0, 0, 0xf0, 0, 1]);
        let amended = Profile::AesCm.amend(&hello);
        assert_eq!((amended.len(), &amended[..9], &amended[15..]), (20, &hello[..9], &hello[15..]));
        assert_eq!(*Profile::AesCm.amend(&OFFERED[1..]), OFFERED[1..]);
    }

    #[test]
    fn profiles_have_names() {
        for profile in Profile::ALL {
            assert_eq!(Profile::named(profile.name()), Ok(profile));
        }
        assert!(Profile::named("null").unwrap_err().contains("any, gcm-128, gcm-256, aes-cm"));
    }
}

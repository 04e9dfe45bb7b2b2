//! Signed tokens: JSON Web Tokens (RFC 7519) under HMAC with SHA-256 (RFC 7518, section 3.2).
//!
//! Whoever knows a key can make tokens, and nobody else can. The times in a token are checked here,
//! against the time that the shard was told, and with patience for clocks that differ.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::Limits;

mod link;

pub(crate) use self::link::{LinkProof, LinkRefusal};

/// One key, or two while one is being replaced: the first signs, both are accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKeys {
    signing: Box<[u8]>,
    other: Option<Box<[u8]>>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = 1 + usize::from(self.other.is_some());
        f.debug_struct("TokenKeys").field("keys", &keys).finish_non_exhaustive()
    }
}

/// What a token says: its times, which are checked here, and what else its reader wants to know.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Token<C> {
    #[serde(rename = "iat", default, skip_serializing_if = "Option::is_none")]
    pub(crate) issued_at: Option<NumericDate>,
    #[serde(rename = "nbf", default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<NumericDate>,
    /// A token without it is refused: it would be good for ever.
    #[serde(rename = "exp", default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<NumericDate>,
    #[serde(flatten)]
    pub(crate) claims: C,
}

/// A wall time, since 1970-01-01 00:00:00 UTC. Others may write fractions of a second (RFC 7519,
/// section 2); we write whole ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct NumericDate(pub(crate) Duration);

/// Why a token is refused. None of the texts repeats anything of the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum TokenFault {
    #[error("it is longer than a token may be")]
    TooLong,
    /// Another algorithm is among these: to let a token choose is to let its forger choose.
    #[error("it is no JSON Web Token signed with HS256")]
    Malformed,
    #[error("it was signed with another key")]
    Key,
    #[error("a claim is missing or of the wrong kind")]
    Claims,
    #[error("it has no end (exp)")]
    Endless,
    /// Seconds since.
    #[error("it expired {0} s ago")]
    Expired(u64),
    /// Seconds until.
    #[error("it is good only {0} s from now")]
    NotYet(u64),
}

impl TokenKeys {
    pub(crate) fn new(signing: &[u8], other: Option<&[u8]>) -> Self {
        Self { signing: signing.into(), other: other.map(Into::into) }
    }

    /// Writes the token and signs it with the first key.
    pub(crate) fn sign<C: Serialize>(&self, token: &Token<C>) -> String {
        let header = Header::new(Algorithm::HS256);
        let key = EncodingKey::from_secret(&self.signing);
        jsonwebtoken::encode(&header, token, &key).expect("claims are plain JSON")
    }

    /// Reads a token that was signed with one of the keys and whose time, at `now` since
    /// 1970-01-01 00:00:00 UTC, is come and not over.
    pub(crate) fn verify<C: DeserializeOwned>(
        &self,
        token: &str,
        now: Duration,
        limits: &Limits,
    ) -> Result<Token<C>, TokenFault> {
        if token.len() > limits.token_bytes_max {
            return Err(TokenFault::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Malformed)?;
        // What is critical has to be understood (RFC 7515, section 4.1.11), and nothing is here.
        if header.crit.is_some() {
            return Err(TokenFault::Malformed);
        }
        let read = match (decode(token, &self.signing), &self.other) {
            (Err(TokenFault::Key), Some(other)) => decode(token, other)?,
            (read, _) => read?,
        };
        read.check_times(now, limits.token_skew_max)?;
        Ok(read)
    }
}

impl<C> Token<C> {
    fn check_times(&self, now: Duration, skew: Duration) -> Result<(), TokenFault> {
        let end = self.expires_at.ok_or(TokenFault::Endless)?.0;
        if let Some(over) = now.checked_sub(end).filter(|over| *over >= skew) {
            return Err(TokenFault::Expired(over.as_secs()));
        }
        for start in [self.issued_at, self.not_before].into_iter().flatten() {
            if let Some(early) = start.0.checked_sub(now).filter(|early| *early > skew) {
                return Err(TokenFault::NotYet(early.as_secs()));
            }
        }
        Ok(())
    }
}

fn decode<C: DeserializeOwned>(token: &str, key: &[u8]) -> Result<Token<C>, TokenFault> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    // It would ask the machine's clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    // Whom it is for is a claim of the caller's.
    validation.validate_aud = false;
    match jsonwebtoken::decode(token, &DecodingKey::from_secret(key), &validation) {
        Ok(read) => Ok(read.claims),
        Err(error) if *error.kind() == ErrorKind::InvalidSignature => Err(TokenFault::Key),
        // The header was read before, so it is the claims that are not as they should be.
        Err(error) if matches!(error.kind(), ErrorKind::Json(_)) => Err(TokenFault::Claims),
        Err(_) => Err(TokenFault::Malformed),
    }
}

impl Serialize for NumericDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.as_secs())
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?.max(0.0);
        Ok(Self(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// RFC 7515, appendix A.1.
    const PUBLISHED: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0\
        cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const PUBLISHED_KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const PUBLISHED_END: Duration = Duration::from_secs(1_300_819_380);

    const HEADER: &str = r#"{"alg":"HS256"}"#;
    const NOW: Duration = Duration::from_secs(1_700_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Who {
        iss: String,
    }

    fn keys() -> TokenKeys {
        TokenKeys::new(b"one", None)
    }

    fn token(from: Duration, to: Duration) -> Token<Who> {
        Token {
            issued_at: Some(NumericDate(from)),
            not_before: None,
            expires_at: Some(NumericDate(to)),
            claims: Who { iss: "joe".to_owned() },
        }
    }

    fn verify(keys: &TokenKeys, token: &str) -> Result<Token<Who>, TokenFault> {
        keys.verify(token, NOW, &Limits::default())
    }

    /// A token with these parts, signed with the key of [`keys`].
    fn signed(header: &str, claims: &str) -> String {
        let parts = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
        let message = parts.join(".");
        let key = EncodingKey::from_secret(&keys().signing);
        let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{mac}")
    }

    #[test]
    fn the_published_example_is_verified() {
        let keys = TokenKeys::new(&BASE64URL_NOPAD.decode(PUBLISHED_KEY.as_bytes()).unwrap(), None);
        let at = |now| keys.verify::<Value>(PUBLISHED, now, &Limits::default());
        let read = at(PUBLISHED_END - SECOND).unwrap();
        assert_eq!(read.expires_at, Some(NumericDate(PUBLISHED_END)));
        assert_eq!(read.claims, json!({"iss": "joe", "http://example.com/is_root": true}));
        assert_eq!(at(NOW), Err(TokenFault::Expired((NOW - PUBLISHED_END).as_secs())));
    }

    #[test]
    fn what_was_signed_is_verified_and_read() {
        let token = token(NOW, NOW + SECOND);
        assert_eq!(verify(&keys(), &keys().sign(&token)), Ok(token));
    }

    #[test]
    fn both_keys_are_accepted_and_the_first_signs() {
        let rotating = TokenKeys::new(b"two", Some(b"one"));
        let token = token(NOW, NOW + SECOND);
        assert!(verify(&rotating, &keys().sign(&token)).is_ok());
        assert!(verify(&rotating, &rotating.sign(&token)).is_ok());
        assert_eq!(verify(&keys(), &rotating.sign(&token)), Err(TokenFault::Key));
        assert!(verify(&TokenKeys::new(b"two", None), &rotating.sign(&token)).is_ok());
    }

    #[test]
    fn a_token_that_was_tampered_with_is_refused() {
        let honest = keys().sign(&token(NOW, NOW + SECOND));
        let other = keys().sign(&Token { issued_at: None, ..token(NOW, NOW + SECOND) });
        let part = |token: &str, n: usize| token.split('.').nth(n).unwrap().to_owned();
        let mixed = [part(&honest, 0), part(&other, 1), part(&honest, 2)].join(".");
        assert_eq!(verify(&keys(), &mixed), Err(TokenFault::Key));
        for text in ["", ".", "..", "a.b", &honest[1..], &format!("{honest}.")] {
            assert_eq!(verify(&keys(), text), Err(TokenFault::Malformed), "{text}");
        }
    }

    #[test]
    fn only_hs256_is_accepted_and_nothing_critical() {
        let claims = format!(r#"{{"iss":"joe","exp":{}}}"#, NOW.as_secs());
        assert!(verify(&keys(), &signed(HEADER, &claims)).is_ok());
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS384"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
        ] {
            let token = signed(header, &claims);
            assert_eq!(verify(&keys(), &token), Err(TokenFault::Malformed), "{header}");
        }
        let bare = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        let bare = format!("{bare}.{}.", BASE64URL_NOPAD.encode(claims.as_bytes()));
        assert_eq!(verify(&keys(), &bare), Err(TokenFault::Malformed));
    }

    #[test]
    fn times_are_kept_to_but_for_the_skew_of_clocks() {
        let at = |from, to| verify(&keys(), &keys().sign(&token(from, to))).map(|_| ());
        let skew = Limits::default().token_skew_max;
        assert_eq!(at(NOW, NOW + SECOND - skew), Ok(()));
        assert_eq!(at(NOW, NOW - skew), Err(TokenFault::Expired(60)));
        assert_eq!(at(NOW + skew, NOW + skew), Ok(()));
        assert_eq!(at(NOW + skew + SECOND, NOW + skew), Err(TokenFault::NotYet(61)));
        let later = Token { not_before: Some(NumericDate(NOW + skew + SECOND)), ..token(NOW, NOW) };
        assert_eq!(verify(&keys(), &keys().sign(&later)), Err(TokenFault::NotYet(61)));
        let endless = Token { expires_at: None, ..token(NOW, NOW) };
        assert_eq!(verify(&keys(), &keys().sign(&endless)), Err(TokenFault::Endless));
    }

    #[test]
    fn dates_of_others_may_have_fractions_and_be_far_away() {
        let read = |exp: &str| {
            let claims = format!(r#"{{"iss":"joe","exp":{exp}}}"#);
            verify(&keys(), &signed(HEADER, &claims))
        };
        let half = NumericDate(NOW + SECOND / 2);
        assert_eq!(read("1700000000.5").map(|token| token.expires_at), Ok(Some(half)));
        assert_eq!(read("1e300").map(|token| token.claims.iss), Ok("joe".to_owned()));
        assert_eq!(read("-1"), Err(TokenFault::Expired(NOW.as_secs())));
        assert_eq!(read(r#""1700000000""#), Err(TokenFault::Claims));
        assert_eq!(read("1e999"), Err(TokenFault::Claims));
    }

    #[test]
    fn a_token_beyond_the_bound_is_refused_unread() {
        let text = keys().sign(&token(NOW, NOW + SECOND));
        let verify = |bytes: usize| {
            let limits = Limits { token_bytes_max: bytes, ..Limits::default() };
            keys().verify::<Who>(&text, NOW, &limits).map(|_| ())
        };
        assert_eq!(verify(text.len()), Ok(()));
        assert_eq!(verify(text.len() - 1), Err(TokenFault::TooLong));
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", TokenKeys::new(b"secret", Some(b"hidden")));
        assert_eq!(shown, "TokenKeys { keys: 2, .. }");
    }

    proptest! {
        #[test]
        fn anything_is_answered(
            text in "\\PC{0,64}|[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}",
        ) {
            prop_assert!(verify(&keys(), &text).is_err());
        }

        #[test]
        fn anything_signed_is_answered(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            exp in any::<f64>(),
        ) {
            let claims = format!(r#"{{"iss":"joe","exp":{exp:e}}}"#);
            let _ = verify(&keys(), &signed(HEADER, &claims));
            let text = String::from_utf8_lossy(&bytes);
            prop_assert!(verify(&keys(), &signed(HEADER, &text)).is_err());
            prop_assert!(verify(&keys(), &signed(&text, &claims)).is_err());
        }

        #[test]
        fn no_other_byte_will_do(at: prop::sample::Index, byte in "[A-Za-z0-9_.-]") {
            let honest = keys().sign(&token(NOW, NOW + SECOND));
            let at = at.index(honest.len());
            let mut forged = honest.clone();
            forged.replace_range(at..=at, &byte);
            prop_assert_eq!(verify(&keys(), &forged).is_ok(), forged == honest);
        }
    }
}

//! Tokens as a backend makes them, without the server's code.

use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

/// A key that is long enough.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Signs these claims, a JSON object, to be good until then, since 1970-01-01 00:00:00 UTC.
pub fn sign(key: &str, until: Duration, mut claims: Value) -> String {
    if let Some(claims) = claims.as_object_mut() {
        claims.insert("exp".to_owned(), until.as_secs().into());
    }
    let parts = [r#"{"alg":"HS256","typ":"JWT"}"#.to_owned(), claims.to_string()];
    let message = parts.map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with OpenSSL.
    #[test]
    fn a_token_is_what_others_make() {
        let expected = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjF9.\
                        NB2O4_Pc5o7B1DZYR5Ta2x_lo1OLgO0-Vd0MvP0y6Gs";
        assert_eq!(sign("key", Duration::from_secs(1), serde_json::json!({})), expected);
    }
}

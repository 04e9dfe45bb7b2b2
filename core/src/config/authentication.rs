//! Who may publish: the key that the nodes of one CDN share.

use super::diagnostics::SettingsError;
use super::values::{Value, Values};
use crate::token::TokenKeys;

/// HMAC with SHA-256 wants a key as long as its hash (RFC 7518, section 3.2).
const KEY_BYTES_MIN: usize = 32;
const KEY_BYTES_MAX: usize = 256;
const KEYS_MAX: usize = 2;

/// Reads `cdn_auth_key`.
pub(super) fn keys(values: &Values, is_origin: bool) -> Result<Option<TokenKeys>, SettingsError> {
    let value = values.get("cdn_auth_key");
    let keys = token_keys(&value)?;
    if keys.is_some() && is_origin && values.get("node.id").text.is_empty() {
        return Err(value.place.error(
            "expected node.id beside it: edges know an origin by its name, which has to be the \
             same after a restart",
        ));
    }
    Ok(keys)
}

/// Reads one key, or two of which the first signs; no error repeats what was written.
pub(super) fn token_keys(value: &Value<'_>) -> Result<Option<TokenKeys>, SettingsError> {
    let keys: Vec<&str> = value.list().collect();
    let is_key = |key: &&str| {
        (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if keys.len() > KEYS_MAX || !keys.iter().all(is_key) {
        return Err(value.place.error(format!(
            "expected one key, or two with a comma between them, each of {KEY_BYTES_MIN} to \
             {KEY_BYTES_MAX} ASCII characters without spaces, such as `openssl rand -hex 32` \
             makes; what was found is not shown"
        )));
    }
    let Some(signing) = keys.first() else { return Ok(None) };
    let other = keys.get(1).map(|key| key.as_bytes());
    Ok(Some(TokenKeys::new(signing.as_bytes(), other)))
}

/// Reads `cdn_role_strict`. Whoever has a key and no edges of its own is an edge.
pub(super) fn is_strict(
    values: &Values,
    has_key: bool,
    is_origin: bool,
) -> Result<bool, SettingsError> {
    let value = values.get("cdn_role_strict");
    if value.text.is_empty() {
        return Ok(has_key && !is_origin);
    }
    let strict = value.flag()?;
    if strict && !has_key {
        return Err(value
            .place
            .error("expected cdn_auth_key beside it: nobody could publish here"));
    }
    Ok(strict)
}

//! Tokens of viewers and publishers.

use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use distributary_core::{Limits, Service};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::{Bare, CONNECTION, UPGRADE};
use distributary_tests::token::KEY;
use serde_json::{Map, Value};

use crate::bytes::Bytes;
use crate::{offers, room};

/// What is wanted, by whoever has the token.
const NAME: &str = "cam-1";

/// Since 1970, when a simulation begins.
const NOW: f64 = 1_767_225_600.0;

/// A byte that says how, the header, and the claims of a token, which is then shown: whoever is
/// let in has one that this file allows as well, by a reading of its own.
pub fn token(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (Some(how), Some(header)) = (bytes.byte(), bytes.counted()) else { return };
    let claims = bytes.rest();
    let (is_signed, publishes) = (how & 1 == 0, how & 2 == 0);
    let token = sign(if is_signed { KEY } else { "another key" }, header, claims);
    let settings = format!("auth.publish=jwt\nauth.play=jwt\nauth.jwt.key={KEY}\n");
    let mut bare = Bare::new(Plan::new("node.example").with(&settings));
    let conn = bare.connect(Service::Ws);
    let upgrade = String::from_utf8_lossy(UPGRADE).into_owned();
    let (upgrade, custom) = match how >> 2 & 3 {
        0 => (upgrade.replace("GET / ", &format!("GET /?token={token} ")), None),
        1 => {
            let field = format!("Authorization: Bearer {token}\r\nOrigin:");
            (upgrade.replace("Origin:", &field), None)
        }
        _ => (upgrade, Some(token)),
    };
    bare.receive(conn, upgrade.as_bytes());
    bare.say(conn, CONNECTION);
    let wish =
        if publishes { offers::publish("m", NAME, false) } else { offers::play("m", NAME, false) };
    let mut wish: Value = serde_json::from_str(&wish).expect("it was JSON");
    if let (Some(token), Some(request)) = (custom, wish.pointer_mut("/data/0")) {
        request["custom"] = serde_json::json!({ "token": token });
    }
    bare.say(conn, wish.to_string().as_bytes());
    bare.advance(Duration::from_secs(1));
    let told = String::from_utf8_lossy(&bare.take(conn)).into_owned();
    let is_refused = told.contains("Access token ");
    assert!(is_refused || is_signed && allows(header, claims, publishes), "{told}");
    room::leave(&mut bare);
}

fn sign(key: &str, header: &[u8], claims: &[u8]) -> String {
    let message = [header, claims].map(|part| BASE64URL_NOPAD.encode(part)).join(".");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

fn allows(header: &[u8], claims: &[u8], publishes: bool) -> bool {
    let object = |json| serde_json::from_slice::<Map<String, Value>>(json).ok();
    let (Some(header), Some(claims)) = (object(header), object(claims)) else { return false };
    header.get("alg").is_some_and(|alg| alg == "HS256")
        && header.get("crit").is_none_or(Value::is_null)
        && is_time(&claims)
        && claims.get("streams").is_none_or(has_name)
        && claims.get("role").is_none_or(|role| has_role(role, publishes))
}

/// To the second: fractions are rounded somewhere.
fn is_time(claims: &Map<String, Value>) -> bool {
    let skew = Limits::default().token_skew_max.as_secs_f64() + 1.0;
    let has_begun = |key| match claims.get(key) {
        None | Some(Value::Null) => true,
        Some(start) => start.as_f64().is_some_and(|start| start <= NOW + skew),
    };
    let end = claims.get("exp").and_then(Value::as_f64);
    end.is_some_and(|end| end + skew > NOW) && has_begun("nbf") && has_begun("iat")
}

fn has_name(streams: &Value) -> bool {
    let patterns = streams.as_array().map(Vec::as_slice).unwrap_or_default();
    patterns.iter().any(|pattern| pattern.as_str().is_some_and(|pattern| fits(pattern, NAME)))
}

/// Whether a name is what the pattern says, in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

fn has_role(role: &Value, publishes: bool) -> bool {
    let act = if publishes { "publish" } else { "play" };
    let is_it = |role: &Value| role == act || role == "both";
    role.as_array().map_or_else(|| is_it(role), |roles| roles.iter().any(is_it))
}

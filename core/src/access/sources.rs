//! Where a token may stand, from the most specific place to the least: in the message about a
//! stream, in the `connection` message, in the query of the WebSocket's URL, in the header field
//! `Authorization` of its upgrade. The first one that is there counts, whether it is good or not.

use crate::config::Secret;
use crate::limits::Limits;
use crate::stream::http::Request;

/// The tokens of a request: `?token=`, and what `Authorization` says of a bearer (RFC 6750,
/// section 2).
pub(super) fn of_request(request: &Request) -> impl Iterator<Item = &str> {
    let places = [request.query("token"), bearer(request)];
    places.into_iter().flatten().filter(|token| !token.is_empty())
}

/// What `Authorization` says of a bearer.
pub(crate) fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token that a WebSocket opens with.
///
/// # Errors
///
/// What to tell whoever sent a longer one than is kept.
pub(crate) fn of_upgrade(request: &Request, limits: &Limits) -> Result<Option<Secret>, String> {
    match of_request(request).next() {
        Some(token) if token.len() > limits.token_bytes_max => {
            Err(format!("The token is longer than {} bytes.", limits.token_bytes_max))
        }
        token => Ok(token.map(Secret::new)),
    }
}

/// The token of a session: that of its `connection` message, or else the one that its WebSocket
/// opened with.
pub(crate) fn of_session(connection: Option<Secret>, upgrade: Option<Secret>) -> Option<Secret> {
    connection.or(upgrade)
}

/// The token that counts for a stream: the one in the message about it, or else its session's.
pub(crate) fn of_stream<'a>(
    message: Option<&'a Secret>,
    session: Option<&'a Secret>,
) -> Option<&'a Secret> {
    message.or(session)
}

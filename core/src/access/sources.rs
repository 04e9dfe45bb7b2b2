//! Where a token may stand.

use crate::stream::http::Request;

/// The tokens of a request, the most specific first: `?token=`, and what the header field
/// `Authorization` says of a bearer (RFC 6750, section 2).
pub(super) fn of_request(request: &Request) -> impl Iterator<Item = &str> {
    let bearer = request.header("authorization").and_then(|field| {
        let (scheme, token) = field.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    [request.query("token"), bearer].into_iter().flatten().filter(|token| !token.is_empty())
}

//! Who may ask what not everybody is to know.

use std::net::IpAddr;

use crate::config::Access;
use crate::input::Flow;
use crate::stream::http::Request;

use super::sources;

/// Whether a request may see what is the operator's alone.
///
/// It may where no `admin.token` is set, where it has the token, and where it is of somebody on
/// this host, who can read the settings too.
pub(crate) fn may_administer(access: &Access, flow: Flow, request: &Request) -> bool {
    access.admin_token.is_none() || may_change(access, flow, request)
}

/// Whether a request may change what is the operator's alone: if it has the `admin.token`, or is of
/// somebody on this host.
pub(crate) fn may_change(access: &Access, flow: Flow, request: &Request) -> bool {
    is_of_this_host(flow, request) || shows_token(access, request)
}

/// Whether somebody on this host sends a request, and not a page in a browser here, which any site
/// of the web may have sent there.
///
/// Browsers let pages ask `localhost` and say so in `Origin` (RFC 6454, section 7), but not if the
/// page's own name leads here. That name is in `Host` then.
fn is_of_this_host(flow: Flow, request: &Request) -> bool {
    let host = request.host();
    let is_local = host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok();
    is_over_loopback(flow) && is_local && request.header("origin").is_none()
}

fn is_over_loopback(flow: Flow) -> bool {
    [flow.local, flow.remote].iter().any(|end| end.ip().to_canonical().is_loopback())
}

fn shows_token(access: &Access, request: &Request) -> bool {
    let token = access.admin_token.as_ref();
    token.is_some_and(|token| sources::of_request(request).any(|shown| token.is(shown)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::stream::http::Method;

    const TOKEN: &str = "0123456789abcdef";

    fn access(token: Option<&str>) -> Access {
        Access { admin_token: token.map(Secret::new), ..Access::default() }
    }

    fn flow(local: &str, remote: &str) -> Flow {
        Flow { local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    fn request(header: Option<&str>, query: Option<&str>) -> Request {
        let pairs = |name: &str, value: Option<&str>| {
            value.map(|value| (name.to_owned(), value.to_owned())).into_iter().collect()
        };
        Request {
            method: Method::Get,
            head: false,
            path: "/".to_owned(),
            query_text: String::new(),
            query: pairs("token", query),
            headers: pairs("authorization", header),
            body: Vec::new(),
        }
    }

    /// The same, for this host.
    fn request_for(host: &str, header: Option<&str>) -> Request {
        let mut request = request(header, None);
        request.headers.push(("host".to_owned(), host.to_owned()));
        request
    }

    #[test]
    fn whoever_comes_from_afar_needs_the_token_where_one_is_set() {
        let afar = flow("192.0.2.1:8081", "198.51.100.7:999");
        let bearer = format!("bearer {TOKEN}");
        for (header, query, expected) in [
            (None, None, false),
            (Some(&*bearer), None, true),
            (None, Some(TOKEN), true),
            (Some("Bearer wrong"), Some(TOKEN), true),
            (Some(&*bearer), Some("wrong"), true),
            (Some("Bearer wrong"), None, false),
            (Some(TOKEN), None, false),
            (Some("Basic 0123456789abcdef"), None, false),
            (None, Some(""), false),
            (None, Some("0123456789abcde"), false),
        ] {
            let request = request(header, query);
            assert_eq!(
                may_administer(&access(Some(TOKEN)), afar, &request),
                expected,
                "{header:?} {query:?}"
            );
            assert!(may_administer(&access(None), afar, &request));
        }
    }

    #[test]
    fn nothing_is_changed_from_afar_or_by_a_page_without_the_token() {
        let afar = flow("192.0.2.1:8081", "198.51.100.7:999");
        let here = flow("127.0.0.1:8081", "127.0.0.1:999");
        let bearer = format!("Bearer {TOKEN}");
        let of_page = |header| {
            let mut request = request_for("localhost:8081", header);
            request.headers.push(("origin".to_owned(), "https://example.com".to_owned()));
            request
        };
        let of_host = |header| request_for("localhost:8081", header);
        for token in [None, Some(TOKEN)] {
            let access = access(token);
            assert!(may_change(&access, here, &of_host(None)));
            assert!(!may_change(&access, here, &of_page(None)));
            assert!(!may_change(&access, afar, &of_host(None)));
            assert!(!may_change(&access, afar, &of_host(Some("Bearer wrong"))));
            assert_eq!(may_administer(&access, here, &of_page(None)), token.is_none());
            for flow in [afar, here] {
                assert_eq!(may_change(&access, flow, &of_page(Some(&bearer))), token.is_some());
                assert!(may_administer(&access, flow, &of_page(Some(&bearer))));
            }
        }
    }

    #[test]
    fn a_site_whose_name_leads_to_this_host_is_not_on_it() {
        let here = flow("127.0.0.1:8081", "127.0.0.1:999");
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:8081", true),
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("192.0.2.7", true),
            ("evil.example:8081", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:8081", false),
            ("", false),
        ] {
            let request = request_for(host, None);
            assert_eq!(may_administer(&access(Some(TOKEN)), here, &request), expected, "{host}");
            assert_eq!(may_change(&access(None), here, &request), expected, "{host}");
        }
    }

    #[test]
    fn whoever_is_on_this_host_needs_none() {
        for (local, remote, expected) in [
            ("127.0.0.1:8081", "127.0.0.1:999", true),
            ("[::1]:8081", "[::1]:999", true),
            ("[::ffff:127.0.0.1]:8081", "[::ffff:127.0.0.1]:999", true),
            ("0.0.0.0:8081", "127.0.0.2:999", true),
            ("[::]:8081", "[::ffff:192.0.2.1]:999", false),
            ("10.0.0.1:8081", "10.0.0.1:999", false),
        ] {
            let nothing = request_for("localhost", None);
            let may = may_administer(&access(Some(TOKEN)), flow(local, remote), &nothing);
            assert_eq!(may, expected, "{local} {remote}");
        }
    }
}

//! Which pages may connect: the `Origin` header (RFC 6454) against `allow_domains`.

use super::diagnostics::SettingsError;
use super::settings::Settings;
use super::values::Value;
use crate::wildcard::matches;

impl Settings {
    /// Tells whether a connection with this `Origin` header may have a session.
    ///
    /// Each pattern of `allow_domains` is matched against the header's host, in any letter case;
    /// `*` stands for any run of characters, so `*.a.com` is every host below `a.com`, but not
    /// `a.com` itself. A host is allowed if no pattern that starts with `!` matches it and one of
    /// the others does, or if there are no others.
    ///
    /// No header means no browser: links between nodes, native players. It is always allowed,
    /// because the list protects against foreign pages in a viewer's browser, and whoever is not
    /// a browser can write any header. A header without a host (`null`, as of a sandboxed frame)
    /// is allowed only where nobody is excluded, since any page can make such a frame.
    pub fn allows_origin(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        let Some(host) = host(origin) else {
            return self.allows_every_origin();
        };
        let mut allowed = self.allow_domains.iter().all(|pattern| pattern.starts_with('!'));
        for pattern in &self.allow_domains {
            match pattern.strip_prefix('!') {
                Some(excluded) if matches(excluded, &host) => return false,
                Some(_) => {}
                None => allowed |= matches(pattern, &host),
            }
        }
        allowed
    }

    /// Tells whether `allow_domains` leaves nobody out.
    pub fn allows_every_origin(&self) -> bool {
        self.allow_domains.iter().all(|pattern| pattern == "*")
    }
}

/// Reads patterns of hosts, lower-cased.
pub(super) fn patterns(value: &Value<'_>) -> Result<Vec<String>, SettingsError> {
    value
        .list()
        .map(|pattern| {
            let bare = pattern.strip_prefix('!').unwrap_or(pattern);
            let bare = match bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                // The colons of an address, which no name and no port has here.
                Some(address) => address.replace(':', ""),
                None => bare.to_owned(),
            };
            let is_pattern = !bare.is_empty()
                && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"*.-_".contains(&b));
            if is_pattern {
                Ok(pattern.to_ascii_lowercase())
            } else {
                Err(value.expected(
                    "hosts without scheme and port such as *.a.com,!*.evil.com (other than \
                     ASCII in punycode)",
                ))
            }
        })
        .collect()
}

/// The host of an `Origin` header, lower-cased, without the dot that may end a full name.
fn host(origin: &str) -> Option<String> {
    let (_, authority) = origin.split_once("://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let host = match authority.rfind(']') {
        Some(end) => authority.get(..=end)?,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains([' ', '/', '@', ',', '?', '#', '\\']);
    is_host.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(allow_domains: &str) -> Settings {
        let allow_domains = allow_domains.split(',').filter(|p| !p.is_empty());
        Settings {
            allow_domains: allow_domains.map(str::to_owned).collect(),
            ..Settings::default()
        }
    }

    #[test]
    fn the_host_of_an_origin_is_found() {
        for (origin, expected) in [
            ("https://a.com", Some("a.com")),
            ("https://A.com:8888", Some("a.com")),
            ("http://a.com./", Some("a.com")),
            ("https://[::1]:8888", Some("[::1]")),
            ("https://[::1]", Some("[::1]")),
            ("null", None),
            ("", None),
            ("https://", None),
            ("https://a.com https://b.com", None),
            ("https://evil.com/a.com", None),
            ("https://a.com@evil.com", None),
        ] {
            assert_eq!(host(origin).as_deref(), expected, "{origin}");
        }
    }

    #[test]
    fn origins_are_matched_by_host() {
        for (patterns, origin, expected) in [
            ("*", "https://any.org", true),
            ("", "https://any.org", true),
            ("a.com", "https://a.com:8888", true),
            ("a.com", "https://b.a.com", false),
            ("a.com", "https://a.com.evil.com", false),
            ("*.a.com", "https://x.y.a.com", true),
            ("*.a.com", "https://a.com", false),
            ("*.a.com", "https://evila.com", false),
            ("*.a.com,!*.evil.com", "https://www.a.com", true),
            ("*.a.com,!*.evil.com", "https://www.evil.com", false),
            ("*,!*.evil.com", "https://any.org", true),
            ("!*.evil.com,*", "https://www.EVIL.com.", false),
            ("!*.evil.com", "https://any.org", true),
            ("!*.evil.com", "https://www.evil.com", false),
            ("[::1]", "http://[::1]:8081", true),
            ("10.0.*", "http://10.0.3.4", true),
            ("edge*.a.com", "https://edge12.a.com", true),
        ] {
            assert_eq!(
                settings(patterns).allows_origin(Some(origin)),
                expected,
                "{patterns} {origin}"
            );
        }
    }

    #[test]
    fn an_origin_without_a_host_is_allowed_where_nobody_is_excluded() {
        for (patterns, expected) in
            [("*", true), ("", true), ("a.com", false), ("*,!b.com", false), ("!b.com", false)]
        {
            assert_eq!(settings(patterns).allows_origin(Some("null")), expected, "{patterns}");
        }
    }

    #[test]
    fn no_origin_is_no_browser() {
        for patterns in ["*", "", "a.com", "!b.com"] {
            assert!(settings(patterns).allows_origin(None), "{patterns}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(origin in "(?s).{0,80}", patterns in "[a.*!,]{0,10}") {
            let _ = settings(&patterns).allows_origin(Some(&origin));
        }
    }
}

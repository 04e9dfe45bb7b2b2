//! Who may publish, play and ask: `auth.*` and `admin.token`.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::authentication::token_keys;
use super::diagnostics::{SettingsError, Warning};
use super::secret::Secret;
use super::values::{Value, Values};
use crate::token::TokenKeys;

/// The least and the most characters of `admin.token`.
const ADMIN_TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=512;

/// Who may publish, play and ask.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Access {
    /// `auth.publish`
    pub publish: Rule,
    /// `auth.play`
    pub play: Rule,
    /// `auth.jwt.key`: what tokens are signed with; there if a rule is [`Rule::Jwt`].
    pub jwt_keys: Option<TokenKeys>,
    /// `auth.hook.url` and its kin; there if a rule is [`Rule::Hook`].
    pub hook: Option<Hook>,
    /// `admin.token`: what statistics want to be asked with from other hosts; `None`: nothing.
    pub admin_token: Option<Secret>,
}

impl Access {
    /// Whether publishers or viewers have something to show.
    pub(crate) fn takes_tokens(&self) -> bool {
        self.publish != Rule::Open || self.play != Rule::Open
    }
}

/// How it is decided whether someone may do a thing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Rule {
    /// Everybody may.
    #[default]
    Open,
    /// Whoever has a signed token that says so.
    Jwt,
    /// A backend decides.
    Hook,
}

/// The backend that is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Whether it is asked over TLS.
    pub secure: bool,
    /// Its name or address, an IPv6 address without its brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What stands before `/publishStream` and `/playStream`; no slash at its end.
    pub path: String,
    /// `auth.hook.timeout`: how long an answer may take, from the wish on.
    pub timeout: Duration,
    /// `auth.hook.on_error`: whether no answer counts as a yes.
    pub allow_on_error: bool,
    /// `auth.hook.ca`: a PEM file of authorities that its certificate may be signed by.
    pub ca: Option<PathBuf>,
}

pub(super) fn read(values: &Values, warnings: &mut Vec<Warning>) -> Result<Access, SettingsError> {
    let (publish, play) = (rule(values, "auth.publish")?, rule(values, "auth.play")?);
    let hook = hook(values)?;
    let jwt_keys = jwt_keys(values)?;
    for (key, rule) in [("auth.publish", publish), ("auth.play", play)] {
        let missing = match rule {
            Rule::Hook if hook.is_none() => "expected auth.hook.url beside hook",
            Rule::Jwt if jwt_keys.is_none() => "expected auth.jwt.key beside jwt",
            Rule::Hook | Rule::Jwt | Rule::Open => continue,
        };
        return Err(values.get(key).place.error(missing));
    }
    let hook = hook.filter(|_| [publish, play].contains(&Rule::Hook));
    if hook.as_ref().is_some_and(|hook| !hook.secure && !is_local(&hook.host)) {
        let url = values.get("auth.hook.url");
        warnings.push(url.place.warning("without https, tokens can be read on their way"));
    }
    let admin_token = admin_token(&values.get("admin.token"))?;
    Ok(Access { publish, play, jwt_keys, hook, admin_token })
}

/// A link's token allows whatever it does not forbid, and so would be one for every stream.
fn jwt_keys(values: &Values) -> Result<Option<TokenKeys>, SettingsError> {
    let (value, nodes) = (values.get("auth.jwt.key"), values.get("cdn_auth_key"));
    if value.list().any(|key| nodes.list().any(|other| other == key)) {
        return Err(value.place.error("expected another key than cdn_auth_key"));
    }
    token_keys(&value)
}

fn rule(values: &Values, key: &str) -> Result<Rule, SettingsError> {
    let value = values.get(key);
    match value.text.to_ascii_lowercase().as_str() {
        "" | "open" => Ok(Rule::Open),
        "jwt" => Ok(Rule::Jwt),
        "hook" => Ok(Rule::Hook),
        _ => Err(value.expected("open, jwt or hook")),
    }
}

fn hook(values: &Values) -> Result<Option<Hook>, SettingsError> {
    let timeout = values.get("auth.hook.timeout").millis(1)?;
    let on_error = values.get("auth.hook.on_error");
    let allow_on_error = match on_error.text.to_ascii_lowercase().as_str() {
        "" | "refuse" => false,
        "allow" => true,
        _ => return Err(on_error.expected("refuse or allow")),
    };
    let ca = values.get("auth.hook.ca").path()?;
    let url = values.get("auth.hook.url");
    if url.text.is_empty() {
        return Ok(None);
    }
    // Not repeated: it may hold what its writer keeps secret.
    let (secure, host, port, path) = split_url(url.text).ok_or_else(|| {
        url.place.error(
            "expected http://HOST:PORT/PATH or https://HOST:PORT/PATH, without user, query and \
             fragment",
        )
    })?;
    Ok(Some(Hook { secure, host, port, path, timeout, allow_on_error, ca }))
}

/// Takes a URL apart (RFC 3986, section 3): TLS or not, host, port, path without its last slash.
fn split_url(url: &str) -> Option<(bool, String, u16, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['@', '?', '#', '\\']) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || !host.bytes().all(named) {
        return None;
    }
    let port = match port.strip_prefix(':') {
        Some(port) => super::values::number(port).and_then(|port| u16::try_from(port).ok())?,
        None if port.is_empty() => {
            if secure {
                443
            } else {
                80
            }
        }
        None => return None,
    };
    (port > 0).then(|| (secure, host.to_owned(), port, path.trim_end_matches('/').to_owned()))
}

fn is_local(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Characters that stand for themselves in a URL and in a header field (RFC 3986, section 2.3).
fn admin_token(value: &Value<'_>) -> Result<Option<Secret>, SettingsError> {
    if value.text.is_empty() {
        return Ok(None);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if ADMIN_TOKEN_CHARS.contains(&value.text.len()) && value.text.bytes().all(plain) {
        return Ok(Some(Secret::new(value.text)));
    }
    let (least, most) = (ADMIN_TOKEN_CHARS.start(), ADMIN_TOKEN_CHARS.end());
    Err(value.place.error(format!("expected {least} to {most} letters, digits and -._~")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::settings::{Settings, SettingsFiles};
    use super::*;

    fn parse(properties: &str) -> Result<(Settings, Vec<Warning>), SettingsError> {
        Settings::parse(SettingsFiles { properties, balancing: None }, &[])
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = |secure, host: &str, port, path: &str| {
            Some((secure, host.to_owned(), port, path.to_owned()))
        };
        for (text, parts) in [
            ("http://backend", url(false, "backend", 80, "")),
            ("HTTPS://backend.example/", url(true, "backend.example", 443, "")),
            ("https://10.0.0.1:8443/a/b//", url(true, "10.0.0.1", 8443, "/a/b")),
            ("http://[::1]:9000/x", url(false, "::1", 9000, "/x")),
            ("http://[::1]", url(false, "::1", 80, "")),
            ("", None),
            ("backend", None),
            ("ftp://backend", None),
            ("http://", None),
            ("http:///x", None),
            ("http://me:secret@backend", None),
            ("http://backend?token=1", None),
            ("http://backend/#x", None),
            ("http://backend/a b", None),
            ("http://backend:0", None),
            ("http://backend:65536", None),
            ("http://backend:", None),
            ("http://[::1", None),
            ("http://[backend]", None),
            ("http://[::1]x", None),
            ("http://a\\b", None),
        ] {
            assert_eq!(split_url(text), parts, "{text}");
        }
    }

    #[test]
    fn a_rule_without_what_it_goes_by_is_refused() {
        for key in ["auth.publish", "auth.play"] {
            for (rule, missing) in [("hook", "auth.hook.url"), ("jwt", "auth.jwt.key")] {
                let error = parse(&format!("{key}={rule}")).unwrap_err().to_string();
                let expected =
                    format!("flashphoner.properties:1: {key}: expected {missing} beside {rule}");
                assert_eq!(error, expected);
            }
        }
    }

    #[test]
    fn tokens_of_links_are_none_of_publishers_and_viewers() {
        let [one, other, third] = ["1", "2", "3"].map(|digit| digit.repeat(32));
        let parse = |own: &str| parse(&format!("cdn_auth_key={one},{other}\nauth.jwt.key={own}"));
        assert!(parse(&third).is_ok());
        let error = parse(&format!("{third},{other}")).unwrap_err().to_string();
        let expected = "flashphoner.properties:2: auth.jwt.key: expected another key than \
                        cdn_auth_key";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_backend_that_is_asked_in_the_clear_draws_a_warning() {
        let warnings =
            |url: &str| parse(&format!("auth.play=hook\nauth.hook.url={url}")).unwrap().1.len();
        for (url, expected) in [
            ("http://backend", 1),
            ("https://backend", 0),
            ("http://127.0.0.1:9000", 0),
            ("http://[::1]:9000", 0),
            ("http://localhost", 0),
        ] {
            assert_eq!(warnings(url), expected, "{url}");
        }
        let unused = parse("auth.hook.url=http://backend").unwrap();
        assert_eq!((unused.0.access.hook, unused.1), (None, vec![]));
    }

    #[test]
    fn an_error_does_not_repeat_a_secret() {
        for (key, secret) in [
            ("admin.token", "short"),
            ("admin.token", "0123456789abcdef with spaces"),
            ("auth.hook.url", "http://me:password@backend"),
            ("auth.jwt.key", "0123456789abcdef0123456789abcde"),
        ] {
            let error = parse(&format!("{key}={secret}")).unwrap_err();
            assert!(error.to_string().contains(": expected "), "{error}");
            assert!(!format!("{error:?}{error}").contains(secret), "{error}");
        }
    }

    #[test]
    fn settings_do_not_show_secrets() {
        let key = "abcdef0123456789abcdef0123456789";
        let text = format!("admin.token=0123456789abcdef\nauth.jwt.key={key}");
        let (settings, _) = parse(&text).unwrap();
        assert!(settings.access.admin_token.as_ref().unwrap().is("0123456789abcdef"));
        let shown = format!("{settings:?}");
        assert!(shown.contains("Secret(..)") && !shown.contains("0123456789"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "(http|https|x)?(://)?[a-z0-9.:/@?#%\\[\\]]{0,30}") {
            if let Some((_, host, port, path)) = split_url(&url) {
                prop_assert!(!host.is_empty() && port > 0);
                prop_assert!(path.is_empty() || path.starts_with('/'));
            }
        }
    }
}

//! Responses: what the owner of a connection answers with.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::pages::Page;

use super::super::StreamFault;
use super::request::Request;

/// The methods that are answered, as `Allow` lists them.
const ALLOW: &str = "GET, HEAD, POST, OPTIONS";

/// The answer to one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    status: u16,
    content_type: Option<&'static str>,
    headers: Vec<(&'static str, String)>,
    body: Arc<[u8]>,
    /// Whether the connection ends with this response although the request did not ask for it.
    last: bool,
}

impl Response {
    /// 200 with a body.
    pub(crate) fn ok(content_type: &'static str, body: impl Into<Arc<[u8]>>) -> Self {
        let mut response = Self::empty(200);
        response.content_type = Some(content_type);
        response.body = body.into();
        response
    }

    /// A JSON document under any status.
    pub(crate) fn json(status: u16, json: &str) -> Self {
        Self { status, ..Self::ok("application/json", json.as_bytes()) }
    }

    /// An error with a plain sentence about it.
    pub(crate) fn error(status: u16, text: &str) -> Self {
        Self { status, ..Self::ok("text/plain; charset=utf-8", format!("{text}\n").into_bytes()) }
    }

    /// 401: the token that came is refused, for this reason (RFC 6750, section 3). A reason with
    /// quotation marks or backslashes would be misread.
    pub(crate) fn unauthorized(reason: &str) -> Self {
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"");
        Self::error(401, reason).with_header("WWW-Authenticate", &challenge)
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Self::error(404, "Nothing is here.")
    }

    /// 302 to another address. What cannot stand in a header field is left out of `location`.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::empty(302).with_header("Location", location)
    }

    /// 204, or another status that has no body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, content_type: None, headers: Vec::new(), body: Arc::default(), last: false }
    }

    /// A page, or 304 if the requester has it already (RFC 9110, section 13.1.2).
    pub(crate) fn page(page: &Page, request: &Request) -> Self {
        let known = request.header("if-none-match").is_some_and(|tags| {
            tags.split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == page.etag)
        });
        let response = if known {
            Self::empty(304)
        } else {
            Self::ok(page.content_type, Arc::clone(&page.body))
        };
        let response = response
            .with_header("ETag", &page.etag)
            .with_header("Cache-Control", "no-cache")
            // An address may have a token in it.
            .with_header("Referrer-Policy", "no-referrer");
        match page.policy {
            Some(policy) => response.with_header("Content-Security-Policy", policy),
            None => response,
        }
    }

    #[cfg(test)]
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Adds a header field. What cannot stand in one is left out of `value`.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let value = value.chars().filter(|c| matches!(c, ' '..='~')).collect();
        self.headers.push((name, value));
        self
    }

    /// Has a 401 name what it wants, and end the connection: whoever guesses needs another one for
    /// each guess, and an address gets so many only.
    pub(crate) fn wants_token(self) -> Self {
        Self { last: true, ..self }.with_header("WWW-Authenticate", "Bearer")
    }

    /// The answer to a request that broke the rules, if there is one.
    pub(in super::super) fn of_fault(fault: &StreamFault) -> Option<Self> {
        let status = match fault {
            StreamFault::Malformed(_) | StreamFault::Upgrade(_) => 400,
            StreamFault::MethodNotAllowed => 405,
            StreamFault::BodyTooLarge => 413,
            StreamFault::UpgradeVersion => 426,
            StreamFault::HeadTooLarge => 431,
            StreamFault::TransferCoding => 501,
            StreamFault::Version => 505,
            StreamFault::Backlog
            | StreamFault::Destination
            | StreamFault::UpgradeRefused(_)
            | StreamFault::Unauthorized(_)
            | StreamFault::Answer(_)
            | StreamFault::Truncated
            | StreamFault::MessageTooLarge
            | StreamFault::NotUtf8
            | StreamFault::Protocol(_)
            | StreamFault::Tls(_)
            | StreamFault::Overflow => return None,
        };
        let mut response = Self::error(status, &fault.to_string());
        response.last = true;
        Some(match status {
            405 => response.with_header("Allow", ALLOW),
            // RFC 6455, section 4.4.
            426 => response
                .with_header("Upgrade", "websocket")
                .with_header("Sec-WebSocket-Version", "13"),
            _ => response,
        })
    }

    /// Whether the connection can go on after this response.
    pub(in super::super) fn allows_more(&self) -> bool {
        !self.last
    }

    /// The head as it goes out, `unix` being the time since 1970 that it is dated with.
    pub(in super::super) fn head(&self, keep_alive: bool, unix: Duration) -> String {
        let mut head = start(self.status, unix);
        if let Some(content_type) = self.content_type {
            // Nobody guesses what the content is: it is what its type says.
            line(&mut head, "Content-Type", content_type);
            line(&mut head, "X-Content-Type-Options", "nosniff");
        }
        // RFC 9110, section 8.6.
        if !matches!(self.status, 204 | 304) {
            line(&mut head, "Content-Length", &self.body.len().to_string());
        }
        for (name, value) in &self.headers {
            line(&mut head, name, value);
        }
        // 426 names what to upgrade to, and that is hop by hop (RFC 9110, section 7.8).
        let connection = match (self.status, keep_alive) {
            (426, _) => "upgrade, close",
            (_, true) => "keep-alive",
            (_, false) => "close",
        };
        line(&mut head, "Connection", connection);
        head.push_str("\r\n");
        head
    }

    pub(in super::super) fn into_body(self) -> Arc<[u8]> {
        self.body
    }
}

/// The answer that turns the connection into a WebSocket (RFC 6455, section 4.2.2).
pub(in super::super) fn switching_protocols(accept: &str, unix: Duration) -> String {
    let mut head = start(101, unix);
    line(&mut head, "Upgrade", "websocket");
    line(&mut head, "Connection", "Upgrade");
    line(&mut head, "Sec-WebSocket-Accept", accept);
    head.push_str("\r\n");
    head
}

fn start(status: u16, unix: Duration) -> String {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    // The format has four digits for the year.
    let unix = unix.min(Duration::from_secs(253_402_300_799));
    line(&mut head, "Date", &httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + unix));
    head
}

fn line(head: &mut String, name: &str, value: &str) {
    write!(head, "{name}: {value}\r\n").expect("a string takes everything");
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // The phrase may be missing (RFC 9112, section 4).
        _ => "",
    }
}

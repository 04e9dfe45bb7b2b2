//! Requests: bytes in, one request at a time out.

use data_encoding::BASE64;
use httparse::Status;
use percent_encoding::percent_decode_str;
use tungstenite::handshake::derive_accept_key;

use super::super::pipe::ByteQueue;
use super::super::{Bounds, StreamFault};
use super::body::{Body, Framing};
use super::head::{self, FIELDS_MAX, HeadEnd};

/// What a request asks to be done. HEAD is [`Method::Get`] with [`Request::head`] set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// GET or HEAD.
    Get,
    /// POST.
    Post,
    /// OPTIONS, which browsers send before a cross-origin POST of JSON.
    Options,
}

/// One complete request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) method: Method,
    /// Whether the answer goes out without its body.
    pub(crate) head: bool,
    /// The path, percent-decoded. It starts with a slash and has no `.` or `..` segment, no
    /// backslash, no control character and no slash that was percent-encoded; or it is `*`.
    pub(crate) path: String,
    /// What stood behind the `?`, as it came; empty if there was nothing.
    pub(crate) query_text: String,
    /// The pairs of the query, decoded, in their order.
    pub(crate) query: Vec<(String, String)>,
    /// The header fields, names in lower case, in their order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first value of a key of the query.
    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        first(&self.query, key)
    }

    /// The first value of a header field; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The host that it is for (RFC 9110, section 7.2), an IPv6 address without its brackets; empty
    /// if it does not say.
    pub(crate) fn host(&self) -> &str {
        let host = self.header("host").unwrap_or_default();
        match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        }
    }
}

fn first<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// The server's reading half: what came in and is not a whole request yet.
#[derive(Debug, Default)]
pub(in super::super) struct Requests {
    received: ByteQueue,
    head_end: HeadEnd,
    /// The request whose body is still coming.
    current: Option<(Exchange, Request, Body)>,
}

/// What the bytes so far amount to.
#[derive(Debug)]
pub(in super::super) enum Step {
    /// The far side waits for `100 Continue` before it sends the body.
    Continue,
    /// A whole request.
    Request(Exchange, Request),
}

/// What a request means for the connection that it came by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Exchange {
    /// Whether the answer goes out without its body.
    pub(in super::super) head: bool,
    /// Whether further requests may follow.
    pub(in super::super) keep_alive: bool,
    /// For a WebSocket upgrade: the `Sec-WebSocket-Accept` of the answer.
    pub(in super::super) accept: Option<String>,
}

impl Requests {
    /// Adds what came in, unless already more waits than one request may have.
    pub(in super::super) fn push(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
    ) -> Result<(), StreamFault> {
        let waiting_max = bounds.head_bytes_max.saturating_add(bounds.body_bytes_max);
        if self.received.len() > waiting_max {
            return Err(StreamFault::Backlog);
        }
        self.received.push(bytes);
        Ok(())
    }

    /// Reads on until something is complete; `None` means that more bytes are needed.
    pub(in super::super) fn next(&mut self, bounds: &Bounds) -> Result<Option<Step>, StreamFault> {
        let mut expects_continue = false;
        let (exchange, request, mut body) = match self.current.take() {
            Some(current) => current,
            None => {
                let Some(len) = self.next_head(bounds)? else { return Ok(None) };
                let head = self.received.as_slice().get(..len).unwrap_or_default();
                let head = Head::parse(head)?;
                self.received.consume(len);
                expects_continue = head.expects_continue;
                (head.exchange, head.request, Body::new(head.framing, bounds.body_bytes_max)?)
            }
        };
        let used = body.receive(self.received.as_slice())?;
        self.received.consume(used);
        if body.is_complete() {
            let request = Request { body: body.into_bytes(), ..request };
            return Ok(Some(Step::Request(exchange, request)));
        }
        self.current = Some((exchange, request, body));
        Ok(expects_continue.then_some(Step::Continue))
    }

    /// The bytes behind the last request.
    pub(in super::super) fn into_rest(mut self) -> Vec<u8> {
        self.received.take()
    }

    fn next_head(&mut self, bounds: &Bounds) -> Result<Option<usize>, StreamFault> {
        // Line ends before a request are read over (RFC 9112, section 2.2).
        loop {
            match self.received.as_slice() {
                [b'\n', ..] => self.received.consume(1),
                [b'\r', b'\n', ..] => self.received.consume(2),
                [b'\r'] => return Ok(None),
                // Not a method: tells at once, for example, who speaks TLS to a plain port.
                [byte, ..] if !byte.is_ascii_alphabetic() => {
                    return Err(StreamFault::Malformed("what came is not HTTP"));
                }
                [..] => return self.head_end.find(&self.received, bounds.head_bytes_max),
            }
        }
    }
}

/// A request's head.
struct Head {
    request: Request,
    exchange: Exchange,
    framing: Framing,
    expects_continue: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, StreamFault> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        let complete = parsed.parse(bytes).map_err(head::refused)? == Status::Complete(bytes.len());
        let (true, Some(method), Some(target), Some(version)) =
            (complete, parsed.method, parsed.path, parsed.version)
        else {
            return Err(StreamFault::Malformed("the head does not end where it should"));
        };
        let headers = &*parsed.headers;
        let http11 = version == 1;
        let (method, head) = match method {
            "GET" => (Method::Get, false),
            "HEAD" => (Method::Get, true),
            "POST" => (Method::Post, false),
            "OPTIONS" => (Method::Options, false),
            _ => return Err(StreamFault::MethodNotAllowed),
        };
        // RFC 9112, section 3.2.
        match head::values(headers, "host").count() {
            1 => {}
            0 if !http11 => {}
            0 => return Err(StreamFault::Malformed("no Host")),
            _ => return Err(StreamFault::Malformed("more than one Host")),
        }
        let framing = head::framing(headers, http11)?;
        // RFC 9110, section 7.8: an upgrade within HTTP/1.0 is not one.
        let accept = if http11 && head::has_token(headers, "upgrade", "websocket") {
            if method != Method::Get || head || framing.is_some_and(|f| f != Framing::Length(0)) {
                return Err(StreamFault::Upgrade("a WebSocket opens with a GET without a body"));
            }
            Some(accept_of(headers)?)
        } else {
            None
        };
        let (path, query_text) = split_target(method, target)?;
        let keep_alive = if http11 {
            !head::has_token(headers, "connection", "close")
        } else {
            head::has_token(headers, "connection", "keep-alive")
        };
        Ok(Self {
            request: Request {
                method,
                head,
                path,
                query_text: query_text.to_owned(),
                query: query_pairs(query_text),
                headers: headers.iter().map(field).collect(),
                body: Vec::new(),
            },
            exchange: Exchange { head, keep_alive, accept },
            framing: framing.unwrap_or(Framing::Length(0)),
            expects_continue: http11 && head::has_token(headers, "expect", "100-continue"),
        })
    }
}

fn field(header: &httparse::Header<'_>) -> (String, String) {
    (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
}

/// Checks the opening handshake of a WebSocket and computes what the answer has to accept it with
/// (RFC 6455, section 4.2). Subprotocols and extensions are ignored: none is spoken here.
fn accept_of(headers: &[httparse::Header<'_>]) -> Result<String, StreamFault> {
    if !head::has_token(headers, "connection", "upgrade") {
        return Err(StreamFault::Upgrade("Connection does not say upgrade"));
    }
    let mut versions = head::values(headers, "sec-websocket-version");
    if versions.next() != Some(b"13") || versions.next().is_some() {
        return Err(StreamFault::UpgradeVersion);
    }
    let mut keys = head::values(headers, "sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(StreamFault::Upgrade("there must be one Sec-WebSocket-Key"));
    };
    if BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        Ok(derive_accept_key(key))
    } else {
        Err(StreamFault::Upgrade("Sec-WebSocket-Key is not 16 bytes in Base64"))
    }
}

/// Splits a request's target into its decoded path and its raw query (RFC 9112, section 3.2).
fn split_target(method: Method, target: &str) -> Result<(String, &str), StreamFault> {
    if method == Method::Options && target == "*" {
        return Ok((target.to_owned(), ""));
    }
    let target = match target.split_once("://") {
        // The absolute form, which names this node once more.
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
        {
            rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        Some(_) | None => target,
    };
    if target.contains('#') {
        return Err(StreamFault::Malformed("a fragment in the request's target"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = if path.is_empty() { "/" } else { path };
    Ok((decode_path(path)?, query))
}

/// Decodes a path segment by segment, so that what was encoded cannot become structure.
fn decode_path(path: &str) -> Result<String, StreamFault> {
    const REFUSED: StreamFault = StreamFault::Malformed("bad path");
    let segments = path.strip_prefix('/').ok_or(REFUSED)?;
    let mut decoded = String::with_capacity(path.len());
    for segment in segments.split('/') {
        let mut escapes = segment.split('%');
        escapes.next();
        if !escapes.all(|escape| {
            escape
                .as_bytes()
                .first_chunk()
                .is_some_and(|[a, b]: &[u8; 2]| a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
        }) {
            return Err(REFUSED);
        }
        let segment = percent_decode_str(segment).decode_utf8().map_err(|_| REFUSED)?;
        let escapes_the_tree = segment == "." || segment == "..";
        if escapes_the_tree || segment.contains(|c: char| matches!(c, '/' | '\\') || c.is_control())
        {
            return Err(REFUSED);
        }
        decoded.push('/');
        decoded.push_str(&segment);
    }
    Ok(decoded)
}

/// Decodes a query as forms write it: `&` between pairs, `+` for a space.
fn query_pairs(query: &str) -> Vec<(String, String)> {
    let decode =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Head, StreamFault> {
        Head::parse(head.replace('\n', "\r\n").as_bytes())
    }

    fn path(target: &str) -> Result<String, StreamFault> {
        parse(&format!("GET {target} HTTP/1.1\nHost: x\n\n")).map(|head| head.request.path)
    }

    #[test]
    fn paths_are_decoded_once() {
        for (target, decoded) in [
            ("/", "/"),
            ("/client2/a%20b.js", "/client2/a b.js"),
            ("/%C3%A4", "/ä"),
            ("/a//b/", "/a//b/"),
            ("/...", "/..."),
            ("/%252e%252e/x", "/%2e%2e/x"),
            ("http://x:1/a?b", "/a"),
            ("HTTPS://x", "/"),
            ("http://x?b", "/"),
            ("?b", "/"),
        ] {
            assert_eq!(path(target).as_deref(), Ok(decoded), "{target}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for target in [
            "/client2/../../etc/passwd",
            "/client2/%2e%2e/%2E%2E/etc/passwd",
            "/client2/.%2e/etc/passwd",
            "/client2/..%2f..%2fetc/passwd",
            "/client2%2fa",
            "/client2/..\\..\\etc\\passwd",
            "/client2/..%5c..%5cetc%5cpasswd",
            "/client2/%c0%ae%c0%ae/etc/passwd",
            "/client2/%e0%80%ae%e0%80%ae/etc/passwd",
            "/client2/%00",
            "/client2/a%0d%0ab",
            "/client2/a%",
            "/client2/a%4",
            "/client2/a%zz",
            "/client2/a#b",
            "client2/a",
            "ftp://x/a",
            "*",
        ] {
            assert!(matches!(path(target), Err(StreamFault::Malformed(_))), "{target}");
        }
    }

    #[test]
    fn the_query_is_split_and_decoded() {
        let head = parse("GET /?a=1+2&b=%26%3D&&c&=d&e=f=g&h=%ff HTTP/1.1\nHost: x\n\n");
        let pairs = head.unwrap().request.query;
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let decoded =
            [("a", "1 2"), ("b", "&="), ("c", ""), ("", "d"), ("e", "f=g"), ("h", "\u{fffd}")];
        assert_eq!(pairs, decoded);
    }

    #[test]
    fn what_two_servers_could_read_differently_is_refused() {
        for fields in [
            "Content-Length: 1\nTransfer-Encoding: chunked",
            "Content-Length: 1\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: 0x1",
            "Content-Length:",
            "Content-Length : 1",
            "A: b\n folded: c",
            "Host: y",
            "A: b\0c",
            ": b",
        ] {
            let refused = parse(&format!("POST / HTTP/1.1\nHost: x\n{fields}\n\n")).err();
            assert!(matches!(refused, Some(StreamFault::Malformed(_))), "{fields}: {refused:?}");
        }
        for coding in ["gzip", "chunked, chunked", "gzip, chunked", "xchunked", ""] {
            let head = format!("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: {coding}\n\n");
            assert_eq!(parse(&head).err(), Some(StreamFault::TransferCoding), "{coding}");
        }
        let head = "POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n";
        assert!(matches!(parse(head).err(), Some(StreamFault::Malformed(_))));
        let head = "GET / HTTP/1.1\n\n";
        assert_eq!(parse(head).err(), Some(StreamFault::Malformed("no Host")));
        let head = format!("POST / HTTP/1.1\nHost: x\nContent-Length: {}0\n\n", u64::MAX);
        assert_eq!(parse(&head).err(), Some(StreamFault::BodyTooLarge));
    }

    #[test]
    fn keep_alive_follows_version_and_wish() {
        for (head, keep_alive) in [
            ("GET / HTTP/1.1\nHost: x\n\n", true),
            ("GET / HTTP/1.1\nHost: x\nConnection: x, Close\n\n", false),
            ("GET / HTTP/1.0\n\n", false),
            ("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", true),
        ] {
            assert_eq!(parse(head).unwrap().exchange.keep_alive, keep_alive, "{head}");
        }
    }

    #[test]
    fn an_upgrade_is_checked() {
        let upgrade = "GET / HTTP/1.1\nHost: x\nUpgrade: h2c, WebSocket\n\
                       Connection: keep-alive, Upgrade\nSec-WebSocket-Version: 13\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n";
        // The key and its answer are the example of RFC 6455, section 1.3.
        let accept = parse(upgrade).unwrap().exchange.accept;
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for (from, to) in [
            ("GET", "POST"),
            ("GET", "HEAD"),
            ("Connection: keep-alive, Upgrade", "Connection: keep-alive"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n", ""),
            ("\n\n", "\nContent-Length: 3\n\n"),
        ] {
            let refused = parse(&upgrade.replacen(from, to, 1)).err();
            assert!(matches!(refused, Some(StreamFault::Upgrade(_))), "{from}: {refused:?}");
        }
        for version in ["Version: 8", "Version: 13\nSec-WebSocket-Version: 8", "Nothing: 1"] {
            let refused = parse(&upgrade.replacen("Version: 13", version, 1)).err();
            assert_eq!(refused, Some(StreamFault::UpgradeVersion), "{version}");
        }
        for (from, to) in [("HTTP/1.1", "HTTP/1.0"), ("h2c, WebSocket", "h2c")] {
            let plain = parse(&upgrade.replacen(from, to, 1)).unwrap();
            assert_eq!(plain.exchange.accept, None, "{to}");
        }
    }
}

//! The requests that a node sends itself, and their answers.

use std::fmt::Write;

use data_encoding::BASE64;
use httparse::Status;
use tungstenite::handshake::derive_accept_key;

use crate::config::Secret;

use super::super::pipe::ByteQueue;
use super::super::{Bounds, StreamFault};
use super::body::{Body, Framing};
use super::head::{self, FIELDS_MAX, HeadEnd};

/// How much of a far side's reason is kept.
const REASON_CHARS_MAX: usize = 300;

/// The request that opens a WebSocket (RFC 6455, section 4.1), with a token if there is one
/// (RFC 6750, section 2.1).
pub(in super::super) fn upgrade_head(
    host: &str,
    path: &str,
    key: [u8; 16],
    token: Option<&str>,
) -> Result<String, StreamFault> {
    let mut head = request_head("GET", host, path)?;
    if let Some(token) = token {
        write!(head, "Authorization: Bearer {token}\r\n").expect("a string takes everything");
    }
    write!(
        head,
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {}\r\n\r\n",
        BASE64.encode(&key)
    )
    .expect("a string takes everything");
    Ok(head)
}

/// One request of ours, after whose answer the connection ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outbound {
    /// Path and query.
    target: String,
    /// What shows that we may ask (RFC 6750, section 2.1).
    bearer: Option<Secret>,
    /// What is posted; without it this is a GET. Others' tokens may be in it.
    json: Option<Secret>,
}

impl Outbound {
    /// Asks for a document.
    pub(crate) fn get(target: &str) -> Self {
        Self { target: target.to_owned(), bearer: None, json: None }
    }

    /// Posts a JSON document.
    pub(crate) fn post(target: &str, json: String) -> Self {
        Self { json: Some(Secret::new(json)), ..Self::get(target) }
    }

    /// The same with a token that shows that we may ask.
    #[must_use]
    pub(crate) fn with_bearer(mut self, token: Option<Secret>) -> Self {
        self.bearer = token;
        self
    }

    /// The request as it goes out.
    pub(in super::super) fn text(&self, host: &str) -> Result<String, StreamFault> {
        let method = if self.json.is_some() { "POST" } else { "GET" };
        let mut text = request_head(method, host, &self.target)?;
        let body = self.json.as_ref().map_or("", Secret::reveal);
        if let Some(bearer) = &self.bearer {
            if !is_visible(bearer.reveal()) {
                return Err(StreamFault::Destination);
            }
            text.push_str(&format!("Authorization: Bearer {}\r\n", bearer.reveal()));
        }
        if self.json.is_some() {
            let length = body.len();
            text.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {length}\r\n"
            ));
        }
        text.push_str("Connection: close\r\n\r\n");
        text.push_str(body);
        Ok(text)
    }
}

fn request_head(method: &str, host: &str, target: &str) -> Result<String, StreamFault> {
    if host.is_empty() || !is_visible(host) || !target.starts_with('/') || !is_visible(target) {
        return Err(StreamFault::Destination);
    }
    Ok(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n"))
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An answer that is being waited for.
#[derive(Debug)]
pub(in super::super) struct Awaited {
    /// For an upgrade: what the answer has to accept it with.
    accept: Option<String>,
    received: ByteQueue,
    head_end: HeadEnd,
    /// The answer whose body is still coming.
    current: Option<(u16, Body)>,
}

/// A complete answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Answer {
    /// The WebSocket is open; these bytes of it came with the answer.
    Opened(Vec<u8>),
    /// The document, or why there is none.
    Response {
        /// The status code.
        status: u16,
        /// The body.
        body: Vec<u8>,
    },
}

impl Awaited {
    /// Waits for the answer to [`upgrade_head`] with that key.
    pub(in super::super) fn upgrade(key: [u8; 16]) -> Self {
        let accept = derive_accept_key(BASE64.encode(&key).as_bytes());
        Self { accept: Some(accept), ..Self::document() }
    }

    /// Waits for the answer to an [`Outbound`].
    pub(in super::super) fn document() -> Self {
        Self {
            accept: None,
            received: ByteQueue::default(),
            head_end: HeadEnd::default(),
            current: None,
        }
    }

    /// Takes what came in; answers once the answer is complete.
    pub(in super::super) fn receive(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
    ) -> Result<Option<Answer>, StreamFault> {
        self.received.push(bytes);
        let (status, mut body) = match self.current.take() {
            Some(current) => current,
            None => match self.receive_head(bounds)? {
                None => return Ok(None),
                Some(Start::Opened) => return Ok(Some(Answer::Opened(self.received.take()))),
                Some(Start::Body(status, body)) => (status, body),
            },
        };
        let used = body.receive(self.received.as_slice())?;
        self.received.consume(used);
        if body.is_complete() {
            return Ok(Some(Answer::Response { status, body: body.into_bytes() }));
        }
        self.current = Some((status, body));
        Ok(None)
    }

    /// Says that nothing more comes; that may complete the answer.
    pub(in super::super) fn end(&mut self) -> Result<Answer, StreamFault> {
        match self.current.take() {
            Some((status, body)) if body.is_until_close() => {
                Ok(Answer::Response { status, body: body.into_bytes() })
            }
            Some(_) | None => Err(StreamFault::Truncated),
        }
    }

    fn receive_head(&mut self, bounds: &Bounds) -> Result<Option<Start>, StreamFault> {
        loop {
            let Some(len) = self.head_end.find(&self.received, bounds.head_bytes_max)? else {
                return Ok(None);
            };
            let head = self.received.as_slice().get(..len).unwrap_or_default();
            let start = Start::parse(head, self.accept.as_deref(), bounds)?;
            self.received.consume(len);
            // Without a start this was an interim response (RFC 9110, section 15.2).
            if start.is_some() {
                return Ok(start);
            }
        }
    }
}

/// What a response's head says.
enum Start {
    Opened,
    Body(u16, Body),
}

impl Start {
    fn parse(
        bytes: &[u8],
        accept: Option<&str>,
        bounds: &Bounds,
    ) -> Result<Option<Self>, StreamFault> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let complete = parsed.parse(bytes).map_err(head::refused)? == Status::Complete(bytes.len());
        let (true, Some(status), Some(version)) = (complete, parsed.code, parsed.version) else {
            return Err(StreamFault::Answer("the head does not end where it should"));
        };
        let headers = &*parsed.headers;
        match (status, accept) {
            (101, Some(accept)) => check_opened(headers, accept).map(|()| Some(Self::Opened)),
            (101, None) => Err(StreamFault::Answer("an upgrade that nobody asked for")),
            (100..=199, _) => Ok(None),
            (401, Some(_)) => Err(StreamFault::Unauthorized(told_reason(headers))),
            (status, Some(_)) => Err(StreamFault::UpgradeRefused(status)),
            (status, None) => {
                let framing = match (status, head::framing(headers, version == 1)?) {
                    (204 | 304, _) => Framing::Length(0),
                    (_, framing) => framing.unwrap_or(Framing::UntilClose),
                };
                Ok(Some(Self::Body(status, Body::new(framing, bounds.body_bytes_max)?)))
            }
        }
    }
}

/// What the far side has against our token (RFC 6750, section 3), as far as it can be shown.
fn told_reason(headers: &[httparse::Header<'_>]) -> String {
    let told = head::values(headers, "www-authenticate").next().unwrap_or_default();
    let told = String::from_utf8_lossy(told);
    let reason = told.split_once("error_description=\"").map(|(_, rest)| rest);
    let reason = reason.and_then(|rest| rest.split('"').next()).unwrap_or("it does not say why");
    reason.chars().filter(|c| matches!(c, ' '..='~')).take(REASON_CHARS_MAX).collect()
}

/// The checks of RFC 6455, section 4.1, on the answer to an upgrade.
fn check_opened(headers: &[httparse::Header<'_>], accept: &str) -> Result<(), StreamFault> {
    if !head::has_token(headers, "upgrade", "websocket")
        || !head::has_token(headers, "connection", "upgrade")
    {
        return Err(StreamFault::Answer("101 without the upgrade to a WebSocket"));
    }
    let mut accepts = head::values(headers, "sec-websocket-accept");
    if accepts.next() != Some(accept.as_bytes()) || accepts.next().is_some() {
        return Err(StreamFault::Answer("Sec-WebSocket-Accept does not fit the key"));
    }
    for unasked in ["sec-websocket-protocol", "sec-websocket-extensions"] {
        if head::values(headers, unasked).next().is_some() {
            return Err(StreamFault::Answer("a subprotocol or extension that nobody asked for"));
        }
    }
    Ok(())
}

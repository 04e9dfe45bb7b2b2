//! One TCP connection, either end: bytes in, messages out, and the bytes to send in one bounded
//! buffer.
//!
//! A connection is up to three layers: TLS, unless the port is plain; HTTP/1.1; and, after an
//! upgrade, a WebSocket. Whoever owns it passes in what the socket delivers and acts on what that
//! meant, in order; what is due in return waits in [`Connection::outgoing`].

mod fault;
pub(crate) mod http;
mod incoming;
mod pipe;
pub(crate) mod tls;
mod websocket;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tungstenite::protocol::Role;

use crate::clock::WallClock;
use crate::limits::Limits;

pub(crate) use self::fault::StreamFault;
pub(crate) use self::incoming::Incoming;

use self::http::{Answer, Awaited, Exchange, Outbound, Requests, Response, Step};
use self::pipe::ByteQueue;
use self::tls::Tls;
use self::websocket::{Said, WebSocket};

/// A response's body moves into the outgoing buffer until this much waits there, so that a page of
/// any size costs a slow reader's connection no more.
const FILL_BYTES: usize = 64 * 1024;

/// How much of a body moves at once: what one TLS record carries.
const PIECE_BYTES: usize = 16 * 1024;

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Connection {
    tls: Option<Box<Tls>>,
    protocol: Protocol,
    outgoing: ByteQueue,
    /// The body that is being sent, and how much of it is in `outgoing` already.
    body: Option<(Arc<[u8]>, usize)>,
    clock: WallClock,
    bounds: Bounds,
    /// Whether nothing new will be said from this side.
    closing: bool,
}

/// What is spoken at the moment.
#[derive(Debug)]
enum Protocol {
    /// HTTP, the server's end.
    Requests {
        reader: Box<Requests>,
        /// The request that waits for its response.
        outstanding: Option<Exchange>,
    },
    /// HTTP, the dialing end.
    Awaited(Box<Awaited>),
    /// A WebSocket, either end.
    WebSocket(Box<WebSocket>),
    /// Nothing any more. What still comes in is not looked at.
    Over {
        /// Whether the owner does not know yet.
        untold: bool,
    },
}

/// The part of [`Limits`] that concerns a connection.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    head_bytes_max: usize,
    body_bytes_max: usize,
    message_bytes_max: usize,
    outgoing_bytes_max: usize,
}

impl Connection {
    /// A connection that the far side opened; with `tls`, it is to speak TLS.
    ///
    /// # Errors
    ///
    /// [`StreamFault::Tls`] if the settings do not fit together.
    pub(crate) fn accept(
        tls: Option<Arc<ServerConfig>>,
        clock: WallClock,
        limits: &Limits,
    ) -> Result<Self, StreamFault> {
        let tls = tls.map(Tls::accept).transpose()?;
        let protocol = Protocol::Requests { reader: Box::default(), outstanding: None };
        Ok(Self::new(tls, protocol, clock, limits))
    }

    /// A connection that we opened to speak WebSocket; [`Incoming::Opened`] tells when it can.
    ///
    /// `host` becomes the `Host` field, so it has the port where that is not the usual one. `key`
    /// is 16 random bytes; `token` goes along as a bearer's.
    ///
    /// # Errors
    ///
    /// [`StreamFault::Destination`] or [`StreamFault::Tls`].
    pub(crate) fn dial_websocket(
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        host: &str,
        path: &str,
        key: [u8; 16],
        token: Option<&str>,
        clock: WallClock,
        limits: &Limits,
    ) -> Result<Self, StreamFault> {
        let head = http::upgrade_head(host, path, key, token)?;
        Self::dial(tls, &head, Awaited::upgrade(key), clock, limits)
    }

    /// A connection that we opened for one request; [`Incoming::Response`] brings the answer.
    ///
    /// # Errors
    ///
    /// [`StreamFault::Destination`] or [`StreamFault::Tls`].
    pub(crate) fn dial_request(
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        host: &str,
        request: &Outbound,
        clock: WallClock,
        limits: &Limits,
    ) -> Result<Self, StreamFault> {
        Self::dial(tls, &request.text(host)?, Awaited::document(), clock, limits)
    }

    fn dial(
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        request: &str,
        awaited: Awaited,
        clock: WallClock,
        limits: &Limits,
    ) -> Result<Self, StreamFault> {
        let tls = tls.map(|(config, name)| Tls::dial(config, name)).transpose()?;
        let mut connection = Self::new(tls, Protocol::Awaited(Box::new(awaited)), clock, limits);
        connection.send(request.as_bytes());
        Ok(connection)
    }

    fn new(tls: Option<Tls>, protocol: Protocol, clock: WallClock, limits: &Limits) -> Self {
        Self {
            tls: tls.map(Box::new),
            protocol,
            outgoing: ByteQueue::default(),
            body: None,
            clock,
            bounds: Bounds {
                head_bytes_max: limits.http_head_bytes_max,
                body_bytes_max: limits.http_body_bytes_max,
                message_bytes_max: limits.websocket_message_bytes_max,
                outgoing_bytes_max: limits.outgoing_bytes_max,
            },
            closing: false,
        }
    }

    /// Takes what the socket delivered, whole, and appends to `incoming` what it meant.
    ///
    /// Without bytes it looks again at what came earlier. That is due after every
    /// [`Connection::respond`], [`Connection::accept_upgrade`] and [`Connection::wrote`], because
    /// requests that were sent ahead wait until the one before them is answered, and the end of
    /// the conversation may have come with the answer.
    ///
    /// # Errors
    ///
    /// A [`StreamFault`] ends the conversation; messages before it were appended. What is outgoing
    /// tells the far side, so it is to be written before the connection ends. Later calls do
    /// nothing.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        incoming: &mut VecDeque<Incoming>,
    ) -> Result<(), StreamFault> {
        let mut result = self.receive_wire(bytes, incoming);
        // Pongs and TLS's own messages come without asking; a far side that provokes them has to
        // read them too.
        if result.is_ok() && self.outgoing.len() > self.bounds.outgoing_bytes_max {
            result = Err(StreamFault::Overflow);
        }
        result.inspect_err(|fault| self.fail(fault))
    }

    /// Says that the socket delivers no more: the far side ended the connection.
    ///
    /// # Errors
    ///
    /// [`StreamFault::Truncated`] if that was in mid-sentence.
    pub(crate) fn eof(&mut self, incoming: &mut VecDeque<Incoming>) -> Result<(), StreamFault> {
        // TLS says goodbye by itself. Without that, what has no other end may have been cut off.
        let truncated = self.tls.is_some() && matches!(self.protocol, Protocol::Awaited(_));
        let result = if truncated { Err(StreamFault::Truncated) } else { self.end(incoming) };
        self.over(false);
        result
    }

    /// Answers the request that waits; does nothing if none does.
    pub(crate) fn respond(&mut self, response: Response) {
        let Protocol::Requests { outstanding, .. } = &mut self.protocol else { return };
        let Some(exchange) = outstanding.take() else { return };
        let keep_alive = exchange.keep_alive && response.allows_more();
        let head = response.head(keep_alive, self.clock.unix());
        let body = if exchange.head { Arc::default() } else { response.into_body() };
        if !keep_alive {
            self.over(true);
        }
        self.send(head.as_bytes());
        self.body = Some((body, 0));
        self.fill();
    }

    /// Turns the connection into a WebSocket, as the request that waits wishes; does nothing if
    /// none does.
    pub(crate) fn accept_upgrade(&mut self) {
        let Protocol::Requests { reader, outstanding } = &mut self.protocol else { return };
        let Some(Exchange { accept: Some(accept), .. }) = outstanding else { return };
        let head = http::switching_protocols(accept, self.clock.unix());
        let early = std::mem::take(reader.as_mut()).into_rest();
        self.open(Role::Server, early);
        self.send(head.as_bytes());
    }

    /// Sends a text message on the WebSocket; does nothing if there is none or it is closing.
    ///
    /// # Errors
    ///
    /// [`StreamFault::Overflow`] if the far side reads too slowly. It ends the conversation, and
    /// there is no point in waiting until the rest is written.
    pub(crate) fn send_text(&mut self, text: &str) -> Result<(), StreamFault> {
        let Protocol::WebSocket(websocket) = &mut self.protocol else { return Ok(()) };
        if self.closing {
            return Ok(());
        }
        let frame_bytes_max = text.len() + websocket::FRAME_HEAD_BYTES_MAX;
        let cost = match &self.tls {
            Some(_) => tls::wire_bytes_max(frame_bytes_max),
            None => frame_bytes_max,
        };
        if self.outgoing.len() + cost > self.bounds.outgoing_bytes_max {
            self.over(false);
            return Err(StreamFault::Overflow);
        }
        let frame = websocket.text(text);
        self.send(&frame);
        Ok(())
    }

    /// Says goodbye: to a WebSocket with a close frame (RFC 6455, section 7.4), and to TLS.
    ///
    /// The far side may answer a close frame, which [`Incoming::Closed`] reports.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        if self.closing {
            return;
        }
        if let Protocol::WebSocket(websocket) = &mut self.protocol {
            let frame = websocket.close(code, reason);
            self.send(&frame);
            self.closing = true;
        } else {
            self.over(false);
        }
        self.say_goodbye_once_sent();
    }

    /// The bytes that wait to be written to the socket.
    pub(crate) fn outgoing(&self) -> &[u8] {
        self.outgoing.as_slice()
    }

    /// Says that the first `n` of the outgoing bytes were written. More may move up behind them.
    pub(crate) fn wrote(&mut self, n: usize) {
        self.outgoing.consume(n);
        self.fill();
    }

    /// Whether everything that was to be sent is written.
    pub(crate) fn is_drained(&self) -> bool {
        self.outgoing.is_empty() && self.body.is_none()
    }

    /// Whether the connection is an open WebSocket, or one that is closing.
    #[cfg(test)]
    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self.protocol, Protocol::WebSocket(_))
    }

    /// Whether nothing new will be said from this side: once it is drained, the connection can
    /// end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    fn receive_wire(
        &mut self,
        bytes: &[u8],
        incoming: &mut VecDeque<Incoming>,
    ) -> Result<(), StreamFault> {
        if matches!(self.protocol, Protocol::Over { .. }) {
            return self.consume(&[], incoming);
        }
        let Some(tls) = &mut self.tls else { return self.consume(bytes, incoming) };
        let mut plain = Vec::new();
        let outcome = tls.receive(bytes, &mut plain, &mut self.outgoing);
        self.consume(&plain, incoming)?;
        if outcome? {
            self.end(incoming)?;
            self.over(false);
            self.say_goodbye_once_sent();
        }
        Ok(())
    }

    fn consume(
        &mut self,
        plain: &[u8],
        incoming: &mut VecDeque<Incoming>,
    ) -> Result<(), StreamFault> {
        match &mut self.protocol {
            Protocol::Requests { reader, .. } => {
                reader.push(plain, &self.bounds)?;
                self.next_request(incoming)
            }
            Protocol::Awaited(awaited) => match awaited.receive(plain, &self.bounds)? {
                Some(Answer::Opened(early)) => {
                    incoming.push_back(Incoming::Opened);
                    self.open(Role::Client, early);
                    self.listen(&[], incoming)
                }
                Some(Answer::Response { status, body }) => {
                    incoming.push_back(Incoming::Response { status, body });
                    self.over(false);
                    Ok(())
                }
                None => Ok(()),
            },
            Protocol::WebSocket(_) => self.listen(plain, incoming),
            Protocol::Over { untold } => {
                if std::mem::take(untold) {
                    incoming.push_back(Incoming::Closed);
                }
                Ok(())
            }
        }
    }

    fn next_request(&mut self, incoming: &mut VecDeque<Incoming>) -> Result<(), StreamFault> {
        let Protocol::Requests { reader, outstanding } = &mut self.protocol else { return Ok(()) };
        if outstanding.is_some() || self.body.is_some() {
            return Ok(());
        }
        let (exchange, request) = match reader.next(&self.bounds)? {
            None => return Ok(()),
            Some(Step::Continue) => {
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n");
                return Ok(());
            }
            Some(Step::Request(exchange, request)) => (exchange, request),
        };
        let upgrade = exchange.accept.is_some();
        *outstanding = Some(exchange);
        incoming.push_back(if upgrade {
            Incoming::Upgrade(request)
        } else {
            Incoming::Request(request)
        });
        Ok(())
    }

    fn listen(
        &mut self,
        plain: &[u8],
        incoming: &mut VecDeque<Incoming>,
    ) -> Result<(), StreamFault> {
        let Protocol::WebSocket(websocket) = &mut self.protocol else { return Ok(()) };
        let mut said = Vec::new();
        let (due, result) = websocket.receive(plain, &mut said);
        self.send(&due);
        for said in said {
            match said {
                // Whoever has said goodbye does not listen any more.
                Said::Text(_) if self.closing => {}
                Said::Text(text) => incoming.push_back(Incoming::Text(text)),
                Said::Close => {
                    incoming.push_back(Incoming::Closed);
                    self.over(false);
                    self.say_goodbye_once_sent();
                }
            }
        }
        result
    }

    /// The far side says no more. In the middle of something that is a fault.
    fn end(&mut self, incoming: &mut VecDeque<Incoming>) -> Result<(), StreamFault> {
        match &mut self.protocol {
            Protocol::Requests { .. } => incoming.push_back(Incoming::Closed),
            Protocol::Awaited(awaited) => {
                let Answer::Response { status, body } = awaited.end()? else { return Ok(()) };
                incoming.push_back(Incoming::Response { status, body });
            }
            Protocol::WebSocket(_) if self.closing => incoming.push_back(Incoming::Closed),
            Protocol::WebSocket(_) => return Err(StreamFault::Truncated),
            Protocol::Over { .. } => {}
        }
        Ok(())
    }

    /// Tells the far side what went wrong, as far as its protocol has words for it.
    fn fail(&mut self, fault: &StreamFault) {
        if matches!(self.protocol, Protocol::Requests { .. })
            && self.body.is_none()
            && let Some(response) = Response::of_fault(fault)
        {
            let head = response.head(false, self.clock.unix());
            self.send(head.as_bytes());
            self.body = Some((response.into_body(), 0));
            self.fill();
        }
        self.over(false);
        if !matches!(fault, StreamFault::Tls(_)) {
            self.say_goodbye_once_sent();
        }
    }

    fn open(&mut self, role: Role, early: Vec<u8>) {
        let websocket = WebSocket::new(role, early, self.bounds.message_bytes_max);
        self.protocol = Protocol::WebSocket(Box::new(websocket));
    }

    fn over(&mut self, untold: bool) {
        self.protocol = Protocol::Over { untold };
        self.closing = true;
    }

    fn send(&mut self, plain: &[u8]) {
        if plain.is_empty() {
            return;
        }
        match &mut self.tls {
            Some(tls) => tls.send(plain, &mut self.outgoing),
            None => self.outgoing.push(plain),
        }
    }

    /// Moves as much of the response's body into the outgoing buffer as may wait there.
    fn fill(&mut self) {
        let fill_bytes = FILL_BYTES.min(self.bounds.outgoing_bytes_max / 2);
        while self.outgoing.len() < fill_bytes
            && let Some((body, sent)) = &mut self.body
        {
            let room = (fill_bytes - self.outgoing.len()).min(PIECE_BYTES);
            let body = Arc::clone(body);
            let rest = body.get(*sent..).unwrap_or_default();
            let piece = rest.get(..room).unwrap_or(rest);
            if piece.is_empty() {
                self.body = None;
                if self.closing {
                    self.say_goodbye_once_sent();
                }
                break;
            }
            *sent += piece.len();
            self.send(piece);
        }
    }

    /// Ends TLS, now or, while a body is still being sent, behind it.
    fn say_goodbye_once_sent(&mut self) {
        if self.body.is_none()
            && let Some(tls) = &mut self.tls
        {
            tls.close(&mut self.outgoing);
        }
    }
}

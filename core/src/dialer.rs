//! Getting a connection to another host: name, addresses, TCP, and what is spoken over it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::id::{ConnId, LookupId};
use crate::input::Hangup;
use crate::outbox::Ctx;
use crate::output::{Linger, Output};
use crate::stream::http::Outbound;
use crate::stream::{Connection, Incoming, StreamFault};

/// Where to and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// TLS, if the connection is to have it; an error is why it cannot, and then there is none.
    pub(crate) tls: Option<Result<Arc<rustls::ClientConfig>, rustls::Error>>,
    pub(crate) purpose: Purpose,
}

/// What the connection is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    WebSocket,
    /// This one request.
    Ask(Outbound),
}

impl Target {
    /// Says of which far side something is true.
    fn blame(&self, why: &str) -> String {
        format!("{} port {}: {why}", self.host, self.port)
    }
}

/// One connection in the making, or made.
#[derive(Debug)]
pub(crate) struct Dialer {
    target: Target,
    state: State,
    /// Whether the far side did not accept our token the last time.
    refused: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Resolving(LookupId),
    Connecting { conn: ConnId, others: Vec<SocketAddr> },
    Open { conn: ConnId, stream: Box<Connection> },
}

/// Numbers for connections and look-ups, each used once. Links, polls and hooks each count in
/// their own steps of three, so that they need not share a counter.
#[derive(Debug)]
pub(crate) struct Numbers {
    conns: u64,
    lookups: u64,
}

impl Numbers {
    pub(crate) const fn links() -> Self {
        Self { conns: 0, lookups: 0 }
    }

    pub(crate) const fn polls() -> Self {
        Self { conns: 1, lookups: 1 }
    }

    pub(crate) const fn hooks() -> Self {
        Self { conns: 2, lookups: 2 }
    }

    fn conn(&mut self) -> ConnId {
        self.conns += 3;
        ConnId::dialed(self.conns)
    }

    pub(crate) fn lookup(&mut self) -> LookupId {
        self.lookups += 3;
        LookupId(self.lookups)
    }
}

impl Dialer {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, state: State::Idle, refused: false }
    }

    /// Goes where `other` would from the next start on; what there is stays.
    pub(crate) fn aim(&mut self, other: Self) {
        self.target = other.target;
    }

    /// The TLS settings that the next start goes by.
    #[cfg(test)]
    pub(crate) fn tls(&self) -> Option<&Arc<rustls::ClientConfig>> {
        self.target.tls.as_ref()?.as_ref().ok()
    }

    /// Whom it dials.
    pub(crate) fn host(&self) -> &str {
        &self.target.host
    }

    /// Begins anew, whatever was before.
    pub(crate) fn start(&mut self, ctx: &mut Ctx<'_>, numbers: &mut Numbers) {
        self.stop(ctx, Linger::Abort);
        self.refused = false;
        let lookup = numbers.lookup();
        self.state = State::Resolving(lookup);
        ctx.out.push(Output::Resolve { lookup, host: self.target.host.clone() });
    }

    /// Ends whatever there is.
    pub(crate) fn stop(&mut self, ctx: &mut Ctx<'_>, how: Linger) {
        match &self.state {
            State::Connecting { conn, .. } => {
                ctx.out.push(Output::Close { conn: *conn, how: Linger::Abort });
            }
            State::Open { conn, .. } => ctx.out.push(Output::Close { conn: *conn, how }),
            State::Idle | State::Resolving(_) => {}
        }
        self.state = State::Idle;
    }

    /// Says goodbye, and ends the connection once everything is written; until then the dialer must
    /// be kept.
    pub(crate) fn hang_up(&mut self, ctx: &mut Ctx<'_>) {
        if let State::Open { conn, stream } = &mut self.state {
            stream.close(1001, "this node is no edge of ours any more");
            ctx.out.push(Output::Write(*conn));
            ctx.out.push(Output::Close { conn: *conn, how: Linger::Flush });
        } else {
            self.stop(ctx, Linger::Abort);
        }
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    pub(crate) fn waits_for(&self, lookup: LookupId) -> bool {
        matches!(self.state, State::Resolving(own) if own == lookup)
    }

    pub(crate) fn is_on(&self, conn: ConnId) -> bool {
        match &self.state {
            State::Connecting { conn: own, .. } | State::Open { conn: own, .. } => *own == conn,
            State::Idle | State::Resolving(_) => false,
        }
    }

    /// Takes the addresses of the name, or begins with them.
    pub(crate) fn resolved(
        &mut self,
        ctx: &mut Ctx<'_>,
        numbers: &mut Numbers,
        addrs: &[IpAddr],
    ) -> Result<(), String> {
        let others = addrs.iter().map(|addr| SocketAddr::new(*addr, self.target.port)).collect();
        self.connect_next(ctx, numbers, others, "the name has no address")
    }

    fn connect_next(
        &mut self,
        ctx: &mut Ctx<'_>,
        numbers: &mut Numbers,
        mut others: Vec<SocketAddr>,
        why: &str,
    ) -> Result<(), String> {
        self.state = State::Idle;
        if others.is_empty() {
            return Err(self.target.blame(why));
        }
        let addr = others.remove(0);
        let conn = numbers.conn();
        self.state = State::Connecting { conn, others };
        ctx.out.push(Output::Connect { conn, addr });
        Ok(())
    }

    /// TCP is up: the request goes out.
    pub(crate) fn connected(&mut self, ctx: &mut Ctx<'_>) -> Result<(), String> {
        let State::Connecting { conn, .. } = &self.state else { return Ok(()) };
        let conn = *conn;
        let limits = &ctx.config.limits;
        let Target { host, port, tls, purpose } = &self.target;
        let tls = match tls {
            Some(Err(why)) => return Err(format!("TLS cannot be set up: {why}")),
            Some(Ok(tls)) => {
                let name = ServerName::try_from(host.clone());
                let name =
                    name.map_err(|_| format!("{host} cannot be the name in a certificate"))?;
                Some((tls.clone(), name))
            }
            None => None,
        };
        // An IPv6 address stands in brackets (RFC 3986, section 3.2.2).
        let authority = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            Ok(IpAddr::V4(_)) | Err(_) => format!("{host}:{port}"),
        };
        let stream = match purpose {
            Purpose::WebSocket => {
                let key = ctx.rng.bytes();
                let clock = ctx.clock.clone();
                // Made for this dial alone, with the keys of now.
                let token = ctx.config.settings.cdn_auth_keys.as_ref().map(|keys| {
                    let nonce = ctx.rng.uuid();
                    keys.sign_link(&ctx.config.node, &authority, nonce, clock.unix(), limits)
                });
                let token = token.as_deref();
                Connection::dial_websocket(tls, &authority, "/", key, token, clock, limits)
            }
            Purpose::Ask(request) => {
                Connection::dial_request(tls, &authority, request, ctx.clock.clone(), limits)
            }
        };
        let stream = stream.map_err(|fault| fault.to_string())?;
        self.state = State::Open { conn, stream: Box::new(stream) };
        self.flush(ctx);
        Ok(())
    }

    /// Takes bytes; what they say is put into `incoming`.
    pub(crate) fn received(
        &mut self,
        ctx: &mut Ctx<'_>,
        bytes: &[u8],
        incoming: &mut VecDeque<Incoming>,
    ) -> Result<(), String> {
        let State::Open { stream, .. } = &mut self.state else { return Ok(()) };
        let taken = stream.receive(bytes, incoming);
        self.refused |= matches!(taken, Err(StreamFault::Unauthorized(_)));
        let taken = taken.map_err(|fault| self.target.blame(&fault.to_string()));
        self.flush(ctx);
        taken
    }

    /// The connection is gone: the next address is tried, if this one never came up.
    pub(crate) fn closed(
        &mut self,
        ctx: &mut Ctx<'_>,
        numbers: &mut Numbers,
        cause: Hangup,
        incoming: &mut VecDeque<Incoming>,
    ) -> Result<(), String> {
        let why = match cause {
            Hangup::Eof => "it closed the connection",
            Hangup::Reset => "the connection broke",
            Hangup::Refused => "nobody listens there",
            Hangup::Unreachable => "there is no way there",
        };
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Connecting { others, .. } => self.connect_next(ctx, numbers, others, why),
            State::Open { mut stream, .. } => {
                // A response without a length ends where the connection does.
                let _ = stream.eof(incoming);
                Err(self.target.blame(why))
            }
            State::Idle | State::Resolving(_) => Ok(()),
        }
    }

    /// Says something over the WebSocket.
    pub(crate) fn say(&mut self, ctx: &mut Ctx<'_>, text: &str) -> Result<(), String> {
        let State::Open { stream, .. } = &mut self.state else { return Ok(()) };
        stream.send_text(text).map_err(|fault| fault.to_string())?;
        self.flush(ctx);
        Ok(())
    }

    fn flush(&self, ctx: &mut Ctx<'_>) {
        if let State::Open { conn, stream } = &self.state
            && !stream.outgoing().is_empty()
        {
            ctx.out.push(Output::Write(*conn));
        }
    }

    pub(crate) fn outgoing(&self) -> &[u8] {
        match &self.state {
            State::Open { stream, .. } => stream.outgoing(),
            State::Idle | State::Resolving(_) | State::Connecting { .. } => &[],
        }
    }

    pub(crate) fn wrote(&mut self, n: usize) {
        if let State::Open { stream, .. } = &mut self.state {
            stream.wrote(n);
        }
    }
}

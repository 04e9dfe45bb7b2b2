//! The TCP connections that a shard accepted: pages and questions over HTTP, dialogues over
//! WebSocket.

mod addresses;
mod door;
mod links;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;

use crate::access::of_session;
use crate::config::Secret;
use crate::id::{ConnId, SessionId, ShardId};
use crate::input::{Flow, Service};
use crate::message::{Door, Message, ToConnection, ToNode};
use crate::outbox::Ctx;
use crate::output::{Event, Linger, Output};
use crate::signal::{Info, Session, SessionFault, Step, StreamEvent, fail, stream_event};
use crate::stream::http::{Request, Response};
use crate::stream::{Connection, Incoming, tls};
use crate::timers::{Timers, earlier};
use crate::token::LinkRefusal;

use self::routes::{Route, route, shared};

use addresses::{Addresses, Budget, Counted};

/// Close codes of RFC 6455, section 7.4.1.
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// All accepted connections of a shard.
pub(crate) struct Connections {
    shard: ShardId,
    tls: Option<Arc<ServerConfig>>,
    table: BTreeMap<ConnId, Entry>,
    addresses: Addresses,
    timers: Timers<ConnId>,
    /// Who is let in.
    door: Door,
    /// Set when no connection is taken any more.
    leaving: bool,
    /// Before then, no other warning of a link that is refused is due.
    next_warning: Option<Instant>,
    /// How often settings were wished to be read again.
    wishes: u64,
    /// Requests of sessions that the node did not take up yet, as far as it has said so.
    waiting: u32,
}

struct Entry {
    stream: Connection,
    flow: Flow,
    /// `None`: the address is not counted.
    counted: Option<Counted>,
    phase: Phase,
    far: FarEnd,
    /// The token that a WebSocket opened with; `connection` takes it along.
    token: Option<Secret>,
    /// What it may still say in its session for now.
    words: Budget,
    /// Answers of the node that are still to come and that nobody waits for any more.
    overdue: u32,
    /// By when a far side that was said goodbye to must have read it.
    goodbye: Option<Instant>,
    /// By when some of what waits to be written must be.
    stall: Option<Instant>,
}

/// Who is at the far end, as far as that matters for links.
#[derive(Clone, PartialEq, Eq)]
enum FarEnd {
    Anybody,
    /// Showed a token that is of no node, for this reason; publishers and viewers do too.
    Stranger(LinkRefusal),
    /// Says that it is a node.
    Claimed,
    /// Proved to be this node.
    Proven(String),
}

enum Phase {
    /// TLS, and the first request or the upgrade, which must have come by then.
    Opening {
        deadline: Instant,
    },
    /// HTTP; the connection ends then if nothing comes.
    Http {
        idle: Instant,
    },
    /// The answer to a request is owed.
    Asked {
        by: Debtor,
        deadline: Instant,
        /// The page that asks, where a page does.
        origin: Option<String>,
    },
    Session(Session),
}

/// Who owes an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Debtor {
    Node,
    /// Whoever reads settings again, at the wish of this number.
    Reader(u64),
}

impl Connections {
    pub(crate) fn new(ctx: &Ctx<'_>, shard: ShardId) -> Self {
        // The runtime has checked the certificate; without one that works, TLS ports refuse.
        let tls = tls::server_config(&ctx.config.tls, ctx.clock.clone()).ok();
        Self {
            shard,
            tls,
            table: BTreeMap::new(),
            addresses: Addresses::new(ctx.config.limits.addresses_max),
            timers: Timers::new(),
            door: Door::Open,
            leaving: false,
            next_warning: None,
            wishes: 0,
            waiting: 0,
        }
    }

    /// Takes over the certificate of `ctx`, which may have changed, for those who come from now;
    /// and if there is a key now, links have to come anew to prove what they are.
    pub(crate) fn reload(&mut self, ctx: &mut Ctx<'_>) {
        self.tls = tls::server_config(&ctx.config.tls, ctx.clock.clone()).ok();
        if ctx.config.settings.cdn_auth_keys.is_some() {
            self.end_unproven_links(ctx);
        }
    }

    /// Tells those who had settings read again, up to this wish, what came of it.
    pub(crate) fn answer_reloads(
        &mut self,
        ctx: &mut Ctx<'_>,
        newest: u64,
        outcome: Result<(), &str>,
    ) {
        let waits = |entry: &Entry| match entry.phase {
            Phase::Asked { by: Debtor::Reader(wish), .. } => wish <= newest,
            Phase::Asked { by: Debtor::Node, .. }
            | Phase::Opening { .. }
            | Phase::Http { .. }
            | Phase::Session(_) => false,
        };
        let all = self.table.iter().filter(|(_, entry)| waits(entry)).map(|(conn, _)| *conn);
        for conn in all.collect::<Vec<_>>() {
            self.respond(ctx, conn, routes::reloaded(outcome));
            self.after(ctx, conn);
        }
    }

    pub(crate) fn accept(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, service: Service, flow: Flow) {
        let limits = &ctx.config.limits;
        let secure = match service {
            Service::Ws | Service::Http => false,
            Service::Wss | Service::Https | Service::Page => true,
        };
        let full = self.table.len() >= limits.connections_max || self.leaving;
        let unusable = secure && self.tls.is_none();
        let tls = self.tls.clone().filter(|_| secure);
        let (remote, capacity) = (flow.remote, &ctx.config.settings.capacity);
        if full || unusable {
            ctx.out.push(Output::Close { conn, how: Linger::Abort });
            return;
        }
        // Before TLS, which costs more than all that is counted here.
        let counted = match self.addresses.open(ctx.now, remote.ip(), capacity) {
            Ok(counted) => counted,
            Err(why) => {
                ctx.out.event(Event::Refused { remote, why: why.to_owned() });
                ctx.out.push(Output::Close { conn, how: Linger::Abort });
                return;
            }
        };
        let Ok(stream) = Connection::accept(tls, ctx.clock.clone(), limits) else {
            if let Some(counted) = counted {
                self.addresses.close(ctx.now, counted);
            }
            ctx.out.push(Output::Close { conn, how: Linger::Abort });
            return;
        };
        let phase = Phase::Opening { deadline: ctx.now + limits.handshake_timeout };
        let (far, token) = (FarEnd::Anybody, None);
        let words = Budget::default();
        let (goodbye, stall) = (None, None);
        let entry =
            Entry { stream, flow, counted, phase, far, token, words, overdue: 0, goodbye, stall };
        self.table.insert(conn, entry);
        self.after(ctx, conn);
    }

    pub(crate) fn receive(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, bytes: &[u8]) {
        self.read(ctx, conn, bytes);
        self.after(ctx, conn);
    }

    /// The socket is gone.
    pub(crate) fn closed(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        self.forget(ctx, conn);
    }

    pub(crate) fn handle(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, word: ToConnection) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        match word {
            ToConnection::Say(text) => {
                if entry.stream.send_text(&text).is_err() {
                    self.refuse(ctx, conn, "it reads too slowly");
                    self.end(ctx, conn, Linger::Abort);
                    return;
                }
            }
            // The far side was told already that there is no answer. The node answers every
            // question once and in turn, so this is none to what was asked since.
            ToConnection::Respond(_) | ToConnection::Admit(_) if entry.overdue > 0 => {
                entry.overdue -= 1;
                return;
            }
            ToConnection::Respond(response) => self.respond(ctx, conn, *response),
            ToConnection::Admit(outcome) => {
                self.admit(ctx, conn, outcome);
                self.read(ctx, conn, &[]);
            }
        }
        self.after(ctx, conn);
    }

    /// Tells viewers what happened in their stream, each of whom knows it by another id. Those who
    /// read slowly do without, as long as they have enough to read.
    pub(crate) fn tell(
        &mut self,
        ctx: &mut Ctx<'_>,
        event: &StreamEvent,
        viewers: &[(ConnId, String)],
    ) {
        let room = ctx.config.limits.outgoing_bytes_max / 2;
        for (conn, media_session) in viewers {
            let Some(entry) = self.table.get(conn) else { continue };
            if entry.stream.outgoing().len() <= room {
                let text = stream_event(media_session, &event.kind, event.payload.as_ref());
                self.handle(ctx, *conn, ToConnection::Say(text));
            }
        }
    }

    /// The node took up so many of the requests that waited for it.
    pub(crate) fn took_up(&mut self, requests: u32) {
        self.waiting = self.waiting.saturating_sub(requests);
    }

    /// Answers a request that somebody else had to be asked about.
    fn respond(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, response: Response) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        let Phase::Asked { origin, .. } = &entry.phase else { return };
        entry.stream.respond(shared(response, &ctx.config.settings, origin.as_deref()));
        entry.phase = Phase::Http { idle: ctx.now + ctx.config.limits.http_idle_timeout };
        self.read(ctx, conn, &[]);
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn outgoing(&self, conn: ConnId) -> &[u8] {
        self.table.get(&conn).map_or(&[], |entry| entry.stream.outgoing())
    }

    pub(crate) fn wrote(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, n: usize) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        entry.stream.wrote(n);
        if n > 0 {
            entry.stall = None;
        }
        if let Phase::Http { idle } = &mut entry.phase {
            // Whoever reads a long page slowly is not idle.
            *idle = (*idle).max(ctx.now + ctx.config.limits.http_idle_timeout);
        }
        // A request that was sent ahead may be next.
        self.read(ctx, conn, &[]);
        self.after(ctx, conn);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(conn) = self.timers.pop_due(ctx.now) {
            let Some(entry) = self.table.get_mut(&conn) else { continue };
            if entry.stall.is_some_and(|due| due <= ctx.now) {
                self.refuse(ctx, conn, "it does not read what it is sent");
                self.end(ctx, conn, Linger::Abort);
                continue;
            }
            match &mut entry.phase {
                _ if entry.goodbye.is_some() => {
                    self.end(ctx, conn, Linger::Abort);
                    continue;
                }
                Phase::Opening { .. } | Phase::Http { .. } => {
                    self.end(ctx, conn, Linger::Abort);
                    continue;
                }
                Phase::Asked { by, .. } => {
                    entry.overdue += u32::from(*by == Debtor::Node);
                    let response = Response::error(503, "This node did not answer in time.");
                    self.respond(ctx, conn, response);
                }
                Phase::Session(session) => match session.handle_timeout(ctx.now) {
                    Ok(Some(ping)) => {
                        if entry.stream.send_text(&ping).is_err() {
                            self.end(ctx, conn, Linger::Abort);
                            continue;
                        }
                    }
                    Ok(None) => {}
                    Err(fault) => self.hang_up(ctx, conn, &fault),
                },
            }
            self.after(ctx, conn);
        }
    }

    /// Takes nobody new and says goodbye to all.
    pub(crate) fn drain(&mut self, ctx: &mut Ctx<'_>) {
        self.leaving = true;
        for conn in self.table.keys().copied().collect::<Vec<_>>() {
            if let Some(entry) = self.table.get_mut(&conn) {
                entry.stream.close(GOING_AWAY, "the server is shutting down");
            }
            self.after(ctx, conn);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Takes bytes and acts on what they mean.
    fn read(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, bytes: &[u8]) {
        let mut incoming = VecDeque::new();
        let mut bytes = bytes;
        loop {
            let Some(entry) = self.table.get_mut(&conn) else { return };
            if entry.stream.is_closing() {
                return;
            }
            let received = entry.stream.receive(bytes, &mut incoming);
            bytes = &[];
            if incoming.is_empty() && received.is_ok() {
                return;
            }
            for incoming in incoming.drain(..) {
                self.act(ctx, conn, incoming);
            }
            if let Err(fault) = received {
                self.refuse(ctx, conn, &fault.to_string());
                return;
            }
        }
    }

    fn act(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, incoming: Incoming) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        match incoming {
            Incoming::Request(request) => self.serve(ctx, conn, &request),
            Incoming::Upgrade(request) => {
                if self.door == Door::Draining {
                    entry.stream.respond(door::shut());
                } else if ctx.config.settings.allows_origin(request.header("origin")) {
                    self.upgrade(ctx, conn, &request);
                } else {
                    let text = "Pages of this origin may not connect: see allow_domains.";
                    entry.stream.respond(Response::error(403, text));
                }
            }
            Incoming::Text(text) => self.hear(ctx, conn, &text),
            Incoming::Closed => entry.stream.close(NORMAL, ""),
            Incoming::Opened | Incoming::Response { .. } => {}
        }
    }

    fn hear(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, text: &str) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        let Phase::Session(session) = &mut entry.phase else { return };
        let (keep_alive, limits) = (ctx.config.settings.keep_alive, &ctx.config.limits);
        // An origin speaks for all who publish there.
        let is_page = matches!(entry.far, FarEnd::Anybody | FarEnd::Stranger(_));
        if is_page && !entry.words.take(ctx.now, limits.session_messages_per_second) {
            return self.hang_up(ctx, conn, &SessionFault::TooFast);
        }
        let token = ctx.rng.token(32);
        let id = SessionId { shard: self.shard, conn };
        let said = match session.handle(ctx.now, text, &token, keep_alive, limits) {
            Ok(Step::Establish { mut greeting, reply }) => {
                if !self.door.lets_in(greeting.link.is_some()) {
                    return self.show_out(ctx, conn);
                }
                greeting.token = of_session(greeting.token, entry.token.take());
                let identified = links::identify(ctx.config, &entry.far, &mut greeting);
                match identified {
                    Ok(far) => entry.far = far,
                    Err(refusal) => {
                        // The node does not hear of this session, nor of what was sent ahead.
                        entry.phase = Phase::Http { idle: ctx.now };
                        self.end_link(ctx, conn, refusal);
                        return;
                    }
                }
                let remote = entry.flow.remote;
                let word = ToNode::Established { session: id, remote, greeting };
                ctx.out.post(ShardId::NODE, Message::Node(word));
                entry.stream.send_text(&reply)
            }
            Ok(Step::Request(_)) if self.waiting >= limits.requests_waiting_max => {
                return self.send_away(ctx, conn, Info::Overloaded);
            }
            Ok(Step::Request(request)) => {
                let refusal = self.refuse_join(ctx, conn, &request);
                match (refusal, self.table.get_mut(&conn)) {
                    (Some(refusal), Some(entry)) => entry.stream.send_text(&refusal),
                    (Some(_), None) => Ok(()),
                    (None, _) => {
                        let word = ToNode::Requested { session: id, request: Box::new(request) };
                        ctx.out.post(ShardId::NODE, Message::Node(word));
                        self.waiting += 1;
                        Ok(())
                    }
                }
            }
            Ok(Step::Reply(reply)) => entry.stream.send_text(&reply),
            Ok(Step::Nothing) => Ok(()),
            Err(fault) => {
                self.hang_up(ctx, conn, &fault);
                return;
            }
        };
        if let Err(fault) = said {
            self.refuse(ctx, conn, &fault.to_string());
            self.end(ctx, conn, Linger::Abort);
        }
    }

    /// Ends a dialogue, and says why both in its own words and in WebSocket's.
    fn hang_up(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, fault: &SessionFault) {
        self.refuse(ctx, conn, fault.reason());
        self.say_goodbye(conn, fault.reason());
    }

    fn say_goodbye(&mut self, conn: ConnId, reason: &str) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        // A far side that reads too slowly for this learns it from the close frame, or not at all.
        let _ = entry.stream.send_text(&fail("", reason));
        entry.stream.close(POLICY, reason);
    }

    fn serve(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, request: &Request) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        let route = match route(ctx.config, entry.flow, request) {
            // The runtime waits for the end then, and reads nothing.
            Route::Reload if self.door == Door::Draining => {
                Route::Answer(routes::reloaded(Err("this node is about to end")))
            }
            route @ (Route::Answer(_) | Route::Ask(_) | Route::Reload) => route,
        };
        let by = match route {
            Route::Answer(response) => {
                entry.stream.respond(response);
                entry.phase = Phase::Http { idle: ctx.now + ctx.config.limits.http_idle_timeout };
                return;
            }
            Route::Ask(question) => {
                let word = ToNode::Asked { shard: self.shard, conn, question };
                ctx.out.post(ShardId::NODE, Message::Node(word));
                Debtor::Node
            }
            Route::Reload => {
                self.wishes += 1;
                ctx.out.push(Output::Reload { wish: self.wishes });
                Debtor::Reader(self.wishes)
            }
        };
        let deadline = ctx.now + ctx.config.limits.answer_timeout;
        let origin = request.header("origin").map(str::to_owned);
        entry.phase = Phase::Asked { by, deadline, origin };
    }

    /// What follows every change: bytes go out, the alarm is set, an ended connection ends.
    fn after(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        if entry.stream.is_closing() && entry.stream.is_drained() {
            self.end(ctx, conn, Linger::Flush);
            return;
        }
        if entry.stream.outgoing().is_empty() {
            entry.stall = None;
        } else {
            ctx.out.push(Output::Write(conn));
            entry.stall.get_or_insert(ctx.now + ctx.config.limits.write_stall_timeout);
        }
        if entry.stream.is_closing() && entry.goodbye.is_none() {
            entry.goodbye = Some(ctx.now + ctx.config.limits.drain_timeout);
        }
        let deadline = match &entry.phase {
            _ if entry.goodbye.is_some() => entry.goodbye,
            Phase::Http { idle } => Some(*idle),
            Phase::Opening { deadline } | Phase::Asked { deadline, .. } => Some(*deadline),
            Phase::Session(session) => session.next_timeout(),
        };
        self.timers.set(conn, earlier(deadline, entry.stall));
    }

    fn end(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, how: Linger) {
        self.forget(ctx, conn);
        ctx.out.push(Output::Close { conn, how });
    }

    fn forget(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        self.timers.set(conn, None);
        let Some(entry) = self.table.remove(&conn) else { return };
        if let Some(counted) = entry.counted {
            self.addresses.close(ctx.now, counted);
        }
        if let Phase::Session(session) = &entry.phase
            && session.is_established()
        {
            let session = SessionId { shard: self.shard, conn };
            ctx.out.post(ShardId::NODE, Message::Node(ToNode::Gone { session }));
        }
    }

    fn refuse(&self, ctx: &mut Ctx<'_>, conn: ConnId, why: &str) {
        if let Some(entry) = self.table.get(&conn) {
            ctx.out.event(Event::Refused { remote: entry.flow.remote, why: why.to_owned() });
        }
    }
}

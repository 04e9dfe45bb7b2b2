//! TCP connections as their ends see them: bytes in order, in pieces of any size, with a window,
//! late, stalled by a partition, and ended in one of the ways that connections end.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use distributary_core::{ConnId, Flow, Hangup, Input, Service};

use super::backend::BACKEND;
use super::node::{Slot, WS_PORT};
use super::{Event, Network, RETRANSMIT, Sim, UNREACHABLE_AFTER};

/// Whose end it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// A connection of a shard.
    Shard {
        /// The node.
        node: usize,
        /// Which life of the node.
        life: u32,
        /// Its shard.
        shard: usize,
        /// The shard's name for it.
        conn: ConnId,
    },
    /// The WebSocket of a page.
    Page(usize),
    /// Somebody's HTTP request.
    Fetch(usize),
    /// Somebody who may say anything.
    Stranger(usize),
    /// What the backend is asked.
    Backend(usize),
    /// Nobody's any more.
    Gone,
}

/// What travels.
#[derive(Debug)]
pub(super) enum Item {
    /// The connection is there; the accepting end learns by which listener.
    Up(Option<Service>),
    Bytes(Vec<u8>),
    End(Hangup),
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// What is under way, with the time when it arrives.
    pub(super) queue: VecDeque<(Instant, Item)>,
    /// Bytes under way.
    pub(super) in_flight: usize,
    /// Whether an event is due for the head of the queue.
    pub(super) armed: bool,
    /// Nothing more may be sent.
    pub(super) ended: bool,
}

/// One connection. Side 0 dialed, side 1 accepted; way `n` leads to side `n`.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    pub(super) addrs: [SocketAddr; 2],
    pub(super) ways: [Way; 2],
}

impl Connection {
    pub(super) fn new(dialer: (End, SocketAddr), listener: (End, SocketAddr)) -> Self {
        Self {
            ends: [dialer.0, listener.0],
            addrs: [dialer.1, listener.1],
            ways: [Way::default(), Way::default()],
        }
    }
}

impl Sim {
    /// Connects a page to a node's WebSocket port.
    pub(super) fn dial_page(&mut self, page: usize, node: usize) {
        let surfer = self.surfers.get_mut(page).expect("the page was just opened");
        surfer.ports_used += 1;
        let from = SocketAddr::new(surfer.ip, 50_000 + surfer.ports_used);
        let to = SocketAddr::new(self.node_ip(node), WS_PORT);
        match self.dial(End::Page(page), from, to) {
            Some(connection) => {
                if let Some(surfer) = self.surfers.get_mut(page) {
                    surfer.connection = Some((connection, 0));
                }
            }
            None => self.with_surfer(page, |now, page| page.hung_up(now)),
        }
    }

    /// Connects a shard to an address, or tells it in time that it cannot be.
    pub(super) fn dial_shard(&mut self, node: usize, shard: usize, conn: ConnId, to: SocketAddr) {
        assert!(conn.is_dialed(), "{conn} is not a number for a dialed connection");
        self.ports_used += 1;
        let from = SocketAddr::new(self.node_ip(node), 20_000 + self.ports_used % 10_000);
        self.note(format_args!("n{node}.{shard} dials {to} as {conn}"));
        let end = self.shard_end(node, shard, conn);
        let answers = self.nodes.iter().any(|node| node.ip == to.ip() && !node.dark)
            || to.ip() == BACKEND.ip();
        let cut = self.is_cut(from.ip(), to.ip()) || self.is_cut(to.ip(), from.ip());
        let reachable = answers && !cut;
        if let Some(connection) = reachable.then(|| self.dial(end, from, to)).flatten() {
            if let Some(slot) = self.slot(node, shard) {
                slot.conns.insert(conn, (connection, 0));
            }
            return;
        }
        let mut dice = self.dice(&[node, shard, usize::from(to.port())]);
        let wait = if reachable { self.latency(&mut dice) * 2 } else { UNREACHABLE_AFTER };
        let life = self.nodes.get(node).map_or(0, |node| node.life);
        let event = Event::Failed { node, life, shard, conn, refused: reachable };
        self.schedule(self.now + wait, event);
    }

    pub(super) fn dial_failed(&mut self, node: usize, shard: usize, conn: ConnId, refused: bool) {
        let cause = if refused { Hangup::Refused } else { Hangup::Unreachable };
        self.input(node, shard, Input::Closed { conn, cause });
    }

    /// Makes a connection, if somebody listens there.
    pub(super) fn dial(&mut self, dialer: End, from: SocketAddr, to: SocketAddr) -> Option<usize> {
        if to == BACKEND {
            let connection = self.connections.len();
            let listener = self.backend.accept()?;
            self.connections.push(Connection::new((dialer, from), (listener, to)));
            self.note(format_args!("tcp {from} > the backend"));
            self.tcp_send(connection, 0, Item::Up(None));
            return Some(connection);
        }
        let (node, service) = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.ip == to.ip())
            .find_map(|(index, node)| Some((index, node.listens(to.port())?)))?;
        let shards = self.nodes.get(node).map_or(1, |node| node.shards.len());
        let connection = self.connections.len();
        let shard = self.dice(&[connection]).below(shards);
        let accepted = {
            let slot = self.slot(node, shard)?;
            slot.accepted += 1;
            let conn = ConnId::accepted(slot.accepted - 1);
            slot.conns.insert(conn, (connection, 1));
            conn
        };
        let listener = self.shard_end(node, shard, accepted);
        self.connections.push(Connection::new((dialer, from), (listener, to)));
        self.note(format_args!("tcp {from} > {to} is n{node}.{shard} {accepted}"));
        self.tcp_send(connection, 0, Item::Up(None));
        self.tcp_send(connection, 1, Item::Up(Some(service)));
        Some(connection)
    }

    /// Puts something on the way to `side` of a connection.
    pub(super) fn tcp_send(&mut self, connection: usize, side: usize, item: Item) {
        let queued = self.way(connection, side).map_or(0, |way| way.queue.len());
        let mut dice = self.dice(&[connection, side, queued]);
        let mut at = self.now + self.latency(&mut dice);
        if dice.chance(self.network.loss_per_mille) {
            at += RETRANSMIT;
        }
        let Some(way) = self.way(connection, side) else { return };
        if way.ended {
            return;
        }
        if let Some((last, _)) = way.queue.back() {
            at = at.max(*last);
        }
        match &item {
            Item::Bytes(bytes) => way.in_flight += bytes.len(),
            Item::End(_) => way.ended = true,
            Item::Up(_) => {}
        }
        way.queue.push_back((at, item));
        if !way.armed {
            way.armed = true;
            self.schedule(at, Event::Tcp { connection, side });
        }
    }

    /// The head of a way is due.
    pub(super) fn tcp_arrives(&mut self, connection: usize, side: usize) {
        let now = self.now;
        let Some([a, b]) = self.connections.get(connection).map(|c| c.addrs) else { return };
        let (from, to) = if side == 0 { (b, a) } else { (a, b) };
        let dark = self.nodes.iter().any(|node| node.ip == to.ip() && node.dark);
        let cut = dark || self.is_cut(from.ip(), to.ip());
        let Some(way) = self.way(connection, side) else { return };
        way.armed = false;
        if cut {
            way.armed = true;
            self.schedule(now + RETRANSMIT, Event::Tcp { connection, side });
            return;
        }
        if self.is_unread(connection, side) {
            return;
        }
        let Some(way) = self.way(connection, side) else { return };
        let due = way.queue.front().is_some_and(|(at, _)| *at <= now);
        if let Some((_, item)) = due.then(|| way.queue.pop_front()).flatten() {
            if let Item::Bytes(bytes) = &item {
                way.in_flight -= bytes.len();
            }
            self.tcp_deliver(connection, side, item);
            // The window has opened for whoever writes in this direction.
            self.pump(connection, 1 - side);
        }
        let Some(way) = self.way(connection, side) else { return };
        if let Some((at, _)) = way.queue.front()
            && !way.armed
        {
            let at = *at;
            way.armed = true;
            self.schedule(at, Event::Tcp { connection, side });
        }
    }

    /// Whether what has come waits in vain for a page to read it. A reset does not: the kernel
    /// throws away what came before.
    fn is_unread(&mut self, connection: usize, side: usize) -> bool {
        let end = self.connections.get(connection).and_then(|c| c.ends.get(side).copied());
        let Some(End::Page(page)) = end else { return false };
        if !self.surfers.get(page).is_some_and(|surfer| surfer.is_deaf) {
            return false;
        }
        let now = self.now;
        let Some(way) = self.way(connection, side) else { return false };
        let is_reset =
            |(at, item): &(Instant, Item)| *at <= now && matches!(item, Item::End(Hangup::Reset));
        let reset = way.queue.iter().position(is_reset);
        way.queue.drain(..reset.unwrap_or_default());
        reset.is_none()
    }

    fn tcp_deliver(&mut self, connection: usize, side: usize, item: Item) {
        let Some(found) = self.connections.get(connection) else { return };
        let end = found.ends.get(side).copied().unwrap_or(End::Gone);
        let flow = match (side, found.addrs) {
            (0, [local, remote]) | (_, [remote, local]) => Flow { local, remote },
        };
        match end {
            End::Shard { node, life, shard, conn } if self.alive(node, life) => {
                self.tcp_deliver_shard((node, shard, conn), flow, item, (connection, side));
            }
            End::Page(page) => self.tcp_deliver_page(page, flow, item, (connection, side)),
            End::Fetch(fetch) => self.tcp_deliver_fetch(fetch, item, (connection, side)),
            End::Stranger(index) => {
                self.tcp_deliver_stranger(index, item, (connection, side));
            }
            End::Backend(index) => self.tcp_deliver_backend(index, item, (connection, side)),
            // The host is back from the dark and knows nothing of this.
            End::Shard { .. } => {
                self.tcp_send(connection, 1 - side, Item::End(Hangup::Reset));
                self.forget(connection, side);
            }
            End::Gone => {}
        }
    }

    fn tcp_deliver_shard(
        &mut self,
        (node, shard, conn): (usize, usize, ConnId),
        flow: Flow,
        item: Item,
        (connection, side): (usize, usize),
    ) {
        match item {
            Item::Up(Some(service)) => {
                self.input(node, shard, Input::Accepted { conn, service, flow });
            }
            Item::Up(None) => self.input(node, shard, Input::Connected { conn, flow }),
            Item::Bytes(bytes) => {
                self.note(format_args!("n{node}.{shard} {conn} gets {}", bytes.len()));
                self.input(node, shard, Input::Received { conn, bytes: &bytes });
            }
            Item::End(cause) => {
                self.note(format_args!("n{node}.{shard} {conn} ends: {cause:?}"));
                if let Some(slot) = self.slot(node, shard) {
                    slot.conns.remove(&conn);
                }
                self.tcp_send(connection, 1 - side, Item::End(Hangup::Eof));
                self.forget(connection, side);
                self.input(node, shard, Input::Closed { conn, cause });
            }
        }
    }

    fn tcp_deliver_page(
        &mut self,
        page: usize,
        flow: Flow,
        item: Item,
        (connection, side): (usize, usize),
    ) {
        match item {
            Item::Up(_) => {
                let host = flow.remote.to_string();
                self.with_surfer(page, |_, page| page.connected(&host));
            }
            Item::Bytes(bytes) => self.with_surfer(page, |now, page| page.received(now, &bytes)),
            Item::End(cause) => {
                self.note(format_args!("p{page} ends: {cause:?}"));
                if let Some(surfer) = self.surfers.get_mut(page) {
                    surfer.connection = None;
                }
                self.tcp_send(connection, 1 - side, Item::End(Hangup::Eof));
                self.forget(connection, side);
                self.with_surfer(page, |now, page| page.hung_up(now));
            }
        }
    }

    /// Nobody is at this end any more.
    pub(super) fn forget(&mut self, connection: usize, side: usize) {
        let end = self.connections.get_mut(connection).and_then(|c| c.ends.get_mut(side));
        if let Some(end) = end {
            *end = End::Gone;
        }
    }

    /// Lets whoever is at `side` write what the window takes.
    fn pump(&mut self, connection: usize, side: usize) {
        let end = self.connections.get(connection).and_then(|c| c.ends.get(side).copied());
        match end {
            Some(End::Shard { node, life, shard, conn }) if self.alive(node, life) => {
                self.pump_shard(node, shard, conn);
            }
            Some(End::Page(page)) => self.pump_page(page),
            Some(
                End::Shard { .. } | End::Fetch(_) | End::Stranger(_) | End::Backend(_) | End::Gone,
            )
            | None => {}
        }
    }

    /// Writes what a shard has for a connection, in pieces, as far as the window goes.
    pub(super) fn pump_shard(&mut self, node: usize, shard: usize, conn: ConnId) {
        let Some(slot) = self.slot(node, shard) else { return };
        let Some((connection, side)) = slot.conns.get(&conn).copied() else { return };
        loop {
            let waiting = self.slot(node, shard).map_or(0, |slot| slot.shard.outgoing(conn).len());
            let piece = self.piece(connection, 1 - side, waiting);
            if piece == 0 {
                break;
            }
            let Some(slot) = self.slot(node, shard) else { return };
            let bytes = slot.shard.outgoing(conn).get(..piece).unwrap_or_default().to_vec();
            slot.shard.wrote(conn, piece);
            self.tcp_send(connection, 1 - side, Item::Bytes(bytes));
        }
        let Some(slot) = self.slot(node, shard) else { return };
        if slot.shard.outgoing(conn).is_empty()
            && let Some(at) = slot.flushing.iter().position(|flushing| *flushing == conn)
        {
            slot.flushing.swap_remove(at);
            slot.conns.remove(&conn);
            self.tcp_send(connection, 1 - side, Item::End(Hangup::Eof));
            self.forget(connection, side);
        }
    }

    /// The same for a page.
    pub(super) fn pump_page(&mut self, page: usize) {
        loop {
            let Some(surfer) = self.surfers.get(page) else { return };
            let Some((connection, side)) = surfer.connection else { return };
            let piece = self.piece(connection, 1 - side, surfer.backlog.len());
            let Some(surfer) = self.surfers.get_mut(page) else { return };
            if piece == 0 {
                if surfer.ended && surfer.backlog.is_empty() {
                    surfer.connection = None;
                    self.tcp_send(connection, 1 - side, Item::End(Hangup::Eof));
                    self.forget(connection, side);
                }
                return;
            }
            let bytes = surfer.backlog.drain(..piece).collect();
            self.tcp_send(connection, 1 - side, Item::Bytes(bytes));
        }
    }

    /// How much of `waiting` bytes to send at once. A little room is left until it is more: what
    /// is sent into it would come back as even less, until all of the window is under way in
    /// crumbs (RFC 9293, section 3.8.6.2.1).
    fn piece(&mut self, connection: usize, side: usize, waiting: usize) -> usize {
        let Network { window, chunk_max, .. } = self.network;
        let Some(way) = self.way(connection, side) else { return 0 };
        let room = window.saturating_sub(way.in_flight);
        let wanted = waiting.min(chunk_max);
        let is_too_little = room < wanted.min(window / 2);
        let (ended, queued) = (way.ended, way.queue.len());
        let mut dice = self.dice(&[connection, side, queued, waiting]);
        if ended || wanted == 0 || is_too_little { 0 } else { 1 + dice.below(room.min(wanted)) }
    }

    /// On which host an end of a connection is, if on a node's.
    pub(super) fn host_of(&self, connection: usize, side: usize) -> Option<usize> {
        match self.connections.get(connection)?.ends.get(side)? {
            End::Shard { node, .. } => Some(*node),
            End::Page(_) | End::Fetch(_) | End::Stranger(_) | End::Backend(_) | End::Gone => None,
        }
    }

    /// Resets the WebSocket of a page, at both ends.
    pub fn break_page(&mut self, page: usize) {
        self.note(format_args!("p{page}'s TCP breaks"));
        let connection = self.surfers.get(page).and_then(|surfer| surfer.connection);
        if let Some((connection, _)) = connection {
            self.tcp_send(connection, 0, Item::End(Hangup::Reset));
            self.tcp_send(connection, 1, Item::End(Hangup::Reset));
        }
    }

    /// What a kernel does with the connections of a process that died.
    pub(super) fn reset_connections(&mut self, dead: usize) {
        for connection in 0..self.connections.len() {
            for side in 0..2 {
                let end = self.connections.get(connection).and_then(|c| c.ends.get(side).copied());
                if let Some(End::Shard { node, .. }) = end
                    && node == dead
                {
                    self.tcp_send(connection, 1 - side, Item::End(Hangup::Reset));
                    self.forget(connection, side);
                }
            }
        }
    }

    /// What a box in the middle does that forgets its connections: both ends find theirs reset.
    pub(super) fn break_connections(&mut self, a: IpAddr, b: IpAddr) {
        for connection in 0..self.connections.len() {
            let Some(found) = self.connections.get(connection) else { return };
            let [from, to] = found.addrs.map(|addr| addr.ip());
            if (from, to) == (a, b) || (from, to) == (b, a) {
                self.tcp_send(connection, 0, Item::End(Hangup::Reset));
                self.tcp_send(connection, 1, Item::End(Hangup::Reset));
            }
        }
    }

    fn way(&mut self, connection: usize, side: usize) -> Option<&mut Way> {
        self.connections.get_mut(connection)?.ways.get_mut(side)
    }

    fn slot(&mut self, node: usize, shard: usize) -> Option<&mut Slot> {
        self.nodes.get_mut(node)?.shards.get_mut(shard)
    }
}

//! Takes the earliest event, hands it to whom it concerns, and carries out what they want.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_core::{Command, ConnId, Event as Fact, Flow, Hangup, Input, Linger, Output};
use distributary_core::{ShardId, ShardMessage, SocketId};

use super::tcp::{End, Item};
use super::{Event, SPINS_MAX, Sim, WAKES_MAX};
use crate::browser::Message;
use crate::page;

/// Connections under way to a shard that takes no more.
const CROSSING: usize = 64;
/// Outputs of one shard after one input, beyond which it counts as endless.
const OUTPUTS_MAX: usize = 10_000;

impl Sim {
    /// Lets this much time pass.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(event) = self.next(end) {
            // Who wakes up to find nothing to do does so by an order that nobody controls.
            let idle = matches!(event, Event::Wake { .. } | Event::WakePage(_));
            self.steps += u64::from(!idle);
            if let Some(event) = self.hold(event) {
                self.happen(event);
            }
        }
        self.now = end;
        self.trace.settle();
        assert_eq!(self.errors.take(), [] as [&str; 0], "errors were logged");
    }

    /// Lets time pass until `done`, and answers whether that came within `span`.
    pub fn advance_until(&mut self, span: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + span;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.advance(Duration::from_millis(5).min(end - self.now));
        }
        true
    }

    /// The next event up to `end`. Time moves on to it, and what was sent before leaves.
    fn next(&mut self, end: Instant) -> Option<Event> {
        loop {
            let at = self.queue.first_key_value().map(|((at, ..), _)| *at);
            if !self.leaving.is_empty() && at.is_none_or(|at| at > self.now) {
                self.dispatch();
                continue;
            }
            let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= end)?;
            let ((at, ..), event) = entry.remove_entry();
            self.now = self.now.max(at);
            return Some(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node, life, shard } => {
                if self.alive(node, life) {
                    self.wake_shard(node, shard);
                }
            }
            Event::WakePage(page) => self.wake_page(page),
            Event::Datagram { from, to, bytes } => self.arrive(from, to, &bytes),
            Event::Tcp { connection, side } => self.tcp_arrives(connection, side),
            Event::Resolved { node, life, shard, lookup, addrs } => {
                if self.alive(node, life) {
                    self.input(node, shard, Input::Resolved { lookup, addrs: &addrs });
                }
            }
            Event::Message { node, life, shard, from, message } => {
                if self.alive(node, life) {
                    self.input(node, shard, Input::Message { from, message });
                }
            }
            Event::Bound { node, life, shard, socket, port } => {
                if self.alive(node, life) {
                    self.input(node, shard, Input::Bound { socket, port });
                }
            }
            Event::Failed { node, life, shard, conn, refused } => {
                if self.alive(node, life) {
                    self.dial_failed(node, shard, conn, refused);
                }
            }
        }
    }

    /// What a shard holds stays within its bounds.
    fn check_bounds(&self, node: usize, shard: usize) {
        let Some(host) = self.nodes.get(node) else { return };
        let (limits, Some(slot)) = (&host.plan.limits, host.shards.get(shard)) else { return };
        let (conns, sockets) = (slot.conns.len(), slot.sockets.len());
        // Those that cross the shard's refusal are still there.
        assert!(conns <= limits.connections_max + CROSSING, "n{node}.{shard} has {conns}");
        assert!(sockets <= limits.dial_sockets_max, "n{node}.{shard} has {sockets} sockets");
        let tables = slot.shard.tables();
        assert!(tables.peers <= limits.peers_max, "n{node}.{shard} has {tables:?}");
        assert!(tables.streams <= limits.streams_max, "n{node}.{shard} has {tables:?}");
        for conn in slot.conns.keys() {
            let waiting = slot.shard.outgoing(*conn).len();
            assert!(waiting <= limits.outgoing_bytes_max, "n{node}.{shard} {conn} has {waiting}");
        }
    }

    /// Gives a shard one input and carries out what it wants.
    pub(super) fn input(&mut self, node: usize, shard: usize, input: Input<'_>) {
        let now = self.now;
        let Some(host) = self.nodes.get_mut(node) else { return };
        let now = now + host.ahead;
        if let Some(slot) = host.shards.get_mut(shard) {
            slot.shard.handle_input(now, input);
            self.drain_shard(node, shard);
        }
    }

    /// Carries out what a shard wants until it wants nothing.
    pub(super) fn drain_shard(&mut self, node: usize, shard: usize) {
        for _ in 0..OUTPUTS_MAX {
            let Some(slot) = self.nodes.get_mut(node).and_then(|node| node.shards.get_mut(shard))
            else {
                return;
            };
            match slot.shard.poll_output(&mut slot.send) {
                Output::Transmit(transmit) => {
                    let run = slot.send.run(&transmit).chunks(transmit.segment.max(1));
                    let run: Vec<Vec<u8>> = run.map(<[u8]>::to_vec).collect();
                    let from = self.sender(node, shard, transmit.flow);
                    for bytes in run {
                        self.say(node, (from, transmit.flow.remote), bytes);
                    }
                }
                Output::Write(conn) => self.pump_shard(node, shard, conn),
                Output::Connect { conn, addr } => self.dial_shard(node, shard, conn, addr),
                Output::Close { conn, how } => self.close_shard(node, shard, conn, how),
                Output::Bind { socket } => self.bind(node, shard, socket),
                Output::Reload { wish } => {
                    let outcome = self.reload(node).map_err(Into::into);
                    self.input(node, shard, Input::Command(Command::Reloaded { wish, outcome }));
                }
                Output::Resolve { lookup, host } => self.resolve(node, shard, lookup, &host),
                Output::Post { to, message } => self.post_message(node, shard, to, message),
                Output::Event(fact) => {
                    self.note(format_args!("n{node}.{shard} {fact:?}"));
                    let at = self.elapsed();
                    let id = ShardId(u16::try_from(shard).expect("a node has few shards"));
                    if let Some(node) = self.nodes.get_mut(node) {
                        if let Some(slot) = node.shards.get_mut(shard) {
                            slot.drained |= fact == Fact::Drained;
                        }
                        node.events.push((at, id, fact));
                    }
                }
                Output::Timeout(due) => {
                    self.check_bounds(node, shard);
                    self.sleep(node, shard, due);
                    return;
                }
            }
        }
        panic!("shard {shard} of node {node} has no end of outputs");
    }

    /// Sends a datagram of a node, if there is nothing wrong about it.
    fn say(&mut self, node: usize, (from, to): (SocketAddr, SocketAddr), bytes: Vec<u8>) {
        if let Some(node) = self.nodes.get_mut(node) {
            assert_eq!(node.balance.says(to, &bytes), None, "{}", node.plan.name);
        }
        self.check_count((from, to), &bytes);
        self.post_datagram(from, to, bytes);
    }

    /// Puts the shard's deadline into the queue, unless an earlier one is there already.
    fn sleep(&mut self, node: usize, shard: usize, due: Option<Instant>) {
        let now = self.now;
        let Some(host) = self.nodes.get_mut(node) else { return };
        let (life, ahead) = (host.life, host.ahead);
        let Some(slot) = host.shards.get_mut(shard) else { return };
        assert!(
            due.is_none_or(|due| due > now + ahead),
            "shard {shard} of node {node} has something due"
        );
        slot.due = due;
        self.arm(node, life, shard);
    }

    /// Puts a wake-up into the queue for when the shard's deadline comes by its host's clock.
    pub(super) fn arm(&mut self, node: usize, life: u32, shard: usize) {
        let now = self.now;
        let Some(host) = self.nodes.get_mut(node) else { return };
        let ahead = host.ahead;
        if let Some(slot) = host.shards.get_mut(shard)
            && let Some(due) = slot.due.map(|due| due.checked_sub(ahead).unwrap_or(now).max(now))
            && slot.armed.is_none_or(|armed| due < armed)
        {
            slot.armed = Some(due);
            self.schedule(due, Event::Wake { node, life, shard });
        }
    }

    fn wake_shard(&mut self, node: usize, shard: usize) {
        let (start, now) = (self.start, self.now);
        let Some(host) = self.nodes.get_mut(node) else { return };
        let (life, ahead) = (host.life, host.ahead);
        let Some(slot) = host.shards.get_mut(shard) else { return };
        if slot.armed.is_some_and(|armed| armed <= now) {
            slot.armed = None;
        }
        if slot.due.is_none_or(|due| now + ahead < due) {
            self.arm(node, life, shard);
            return;
        }
        slot.spins = if slot.woken == Some(now) { slot.spins + 1 } else { 0 };
        slot.woken = Some(now);
        assert!(slot.spins < SPINS_MAX, "shard {shard} of node {node} spins");
        let second = now.saturating_duration_since(start).as_secs();
        slot.wakes = if slot.wakes.0 == second { (second, slot.wakes.1 + 1) } else { (second, 1) };
        assert!(slot.wakes.1 < WAKES_MAX, "shard {shard} of node {node} never sleeps");
        self.input(node, shard, Input::Timeout);
    }

    fn wake_page(&mut self, index: usize) {
        let now = self.now;
        if let Some(surfer) = self.surfers.get_mut(index) {
            if surfer.armed.is_some_and(|armed| armed <= now) {
                surfer.armed = None;
            }
            self.with_surfer(index, |now, page| page.timeout(now));
        }
    }

    pub(super) fn alive(&self, node: usize, life: u32) -> bool {
        self.nodes.get(node).is_some_and(|node| node.up && node.life == life)
    }

    fn sender(&self, node: usize, shard: usize, flow: Flow) -> SocketAddr {
        let node = self.nodes.get(node).expect("it just spoke");
        let port = flow.local.port();
        assert_eq!(node.shard_at(port), Some(shard), "sent from {}, which it has not", flow.local);
        SocketAddr::new(node.ip, port)
    }

    fn bind(&mut self, node: usize, shard: usize, socket: SocketId) {
        let refused = self.binds_refused > 0;
        self.binds_refused -= u32::from(refused);
        self.ports_used += 1;
        let port = (!refused).then_some(10_000 + self.ports_used % 10_000);
        let now = self.now;
        let Some(host) = self.nodes.get_mut(node) else { return };
        let life = host.life;
        if let Some(slot) = host.shards.get_mut(shard) {
            slot.sockets.extend(port);
        }
        self.schedule(now, Event::Bound { node, life, shard, socket, port });
    }

    fn post_message(&mut self, node: usize, shard: usize, to: ShardId, message: ShardMessage) {
        let target = usize::from(to.0);
        assert_ne!(target, shard, "a shard does not post to itself");
        let lost = self.letters_lost_per_mille;
        if message.may_be_lost() && self.dice(&[node, shard, target, 1]).chance(lost) {
            return;
        }
        let delay = self.dice(&[node, shard, target]).span(Duration::from_micros(200));
        let at = self.now + delay;
        // First in, first out between two shards, whatever the delay.
        let last = self.posted.entry((node, shard, target)).or_insert(at);
        *last = at.max(*last);
        let at = *last;
        let life = self.nodes.get(node).map_or(0, |node| node.life);
        let from = ShardId(u16::try_from(shard).expect("a node has few shards"));
        self.schedule(at, Event::Message { node, life, shard: target, from, message });
    }

    fn close_shard(&mut self, node: usize, shard: usize, conn: ConnId, how: Linger) {
        let Some(slot) = self.nodes.get_mut(node).and_then(|node| node.shards.get_mut(shard))
        else {
            return;
        };
        match how {
            Linger::Flush => {
                slot.flushing.push(conn);
                self.pump_shard(node, shard, conn);
            }
            Linger::Abort => {
                if let Some((connection, side)) = slot.conns.remove(&conn) {
                    self.tcp_send(connection, 1 - side, Item::End(Hangup::Reset));
                    self.forget(connection, side);
                }
            }
        }
    }

    pub(super) fn with_surfer(&mut self, index: usize, act: impl FnOnce(Instant, &mut page::Page)) {
        let now = self.now;
        let Some(surfer) = self.surfers.get_mut(index) else { return };
        let heard = surfer.page.browser.messages().len();
        act(now, &mut surfer.page);
        let news = surfer.page.browser.messages().get(heard..).unwrap_or_default();
        let news: Vec<String> = news.iter().map(headline).collect();
        for line in news {
            self.note(format_args!("p{index} hears {line}"));
        }
        self.drain_page(index);
    }

    pub(super) fn drain_page(&mut self, index: usize) {
        loop {
            let Some(surfer) = self.surfers.get_mut(index) else { return };
            match surfer.page.poll() {
                page::Output::Write(bytes) => surfer.backlog.extend(bytes),
                page::Output::Datagram(datagram) => {
                    self.post_datagram(datagram.local, datagram.remote, datagram.bytes);
                }
                page::Output::Timeout(due) => {
                    if let Some(due) = due.map(|due| due.max(self.now))
                        && surfer.armed.is_none_or(|armed| due < armed)
                    {
                        surfer.armed = Some(due);
                        self.schedule(due, Event::WakePage(index));
                    }
                    break;
                }
            }
        }
        self.pump_page(index);
    }

    /// Names the end of a connection that belongs to a shard.
    pub(super) fn shard_end(&self, node: usize, shard: usize, conn: ConnId) -> End {
        let life = self.nodes.get(node).map_or(0, |node| node.life);
        End::Shard { node, life, shard, conn }
    }
}

/// A message of a server in a few words, none of them random.
fn headline(message: &Message) -> String {
    let event = message.data.first();
    let text = |key: &str| event.and_then(|event| event.get(key)?.as_str()).unwrap_or_default();
    let parts = [&message.name, text("name"), text("type"), text("status"), text("info")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

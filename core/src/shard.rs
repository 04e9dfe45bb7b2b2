//! The state machine itself: it owns the parts, routes inputs to them and collects what they do.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use crate::cdn::Node;
use crate::clock::{Epoch, WallClock};
use crate::config::Config;
use crate::connections::Connections;
use crate::id::{ConnId, ShardId};
use crate::input::{Command, Input};
use crate::media::Media;
use crate::message::Message;
use crate::outbox::{Ctx, Outbox};
use crate::output::{Event, Output, SendBuffer};
use crate::rng::Rng;
use crate::timers::earlier;

/// One shard of a node.
///
/// It does nothing by itself. Tell it what happened with [`Shard::handle_input`], then do what it
/// asks with [`Shard::poll_output`] until that answers [`Output::Timeout`]. Several inputs before
/// the outputs are taken are fine.
pub struct Shard {
    config: Arc<Config>,
    epoch: Epoch,
    clock: WallClock,
    now: Instant,
    rng: Rng,
    out: Outbox,
    connections: Connections,
    media: Media,
    /// On shard 0 only.
    node: Option<Node>,
    drain: Drain,
}

/// How much a shard's tables hold. All of it is gone with those whom it is about.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tables {
    /// TCP connections that were accepted.
    pub connections: usize,
    /// WebRTC transports.
    pub peers: usize,
    /// Streams that come in here, or are sent from here.
    pub streams: usize,
    /// Questions that a backend has not answered.
    pub questions: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drain {
    No,
    /// Nobody new comes in, and viewers may stay until then.
    Waiting(Instant),
    Until(Instant),
    Done,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Shard {
    /// Makes a shard that has met nobody yet. `seed` must be secret and different for every shard
    /// and every start: passwords of ICE come from it.
    pub fn new(config: Arc<Config>, id: ShardId, seed: [u8; 32], epoch: Epoch) -> Self {
        let clock = WallClock::default();
        clock.set(epoch.unix);
        let now = epoch.instant;
        let mut rng = Rng::new(seed);
        let mut out = Outbox::new(id);
        let port = config.media.get(usize::from(id.0)).map_or(0, |addr| addr.port());
        let ctx = Ctx { now, clock: &clock, config: &config, rng: &mut rng, out: &mut out };
        let connections = Connections::new(&ctx, id);
        let node = (id == ShardId::NODE).then(|| Node::new(&ctx));
        let media = Media::new(id, port);
        let drain = Drain::No;
        Self { config, epoch, clock, now, rng, out, connections, media, node, drain }
    }

    /// Tells the shard one thing. It cannot fail: whatever a far side does ends that far side's
    /// conversation at most. A `now` before an earlier one counts as the earlier one.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = self.now.max(now);
        self.clock.set(self.epoch.unix_at(self.now));
        let Self { config, clock, now, rng, out, connections, media, node, .. } = self;
        let ctx = &mut Ctx { now: *now, clock, config, rng, out };
        match input {
            Input::Timeout => {}
            Input::Datagram { flow, bytes, stride } => {
                media.handle_datagrams(ctx, flow, bytes, stride);
            }
            Input::Accepted { conn, service, flow } => connections.accept(ctx, conn, service, flow),
            Input::Connected { conn, .. } => {
                if let Some(node) = node {
                    node.handle_connected(ctx, conn);
                }
            }
            Input::Received { conn, bytes } => match node {
                Some(node) if conn.is_dialed() => node.handle_received(ctx, conn, bytes),
                Some(_) | None => connections.receive(ctx, conn, bytes),
            },
            Input::Closed { conn, cause } => match node {
                Some(node) if conn.is_dialed() => node.handle_closed(ctx, conn, cause),
                Some(_) | None => connections.closed(ctx, conn),
            },
            Input::Resolved { lookup, addrs } => {
                if let Some(node) = node {
                    node.handle_resolved(ctx, lookup, addrs);
                }
            }
            Input::Bound { socket, port } => media.handle_bound(ctx, socket, port),
            Input::Message { message, .. } => self.hear(message.0),
            Input::Command(command) => self.obey(command),
        }
        self.settle();
    }

    /// Asks for the next effect; call it until it answers [`Output::Timeout`]. Datagrams are
    /// written into `send`, and are to be sent before the next call.
    pub fn poll_output(&mut self, send: &mut SendBuffer) -> Output {
        loop {
            self.settle();
            if let Some(output) = self.out.pop() {
                return output;
            }
            let Self { config, clock, now, rng, out, media, .. } = self;
            let ctx = &mut Ctx { now: *now, clock, config, rng, out };
            if let Some(transmit) = media.poll_transmit(ctx, send) {
                return Output::Transmit(transmit);
            }
            // Draining peers may have brought something to light, which may wake others.
            if self.out.is_empty() && self.media.is_at_rest() {
                return Output::Timeout(self.next_alarm());
            }
        }
    }

    /// Tells how much the shard's tables hold.
    pub fn tables(&self) -> Tables {
        let (peers, streams) = self.media.table_sizes();
        let questions = self.node.as_ref().map_or(0, Node::questions);
        Tables { connections: self.connections.len(), peers, streams, questions }
    }

    /// The bytes that wait to be written to a connection.
    pub fn outgoing(&self, conn: ConnId) -> &[u8] {
        match &self.node {
            Some(node) if conn.is_dialed() => node.outgoing(conn),
            Some(_) | None => self.connections.outgoing(conn),
        }
    }

    /// Says that the first `n` of the outgoing bytes were written. More may be outgoing then.
    pub fn wrote(&mut self, conn: ConnId, n: usize) {
        let Self { config, clock, now, rng, out, connections, node, .. } = self;
        let ctx = &mut Ctx { now: *now, clock, config, rng, out };
        match node {
            Some(node) if conn.is_dialed() => node.wrote(conn, n),
            Some(_) | None => connections.wrote(ctx, conn, n),
        }
    }

    /// Works off what the parts said to each other and what is due, until neither is left.
    fn settle(&mut self) {
        loop {
            if let Some(message) = self.out.pop_to_self() {
                self.hear(message);
            } else if self.next_timeout().is_some_and(|due| due <= self.now) {
                self.work_off_timers();
            } else {
                return;
            }
        }
    }

    fn hear(&mut self, message: Message) {
        let Self { config, clock, now, rng, out, connections, media, node, .. } = self;
        let ctx = &mut Ctx { now: *now, clock, config, rng, out };
        match message {
            Message::Node(word) => {
                if let Some(node) = node {
                    node.handle(ctx, word);
                }
            }
            Message::Connection { conn, word } => connections.handle(ctx, conn, word),
            Message::Media(word) => media.handle(ctx, word),
            Message::Packets(packets) => media.handle_packets(ctx, &packets),
            Message::Happened { event, to } => connections.tell(ctx, &event, &to),
            Message::TookUp(requests) => connections.took_up(requests),
            Message::Door(door) => connections.mind(door),
            Message::Leave => self.leave(),
        }
    }

    fn work_off_timers(&mut self) {
        let Self { config, clock, now, rng, out, connections, media, node, drain, .. } = self;
        let ctx = &mut Ctx { now: *now, clock, config, rng, out };
        connections.handle_timeout(ctx);
        media.handle_timeout(ctx);
        if let Some(node) = node {
            node.handle_timeout(ctx);
        }
        let unwatched = node.as_ref().is_some_and(|node| !node.has_viewers());
        if matches!(drain, Drain::Waiting(until) if *until <= *now || unwatched) {
            if let Some(node) = node {
                node.leave(ctx);
            }
            self.leave();
            return;
        }
        let left = is_deserted(connections, node.as_ref());
        let over = |deadline| deadline <= *now || left;
        if matches!(drain, Drain::Until(deadline) if over(*deadline)) {
            *drain = Drain::Done;
            out.event(Event::Drained);
        }
    }

    /// When something is due.
    fn next_timeout(&self) -> Option<Instant> {
        earlier(self.next_urgent_timeout(), self.next_patient_timeout())
    }

    /// By when the shard must be called for what is due, if it is not called before.
    fn next_alarm(&self) -> Option<Instant> {
        let slack = self.config.limits.timer_slack;
        earlier(self.next_urgent_timeout(), self.next_patient_timeout().map(|due| due + slack))
    }

    fn next_patient_timeout(&self) -> Option<Instant> {
        earlier(self.connections.next_timeout(), self.media.next_patient_timeout())
    }

    fn next_urgent_timeout(&self) -> Option<Instant> {
        let limits = &self.config.limits;
        let node = self.node.as_ref().and_then(|node| node.next_timeout(limits));
        let drain = match self.drain {
            Drain::Until(_) if is_deserted(&self.connections, self.node.as_ref()) => Some(self.now),
            Drain::Waiting(_) if self.node.as_ref().is_some_and(|node| !node.has_viewers()) => {
                Some(self.now)
            }
            Drain::Until(deadline) | Drain::Waiting(deadline) => Some(deadline),
            Drain::No | Drain::Done => None,
        };
        earlier(earlier(self.media.next_timeout(), node), drain)
    }

    /// Takes no connection any more and says goodbye to all.
    fn leave(&mut self) {
        if matches!(self.drain, Drain::No | Drain::Waiting(_)) {
            let Self { config, clock, now, rng, out, connections, drain, .. } = self;
            let ctx = &mut Ctx { now: *now, clock, config, rng, out };
            *drain = Drain::Until(*now + ctx.config.limits.drain_timeout);
            connections.drain(ctx);
        }
    }

    fn obey(&mut self, command: Command) {
        let Self { config, clock, now, rng, out, connections, media, node, drain, .. } = self;
        let ctx = &mut Ctx { now: *now, clock, config, rng, out };
        match command {
            Command::Drain => {
                if *drain == Drain::No {
                    *drain = Drain::Waiting(*now + ctx.config.settings.capacity.drain_wait);
                    if let Some(node) = node {
                        node.drain(ctx);
                    }
                }
            }
            Command::Reloaded { wish, outcome } => {
                let outcome = outcome.as_ref().copied().map_err(|why| &**why);
                connections.answer_reloads(ctx, wish, outcome);
            }
            Command::Reload(config) => {
                let ctx = &mut Ctx { now: *now, clock, config: &config, rng, out };
                connections.reload(ctx);
                media.reload(ctx);
                if let Some(node) = node {
                    node.reload(ctx);
                }
                self.config = config;
            }
            Command::CpuLoad(percent) => {
                if let Some(node) = node {
                    node.set_cpu_load(percent);
                }
            }
        }
    }
}

/// Whether nobody is left: here, or on the shards that tell this one when their sessions end.
fn is_deserted(connections: &Connections, node: Option<&Node>) -> bool {
    connections.is_empty() && node.is_none_or(|node| !node.has_sessions())
}

//! Which edge a viewer is sent to.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use super::relay::Links;
use crate::config::{EdgeNode, Mode};
use crate::dialer::{Dialer, Numbers, Purpose, Target};
use crate::id::{ConnId, LookupId, StreamId};
use crate::input::Hangup;
use crate::outbox::Ctx;
use crate::output::Linger;
use crate::rng::Rng;
use crate::stream::http::Outbound;
use crate::stream::{Incoming, tls};

/// Knows how busy each edge is, and picks.
#[derive(Debug)]
pub(super) struct Balancer {
    mode: Mode,
    randomize: bool,
    edges: Vec<Edge>,
    numbers: Numbers,
    /// The last edge that was picked in turn.
    turn: Option<usize>,
}

#[derive(Debug)]
struct Edge {
    node: EdgeNode,
    dialer: Dialer,
    /// When the next poll begins, or, during one, when it has failed.
    next: Instant,
    load: Option<Load>,
    /// Whether it wants another token than ours; said once in the log.
    shut_out: bool,
    /// Viewers sent there since its load was last heard: they are not in it yet.
    sent: u64,
}

/// What an edge said of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) calls: u64,
    pub(super) cpu_percent: u64,
    /// Whether it takes another viewer.
    pub(super) accepting: bool,
}

impl Balancer {
    pub(super) fn new(ctx: &Ctx<'_>) -> Self {
        let balancing = ctx.config.settings.balancing.as_ref();
        let nodes = balancing.iter().flat_map(|balancing| &balancing.nodes);
        Self {
            mode: balancing.map(|balancing| balancing.mode).unwrap_or_default(),
            randomize: balancing.is_some_and(|balancing| balancing.randomize),
            edges: nodes.map(|node| Edge::new(ctx, node)).collect(),
            numbers: Numbers::polls(),
            turn: None,
        }
    }

    /// Takes over the settings of `ctx`, which have changed; what is known of an edge that stays is
    /// kept, and those that are leaving are asked how many viewers they still have.
    pub(super) fn reload(&mut self, ctx: &mut Ctx<'_>, leaving: &[u32]) {
        let Self { mode, randomize, edges, numbers: _, turn: _ } = Self::new(ctx);
        for edge in &mut self.edges {
            edge.dialer.stop(ctx, Linger::Abort);
        }
        let before = std::mem::replace(&mut self.edges, edges);
        // Several may be on one host.
        let place = |edge: &Edge| (edge.node.host.clone(), edge.node.link_port());
        for edge in &mut self.edges {
            if let Some(old) = before.iter().find(|old| place(old) == place(edge)) {
                (edge.load, edge.sent) = (old.load, old.sent);
            }
        }
        let leave = before.into_iter().filter(|edge| leaving.contains(&edge.node.id));
        // Whoever was sent there may be on the way for as long, and counts for nothing until then.
        let next = ctx.now + ctx.config.limits.peer_connect_timeout;
        self.edges.extend(leave.map(|edge| Edge { load: None, next, ..edge }));
        (self.mode, self.randomize) = (mode, randomize);
    }

    /// Forgets an edge that is gone.
    pub(super) fn forget(&mut self, ctx: &mut Ctx<'_>, node: u32) {
        for edge in self.edges.iter_mut().filter(|edge| edge.node.id == node) {
            edge.dialer.stop(ctx, Linger::Abort);
        }
        self.edges.retain(|edge| edge.node.id != node);
    }

    /// Whether an edge says that nobody plays there.
    pub(super) fn is_deserted(&self, node: u32) -> bool {
        let edge = self.edges.iter().find(|edge| edge.node.id == node);
        edge.and_then(|edge| edge.load).is_some_and(|load| load.calls == 0)
    }

    /// Picks an edge that is up and, if a stream is named, has it. `None`: there is none.
    pub(super) fn pick(
        &mut self,
        rng: &mut Rng,
        links: &Links,
        stream: Option<Option<StreamId>>,
    ) -> Option<&EdgeNode> {
        let fit = |edge: &Edge| {
            let link = links.get(edge.node.id).filter(|link| link.is_up());
            let link = link.filter(|link| link.leaving.is_none());
            let carries = |stream| link.is_some_and(|link| link.carries(stream));
            let has_it = stream.is_none_or(|stream| stream.is_some_and(carries));
            edge.load.is_some_and(|load| load.accepting) && link.is_some() && has_it
        };
        let fit: Vec<usize> =
            (0..self.edges.len()).filter(|at| self.edges.get(*at).is_some_and(fit)).collect();
        let busy = |at: usize, of: fn(&Load) -> u64| {
            let edge = self.edges.get(at);
            let load = |edge: &Edge| edge.load.as_ref().map_or(u64::MAX, of);
            edge.map_or(u64::MAX, |edge| load(edge).saturating_add(edge.sent))
        };
        let any = |rng: &mut Rng| fit.get(rng.below(fit.len())).copied();
        let picked = match self.mode {
            Mode::Random => any(rng),
            Mode::RoundRobin => {
                let next = fit.iter().find(|at| Some(**at) > self.turn).or(fit.first()).copied();
                self.turn = next.or(self.turn);
                next
            }
            Mode::FewestCalls => {
                let calls = |at: &usize| busy(*at, |load| load.calls);
                if self.randomize && fit.iter().all(|at| calls(at) == 0) {
                    any(rng)
                } else {
                    fit.iter().copied().min_by_key(calls)
                }
            }
            Mode::LessLoadedNode => {
                fit.iter().copied().min_by_key(|at| busy(*at, |load| load.cpu_percent))
            }
        }?;
        let edge = self.edges.get_mut(picked)?;
        edge.sent += 1;
        Some(&edge.node)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.edges.iter().map(|edge| edge.next).min()
    }

    pub(super) fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let limits = &ctx.config.limits;
        for edge in &mut self.edges {
            if ctx.now < edge.next {
                continue;
            }
            if edge.dialer.is_idle() {
                edge.next = ctx.now + limits.poll_timeout;
                edge.dialer.start(ctx, &mut self.numbers);
            } else {
                edge.fail(ctx, "it did not answer in time");
            }
        }
    }

    pub(super) fn resolved(&mut self, ctx: &mut Ctx<'_>, lookup: LookupId, addrs: &[IpAddr]) {
        for edge in &mut self.edges {
            if edge.dialer.waits_for(lookup) {
                let outcome = edge.dialer.resolved(ctx, &mut self.numbers, addrs);
                edge.note(ctx, outcome);
            }
        }
    }

    pub(super) fn connected(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        for edge in &mut self.edges {
            if edge.dialer.is_on(conn) {
                let outcome = edge.dialer.connected(ctx);
                edge.note(ctx, outcome);
            }
        }
    }

    pub(super) fn received(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, bytes: &[u8]) {
        for edge in &mut self.edges {
            if edge.dialer.is_on(conn) {
                let mut incoming = VecDeque::new();
                let outcome = edge.dialer.received(ctx, bytes, &mut incoming);
                edge.read(ctx, incoming);
                edge.note(ctx, outcome);
            }
        }
    }

    pub(super) fn closed(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, cause: Hangup) {
        for edge in &mut self.edges {
            if edge.dialer.is_on(conn) {
                let mut incoming = VecDeque::new();
                let outcome = edge.dialer.closed(ctx, &mut self.numbers, cause, &mut incoming);
                if incoming.is_empty() {
                    edge.note(ctx, outcome);
                } else {
                    edge.read(ctx, incoming);
                }
            }
        }
    }

    pub(super) fn dialer_of(&self, conn: ConnId) -> Option<&Dialer> {
        self.edges.iter().map(|edge| &edge.dialer).find(|dialer| dialer.is_on(conn))
    }

    pub(super) fn wrote(&mut self, conn: ConnId, n: usize) {
        for edge in &mut self.edges {
            if edge.dialer.is_on(conn) {
                edge.dialer.wrote(n);
            }
        }
    }
}

impl Edge {
    fn new(ctx: &Ctx<'_>, node: &EdgeNode) -> Self {
        let pinned = node.fingerprint.map(|fingerprint| fingerprint.0);
        let roots = &ctx.config.link_roots;
        let tls = node.secure.then(|| tls::client_config(roots, pinned, ctx.clock.clone()));
        let token = ctx.config.settings.access.admin_token.clone();
        let target = Target {
            host: node.host.clone(),
            port: node.link_port().get(),
            tls,
            purpose: Purpose::Ask(Outbound::get("/?action=stat").with_bearer(token)),
        };
        let dialer = Dialer::new(target);
        Self { node: node.clone(), dialer, next: ctx.now, load: None, shut_out: false, sent: 0 }
    }

    fn read(&mut self, ctx: &mut Ctx<'_>, incoming: VecDeque<Incoming>) {
        for incoming in incoming {
            let Incoming::Response { status, body } = incoming else { continue };
            self.dialer.stop(ctx, Linger::Flush);
            let load = (status == 200).then(|| read_load(&String::from_utf8_lossy(&body)));
            self.next = ctx.now + ctx.config.limits.poll_interval;
            if status == 401 && !self.shut_out {
                tracing::warn!(
                    node = self.node.id,
                    "no viewer is sent to this edge: it does not tell its load without the \
                     admin.token that it has; set the same one here"
                );
            }
            self.shut_out = status == 401;
            match load.flatten() {
                Some(load) => {
                    self.load = Some(load);
                    self.sent = 0;
                }
                None => self.fail(ctx, "its statistics cannot be read"),
            }
        }
    }

    fn note(&mut self, ctx: &mut Ctx<'_>, outcome: Result<(), String>) {
        if let Err(why) = outcome {
            self.fail(ctx, &why);
        }
    }

    fn fail(&mut self, ctx: &mut Ctx<'_>, why: &str) {
        tracing::debug!(node = self.node.id, why, "an edge did not tell its load");
        self.dialer.stop(ctx, Linger::Abort);
        self.load = None;
        self.next = ctx.now + ctx.config.limits.poll_interval;
    }
}

/// Reads `calls`, `systemCpuLoad` and `core_accepting` out of a node's statistics. A node that does
/// not tell its processors' load counts as idle, one that does not say whether it is full as not,
/// one that does not tell its calls as none of ours.
fn read_load(text: &str) -> Option<Load> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().split_once('='));
        lines.find(|(name, _)| *name == key)?.1.trim().parse::<f64>().ok()
    };
    let whole = |value: f64| if value.is_finite() && value > 0.0 { value as u64 } else { 0 };
    let calls = whole(value("calls")?);
    let cpu_percent = value("systemCpuLoad").map_or(0, whole);
    let accepting = value("core_accepting") != Some(0.0);
    Some(Load { calls, cpu_percent, accepting })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Bench;

    #[test]
    fn edges_on_one_host_keep_what_is_known_of_each() {
        let node =
            |n: u16| format!("<node id='{n}'><ip>192.0.2.1</ip><ws>{}</ws></node>", 8080 + n);
        let xml = format!("<loadbalancer>{}{}</loadbalancer>", node(1), node(2));
        let mut bench = Bench::with("load_balancing_enabled=true\n", Some(&xml));
        let mut balancer = Balancer::new(&bench.ctx());
        let loads = [1, 2].map(|calls| Some(Load { calls, cpu_percent: 0, accepting: true }));
        balancer.edges.iter_mut().zip(loads).for_each(|(edge, load)| edge.load = load);
        balancer.reload(&mut bench.ctx(), &[]);
        assert_eq!(balancer.edges.iter().map(|edge| edge.load).collect::<Vec<_>>(), loads);
    }

    #[test]
    fn a_load_is_read_from_statistics() {
        let text = "-----Connection Stats-----\nconnections=3\ncalls=12\nsystemCpuLoad=37.5\n";
        let load = Load { calls: 12, cpu_percent: 37, accepting: true };
        assert_eq!(read_load(text), Some(load));
        let load = Load { calls: 1, cpu_percent: 0, accepting: true };
        assert_eq!(read_load("calls=1\r\n"), Some(load));
        let load = Load { accepting: false, ..load };
        assert_eq!(read_load("calls=1\r\ncore_accepting=0\r\n"), Some(load));
        assert_eq!(read_load("<html>"), None);
        assert_eq!(read_load("calls=many"), None);
    }
}

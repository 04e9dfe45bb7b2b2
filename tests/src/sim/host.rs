//! What happens to hosts: they start, end, lose their power or their disk, stand still, and have
//! clocks of their own.

use std::net::IpAddr;
use std::time::Duration;

use distributary_core::{Command, Epoch, Event as Fact, Input, ShardId, Tables};

use super::node::{self, Node, Plan, Stillness};
use super::{Event, Sim, UNIX_AT_START};
use crate::world::Edges;

/// How far the new address of a node that moved is from its old one.
const MOVED: usize = 100;

/// Datagrams that a socket keeps for a process that stands still.
const SOCKET_DATAGRAMS: usize = 500;

impl Sim {
    /// Adds a node and starts it. Answers with its number.
    pub fn add_node(&mut self, plan: Plan) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node::new(plan, node::address(index)));
        self.start_node(index);
        index
    }

    /// Starts a node that is not running, with nothing remembered but its settings and its
    /// certificate.
    pub fn start_node(&mut self, index: usize) {
        let world = self.now - self.start;
        let shards = self.nodes.get(index).map_or(0, |node| usize::from(node.plan.shards));
        let seeds: Vec<[u8; 32]> = (0..shards).map(|_| self.random.seed()).collect();
        let Some(node) = self.nodes.get_mut(index) else { return };
        let unix = UNIX_AT_START + world + node.calendar_ahead;
        let epoch = Epoch { instant: self.now + node.ahead, unix };
        node.start(epoch, seeds.into_iter());
        self.note(format_args!("n{index} starts"));
        for shard in 0..shards {
            self.drain_shard(index, shard);
        }
    }

    /// Ends a node's process at once: its kernel resets what was open and refuses what comes.
    pub fn kill_node(&mut self, index: usize) {
        self.end_node(index, "dies");
        self.reset_connections(index);
    }

    /// Takes a node's host off the power: nobody is told anything, and nobody answers there.
    pub fn darken_node(&mut self, index: usize) {
        self.end_node(index, "goes dark");
        if let Some(node) = self.nodes.get_mut(index) {
            node.dark = true;
        }
    }

    fn end_node(&mut self, index: usize, how: &str) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.up = false;
        node.still = None;
        node.shards.clear();
        self.note(format_args!("n{index} {how}"));
    }

    /// Gives a node another disk: what it kept there is made anew at its next start.
    pub fn replace_disk(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.replace_disk();
        }
        self.note(format_args!("n{index} gets a new disk"));
    }

    /// Moves a node that is not running to a host with another address. Whoever asks for its name
    /// is told the old one until [`Sim::refresh_name`].
    pub fn move_node(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let (before, name) = (node.ip, node.plan.name.clone());
        node.move_to(node::address(index + MOVED));
        self.stale_names.insert(name, before);
        self.note(format_args!("n{index} moves"));
    }

    /// Lets a host's clock show a later time from now on, as after a virtual machine's sleep.
    pub fn jump_clock(&mut self, index: usize, by: Duration) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.ahead += by;
        let (life, shards) = (node.life, node.shards.len());
        self.note(format_args!("n{index}'s clock jumps by {by:?}"));
        for shard in 0..shards {
            self.arm(index, life, shard);
        }
    }

    /// Lets a host believe in a later date when it starts next.
    pub fn set_calendar(&mut self, index: usize, ahead: Duration) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.calendar_ahead = ahead;
        }
    }

    /// Lets a host stand still for a while; its kernel goes on taking what comes.
    pub fn freeze_node(&mut self, index: usize, span: Duration) {
        let until = self.now + span;
        self.note(format_args!("n{index} stands still for {span:?}"));
        if let Some(node) = self.nodes.get_mut(index) {
            let new = Stillness { end: until, next: until, datagrams: 0 };
            let still = node.still.get_or_insert(new);
            still.end = still.end.max(until);
        }
    }

    /// Puts off what happens to a host that stands still.
    pub(super) fn hold(&mut self, event: Event) -> Option<Event> {
        let index = match &event {
            Event::Wake { node, .. }
            | Event::Resolved { node, .. }
            | Event::Message { node, .. }
            | Event::Bound { node, .. }
            | Event::Failed { node, .. } => Some(*node),
            Event::Datagram { to, .. } => self.nodes.iter().position(|node| node.ip == to.ip()),
            Event::Tcp { connection, side } => self.host_of(*connection, *side),
            Event::WakePage(_) => None,
        };
        let Some(node) = index.and_then(|index| self.nodes.get_mut(index)) else {
            return Some(event);
        };
        let Some(still) = &mut node.still else { return Some(event) };
        if still.end <= self.now {
            node.still = None;
            return Some(event);
        }
        if still.next <= self.now {
            (still.next, still.datagrams) = (still.end, 0);
        }
        if matches!(event, Event::Datagram { .. }) {
            still.datagrams += 1;
            if still.datagrams > SOCKET_DATAGRAMS {
                return None;
            }
        }
        let next = still.next;
        self.schedule(next, event);
        None
    }

    /// A node's address.
    pub fn node_ip(&self, index: usize) -> IpAddr {
        self.nodes.get(index).expect("the node was added").ip
    }

    /// How many shards a node that runs has.
    pub fn shards(&self, index: usize) -> usize {
        self.nodes.get(index).map_or(0, |node| node.shards.len())
    }

    /// Whether all shards of a node that runs said that they are done.
    pub fn is_drained(&self, index: usize) -> bool {
        let node = self.nodes.get(index).filter(|node| node.up);
        node.is_some_and(|node| node.shards.iter().all(|slot| slot.drained))
    }

    /// Whether a node runs.
    pub fn is_up(&self, index: usize) -> bool {
        self.nodes.get(index).is_some_and(|node| node.up)
    }

    /// How much the tables of each of a node's shards hold.
    pub fn tables(&self, index: usize) -> Vec<Tables> {
        let shards = self.nodes.get(index).map_or(&[] as &[_], |node| &node.shards);
        shards.iter().map(|slot| slot.shard.tables()).collect()
    }

    /// What a node's shards reported, in order.
    pub fn facts(&self, index: usize) -> &[(Duration, ShardId, Fact)] {
        &self.nodes.get(index).expect("the node was added").events
    }

    /// Tells every shard of a node something as its operator.
    pub fn command(&mut self, index: usize, command: Command) {
        for shard in 0..self.nodes.get(index).map_or(0, |node| node.shards.len()) {
            self.input(index, shard, Input::Command(command.clone()));
        }
    }

    /// Lets a node read its settings again.
    ///
    /// # Errors
    ///
    /// Why it refuses them and goes on as before.
    pub fn reload(&mut self, index: usize) -> Result<(), String> {
        self.note(format_args!("n{index} reads its settings again"));
        let node = self.nodes.get_mut(index).expect("the node was added");
        let read = node.read().map_err(|error| error.to_string());
        let config = node.config.clone();
        match &read {
            Ok(()) => self.command(index, Command::Reload(config)),
            Err(why) => self.note(format_args!("n{index} refuses them: {why}")),
        }
        read
    }

    /// Writes a node's two files, which it does not read by itself.
    pub(super) fn write_settings(&mut self, index: usize, properties: &str, edges: Edges<'_>) {
        if let Some(node) = self.nodes.get_mut(index) {
            properties.clone_into(&mut node.plan.properties);
            node.plan.edges.set(edges);
        }
    }
}

//! Real servers on this machine's loopback, as a [`World`].
//!
//! Each world has a network of its own there, 127.x.y.0/24, on which nodes have the same ports and
//! every page an address, as if they were machines. What a loopback does not have are names and
//! their look-ups, and sockets that cannot be had; and bounds that are built into the servers
//! cannot be set.

mod cable;
mod log;
mod network;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use distributary_core::Event;
use serde_json::Value;

use self::cable::Cable;
pub(crate) use self::network::Network;
use crate::browser::Shape;
use crate::client::Pages;
use crate::http::{self, Answer};
use crate::lossy::{LossyPath, Terms};
use crate::page::Page;
use crate::process::{Runtime, Server};
use crate::roster::Roster;
use crate::world::{Cue, Edges, NodeId, Partition, Party, Weather, World};

/// Ports of every node. No other test and no ephemeral port is at these.
pub(crate) const WS_PORT: u16 = 21_080;
pub(crate) const HTTP_PORT: u16 = 21_081;
pub(crate) const MEDIA_PORT: u16 = 21_100;
/// Where the first node that was added reaches another one.
const CABLE_PORT: u16 = 21_200;
/// Addresses below are nodes'.
const FIRST_PAGE: usize = 20;
/// Addresses from there on are those at which nodes are reached over paths.
const ANNOUNCED: usize = 200;
/// Between two looks at a server that starts, or reads its settings.
const LOOK: Duration = Duration::from_millis(10);
/// How long a server may take to read its settings again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes of one runtime, and pages that talk to them over real sockets.
#[derive(Debug)]
pub struct Real {
    runtime: Runtime,
    network: Network,
    /// Names of nodes, also of those to come, in the order of their addresses.
    names: Vec<String>,
    nodes: Vec<(IpAddr, Server)>,
    /// Of each node the lines of its properties that no scenario writes, and its list of edges.
    settings: Vec<(String, Roster)>,
    /// Why nodes refused settings.
    refused: Vec<String>,
    ways: Vec<Way>,
    pages: Pages,
    /// Each page's address.
    machines: Vec<IpAddr>,
    /// The share of datagrams that is lost, each way.
    loss: f64,
    /// Whether nodes that are added can be parted from others.
    parting: bool,
    /// The ways to nodes' media ports, if anything is lost there, or can be.
    paths: Vec<(NodeId, LossyPath)>,
}

impl Real {
    /// A world without nodes, whose nodes will run on this runtime.
    ///
    /// # Panics
    ///
    /// If the machine's loopback has no free network.
    pub fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            network: Network::take(),
            names: Vec::new(),
            nodes: Vec::new(),
            settings: Vec::new(),
            refused: Vec::new(),
            ways: Vec::new(),
            pages: Pages::default(),
            machines: Vec::new(),
            loss: 0.0,
            parting: false,
            paths: Vec::new(),
        }
    }

    /// The same, where this share of all datagrams is lost: from publishers to nodes, between
    /// nodes, and to viewers, each way. What links say is as often late.
    ///
    /// # Panics
    ///
    /// As [`Real::new`].
    pub fn with_loss(runtime: Runtime, loss: f64) -> Self {
        let mut world = Self::new(runtime);
        world.loss = loss;
        world
    }

    /// Lays paths to the media ports of a node that is being added, and answers with the address at
    /// which they begin; or, where nothing can be lost, with the node's own.
    fn lay_paths(&mut self, node: NodeId, ip: IpAddr, shards: u16) -> IpAddr {
        if self.loss == 0.0 && !self.parting {
            return ip;
        }
        let announced = self.network.address(ANNOUNCED + node.0);
        for port in MEDIA_PORT..MEDIA_PORT + shards {
            let seed = self.paths.len() as u64 + 1;
            let terms = Terms { loss: self.loss, seed, ..Terms::default() };
            let path = LossyPath::new((announced, port).into(), (ip, port).into(), terms);
            self.paths.push((node, path.expect("nobody else is on the world's network")));
        }
        announced
    }

    fn address_of(&mut self, name: &str) -> IpAddr {
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        self.network.address(index + 1)
    }

    /// A node's `loadbalancing.xml`, to whose edges ways are laid.
    fn balancing(&mut self, node: NodeId, edges: &Roster) -> Option<String> {
        edges.text(|name| {
            let to = self.address_of(name);
            (to.to_string(), self.lay_way(node, to))
        })
    }

    /// Lays the way from a node to another one, if there is none yet, and answers with its port.
    fn lay_way(&mut self, from: NodeId, to: IpAddr) -> u16 {
        let port = CABLE_PORT + u16::try_from(from.0).expect("a world has few nodes");
        if self.ways.iter().any(|way| way.from == from && way.to == to) {
            return port;
        }
        let mut way = Way { from, to, port, loss: self.loss, held: false, cable: None };
        if self.nodes.iter_mut().any(|(ip, server)| *ip == to && server.is_running()) {
            way.open();
        }
        self.ways.push(way);
        port
    }

    fn open_ways_to(&mut self, to: IpAddr) {
        self.ways.iter_mut().filter(|way| way.to == to).for_each(Way::open);
    }

    fn at(&mut self, node: NodeId) -> (IpAddr, &mut Server) {
        let (ip, server) = self.nodes.get_mut(node.0).expect("the node was added");
        (*ip, server)
    }

    /// Parts two nodes, or joins them again: what goes over TCP waits, what goes to media ports is
    /// lost.
    fn set_parted(&mut self, a: NodeId, b: NodeId, parted: bool) {
        for (from, to) in [(a, b), (b, a)] {
            let [from_ip, to_ip] = [from, to].map(|node| self.at(node).0);
            let ways = self.ways.iter_mut().filter(|way| way.from == from && way.to == to_ip);
            ways.for_each(|way| way.set_held(parted));
            let mut paths = self.paths.iter().filter(|(node, _)| *node == to).peekable();
            assert!(paths.peek().is_some(), "n{} was added without a way to be parted by", to.0);
            paths.for_each(|(_, path)| path.set_parted(from_ip, parted));
        }
    }

    fn open(&mut self, machine: IpAddr, node: NodeId) -> usize {
        let (ip, _) = self.at(node);
        self.machines.push(machine);
        let opened = self.pages.open_from(machine, (ip, WS_PORT).into());
        opened.unwrap_or_else(|error| panic!("n{} takes no page: {error}", node.0))
    }

    fn open_anywhere(&mut self, node: NodeId) -> usize {
        let machine = self.network.address(FIRST_PAGE + self.machines.len());
        self.open(machine, node)
    }

    /// Waits for what a node's log says, from this byte on, of settings that it read again.
    fn outcome(&mut self, node: NodeId, from: usize) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let (_, server) = self.at(node);
            let text = server.log();
            if let Some(outcome) = text.get(from..).and_then(log::outcome) {
                return outcome;
            }
            assert!(Instant::now() < end, "n{} did not read its settings again", node.0);
            self.pages.run(LOOK);
        }
    }

    fn publish_on(&mut self, page: usize, name: &str, shape: Shape) -> Party {
        self.pages.publish(page, name, shape).expect("the machine has UDP ports left")
    }

    fn play_on(&mut self, page: usize, name: &str, shape: Shape) -> Party {
        self.pages.play(page, name, shape).expect("the machine has UDP ports left")
    }
}

impl Drop for Real {
    /// Tells a failed test's reader what the nodes said.
    fn drop(&mut self) {
        if thread::panicking() {
            let mut text = String::new();
            for ((ip, server), name) in self.nodes.iter().zip(&self.names) {
                text.push_str(&format!("{name} at {ip}:\n{}\n", server.log()));
            }
            // A report that cannot be written is no reason to fail in another way.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

impl World for Real {
    fn weather(&self) -> Weather {
        Weather::Real
    }

    fn node(&mut self, name: &str, edges: &[&str], shards: u16, properties: &str) -> NodeId {
        let node = NodeId(self.nodes.len());
        let ip = self.address_of(name);
        let mut roster = Roster::default();
        roster.add(edges);
        let balancing = self.balancing(node, &roster);
        let announced = self.lay_paths(node, ip, shards);
        let own = format!(
            "ip={announced}\nip_local={ip}\nws.port={WS_PORT}\nwss.port=off\n\
             http.port={HTTP_PORT}\nhttps.port=off\npage.port=off\n\
             media_port_from={MEDIA_PORT}\nshards={shards}\nnode.id={name}\n"
        );
        let (properties, options) = (format!("{own}{properties}"), ["--log", "json"]);
        let server = Server::start_from(self.runtime, &properties, balancing.as_deref(), &options);
        self.nodes.push((ip, server.unwrap_or_else(|error| panic!("{name}: {error}"))));
        self.settings.push((own, roster));
        self.open_ways_to(ip);
        node
    }

    fn publish(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let page = self.open_anywhere(node);
        self.publish_on(page, name, shape)
    }

    fn publish_again(&mut self, before: &Party, node: NodeId, name: &str, shape: Shape) -> Party {
        let machine = self.machines.get(before.page).copied().expect("the page was opened");
        let page = self.open(machine, node);
        self.publish_on(page, name, shape)
    }

    fn play(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let page = self.open_anywhere(node);
        self.play_on(page, name, shape)
    }

    fn publish_with(&mut self, node: NodeId, name: &str, shape: Shape, token: &str) -> Party {
        let page = self.open_anywhere(node);
        self.pages.browser(page).token = Some(token.to_owned());
        self.publish_on(page, name, shape)
    }

    fn play_with(&mut self, node: NodeId, name: &str, shape: Shape, token: &str) -> Party {
        let page = self.open_anywhere(node);
        self.pages.browser(page).token = Some(token.to_owned());
        self.play_on(page, name, shape)
    }

    fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("the machine's clock is set")
    }

    fn stop(&mut self, viewer: &Party) {
        self.pages.stop(viewer);
    }

    fn unpublish(&mut self, publisher: &Party) {
        self.stop(publisher);
    }

    fn say(&mut self, publisher: &Party, kind: &str, payload: Option<Value>) {
        self.pages.browser(publisher.page).send_event(&publisher.id, kind, payload);
    }

    fn leave(&mut self, party: &Party) {
        self.pages.leave(party.page);
    }

    fn lose(&mut self, party: &Party) {
        self.pages.lose(party.page);
    }

    fn kill(&mut self, node: NodeId) {
        let (ip, server) = self.at(node);
        server.kill();
        for way in self.ways.iter_mut().filter(|way| way.to == ip) {
            way.cable = None;
        }
    }

    fn restart(&mut self, node: NodeId) {
        let Self { nodes, pages, .. } = self;
        let (ip, server) = nodes.get_mut(node.0).expect("the node was added");
        let ip = *ip;
        // A busy machine takes its time, in which publishers must not fall silent.
        let started = server.start_again(|| pages.run(LOOK));
        started.unwrap_or_else(|error| panic!("n{}: {error}", node.0));
        self.open_ways_to(ip);
    }

    fn drain(&mut self, node: NodeId) {
        let (_, server) = self.at(node);
        server.terminate().unwrap_or_else(|error| panic!("n{}: {error}", node.0));
    }

    fn ended(&mut self, node: NodeId) -> bool {
        let (_, server) = self.at(node);
        let code = server.exit_code();
        assert!(matches!(code, None | Some(0)), "n{} ended with {code:?}", node.0);
        code == Some(0)
    }

    fn freeze(&mut self, node: NodeId, span: Duration) {
        for (signal, span) in [("STOP", span), ("CONT", Duration::ZERO)] {
            let (_, server) = self.at(node);
            server.signal(signal).unwrap_or_else(|error| panic!("n{}: {error}", node.0));
            self.pages.run(span);
        }
    }

    fn sever(&mut self, a: NodeId, b: NodeId) {
        for (from, to) in [(a, b), (b, a)] {
            let (to, _) = self.at(to);
            let ways = self.ways.iter().filter(|way| way.from == from && way.to == to);
            ways.filter_map(|way| way.cable.as_ref()).for_each(Cable::cut);
        }
    }

    fn advance(&mut self, span: Duration) {
        self.pages.run(span);
    }

    fn page(&self, page: usize) -> &Page {
        self.pages.page(page)
    }

    fn statistics(&mut self, node: NodeId) -> Option<String> {
        let (ip, _) = self.at(node);
        let answer = http::get((ip, HTTP_PORT).into(), "/?action=stat").ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    fn request(&mut self, node: NodeId, request: &str) -> Option<Answer> {
        let (ip, _) = self.at(node);
        let request = request.as_bytes().to_vec();
        let asking = thread::spawn(move || http::exchange((ip, HTTP_PORT).into(), &request));
        // An answer may take its time, in which publishers must not fall silent.
        while !asking.is_finished() {
            self.pages.run(LOOK);
        }
        asking.join().ok()?.ok()
    }

    fn rewrite(
        &mut self,
        node: NodeId,
        properties: &str,
        edges: Edges<'_>,
        cue: Cue,
    ) -> Result<(), String> {
        let settings = self.settings.get_mut(node.0).expect("the node was added");
        settings.1.set(edges);
        let (own, roster) = settings.clone();
        let balancing = self.balancing(node, &roster);
        let (_, server) = self.at(node);
        let before = server.log().len();
        let mut done = server.write(&format!("{own}{properties}"), balancing.as_deref());
        if cue == Cue::Hangup {
            done = done.and_then(|()| server.signal("HUP"));
        }
        done.unwrap_or_else(|error| panic!("n{}: {error}", node.0));
        let answer = (cue == Cue::Rest).then(|| self.ask_to_reload(node));
        let outcome = self.outcome(node, before);
        if let Some(answer) = answer {
            assert_eq!(answer, outcome, "n{} answers one thing and logs another", node.0);
        }
        self.refused.extend(outcome.clone().err());
        outcome
    }

    fn events(&self, node: NodeId) -> Vec<Event> {
        let (_, server) = self.nodes.get(node.0).expect("the node was added");
        log::events(&server.log(), &self.refused)
    }
}

impl Partition for Real {
    fn prepare_partitions(&mut self) {
        self.parting = true;
    }

    fn partition(&mut self, a: NodeId, b: NodeId) {
        self.set_parted(a, b, true);
    }

    fn heal(&mut self, a: NodeId, b: NodeId) {
        self.set_parted(a, b, false);
    }
}

/// How one node reaches another one.
#[derive(Debug)]
struct Way {
    from: NodeId,
    to: IpAddr,
    port: u16,
    loss: f64,
    /// Whether nothing passes.
    held: bool,
    /// Gone while the node that it leads to is: then nobody may listen there.
    cable: Option<Cable>,
}

impl Way {
    fn open(&mut self) {
        let cable = Cable::new((self.to, self.port).into(), (self.to, WS_PORT).into(), self.loss);
        let cable = cable.expect("nobody else listens on the world's network");
        cable.set_held(self.held);
        self.cable = Some(cable);
    }

    fn set_held(&mut self, held: bool) {
        self.held = held;
        if let Some(cable) = &self.cable {
            cable.set_held(held);
        }
    }
}

//! A network, nodes and browsers in simulated time, all of it determined by one seed.
//!
//! Time jumps from event to event. Datagrams are late, lost, doubled and overtaken; TCP arrives in
//! pieces of any size; names may not resolve and hosts may die or be cut off. [`Sim`] is the
//! network and the clock; [`World`](crate::world::World) is how tests speak of it.

mod access;
mod backend;
mod balance;
pub mod bare;
mod counts;
pub mod crypto;
mod drive;
mod errors;
mod fetch;
mod host;
mod network;
mod node;
pub(crate) mod oracle;
pub mod random;
pub mod scenario;
pub mod storm;
mod stranger;
mod tcp;
mod trace;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_core::{Hangup, LookupId, ShardId, ShardMessage, SocketId};
use str0m::config::CryptoProvider;

use self::backend::Backend;
use self::counts::Count;
use self::errors::Errors;
use self::fetch::Fetch;
use self::network::Leaving;
use self::node::Node;
use self::random::{Random, fnv1a};
use self::stranger::Stranger;
use self::tcp::{Connection, Item};
use self::trace::Trace;
use crate::page::Page;

pub use self::backend::{BACKEND, Manner};
pub use self::network::{Names, Network};
pub use self::node::{HTTP_PORT, MEDIA_PORT, Plan, WS_PORT};
pub use self::trace::Trace as Record;

/// How long a dialer waits for a host that does not answer.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(3);
/// Time between two attempts of TCP to get through.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// Wake-ups of one shard without time moving on, after which it counts as spinning.
const SPINS_MAX: u32 = 3;
/// Wake-ups of one shard within one second, after which it counts as busy with nothing.
const WAKES_MAX: u32 = 5_000;
/// Ports of one page: pages on one machine share its address.
const PORTS_PER_PAGE: u16 = 40;

#[derive(Debug)]
enum Event {
    Wake { node: usize, life: u32, shard: usize },
    WakePage(usize),
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Tcp { connection: usize, side: usize },
    Resolved { node: usize, life: u32, shard: usize, lookup: LookupId, addrs: Vec<IpAddr> },
    Message { node: usize, life: u32, shard: usize, from: ShardId, message: ShardMessage },
    Bound { node: usize, life: u32, shard: usize, socket: SocketId, port: Option<u16> },
    Failed { node: usize, life: u32, shard: usize, conn: distributary_core::ConnId, refused: bool },
}

/// A browser of the simulation.
#[derive(Debug)]
struct Surfer {
    page: Page,
    ip: IpAddr,
    ports_used: u16,
    connection: Option<(usize, usize)>,
    /// What the page could not write yet.
    backlog: Vec<u8>,
    ended: bool,
    /// Whether the page's process reads nothing any more of what it is told.
    is_deaf: bool,
    /// The earliest wake-up that is in the queue.
    armed: Option<Instant>,
}

/// The simulated world.
#[derive(Debug)]
pub struct Sim {
    seed: u64,
    start: Instant,
    now: Instant,
    random: Random,
    /// By time, then by rank, then in the order of scheduling.
    queue: BTreeMap<(Instant, u64, u64), Event>,
    ordinal: u64,
    nodes: Vec<Node>,
    surfers: Vec<Surfer>,
    fetches: Vec<Fetch>,
    strangers: Vec<Stranger>,
    backend: Backend,
    connections: Vec<Connection>,
    ports_used: u16,
    posted: BTreeMap<(usize, usize, usize), Instant>,
    /// Ways that nothing passes: from, to.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// The same, where connections go on.
    cut_for_datagrams: BTreeSet<(IpAddr, IpAddr)>,
    /// What was sent at this moment.
    leaving: Vec<Leaving>,
    /// Until when the way from one address to another is taken.
    busy: BTreeMap<(IpAddr, IpAddr), Instant>,
    /// Bytes in a second on ways that are narrower than the network.
    narrow: BTreeMap<(IpAddr, IpAddr), u32>,
    /// How nodes count what they send to pages.
    counts: BTreeMap<(SocketAddr, SocketAddr), Count>,
    nameless: BTreeSet<String>,
    /// Where those who ask for a name are sent, as long as they do not learn that it moved.
    stale_names: BTreeMap<String, IpAddr>,
    srtp: crypto::Srtp,
    /// What the network does from now on.
    pub network: Network,
    /// What name servers answer from now on.
    pub names: Names,
    /// What a look-up takes on top of the way there and back.
    pub lookup_delay: Duration,
    /// How many of the next sockets cannot be had.
    pub binds_refused: u32,
    /// Messages between shards in a thousand that get lost, of those that may be.
    pub letters_lost_per_mille: u16,
    steps: u64,
    errors: Errors,
    trace: Trace,
    /// The command that shows this run again, if there is one.
    replay: Option<String>,
}

impl Sim {
    /// An empty world. Seeds the thread's `fastrand`, from which str0m and the stand-ins draw, so
    /// a thread runs one world at a time.
    pub fn new(seed: u64) -> Self {
        fastrand::seed(seed);
        let now = Instant::now();
        Self {
            seed,
            start: now,
            now,
            random: Random::new(seed),
            queue: BTreeMap::new(),
            ordinal: 0,
            nodes: Vec::new(),
            surfers: Vec::new(),
            fetches: Vec::new(),
            strangers: Vec::new(),
            backend: Backend::default(),
            connections: Vec::new(),
            ports_used: 0,
            posted: BTreeMap::new(),
            cut: BTreeSet::new(),
            cut_for_datagrams: BTreeSet::new(),
            leaving: Vec::new(),
            busy: BTreeMap::new(),
            narrow: BTreeMap::new(),
            counts: BTreeMap::new(),
            nameless: BTreeSet::new(),
            stale_names: BTreeMap::new(),
            srtp: crypto::Srtp::Null,
            network: Network::default(),
            names: Names::default(),
            lookup_delay: Duration::ZERO,
            binds_refused: 0,
            letters_lost_per_mille: 0,
            steps: 0,
            errors: Errors::listen(),
            trace: Trace::default(),
            replay: None,
        }
    }

    /// Lets browsers use this protection from now on; nodes have theirs in their [`Plan`].
    pub fn set_srtp(&mut self, srtp: crypto::Srtp) {
        self.srtp = srtp;
    }

    /// Opens a page that connects to a node's WebSocket. Answers with its number.
    pub fn add_browser(&mut self, node: usize) -> usize {
        let [.., high, low] = (self.surfers.len() + 1).to_be_bytes();
        self.add_browser_at(node, Ipv4Addr::new(10, 2, high, low).into())
    }

    /// The same on a machine with this address, which other pages may be on too.
    pub fn add_browser_at(&mut self, node: usize, ip: IpAddr) -> usize {
        let index = self.surfers.len();
        let number = u32::try_from(index + 1).expect("a simulation has few browsers");
        let crypto: Arc<CryptoProvider> = crypto::provider(self.srtp);
        self.surfers.push(Surfer {
            page: Page::new(self.start, number, crypto),
            ip,
            ports_used: PORTS_PER_PAGE * u16::try_from(index).expect("a simulation is small"),
            connection: None,
            backlog: Vec::new(),
            ended: false,
            is_deaf: false,
            armed: None,
        });
        self.dial_page(index, node);
        index
    }

    /// A page and its browser.
    pub fn page(&self, index: usize) -> &Page {
        &self.surfers.get(index).expect("the page was opened").page
    }

    /// Does something with a page, and sends what comes of it. The callback is given the time, the
    /// page, and a local address that nobody has used.
    pub fn with_page<T>(
        &mut self,
        index: usize,
        act: impl FnOnce(Instant, &mut Page, SocketAddr) -> T,
    ) -> T {
        let now = self.now;
        let surfer = self.surfers.get_mut(index).expect("the page was opened");
        surfer.ports_used += 1;
        let local = SocketAddr::new(surfer.ip, 40_000 + surfer.ports_used);
        let result = act(now, &mut surfer.page, local);
        self.drain_page(index);
        result
    }

    /// Closes a page: its WebSocket says goodbye and its connection ends.
    pub fn close_page(&mut self, index: usize) {
        self.with_page(index, |now, page, _| page.leave(now));
        if let Some(surfer) = self.surfers.get_mut(index) {
            surfer.ended = true;
        }
        self.pump_page(index);
    }

    /// Ends a page as a power failure does: nobody is told anything.
    pub fn lose_page(&mut self, index: usize) {
        let now = self.now;
        self.note(format_args!("p{index} is lost"));
        let Some(surfer) = self.surfers.get_mut(index) else { return };
        surfer.page.vanish(now);
        if let Some((connection, side)) = surfer.connection.take() {
            self.tcp_send(connection, 1 - side, Item::End(Hangup::Reset));
            self.forget(connection, side);
        }
    }

    /// Has a page read nothing any more of what its node tells it; its media go on.
    pub fn stop_reading(&mut self, index: usize) {
        self.note(format_args!("p{index} reads nothing any more"));
        if let Some(surfer) = self.surfers.get_mut(index) {
            surfer.is_deaf = true;
        }
    }

    /// Resets every TCP connection between two nodes.
    pub fn break_tcp(&mut self, a: usize, b: usize) {
        self.note(format_args!("TCP between n{a} and n{b} breaks"));
        self.break_connections(self.node_ip(a), self.node_ip(b));
    }

    /// The number that decides everything.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Makes a name unknown, or known again.
    pub fn set_nameless(&mut self, name: &str, nameless: bool) {
        if nameless {
            self.nameless.insert(name.to_owned());
        } else {
            self.nameless.remove(name);
        }
    }

    /// Lets the name of a node that moved lead to where it is now.
    pub fn refresh_name(&mut self, name: &str) {
        self.stale_names.remove(name);
    }

    /// A browser's address.
    pub fn page_ip(&self, index: usize) -> IpAddr {
        self.surfers.get(index).expect("the page was opened").ip
    }

    /// Sends a datagram from any address: what an attacker would.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.post_datagram(from, to, bytes.to_vec());
    }

    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// What the clocks of nodes that believe in the world's date show.
    pub fn unix(&self) -> Duration {
        UNIX_AT_START + self.elapsed()
    }

    /// Says which command shows this run again, for whoever sees it fail.
    pub fn set_replay(&mut self, command: String) {
        self.replay = Some(command);
    }

    /// Writes down what happens from now on, for somebody who watches.
    pub fn show(&mut self) {
        self.trace.live = true;
    }

    /// Keeps a line of every datagram too.
    pub fn trace_datagrams(&mut self) {
        self.trace.datagrams = true;
    }

    /// Events so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(in crate::sim) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now - self.start, what);
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.schedule_ranked(at, 0, event);
    }

    fn schedule_ranked(&mut self, at: Instant, rank: u64, event: Event) {
        self.ordinal += 1;
        self.queue.insert((at.max(self.now), rank, self.ordinal), event);
    }

    /// Dice for one thing that happens now, named by `of`. What they show depends on nothing else:
    /// how often others were thrown before can differ by the order within one moment, which str0m
    /// leaves to the order of a hash map.
    fn dice(&self, of: &[usize]) -> Random {
        let now = self.now.saturating_duration_since(self.start).as_nanos().to_be_bytes();
        let of: Vec<u8> = of.iter().flat_map(|part| part.to_be_bytes()).collect();
        Random::new(fnv1a(&[&self.seed.to_be_bytes(), &now, &of]))
    }
}

/// The command that shows a run again.
fn replay(run: &str) -> String {
    format!("cargo run --release -p distributary-tests --bin sim -- {run} --trace")
}

/// Some moment, the same in every run: 2026-01-01.
const UNIX_AT_START: Duration = Duration::from_secs(1_767_225_600);

impl Drop for Sim {
    /// Tells a failed run's reader how it came to this, or how to see that.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.trace.settle();
            let text = self.replay.take().map(|command| format!("again: {command}\n"));
            let text = text.unwrap_or_else(|| {
                let lines = self.trace.lines();
                let late = lines.len().saturating_sub(60);
                let text = lines.skip(late).collect::<Vec<_>>().join("\n");
                format!("{text}\nseed {}\n", self.seed)
            });
            // A report that cannot be written is no reason to fail in another way.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

//! What carries datagrams, and what it does to them; which ways are open; what names resolve to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use distributary_core::{Flow, Input, LookupId};

use super::random::{Random, fnv1a};
use super::trace::ends;
use super::{Event, PORTS_PER_PAGE, Sim};

/// What the network does to what it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Least time from one host to another.
    pub delay: Duration,
    /// What comes on top, by chance; datagrams overtake each other within it.
    pub jitter: Duration,
    /// Datagrams in a thousand that get lost. TCP gets as many stalls.
    pub loss_per_mille: u16,
    /// Datagrams in a thousand that arrive twice.
    pub duplicates_per_mille: u16,
    /// Datagrams in a thousand that take a way that is much longer.
    pub detours_per_mille: u16,
    /// How much longer, at most.
    pub detour: Duration,
    /// Bytes in a second from one host to another; `None` is any number.
    pub bandwidth: Option<u32>,
    /// How long a datagram waits for its turn at most; a longer queue takes no more.
    pub queue: Duration,
    /// Largest piece that TCP hands over.
    pub chunk_max: usize,
    /// Bytes of a TCP direction that may be under way.
    pub window: usize,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(2),
            loss_per_mille: 0,
            duplicates_per_mille: 0,
            detours_per_mille: 0,
            detour: Duration::ZERO,
            bandwidth: None,
            queue: Duration::from_millis(200),
            chunk_max: 1460,
            window: 64 * 1024,
        }
    }
}

impl Network {
    /// A bad day: 3 % loss, much jitter, duplicates, and TCP in crumbs.
    pub fn rough() -> Self {
        Self {
            delay: Duration::from_millis(30),
            jitter: Duration::from_millis(25),
            loss_per_mille: 30,
            duplicates_per_mille: 5,
            chunk_max: 200,
            window: 16 * 1024,
            ..Self::default()
        }
    }
}

/// What the name servers answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Names {
    /// The host's address.
    #[default]
    Right,
    /// That there is no such name.
    Unknown,
    /// An address where nobody is.
    Wrong,
    /// An address where nobody is, and after it the host's.
    WrongFirst,
}

/// A datagram that was sent at this moment.
#[derive(Debug)]
pub(super) struct Leaving {
    rank: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// What a report counts as, whose length is not the same in every run.
const REPORT_BYTES: usize = 100;
/// Headers of Ethernet, IP and UDP.
const HEADER_BYTES: usize = 42;
/// Nobody has this address.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 66, 66, 66));

impl Sim {
    /// Lets nothing pass between two addresses, or everything again.
    pub fn set_cut(&mut self, a: IpAddr, b: IpAddr, cut: bool) {
        self.set_cut_one_way(a, b, cut);
        self.set_cut_one_way(b, a, cut);
    }

    /// The same for what goes from one address to another, and not back.
    pub fn set_cut_one_way(&mut self, from: IpAddr, to: IpAddr, cut: bool) {
        self.note(format_args!("{from} to {to} {}", if cut { "parted" } else { "joined" }));
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Lets no datagram pass from one address to another, or all again; connections go on.
    pub fn set_cut_for_datagrams(&mut self, from: IpAddr, to: IpAddr, cut: bool) {
        let state = if cut { "parted" } else { "joined" };
        self.note(format_args!("{from} to {to} {state} for datagrams"));
        if cut {
            self.cut_for_datagrams.insert((from, to));
        } else {
            self.cut_for_datagrams.remove(&(from, to));
        }
    }

    /// Lets so many bytes in a second pass from one address to another, or as many as the network
    /// does.
    pub fn set_bandwidth(&mut self, from: IpAddr, to: IpAddr, bandwidth: Option<u32>) {
        self.note(format_args!("{from} to {to} takes {bandwidth:?} bytes/s"));
        match bandwidth {
            Some(bandwidth) => self.narrow.insert((from, to), bandwidth),
            None => self.narrow.remove(&(from, to)),
        };
    }

    /// Joins everything that was parted.
    pub fn heal_cuts(&mut self) {
        for (from, to) in self.cut.clone() {
            self.set_cut_one_way(from, to, false);
        }
    }

    pub(super) fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(super) fn latency(&self, dice: &mut Random) -> Duration {
        self.network.delay + dice.span(self.network.jitter)
    }

    /// Sends a datagram. It leaves when this moment ends.
    ///
    /// What becomes of it depends on the seed, the time and the datagram, and not on what else was
    /// sent: str0m keeps its streams in a `HashMap`, so packets of sound and picture that it sends
    /// at one moment come in any order.
    pub(super) fn post_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let (common, length) = identity(&bytes);
        let seed = self.seed.to_be_bytes();
        let at = self.elapsed().as_nanos().to_be_bytes();
        let length = length.unwrap_or_default().to_be_bytes();
        let rank = fnv1a(&[&seed, &at, &ends(from, to), &length, common]);
        self.leaving.push(Leaving { rank, from, to, bytes });
    }

    /// The moment is over: what was sent in it gets on its way.
    pub(super) fn dispatch(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.sort_by_key(|datagram| datagram.rank);
        for Leaving { rank, from, to, mut bytes } in leaving.drain(..) {
            let mut fate = Random::new(rank);
            let (_, length) = identity(&bytes);
            let turn = self.turn(from.ip(), to.ip(), length.unwrap_or(REPORT_BYTES));
            let way = (from.ip(), to.ip());
            let is_cut = self.is_cut(from.ip(), to.ip()) || self.cut_for_datagrams.contains(&way);
            let lost = is_cut || fate.chance(self.network.loss_per_mille);
            let (false, Some(turn)) = (lost, turn) else {
                let elapsed = self.elapsed();
                self.trace.datagram(elapsed, (from, to), length, "lost");
                continue;
            };
            let copies = if fate.chance(self.network.duplicates_per_mille) { 2 } else { 1 };
            for more in (0..copies).rev() {
                let mut at = turn + self.latency(&mut fate);
                if fate.chance(self.network.detours_per_mille) {
                    at += fate.span(self.network.detour);
                }
                let bytes = if more > 0 { bytes.clone() } else { std::mem::take(&mut bytes) };
                let event = Event::Datagram { from, to, bytes };
                self.schedule_ranked(at, rank, event);
            }
        }
        // Its room is used again.
        self.leaving = leaving;
    }

    /// When a datagram has passed the narrowest place, if the queue before that takes it.
    fn turn(&mut self, from: IpAddr, to: IpAddr, length: usize) -> Option<Instant> {
        let now = self.now;
        let narrow = self.narrow.get(&(from, to)).copied();
        let Some(bandwidth) = narrow.or(self.network.bandwidth) else { return Some(now) };
        let bytes = f64::from(u32::try_from(length + HEADER_BYTES).unwrap_or(u32::MAX));
        let takes = Duration::from_secs_f64(bytes / f64::from(bandwidth.max(1)));
        let busy = self.busy.entry((from, to)).or_insert(now);
        let begins = now.max(*busy);
        if begins.saturating_duration_since(now) > self.network.queue {
            return None;
        }
        *busy = begins + takes;
        Some(*busy)
    }

    pub(super) fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let (_, length) = identity(bytes);
        let elapsed = self.elapsed();
        self.trace.datagram(elapsed, (from, to), length, "arrives");
        if let Some(node) = self.nodes.iter().position(|node| node.ip == to.ip()) {
            let shard = self.nodes.get(node).and_then(|node| node.shard_at(to.port()));
            if let Some(shard) = shard
                && !bytes.is_empty()
            {
                let flow = Flow { local: to, remote: from };
                if let Some(node) = self.nodes.get_mut(node) {
                    node.balance.hears(from, bytes);
                }
                self.input(node, shard, Input::Datagram { flow, bytes, stride: bytes.len() });
            }
        } else if let Some(index) = self.surfer_at(to) {
            self.with_surfer(index, |now, page| page.datagram(now, to, from, bytes));
        }
    }

    /// Bytes of datagrams that nodes have sent to an address since they started.
    pub fn was_sent(&self, to: SocketAddr) -> usize {
        self.nodes.iter().map(|node| node.balance.sent_to(to)).sum()
    }

    /// Whose page has a port: pages of one machine have a range each.
    pub(super) fn surfer_at(&self, to: SocketAddr) -> Option<usize> {
        let index = usize::from(to.port().checked_sub(40_001)? / PORTS_PER_PAGE);
        self.surfers.get(index).filter(|surfer| surfer.ip == to.ip()).map(|_| index)
    }

    pub(super) fn resolve(&mut self, node: usize, shard: usize, lookup: LookupId, host: &str) {
        let known = self.nodes.iter().filter(|node| node.plan.name == host).map(|node| node.ip);
        let known: Vec<IpAddr> = known.collect();
        let addrs = match (host.parse(), self.names) {
            (Ok(addr), _) => vec![addr],
            (Err(_), _) if self.nameless.contains(host) => Vec::new(),
            (Err(_), _) if self.stale_names.contains_key(host) => {
                self.stale_names.get(host).copied().into_iter().collect()
            }
            (Err(_), Names::Right) => known,
            (Err(_), Names::Unknown) => Vec::new(),
            (Err(_), Names::Wrong) => vec![NOBODY],
            (Err(_), Names::WrongFirst) => [NOBODY].into_iter().chain(known).collect(),
        };
        self.note(format_args!("n{node}.{shard} resolves {host}: {addrs:?}"));
        let latency = self.latency(&mut self.dice(&[node, shard]));
        let at = self.now + latency + self.lookup_delay;
        let life = self.nodes.get(node).map_or(0, |node| node.life);
        self.schedule(at, Event::Resolved { node, life, shard, lookup, addrs });
    }
}

/// What two runs have in common of a datagram: of RTP the sequence number, timestamp and SSRC, of
/// RTCP not even the length, of anything else its type. Header extensions and reports carry wall
/// time, compound reports come in any order and tell of packets that were sent in any order, and
/// STUN carries what depends on it.
fn identity(bytes: &[u8]) -> (&[u8], Option<usize>) {
    let (common, length) = match bytes {
        [0x80..0xc0, 192..=223, ..] => (0, None),
        [0x80..0xc0, ..] => (12, Some(bytes.len())),
        _ => (2, Some(bytes.len())),
    };
    (bytes.get(..common).unwrap_or(bytes), length)
}

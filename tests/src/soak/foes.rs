//! One of each kind of those who mean no good, at origin and first edge, each from an address of
//! its own.

use std::net::{IpAddr, Ipv4Addr};

use super::{ORIGIN, STEADY_EDGE};
use crate::attack::{Actor, Attack, Kind, Sort, Target};
use crate::lossy::Cdn;

/// The first one's host; the others follow.
const FIRST_HOST: usize = 150;
/// Addresses of those who send datagrams.
const ADDRESSES: u32 = 10;
/// What each does, and how often in a second. Connections are more than one address may open.
const KINDS: [(Kind, u32); 9] = [
    (Kind::IdleConnection, 20),
    (Kind::GarbageHttp, 5),
    (Kind::GarbageWords, 5),
    (Kind::TakenName, 2),
    (Kind::DeafReader, 1),
    (Kind::Connection, 300),
    (Kind::Datagram(Sort::Stun), 200),
    (Kind::Datagram(Sort::Hello), 200),
    (Kind::Datagram(Sort::Rtp), 200),
];

/// Lets all of them begin. `taken` is a stream's name.
pub(super) fn start(cdn: &Cdn, taken: &str) -> Result<Attack, String> {
    let nodes = [ORIGIN, STEADY_EDGE].map(|node| cdn.nodes.get(node)).into_iter().flatten();
    let targets = nodes.map(|node| Target { tcp: node.ws(), media: node.media() });
    let targets: Vec<Target> = targets.collect();
    let mut host = FIRST_HOST;
    let actors = KINDS.map(|(kind, per_second)| {
        let first = match cdn.network.address(host) {
            IpAddr::V4(first) => first,
            IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
        };
        let addresses = if matches!(kind, Kind::Datagram(_)) { ADDRESSES } else { 1 };
        host += addresses as usize;
        Actor { kind, per_second, addresses, first }
    });
    Attack::start(&targets, &actors, taken)
}

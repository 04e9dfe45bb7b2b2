//! Where a peer was heard, and when.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::fault::PeerFault;
use crate::input::Flow;
use crate::limits::Limits;

/// A path as tables know it: our port and the far end, in few words that compare fast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PathKey {
    ip: u128,
    ports: u32,
    /// Of a link-local address, the link.
    scope: u32,
}

impl PathKey {
    pub(crate) fn of(flow: &Flow) -> Self {
        let (ip, scope) = match flow.remote {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        let ports = u32::from(flow.remote.port()) << 16 | u32::from(flow.local.port());
        Self { ip: ip.to_bits(), ports, scope }
    }
}

/// Remote addresses that ICE of one peer may speak to in its life. A browser has a handful, and a
/// phone gets one more with every network that it comes through.
const CHECKED_MAX: usize = 64;

/// Every path that a peer was heard on.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    heard: Vec<(Flow, Instant)>,
    /// Where ICE has answered checks or made some. It keeps each such place for good, and looks
    /// through all of them with every check.
    checked: Vec<SocketAddr>,
}

impl Paths {
    /// Notes that the peer is heard on this path. Answers with the one that it gives up for it: a
    /// peer behind a NAT that changes its port has many in its life, but few at a time.
    pub(crate) fn learn(&mut self, now: Instant, flow: Flow, limits: &Limits) -> Option<Flow> {
        let known = self.heard.iter_mut().find(|(known, _)| known.remote == flow.remote);
        if let Some((known, heard)) = known {
            known.local = flow.local;
            *heard = now;
            return None;
        }
        let mut given_up = None;
        if self.heard.len() >= limits.peer_addresses_max {
            let heard_at = |at: &usize| self.heard.get(*at).map(|path| path.1);
            let oldest = (0..self.heard.len()).min_by_key(heard_at);
            given_up = oldest.map(|at| self.heard.swap_remove(at).0);
        }
        self.heard.push((flow, now));
        given_up
    }

    /// Notes that ICE says something there; to strangers it says nothing.
    ///
    /// # Errors
    /// [`PeerFault::Exhausted`], if that makes more such places than a peer may have.
    pub(crate) fn check(&mut self, remote: SocketAddr) -> Result<(), PeerFault> {
        if !self.checked.contains(&remote) {
            self.checked.push(remote);
        }
        if self.checked.len() > CHECKED_MAX {
            return Err(PeerFault::Exhausted("it was checked from too many addresses"));
        }
        Ok(())
    }

    /// Whether the peer was heard from there lately.
    pub(crate) fn holds(&self, now: Instant, remote: SocketAddr, limits: &Limits) -> bool {
        let path = self.heard.iter().find(|(path, _)| path.remote == remote);
        path.is_some_and(|(_, heard)| now < *heard + limits.path_hold_time)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.heard.iter().map(|(path, _)| path)
    }

    /// The way of a datagram there. `source` is the candidate that ICE chose.
    pub(crate) fn flow(&self, source: SocketAddr, remote: SocketAddr) -> Flow {
        let heard = self.iter().find(|path| path.remote == remote);
        let local = heard.map_or_else(|| any_address(source), |path| path.local);
        Flow { local, remote }
    }

    #[cfg(test)]
    pub(crate) fn first_heard(&self) -> Option<Instant> {
        self.heard.first().map(|(_, heard)| *heard)
    }
}

/// The source is left to the kernel until the peer was heard: behind a NAT, the candidate's
/// address is none that this machine could send from.
pub(crate) fn any_address(candidate: SocketAddr) -> SocketAddr {
    let any = match candidate.ip() {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    SocketAddr::new(any, candidate.port())
}

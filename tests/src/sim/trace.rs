//! What happened, as text for people and as a hash for comparing runs.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::random::fnv1a;

/// Lines that are kept, the latest; the hash covers all.
const LINES_MAX: usize = 200_000;

/// The record of one run. What happens at one moment has no order in it.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    hash: u64,
    moment: Duration,
    /// The sum of the hashes of what happened at this moment: the same in any order.
    sum: u64,
    current: Vec<String>,
    /// Whether datagrams get lines too. They are the bulk of what happens, and hashed in any case.
    pub datagrams: bool,
    /// Whether lines are also written to stdout as they come.
    pub live: bool,
}

impl Trace {
    /// Adds a line.
    pub fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.at(at);
        let line = format!("{:12.6} {what}", at.as_secs_f64());
        self.sum = self.sum.wrapping_add(fnv1a(&[line.as_bytes()]));
        self.current.push(line);
    }

    /// Adds a datagram and what became of it. `length` is what it says of itself in every run.
    pub fn datagram(
        &mut self,
        at: Duration,
        (from, to): (SocketAddr, SocketAddr),
        length: Option<usize>,
        fate: &'static str,
    ) {
        self.at(at);
        let length_bytes = length.unwrap_or_default().to_be_bytes();
        let item = fnv1a(&[&ends(from, to), &length_bytes, fate.as_bytes()]);
        self.sum = self.sum.wrapping_add(item);
        if self.datagrams {
            let what = length.map_or("reports".to_owned(), |length| length.to_string());
            let at = at.as_secs_f64();
            self.current.push(format!("{at:12.6} udp {from} > {to} {what} {fate}"));
        }
    }

    fn at(&mut self, at: Duration) {
        if at != self.moment {
            self.settle();
            self.moment = at;
        }
    }

    /// Ends the current moment.
    pub fn settle(&mut self) {
        if self.sum == 0 {
            return;
        }
        let moment = self.moment.as_nanos().to_be_bytes();
        self.hash = fnv1a(&[&self.hash.to_be_bytes(), &moment, &self.sum.to_be_bytes()]);
        self.sum = 0;
        self.current.sort_unstable();
        for line in self.current.drain(..) {
            if self.live {
                // A reader who went away misses nothing.
                let _ = writeln!(io::stdout(), "{line}");
            }
            if self.lines.len() == LINES_MAX {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    /// The same for two runs that did the same at the same times, up to the last moment that
    /// ended.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// What was kept of the moments that ended.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.lines.iter().map(String::as_str)
    }
}

/// Both ends of a datagram in a few bytes.
pub(super) fn ends(from: SocketAddr, to: SocketAddr) -> [u8; 36] {
    let mut bytes = [0; 36];
    for (addr, room) in [from, to].into_iter().zip(bytes.chunks_mut(18)) {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let parts = ip.octets().into_iter().chain(addr.port().to_be_bytes());
        room.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    }
    bytes
}

//! Nodes number what they send a page without a gap, whatever becomes of it on the way.

use std::net::SocketAddr;

use super::Sim;
use crate::browser::transport::Header;

/// How a node counts on its way to a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    id: u8,
    last: Option<u16>,
}

impl Sim {
    /// Looks at a datagram that a node sends.
    pub(super) fn check_count(&mut self, (from, to): (SocketAddr, SocketAddr), bytes: &[u8]) {
        let Some(header) = Header::parse(bytes) else { return };
        let known = self.counts.get(&(from, to)).copied();
        let Some(Count { id, last }) = known.or_else(|| self.begin_count(to)) else { return };
        let Some(number) = header.number(id) else { return };
        if let Some(last) = last {
            assert_eq!(number, last.wrapping_add(1), "how {from} counts what it sends to {to}");
        }
        self.counts.insert((from, to), Count { id, last: Some(number) });
    }

    /// How it is agreed with the page there.
    fn begin_count(&self, to: SocketAddr) -> Option<Count> {
        let surfer = self.surfers.get(self.surfer_at(to)?)?;
        Some(Count { id: surfer.page.browser.counting_id(to)?, last: None })
    }
}

//! Host names to addresses, off the loop.

use std::net::IpAddr;
use std::sync::Arc;

use distributary_core::LookupId;
use tokio::net::lookup_host;
use tokio::sync::Semaphore;

use crate::node::{Letter, Mailbox};

/// Look-ups under way at once: the system's resolver blocks a thread for each.
pub(crate) const THREADS: usize = 4;

/// Look-ups that may wait or be under way; one more is answered with nothing.
const LOOKUPS_MAX: usize = 256;

/// Answers look-ups through the mailbox of the shard that asked.
#[derive(Debug)]
pub(crate) struct Resolver {
    answers: Mailbox,
    room: Arc<Semaphore>,
}

impl Resolver {
    pub(crate) fn new(answers: Mailbox) -> Self {
        Self { answers, room: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Looks `host` up. Every question gets its answer, an empty one if need be; how long to wait
    /// for it is up to whoever asked.
    pub(crate) fn resolve(&self, lookup: LookupId, host: String) {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return answer(&self.answers, lookup, vec![ip]);
        }
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            return answer(&self.answers, lookup, Vec::new());
        };
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let found = lookup_host((host.as_str(), 0)).await;
            let mut addrs: Vec<IpAddr> =
                found.map(|addrs| addrs.map(|addr| addr.ip()).collect()).unwrap_or_default();
            addrs.dedup();
            answer(&answers, lookup, addrs);
            drop(place);
        });
    }
}

fn answer(answers: &Mailbox, lookup: LookupId, addrs: Vec<IpAddr>) {
    if answers.post(Letter::Resolved { lookup, addrs }).is_err() {
        // The shard asked and does not read: it hangs, and its own time limit covers this.
        tracing::warn!("an answer of the resolver found its shard's mailbox full");
    }
}

//! Host names to addresses, off the loop.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use distributary_core::LookupId;

use crate::node::{Letter, Mailbox, StartError};

/// Look-ups under way at once: the system's resolver blocks a thread for each.
const THREADS: usize = 4;

/// Look-ups that may wait; one more is answered with nothing.
const LOOKUPS_MAX: usize = 256;

/// Answers look-ups through the mailbox of the shard that asked. Its threads end with its last
/// copy, those that a look-up holds up a little later.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    questions: SyncSender<Question>,
}

#[derive(Debug)]
struct Question {
    lookup: LookupId,
    host: String,
    answers: Mailbox,
}

impl Resolver {
    pub(crate) fn start() -> Result<Self, StartError> {
        let (questions, queue) = sync_channel(LOOKUPS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name("resolver".to_owned())
                .spawn(move || work(&queue))
                .map_err(|source| StartError::System { what: "cannot start a thread", source })?;
        }
        Ok(Self { questions })
    }

    /// Looks `host` up. Every question gets its answer, an empty one if need be; how long to wait
    /// for it is up to whoever asked.
    pub(crate) fn resolve(&self, lookup: LookupId, host: String, answers: &Mailbox) {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return answer(answers, lookup, vec![ip]);
        }
        let question = Question { lookup, host, answers: answers.clone() };
        if self.questions.try_send(question).is_err() {
            answer(answers, lookup, Vec::new());
        }
    }
}

fn work(queue: &Mutex<Receiver<Question>>) {
    loop {
        // A thread that panicked took its question along and left the queue whole.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Question { lookup, host, answers }) = next else { return };
        let found = (host.as_str(), 0).to_socket_addrs();
        let mut addrs: Vec<IpAddr> =
            found.map(|addrs| addrs.map(|addr| addr.ip()).collect()).unwrap_or_default();
        addrs.dedup();
        answer(&answers, lookup, addrs);
    }
}

fn answer(answers: &Mailbox, lookup: LookupId, addrs: Vec<IpAddr>) {
    if answers.post(Letter::Resolved { lookup, addrs }).is_err() {
        // The shard asked and does not read: it hangs, and its own time limit covers this.
        tracing::warn!("an answer of the resolver found its shard's mailbox full");
    }
}

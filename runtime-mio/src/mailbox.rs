//! How letters from other threads wake a shard's loop.

use std::io;
use std::sync::Arc;
use std::task::Wake;

use mio::{Registry, Token, Waker};

use crate::node::{Inbox, Mailbox, mailbox};

/// Wakes the poll that it is registered with.
#[derive(Debug)]
struct Bell(Waker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            tracing::error!("a shard cannot be woken: {error}");
        }
    }
}

/// Makes a shard's mailbox, which shows up as `token` when there is a letter.
pub(crate) fn open(registry: &Registry, token: Token) -> io::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(Bell(Waker::new(registry, token)?));
    Ok(mailbox(bell.into()))
}

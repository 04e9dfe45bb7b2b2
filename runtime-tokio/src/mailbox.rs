//! How letters from other threads wake a shard's loop.

use std::sync::Arc;
use std::task::Wake;

use tokio::sync::Notify;

use crate::node::{Inbox, Mailbox, mailbox};

/// Wakes the loop that waits for it; remembers that it was rung while the loop was busy.
#[derive(Debug, Default)]
pub(crate) struct Bell(Notify);

impl Bell {
    /// Waits until it is rung.
    pub(crate) async fn rung(&self) {
        self.0.notified().await;
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

/// Makes a shard's mailbox and its bell.
pub(crate) fn open() -> (Mailbox, Inbox, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    let (mailbox, inbox) = mailbox(Arc::clone(&bell).into());
    (mailbox, inbox, bell)
}

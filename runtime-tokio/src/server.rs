//! The whole node: one thread, one tokio runtime and one loop for each shard.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::node::{Bound, Mailbox, Plan, Running, StartError};
use crate::shard_loop::ShardLoop;

/// A node that runs on tokio. What can be asked of it is in [`Running`].
#[derive(Debug)]
pub struct Server(Running);

impl Server {
    /// Opens the sockets and starts the shards.
    ///
    /// # Errors
    ///
    /// [`StartError`], in words that tell an operator what to change.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        let Bound { config, shards, events, wishes } = plan.bind()?;
        let mut loops = Vec::with_capacity(shards.len());
        let mut mailboxes: Vec<Mailbox> = Vec::with_capacity(shards.len());
        for shard in shards {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                // For the resolver alone.
                .max_blocking_threads(crate::resolver::THREADS)
                .build()
                .map_err(|source| StartError::System { what: "cannot start tokio", source })?;
            let (shard_loop, mailbox) = {
                let _inside = runtime.enter();
                ShardLoop::new(shard, Arc::clone(&config), events.clone(), wishes.clone())?
            };
            mailboxes.push(mailbox);
            loops.push((runtime, shard_loop));
        }
        let mailboxes: Arc<[Mailbox]> = mailboxes.into();
        let mut running = Running::new(config, Arc::clone(&mailboxes), wishes)?;
        for (runtime, shard_loop) in loops {
            let mailboxes = Arc::clone(&mailboxes);
            running.spawn(shard_loop.id(), move || {
                let outcome = runtime.block_on(shard_loop.run(&mailboxes));
                // A look-up that hangs must not hold the end up.
                runtime.shutdown_background();
                outcome
            })?;
        }
        Ok(Self(running))
    }
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.0
    }
}

impl From<Server> for Running {
    fn from(server: Server) -> Self {
        server.0
    }
}

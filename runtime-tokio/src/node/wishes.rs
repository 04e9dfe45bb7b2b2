//! Wishes of shards to have the settings read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use distributary_core::ShardId;

/// The newest wish of each shard. All clones are the same.
#[derive(Clone, Debug)]
pub struct Wishes(Arc<[AtomicU64]>);

impl Wishes {
    /// For so many shards, none of which wishes anything.
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| AtomicU64::new(0)).collect())
    }

    /// A shard has the wish of this number.
    pub fn wish(&self, shard: ShardId, number: u64) {
        if let Some(newest) = self.0.get(usize::from(shard.0)) {
            // What whoever wishes did to the files before is there for whoever reads them after.
            newest.store(number, Ordering::Release);
        }
    }

    /// The newest wish of each shard, in their order; 0 where there was none.
    pub(super) fn newest(&self) -> Vec<u64> {
        self.0.iter().map(|newest| newest.load(Ordering::Acquire)).collect()
    }
}

//! What the shards of a node say to each other.

/// One word between two shards of a node. Opaque to a runtime, which only carries it.
#[derive(Debug)]
pub struct ShardMessage {}

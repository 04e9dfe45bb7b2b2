//! The names by which the outside and the parts of a shard mean one thing.

use std::fmt;

/// Names one shard of a node, counted from 0. Shard 0 answers for the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard that keeps the node's directory, its links and its balancer.
    pub const NODE: Self = Self(0);
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one TCP connection of a shard for as long as the shard lives.
///
/// As QUIC numbers its streams (RFC 9000, section 2.1), the opener is in the lowest bit, so that
/// the runtime and the shard can both count without asking each other: connections that the
/// runtime accepted are odd, those that the shard dialed are even. No number is used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(u64);

impl ConnId {
    /// The `n`th connection that the runtime accepted for this shard.
    pub const fn accepted(n: u64) -> Self {
        Self(n * 2 + 1)
    }

    /// The `n`th connection that this shard dialed.
    pub const fn dialed(n: u64) -> Self {
        Self(n * 2)
    }

    /// Tells whether the shard, not its far side, opened the connection.
    pub const fn is_dialed(self) -> bool {
        self.0.is_multiple_of(2)
    }

    /// The bare number, for logs and for tables of a runtime.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one question for addresses that a shard asked with [`Output::Resolve`].
///
/// [`Output::Resolve`]: crate::Output::Resolve
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookupId(pub u64);

/// Names one UDP socket that a shard asked for with [`Output::Bind`].
///
/// [`Output::Bind`]: crate::Output::Bind
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId(pub u32);

/// Names one signaling connection of the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SessionId {
    pub(crate) shard: ShardId,
    pub(crate) conn: ConnId,
}

/// Names one WebRTC transport of the node; given out by shard 0, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PeerId(pub(crate) u64);

/// Names one stream of the node; given out by shard 0, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct StreamId(pub(crate) u64);

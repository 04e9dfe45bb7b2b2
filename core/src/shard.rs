//! The state machine itself.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::Epoch;
use crate::config::Config;
use crate::id::{ConnId, ShardId};
use crate::input::Input;
use crate::output::{Output, SendBuffer};

/// One shard of a node.
#[derive(Debug)]
pub struct Shard {}

impl Shard {
    /// Makes a shard that has met nobody yet.
    pub fn new(_config: Arc<Config>, _id: ShardId, _seed: [u8; 32], _epoch: Epoch) -> Self {
        Self {}
    }

    /// Tells the shard one thing. It cannot fail: whatever a far side does ends that far side's
    /// conversation at most.
    pub fn handle_input(&mut self, _now: Instant, _input: Input<'_>) {}

    /// Asks for the next effect; call it until it answers [`Output::Timeout`].
    pub fn poll_output(&mut self, _send: &mut SendBuffer) -> Output {
        Output::Timeout(None)
    }

    /// The bytes that wait to be written to a connection.
    pub fn outgoing(&self, _conn: ConnId) -> &[u8] {
        &[]
    }

    /// Says that the first `n` of the outgoing bytes were written.
    pub fn wrote(&mut self, _conn: ConnId, _n: usize) {}
}

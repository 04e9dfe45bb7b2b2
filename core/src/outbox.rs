//! What every part of a shard is lent while it works: the time, the dice, the bounds, the way out.

use std::collections::VecDeque;
use std::time::Instant;

use crate::clock::WallClock;
use crate::config::Config;
use crate::id::ShardId;
use crate::message::{Message, ShardMessage};
use crate::output::{Event, Output};
use crate::rng::Rng;

/// Lent down with every call; effects go up by [`Outbox`] and by no other way.
pub(crate) struct Ctx<'a> {
    pub(crate) now: Instant,
    /// Wall time at `now`, for those who have to be lent a clock.
    pub(crate) clock: &'a WallClock,
    pub(crate) config: &'a Config,
    pub(crate) rng: &'a mut Rng,
    pub(crate) out: &'a mut Outbox,
}

/// The one queue of effects, and of words from this shard to itself.
#[derive(Debug)]
pub(crate) struct Outbox {
    shard: ShardId,
    outputs: VecDeque<Output>,
    to_self: VecDeque<Message>,
}

impl Outbox {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self { shard, outputs: VecDeque::new(), to_self: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    /// Sends a word to a shard of the node, this one included: a node of one shard and a node of
    /// many take the same path.
    pub(crate) fn post(&mut self, to: ShardId, message: Message) {
        if to == self.shard {
            self.to_self.push_back(message);
        } else {
            self.push(Output::Post { to, message: ShardMessage(message) });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.to_self.is_empty()
    }

    pub(crate) fn pop_to_self(&mut self) -> Option<Message> {
        self.to_self.pop_front()
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

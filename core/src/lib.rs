//! The heart of Distributary as a pure state machine: signaling, WebRTC and relaying, without a
//! socket, a clock, a thread or a random number of its own.

pub mod config;

mod cdn;
mod clock;
mod connections;
mod id;
mod input;
mod limits;
mod media;
mod message;
mod outbox;
mod output;
mod pages;
mod rng;
mod shard;
mod signal;
mod stream;
#[cfg(test)]
mod tests;
mod timers;

pub use clock::Epoch;
pub use id::{ConnId, LookupId, ShardId, SocketId};
pub use input::{Command, Flow, Hangup, Input, Service};
pub use limits::Limits;
pub use media::crypto_provider;
pub use message::ShardMessage;
pub use output::{Event, Linger, Output, SendBuffer, Transmit};
pub use pages::{Page, Pages};
pub use shard::Shard;

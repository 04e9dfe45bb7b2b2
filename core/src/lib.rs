//! The heart of Distributary as a pure state machine: signaling, WebRTC and relaying, without a
//! socket, a clock, a thread or a random number of its own.

pub mod config;

mod clock;
mod id;
mod input;
mod limits;
mod message;
mod output;
mod pages;
mod shard;
#[allow(dead_code, unused_imports, reason = "the shard does not call all of it yet")]
mod stream;

pub use clock::Epoch;
pub use id::{ConnId, LookupId, ShardId, SocketId};
pub use input::{Command, Flow, Hangup, Input, Service};
pub use limits::Limits;
pub use message::ShardMessage;
pub use output::{Event, Linger, Output, SendBuffer, Transmit};
pub use pages::{Page, Pages};
pub use shard::Shard;

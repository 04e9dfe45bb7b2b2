//! The heart of Distributary as a pure state machine: signaling, WebRTC and relaying, without a
//! socket, a clock, a thread or a random number of its own.
//!
//! # The contract
//!
//! A node is one or more [`Shard`]s that share a [`config::Config`]. A shard is told what happened
//! and asked what to do; in between it does nothing. Whoever drives it, the *runtime*, loops:
//!
//! ```text
//! wait for a socket, a message or the deadline
//! for each thing that happened, up to some budget:
//!     shard.handle_input(now, input)
//! loop:
//!     match shard.poll_output(&mut send_buffer):
//!         Timeout(deadline) -> wait again, until then at most
//!         anything else     -> do it
//! ```
//!
//! * **Inputs cannot fail.** What a far side does wrong ends that far side's conversation, with a
//!   reason, and nothing else. Wrong settings are a [`config::SettingsError`] before there is a
//!   shard. A panic is a bug.
//! * **[`Output::Timeout`] means drained.** Nothing that is queued can hide behind a deadline.
//! * **Datagrams are pushed, streams are pulled.** A [`Transmit`] may be dropped by anybody. The
//!   bytes of a TCP connection wait in the shard, in a bounded buffer: a runtime writes
//!   [`Shard::outgoing`], says so with [`Shard::wrote`], and keeps none.
//! * **Ids belong to the opener.** Connections that were accepted are odd, dialed ones even
//!   ([`ConnId`]); neither side waits for the other's numbers.
//! * **Shards meet only through messages.** [`Output::Post`] is carried to the other shard's
//!   [`Input::Message`], in order between each pair; only what [`ShardMessage::may_be_lost`] says
//!   so may be dropped. A node of one shard and a node of many take the same path.
//! * **The same inputs give the same outputs**, given the same seed; but for what the libraries
//!   below draw themselves (WebSocket masks, TLS and DTLS secrets), which changes bytes and never
//!   behaviour.
//! * **Everything has a bound**, and the bound has a name in [`Limits`].
//!
//! # Inside
//!
//! Three parts, which talk in words even where they share a shard: the *connections* that a shard
//! accepted (TLS, HTTP, WebSocket, the JSON dialogue), the *media* of a shard (peers, routes, key
//! frames), and on shard 0 the *node*, which decides what is published, played, pushed and
//! balanced.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
pub mod config;

mod access;
mod cdn;
mod clock;
mod connections;
mod dialer;
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
#[cfg(any(test, feature = "bench"))]
mod tests;
mod timers;
mod token;
mod wildcard;

pub use clock::Epoch;
pub use id::{ConnId, LookupId, ShardId, SocketId};
pub use input::{Command, Flow, Hangup, Input, Service};
pub use limits::Limits;
pub use media::crypto_provider;
pub use message::ShardMessage;
pub use output::{Event, Linger, Output, SendBuffer, Transmit};
pub use pages::{Page, Pages};
pub use shard::{Shard, Tables};

//! Distributary's server on tokio: each shard of the core in a loop of its own, one
//! current-thread runtime and one thread a shard.
//!
//! [`Server::start`] takes a [`node::Plan`]. The loop knows nothing of what the bytes mean: it
//! moves them between sockets and [`distributary_core::Shard`], and keeps time.
//!
//! Without the default feature `server` only [`node`] is left, for servers on other event loops.

pub mod node;

#[cfg(feature = "server")]
mod mailbox;
#[cfg(feature = "server")]
mod resolver;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod shard_loop;
#[cfg(feature = "server")]
mod tcp;
#[cfg(feature = "server")]
mod udp;

#[cfg(feature = "server")]
pub use server::Server;

//! Distributary's server on mio: each shard of the core in a loop of its own, one poll and one
//! thread a shard.
//!
//! [`Server::start`] takes a [`node::Plan`]. The loop knows nothing of what the bytes mean: it
//! moves them between sockets and [`distributary_core::Shard`], and keeps time.

mod mailbox;
mod resolver;
mod server;
mod shard_loop;
mod tcp;
mod udp;

pub use distributary_tokio::node;
pub use server::Server;

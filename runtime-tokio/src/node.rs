//! What every server of Distributary does that is not its event loop: reading the folder, making
//! certificates, finding addresses, binding sockets, command line, logs.
//!
//! It lives here, and not in the core, because the core touches neither files nor sockets; and
//! not in a crate of its own, because it is the outer half of a server and of no use without one.
//! It knows nothing of tokio: `distributary-mio` uses it with this crate's default feature off,
//! and then no tokio is built.
//!
//! A start goes through three values. A [`Folder`] is what an operator wrote. A [`Plan`] is all
//! that a server needs to know, whoever wrote it. [`Bound`] is a plan with its sockets open, one
//! [`ShardStart`] a shard; a runtime puts each on a thread and hands the threads to [`Running`].

mod bind;
mod certificate;
mod command_line;
mod cpu;
mod datagrams;
mod demo;
mod descriptors;
mod error;
mod event_log;
mod folder;
mod interfaces;
mod mailbox;
mod plan;
mod reload;
mod running;
mod wishes;

pub use bind::{Bound, MediaSocket, MediaSockets, ShardStart};
pub use certificate::{fingerprint, self_signed};
pub use command_line::{Start, run};
pub use datagrams::{Datagrams, Intake, plain, plain_socket_addr};
pub use error::{RunError, StartError};
pub use event_log::log_event;
pub use folder::Folder;
pub use interfaces::Reach;
pub use mailbox::{Full, Inbox, LETTERS_MAX, Letter, Mailbox, mailbox};
pub use plan::Plan;
pub use running::Running;
pub use wishes::Wishes;

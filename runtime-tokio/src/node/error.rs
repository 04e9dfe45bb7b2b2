//! Why a server did not start, or stopped by itself.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use distributary_core::ShardId;
use distributary_core::config::SettingsError;

/// Why a server did not start, in words that tell an operator what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings of a node that has none in files were to be read again.
    #[error("there are no files to read")]
    NoFiles,
    /// A file or folder that the settings name cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Somebody else listens where we should.
    #[error(
        "{key}={port}: {addr} is taken by another program; stop that one, or give {key} another \
         port, 0 for any free one, or off",
        port = addr.port()
    )]
    PortTaken {
        /// The setting.
        key: &'static str,
        /// Where.
        addr: SocketAddr,
    },
    /// A socket could not be opened for another reason.
    #[error("{key}: cannot bind {addr}: {source}{hint}", hint = bind_hint(source))]
    Bind {
        /// The setting.
        key: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The media ports of the settings do not suffice for the shards.
    #[error(
        "media_port_from={from}, media_port_to={to}: {shards} shards need a free UDP port each and \
         only {free} could be had; widen the range or lower shards"
    )]
    MediaPorts {
        /// `media_port_from`
        from: u16,
        /// `media_port_to`
        to: u16,
        /// How many are needed.
        shards: usize,
        /// How many were free.
        free: usize,
    },
    /// No address is left that a far side could send media to.
    #[error(
        "this machine has no address that media could be sent to; name one with ip=ADDRESS, or \
         bring an interface up"
    )]
    NoAddress,
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}; name one with tls.cert and tls.key")]
    Certificate(String),
    /// The system refused something that every server needs.
    #[error("{what}: {source}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Why a running shard stopped by itself. The whole node stops with it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another shard does not read its mailbox.
    #[error("the mailbox of shard {to} is full: that shard hangs or is far overloaded")]
    MailboxFull {
        /// Whose.
        to: ShardId,
    },
    /// The system refused to say what is ready.
    #[error("waiting for the network failed: {0}")]
    Wait(#[source] io::Error),
    /// The shard's thread panicked.
    #[error("shard {0} panicked; the log says where")]
    Panicked(ShardId),
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an open set, of which two have a hint")]
fn bind_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE or a greater number"
        }
        io::ErrorKind::AddrNotAvailable => "; ip_local must be an address of this machine",
        _ => "",
    }
}

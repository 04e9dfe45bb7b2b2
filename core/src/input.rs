//! What a runtime tells a shard.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::Config;
use crate::id::{ConnId, LookupId, ShardId, SocketId};
use crate::message::ShardMessage;

/// One thing that happened outside the shard.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time passed: the deadline that [`Output::Timeout`] named is there.
    ///
    /// [`Output::Timeout`]: crate::Output::Timeout
    Timeout,
    /// One run of datagrams came in at the shard's media port, or at a socket it asked for.
    ///
    /// `bytes` holds datagrams of `stride` bytes each, the last one possibly shorter, as UDP
    /// receive offload delivers them; a single datagram has a `stride` of its own length.
    Datagram {
        /// From where and to which of our addresses.
        flow: Flow,
        /// The datagrams, back to back.
        bytes: &'a [u8],
        /// Length of every datagram but the last; never 0.
        stride: usize,
    },
    /// A listener accepted a TCP connection.
    Accepted {
        /// Odd, and never used before on this shard.
        conn: ConnId,
        /// Which listener it was.
        service: Service,
        /// Our end and the far end.
        flow: Flow,
    },
    /// A connection that [`Output::Connect`] asked for is up.
    ///
    /// [`Output::Connect`]: crate::Output::Connect
    Connected {
        /// The one that was asked for.
        conn: ConnId,
        /// Our end and the far end.
        flow: Flow,
    },
    /// Bytes came in on a connection; they are consumed whole.
    Received {
        /// Where.
        conn: ConnId,
        /// What, in order and without gaps.
        bytes: &'a [u8],
    },
    /// A connection ended, or never came up. Final: nothing follows for this connection.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        cause: Hangup,
    },
    /// The answer to [`Output::Bind`].
    ///
    /// [`Output::Bind`]: crate::Output::Bind
    Bound {
        /// Which socket was asked for.
        socket: SocketId,
        /// Its port, by which its datagrams are told from those of the media port: it is the port
        /// of [`Flow::local`]. `None`: no socket could be had.
        port: Option<u16>,
    },
    /// The answer to [`Output::Resolve`].
    ///
    /// [`Output::Resolve`]: crate::Output::Resolve
    Resolved {
        /// The question.
        lookup: LookupId,
        /// Its answers, best first; empty when there is no such name or nobody could say.
        addrs: &'a [IpAddr],
    },
    /// What another shard of this node handed over with [`Output::Post`].
    ///
    /// [`Output::Post`]: crate::Output::Post
    Message {
        /// Who handed it over.
        from: ShardId,
        /// What.
        message: ShardMessage,
    },
    /// The operator wants something.
    Command(Command),
}

/// The two ends of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Our end. An unspecified address means: whichever the kernel picks.
    pub local: SocketAddr,
    /// The far end.
    pub remote: SocketAddr,
}

/// Which listener a connection came in by. A runtime only passes it on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Service {
    /// `ws.port`
    Ws,
    /// `wss.port`
    Wss,
    /// `http.port`
    Http,
    /// `https.port`
    Https,
    /// `page.port`
    Page,
}

/// Why a TCP connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hangup {
    /// The far side ended it in good order.
    Eof,
    /// It broke.
    Reset,
    /// Nobody listens there.
    Refused,
    /// There is no way there, or nobody answered in time.
    Unreachable,
}

/// What an operator may ask of a running shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take nobody new, say goodbye to everybody, and report [`Event::Drained`] when done.
    ///
    /// [`Event::Drained`]: crate::Event::Drained
    Drain,
    /// Go on with these settings, certificates and pages. What a node is bound to stays as it is:
    /// its name, ports, addresses and shards must be those that it was started with.
    ///
    /// Whoever is connected stays connected. Edges that are new are dialed, edges that are gone
    /// lose their streams.
    Reload(Arc<Config>),
    /// Settings were read again, as [`Output::Reload`] wished. Those who are waiting are told.
    ///
    /// [`Output::Reload`]: crate::Output::Reload
    Reloaded {
        /// The last wish that came before the reading began: a later one is for files as they may
        /// have been since.
        wish: u64,
        /// Whether the new settings are in force on all shards, or why the old ones stay.
        outcome: Result<(), Arc<str>>,
    },
    /// The system's load: the share of all processors in use, 0 to 100. Shard 0 wants it every
    /// few seconds for its statistics.
    CpuLoad(u8),
}

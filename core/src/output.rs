//! What a shard asks of its runtime.

use std::net::SocketAddr;
use std::time::Instant;

use crate::id::{ConnId, LookupId, ShardId, SocketId};
use crate::input::Flow;
use crate::message::ShardMessage;

/// One effect, or the word that there are no more for now.
#[derive(Debug)]
pub enum Output {
    /// Send this run of datagrams from the socket whose port is that of the flow's local end: the
    /// shard's media port, or one that [`Output::Bind`] got. It may be dropped.
    Transmit(Transmit),
    /// [`Shard::outgoing`] became non-empty for this connection: write it when the socket takes
    /// it and say how much went with [`Shard::wrote`].
    ///
    /// [`Shard::outgoing`]: crate::Shard::outgoing
    /// [`Shard::wrote`]: crate::Shard::wrote
    Write(ConnId),
    /// Open a TCP connection; answer with `Connected` or `Closed`.
    Connect {
        /// Even, and never used before on this shard.
        conn: ConnId,
        /// Where to.
        addr: SocketAddr,
    },
    /// End a connection. The shard has already forgotten it, except for what is still outgoing
    /// under [`Linger::Flush`]. No `Closed` is due, and one that crosses this is ignored.
    Close {
        /// Which.
        conn: ConnId,
        /// What becomes of the outgoing bytes.
        how: Linger,
    },
    /// Open one more UDP socket, on any free port; answer with `Bound`. It stays for as long as
    /// the shard lives.
    ///
    /// Peers that the shard dials need sockets of their own: two of them to the same media port
    /// of the same node would otherwise share both ends, and DTLS could not tell them apart.
    Bind {
        /// The socket's number.
        socket: SocketId,
    },
    /// Read the node's settings, certificates and pages again, for an operator who is waiting.
    /// If they are fit to use, tell all shards [`Command::Reload`]; then tell this one, by
    /// [`Command::Reloaded`], what came of it.
    ///
    /// [`Command::Reload`]: crate::Command::Reload
    /// [`Command::Reloaded`]: crate::Command::Reloaded
    Reload {
        /// The wish's number: wishes of a shard count from 1.
        wish: u64,
    },
    /// Look up a host name; answer with `Resolved`, whatever happens.
    Resolve {
        /// The question's number.
        lookup: LookupId,
        /// A host name or a literal address.
        host: String,
    },
    /// Hand this to another shard of the node. Never this shard itself.
    Post {
        /// To whom.
        to: ShardId,
        /// What.
        message: ShardMessage,
    },
    /// A fact for logs, metrics and tests. The runtime needs none of them to work, except
    /// [`Event::Drained`] to know that it may end.
    Event(Event),
    /// Nothing is left to do until then, or, with `None`, until the next input.
    Timeout(Option<Instant>),
}

/// A run of datagrams that lies in the [`SendBuffer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Our end and the receiver.
    pub flow: Flow,
    /// Bytes in all, from the start of the buffer.
    pub len: usize,
    /// Length of every datagram but the last, which may be shorter; `len` if there is but one.
    pub segment: usize,
}

/// What becomes of bytes that are still outgoing when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linger {
    /// They are still written (bounded in time by the runtime), then the connection closes.
    Flush,
    /// They are dropped and the connection is reset.
    Abort,
}

/// The room that a runtime lends to [`Shard::poll_output`] for one run of datagrams.
///
/// [`Shard::poll_output`]: crate::Shard::poll_output
#[derive(Debug)]
pub struct SendBuffer {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) segments_max: usize,
}

impl SendBuffer {
    /// The largest run: what one UDP datagram can carry over IPv4 (RFC 768, RFC 791), which is
    /// also where the kernels stop.
    pub const RUN_BYTES_MAX: usize = 65_507;

    /// Makes a buffer for runs of at most `segments_max` datagrams, at least one.
    pub fn new(segments_max: usize) -> Self {
        Self {
            bytes: vec![0; Self::RUN_BYTES_MAX].into_boxed_slice(),
            segments_max: segments_max.max(1),
        }
    }

    /// The bytes of the run that `transmit` describes.
    ///
    /// # Panics
    ///
    /// If `transmit` was not made with this buffer.
    pub fn run(&self, transmit: &Transmit) -> &[u8] {
        self.bytes.get(..transmit.len).expect("the transmit was made with this buffer")
    }
}

/// A fact that an operator or a test may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A stream is being published here under this name.
    StreamStarted {
        /// Its name.
        name: String,
        /// Whether it came over a link from another node.
        link: bool,
    },
    /// Nobody publishes the stream here any more.
    StreamEnded {
        /// Its name.
        name: String,
        /// Why, in the words that its viewers are told.
        info: String,
    },
    /// Someone plays a stream.
    ViewerJoined {
        /// The stream's name.
        name: String,
    },
    /// Someone who played a stream does not any more.
    ViewerLeft {
        /// The stream's name.
        name: String,
        /// Why, in the words that the viewer is told.
        info: String,
    },
    /// The link to an edge is up: streams can be pushed there.
    LinkUp {
        /// The node's number in `loadbalancing.xml`.
        node: u32,
    },
    /// The link to an edge broke or could not be made.
    LinkDown {
        /// The node's number in `loadbalancing.xml`.
        node: u32,
        /// What went wrong, and what an operator can do about it.
        why: String,
    },
    /// A stream now reaches an edge.
    RelayUp {
        /// The node's number in `loadbalancing.xml`.
        node: u32,
        /// The stream's name.
        name: String,
    },
    /// A stream reaches an edge no more.
    RelayDown {
        /// The node's number in `loadbalancing.xml`.
        node: u32,
        /// The stream's name.
        name: String,
        /// Why.
        why: String,
    },
    /// Someone who wanted to publish or play may not, or may no longer, as [`Event::Refused`] says
    /// too. Of many, this comes twice a second.
    Denied {
        /// The stream's name.
        name: String,
        /// Whether it was to publish.
        publishing: bool,
        /// Why. It holds nothing of a token.
        why: String,
    },
    /// Somebody wanted to open a link to this node and was refused, as [`Event::Refused`] says too.
    /// However often, this comes no more than once in [`Limits::link_refusal_interval`].
    ///
    /// [`Limits::link_refusal_interval`]: crate::Limits::link_refusal_interval
    LinkRefused {
        /// Why, and what an operator can do about it.
        why: String,
    },
    /// A far side broke the rules or ran into a bound, and its conversation, or what it asked for,
    /// ended for it.
    Refused {
        /// Who.
        remote: SocketAddr,
        /// What it did.
        why: String,
    },
    /// The operator had the node take nobody new, or somebody again.
    Accepting(bool),
    /// After [`Command::Drain`]: nobody is left. The runtime may end.
    ///
    /// [`Command::Drain`]: crate::Command::Drain
    Drained,
}

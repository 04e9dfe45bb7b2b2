//! What the shards of a node say to each other.
//!
//! Three parts talk: the connections of every shard, the media of every shard, and the node, which
//! is on shard 0 and knows what is published, played and pushed. They use these words even when
//! they are on one shard.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ConnId, PeerId, SessionId, ShardId, StreamId};
use crate::media::{Formats, Packet, PeerFault, Shortage};
use crate::signal::{Greeting, Request, StreamEvent};
use crate::stream::http::Response;
use crate::token::{LinkProof, LinkRefusal};

/// One word between two shards of a node. Opaque to a runtime, which only carries it.
#[derive(Debug)]
pub struct ShardMessage(pub(crate) Message);

impl ShardMessage {
    /// Tells whether the node does without it: a runtime may drop it when the receiver lags, and
    /// must deliver all others, in order.
    pub const fn may_be_lost(&self) -> bool {
        matches!(self.0, Message::Packets(_))
    }
}

#[derive(Debug)]
pub(crate) enum Message {
    Node(ToNode),
    Connection {
        conn: ConnId,
        word: ToConnection,
    },
    Media(ToMedia),
    /// To the connections of a shard: something that happened in a stream, for those of its
    /// viewers who are there, each with the id that the stream has for it.
    Happened {
        event: Arc<StreamEvent>,
        to: Vec<(ConnId, String)>,
    },
    /// To the connections of a shard: the node took up so many more of their requests.
    TookUp(u32),
    /// To the connections of a shard: whom to let in from now on.
    Door(Door),
    /// To a shard of a node that drains: its time is over.
    Leave,
    /// Media, which may be lost.
    Packets(Vec<(StreamId, Packet)>),
}

/// To the node, on shard 0.
#[derive(Debug)]
pub(crate) enum ToNode {
    /// A session came up.
    Established { session: SessionId, remote: SocketAddr, greeting: Box<Greeting> },
    /// A node that opens a link showed a token that is in order, unless it was used before.
    Presented { shard: ShardId, conn: ConnId, proof: LinkProof },
    /// A session wants something.
    Requested { session: SessionId, request: Box<Request> },
    /// A session's connection is gone.
    Gone { session: SessionId },
    /// An HTTP request that only the node can answer.
    Asked { shard: ShardId, conn: ConnId, question: Question },
    /// A peer has its answer, or cannot have one.
    Answered { peer: PeerId, outcome: Result<Answer, PeerFault> },
    /// A peer that we dial has its offer, or cannot have one.
    Offered { peer: PeerId, outcome: Result<String, PeerFault> },
    /// A peer's media path is up.
    Up { peer: PeerId },
    /// Bits of picture that a peer sent, or was sent, since the last word on them.
    VideoRate { peer: PeerId, bits: u64 },
    /// What a viewer is sent is more than its way takes.
    Short { peer: PeerId, shortage: Shortage },
    /// A peer is no more.
    Failed { peer: PeerId, fault: PeerFault },
    /// How much a shard sends.
    Sent { shard: ShardId, bits_per_second: u64 },
}

/// What a peer answers to an offer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sdp: String,
    pub(crate) formats: Formats,
}

/// What HTTP asks of the node.
#[derive(Debug)]
pub(crate) enum Question {
    /// Where to play: `?action=server_list`. `host` is the node as the asker calls it.
    ServerList { stream: Option<String>, callback: Option<String>, host: String },
    /// How the node is: `?action=stat`.
    Stat,
    /// Whether the node takes anybody new: `show_node_state`.
    State,
    /// Whether it shall, from now on: `enforce_node_state`.
    Enforce(NodeState),
}

/// Whether a node takes anybody new, as its operator has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum NodeState {
    Active,
    Passive,
}

/// Whom the connections of a shard let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    Open,
    /// Links only.
    Full,
    /// Links only, because the operator says so.
    Passive,
    /// Nobody.
    Draining,
}

/// To one connection.
#[derive(Debug)]
pub(crate) enum ToConnection {
    /// A message for the far side of a session.
    Say(String),
    /// The answer to its HTTP request.
    Respond(Box<Response>),
    /// Whether the link that it wants to be may be opened, and from which node it is then.
    Admit(Result<String, LinkRefusal>),
}

/// To the media of one shard.
#[derive(Debug)]
pub(crate) enum ToMedia {
    /// Answer a publisher's offer; its packets are the stream's `run`th publisher's. It is another
    /// node if `is_relay` is set.
    AcceptIngest { peer: PeerId, stream: StreamId, run: u32, is_relay: bool, offer: String },
    /// Answer a viewer's offer; the stream's packets come from shard `home`.
    AcceptEgress { peer: PeerId, stream: StreamId, home: ShardId, formats: Formats, offer: String },
    /// Make an offer to the edge of this number.
    Dial { peer: PeerId, node: u32, stream: StreamId, home: ShardId, formats: Formats },
    /// The edge's answer.
    TakeAnswer { peer: PeerId, sdp: String },
    /// Forget a peer.
    Drop { peer: PeerId },
    /// Shard `to` has its first viewer of a stream that comes in here.
    Subscribe { stream: StreamId, to: ShardId },
    /// Shard `to` has lost its last.
    Unsubscribe { stream: StreamId, to: ShardId },
    /// A viewer on another shard wants a key frame of a stream that comes in here.
    WantKeyframe { stream: StreamId },
}

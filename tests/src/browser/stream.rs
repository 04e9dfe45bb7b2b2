//! One stream object of a page: what was asked for, what the server said of it, what came of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde_json::Value;

use super::Datagram;
use super::offer::Shape;
use super::peer::Peer;
use super::seen::Track;
use super::transport::Transport;

/// One stream object of the page.
#[derive(Debug)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Whether the page publishes it.
    pub publishing: bool,
    /// The m-lines that were offered.
    pub shape: Shape,
    /// `status` and `info` of every status event, in order.
    pub statuses: Vec<(String, String)>,
    /// `type` and `payload` of every stream event, in order.
    pub events: Vec<(String, Value)>,
    /// The answer, as it came.
    pub answer: Option<String>,
    pub(super) peer: Option<Peer>,
    tracks: BTreeMap<usize, Track>,
    transport: Option<Transport>,
    key_frame_requests: Vec<Instant>,
}

impl Stream {
    /// A stream that was just asked for.
    pub(super) fn new(name: &str, publishing: bool, shape: Shape, peer: Peer) -> Self {
        Self {
            name: name.to_owned(),
            publishing,
            shape,
            statuses: Vec::new(),
            events: Vec::new(),
            answer: None,
            peer: Some(peer),
            tracks: BTreeMap::new(),
            transport: None,
            key_frame_requests: Vec::new(),
        }
    }

    /// The last status that the server told, or `PENDING`.
    pub fn status(&self) -> &str {
        self.statuses.last().map_or("PENDING", |(status, _)| status)
    }

    /// The `info` of the last status.
    pub fn info(&self) -> &str {
        self.statuses.last().map_or("", |(_, info)| info)
    }

    /// What came in, by m-line.
    pub fn tracks(&self) -> &BTreeMap<usize, Track> {
        self.peer.as_ref().map_or(&self.tracks, |peer| &peer.tracks)
    }

    /// The track of one kind.
    pub fn track(&self, video: bool) -> Option<&Track> {
        self.tracks().values().find(|track| track.codec.is_video() == video)
    }

    /// What is wrong with what came in.
    pub fn faults(&self) -> Vec<String> {
        let tracks = self.tracks().values().flat_map(Track::faults);
        let headers = self.transport().map_or(&[] as &[String], Transport::faults);
        tracks.chain(headers.iter().cloned()).collect()
    }

    /// Packets that were counted on their way and never came, whether they could be had again or
    /// not.
    pub fn missing(&self) -> usize {
        self.transport().map_or(0, Transport::missing)
    }

    fn transport(&self) -> Option<&Transport> {
        self.peer.as_ref().map_or(self.transport.as_ref(), |peer| peer.transport.as_ref())
    }

    /// Whether ICE and DTLS are up.
    pub fn is_connected(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.connected_at.is_some() && !peer.lost)
    }

    /// Whether its handshake is under way, and was never over.
    pub fn waits_for_keys(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.connected_at.is_none())
    }

    /// When the far side asked for key frames.
    pub fn key_frame_requests(&self) -> &[Instant] {
        self.peer.as_ref().map_or(&self.key_frame_requests, |peer| &peer.key_frame_requests)
    }

    /// Closes the peer connection, and answers with what it still has to say.
    pub(super) fn release(&mut self, now: Instant) -> VecDeque<Datagram> {
        let Some(mut peer) = self.peer.take() else { return VecDeque::new() };
        peer.close(now);
        let outgoing = std::mem::take(&mut peer.outgoing);
        self.keep(peer);
        outgoing
    }

    /// Keeps what came in over a peer connection that is no more.
    pub(super) fn keep(&mut self, peer: Peer) {
        self.tracks = peer.tracks;
        self.transport = peer.transport;
        self.key_frame_requests = peer.key_frame_requests;
    }
}

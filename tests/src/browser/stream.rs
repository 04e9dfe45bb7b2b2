//! One stream object of a page: what was asked for, what the server said of it, what came of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde_json::Value;

use super::Datagram;
use super::offer::Shape;
use super::peer::Peer;
use super::seen::Track;

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
    pub(super) tracks: BTreeMap<usize, Track>,
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

    /// Whether ICE and DTLS are up.
    pub fn is_connected(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.connected_at.is_some() && !peer.lost)
    }

    /// When the far side asked for key frames.
    pub fn key_frame_requests(&self) -> &[Instant] {
        self.peer.as_ref().map_or(&self.key_frame_requests, |peer| &peer.key_frame_requests)
    }

    /// Closes the peer connection, and answers with what it still has to say.
    pub(super) fn release(&mut self, now: Instant) -> VecDeque<Datagram> {
        let Some(mut peer) = self.peer.take() else { return VecDeque::new() };
        peer.close(now);
        self.tracks = peer.tracks;
        self.key_frame_requests = peer.key_frame_requests;
        peer.outgoing
    }
}

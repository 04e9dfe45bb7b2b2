//! The words in which scenarios are written, whatever carries them out.

use std::time::Duration;

use crate::browser::{Browser, Shape};

/// One of the nodes, by the order in which they were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeId(pub usize);

/// A stream object of a page of its own: somebody who publishes or plays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Party {
    /// The page.
    pub page: usize,
    /// The media session's id.
    pub id: String,
}

/// What one party got to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// `status` and `info` of every status event, in order.
    pub statuses: Vec<(String, String)>,
    /// Audio packets that came.
    pub audio: usize,
    /// Video packets that came.
    pub video: usize,
    /// Whether a key frame was among them.
    pub key_frame: bool,
    /// Video packets before the first key frame, which a decoder throws away.
    pub before_key_frame: usize,
    /// Sequence numbers that never came, of both tracks.
    pub gaps: usize,
    /// Whose packets came, by publisher's number, in order of first appearance.
    pub publishers: Vec<u32>,
    /// What a decoder or a page would have stumbled over.
    pub faults: Vec<String>,
}

impl Seen {
    /// The last status.
    pub fn status(&self) -> &str {
        self.statuses.last().map_or("PENDING", |(status, _)| status)
    }

    /// The reason that came with it.
    pub fn info(&self) -> &str {
        self.statuses.last().map_or("", |(_, info)| info)
    }

    /// Reads it off a browser.
    pub fn of(browser: &Browser, id: &str) -> Self {
        let mut seen = Self {
            statuses: Vec::new(),
            audio: 0,
            video: 0,
            key_frame: false,
            before_key_frame: 0,
            gaps: 0,
            publishers: Vec::new(),
            faults: browser.complaints().to_vec(),
        };
        let Some(stream) = browser.stream(id) else { return seen };
        seen.statuses.clone_from(&stream.statuses);
        for track in stream.tracks().values() {
            let count = if track.codec.is_video() { &mut seen.video } else { &mut seen.audio };
            *count += track.packets.len();
            seen.key_frame |= track.packets.iter().any(|packet| packet.key_frame);
            seen.before_key_frame += track.before_key_frame();
            seen.gaps += track.gaps().len();
            seen.faults.extend(track.faults());
            for publisher in track.publishers() {
                if !seen.publishers.contains(&publisher) {
                    seen.publishers.push(publisher);
                }
            }
        }
        seen
    }
}

/// Nodes, people who publish and play, and what can go wrong between them.
pub trait World {
    /// Opens a page at a node and publishes under a name.
    fn publish(&mut self, node: NodeId, name: &str, shape: Shape) -> Party;
    /// Opens a page at a node and plays a name.
    fn play(&mut self, node: NodeId, name: &str, shape: Shape) -> Party;
    /// Presses Stop on a played stream.
    fn stop(&mut self, viewer: &Party);
    /// Presses Stop on a published stream.
    fn unpublish(&mut self, publisher: &Party);
    /// Closes a party's page.
    fn leave(&mut self, party: &Party);
    /// Ends a node's process without warning.
    fn kill(&mut self, node: NodeId);
    /// Starts it again, with nothing remembered.
    fn restart(&mut self, node: NodeId);
    /// Lets time pass.
    fn advance(&mut self, span: Duration);
    /// A party's browser.
    fn browser(&self, party: &Party) -> &Browser;

    /// What a party got to know so far.
    fn seen(&self, party: &Party) -> Seen {
        Seen::of(self.browser(party), &party.id)
    }

    /// Lets time pass until `done`, and answers whether that came within `span`.
    fn wait(&mut self, span: Duration, done: impl Fn(&Self) -> bool) -> bool
    where
        Self: Sized,
    {
        let step = Duration::from_millis(10);
        let mut left = span;
        while !done(self) {
            if left.is_zero() {
                return false;
            }
            let now = step.min(left);
            self.advance(now);
            left -= now;
        }
        true
    }
}

/// A world whose network can be cut.
pub trait Partition: World {
    /// Lets nothing through between two nodes.
    fn partition(&mut self, a: NodeId, b: NodeId);
    /// Lets everything through between them again.
    fn heal(&mut self, a: NodeId, b: NodeId);
}

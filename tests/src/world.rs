//! The words in which scenarios are written, whatever carries them out.

use std::time::Duration;

use distributary_core::Event;
use serde_json::Value;

use crate::browser::{Browser, Shape};
use crate::http::Answer;
use crate::page::Page;

/// What nodes that have an `admin.token` have as one: whoever watches them must know it.
pub const ADMIN_TOKEN: &str = "0123456789abcdef";

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
    /// Packets that were counted on their way and never came, of the whole transport.
    pub missing: usize,
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
            missing: 0,
            publishers: Vec::new(),
            faults: browser.complaints().to_vec(),
        };
        let Some(stream) = browser.stream(id) else { return seen };
        seen.statuses.clone_from(&stream.statuses);
        seen.missing = stream.missing();
        seen.faults.extend(stream.faults());
        for track in stream.tracks().values() {
            let count = if track.codec.is_video() { &mut seen.video } else { &mut seen.audio };
            *count += track.packets.len();
            seen.key_frame |= track.packets.iter().any(|packet| packet.key_frame);
            seen.before_key_frame += track.before_key_frame();
            seen.gaps += track.gaps().len();
        }
        // Whoever comes late may be given a publisher's picture and not its sound.
        let tracks = stream.tracks().values();
        let mut publishers: Vec<_> = tracks.flat_map(|track| track.publishers()).collect();
        publishers.sort_by_key(|(_, at)| *at);
        for (publisher, _) in publishers {
            if !seen.publishers.contains(&publisher) {
                seen.publishers.push(publisher);
            }
        }
        seen
    }
}

/// How far a world's network and clock can be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    /// Nothing gets lost, and everything takes exactly its time.
    Clear,
    /// Hardly anything gets lost, but the machine has other things to do too.
    Real,
    /// Much gets lost and comes late.
    Rough,
}

/// What a `loadbalancing.xml` lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edges<'a> {
    /// The nodes of these names.
    Listed(&'a [&'a str]),
    /// The same, but the end of the file is missing.
    Torn(&'a [&'a str]),
}

/// What has a node read its settings again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cue {
    /// Somebody asks for it over REST, and shows [`ADMIN_TOKEN`].
    Rest,
    /// Its process is sent SIGHUP.
    Hangup,
    /// It sees that a file was written. Where two were, it may see them one by one.
    Files,
}

/// Nodes, people who publish and play, and what goes wrong between them in every world.
///
/// What only a simulated network can do, [`Sim`](crate::sim::Sim) has.
pub trait World {
    /// How far it can be relied on.
    fn weather(&self) -> Weather;
    /// Adds a node that pushes to the nodes of these names, which may be added later. `properties`
    /// are more lines of its `flashphoner.properties`.
    fn node(&mut self, name: &str, edges: &[&str], shards: u16, properties: &str) -> NodeId;
    /// Opens a page on a machine of its own at a node and publishes under a name.
    fn publish(&mut self, node: NodeId, name: &str, shape: Shape) -> Party;
    /// The same from the machine that `before` was on.
    fn publish_again(&mut self, before: &Party, node: NodeId, name: &str, shape: Shape) -> Party;
    /// Opens a page on a machine of its own at a node and plays a name.
    fn play(&mut self, node: NodeId, name: &str, shape: Shape) -> Party;
    /// The same as [`World::publish`] and [`World::play`], with a token.
    fn publish_with(&mut self, node: NodeId, name: &str, shape: Shape, token: &str) -> Party;
    /// See [`World::publish_with`].
    fn play_with(&mut self, node: NodeId, name: &str, shape: Shape, token: &str) -> Party;
    /// What the nodes' clocks show, since 1970-01-01 00:00:00 UTC.
    fn unix(&self) -> Duration;
    /// Presses Stop on a played stream.
    fn stop(&mut self, viewer: &Party);
    /// Presses Stop on a published stream.
    fn unpublish(&mut self, publisher: &Party);
    /// Says something to the stream's viewers: data, or that it is mute.
    fn say(&mut self, publisher: &Party, kind: &str, payload: Option<Value>);
    /// Closes a party's page.
    fn leave(&mut self, party: &Party);
    /// Ends a party's page as a power failure does: without a word.
    fn lose(&mut self, party: &Party);
    /// Ends a node's process without warning.
    fn kill(&mut self, node: NodeId);
    /// Starts it again, with nothing remembered.
    fn restart(&mut self, node: NodeId);
    /// Has a node say goodbye to everybody, as its operator does before it ends.
    fn drain(&mut self, node: NodeId);
    /// Whether a node that was drained has ended by itself, and in good order.
    fn ended(&mut self, node: NodeId) -> bool;
    /// Lets time pass in which a node stands still: nothing of it runs, its kernel goes on.
    fn freeze(&mut self, node: NodeId, span: Duration);
    /// Resets the TCP connections between two nodes.
    fn sever(&mut self, a: NodeId, b: NodeId);
    /// Lets time pass.
    fn advance(&mut self, span: Duration);
    /// A page, open or not.
    fn page(&self, page: usize) -> &Page;
    /// A node's `?action=stat`; `None` if it does not run.
    fn statistics(&mut self, node: NodeId) -> Option<String>;
    /// Sends a whole HTTP/1.1 request to a node, and answers with what it says; `None` if it does
    /// not run.
    fn request(&mut self, node: NodeId, request: &str) -> Option<Answer>;
    /// Writes a node's two files anew and has them read: `properties` as [`World::node`] takes
    /// them, in place of those from before.
    ///
    /// # Errors
    ///
    /// Why they are refused, in the node's words.
    fn rewrite(
        &mut self,
        node: NodeId,
        properties: &str,
        edges: Edges<'_>,
        cue: Cue,
    ) -> Result<(), String>;
    /// What a node reported in all its lives, in order.
    fn events(&self, node: NodeId) -> Vec<Event>;

    /// A party's browser.
    fn browser(&self, party: &Party) -> &Browser {
        &self.page(party.page).browser
    }

    /// What a party got to know so far.
    fn seen(&self, party: &Party) -> Seen {
        Seen::of(self.browser(party), &party.id)
    }

    /// The last status that a party was told.
    fn status(&self, party: &Party) -> &str {
        self.browser(party).stream(&party.id).map_or("PENDING", |stream| stream.status())
    }

    /// Asks a node over REST to read its settings again.
    ///
    /// # Errors
    ///
    /// Why they are refused, as it says.
    fn ask_to_reload(&mut self, node: NodeId) -> Result<(), String> {
        let request = format!(
            "POST /rest-api/cdn/reload_settings HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\
             Authorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = self.request(node, &request).expect("whoever asks it has it running");
        if (answer.status, answer.body.as_str()) == (200, r#"{"settings":"NEW"}"#) {
            return Ok(());
        }
        assert_eq!(answer.status, 409, "{answer:?}");
        let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let reason = told.get("reason").and_then(Value::as_str).unwrap_or_default();
        let why = reason.strip_prefix("The old settings stay: ");
        let why = why.and_then(|why| why.strip_suffix('.'));
        Err(why.unwrap_or_else(|| panic!("no reason in {answer:?}")).to_owned())
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

/// A world in which nodes can be parted: what one of them sends to the other is lost, and neither
/// is told.
pub trait Partition: World {
    /// Has nodes that are added from now on be reached by ways that can be cut. The machine's own
    /// cannot: what is sent over loopback arrives, or is refused at once.
    fn prepare_partitions(&mut self);
    /// Lets nothing through between two nodes.
    fn partition(&mut self, a: NodeId, b: NodeId);
    /// Lets everything through between them again.
    fn heal(&mut self, a: NodeId, b: NodeId);
}

/// One number of a node's statistics.
pub fn figure(statistics: &str, key: &str) -> Option<u64> {
    let line = statistics.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line?.trim().parse().ok()
}

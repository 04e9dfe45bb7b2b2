//! What every scenario is set up with and judged by.

use std::time::Duration;

use distributary_core::Event;

use super::Account;
use crate::browser::{Shape, Track};
use crate::sim::oracle::{self, Mercy};
use crate::world::{Cue, Edges, NodeId, Partition, Party, Seen, Weather, World, figure};

/// How long a status may take, even on a bad day.
const SOON: Duration = Duration::from_secs(15);
/// Longer than every grace of the settings that scenarios have.
const LONG: Duration = Duration::from_secs(10);
/// How patient viewers are in the simulation, in `flashphoner.properties`.
pub(crate) const GRACES: &str = "link.grace=4000\npublisher.grace=3000\n";
/// The same where the machine may be busy with something else for a second or two.
const LONG_GRACES: &str = "link.grace=6000\npublisher.grace=5000\nplay.wait=4000\n";
/// Between two looks at something that will come.
const LOOK: Duration = Duration::from_millis(100);

/// A world, and everybody who was in it.
#[derive(Debug)]
pub(crate) struct Stage<W> {
    pub(crate) world: W,
    weather: Weather,
    shards: u16,
    /// How often the way to a viewer was cut off while media flowed.
    cuts: usize,
    nodes: Vec<NodeId>,
    cast: Vec<Party>,
}

impl<W: World> Stage<W> {
    pub(crate) fn new(world: W, shards: u16) -> Self {
        let weather = world.weather();
        Self { world, weather, shards, cuts: 0, nodes: Vec::new(), cast: Vec::new() }
    }

    /// Whether the network loses as much as on a bad day.
    pub(crate) fn is_rough(&self) -> bool {
        self.weather == Weather::Rough
    }

    /// Whether time takes its time.
    pub(crate) fn is_real(&self) -> bool {
        self.weather == Weather::Real
    }

    /// How many shards each node has.
    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// Adds a node with as many shards as the run has, which pushes to these edges.
    pub(crate) fn node(&mut self, name: &str, edges: &[&str]) -> NodeId {
        self.node_with(name, edges, "")
    }

    /// The same with more lines of `flashphoner.properties`.
    pub(crate) fn node_with(&mut self, name: &str, edges: &[&str], properties: &str) -> NodeId {
        let properties = self.with_graces(properties);
        let node = self.world.node(name, edges, self.shards, &properties);
        self.joins(node);
        node
    }

    /// Writes a node's settings anew and has them read: `properties` take the place of those that
    /// it was added with. An error is why they are refused.
    pub(crate) fn rewrite(
        &mut self,
        node: NodeId,
        properties: &str,
        edges: Edges<'_>,
        cue: Cue,
    ) -> Result<(), String> {
        let properties = self.with_graces(properties);
        self.world.rewrite(node, &properties, edges, cue)
    }

    fn with_graces(&self, properties: &str) -> String {
        let graces = if self.is_real() { LONG_GRACES } else { GRACES };
        format!("{graces}{properties}")
    }

    /// Counts a node in that was added otherwise.
    pub(crate) fn joins(&mut self, node: NodeId) {
        self.nodes.push(node);
    }

    /// Adds an edge and its origin, and waits until they know each other.
    pub(crate) fn pair(&mut self) -> (NodeId, NodeId) {
        self.pair_with("")
    }

    /// The same with more lines of the edge's `flashphoner.properties`.
    pub(crate) fn pair_with(&mut self, properties: &str) -> (NodeId, NodeId) {
        let edge = self.node_with("edge1", &[], properties);
        let origin = self.node("origin", &["edge1"]);
        self.pass(1_000);
        (origin, edge)
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.world.advance(Duration::from_millis(ms));
    }

    pub(crate) fn publish(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let party = self.world.publish(node, name, shape);
        self.cast.push(party.clone());
        party
    }

    /// Publishes and waits until that works.
    pub(crate) fn published(&mut self, node: NodeId, name: &str) -> Party {
        let party = self.publish(node, name, Shape::audio_video());
        self.reaches(&party, "PUBLISHING", "");
        party
    }

    /// Publishes from the machine of a publisher who was lost.
    pub(crate) fn publish_again(&mut self, lost: &Party, node: NodeId, shape: Shape) -> Party {
        let name = self.world.browser(lost).stream(&lost.id).map(|stream| stream.name.clone());
        let party = self.world.publish_again(lost, node, &name.unwrap_or_default(), shape);
        self.cast.push(party.clone());
        party
    }

    /// Counts a party in that came otherwise.
    pub(crate) fn meets(&mut self, party: &Party) {
        self.cast.push(party.clone());
    }

    pub(crate) fn play(&mut self, node: NodeId, name: &str) -> Party {
        let party = self.world.play(node, name, Shape::audio_video());
        self.cast.push(party.clone());
        party
    }

    /// Publishes with a token.
    pub(crate) fn publish_with(&mut self, node: NodeId, name: &str, token: &str) -> Party {
        let party = self.world.publish_with(node, name, Shape::audio_video(), token);
        self.cast.push(party.clone());
        party
    }

    /// Plays with a token.
    pub(crate) fn play_with(&mut self, node: NodeId, name: &str, token: &str) -> Party {
        let party = self.world.play_with(node, name, Shape::audio_video(), token);
        self.cast.push(party.clone());
        party
    }

    /// Plays and waits until that works.
    pub(crate) fn played(&mut self, node: NodeId, name: &str) -> Party {
        let party = self.play(node, name);
        self.reaches(&party, "PLAYING", "");
        party
    }

    /// Loses a party's page without a word.
    pub(crate) fn lose(&mut self, party: &Party) {
        self.cuts += 1;
        self.world.lose(party);
    }

    /// Ends a node's process.
    pub(crate) fn kill(&mut self, node: NodeId) {
        self.cuts += 1;
        self.world.kill(node);
    }

    /// Waits until a node that is drained has ended by itself: every shard has said once that it is
    /// done.
    pub(crate) fn ends(&mut self, node: NodeId) {
        for _ in 0..SOON.as_millis() / LOOK.as_millis() {
            if self.world.ended(node) {
                let events = self.world.events(node);
                let told = events.iter().filter(|event| matches!(event, Event::Drained)).count();
                assert_eq!(told, usize::from(self.shards), "n{}: {events:?}", node.0);
                return;
            }
            self.world.advance(LOOK);
        }
        panic!("n{} did not end", node.0);
    }

    /// Resets the TCP connections between two nodes.
    pub(crate) fn sever(&mut self, a: NodeId, b: NodeId) {
        self.cuts += 1;
        self.world.sever(a, b);
    }

    /// Waits for a status with its reason.
    pub(crate) fn reaches(&mut self, party: &Party, status: &str, info: &str) {
        let there = self.world.wait(SOON, |world| world.status(party) == status);
        let seen = self.world.seen(party);
        assert!(there, "p{} never got to {status}: {:?}", party.page, seen.statuses);
        assert_eq!(seen.info(), info, "p{} is {status}", party.page);
    }

    /// Waits until a number of a node's statistics is this.
    pub(crate) fn counts(&mut self, node: NodeId, key: &str, wanted: u64) {
        let mut last = None;
        for _ in 0..100 {
            last = self.world.statistics(node).and_then(|text| figure(&text, key));
            if last == Some(wanted) {
                return;
            }
            self.world.advance(LOOK);
        }
        panic!("{key} of n{} is {last:?}, not {wanted}", node.0);
    }

    /// Lets a viewer watch for a while and checks that there was something to see and hear. On a
    /// bad day, requests for the first key frame get lost.
    pub(crate) fn watches(&mut self, viewer: &Party) {
        let before = self.world.seen(viewer);
        let since = |world: &W| {
            let after = world.seen(viewer);
            (after.video - before.video, after.audio - before.audio)
        };
        let enough = |(video, audio): (usize, usize)| video > 100 && audio > 50;
        match self.weather {
            Weather::Clear => self.pass(2_000),
            Weather::Rough => self.pass(4_000),
            Weather::Real => {
                for _ in 0..LONG.as_millis() / LOOK.as_millis() {
                    if enough(since(&self.world)) {
                        break;
                    }
                    self.world.advance(LOOK);
                }
            }
        }
        let (video, audio) = since(&self.world);
        assert!(enough((video, audio)), "p{} saw {video}, heard {audio}", viewer.page);
    }

    /// What a viewer saw of these publishers, whole as far as the network let it.
    pub(crate) fn saw(&self, viewer: &Party, publishers: &[&Party]) -> Seen {
        let seen = self.world.seen(viewer);
        let numbers: Vec<u32> =
            publishers.iter().map(|party| self.world.browser(party).number()).collect();
        assert_eq!(seen.publishers, numbers, "p{}", viewer.page);
        let bound = match self.weather {
            // Where the sender is cut off, what its last packets overtook never comes.
            Weather::Clear => 2 * self.cuts,
            Weather::Real | Weather::Rough => (seen.video + seen.audio) / 10,
        };
        assert!(seen.gaps <= bound, "p{} lacks {} packets", viewer.page, seen.gaps);
        // A machine that is busy takes no packet off its sockets, and the viewer asks again.
        let bound = match self.weather {
            Weather::Clear => 0,
            Weather::Rough => bound,
            Weather::Real => usize::MAX,
        };
        assert!(seen.missing <= bound, "p{} misses {} packets", viewer.page, seen.missing);
        seen
    }

    /// Every node, in the order in which they were added.
    pub(crate) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Everybody leaves; then everything must have been in order, and nothing may be left. Answers
    /// with what pages were told before, and nodes reported until then.
    pub(crate) fn finish(&mut self) -> Account {
        let mut account = Account::default();
        for party in &self.cast {
            account.hear(party.page, self.world.page(party.page));
        }
        for party in self.cast.clone() {
            self.world.leave(&party);
        }
        self.settle();
        for node in self.nodes.clone() {
            if let Some(text) = self.world.statistics(node) {
                let left = leftovers(&text);
                assert_eq!(left, [] as [String; 0], "n{}\n{text}", node.0);
            }
        }
        for party in &self.cast {
            let mercy = Mercy::of_network(self.weather == Weather::Clear);
            let faults = oracle::judge(self.world.browser(party), &mercy);
            assert_eq!(faults, [] as [&str; 0], "p{}", party.page);
        }
        account.read(self);
        account
    }

    /// Lets all graces run out. Where time is real, no longer than until they did.
    fn settle(&mut self) {
        if !self.is_real() {
            return self.world.advance(LONG);
        }
        for _ in 0..LONG.as_millis() / LOOK.as_millis() {
            self.world.advance(LOOK);
            let nodes = self.nodes.clone();
            let mut texts = nodes.into_iter().filter_map(|node| self.world.statistics(node));
            if texts.all(|text| leftovers(&text).is_empty()) {
                return;
            }
        }
    }

    /// Packets of one publisher in a viewer's picture.
    pub(crate) fn pictures_of(&self, viewer: &Party, publisher: &Party) -> usize {
        let number = self.world.browser(publisher).number();
        let stream = self.world.browser(viewer).stream(&viewer.id);
        let packets = stream.and_then(|s| s.track(true)).map(|track: &Track| &track.packets);
        let stamps = packets.into_iter().flatten().filter_map(|packet| packet.stamp);
        stamps.filter(|stamp| stamp.publisher == number).count()
    }
}

impl<W: Partition> Stage<W> {
    /// Lets nothing through between two nodes.
    pub(crate) fn part(&mut self, a: NodeId, b: NodeId) {
        self.cuts += 1;
        self.world.partition(a, b);
    }
}

/// What a node still keeps after everybody left. Links may stay, and whoever asks is connected.
fn leftovers(statistics: &str) -> Vec<String> {
    let number = |key: &str| figure(statistics, key).expect("the statistics have it");
    let pages = number("connections") - number("connections_link");
    let kept = ["streams_webrtc_in", "streams_webrtc_out", "core_peers"];
    let kept = kept.map(|key| (key, number(key)));
    let all = kept.into_iter().chain([("connections", pages)]);
    all.filter(|(_, left)| *left > 0).map(|(key, left)| format!("{key}={left}")).collect()
}

//! What every scenario is set up with and judged by.

use std::time::Duration;

use super::oracle::{self, Mercy};
use super::{Network, Plan, Sim};
use crate::browser::{Shape, Track};
use crate::world::{NodeId, Party, Seen, World};

/// How long a status may take, even on a bad day.
const SOON: Duration = Duration::from_secs(15);
/// Longer than every grace of the settings that scenarios have.
const LONG: Duration = Duration::from_secs(10);

/// A world, and everybody who was in it.
pub(super) struct Stage {
    pub(super) sim: Sim,
    /// Whether the network loses nothing.
    pub(super) clean: bool,
    shards: u16,
    /// How often the way to a viewer was cut off while media flowed.
    cuts: usize,
    cast: Vec<Party>,
}

impl Stage {
    pub(super) fn new(seed: u64, clean: bool, shards: u16) -> Self {
        let mut sim = Sim::new(seed);
        sim.set_replay(super::replay(&format!("--seed {seed}")));
        if !clean {
            sim.network = Network::rough();
        }
        Self { sim, clean, shards, cuts: 0, cast: Vec::new() }
    }

    /// Adds a node with as many shards as the run has.
    pub(super) fn node(&mut self, plan: Plan) -> NodeId {
        let plan = plan.shards(self.shards).with("link.grace=4000").with("publisher.grace=3000");
        NodeId(self.sim.add_node(plan))
    }

    /// Adds an edge and its origin, and waits until they know each other.
    pub(super) fn pair(&mut self) -> (NodeId, NodeId) {
        let edge = self.node(Plan::new("edge1"));
        let origin = self.node(Plan::new("origin").edges(&["edge1"]));
        self.pass(1_000);
        (origin, edge)
    }

    pub(super) fn pass(&mut self, ms: u64) {
        World::advance(&mut self.sim, Duration::from_millis(ms));
    }

    pub(super) fn publish(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let party = self.sim.publish(node, name, shape);
        self.cast.push(party.clone());
        party
    }

    /// Publishes and waits until that works.
    pub(super) fn published(&mut self, node: NodeId, name: &str) -> Party {
        let party = self.publish(node, name, Shape::audio_video());
        self.reaches(&party, "PUBLISHING", "");
        party
    }

    /// Publishes from the machine of a publisher who was lost.
    pub(super) fn publish_again(&mut self, lost: &Party, node: NodeId, shape: Shape) -> Party {
        let name = self.sim.browser(lost).stream(&lost.id).map(|stream| stream.name.clone());
        let party = self.sim.publish_again(lost, node, &name.unwrap_or_default(), shape);
        self.cast.push(party.clone());
        party
    }

    pub(super) fn play(&mut self, node: NodeId, name: &str) -> Party {
        let party = self.sim.play(node, name, Shape::audio_video());
        self.cast.push(party.clone());
        party
    }

    /// Plays and waits until that works.
    pub(super) fn played(&mut self, node: NodeId, name: &str) -> Party {
        let party = self.play(node, name);
        self.reaches(&party, "PLAYING", "");
        party
    }

    /// Loses a party's page without a word.
    pub(super) fn lose(&mut self, party: &Party) {
        self.cuts += 1;
        self.sim.lose_page(party.page);
    }

    /// Ends a node's process.
    pub(super) fn kill(&mut self, node: NodeId) {
        self.cuts += 1;
        self.sim.kill(node);
    }

    /// Resets the TCP connections between two nodes.
    pub(super) fn break_tcp(&mut self, a: NodeId, b: NodeId) {
        self.cuts += 1;
        self.sim.break_tcp(a.0, b.0);
    }

    /// Waits for a status with its reason.
    pub(super) fn reaches(&mut self, party: &Party, status: &str, info: &str) {
        let there = self.sim.wait(SOON, |sim| sim.seen(party).status() == status);
        let seen = self.sim.seen(party);
        assert!(there, "p{} never got to {status}: {:?}", party.page, seen.statuses);
        assert_eq!(seen.info(), info, "p{} is {status}", party.page);
    }

    /// Waits until a number of a node's statistics is this.
    pub(super) fn counts(&mut self, node: NodeId, key: &str, wanted: u64) {
        let mut last = None;
        for _ in 0..100 {
            last = self.sim.statistic(node.0, key);
            if last == Some(wanted) {
                return;
            }
            self.pass(100);
        }
        panic!("{key} of n{} is {last:?}, not {wanted}", node.0);
    }

    /// Lets a viewer watch for a while and checks that there was something to see and hear. On a
    /// bad day, requests for the first key frame get lost.
    pub(super) fn watches(&mut self, viewer: &Party) {
        let before = self.sim.seen(viewer);
        self.pass(if self.clean { 2_000 } else { 4_000 });
        let after = self.sim.seen(viewer);
        let (video, audio) = (after.video - before.video, after.audio - before.audio);
        assert!(video > 100 && audio > 50, "p{} saw {video}, heard {audio}", viewer.page);
    }

    /// What a viewer saw of these publishers, whole as far as the network let it.
    pub(super) fn saw(&self, viewer: &Party, publishers: &[&Party]) -> Seen {
        let seen = self.sim.seen(viewer);
        let numbers: Vec<u32> =
            publishers.iter().map(|party| self.sim.browser(party).number()).collect();
        assert_eq!(seen.publishers, numbers, "p{}", viewer.page);
        // Where the sender is cut off, what its last packets overtook never comes.
        let bound = if self.clean { 2 * self.cuts } else { (seen.video + seen.audio) / 10 };
        assert!(seen.gaps <= bound, "p{} lacks {} packets", viewer.page, seen.gaps);
        seen
    }

    /// Everybody leaves; then everything must have been in order, and nothing may be left.
    pub(super) fn finish(&mut self) {
        for party in self.cast.clone() {
            self.sim.leave(&party);
        }
        World::advance(&mut self.sim, LONG);
        for node in 0..self.sim.nodes.len() {
            if self.sim.is_up(node) {
                self.is_empty(NodeId(node));
            }
        }
        for party in &self.cast {
            let faults = oracle::judge(self.sim.browser(party), &Mercy::of_network(self.clean));
            assert_eq!(faults, [] as [&str; 0], "p{}", party.page);
        }
    }

    fn is_empty(&mut self, node: NodeId) {
        let text = self.sim.get(node.0, "/?action=stat").expect("a running node answers");
        let number = |key: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.and_then(|value| value.parse().ok()).expect("the statistics have it")
        };
        assert_eq!(number("connections"), number("connections_link"), "n{}\n{text}", node.0);
        for key in ["streams_webrtc_in", "streams_webrtc_out", "core_peers"] {
            assert_eq!(number(key), 0, "n{} {key}\n{text}", node.0);
        }
    }

    /// Packets of one publisher in a viewer's picture.
    pub(super) fn pictures_of(&self, viewer: &Party, publisher: &Party) -> usize {
        let number = self.sim.browser(publisher).number();
        let stream = self.sim.browser(viewer).stream(&viewer.id);
        let packets = stream.and_then(|s| s.track(true)).map(|track: &Track| &track.packets);
        let stamps = packets.into_iter().flatten().filter_map(|packet| packet.stamp);
        stamps.filter(|stamp| stamp.publisher == number).count()
    }
}

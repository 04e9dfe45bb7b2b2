//! A CDN in a storm: for a while anything may happen to it, then everything is mended, and then
//! everybody must see exactly what they should.
//!
//! A run has five acts. *Opening*: everybody opens a page. *Storm*: faults, of kinds and at times
//! that the seed chooses, while people go on publishing, playing and trying again; whatever a page
//! is told or shown must have a reason. *Mending*: all faults end, and within a bound the pages
//! must be in the state that a plain model of the CDN names. *Calm*: people act one at a time, and
//! the model says what each of them, and nobody else, is told of it. *Leaving*: everybody goes,
//! and nothing may be left of them.

mod calm;
mod cast;
mod deeds;
mod fault;
mod model;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use self::cast::Actor;
use self::deeds::{Deeds, Whom};
use self::fault::{Fault, Relief};
use self::watch::Watch;
use super::crypto::Srtp;
use super::random::Random;
use super::{Network, Plan, Sim, oracle};
use crate::browser::{Codec, Shape};

/// How large a storm is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    /// Nodes of the CDN.
    pub nodes: usize,
    /// Those who publish from the start.
    pub publishers: usize,
    /// Those who play from the start.
    pub viewers: usize,
}

/// Three nodes, three publishers, twelve viewers.
pub const HEAVY: Profile = Profile { name: "heavy", nodes: 3, publishers: 3, viewers: 12 };

/// Six nodes, five publishers, forty viewers.
pub const WIDE: Profile = Profile { name: "wide", nodes: 6, publishers: 5, viewers: 40 };

/// Two nodes, one publisher, three viewers: for whoever searches by the thousands.
const SMALL: Profile = Profile { name: "small", nodes: 2, publishers: 1, viewers: 3 };

/// What a run came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Hash of everything that happened.
    pub hash: u64,
    /// Events that made it up.
    pub steps: u64,
    /// Simulated time that it took.
    pub elapsed: Duration,
}

/// Lasts from the opening to the mending.
const STORM_ENDS: Duration = Duration::from_secs(9);
/// How long everything may take to be in order again: a dial that ran into the last fault is given
/// up after 5 s, and waits for 1 s before it is made again.
const MENDING_MAX: Duration = Duration::from_secs(9);
/// The same where power may have failed: a node that went dark at last is missed after 3 s, and its
/// streams' names are kept for a grace of 5 s. Who wants one asks again after 1 s, who plays it
/// after another, and a first key frame that came without its start is asked for again after a
/// third.
const DARK_MENDING_MAX: Duration = Duration::from_secs(11);
/// A stream that is pushed over a new link is there.
const SETTLING: Duration = Duration::from_secs(1);
/// Steps of a storm that bytes describe.
const SCRIPT_STEPS_MAX: usize = 24;
/// How long the grace of a publisher, and then what it leaves behind, takes to be over.
const LEAVING: Duration = Duration::from_secs(3);
/// Time between two looks at everything.
const GLANCE: Duration = Duration::from_millis(50);

/// Some have a key; rivals publish on edges all the same.
const KEY: &str = "cdn_auth_key=0123456789abcdef0123456789abcdef\ncdn_role_strict=false";
/// By how much calendars may be wrong where links go by them: a minute is accepted, and what clocks
/// jump in a storm comes on top.
const CLOCKS_APART: Duration = Duration::from_secs(30);

/// Whether the nodes of a seed's storm share a key.
const fn has_keys(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// A run.
struct Storm {
    sim: Sim,
    plan: Profile,
    random: Random,
    /// Which nodes each node pushes to.
    edges: Vec<Vec<usize>>,
    actors: Vec<Actor>,
    rivals: Vec<usize>,
    faults: Vec<Fault>,
    reliefs: Vec<(Duration, Relief)>,
    deeds: Deeds,
    /// How much longer than usual packets may be under way, as hosts stood still.
    stale: Duration,
    watch: Watch,
}

/// Runs a seed through, on stdout too if `show` is set.
///
/// # Panics
///
/// Where something is wrong.
pub fn run(seed: u64, plan: Profile, srtp: Srtp, show: bool) -> Outcome {
    let mut storm = Storm::open(seed, plan, srtp);
    if show {
        storm.sim.show();
    }
    storm.rage();
    storm.mend();
    storm.calm();
    storm.leave();
    let sim = &storm.sim;
    Outcome { hash: sim.trace().hash(), steps: sim.steps(), elapsed: sim.elapsed() }
}

/// Plays a storm of two nodes that bytes describe: three for each step, which are what happens, how
/// long after the step before, and to whom. On stdout too if `show` is set.
///
/// # Panics
///
/// Where something is wrong.
pub fn play(bytes: &[u8], show: bool) {
    let (head, steps) = bytes.split_at(bytes.len().min(1));
    let seed = head.first().copied().map_or(0, u64::from);
    let mut storm = Storm::open(seed, SMALL, Srtp::Null);
    let run = "--script fuzz/found/world/FILE";
    storm.sim.set_replay(super::replay(run));
    if show {
        storm.sim.show();
    }
    storm.pass(Duration::from_millis(800));
    for step in steps.chunks_exact(3).take(SCRIPT_STEPS_MAX) {
        let [what, after, whom] = step else { continue };
        storm.pass(Duration::from_millis(u64::from(*after) * 8));
        storm.random = Random::new(u64::from(*whom));
        storm.faults.push(Fault::nth(*what));
        storm.strike(Fault::nth(*what));
        storm.relieve(false);
    }
    storm.mend();
    storm.calm();
    storm.leave();
}

impl Storm {
    fn open(seed: u64, plan: Profile, srtp: Srtp) -> Self {
        let mut random = Random::new(seed);
        let mut sim = Sim::new(seed);
        let run = format!("--seed {seed} --faults {} --srtp {srtp}", plan.name);
        sim.set_replay(super::replay(&run));
        sim.set_srtp(srtp);
        let edges = topology(plan.nodes, &mut random);
        for (node, edges) in edges.iter().enumerate() {
            let edges: Vec<String> = edges.iter().map(|edge| format!("n{edge}")).collect();
            let edges: Vec<&str> = edges.iter().map(String::as_str).collect();
            let shards = 1 + u16::try_from(random.below(4)).unwrap_or_default();
            let plan = Plan { srtp, ..Plan::new(&format!("n{node}")) };
            let plan = if has_keys(seed) { plan.with(KEY) } else { plan };
            sim.add_node(
                plan.shards(shards)
                    .edges(&edges)
                    .with("publisher.grace=1500")
                    .with("link.grace=5000")
                    .with("play.wait=500"),
            );
        }
        let faults = Fault::choose(&mut random);
        let mut storm = Self {
            sim,
            plan,
            random,
            edges,
            actors: Vec::new(),
            rivals: Vec::new(),
            faults,
            reliefs: Vec::new(),
            deeds: Deeds::default(),
            stale: Duration::ZERO,
            watch: Watch::default(),
        };
        storm.sim.note(format_args!("pushes: {:?}; faults: {:?}", storm.edges, storm.faults));
        storm.cast();
        storm
    }

    /// Everybody who takes part, each with a wish.
    fn cast(&mut self) {
        let origins: Vec<usize> = (0..self.plan.nodes)
            .filter(|node| self.edges.get(*node).is_some_and(|e| !e.is_empty()))
            .collect();
        for nth in 0..self.plan.publishers {
            let node = self.pick(&origins).unwrap_or_default();
            let shapes = [Shape::audio_video(), Shape::video_audio(), Shape::video()];
            let shape = self.pick(&shapes).unwrap_or_else(Shape::audio_video);
            let codec = self.pick(&[Codec::Vp8, Codec::H264]).unwrap_or(Codec::Vp8);
            let shape = if self.random.chance(300) { shape.in_firefox() } else { shape };
            let actor = Actor::new(nth, node, &format!("s{nth}"), true).sending(shape, codec);
            self.actors.push(actor);
        }
        for nth in 0..self.plan.viewers {
            let index = self.plan.publishers + nth;
            let node = self.below(self.plan.nodes);
            let name = format!("s{}", self.below(self.plan.publishers));
            let mut actor = Actor::new(index, node, &name, false);
            let shapes = [Shape::audio_video(), Shape::video_audio()];
            let shape = self.pick(&shapes).unwrap_or_else(Shape::audio_video);
            actor.shape = if self.random.chance(300) { shape.in_firefox() } else { shape };
            actor.away_until = self.random.span(Duration::from_secs(3));
            self.actors.push(actor);
        }
    }

    /// The storm.
    fn rage(&mut self) {
        self.pass(Duration::from_millis(800));
        let pace = Duration::from_millis(50 + self.below(500) as u64);
        let mut next = self.sim.elapsed();
        while self.sim.elapsed() < STORM_ENDS {
            if self.sim.elapsed() >= next {
                let faults = self.faults.clone();
                if let Some(fault) = self.pick(&faults) {
                    self.strike(fault);
                }
                next = self.sim.elapsed() + self.random.span(2 * pace);
            }
            self.pass(GLANCE);
            self.relieve(false);
        }
    }

    /// Lets time pass while people do what they do, and looks at what they see.
    fn pass(&mut self, span: Duration) {
        let end = self.sim.elapsed() + span;
        while self.sim.elapsed() < end {
            for actor in &mut self.actors {
                actor.tend(&mut self.sim);
            }
            let step = GLANCE.min(end - self.sim.elapsed());
            self.sim.advance(step);
            self.glance();
        }
    }

    /// Everything is in order again; whoever suffered may need another attempt.
    fn mend(&mut self) {
        self.relieve(true);
        self.sim.heal_cuts();
        self.sim.network = Network::default();
        self.sim.binds_refused = 0;
        self.sim.letters_lost_per_mille = 0;
        self.sim.note(format_args!("all is mended"));
        for rival in std::mem::take(&mut self.rivals) {
            self.blame_actor(rival);
            if let Some(actor) = self.actors.get_mut(rival) {
                actor.stop(&mut self.sim);
                actor.leave(&mut self.sim);
            }
        }
        for actor in &mut self.actors {
            actor.away_until = Duration::ZERO;
        }
        let went_dark = self.faults.contains(&Fault::PowerFailure);
        let within = if went_dark { DARK_MENDING_MAX } else { MENDING_MAX };
        let end = self.sim.elapsed() + within;
        loop {
            self.pass(4 * GLANCE);
            self.try_again();
            let Err(lack) = self.in_order().and_then(|()| self.links_are_up()) else { break };
            assert!(self.sim.elapsed() < end, "{within:?} after all was mended: {lack}");
        }
        // A link that came up last brings what it pushes, of which nobody may have known yet.
        self.pass(SETTLING);
    }

    /// Every link, for a stream that nobody plays there has to be there, too.
    fn links_are_up(&mut self) -> Result<(), String> {
        for node in 0..self.plan.nodes {
            let links = self.edges.iter().filter(|edges| edges.contains(&node)).count();
            let text = self.sim.get(node, "/?action=stat").unwrap_or_default();
            if !text.lines().any(|line| line == format!("connections_link={links}")) {
                return Err(format!("n{node} lacks links"));
            }
        }
        Ok(())
    }

    fn blame_actor(&mut self, actor: usize) {
        self.deeds.add(self.sim.elapsed(), Whom::Actor(actor));
    }

    /// Whoever sees nothing although their page says otherwise loads it again, if anything was
    /// done to what they see.
    fn try_again(&mut self) {
        let now = self.sim.elapsed();
        for index in 0..self.actors.len() {
            let Some(actor) = self.actors.get(index) else { continue };
            let rested = now >= actor.since + Duration::from_secs(2);
            if actor.wants && rested && self.is_excused(index) {
                let known = !self.deeds.touched(actor.since, &[Whom::Memory(actor.node)]);
                let seen = self.watch.newest(actor).is_some_and(|at| at + 20 * GLANCE >= now);
                let dark = !actor.publishing && actor.is_running(&self.sim) && !seen;
                let alive = known && !dark;
                if let (false, Some(actor)) = (alive, self.actors.get_mut(index)) {
                    actor.open(&mut self.sim);
                }
            }
        }
    }

    /// Everybody goes; then nothing may be left of anybody.
    fn leave(&mut self) {
        for index in 0..self.actors.len() {
            self.blame_actor(index);
            if let Some(actor) = self.actors.get_mut(index) {
                actor.wants = false;
                actor.leave(&mut self.sim);
            }
        }
        self.sim.advance(LEAVING);
        for node in 0..self.plan.nodes {
            self.is_empty(node);
        }
        for actor in &self.actors {
            for party in &actor.parties {
                let browser = &self.sim.page(party.page).browser;
                let faults = oracle::judge(browser, &oracle::Mercy::of_a_storm(self.stale));
                assert_eq!(faults, [] as [&str; 0], "p{}", party.page);
            }
        }
    }

    /// A node's tables hold nobody, and its links are those that it should have.
    fn is_empty(&mut self, node: usize) {
        let text = self.sim.get(node, "/?action=stat").expect("a running node answers");
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let numbers: BTreeMap<&str, u64> =
            pairs.filter_map(|(key, value)| Some((key, value.parse().ok()?))).collect();
        let number = |key: &str| numbers.get(key).copied().expect("the statistics have it");
        let links = self.edges.iter().filter(|edges| edges.contains(&node)).count() as u64;
        assert_eq!(number("connections"), links, "n{node} has others than links\n{text}");
        assert_eq!(number("connections_link"), links, "n{node} lacks links\n{text}");
        for key in ["streams_webrtc_in", "streams_webrtc_out", "streams_relayed", "core_peers"] {
            assert_eq!(number(key), 0, "n{node} {key}\n{text}");
        }
        for (shard, tables) in self.sim.tables(node).into_iter().enumerate() {
            let left = (tables.peers, tables.streams);
            assert_eq!(left, (0, 0), "n{node}.{shard} has peers and streams left");
        }
    }

    /// Every pair of nodes of which one pushes to the other.
    fn links(&self) -> Vec<(usize, usize)> {
        let pairs = self.edges.iter().enumerate();
        pairs.flat_map(|(from, edges)| edges.iter().map(move |to| (from, *to))).collect()
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = self.random.below(of.len());
        of.get(at).cloned()
    }
}

/// Who pushes to whom: one origin, two of them, or each to each.
fn topology(nodes: usize, random: &mut Random) -> Vec<Vec<usize>> {
    let all = || 0..nodes;
    match random.below(4) {
        0 => all().map(|node| all().filter(|other| *other != node).collect()).collect(),
        1 => all().map(|node| if node < 2 { (2..nodes).collect() } else { Vec::new() }).collect(),
        _ => all().map(|node| if node < 1 { (1..nodes).collect() } else { Vec::new() }).collect(),
    }
}

//! What is played through in the simulation, each on a good and on a bad network and with one and
//! with four shards. A seed decides which, where and with what chance.
//!
//! Here are the courses that loopback cannot take: there, names are looked up by the machine,
//! bounds are built into the servers, and sockets are the kernel's to refuse. All others are in
//! [`crate::scenario`].

use std::time::Duration;

use distributary_core::{Event, Limits};

use super::random::Random;
use super::{Network, Plan, Sim, access};
use crate::browser::Shape;
use crate::scenario::{Course, GRACES, Stage, shared};
use crate::world::{Cue, Edges, NodeId, Partition, Party, World};

/// Every scenario in the order that seeds count in: new ones go to the end.
const SCENARIOS: [&str; 39] = [
    "one_node",
    "two_edges",
    "late_viewer",
    "viewer_first",
    "publisher_returns",
    "publisher_stays_away",
    "two_of_one_name",
    "codec_changes",
    "edge_comes_late",
    "edge_restarts",
    "link_breaks",
    "edge_stands_still",
    "unpublish_crosses_answer",
    "mute",
    "mute_before_edge",
    "data",
    "slow_names",
    "drain",
    "session_limit",
    "origin_restarts",
    "origin_stays_away",
    "nodes_push_to_each_other",
    "no_socket_at_first",
    "anything",
    "patient_drain",
    "full_edge",
    "out_of_service",
    "links_with_keys",
    "wrong_keys",
    "key_comes",
    "tokens",
    "tokens_end",
    "backend",
    "backend_hangs",
    "edges_change",
    "link_parted",
    "drain_runs_out",
    "publisher_starts_again",
    "origin_stands_still",
];

/// Name and course of those that only a simulation can play.
const SIMULATED: [(&str, Course<Sim>); 9] = [
    ("slow_names", slow_names),
    ("session_limit", session_limit),
    ("no_socket_at_first", no_socket_at_first),
    ("anything", anything),
    ("wrong_keys", wrong_keys),
    ("key_comes", key_comes),
    ("tokens", access::tokens),
    ("backend", access::backend),
    ("backend_hangs", access::backend_hangs),
];

/// The names of all scenarios.
pub fn names() -> Vec<&'static str> {
    SCENARIOS.to_vec()
}

/// Seeds that run the scenario under every circumstance once; `nth` gives others each time.
pub fn seeds(name: &str, nth: u64) -> Vec<u64> {
    let count = SCENARIOS.len() as u64;
    let index = SCENARIOS.iter().position(|other| *other == name);
    let index = index.expect("the scenario has a name") as u64;
    (0..4).map(|way| index + count * (way + 4 * nth)).collect()
}

/// Which scenario a seed runs, and under what circumstances.
pub fn title(seed: u64) -> String {
    let (name, clear, shards) = decode(seed);
    format!("{name}, {} network, {shards} shards", if clear { "good" } else { "bad" })
}

/// Plays the seed's scenario through, on stdout too if `show` is set, and panics where something
/// is wrong. Answers with the hash of the trace, the number of steps,
/// and the time that it took in the simulation.
pub fn run(seed: u64, show: bool) -> (u64, u64, Duration) {
    let (name, clear, shards) = decode(seed);
    let mut courses = shared::<Sim>().into_iter().chain(SIMULATED);
    let (_, course) = courses.find(|(other, _)| *other == name).expect("it has a course");
    let mut sim = Sim::new(seed);
    sim.set_replay(super::replay(&format!("--seed {seed}")));
    if !clear {
        sim.network = Network::rough();
    }
    if show {
        sim.show();
    }
    let mut stage = Stage::new(sim, shards);
    course(&mut stage);
    stage.finish();
    (stage.world.trace().hash(), stage.world.steps(), stage.world.elapsed())
}

fn decode(seed: u64) -> (&'static str, bool, u16) {
    let count = SCENARIOS.len() as u64;
    let index = usize::try_from(seed % count).expect("there are few scenarios");
    let name = SCENARIOS.get(index).copied().expect("it is below their number");
    let way = seed / count % 4;
    (name, way.is_multiple_of(2), if way < 2 { 1 } else { 4 })
}

fn slow_names(stage: &mut Stage<Sim>) {
    let edge = stage.node("edge1", &[]);
    let ghost = stage.node("ghost", &[]);
    stage.kill(ghost);
    stage.world.set_nameless("nowhere", true);
    stage.world.lookup_delay = Duration::from_secs(2);
    let edges = ["ghost", "nowhere", "edge1"];
    let origin = stage.node("origin", &edges);
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    let events = stage.world.events(origin);
    let downs = events.iter().filter(|event| matches!(event, Event::LinkDown { .. })).count();
    assert_eq!(downs, 2, "each edge that is away is one line of the log");
}

fn session_limit(stage: &mut Stage<Sim>) {
    let limits = Limits { session_streams_max: 2, ..Limits::default() };
    let plan = Plan { limits, ..Plan::new("alone") }.shards(stage.shards()).with(GRACES);
    let node = NodeId(stage.world.add_node(plan));
    stage.joins(node);
    let publisher = stage.published(node, "one");
    let page = publisher.page;
    let open =
        |stage: &mut Stage<Sim>, name: &str| stage.world.play_on(page, name, Shape::audio_video());
    let second = open(stage, "one");
    stage.reaches(&second, "PLAYING", "");
    let third = open(stage, "one");
    stage.reaches(&third, "FAILED", "Too many streams");
    stage.world.stop(&second);
    stage.reaches(&second, "STOPPED", "Stopped by user");
    let fourth = open(stage, "one");
    stage.reaches(&fourth, "PLAYING", "");
    stage.watches(&fourth);
    stage.saw(&fourth, &[&publisher]);
}

fn no_socket_at_first(stage: &mut Stage<Sim>) {
    let (origin, edge) = stage.pair();
    stage.world.binds_refused = 3;
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    assert_eq!(stage.world.binds_refused, 0, "it was tried until it worked");
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

/// Nobody knows what happens next; only the oracle and the tables at the end are asked.
fn anything(stage: &mut Stage<Sim>) {
    let edges = ["edge1", "edge2"].map(|name| stage.node(name, &[]));
    let origin = stage.node("origin", &["edge1", "edge2"]);
    let [one, two] = edges;
    let mut random = Random::new(stage.world.seed());
    let mut parties: Vec<Party> = Vec::new();
    let pick = |random: &mut Random, of: &[NodeId]| of.get(random.below(of.len())).copied();
    for _ in 0..60 {
        let name = ["a", "b", "c"].get(random.below(3)).copied().unwrap_or("a");
        let edge = pick(&mut random, &edges).unwrap_or(one);
        let node = pick(&mut random, &[origin, one, two]).unwrap_or(origin);
        let somebody = parties.get(random.below(parties.len())).cloned();
        match (random.below(12), somebody) {
            (0 | 1, _) => parties.push(stage.publish(origin, name, Shape::audio_video())),
            (2..=4, _) => parties.push(stage.play(node, name)),
            (5, Some(party)) => stage.world.stop(&party),
            (6, Some(party)) => stage.world.leave(&party),
            (7, Some(party)) => stage.lose(&party),
            (8, Some(party)) => {
                parties.push(stage.publish_again(&party, origin, Shape::audio_video()))
            }
            (9, _) => stage.sever(origin, edge),
            (10, _) if stage.world.is_up(edge.0) => stage.kill(edge),
            (10, _) => stage.world.restart(edge),
            (11, _) => {
                stage.world.partition(origin, edge);
                stage.pass(random.below(6_000) as u64);
                stage.world.heal(origin, edge);
            }
            _ => {}
        }
        stage.pass(random.below(1_500) as u64);
    }
    for edge in edges {
        if !stage.world.is_up(edge.0) {
            stage.world.restart(edge);
        }
    }
    stage.pass(15_000);
}

fn key_comes(stage: &mut Stage<Sim>) {
    let (origin, edge) = stage.pair();
    stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    let line = "cdn_auth_key=0123456789abcdef0123456789abcdef\n";
    for (node, edges) in [(origin, &["edge1"][..]), (edge, &[])] {
        let read = stage.rewrite(node, line, Edges::Listed(edges), Cue::Hangup);
        assert_eq!(read, Ok(()));
        stage.pass(3_000);
        stage.watches(&viewer);
    }
    stage.counts(edge, "connections_link", 1);
    assert_eq!(stage.world.status(&viewer), "PLAYING");
    let ended = |event: &Event| matches!(event, Event::StreamEnded { .. });
    assert!(!stage.world.events(edge).iter().any(ended), "it is the same stream");
    stage.published(origin, "cd34");
    stage.counts(edge, "streams_webrtc_in", 2);
    let stranger = stage.publish(edge, "mine", Shape::audio_video());
    stage.reaches(&stranger, "FAILED", "Only origins may publish on this edge");
}

fn wrong_keys(stage: &mut Stage<Sim>) {
    let [one, two] = ["0123456789abcdef", "fedcba9876543210"].map(|half| half.repeat(2));
    let line = |keys: &str| format!("cdn_auth_key={keys}\n");
    let edge = stage.node_with("edge1", &[], &line(&one));
    let origin = stage.node_with("origin", &["edge1"], &line(&two));
    let publisher = stage.published(origin, "ab12");
    stage.pass(3_000);
    let needed = "signed with another key: cdn_auth_key must be the same on both nodes";
    assert!(is_down(stage, origin, needed), "{:?}", stage.world.events(origin));
    assert!(is_refused(stage, edge, needed), "{:?}", stage.world.events(edge));
    let early = stage.play(edge, "ab12");
    stage.reaches(&early, "FAILED", "Stream not found");
    let rewrite = |stage: &mut Stage<Sim>, node: NodeId, keys: &str| {
        let edges: &[&str] = if node == origin { &["edge1"] } else { &[] };
        let read = stage.rewrite(node, &line(keys), Edges::Listed(edges), Cue::Hangup);
        assert_eq!(read, Ok(()));
    };
    rewrite(stage, origin, &one);
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    for (node, keys) in [
        (edge, format!("{one},{two}")),
        (origin, format!("{two},{one}")),
        (edge, two.clone()),
        (origin, two.clone()),
    ] {
        rewrite(stage, node, &keys);
        stage.watches(&viewer);
        stage.sever(origin, edge);
        stage.pass(2_000);
        stage.watches(&viewer);
    }
    stage.saw(&viewer, &[&publisher]);
    assert_eq!(stage.world.status(&viewer), "PLAYING");
    clock_is_wrong(stage, origin, edge);
}

/// A host that believes in another time cannot push from it, and hears why, until that is mended.
fn clock_is_wrong(stage: &mut Stage<Sim>, origin: NodeId, edge: NodeId) {
    stage.kill(origin);
    stage.world.set_calendar(origin.0, Duration::from_secs(100));
    stage.world.restart(origin);
    stage.pass(5_000);
    let needed = " s ahead of this node's, and 60 s are accepted";
    assert!(is_down(stage, origin, needed), "{:?}", stage.world.events(origin));
    assert!(is_refused(stage, edge, needed), "{:?}", stage.world.events(edge));
    stage.kill(origin);
    stage.world.set_calendar(origin.0, Duration::from_secs(55));
    stage.world.restart(origin);
    let publisher = stage.published(origin, "other");
    // What came before the clock was wrong is over with its publisher, who stays away.
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "other");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

fn is_down(stage: &Stage<Sim>, node: NodeId, needed: &str) -> bool {
    let down = |event: &Event| matches!(event, Event::LinkDown { why, .. } if why.contains(needed));
    stage.world.events(node).iter().any(down)
}

fn is_refused(stage: &Stage<Sim>, node: NodeId, needed: &str) -> bool {
    let refused =
        |event: &Event| matches!(event, Event::Refused { why, .. } if why.contains(needed));
    stage.world.events(node).iter().any(refused)
}

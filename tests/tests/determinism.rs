//! One seed, one run: whatever happens in a simulation, it happens again.

use std::time::Duration;

use distributary_tests::browser::Shape;
use distributary_tests::sim::crypto::Srtp;
use distributary_tests::sim::storm::{self, HEAVY};
use distributary_tests::sim::{Network, Plan, Sim, scenario};
use distributary_tests::world::{NodeId, World};

/// An origin, an edge, a publisher and a viewer on a bad network; the edge dies on the way.
fn run(seed: u64) -> (u64, Vec<String>) {
    let mut sim = Sim::new(seed);
    sim.trace_datagrams();
    sim.network = Network::rough();
    let edge = NodeId(sim.add_node(Plan::new("edge.example").shards(2)));
    let origin = NodeId(sim.add_node(Plan::new("origin.example").edges(&["edge.example"])));
    let publisher = sim.publish(origin, "ab12", Shape::audio_video());
    World::advance(&mut sim, Duration::from_secs(2));
    let viewer = sim.play(edge, "ab12", Shape::video_audio());
    World::advance(&mut sim, Duration::from_secs(2));
    sim.kill(edge);
    World::advance(&mut sim, Duration::from_millis(700));
    sim.restart(edge);
    World::advance(&mut sim, Duration::from_secs(2));
    sim.unpublish(&publisher);
    sim.leave(&viewer);
    World::advance(&mut sim, Duration::from_secs(1));
    (sim.trace().hash(), sim.trace().lines().map(str::to_owned).collect())
}

#[test]
fn one_seed_makes_one_run() {
    for seed in [1, 2] {
        let (first, lines) = run(seed);
        let (second, again) = run(seed);
        let parted = lines.iter().zip(&again).position(|(a, b)| a != b);
        let parted = parted.map(|at| (&lines[at], &again[at]));
        assert_eq!(parted, None, "seed {seed} took two ways");
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn a_scenario_leaves_the_same_trace_each_time() {
    for name in ["publisher_returns", "link_breaks", "anything"] {
        // The last two have four shards, on a good network and on a bad one.
        for seed in scenario::seeds(name, 1).split_off(2) {
            let (first, second) = (scenario::run(seed, false), scenario::run(seed, false));
            assert_eq!(first, second, "seed {seed}: {}", scenario::title(seed));
        }
    }
}

#[test]
fn a_storm_leaves_the_same_trace_each_time_whatever_protects_its_media() {
    for seed in [1, 2] {
        let first = storm::run(seed, HEAVY, Srtp::Null, false);
        for srtp in [Srtp::Null, Srtp::Real] {
            assert_eq!(first, storm::run(seed, HEAVY, srtp, false), "seed {seed}, {srtp}");
        }
    }
}

#[test]
fn another_seed_makes_another_run() {
    assert_ne!(run(1).0, run(2).0);
}

//! What is played through in the simulation, each on a good and on a bad network and with one and
//! with four shards. A seed decides which, where and with what chance.

use std::time::Duration;

use serde_json::json;

use super::random::Random;
use super::stage::Stage;
use super::{Plan, Sim};
use crate::browser::{Codec, Shape};
use crate::world::{NodeId, Partition, Party, World};
use distributary_core::{Command, Event, Limits};

/// What happens in a scenario.
type Course = fn(&mut Stage);

/// Name and course of every scenario.
const SCENARIOS: [(&str, Course); 23] = [
    ("one_node", one_node),
    ("two_edges", two_edges),
    ("late_viewer", late_viewer),
    ("viewer_first", viewer_first),
    ("publisher_returns", publisher_returns),
    ("publisher_stays_away", publisher_stays_away),
    ("two_of_one_name", two_of_one_name),
    ("codec_changes", codec_changes),
    ("edge_comes_late", edge_comes_late),
    ("edge_restarts", edge_restarts),
    ("link_breaks", link_breaks),
    ("unpublish_crosses_answer", unpublish_crosses_answer),
    ("mute", mute),
    ("mute_before_edge", mute_before_edge),
    ("data", data),
    ("slow_names", slow_names),
    ("drain", drain),
    ("session_limit", session_limit),
    ("origin_restarts", origin_restarts),
    ("origin_stays_away", origin_stays_away),
    ("nodes_push_to_each_other", nodes_push_to_each_other),
    ("no_socket_at_first", no_socket_at_first),
    ("anything", anything),
];

/// The names of all scenarios.
pub fn names() -> Vec<&'static str> {
    SCENARIOS.iter().map(|(name, _)| *name).collect()
}

/// Seeds that run the scenario under every circumstance once; `nth` gives others each time.
pub fn seeds(name: &str, nth: u64) -> Vec<u64> {
    let count = SCENARIOS.len() as u64;
    let index = SCENARIOS.iter().position(|(other, _)| *other == name);
    let index = index.expect("the scenario has a name") as u64;
    (0..4).map(|way| index + count * (way + 4 * nth)).collect()
}

/// Which scenario a seed runs, and under what circumstances.
pub fn title(seed: u64) -> String {
    let (name, _, clean, shards) = decode(seed);
    format!("{name}, {} network, {shards} shards", if clean { "good" } else { "bad" })
}

/// Plays the seed's scenario through, on stdout too if `show` is set, and panics where something
/// is wrong. Answers with the hash of the trace, the number of steps,
/// and the time that it took in the simulation.
pub fn run(seed: u64, show: bool) -> (u64, u64, Duration) {
    let (_, course, clean, shards) = decode(seed);
    let mut stage = Stage::new(seed, clean, shards);
    if show {
        stage.sim.show();
    }
    course(&mut stage);
    stage.finish();
    (stage.sim.trace().hash(), stage.sim.steps(), stage.sim.elapsed())
}

fn decode(seed: u64) -> (&'static str, Course, bool, u16) {
    let count = SCENARIOS.len() as u64;
    let index = usize::try_from(seed % count).expect("there are few scenarios");
    let (name, course) = SCENARIOS.get(index).copied().expect("it is below their number");
    let way = seed / count % 4;
    (name, course, way.is_multiple_of(2), if way < 2 { 1 } else { 4 })
}

fn one_node(stage: &mut Stage) {
    let node = stage.node(Plan::new("alone"));
    let publisher = stage.published(node, "ab12");
    let viewer = stage.played(node, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    stage.sim.unpublish(&publisher);
    stage.reaches(&publisher, "UNPUBLISHED", "Stopped by user");
    stage.reaches(&viewer, "FAILED", "Stopped by publisher stop");
}

fn two_edges(stage: &mut Stage) {
    let edges = ["edge1", "edge2"].map(|name| stage.node(Plan::new(name)));
    let origin = stage.node(Plan::new("origin").edges(&["edge1", "edge2"]));
    let one = stage.published(origin, "one");
    let two = stage.published(origin, "two");
    for edge in edges {
        stage.counts(edge, "streams_webrtc_in", 2);
        for (name, publisher) in [("one", &one), ("two", &two)] {
            let viewer = stage.played(edge, name);
            stage.watches(&viewer);
            stage.saw(&viewer, &[publisher]);
        }
    }
}

fn late_viewer(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.pass(20_000);
    for node in [origin, edge] {
        let viewer = stage.played(node, "ab12");
        stage.watches(&viewer);
        stage.saw(&viewer, &[&publisher]);
    }
}

fn viewer_first(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let here = stage.play(origin, "ab12");
    let there = stage.play(edge, "ab12");
    stage.pass(if stage.clean { 300 } else { 0 });
    let publisher = stage.published(origin, "ab12");
    for viewer in [&here, &there] {
        stage.pass(2_000);
        // On a bad day the stream may come after `play.wait`.
        if stage.clean || stage.sim.seen(viewer).status() == "PLAYING" {
            stage.reaches(viewer, "PLAYING", "");
            stage.watches(viewer);
            stage.saw(viewer, &[&publisher]);
        }
    }
    let nobody = stage.play(edge, "nobody");
    stage.reaches(&nobody, "FAILED", "Stream not found");
}

fn publisher_returns(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let first = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewers = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    stage.pass(2_000);
    stage.lose(&first);
    stage.pass(1_000);
    let second = stage.publish_again(&first, origin, Shape::audio_video());
    stage.reaches(&second, "PUBLISHING", "");
    for viewer in &viewers {
        stage.watches(viewer);
        stage.saw(viewer, &[&first, &second]);
        assert!(stage.pictures_of(viewer, &second) > 100);
        assert_eq!(stage.sim.seen(viewer).status(), "PLAYING");
    }
}

fn publisher_stays_away(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewers = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    stage.lose(&publisher);
    stage.pass(2_000);
    for viewer in &viewers {
        assert_eq!(stage.sim.seen(viewer).status(), "PLAYING", "within the grace");
    }
    for viewer in &viewers {
        stage.reaches(viewer, "FAILED", "Stopped by publisher stop");
    }
    stage.published(origin, "ab12");
}

fn two_of_one_name(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let first = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    for node in [origin, edge] {
        let second = stage.publish(node, "ab12", Shape::audio_video());
        stage.reaches(&second, "FAILED", "Stream name is already in use");
    }
    stage.watches(&viewer);
    stage.saw(&viewer, &[&first]);
}

fn codec_changes(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let first = stage.publish(origin, "ab12", Shape::audio_video().only(Codec::Vp8));
    stage.reaches(&first, "PUBLISHING", "");
    stage.counts(edge, "streams_webrtc_in", 1);
    let here = stage.played(origin, "ab12");
    let there = stage.played(edge, "ab12");
    stage.lose(&first);
    stage.pass(500);
    let shape = Shape::audio_video().only(Codec::H264);
    let second = stage.publish_again(&first, origin, shape);
    stage.reaches(&here, "FAILED", "The publisher came back with another codec");
    stage.reaches(&there, "FAILED", "Stopped by publisher stop");
    stage.pass(2_000);
    for node in [origin, edge] {
        let viewer = stage.played(node, "ab12");
        stage.watches(&viewer);
        stage.saw(&viewer, &[&second]);
    }
}

fn edge_comes_late(stage: &mut Stage) {
    let edge = stage.node(Plan::new("edge1"));
    stage.kill(edge);
    let origin = stage.node(Plan::new("origin").edges(&["edge1"]));
    let publisher = stage.published(origin, "ab12");
    stage.pass(5_000);
    stage.sim.restart(edge);
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

fn edge_restarts(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    stage.played(edge, "ab12");
    for pause in [0, 700, 6_000] {
        stage.kill(edge);
        stage.pass(pause);
        stage.sim.restart(edge);
        stage.counts(edge, "streams_webrtc_in", 1);
        let viewer = stage.played(edge, "ab12");
        stage.watches(&viewer);
        stage.saw(&viewer, &[&publisher]);
    }
}

fn link_breaks(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    for _ in 0..3 {
        stage.watches(&viewer);
        stage.break_tcp(origin, edge);
        stage.pass(2_000);
    }
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    assert_eq!(stage.sim.seen(&viewer).status(), "PLAYING");
    stage.counts(edge, "connections_link", 1);
}

fn unpublish_crosses_answer(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    for (nth, pause) in (0..40).step_by(4).enumerate() {
        let name = format!("s{nth}");
        let publisher = stage.published(origin, &name);
        stage.pass(pause);
        stage.sim.unpublish(&publisher);
        stage.reaches(&publisher, "UNPUBLISHED", "Stopped by user");
    }
    stage.pass(2_000);
    for node in [origin, edge] {
        stage.counts(node, "streams_webrtc_in", 0);
        stage.counts(node, "core_peers", 0);
    }
}

/// What a viewer was last told of the publisher's sound: by PLAYING or by an event.
fn hears_mute(sim: &Sim, viewer: &Party) -> Option<bool> {
    let mut told = sim.browser(viewer).messages().iter().filter_map(|message| {
        let event = message.data.first()?;
        match event.get("type").and_then(|kind| kind.as_str()) {
            Some("audioMuted") => Some(true),
            Some("audioUnmuted") => Some(false),
            _ => event.get("audioState")?.get("muted")?.as_bool(),
        }
    });
    told.next_back()
}

fn says(stage: &mut Stage, publisher: &Party, kind: &str, payload: Option<serde_json::Value>) {
    let id = publisher.id.clone();
    let say = |page: &mut crate::page::Page| page.browser.send_event(&id, kind, payload);
    stage.sim.with_page(publisher.page, |_, page, _| say(page));
}

fn mute(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let early = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    says(stage, &publisher, "audioMuted", None);
    stage.pass(2_000);
    let late = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    for viewer in early.iter().chain(&late) {
        assert_eq!(hears_mute(&stage.sim, viewer), Some(true), "p{}", viewer.page);
    }
    says(stage, &publisher, "audioUnmuted", None);
    stage.pass(2_000);
    for viewer in early.iter().chain(&late) {
        assert_eq!(hears_mute(&stage.sim, viewer), Some(false), "p{}", viewer.page);
    }
}

fn mute_before_edge(stage: &mut Stage) {
    let edge = stage.node(Plan::new("edge1"));
    stage.kill(edge);
    let origin = stage.node(Plan::new("origin").edges(&["edge1"]));
    let publisher = stage.published(origin, "ab12");
    says(stage, &publisher, "audioMuted", None);
    stage.pass(1_000);
    stage.sim.restart(edge);
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.pass(1_000);
    assert_eq!(hears_mute(&stage.sim, &viewer), Some(true));
    stage.break_tcp(origin, edge);
    stage.pass(3_000);
    let viewer = stage.played(edge, "ab12");
    stage.pass(1_000);
    assert_eq!(hears_mute(&stage.sim, &viewer), Some(true), "after the link came back");
}

fn data(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewers = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    let payload = json!({"count": 23, "text": "ünïcode"});
    for _ in 0..3 {
        says(stage, &publisher, "data", Some(payload.clone()));
    }
    stage.pass(2_000);
    for viewer in &viewers {
        let stream = stage.sim.browser(viewer).stream(&viewer.id).expect("it plays");
        let wanted: Vec<_> = (0..3).map(|_| ("data".to_owned(), payload.clone())).collect();
        assert_eq!(stream.events, wanted, "p{}", viewer.page);
    }
}

fn slow_names(stage: &mut Stage) {
    let edge = stage.node(Plan::new("edge1"));
    let ghost = stage.node(Plan::new("ghost"));
    stage.kill(ghost);
    stage.sim.set_nameless("nowhere", true);
    stage.sim.lookup_delay = Duration::from_secs(2);
    let edges = ["ghost", "nowhere", "edge1"];
    let origin = stage.node(Plan::new("origin").edges(&edges));
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    let facts = stage.sim.facts(origin.0);
    let downs = facts.iter().filter(|(_, _, fact)| matches!(fact, Event::LinkDown { .. })).count();
    assert_eq!(downs, 2, "each edge that is away is one line of the log");
}

fn drain(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let there = stage.played(edge, "ab12");
    let here = stage.played(origin, "ab12");
    stage.sim.command(edge.0, Command::Drain);
    stage.pass(6_000);
    let drained = |fact: &Event| matches!(fact, Event::Drained);
    let facts = stage.sim.facts(edge.0);
    let done = facts.iter().filter(|(_, _, fact)| drained(fact)).count();
    assert_eq!(done, stage.sim.shards(edge.0), "every shard says so once");
    let page = stage.sim.page(there.page);
    assert!(page.ending.is_some(), "its viewer was said goodbye to");
    stage.kill(edge);
    stage.watches(&here);
    stage.sim.restart(edge);
    stage.counts(edge, "streams_webrtc_in", 1);
    let again = stage.played(edge, "ab12");
    stage.watches(&again);
    stage.saw(&again, &[&publisher]);
}

fn session_limit(stage: &mut Stage) {
    let limits = Limits { session_streams_max: 2, ..Limits::default() };
    let node = stage.node(Plan { limits, ..Plan::new("alone") });
    let publisher = stage.published(node, "one");
    let page = publisher.page;
    let open = |stage: &mut Stage, name: &str| stage.sim.play_on(page, name, Shape::audio_video());
    let second = open(stage, "one");
    stage.reaches(&second, "PLAYING", "");
    let third = open(stage, "one");
    stage.reaches(&third, "FAILED", "Too many streams");
    stage.sim.stop(&second);
    stage.reaches(&second, "STOPPED", "Stopped by user");
    let fourth = open(stage, "one");
    stage.reaches(&fourth, "PLAYING", "");
    stage.watches(&fourth);
    stage.saw(&fourth, &[&publisher]);
}

fn origin_restarts(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    let first = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.kill(origin);
    stage.pass(500);
    stage.sim.restart(origin);
    let second = stage.publish_again(&first, origin, Shape::audio_video());
    stage.reaches(&second, "PUBLISHING", "");
    stage.pass(1_000);
    stage.watches(&viewer);
    stage.saw(&viewer, &[&first, &second]);
    assert_eq!(stage.sim.seen(&viewer).status(), "PLAYING");
}

fn origin_stays_away(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.kill(origin);
    stage.pass(3_000);
    assert_eq!(stage.sim.seen(&viewer).status(), "PLAYING", "within the grace");
    stage.reaches(&viewer, "FAILED", "Stopped by publisher stop");
    stage.counts(edge, "connections_link", 0);
}

fn nodes_push_to_each_other(stage: &mut Stage) {
    let left = stage.node(Plan::new("left").edges(&["right"]));
    let right = stage.node(Plan::new("right").edges(&["left"]));
    stage.pass(2_000);
    let one = stage.published(left, "one");
    let two = stage.published(right, "two");
    for node in [left, right] {
        stage.counts(node, "streams_webrtc_in", 2);
        stage.counts(node, "streams_relayed", 1);
        for (name, publisher) in [("one", &one), ("two", &two)] {
            let viewer = stage.played(node, name);
            stage.watches(&viewer);
            stage.saw(&viewer, &[publisher]);
        }
    }
}

fn no_socket_at_first(stage: &mut Stage) {
    let (origin, edge) = stage.pair();
    stage.sim.binds_refused = 3;
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    assert_eq!(stage.sim.binds_refused, 0, "it was tried until it worked");
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

/// Nobody knows what happens next; only the oracle and the tables at the end are asked.
fn anything(stage: &mut Stage) {
    let edges = ["edge1", "edge2"].map(|name| stage.node(Plan::new(name)));
    let origin = stage.node(Plan::new("origin").edges(&["edge1", "edge2"]));
    let [one, two] = edges;
    let mut random = Random::new(stage.sim.seed());
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
            (5, Some(party)) => stage.sim.stop(&party),
            (6, Some(party)) => stage.sim.leave(&party),
            (7, Some(party)) => stage.lose(&party),
            (8, Some(party)) => {
                parties.push(stage.publish_again(&party, origin, Shape::audio_video()))
            }
            (9, _) => stage.break_tcp(origin, edge),
            (10, _) if stage.sim.is_up(edge.0) => stage.kill(edge),
            (10, _) => stage.sim.restart(edge),
            (11, _) => {
                stage.sim.partition(origin, edge);
                stage.pass(random.below(6_000) as u64);
                stage.sim.heal(origin, edge);
            }
            _ => {}
        }
        stage.pass(random.below(1_500) as u64);
    }
    for edge in edges {
        if !stage.sim.is_up(edge.0) {
            stage.sim.restart(edge);
        }
    }
    stage.pass(15_000);
}

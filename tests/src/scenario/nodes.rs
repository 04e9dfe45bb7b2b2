//! Nodes that push to each other, break off, die and come back.

use std::time::Duration;

use distributary_core::Event;

use super::Stage;
use crate::browser::Shape;
use crate::world::{Partition, World};

pub(super) fn two_edges<W: World>(stage: &mut Stage<W>) {
    let edges = ["edge1", "edge2"].map(|name| stage.node(name, &[]));
    let origin = stage.node("origin", &["edge1", "edge2"]);
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

pub(super) fn edge_comes_late<W: World>(stage: &mut Stage<W>) {
    let edge = stage.node("edge1", &[]);
    stage.kill(edge);
    let origin = stage.node("origin", &["edge1"]);
    let publisher = stage.published(origin, "ab12");
    stage.pass(5_000);
    stage.world.restart(edge);
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

pub(super) fn edge_restarts<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    stage.played(edge, "ab12");
    for pause in [0, 700, 6_000] {
        stage.kill(edge);
        stage.pass(pause);
        stage.world.restart(edge);
        stage.counts(edge, "streams_webrtc_in", 1);
        let viewer = stage.played(edge, "ab12");
        stage.watches(&viewer);
        stage.saw(&viewer, &[&publisher]);
    }
}

pub(super) fn link_breaks<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    for _ in 0..3 {
        stage.watches(&viewer);
        stage.sever(origin, edge);
        stage.pass(2_000);
    }
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    assert_eq!(stage.world.status(&viewer), "PLAYING");
    stage.counts(edge, "connections_link", 1);
}

/// For longer than a link may be silent: nobody but the two nodes gets to know.
pub(super) fn link_parted<W: Partition>(stage: &mut Stage<W>) {
    stage.world.prepare_partitions();
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.part(origin, edge);
    // What was lost before may still be sent again.
    stage.pass(2_000);
    let before = stage.world.seen(&viewer).video;
    stage.pass(3_000);
    let came = stage.world.seen(&viewer).video - before;
    // Where the machine is busy, something may have waited for its turn.
    assert!(came <= if stage.is_real() { 20 } else { 0 }, "{came} came that way");
    stage.world.heal(origin, edge);
    let events = stage.world.events(origin);
    let is_down = |event: &Event| matches!(event, Event::LinkDown { .. });
    assert!(events.iter().any(is_down), "the origin noticed: {events:?}");
    // The dial that is under way may wait in vain, and one more for its turn.
    stage.pass(4_000);
    stage.counts(edge, "connections_link", 1);
    stage.watches(&viewer);
    let seen = stage.saw(&viewer, &[&publisher]);
    assert_eq!(seen.statuses.len(), 1, "PLAYING and nothing else: {:?}", seen.statuses);
}

/// For longer than a link may be silent.
pub(super) fn edge_stands_still<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.world.freeze(edge, Duration::from_secs(5));
    let events = stage.world.events(origin);
    let is_down = |event: &Event| matches!(event, Event::LinkDown { .. });
    assert!(events.iter().any(is_down), "the origin noticed: {events:?}");
    stage.counts(edge, "connections_link", 1);
    stage.watches(&viewer);
    let seen = stage.world.seen(&viewer);
    assert_eq!(seen.publishers, [stage.world.browser(&publisher).number()]);
    assert_eq!(stage.world.status(&viewer), "PLAYING");
    let again = stage.played(edge, "ab12");
    stage.watches(&again);
    stage.saw(&again, &[&publisher]);
}

/// The same for the origin: its edge, and whoever watches there, wait for it.
pub(super) fn origin_stands_still<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.world.freeze(origin, Duration::from_secs(5));
    stage.counts(edge, "connections_link", 1);
    stage.counts(edge, "streams_webrtc_in", 1);
    stage.pass(2_000);
    stage.watches(&viewer);
    assert_eq!(stage.world.status(&publisher), "PUBLISHING");
    let seen = stage.world.seen(&viewer);
    assert_eq!(seen.publishers, [stage.world.browser(&publisher).number()]);
    assert_eq!(seen.statuses.len(), 1, "PLAYING and nothing else: {:?}", seen.statuses);
    let again = stage.played(edge, "ab12");
    stage.watches(&again);
    stage.saw(&again, &[&publisher]);
}

pub(super) fn unpublish_crosses_answer<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    for (nth, pause) in (0..40).step_by(4).enumerate() {
        let name = format!("s{nth}");
        let publisher = stage.published(origin, &name);
        stage.pass(pause);
        stage.world.unpublish(&publisher);
        stage.reaches(&publisher, "UNPUBLISHED", "Stopped by user");
    }
    stage.pass(2_000);
    for node in [origin, edge] {
        stage.counts(node, "streams_webrtc_in", 0);
        stage.counts(node, "core_peers", 0);
    }
}

pub(super) fn drain<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let there = stage.played(edge, "ab12");
    let here = stage.played(origin, "ab12");
    stage.world.drain(edge);
    stage.ends(edge);
    let told = |world: &W| world.page(there.page).ending.is_some();
    assert!(stage.world.wait(Duration::from_secs(6), told), "its viewer is said goodbye to");
    stage.kill(edge);
    stage.watches(&here);
    stage.world.restart(edge);
    stage.counts(edge, "streams_webrtc_in", 1);
    let again = stage.played(edge, "ab12");
    stage.watches(&again);
    stage.saw(&again, &[&publisher]);
}

pub(super) fn origin_restarts<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let first = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    stage.kill(origin);
    stage.pass(500);
    stage.world.restart(origin);
    let second = stage.publish_again(&first, origin, Shape::audio_video());
    stage.reaches(&second, "PUBLISHING", "");
    stage.pass(1_000);
    stage.watches(&viewer);
    stage.saw(&viewer, &[&first, &second]);
    assert_eq!(stage.world.status(&viewer), "PLAYING");
}

pub(super) fn origin_stays_away<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.kill(origin);
    stage.pass(3_000);
    assert_eq!(stage.world.status(&viewer), "PLAYING", "within the grace");
    stage.reaches(&viewer, "FAILED", "Stopped by publisher stop");
    stage.counts(edge, "connections_link", 0);
}

pub(super) fn nodes_push_to_each_other<W: World>(stage: &mut Stage<W>) {
    let left = stage.node("left", &["right"]);
    let right = stage.node("right", &["left"]);
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

//! Settings that change while nodes run.

use super::Stage;
use crate::world::{ADMIN_TOKEN, Cue, Edges, NodeId, Party, World};

/// Edges come and go with the origin's list, and what is written wrong changes nothing.
pub(super) fn edges_change<W: World>(stage: &mut Stage<W>) {
    let [one, two] = ["edge1", "edge2"].map(|name| stage.node(name, &[]));
    let properties = format!("admin.token={ADMIN_TOKEN}\n");
    let origin = stage.node_with("origin", &["edge1"], &properties);
    let publisher = stage.published(origin, "ab12");
    stage.counts(one, "streams_webrtc_in", 1);
    let first = stage.played(one, "ab12");
    stage.watches(&first);
    stage.counts(two, "streams_webrtc_in", 0);

    let both = Edges::Listed(&["edge1", "edge2"]);
    assert_eq!(stage.rewrite(origin, &properties, both, Cue::Rest), Ok(()));
    stage.counts(two, "streams_webrtc_in", 1);
    let second = stage.played(two, "ab12");
    let viewers = [first, second];
    go_on(stage, &viewers);

    let wrong = format!("{properties}play.wait=soon\n");
    for cue in [Cue::Rest, Cue::Hangup] {
        is_refused(stage.rewrite(origin, &wrong, both, cue), &["play.wait: ", "\"soon\""]);
        go_on(stage, &viewers);
    }
    assert_eq!(stage.rewrite(origin, &properties, both, Cue::Files), Ok(()));
    // What is left of the file leaves one of them out.
    let torn = Edges::Torn(&["edge2"]);
    for cue in [Cue::Files, Cue::Rest] {
        let needed = ["loadbalancing.xml:1: ", "</loadbalancer>"];
        is_refused(stage.rewrite(origin, &properties, torn, cue), &needed);
        go_on(stage, &viewers);
    }
    reaches(stage, origin, [one, two]);
    assert_eq!(stage.rewrite(origin, &properties, both, Cue::Hangup), Ok(()));
    go_on(stage, &viewers);

    let [first, second] = viewers;
    let told = [&publisher, &second].map(|party| stage.world.seen(party).statuses);
    let rest = Edges::Listed(&["edge2"]);
    assert_eq!(stage.rewrite(origin, &properties, rest, Cue::Files), Ok(()));
    stage.reaches(&first, "FAILED", "Stopped by publisher stop");
    stage.counts(one, "streams_webrtc_in", 0);
    stage.counts(one, "connections_link", 0);
    stage.watches(&second);
    let now = [&publisher, &second].map(|party| stage.world.seen(party).statuses);
    assert_eq!(now, told, "nobody else is told anything");
    for viewer in [&first, &second] {
        let seen = stage.saw(viewer, &[&publisher]);
        assert_eq!(seen.faults, [] as [&str; 0]);
    }
}

fn go_on<W: World>(stage: &mut Stage<W>, viewers: &[Party]) {
    for viewer in viewers {
        stage.watches(viewer);
        assert_eq!(stage.world.status(viewer), "PLAYING");
    }
}

fn is_refused(outcome: Result<(), String>, needed: &[&str]) {
    let why = outcome.expect_err("it cannot be used");
    assert!(needed.iter().all(|words| why.contains(words)), "{why}");
}

/// What is published now goes to these edges too.
fn reaches<W: World>(stage: &mut Stage<W>, origin: NodeId, edges: [NodeId; 2]) {
    let another = stage.published(origin, "cd34");
    for edge in edges {
        stage.counts(edge, "streams_webrtc_in", 2);
    }
    stage.world.unpublish(&another);
    stage.reaches(&another, "UNPUBLISHED", "Stopped by user");
    for edge in edges {
        stage.counts(edge, "streams_webrtc_in", 1);
    }
}

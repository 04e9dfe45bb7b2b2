//! Nodes that take nobody more: because they end, have enough, or were taken out of service.

use std::time::Duration;

use distributary_core::Event;

use super::Stage;
use crate::world::{ADMIN_TOKEN, NodeId, World};

pub(super) fn patient_drain<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair_with("drain.timeout=60000\n");
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.world.drain(edge);
    stage.counts(edge, "core_accepting", 0);
    let late = stage.play(edge, "ab12");
    let turned_away = stage.world.wait(Duration::from_secs(5), |world| {
        world.page(late.page).ending.is_some() && world.status(&late) == "PENDING"
    });
    assert!(turned_away, "nobody comes in any more");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    stage.world.stop(&viewer);
    stage.reaches(&viewer, "STOPPED", "Stopped by user");
    let shards = usize::from(stage.shards());
    let drained = stage.world.wait(Duration::from_secs(6), |world| {
        let events = world.events(edge);
        events.iter().filter(|event| matches!(event, Event::Drained)).count() == shards
    });
    assert!(drained, "the node ends with its last viewer");
    stage.kill(edge);
}

pub(super) fn full_edge<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair_with("limit.viewers=1\n");
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let first = stage.played(edge, "ab12");
    stage.counts(edge, "core_accepting", 0);
    let second = stage.play(edge, "ab12");
    stage.reaches(&second, "FAILED", "This server is full, try another one or try again later");
    stage.watches(&first);
    stage.saw(&first, &[&publisher]);
    stage.world.stop(&first);
    stage.counts(edge, "core_accepting", 1);
    let third = stage.played(edge, "ab12");
    stage.watches(&third);
}

/// An operator takes an edge out of service, and puts it back.
pub(super) fn out_of_service<W: World>(stage: &mut Stage<W>) {
    let properties = format!("admin.token={ADMIN_TOKEN}\n");
    let edge = stage.node_with("edge1", &[], &properties);
    let origin = stage.node_with("origin", &["edge1"], &properties);
    stage.pass(1_000);
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    assert_eq!(enforce(stage, edge, "PASSIVE", "wrong token"), None);
    let passive = Some(r#"{"state":"PASSIVE"}"#.to_owned());
    assert_eq!(enforce(stage, edge, "PASSIVE", ADMIN_TOKEN), passive);
    stage.counts(edge, "core_accepting", 0);
    let late = stage.play(edge, "ab12");
    let turned_away = stage.world.wait(Duration::from_secs(5), |world| {
        world.page(late.page).ending.is_some() && world.status(&late) == "PENDING"
    });
    assert!(turned_away, "nobody comes in any more");
    // What is published meanwhile is there when the edge is back.
    let another = stage.published(origin, "cd34");
    stage.counts(edge, "streams_webrtc_in", 2);
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    assert!(enforce(stage, edge, "ACTIVE", ADMIN_TOKEN).is_some());
    let second = stage.played(edge, "cd34");
    stage.watches(&second);
    stage.saw(&second, &[&another]);
}

/// What a node answers to whoever wants it to be in this state.
fn enforce<W: World>(
    stage: &mut Stage<W>,
    node: NodeId,
    state: &str,
    token: &str,
) -> Option<String> {
    let body = format!(r#"{{"state":"{state}"}}"#);
    let head = format!(
        "POST /rest-api/cdn/enforce_node_state HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\
         Origin: https://example.com\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = stage.world.request(node, &format!("{head}{body}"))?;
    (answer.status == 200).then_some(answer.body)
}

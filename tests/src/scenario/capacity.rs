//! Nodes that take nobody more, because they end or because they have enough.

use std::time::Duration;

use distributary_core::Event;

use super::Stage;
use crate::world::World;

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

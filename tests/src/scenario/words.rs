//! What publishers tell their viewers besides sound and pictures.

use serde_json::json;

use super::Stage;
use crate::world::{Party, World};

/// What a viewer was last told of the publisher's sound: by PLAYING or by an event.
fn hears_mute(world: &impl World, viewer: &Party) -> Option<bool> {
    let mut told = world.browser(viewer).messages().iter().filter_map(|message| {
        let event = message.data.first()?;
        match event.get("type").and_then(|kind| kind.as_str()) {
            Some("audioMuted") => Some(true),
            Some("audioUnmuted") => Some(false),
            _ => event.get("audioState")?.get("muted")?.as_bool(),
        }
    });
    told.next_back()
}

pub(super) fn mute<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let early = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    stage.world.say(&publisher, "audioMuted", None);
    stage.pass(2_000);
    let late = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    for viewer in early.iter().chain(&late) {
        assert_eq!(hears_mute(&stage.world, viewer), Some(true), "p{}", viewer.page);
    }
    stage.world.say(&publisher, "audioUnmuted", None);
    stage.pass(2_000);
    for viewer in early.iter().chain(&late) {
        assert_eq!(hears_mute(&stage.world, viewer), Some(false), "p{}", viewer.page);
    }
}

pub(super) fn mute_before_edge<W: World>(stage: &mut Stage<W>) {
    let edge = stage.node("edge1", &[]);
    stage.kill(edge);
    let origin = stage.node("origin", &["edge1"]);
    let publisher = stage.published(origin, "ab12");
    stage.world.say(&publisher, "audioMuted", None);
    stage.pass(1_000);
    stage.world.restart(edge);
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.pass(1_000);
    assert_eq!(hears_mute(&stage.world, &viewer), Some(true));
    stage.sever(origin, edge);
    stage.pass(3_000);
    let viewer = stage.played(edge, "ab12");
    stage.pass(1_000);
    assert_eq!(hears_mute(&stage.world, &viewer), Some(true), "after the link came back");
}

pub(super) fn data<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewers = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    let payload = json!({"count": 23, "text": "ünïcode"});
    for _ in 0..3 {
        stage.world.say(&publisher, "data", Some(payload.clone()));
    }
    stage.pass(2_000);
    for viewer in &viewers {
        let stream = stage.world.browser(viewer).stream(&viewer.id).expect("it plays");
        let wanted: Vec<_> = (0..3).map(|_| ("data".to_owned(), payload.clone())).collect();
        assert_eq!(stream.events, wanted, "p{}", viewer.page);
    }
}

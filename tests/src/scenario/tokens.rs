//! What a token allows, and until when.

use std::time::Duration;

use distributary_core::Event;
use serde_json::json;

use super::Stage;
use crate::token::{self, KEY};
use crate::world::World;

/// By how much nodes let each other's clocks, and so those of a backend, be wrong.
const SKEW: Duration = Duration::from_secs(60);
/// Longer than five sessions take to be there, on a bad day.
const BRIEF: Duration = Duration::from_secs(20);

/// A token's end is the end of what it allowed, at the origin and at an edge, and of nothing else.
pub(super) fn tokens_end<W: World>(stage: &mut Stage<W>) {
    let rules = format!("auth.publish=jwt\nauth.play=jwt\nauth.jwt.key={KEY}\n");
    let settings = format!("{rules}cdn_auth_key=fedcba9876543210fedcba9876543210\n");
    let edge = stage.node_with("edge1", &[], &settings);
    let origin = stage.node_with("origin", &["edge1"], &settings);
    stage.counts(edge, "connections_link", 1);
    let now = stage.world.unix();
    let long = token::sign(KEY, now + Duration::from_secs(600), json!({}));
    let brief = token::sign(KEY, now + BRIEF - SKEW, json!({}));
    let publisher = stage.publish_with(origin, "ab12", &long);
    stage.reaches(&publisher, "PUBLISHING", "");
    let short = stage.publish_with(origin, "cd34", &brief);
    stage.reaches(&short, "PUBLISHING", "");
    stage.counts(edge, "streams_webrtc_in", 2);
    let guest = stage.play_with(edge, "ab12", &brief);
    let viewers = ["ab12", "cd34"].map(|name| stage.play_with(edge, name, &long));
    for viewer in [&guest, &viewers[0], &viewers[1]] {
        stage.reaches(viewer, "PLAYING", "");
    }
    let [viewer, orphan] = viewers;
    stage.pass(u64::try_from(BRIEF.as_millis()).unwrap_or(u64::MAX));
    stage.reaches(&guest, "FAILED", "Access token has expired");
    stage.reaches(&short, "FAILED", "Access token has expired");
    stage.reaches(&orphan, "FAILED", "Stopped by publisher stop");
    stage.counts(edge, "streams_webrtc_in", 1);
    stage.counts(edge, "streams_webrtc_out", 1);
    stage.counts(origin, "streams_webrtc_in", 1);
    for node in [edge, origin] {
        // The stream's path between them, and whoever is left at its end.
        stage.counts(node, "core_peers", 2);
        let events = stage.world.events(node).into_iter();
        let why = |event| if let Event::Refused { why, .. } = event { Some(why) } else { None };
        let refused: Vec<String> = events.filter_map(why).collect();
        assert_eq!(refused, ["the token has expired"], "n{}", node.0);
    }
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

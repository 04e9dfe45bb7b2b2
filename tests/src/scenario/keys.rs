//! Nodes that share a key, and strangers who do not have it.

use distributary_core::Event;

use super::Stage;
use crate::browser::Shape;
use crate::world::World;

pub(super) fn links_with_keys<W: World>(stage: &mut Stage<W>) {
    let key = "cdn_auth_key=0123456789abcdef0123456789abcdef\n";
    let edge = stage.node_with("edge1", &[], key);
    let origin = stage.node_with("origin", &["edge1"], key);
    let first = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    for name in ["ab12", "mine"] {
        let stranger = stage.publish(edge, name, Shape::audio_video());
        stage.reaches(&stranger, "FAILED", "Only origins may publish on this edge");
    }
    let stranger = stage.node("stranger", &["edge1"]);
    stage.published(stranger, "theirs");
    stage.pass(2_000);
    let needs = "a link needs a token here: give the origin the cdn_auth_key of this node";
    let down = Event::LinkDown { node: 1, why: format!("the edge refused the link: {needs}") };
    assert!(stage.world.events(stranger).contains(&down), "{:?}", stage.world.events(stranger));
    let refused = Event::LinkRefused { why: needs.to_owned() };
    assert!(stage.world.events(edge).contains(&refused), "{:?}", stage.world.events(edge));
    stage.kill(stranger);
    stage.counts(edge, "connections_link", 1);
    stage.counts(edge, "streams_webrtc_in", 1);
    stage.watches(&viewer);
    stage.sever(origin, edge);
    stage.pass(2_000);
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

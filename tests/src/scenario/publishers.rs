//! People who publish and play, and what becomes of one when the other goes.

use super::Stage;
use crate::browser::{Codec, Shape};
use crate::world::World;

pub(super) fn one_node<W: World>(stage: &mut Stage<W>) {
    let node = stage.node("alone", &[]);
    let publisher = stage.published(node, "ab12");
    let viewer = stage.played(node, "ab12");
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    stage.world.unpublish(&publisher);
    stage.reaches(&publisher, "UNPUBLISHED", "Stopped by user");
    stage.reaches(&viewer, "FAILED", "Stopped by publisher stop");
}

pub(super) fn late_viewer<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    // Where time is real, 5 s of media must do.
    stage.pass(if stage.is_real() { 5_000 } else { 20_000 });
    for node in [origin, edge] {
        let viewer = stage.played(node, "ab12");
        stage.watches(&viewer);
        stage.saw(&viewer, &[&publisher]);
    }
}

pub(super) fn viewer_first<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let here = stage.play(origin, "ab12");
    let there = stage.play(edge, "ab12");
    stage.pass(if stage.is_rough() { 0 } else { 300 });
    let publisher = stage.published(origin, "ab12");
    for viewer in [&here, &there] {
        stage.pass(2_000);
        // On a bad day the stream may come after `play.wait`.
        if !stage.is_rough() || stage.world.status(viewer) == "PLAYING" {
            stage.reaches(viewer, "PLAYING", "");
            stage.watches(viewer);
            stage.saw(viewer, &[&publisher]);
        }
    }
    let nobody = stage.play(edge, "nobody");
    stage.reaches(&nobody, "FAILED", "Stream not found");
}

pub(super) fn publisher_returns<W: World>(stage: &mut Stage<W>) {
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
        assert_eq!(stage.world.status(viewer), "PLAYING");
    }
}

/// Whoever watched is told that it is over. Whoever asks before it begins again sees nothing of
/// what was before, and whoever asks while its publisher is lost waits with the others.
pub(super) fn publisher_starts_again<W: World>(stage: &mut Stage<W>) {
    let patient = "play.wait=20000\n";
    let edges = ["edge1", "edge2"].map(|name| stage.node_with(name, &[], patient));
    let origin = stage.node("origin", &["edge1", "edge2"]);
    stage.pass(1_000);
    let first = stage.published(origin, "ab12");
    let early = edges.map(|edge| {
        stage.counts(edge, "streams_webrtc_in", 1);
        stage.played(edge, "ab12")
    });
    early.iter().for_each(|viewer| stage.watches(viewer));
    stage.world.unpublish(&first);
    stage.reaches(&first, "UNPUBLISHED", "Stopped by user");
    for viewer in &early {
        stage.reaches(viewer, "FAILED", "Stopped by publisher stop");
        stage.saw(viewer, &[&first]);
    }
    let waiting = edges.map(|edge| stage.play(edge, "ab12"));
    stage.pass(1_000);
    let second = stage.published(origin, "ab12");
    for viewer in &waiting {
        stage.reaches(viewer, "PLAYING", "");
        stage.watches(viewer);
        stage.saw(viewer, &[&second]);
    }
    stage.lose(&second);
    stage.pass(500);
    let late = edges.map(|edge| stage.play(edge, "ab12"));
    stage.pass(500);
    let third = stage.publish_again(&second, origin, Shape::audio_video());
    stage.reaches(&third, "PUBLISHING", "");
    for viewer in &waiting {
        stage.watches(viewer);
        stage.saw(viewer, &[&second, &third]);
    }
    for viewer in &late {
        stage.reaches(viewer, "PLAYING", "");
        stage.watches(viewer);
        assert!(stage.pictures_of(viewer, &third) > 100);
        // What is kept of the second for those who come late may be old by then, or not.
        let kept = stage.world.seen(viewer).publishers.len() > 1;
        let shown: &[_] = if kept { &[&second, &third] } else { &[&third] };
        stage.saw(viewer, shown);
    }
}

pub(super) fn publisher_stays_away<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair();
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewers = [stage.played(origin, "ab12"), stage.played(edge, "ab12")];
    stage.lose(&publisher);
    stage.pass(2_000);
    for viewer in &viewers {
        assert_eq!(stage.world.status(viewer), "PLAYING", "within the grace");
    }
    for viewer in &viewers {
        stage.reaches(viewer, "FAILED", "Stopped by publisher stop");
    }
    stage.published(origin, "ab12");
}

pub(super) fn two_of_one_name<W: World>(stage: &mut Stage<W>) {
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

pub(super) fn codec_changes<W: World>(stage: &mut Stage<W>) {
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

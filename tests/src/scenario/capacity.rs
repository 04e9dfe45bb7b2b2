//! Nodes that take nobody more: because they end, have enough, or were taken out of service.

use std::time::Duration;

use serde_json::Value;

use super::Stage;
use crate::http::Answer;
use crate::websocket::Incoming;
use crate::world::{ADMIN_TOKEN, NodeId, Party, World};

/// What a page is told by the close of its WebSocket that may come again later.
const TRY_AGAIN_LATER: Incoming = Incoming::Closed(Some(1013));
/// The same of a server that goes away.
const GOING_AWAY: Incoming = Incoming::Closed(Some(1001));

pub(super) fn patient_drain<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair_with("drain.timeout=60000\n");
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    balancer_names_edge(stage, origin, true);
    let viewer = stage.played(edge, "ab12");
    stage.world.drain(edge);
    stage.counts(edge, "core_accepting", 0);
    balancer_names_edge(stage, origin, false);
    let late = stage.play(edge, "ab12");
    is_turned_away(stage, &late, &Incoming::Refused(503));
    let answer = upgrade(stage, edge);
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.head.lines().any(|line| line == "Retry-After: 30"), "{}", answer.head);
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    stage.world.stop(&viewer);
    stage.reaches(&viewer, "STOPPED", "Stopped by user");
    // It ends with its last viewer.
    stage.ends(edge);
    stage.kill(edge);
    stage.world.restart(edge);
    stage.counts(edge, "streams_webrtc_in", 1);
    balancer_names_edge(stage, origin, true);
}

/// A viewer who stays plays until the time that an edge waits is over.
pub(super) fn drain_runs_out<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair_with("drain.timeout=3000\n");
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    let viewer = stage.played(edge, "ab12");
    stage.watches(&viewer);
    let before = stage.world.seen(&viewer).video;
    stage.world.drain(edge);
    let (early, late) = match (stage.is_real(), stage.is_rough()) {
        // The machine may be busy with something else.
        (true, _) => (1_000, 12_000),
        (_, true) => (2_990, 2_000),
        (_, false) => (2_990, 60),
    };
    stage.pass(early);
    assert!(stage.world.page(viewer.page).ending.is_none(), "it was to wait");
    assert!(stage.world.seen(&viewer).video > before + 25, "and to play");
    let told = |world: &W| world.page(viewer.page).ending.is_some();
    assert!(stage.world.wait(Duration::from_millis(late), told), "it was to wait no longer");
    assert_eq!(stage.world.page(viewer.page).ending, Some(GOING_AWAY));
    stage.saw(&viewer, &[&publisher]);
    stage.ends(edge);
    stage.kill(edge);
}

pub(super) fn full_edge<W: World>(stage: &mut Stage<W>) {
    let (origin, edge) = stage.pair_with("limit.viewers=1\n");
    let publisher = stage.published(origin, "ab12");
    stage.counts(edge, "streams_webrtc_in", 1);
    balancer_names_edge(stage, origin, true);
    let first = stage.played(edge, "ab12");
    stage.counts(edge, "core_accepting", 0);
    balancer_names_edge(stage, origin, false);
    let second = stage.play(edge, "ab12");
    stage.reaches(&second, "FAILED", "This server is full, try another one or try again later");
    stage.watches(&first);
    stage.saw(&first, &[&publisher]);
    stage.world.stop(&first);
    stage.counts(edge, "core_accepting", 1);
    balancer_names_edge(stage, origin, true);
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
    assert_eq!(enforce(stage, edge, "PASSIVE", "wrong token").status, 401);
    balancer_names_edge(stage, origin, true);
    let answer = enforce(stage, edge, "PASSIVE", ADMIN_TOKEN);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"state":"PASSIVE"}"#));
    stage.counts(edge, "core_accepting", 0);
    balancer_names_edge(stage, origin, false);
    let late = stage.play(edge, "ab12");
    is_turned_away(stage, &late, &TRY_AGAIN_LATER);
    // What is published meanwhile is there when the edge is back.
    let another = stage.published(origin, "cd34");
    stage.counts(edge, "streams_webrtc_in", 2);
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
    assert_eq!(enforce(stage, edge, "ACTIVE", ADMIN_TOKEN).status, 200);
    balancer_names_edge(stage, origin, true);
    let second = stage.played(edge, "cd34");
    stage.watches(&second);
    stage.saw(&second, &[&another]);
}

/// Nobody comes in any more, and whoever tries is told so.
fn is_turned_away<W: World>(stage: &mut Stage<W>, late: &Party, how: &Incoming) {
    let over = |world: &W| world.page(late.page).ending.is_some();
    assert!(stage.world.wait(Duration::from_secs(5), over), "p{} came in", late.page);
    assert_eq!(stage.world.page(late.page).ending.as_ref(), Some(how));
    assert_eq!(stage.world.status(late), "PENDING");
}

/// Waits until the balancer of an origin sends viewers to its one edge, or keeps them. It asks its
/// edges once a second.
fn balancer_names_edge<W: World>(stage: &mut Stage<W>, origin: NodeId, wanted: bool) {
    let exact = !stage.is_real() && !stage.is_rough();
    let (pause, tries) = if exact { (2_000, 1) } else { (100, 150) };
    // Whom it keeps, it sends to where they asked.
    let request = "GET /?action=server_list HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
    let mut body = String::new();
    for _ in 0..tries {
        stage.pass(pause);
        body = stage.world.request(origin, request).map(|answer| answer.body).unwrap_or_default();
        let list: Value = serde_json::from_str(&body).unwrap_or_default();
        if list.get("server").is_some_and(|server| (server != "here") == wanted) {
            return;
        }
    }
    panic!("n{} sends viewers to {body}", origin.0);
}

/// What a page's WebSocket is answered.
fn upgrade<W: World>(stage: &mut Stage<W>, node: NodeId) -> Answer {
    let request = "GET / HTTP/1.1\r\nHost: n\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stage.world.request(node, request).expect("the node listens")
}

/// What a node answers to whoever wants it to be in this state.
fn enforce<W: World>(stage: &mut Stage<W>, node: NodeId, state: &str, token: &str) -> Answer {
    let body = format!(r#"{{"state":"{state}"}}"#);
    let head = format!(
        "POST /rest-api/cdn/enforce_node_state HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\
         Origin: https://example.com\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stage.world.request(node, &format!("{head}{body}")).expect("the node listens")
}

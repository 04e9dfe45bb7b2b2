//! SDP: offers of publishers and viewers, and answers of edges.

use std::net::IpAddr;
use std::time::Duration;

use distributary_core::ConnId;
use distributary_tests::browser::{Shape, play_request, publish_request};
use distributary_tests::sim::bare::Bare;
use serde_json::{Value, json};

use crate::answers::responses;
use crate::bytes::Bytes;
use crate::frames::{Frame, frames};
use crate::{edge, room};

/// What the SDP is said as; the first byte chooses.
const ROLES: [fn(&str); 3] = [publish, play, answer];

/// One byte that says whose SDP it is, and the SDP: a publisher's offer, a viewer's offer for a
/// stream of sound and picture, or an edge's answer to the push of such a stream.
///
/// Whoever offers is answered: with one m-line for each that he offered (RFC 3264, section 6), or
/// with FAILED and a reason.
pub fn sdp(data: &[u8]) {
    let mut data = Bytes::new(data);
    let Some(role) = data.byte() else { return };
    let sdp = String::from_utf8_lossy(data.rest());
    if let Some(role) = ROLES.get(usize::from(role) % ROLES.len()) {
        role(&sdp);
    }
}

fn publish(sdp: &str) {
    let mut bare = Bare::new(room::plan());
    let conn = room::session(&mut bare);
    let request = publish_request("m", "n", &Shape::audio_video(), sdp);
    say(&mut bare, conn, "publishStream", &request);
    judge(&mut bare, conn, sdp);
    // Nobody comes by ICE.
    room::leave(&mut bare);
}

fn play(sdp: &str) {
    let mut bare = Bare::new(room::plan());
    let _publisher = room::publisher(&mut bare, 1, "n", Shape::audio_video());
    let conn = room::session(&mut bare);
    say(&mut bare, conn, "playStream", &play_request("m", "n", sdp));
    judge(&mut bare, conn, sdp);
    room::leave(&mut bare);
}

/// An origin, its link to an edge, and what it pushes there.
pub(crate) fn pushed() -> (Bare, ConnId, Value) {
    let mut bare = Bare::new(room::plan().edges(&["edge.example"]));
    bare.name("edge.example", IpAddr::from([10, 9, 9, 8]));
    let _publisher = room::publisher(&mut bare, 1, "n", Shape::audio_video());
    // The first lookups found nothing.
    let link = (0..20).find_map(|_| {
        bare.advance(Duration::from_millis(100));
        edge::accept(&mut bare)
    });
    let link = link.expect("an origin dials its edges");
    let mut said = edge::heard(&mut bare, link);
    let offer = said.iter().position(|message| name(message) == "publishStream");
    let offer = offer.unwrap_or_else(|| panic!("nothing is pushed: {said:?}"));
    let mut offer = said.swap_remove(offer);
    let offer = offer.pointer_mut("/data/0").map(Value::take).expect("an offer has data");
    (bare, link, offer)
}

/// What a node answers to an offer that it can use.
pub(crate) fn answered(offer: &str) -> String {
    let mut bare = Bare::new(room::plan());
    let conn = room::session(&mut bare);
    let request = publish_request("m", "n", &Shape::audio_video(), offer);
    say(&mut bare, conn, "publishStream", &request);
    let told = texts(&mut bare, conn);
    let answer = told.iter().find(|message| name(message) == "setRemoteSDP");
    let sdp = answer.and_then(|answer| answer.pointer("/data/1")?.as_str());
    sdp.unwrap_or_else(|| panic!("refused: {told:?}")).to_owned()
}

fn answer(sdp: &str) {
    let (mut bare, link, offer) = pushed();
    let id = offer.get("mediaSessionId").expect("an offer has an id");
    let answer = json!({"message": "setRemoteSDP", "data": [id, sdp, true]});
    edge::say(&mut bare, link, &answer.to_string());
    assert!(bare.is_open(link), "an answer ends the whole link");
    for _ in 0..4 {
        bare.advance(Duration::from_secs(1));
        edge::say(&mut bare, link, edge::USER_DATA);
        for message in edge::heard(&mut bare, link) {
            let again = matches!(name(&message), "publishStream" | "unPublishStream" | "ping");
            assert!(again, "an edge is not told {message}");
        }
    }
    for conn in bare.conns() {
        bare.close(conn, distributary_core::Hangup::Reset);
    }
    bare.advance(Duration::from_secs(30));
    room::assert_empty(&mut bare);
}

fn say(bare: &mut Bare, conn: ConnId, message: &str, argument: &Value) {
    let text = json!({"message": message, "data": [argument]}).to_string();
    bare.say(conn, text.as_bytes());
}

fn name(message: &Value) -> &str {
    message.get("message").and_then(Value::as_str).unwrap_or_default()
}

/// The offer is answered at once, and what is told later goes with that.
fn judge(bare: &mut Bare, conn: ConnId, offer: &str) {
    let told = texts(bare, conn);
    let answer = told.iter().find(|message| name(message) == "setRemoteSDP");
    let failed = told.iter().find(|message| status(message) == Some("FAILED"));
    assert!(answer.is_some() != failed.is_some(), "not one outcome: {told:?}");
    if let Some(answer) = answer {
        let answer = answer.pointer("/data/1").and_then(Value::as_str).expect("an answer is text");
        fits(answer, offer);
    }
    bare.advance(Duration::from_secs(3));
    for message in told.into_iter().chain(texts(bare, conn)) {
        if status(&message) == Some("FAILED") {
            let info = message.pointer("/data/0/info").and_then(Value::as_str);
            assert!(info.is_some_and(|info| !info.is_empty()), "without a reason: {message}");
            // So says a panic of str0m that was caught.
            assert_ne!(info, Some("Failed by error"), "{message}");
        }
    }
}

fn status(message: &Value) -> Option<&str> {
    message.pointer("/data/0/status").and_then(Value::as_str)
}

fn texts(bare: &mut Bare, conn: ConnId) -> Vec<Value> {
    let bytes = bare.take(conn);
    // Only the first bytes of a connection are HTTP.
    let rest = if bytes.starts_with(b"HTTP/1.1 ") { responses(&bytes).1 } else { &bytes[..] };
    let texts = frames(rest).into_iter().filter_map(|frame| match frame {
        Frame::Text(text) => serde_json::from_str(&text).ok(),
        Frame::Pong(_) | Frame::Close(_) => None,
    });
    texts.collect()
}

/// An answer is SDP, and has the m-lines of its offer in their order.
fn fits(answer: &str, offer: &str) {
    assert!(answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"), "{answer:?}");
    for line in answer.trim_end_matches("\r\n").split("\r\n") {
        let typed = matches!(line.as_bytes(), [b'a'..=b'z', b'=', ..]);
        assert!(typed && !line.contains(char::is_control), "{line:?} in {answer:?}");
    }
    assert_eq!(kinds(answer), kinds(offer), "{answer}");
}

/// The kinds of the m-lines.
fn kinds(sdp: &str) -> Vec<&str> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("m="));
    lines.map(|line| line.split(' ').next().unwrap_or_default()).collect()
}

//! WebSocket frames of any kind behind an upgrade.

use std::time::Duration;

use distributary_core::{ConnId, Service};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::{Bare, CONNECTION, UPGRADE};

use crate::answers::responses;
use crate::bytes::Bytes;
use crate::frames::{Frame, frames};
use crate::room;

/// Frames behind an upgrade. Each begins with the first byte of its head, a byte that says how its
/// length is written and whether it is masked, and the length of its payload.
///
/// They are sent to one node each for itself and to another all at once; both must say the same, in
/// good order.
pub fn websocket(data: &[u8]) {
    let mut rest = Bytes::new(data);
    let mut sent = Vec::new();
    while let (Some(first), Some(how), Some(payload)) = (rest.byte(), rest.byte(), rest.counted()) {
        sent.push(frame(first, how, payload));
    }
    let together = sent.concat();
    let pings = sent.iter().filter(|frame| frame.first().is_some_and(|b| b & 0xf == 9)).count();
    let [one_by_one, at_once] = [&sent, &vec![together]].map(|sent| converse(sent, pings));
    let ended = |heard: &[Frame]| matches!(heard.last(), Some(Frame::Close(_)));
    assert_eq!(ended(&one_by_one), ended(&at_once), "it matters what comes together");
    // What was being said when the far side said goodbye, or made no sense, is not for it, and it
    // may have done both.
    if !ended(&one_by_one) {
        // A pong need not wait for the answer to a text before its ping.
        let parts = [one_by_one, at_once].map(|heard| {
            heard.into_iter().partition::<Vec<_>, _>(|frame| matches!(frame, Frame::Pong(_)))
        });
        let [one_by_one, at_once] = parts;
        assert_eq!(one_by_one, at_once, "it matters what comes together");
    }
}

/// What a node says to these bytes, texts by their names: they have random parts.
fn converse(sent: &[Vec<u8>], pings: usize) -> Vec<Frame> {
    let mut bare = Bare::new(Plan::new("node.example"));
    let conn = bare.connect(Service::Ws);
    bare.receive(conn, UPGRADE);
    for bytes in sent {
        bare.receive(conn, bytes);
    }
    let heard = hear(&mut bare, conn, pings);
    let goodbye = matches!(heard.last(), Some(Frame::Close(_)));
    assert_eq!(bare.is_open(conn), !goodbye, "whoever ends says so: {heard:?}");
    // It does not answer pings.
    bare.advance(Duration::from_secs(120));
    assert_eq!(bare.conns(), [], "somebody who says nothing may stay");
    frames(&bare.take(conn));
    room::leave(&mut bare);
    heard
}

fn hear(bare: &mut Bare, conn: ConnId, pings: usize) -> Vec<Frame> {
    let bytes = bare.take(conn);
    let (responses, rest) = responses(&bytes);
    assert_eq!(responses.first().map(|response| response.status), Some(101));
    let mut heard = frames(rest);
    let pongs = heard.iter().filter(|frame| matches!(frame, Frame::Pong(_))).count();
    assert!(pongs <= pings, "{pongs} pongs for {pings} pings");
    for frame in &mut heard {
        if let Frame::Text(text) = frame {
            let message: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
            *text = message.get("message").expect("it has a name").to_string();
        }
    }
    heard
}

/// The lowest two bits of `how` choose how the length is written, the third whether the frame is
/// masked, the fourth whether a real `connection` is in it.
fn frame(first: u8, how: u8, payload: &[u8]) -> Vec<u8> {
    let payload = if how & 8 != 0 { CONNECTION } else { payload };
    let mask = if how & 4 == 0 { 0x80 } else { 0 };
    let mut frame = vec![first];
    match (how & 3, u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (0, Ok(len), _) if len < 126 => frame.push(mask | len),
        (0 | 1, _, Ok(len)) => {
            frame.push(mask | 126);
            frame.extend(len.to_be_bytes());
        }
        // A length that is nobody's, or 64 KiB and more.
        (3, _, _) => {
            frame.push(mask | 127);
            frame.extend((payload.len() as u64 | u64::from(how) << 56).to_be_bytes());
        }
        _ => {
            frame.push(mask | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    let key = [how, 1, 2, 3];
    if mask != 0 {
        frame.extend(key);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        frame.extend(payload);
    }
    frame
}

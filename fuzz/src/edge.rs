//! An edge as an origin's link meets it: as much of one as an answer can be put into.

use distributary_core::{ConnId, Hangup};
use distributary_tests::sim::bare::{Bare, server_text_frame};
use tungstenite::handshake::derive_accept_key;

/// The first message of an edge, which brings the link up.
pub(crate) const USER_DATA: &str = r#"{"message":"getUserData","data":[{}]}"#;

/// Takes the oldest connection that the node dialed: a link is accepted, a poll for load is not.
pub(crate) fn accept(bare: &mut Bare) -> Option<ConnId> {
    let conn = bare.take_dialed()?;
    bare.connected(conn);
    let request = bare.take(conn);
    let request = String::from_utf8_lossy(&request);
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let Some(key) = key else {
        bare.close(conn, Hangup::Reset);
        return None;
    };
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    bare.receive(conn, head.as_bytes());
    say(bare, conn, USER_DATA);
    Some(conn)
}

/// Says something to the node.
pub(crate) fn say(bare: &mut Bare, conn: ConnId, text: &str) {
    bare.receive(conn, &server_text_frame(text.as_bytes()));
}

/// What the node said since the last call, texts only.
pub(crate) fn heard(bare: &mut Bare, conn: ConnId) -> Vec<serde_json::Value> {
    let bytes = bare.take(conn);
    let mut texts = Vec::new();
    let mut rest = &bytes[..];
    while let Some((text, behind)) = client_frame(rest) {
        texts.extend(serde_json::from_slice(&text).ok());
        rest = behind;
    }
    assert!(rest.is_empty(), "half a frame: {rest:?}");
    texts
}

/// The payload of a masked frame, and what follows it.
fn client_frame(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let [_, len] = head;
    assert!(len & 0x80 != 0, "a client's frame is masked");
    let (len, rest) = match len & 0x7f {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*len)).ok()?, rest)
        }
        len => (usize::from(len), rest),
    };
    let (key, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(len)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    Some((payload.collect(), rest))
}

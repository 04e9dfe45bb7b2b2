//! What far sides begin with, and how they say the rest.

/// A text frame as a browser sends it (RFC 6455, section 5.2), masked with zeros.
pub fn text_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = frame_head(0x81, text.len(), 0x80);
    frame.extend([0; 4]);
    frame.extend(text);
    frame
}

/// A text frame as a server sends it.
pub fn server_text_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = frame_head(0x81, text.len(), 0);
    frame.extend(text);
    frame
}

/// The first bytes of a frame, up to its length: that in as few bytes as it goes.
fn frame_head(first: u8, len: usize, mask: u8) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => head.push(mask | len),
        (_, Ok(len)) => {
            head.push(mask | 126);
            head.extend(len.to_be_bytes());
        }
        _ => {
            head.push(mask | 127);
            head.extend((len as u64).to_be_bytes());
        }
    }
    head
}

/// A request that upgrades to a WebSocket; its key is the example of RFC 6455.
pub const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: node.example:8080\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nOrigin: http://node.example\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The first message of every page.
pub const CONNECTION: &[u8] = b"{\"message\":\"connection\",\"data\":[{\"appKey\":\"defaultApp\",\
    \"mediaProviders\":[\"WebRTC\"],\"clientVersion\":\"2.0\"}]}";

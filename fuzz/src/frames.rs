//! A server's WebSocket frames as a browser judges them (RFC 6455), without the code that wrote
//! them.

/// What a server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    Text(String),
    Pong(Vec<u8>),
    /// The code.
    Close(u16),
}

/// The frames of a connection from the upgrade on.
///
/// # Panics
///
/// If they are anything but whole frames that this server has any business sending, and if
/// something follows a goodbye.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while let Some((first, behind)) = rest.split_first() {
        assert!(!matches!(frames.last(), Some(Frame::Close(_))), "more follows a goodbye");
        let (payload, behind) = payload(behind);
        frames.push(frame(*first, payload));
        rest = behind;
    }
    frames
}

fn payload(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = match bytes {
        [len @ 0..=125, rest @ ..] => (u64::from(*len), rest),
        [126, high, low, rest @ ..] => (u64::from(u16::from_be_bytes([*high, *low])), rest),
        [127, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk().expect("a whole length");
            (u64::from_be_bytes(*len), rest)
        }
        _ => panic!("no length, or a mask: {bytes:?}"),
    };
    let len = usize::try_from(len).expect("a length that memory has");
    rest.split_at_checked(len).expect("a whole frame")
}

fn frame(first: u8, payload: &[u8]) -> Frame {
    match (first, payload) {
        (0x81, text) => {
            let text = std::str::from_utf8(text).expect("a text is text");
            let value: serde_json::Value = serde_json::from_str(text).expect("a text is JSON");
            let named = value.get("message").is_some_and(serde_json::Value::is_string);
            assert!(named && value.get("data").is_some_and(serde_json::Value::is_array), "{text}");
            Frame::Text(text.to_owned())
        }
        (0x8a, payload) if payload.len() <= 125 => Frame::Pong(payload.to_vec()),
        (0x88, [high, low, reason @ ..]) if reason.len() <= 123 => {
            assert!(std::str::from_utf8(reason).is_ok(), "a reason that is no text");
            let code = u16::from_be_bytes([*high, *low]);
            // RFC 6455, section 7.4: those that may be sent.
            assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "code {code}");
            Frame::Close(code)
        }
        // An empty goodbye answers an empty goodbye.
        (0x88, []) => Frame::Close(1000),
        _ => panic!("a frame that a server does not send: {first:#x} {payload:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_and_bad_ones_are_refused() {
        let text = br#"{"message":"ping","data":[null]}"#;
        let whole =
            [&[0x81, text.len() as u8], &text[..], &[0x8a, 1, 7, 0x88, 2, 3, 0xe8]].concat();
        let found = frames(&whole);
        assert_eq!(found.get(1..), Some(&[Frame::Pong(vec![7]), Frame::Close(1000)][..]));
        for bad in [
            &[0x81, 5, b'{'][..],
            &[0x01, 2, b'{', b'}'],
            &[0x81, 2, b'{', b'}'],
            &[0x82, 0],
            &[0x8a, 0x81, 0, 0, 0, 0, 7],
            &[0x88, 2, 0x03, 0xed],
            &[0x88, 0, 0x8a, 0],
        ] {
            assert!(std::panic::catch_unwind(|| frames(bad)).is_err(), "{bad:?}");
        }
    }
}

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

use super::*;

pub(super) const UPGRADE: &[u8] = b"GET /websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A socket in memory, for tungstenite's own ends.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<(VecDeque<u8>, Vec<u8>)>>);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.borrow_mut().0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire {
    /// Moves bytes both ways, `step` at a time towards us.
    fn exchange(
        &self,
        connection: &mut Connection,
        owner: &mut Owner,
        step: usize,
    ) -> Result<(), StreamFault> {
        let written = std::mem::take(&mut self.0.borrow_mut().1);
        let result = written.chunks(step).try_for_each(|bytes| owner.receive(connection, bytes));
        self.0.borrow_mut().0.extend(sent(connection));
        result
    }
}

/// One frame from a browser, masked with nothing.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

pub(super) fn opened() -> (Connection, Owner) {
    let (mut connection, mut owner) = (server(), Owner { echoes: true, ..Owner::default() });
    owner.receive(&mut connection, UPGRADE).unwrap();
    assert!(connection.is_websocket());
    assert_eq!(
        utf8(sent(&mut connection)),
        "HTTP/1.1 101 Switching Protocols\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    owner.heard.clear();
    (connection, owner)
}

fn heard_text(text: &str) -> Vec<Incoming> {
    vec![Incoming::Text(text.to_owned())]
}

#[test]
fn tungstenite_can_dial_us_at_any_pace() {
    for step in [1, 2, 3, 50, 100_000] {
        let (mut connection, mut owner) = (server(), Owner { echoes: true, ..Owner::default() });
        let wire = Wire::default();
        let Err(HandshakeError::Interrupted(half)) =
            tungstenite::client("ws://edge:8080/websocket?a=b", wire.clone())
        else {
            panic!("there is no answer yet");
        };
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        let (mut far, answer) = half.handshake().unwrap();
        assert_eq!(answer.status(), 101);
        let [Incoming::Upgrade(request)] = &owner.heard[..] else { panic!("{:?}", owner.heard) };
        assert_eq!((request.path.as_str(), request.query("a")), ("/websocket", Some("b")));
        owner.heard.clear();

        let long = "ä".repeat(1500);
        far.send(Message::text(long.as_str())).unwrap();
        far.send(Message::Ping(b"p"[..].into())).unwrap();
        far.send(Message::binary(vec![0; 100])).unwrap();
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        assert_eq!(owner.heard, heard_text(&long));
        let echo = [far.read().unwrap(), far.read().unwrap()];
        assert!(echo.contains(&Message::text(long.as_str())), "{echo:?}");
        assert!(echo.contains(&Message::Pong(b"p"[..].into())), "{echo:?}");

        far.close(None).unwrap();
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        assert_eq!(owner.heard.last(), Some(&Incoming::Closed));
        assert!(connection.is_closing());
        assert!(matches!(far.read(), Ok(Message::Close(None))));
    }
}

#[test]
fn we_can_dial_tungstenite() {
    for step in [1, 7, 100_000] {
        let mut connection = Connection::dial_websocket(
            None,
            "edge:8080",
            "/websocket",
            [7; 16],
            None,
            clock(),
            &limits(),
        )
        .unwrap();
        let (wire, mut owner) = (Wire::default(), Owner::default());
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        let Ok(mut far) = tungstenite::accept(wire.clone()) else { panic!("refused") };
        // Sent together with the 101: it must not be lost between the two protocols.
        far.send(Message::text("hello")).unwrap();
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        assert_eq!(owner.heard, [vec![Incoming::Opened], heard_text("hello")].concat());
        connection.send_text("world").unwrap();
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        assert_eq!(far.read().unwrap(), Message::text("world"));
        connection.close(1001, "going away");
        assert!(connection.is_closing());
        connection.send_text("too late").unwrap();
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        let Ok(Message::Close(Some(close))) = far.read() else { panic!("no goodbye") };
        assert_eq!((close.code, close.reason.as_str()), (CloseCode::Away, "going away"));
        assert!(matches!(far.read(), Err(Error::ConnectionClosed)));
        wire.exchange(&mut connection, &mut owner, step).unwrap();
        assert_eq!(owner.heard.last(), Some(&Incoming::Closed));
    }
}

#[test]
fn a_token_goes_along_with_the_upgrade() {
    let dial = |token| {
        let key = *b"the sample nonce";
        let dialed = Connection::dial_websocket(None, "x", "/", key, token, clock(), &limits());
        String::from_utf8(dialed.unwrap().outgoing().to_vec()).unwrap()
    };
    assert!(dial(Some("a.b.c")).contains("\r\nAuthorization: Bearer a.b.c\r\n"));
    assert!(!dial(None).contains("Authorization"));
}

#[test]
fn a_wrong_answer_to_our_upgrade_is_a_fault() {
    let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let answer = |answer: &str| {
        let key = *b"the sample nonce";
        let mut connection =
            Connection::dial_websocket(None, "x", "/", key, None, clock(), &limits()).unwrap();
        let mut incoming = VecDeque::new();
        connection.receive(answer.as_bytes(), &mut incoming).map(|()| incoming)
    };
    assert_eq!(answer(good), Ok(VecDeque::from([Incoming::Opened])));
    let refused = answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(refused, Err(StreamFault::UpgradeRefused(403)));
    let long = "x".repeat(310);
    for (field, reason) in [
        ("Bearer error=\"invalid_token\", error_description=\"too old\"", "too old"),
        ("Basic realm=\"x\"", "it does not say why"),
        ("error_description=\"cut off", "cut off"),
        ("error_description=\"\u{e4}\tb", "b"),
        (&*format!("error_description=\"{long}\""), &long[..300]),
    ] {
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: ";
        let refused = answer(&format!("{head}{field}\r\n\r\n"));
        assert_eq!(refused, Err(StreamFault::Unauthorized(reason.to_owned())), "{field}");
    }
    for (from, to) in [
        ("s3pP", "S3pP"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "Connection: close"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\n\r\n"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    ] {
        let refused = answer(&good.replacen(from, to, 1));
        assert!(matches!(refused, Err(StreamFault::Answer(_))), "{to}: {refused:?}");
    }
}

#[test]
fn an_upgrade_can_be_refused() {
    let (mut connection, mut incoming) = (server(), VecDeque::new());
    connection.receive(UPGRADE, &mut incoming).unwrap();
    assert!(matches!(incoming.pop_front(), Some(Incoming::Upgrade(_))));
    connection.respond(Response::error(403, "Not here."));
    assert!(!connection.is_websocket());
    assert!(utf8(sent(&mut connection)).starts_with("HTTP/1.1 403 Forbidden\r\n"));
}

#[test]
fn what_was_sent_ahead_of_the_101_counts() {
    let (mut connection, mut owner) = (server(), Owner::default());
    let early = [UPGRADE, &frame(0x81, b"early"), &frame(0x81, b"bird")].concat();
    owner.receive(&mut connection, &early).unwrap();
    assert_eq!(owner.heard[1..], [heard_text("early"), heard_text("bird")].concat());
}

#[test]
fn a_message_in_fragments_is_one_message() {
    let fragments = [frame(0x01, b"a\xc3"), frame(0x89, b""), frame(0x80, b"\xa4b")].concat();
    for split in 0..=fragments.len() {
        let (mut connection, mut owner) = opened();
        owner.receive(&mut connection, &fragments[..split]).unwrap();
        owner.receive(&mut connection, &fragments[split..]).unwrap();
        assert_eq!(owner.heard, heard_text("aäb"));
    }
}

#[test]
fn breaking_the_websocket_protocol_closes_with_the_reason() {
    let mut unmasked = frame(0x81, b"");
    unmasked[1] &= 0x7f;
    unmasked.truncate(2);
    let parts = (0..30).flat_map(|n| frame(if n == 0 { 0x01 } else { 0x00 }, &[b'x'; 125]));
    for (bytes, code, fault) in [
        (vec![0x81, 0xfe, 0x0b, 0xb9, 0, 0, 0, 0], 1009, Some(StreamFault::MessageTooLarge)),
        (
            [&[0x82, 0xff][..], &[255; 8], &[0; 4]].concat(),
            1009,
            Some(StreamFault::MessageTooLarge),
        ),
        (parts.collect(), 1009, Some(StreamFault::MessageTooLarge)),
        (frame(0x81, b"\xff"), 1007, Some(StreamFault::NotUtf8)),
        (frame(0x81, b"\xc3"), 1007, Some(StreamFault::NotUtf8)),
        (unmasked, 1002, None),
        (frame(0xc1, b"reserved bit"), 1002, None),
        (frame(0x83, b"reserved opcode"), 1002, None),
        (frame(0x09, b"fragmented ping"), 1002, None),
        (frame(0x80, b"continues nothing"), 1002, None),
    ] {
        let (mut connection, mut owner) = opened();
        let actual = owner.receive(&mut connection, &bytes).unwrap_err();
        match fault {
            Some(fault) => assert_eq!(actual, fault, "{bytes:?}"),
            None => assert!(matches!(actual, StreamFault::Protocol(_)), "{actual:?}"),
        }
        assert!(connection.is_closing());
        let close = sent(&mut connection);
        assert_eq!(close[0], 0x88, "{close:?}");
        assert_eq!(u16::from_be_bytes([close[2], close[3]]), code, "{bytes:?}");
        owner.receive(&mut connection, &frame(0x81, b"afterwards")).unwrap();
        assert_eq!(owner.heard, []);
        assert!(connection.is_drained());
    }
}

#[test]
fn a_reason_of_any_length_fits_into_the_goodbye() {
    let (mut connection, _) = opened();
    connection.close(1000, &"ä".repeat(100));
    let close = sent(&mut connection);
    assert_eq!(close[..4], [0x88, 2 + 122, 0x03, 0xe8]);
    assert_eq!(utf8(close[4..].to_vec()), "ä".repeat(61));
}

#[test]
fn after_our_goodbye_only_theirs_counts() {
    let (mut connection, mut owner) = opened();
    connection.close(1000, "");
    connection.close(1001, "twice");
    assert_eq!(sent(&mut connection), [0x88, 2, 0x03, 0xe8]);
    let crossing = [frame(0x81, b"crossing"), frame(0x88, b"\x03\xe8")].concat();
    owner.receive(&mut connection, &crossing).unwrap();
    assert_eq!(owner.heard, [Incoming::Closed]);
    assert!(connection.is_drained());
}

#[test]
fn a_slow_reader_is_given_up() {
    let (mut connection, _) = opened();
    let text = "x".repeat(1000);
    let fault = (0..1000).find_map(|_| connection.send_text(&text).err());
    assert_eq!(fault, Some(StreamFault::Overflow));
    assert!(connection.is_closing());
    let waiting = connection.outgoing().len();
    assert!((100_000..=limits().outgoing_bytes_max).contains(&waiting), "{waiting}");

    // So is one that makes us talk: each ping wants its pong.
    let pings = frame(0x89, &[0; 125]).repeat(100);
    let (mut connection, mut owner) = opened();
    let fault = (0..1000).find_map(|_| owner.receive(&mut connection, &pings).err());
    assert_eq!(fault, Some(StreamFault::Overflow));
    assert!(connection.outgoing().len() <= limits().outgoing_bytes_max + pings.len() + 200);
}

#[test]
fn an_end_without_goodbye_is_told_from_one_with() {
    let (mut connection, mut owner) = opened();
    let mut incoming = VecDeque::new();
    assert_eq!(connection.eof(&mut incoming), Err(StreamFault::Truncated));
    assert_eq!(incoming, []);
    (connection, owner.heard) = (opened().0, Vec::new());
    owner.receive(&mut connection, &frame(0x88, b"")).unwrap();
    assert_eq!(owner.heard, [Incoming::Closed]);
    assert_eq!(connection.eof(&mut incoming), Ok(()));
    assert_eq!(incoming, []);
}

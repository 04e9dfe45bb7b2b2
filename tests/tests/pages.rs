//! Pages over sockets and over the simulation's pipes, against a WebSocket server that is not ours.

use std::net::TcpListener;
use std::time::Duration;

use distributary_tests::browser::{Session, Shape};
use distributary_tests::client::Pages;
use distributary_tests::websocket::{Incoming, Wire};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocket};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_page_speaks_the_dialogue_over_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut socket = tungstenite::accept(socket).unwrap();
        let mut heard = Vec::new();
        let mut hear = |socket: &mut WebSocket<_>| {
            let text: Message = WebSocket::read(socket).unwrap();
            let value: serde_json::Value = serde_json::from_str(text.to_text().unwrap()).unwrap();
            heard.push(value["message"].as_str().unwrap().to_owned());
        };
        hear(&mut socket);
        let hello = r#"{"message":"getUserData","data":[{"authToken":"t"}]}"#;
        socket.send(Message::text(hello)).unwrap();
        hear(&mut socket);
        socket.send(Message::text(r#"{"message":"ping","data":[]}"#)).unwrap();
        hear(&mut socket);
        let failed = r#"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":
            "00000001-e705-11f1-810b-000000000001","status":"FAILED","info":"no"}]}"#;
        socket.send(Message::text(failed)).unwrap();
        let code = CloseCode::Away;
        socket.close(Some(CloseFrame { code, reason: "bye".into() })).unwrap();
        while socket.read().is_ok() {}
        heard
    });
    let mut pages = Pages::default();
    let page = pages.open(addr).unwrap();
    let party = pages.publish(page, "ab12", Shape::audio_video()).unwrap();
    assert!(pages.run_until(SOON, |pages| pages.page(page).ending.is_some()));
    let seen = pages.seen(&party);
    assert_eq!((seen.status(), seen.info()), ("FAILED", "no"));
    assert_eq!(pages.page(page).ending, Some(Incoming::Closed(Some(1001))));
    assert_eq!(pages.page(page).browser.session(), Session::Disconnected);
    drop(pages);
    assert_eq!(server.join().unwrap(), ["connection", "publishStream", "pong"]);
}

#[test]
fn a_page_notices_a_refused_upgrade() {
    let mut wire = Wire::new("node.example:8080", "/ab12");
    let request = String::from_utf8(wire.take_outgoing()).unwrap();
    assert!(request.starts_with("GET /ab12 HTTP/1.1\r\n"), "{request}");
    for byte in b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" {
        wire.receive(&[*byte]);
    }
    assert_eq!(wire.poll(), Some(Incoming::Refused(403)));
}

#[test]
fn messages_survive_any_chunking() {
    let mut wire = Wire::new("node.example:8080", "/");
    let request = wire.take_outgoing();
    let socket = tungstenite::accept(Memory::holding(&request)).map_err(|_| "refused").unwrap();
    let response = socket.get_ref().written.clone();
    let mut frames = WebSocket::from_raw_socket(Memory::default(), Role::Server, None);
    for text in ["a", &"b".repeat(200), &"c".repeat(70_000)] {
        frames.send(Message::text(text)).unwrap();
    }
    let bytes: Vec<u8> = response.into_iter().chain(frames.get_ref().written.clone()).collect();
    for chunk in bytes.chunks(7) {
        wire.receive(chunk);
    }
    assert_eq!(wire.poll(), Some(Incoming::Opened));
    let mut lengths = Vec::new();
    while let Some(incoming) = wire.poll() {
        let Incoming::Text(text) = incoming else { panic!("{incoming:?}") };
        lengths.push(text.len());
    }
    assert_eq!(lengths, [1, 200, 70_000]);
}

/// A socket whose far end said everything beforehand.
#[derive(Default)]
struct Memory {
    unread: std::collections::VecDeque<u8>,
    written: Vec<u8>,
}

impl Memory {
    fn holding(bytes: &[u8]) -> Self {
        Self { unread: bytes.iter().copied().collect(), written: Vec::new() }
    }
}

impl std::io::Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.unread.read(buf)
    }
}

impl std::io::Write for Memory {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.written.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

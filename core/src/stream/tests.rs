//! Connections against each other, against tungstenite's own ends, and against nonsense.

use std::collections::VecDeque;
use std::time::Duration;

use super::http::Method;
use super::*;

/// 1994-11-06 08:49:37 UTC, the example of RFC 9110.
const UNIX: Duration = Duration::from_secs(784_111_777);

fn clock() -> WallClock {
    let clock = WallClock::default();
    clock.set(UNIX);
    clock
}

fn limits() -> Limits {
    Limits {
        http_head_bytes_max: 1024,
        http_body_bytes_max: 2000,
        websocket_message_bytes_max: 3000,
        outgoing_bytes_max: 128 * 1024,
        ..Limits::default()
    }
}

fn server() -> Connection {
    Connection::accept(None, clock(), &limits()).unwrap()
}

/// Everything that is outgoing, written.
fn sent(connection: &mut Connection) -> Vec<u8> {
    let mut sent = Vec::new();
    while !connection.outgoing().is_empty() {
        let n = connection.outgoing().len().min(10_000);
        sent.extend_from_slice(&connection.outgoing()[..n]);
        connection.wrote(n);
    }
    assert!(connection.is_drained());
    sent
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A node in miniature: it answers each request with what it understood, takes each upgrade, and
/// echoes each text.
#[derive(Default)]
struct Owner {
    heard: Vec<Incoming>,
}

impl Owner {
    fn receive(&mut self, connection: &mut Connection, bytes: &[u8]) -> Result<(), StreamFault> {
        let mut incoming = VecDeque::new();
        let mut result = connection.receive(bytes, &mut incoming);
        while let Some(message) = incoming.pop_front() {
            self.heard.push(message.clone());
            match message {
                Incoming::Request(request) => {
                    let body = format!("{:?} {} ", request.method, request.path).into_bytes();
                    connection.respond(Response::ok("text/plain", [body, request.body].concat()));
                }
                Incoming::Upgrade(_) => connection.accept_upgrade(),
                Incoming::Text(text) => connection.send_text(&text)?,
                Incoming::Opened | Incoming::Response { .. } | Incoming::Closed => continue,
            }
            if result.is_ok() {
                result = connection.receive(&[], &mut incoming);
            }
        }
        result
    }
}

#[test]
fn a_request_is_answered() {
    let mut connection = server();
    let mut owner = Owner::default();
    owner.receive(&mut connection, b"GET /a%20b?c=d+e&f HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let [Incoming::Request(request)] = &owner.heard[..] else { panic!("{:?}", owner.heard) };
    assert_eq!((request.method, request.head), (Method::Get, false));
    assert_eq!(request.path, "/a b");
    assert_eq!(request.query_text, "c=d+e&f");
    assert_eq!(request.query("c"), Some("d e"));
    assert_eq!(request.query("f"), Some(""));
    assert_eq!(request.query("g"), None);
    assert_eq!(request.header("host"), Some("x"));
    assert_eq!(
        text(sent(&mut connection)),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n\
         Get /a b "
    );
    assert!(!connection.is_closing());
}

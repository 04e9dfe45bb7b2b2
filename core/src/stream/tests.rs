//! Connections against each other, against tungstenite's own ends, and against nonsense.

use std::collections::VecDeque;
use std::time::Duration;

use super::http::Request;
use super::*;

mod arbitrary;
mod http;
mod pipelined;
mod tls;
mod websocket;

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

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A node in miniature: it answers each request with what it understood, takes each upgrade, and
/// echoes each text if it is to.
#[derive(Default)]
struct Owner {
    heard: Vec<Incoming>,
    echoes: bool,
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
                Incoming::Text(text) if self.echoes => connection.send_text(&text)?,
                Incoming::Text(_) => {}
                Incoming::Opened | Incoming::Response { .. } | Incoming::Closed => continue,
            }
            if result.is_ok() {
                result = connection.receive(&[], &mut incoming);
            }
        }
        result
    }
}

/// Moves bytes between two connections until neither has more to say.
fn converse(
    a: (&mut Connection, &mut Owner),
    b: (&mut Connection, &mut Owner),
) -> (Result<(), StreamFault>, Result<(), StreamFault>) {
    let (mut a_result, mut b_result) = (Ok(()), Ok(()));
    loop {
        let (to_b, to_a) = (sent(a.0), sent(b.0));
        if to_a.is_empty() && to_b.is_empty() {
            return (a_result, b_result);
        }
        a_result = a_result.and(a.1.receive(a.0, &to_a));
        b_result = b_result.and(b.1.receive(b.0, &to_b));
    }
}

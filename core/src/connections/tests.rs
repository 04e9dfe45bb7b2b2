//! Connections of a whole shard, byte by byte.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config::{Config, KeepAlive};
use crate::input::{Command, Flow, Input, Service};
use crate::limits::Limits;
use crate::message::Message;
use crate::output::{Event, Linger, Output, SendBuffer};
use crate::pages::Pages;
use crate::tests::Bench;
use crate::{ConnId, Epoch, Shard, ShardId};

mod capacity;
mod dialogues;
mod links;
mod requests;

const SECOND: Duration = Duration::from_secs(1);

const UPGRADE: &str = "GET /any/path HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A shard and what it did.
struct Server {
    shard: Shard,
    bench: Bench,
    send: SendBuffer,
    accepted: u64,
    closed: Vec<(ConnId, Linger)>,
    events: Vec<Event>,
    posted: Vec<Message>,
    /// How often it wished its settings read again.
    wishes: u64,
}

impl Server {
    fn new() -> Self {
        Self::with("", |_| {})
    }

    fn bounded(limits: Limits) -> Self {
        Self::with("", |config| config.limits = limits)
    }

    fn with(properties: &str, change: impl FnOnce(&mut Config)) -> Self {
        Self::shard(ShardId::NODE, properties, change)
    }

    fn shard(id: ShardId, properties: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut bench = Bench::with(properties, None);
        bench.config.media = vec![([0; 4], 31001).into(), ([0; 4], 31002).into()];
        bench.config.media.truncate(usize::from(id.0) + 1);
        bench.config.pages =
            Pages::from_files([("client2/index.html".to_owned(), b"<p>hello".to_vec())]);
        change(&mut bench.config);
        let unix = Duration::from_secs(784_111_777);
        let epoch = Epoch { instant: bench.now, unix };
        let shard = Shard::new(Arc::new(bench.config.clone()), id, [1; 32], epoch);
        Self {
            shard,
            bench,
            send: SendBuffer::new(1),
            accepted: 0,
            closed: Vec::new(),
            events: Vec::new(),
            posted: Vec::new(),
            wishes: 0,
        }
    }

    fn hear(&mut self, input: Input<'_>) {
        self.shard.handle_input(self.bench.now, input);
        loop {
            match self.shard.poll_output(&mut self.send) {
                Output::Timeout(_) => return,
                Output::Close { conn, how } => self.closed.push((conn, how)),
                Output::Event(event) => self.events.push(event),
                Output::Post { message, .. } => self.posted.push(message.0),
                Output::Write(_)
                | Output::Transmit(_)
                | Output::Connect { .. }
                | Output::Bind { .. }
                | Output::Resolve { .. } => {}
                Output::Reload { wish } => self.wishes = wish,
            }
        }
    }

    fn connect(&mut self) -> ConnId {
        self.connect_by([127, 0, 0, 1], [10, 0, 0, 1])
    }

    /// Somebody connects from this address.
    fn connect_from(&mut self, remote: [u8; 4]) -> ConnId {
        self.connect_by([127, 0, 0, 1], remote)
    }

    /// Somebody connects to this address of the node.
    fn connect_on(&mut self, local: [u8; 4]) -> ConnId {
        self.connect_by(local, [10, 0, 0, 1])
    }

    fn connect_by(&mut self, local: [u8; 4], remote: [u8; 4]) -> ConnId {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        let flow = Flow { local: (local, 8080).into(), remote: (remote, 999).into() };
        self.hear(Input::Accepted { conn, service: Service::Ws, flow });
        conn
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        self.hear(Input::Received { conn, bytes });
    }

    /// Takes what waits to be written.
    fn written(&mut self, conn: ConnId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let bytes = self.shard.outgoing(conn).to_vec();
            if bytes.is_empty() {
                self.hear(Input::Timeout);
                return all;
            }
            self.shard.wrote(conn, bytes.len());
            all.extend(bytes);
        }
    }

    /// One request on a connection of its own; its response as text.
    fn get(&mut self, target: &str) -> String {
        let conn = self.connect();
        self.ask(conn, &format!("GET {target} HTTP/1.1\r\nHost: edge.example:8081\r\n\r\n"))
    }

    fn ask(&mut self, conn: ConnId, request: &str) -> String {
        self.receive(conn, request.as_bytes());
        String::from_utf8(self.written(conn)).unwrap()
    }

    fn upgrade(&mut self) -> ConnId {
        let conn = self.connect();
        let answer = self.ask(conn, &format!("{UPGRADE}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        conn
    }

    /// A session that is established.
    fn page(&mut self) -> ConnId {
        let conn = self.upgrade();
        let told = self.say(conn, r#"{"message":"connection","data":[{}]}"#);
        assert!(told[0].contains("getUserData"), "{told:?}");
        conn
    }

    /// Says a text over a WebSocket; tells what came back.
    fn say(&mut self, conn: ConnId, text: &str) -> Vec<String> {
        self.receive(conn, &frame(0x81, text.as_bytes()));
        self.told(conn)
    }

    /// The texts that wait for a page, and the reason of a goodbye.
    fn told(&mut self, conn: ConnId) -> Vec<String> {
        let bytes = self.written(conn);
        let mut rest = &*bytes;
        let mut texts = Vec::new();
        while let [opcode, length, tail @ ..] = rest {
            let (length, tail) = match length {
                126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..]),
                short => (usize::from(*short), tail),
            };
            let (payload, after) = tail.split_at(length);
            match opcode {
                0x81 => texts.push(String::from_utf8(payload.to_vec()).unwrap()),
                0x88 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    texts.push(format!("{code} {}", String::from_utf8_lossy(&payload[2..])));
                }
                other => panic!("opcode {other}"),
            }
            rest = after;
        }
        texts
    }

    fn wait(&mut self, time: Duration) {
        let end = self.bench.now + time;
        // Finer than every deadline here.
        while self.bench.now < end {
            self.bench.now = (self.bench.now + Duration::from_millis(50)).min(end);
            self.hear(Input::Timeout);
        }
    }

    fn is_closed(&self, conn: ConnId) -> Option<Linger> {
        self.closed.iter().find(|(other, _)| *other == conn).map(|(_, how)| *how)
    }

    fn link_refusals(&self) -> Vec<&str> {
        self.events.iter().filter_map(link_refusal).collect()
    }

    fn refusals(&self) -> Vec<&str> {
        self.events.iter().filter_map(refusal).collect()
    }
}

fn link_refusal(event: &Event) -> Option<&str> {
    if let Event::LinkRefused { why } = event { Some(why) } else { None }
}

fn refusal(event: &Event) -> Option<&str> {
    if let Event::Refused { why, .. } = event { Some(why) } else { None }
}

/// A frame of a browser, masked with nothing.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode];
    match u8::try_from(payload.len()) {
        Ok(short @ ..=125) => frame.push(0x80 | short),
        Ok(_) | Err(_) => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

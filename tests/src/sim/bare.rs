//! One shard with nothing around it: for inputs that no network would deliver in this order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_core::{
    ConnId, Epoch, Flow, Hangup, Input, LookupId, Output, SendBuffer, Service, Shard, ShardId,
};

use super::UNIX_AT_START;
use super::node::{self, MEDIA_PORT, Plan, WS_PORT};

/// Outputs after one input, beyond which the shard counts as endless.
const OUTPUTS_MAX: usize = 100_000;

/// A shard of a node that listens, and whoever talks to it.
#[derive(Debug)]
pub struct Bare {
    shard: Shard,
    send: SendBuffer,
    now: Instant,
    due: Option<Instant>,
    accepted: u64,
    open: BTreeMap<ConnId, Vec<u8>>,
}

impl Bare {
    /// The only shard of the node that `plan` describes.
    pub fn new(plan: Plan) -> Self {
        fastrand::seed(1);
        let now = Instant::now();
        let config = node::Node::new(plan, node::address(0)).config;
        let epoch = Epoch { instant: now, unix: UNIX_AT_START };
        let mut bare = Self {
            shard: Shard::new(config, ShardId::NODE, [7; 32], epoch),
            send: SendBuffer::new(4),
            now,
            due: None,
            accepted: 0,
            open: BTreeMap::new(),
        };
        bare.drain();
        bare
    }

    /// Opens a connection to a listener.
    pub fn connect(&mut self, service: Service) -> ConnId {
        let conn = ConnId::accepted(self.accepted);
        let port = 50_000 + u16::try_from(self.accepted % 10_000).unwrap_or_default();
        self.accepted += 1;
        self.open.insert(conn, Vec::new());
        let remote = SocketAddr::from(([10, 9, 9, 9], port));
        let flow = Flow { local: SocketAddr::new(node::address(0), WS_PORT), remote };
        self.input(Input::Accepted { conn, service, flow });
        conn
    }

    /// Sends bytes on a connection, unless the shard has ended it.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.open.contains_key(&conn) && !bytes.is_empty() {
            self.input(Input::Received { conn, bytes });
        }
    }

    /// Sends a text message on a connection that was upgraded, masked with zeros.
    pub fn say(&mut self, conn: ConnId, text: &[u8]) {
        self.receive(conn, &text_frame(text));
    }

    /// Ends a connection from the far side.
    pub fn close(&mut self, conn: ConnId, cause: Hangup) {
        if self.open.remove(&conn).is_some() {
            self.input(Input::Closed { conn, cause });
        }
    }

    /// Sends datagrams of `stride` bytes to the media port.
    pub fn datagram(&mut self, remote: SocketAddr, bytes: &[u8], stride: usize) {
        if !bytes.is_empty() && stride > 0 {
            let flow = Flow { local: SocketAddr::new(node::address(0), MEDIA_PORT), remote };
            self.input(Input::Datagram { flow, bytes, stride });
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        let mut wakes = 0;
        while let Some(due) = self.due.filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.input(Input::Timeout);
            wakes += 1;
            assert!(wakes < OUTPUTS_MAX, "the shard spins");
        }
        self.now = end;
        self.input(Input::Timeout);
    }

    /// Whether the shard still has the connection.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.open.contains_key(&conn)
    }

    /// What the shard has written to a connection and nobody took yet.
    pub fn take(&mut self, conn: ConnId) -> Vec<u8> {
        self.open.get_mut(&conn).map(std::mem::take).unwrap_or_default()
    }

    fn input(&mut self, input: Input<'_>) {
        self.shard.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut unnamed: Vec<LookupId> = Vec::new();
        for _ in 0..OUTPUTS_MAX {
            match self.shard.poll_output(&mut self.send) {
                Output::Write(conn) => {
                    let bytes = self.shard.outgoing(conn).to_vec();
                    self.shard.wrote(conn, bytes.len());
                    if let Some(written) = self.open.get_mut(&conn) {
                        written.extend(bytes);
                    }
                }
                Output::Close { conn, .. } => {
                    let rest = self.shard.outgoing(conn).len();
                    self.shard.wrote(conn, rest);
                    self.open.remove(&conn);
                }
                Output::Resolve { lookup, .. } => unnamed.push(lookup),
                Output::Post { .. } => panic!("a shard alone has nobody to post to"),
                Output::Transmit(_)
                | Output::Connect { .. }
                | Output::Bind { .. }
                | Output::Event(_) => {}
                Output::Timeout(due) => {
                    self.due = due;
                    let Some(lookup) = unnamed.pop() else { return };
                    self.shard.handle_input(self.now, Input::Resolved { lookup, addrs: &[] });
                }
            }
        }
        panic!("the shard has no end of outputs");
    }
}

/// A text frame as a browser sends it (RFC 6455, section 5.2), masked with zeros.
pub fn text_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(len), _) if len < 126 => frame.push(0x80 | len),
        (_, Ok(len)) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text);
    frame
}

/// A request that upgrades to a WebSocket; its key is the example of RFC 6455.
pub const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: node.example:8080\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nOrigin: http://node.example\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The first message of every page.
pub const CONNECTION: &[u8] = b"{\"message\":\"connection\",\"data\":[{\"appKey\":\"defaultApp\",\
    \"mediaProviders\":[\"WebRTC\"],\"clientVersion\":\"2.0\"}]}";
